//! Typed numbers: no id travels as a naked integer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Identity of an object in one image. Never reused. `#12` in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId(pub u64);

/// Position of a commit in the image's history, counted from 1. Zero means "before history".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransactionId(pub u64);

impl TransactionId {
    /// The change mark of what is not committed yet: in a thought, or in a branch.
    pub const PENDING: TransactionId = TransactionId(u64::MAX);

    /// The number, unless it is pending.
    pub fn committed(self) -> Option<u64> {
        (self != TransactionId::PENDING).then_some(self.0)
    }
}

/// Identity of a mission and of the thought that carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ThoughtId(pub u64);

/// Count of kernels that have written to the image; a writer of an older epoch is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// An upload or download of one conversation, which ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TransferId(pub u64);

/// Who sends requests: random, made once per client process (or kept by it for repeats).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientId(pub [u8; 16]);

impl ObjectId {
    /// The root of the image: the object whose slots are the well-known names.
    pub const LOBBY: ObjectId = ObjectId(1);
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl FromStr for ObjectId {
    type Err = ();

    /// Accepts exactly `#` and decimal digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix('#').ok_or(())?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        digits.parse().map(ObjectId).map_err(|_| ())
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ThoughtId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
