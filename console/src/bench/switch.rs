//! What a run can do without: each switch is a slot of the image, as a user would set it, or what the bench tells of a task.

use clap::ValueEnum;
use shared::value::Value;

use super::home::{BenchHome, Telling};
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
    /// Several candidates in a correcting round.
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

    /// The slot, and what it holds when it is off; none where it is the bench that tells less.
    fn slot(self) -> Option<(&'static str, &'static str, Value)> {
        Some(match self {
            Switch::Grammar => ("pllm", "grammar", Value::None),
            Switch::Narrowing => ("orchestrator", "narrowing", Value::Bool(false)),
            Switch::Focus => ("covenant", "focus", Value::Bool(false)),
            Switch::Correction => ("orchestrator", "corrections", Value::Int(0)),
            Switch::Memory => ("covenant.conversation", "most_retrievals", Value::Int(0)),
            Switch::Candidates => ("pllm", "candidates", Value::Int(1)),
            Switch::Wish | Switch::Examples => return None,
        })
    }

    /// Refused where the image has no such slot: then there is nothing to do without.
    pub fn turn_off(self, home: &mut BenchHome) -> Result<(), Failure> {
        let Some((object, slot, off)) = self.slot() else {
            home.telling = match self {
                Switch::Examples if home.telling == Telling::All => Telling::Intent,
                Switch::Examples => home.telling,
                _ => Telling::Nothing,
            };
            return Ok(());
        };
        if home.inspect(object)?.slot(slot).is_none() {
            return Err(Failure::usage(format!(
                "{object} has no slot {slot} in this image, so thoughts do without {} already",
                self.word()
            )));
        }
        home.set(object, slot, off)
    }
}

/// What an arm is called.
pub fn name(without: &[Switch]) -> String {
    match without {
        [] => "everything on".into(),
        off => {
            let words: Vec<&str> = off.iter().map(|switch| switch.word()).collect();
            format!("without {}", words.join(", "))
        }
    }
}
