//! The way from a message to an object, as examples tell it (docs/wishes.md): `lower`, `lamps[0]`, `1`, `#12.owner`, `self`.

use std::fmt;

use crate::id::ObjectId;
use crate::notation::{NotationError, Reader};

/// Leads to an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    pub start: Start,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// Of the message.
    Receiver,
    /// Counted from 1.
    Argument(usize),
    Object(ObjectId),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// What a slot holds, inherited or not.
    Slot(String),
    /// The item of a list, counted from 0.
    Item(usize),
}

/// A slot of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub object: Path,
    pub slot: String,
}

impl Path {
    pub const RECEIVER: Path = Path {
        start: Start::Receiver,
        steps: Vec::new(),
    };

    /// Reads a path that is the whole of a text.
    pub fn read(text: &str) -> Result<Path, NotationError> {
        let mut reader = Reader::new(text);
        let path = reader.path()?;
        match reader.is_empty() {
            true => Ok(path),
            false => Err(reader.expected("the path's end")),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = self.steps.iter();
        match (&self.start, self.steps.first()) {
            // A slot of the receiver needs no more than its name.
            (Start::Receiver, Some(Step::Slot(slot))) if slot != "self" => {
                f.write_str(slot)?;
                steps.next();
            }
            (Start::Receiver, _) => f.write_str("self")?,
            (Start::Argument(number), _) => write!(f, "{number}")?,
            (Start::Object(id), _) => write!(f, "{id}")?,
        }
        steps.try_for_each(|step| match step {
            Step::Slot(slot) => write!(f, ".{slot}"),
            Step::Item(number) => write!(f, "[{number}]"),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut whole = self.object.clone();
        whole.steps.push(Step::Slot(self.slot.clone()));
        whole.fmt(f)
    }
}
