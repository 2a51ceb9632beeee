//! A transaction before it commits, and why it may not.

use serde::{Deserialize, Serialize};
use shared::activation::{Read, ReadSlot, Write};
use shared::bridge::Answer;
use shared::id::{ObjectId, ThoughtId, TransactionId};
use shared::key::Key;
use shared::value::Value;

use super::memory::vector::Vector;
use super::record::{Mission, RequestId};

/// What a transaction read and wants to change.
#[derive(Clone, Debug)]
pub struct Draft {
    pub author: String,
    pub thought: Option<ThoughtId>,
    /// The transaction that this one takes back.
    pub undoes: Option<TransactionId>,
    /// Checked at commit: what was seen must still be so. Lookups that found nothing count.
    pub reads: Vec<Read>,
    pub changes: Vec<Change>,
    /// Ranges of objects that a pack found unreachable.
    pub collected: Vec<(ObjectId, ObjectId)>,
    /// Stored with the commit; the answer's transaction is filled in by the committer.
    pub reply: Option<(RequestId, Answer)>,
    pub mission: Option<Mission>,
}

impl Draft {
    pub fn new(author: impl Into<String>) -> Draft {
        Draft {
            author: author.into(),
            thought: None,
            undoes: None,
            reads: Vec::new(),
            changes: Vec::new(),
            collected: Vec::new(),
            reply: None,
            mission: None,
        }
    }
}

/// A wish of a transaction. What an `Add` or an `Append` comes to is decided when it commits, so they never conflict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    Create {
        object: ObjectId,
        slots: Vec<(String, Value)>,
    },
    Put {
        object: ObjectId,
        slot: String,
        value: Value,
    },
    Remove {
        object: ObjectId,
        slot: String,
    },
    PutEntry {
        object: ObjectId,
        key: Key,
        value: Value,
    },
    RemoveEntry {
        object: ObjectId,
        key: Key,
    },
    /// Adds a number to an entry; an absent one counts as zero.
    AddEntry {
        object: ObjectId,
        key: Key,
        amount: Value,
    },
    /// Puts an entry under the integer after the largest integer key.
    Append {
        object: ObjectId,
        value: Value,
    },
    /// What a chunk means; nobody is in conflict about it. `None` takes it away.
    Vector {
        object: ObjectId,
        vector: Option<Vector>,
    },
}

impl From<Write> for Change {
    fn from(write: Write) -> Change {
        match write {
            Write::Create { object, slots } => Change::Create { object, slots },
            Write::Put { object, slot, value } => Change::Put { object, slot, value },
            Write::Remove { object, slot } => Change::Remove { object, slot },
            Write::PutEntry { object, key, value } => Change::PutEntry { object, key, value },
            Write::RemoveEntry { object, key } => Change::RemoveEntry { object, key },
            Write::AddEntry { object, key, amount } => Change::AddEntry { object, key, amount },
            Write::Append { object, value } => Change::Append { object, value },
            Write::Vector { object, vector } => Change::Vector {
                object,
                vector: Vector::from_bytes(vector),
            },
        }
    }
}

impl Change {
    pub fn object(&self) -> ObjectId {
        match self {
            Change::Create { object, .. }
            | Change::Put { object, .. }
            | Change::Remove { object, .. }
            | Change::PutEntry { object, .. }
            | Change::RemoveEntry { object, .. }
            | Change::AddEntry { object, .. }
            | Change::Append { object, .. }
            | Change::Vector { object, .. } => *object,
        }
    }
}

/// A commit that is durable.
#[derive(Clone, Debug)]
pub struct Committed {
    pub transaction: TransactionId,
    /// The draft's answer with its transaction filled in.
    pub answer: Option<Answer>,
}

/// Why nothing was committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Replay the activation: what it read has changed. Not empty.
    #[error("{} changed", places(.0))]
    Conflict(Vec<Read>),
    /// The request was carried out before; this is its reply.
    #[error("the request was carried out before")]
    Repeated(Box<Answer>),
    #[error("{0}")]
    Refused(String),
    /// An addition or an append that what is there now does not allow. Others can make a change so that was none before.
    #[error("{0}")]
    Unmergeable(String),
    #[error("the image cannot be written: {0}")]
    Failed(String),
    #[error("the kernel is stopping")]
    Stopping,
}

impl CommitError {
    /// The first object at which a conflict was met.
    pub fn place(&self) -> Option<ObjectId> {
        match self {
            CommitError::Conflict(reads) => reads.first().map(|read| read.object),
            _ => None,
        }
    }
}

/// The objects and slots of reads, as an error names them.
fn places(reads: &[Read]) -> String {
    let mut words: Vec<String> = reads.iter().take(5).map(place).collect();
    if reads.len() > words.len() {
        words.push(format!("{} more", reads.len() - words.len()));
    }
    words.join(", ")
}

/// The object and slot of a read.
pub fn place(read: &Read) -> String {
    match &read.slot {
        ReadSlot::Named(name, _) => format!("{}.{name}", read.object),
        ReadSlot::Whole(_) => format!("{} (its slots)", read.object),
        ReadSlot::Entry(key, _) => match key.value() {
            Some(value) => format!("{}[{}]", read.object, shared::json::to_json(&value)),
            None => format!("{} (an entry)", read.object),
        },
        ReadSlot::Range { .. } => format!("{} (a range of entries)", read.object),
        ReadSlot::Count(_) => format!("{} (its number of entries)", read.object),
    }
}
