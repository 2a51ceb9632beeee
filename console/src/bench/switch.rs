//! What a run can do without: each switch is a slot of the image, as a user would set it.

use clap::ValueEnum;
use shared::value::Value;

use super::home::BenchHome;
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
}

impl Switch {
    /// Those that matter for a model that writes methods alone. What is retrieved is told only to one that plans: `--without memory` names it.
    pub const ALL: [Switch; 4] = [
        Switch::Grammar,
        Switch::Narrowing,
        Switch::Focus,
        Switch::Correction,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Switch::Grammar => "grammar",
            Switch::Narrowing => "narrowing",
            Switch::Focus => "focus",
            Switch::Correction => "correction",
            Switch::Memory => "memory",
        }
    }

    /// The slot, and what it holds when it is off.
    fn slot(self) -> (&'static str, &'static str, Value) {
        match self {
            Switch::Grammar => ("pllm", "grammar", Value::None),
            Switch::Narrowing => ("orchestrator", "narrowing", Value::Bool(false)),
            Switch::Focus => ("covenant", "focus", Value::Bool(false)),
            Switch::Correction => ("orchestrator", "corrections", Value::Int(0)),
            Switch::Memory => ("covenant.conversation", "most_retrievals", Value::Int(0)),
        }
    }

    /// Refused where the image has no such slot: then there is nothing to do without.
    pub fn turn_off(self, home: &mut BenchHome) -> Result<(), Failure> {
        let (object, slot, off) = self.slot();
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
