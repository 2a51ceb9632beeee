//! What a run can do without: each switch is a slot of the image, as a user would set it, or what the bench tells of a task.

use clap::ValueEnum;
use shared::value::Value;

use super::home::{BenchHome, Telling};
use super::setting::Setting;
use crate::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// The grammar that holds the model to a method.
    Grammar,
    /// Grammar and check that allow only names of slots that exist.
    Narrowing,
    /// The first round's view of those slots alone that the selector names.
    Focus,
    /// Correcting rounds.
    Correction,
    /// What is retrieved from memory for the prompt.
    Memory,
    /// What is wanted, in words and examples.
    Wish,
    /// The examples of what is wanted; the words are told.
    Examples,
    /// Several candidates at once, and what most of them agree in.
    Candidates,
}

impl Switch {
    /// Those that matter for a model that writes methods alone. What is retrieved is told only to one that plans: `--without memory` names it.
    pub const ALL: [Switch; 7] = [
        Switch::Grammar,
        Switch::Narrowing,
        Switch::Focus,
        Switch::Correction,
        Switch::Candidates,
        Switch::Examples,
        Switch::Wish,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Switch::Grammar => "grammar",
            Switch::Narrowing => "narrowing",
            Switch::Focus => "focus",
            Switch::Correction => "correction",
            Switch::Memory => "memory",
            Switch::Wish => "wish",
            Switch::Examples => "examples",
            Switch::Candidates => "candidates",
        }
    }

    /// The slots, and what they hold when it is off; none where it is the bench that tells less.
    fn settings(self) -> Vec<Setting> {
        let one = |object: &str, slot: &str, value: Value| Setting {
            object: object.to_owned(),
            slot: slot.to_owned(),
            value,
        };
        match self {
            Switch::Grammar => vec![one("pllm", "grammar", Value::None)],
            Switch::Narrowing => vec![one("orchestrator", "narrowing", Value::Bool(false))],
            Switch::Focus => vec![one("covenant", "focus", Value::Bool(false))],
            Switch::Correction => vec![one("orchestrator", "corrections", Value::Int(0))],
            Switch::Memory => vec![one("covenant.conversation", "most_retrievals", Value::Int(0))],
            Switch::Candidates => vec![
                one("pllm", "first_candidates", Value::Int(1)),
                one("pllm", "candidates", Value::Int(1)),
            ],
            Switch::Wish | Switch::Examples => Vec::new(),
        }
    }

    /// Refused where the image has no such slot: then there is nothing to do without.
    pub fn turn_off(self, home: &mut BenchHome) -> Result<(), Failure> {
        match self {
            Switch::Examples if home.telling == Telling::All => home.telling = Telling::Intent,
            Switch::Wish => home.telling = Telling::Nothing,
            _ => {}
        }
        self.settings()
            .into_iter()
            .try_for_each(|setting| setting.apply(home))
    }
}

/// What an arm is called.
pub fn name(without: &[Switch], settings: &[Setting]) -> String {
    let mut name = match without {
        [] => "everything on".to_owned(),
        off => {
            let words: Vec<&str> = off.iter().map(|switch| switch.word()).collect();
            format!("without {}", words.join(", "))
        }
    };
    if !settings.is_empty() {
        let words: Vec<String> = settings.iter().map(Setting::to_string).collect();
        name.push_str(&format!(", {}", words.join(", ")));
    }
    name
}
