//! Kernel ↔ method-worker: one activation after the other, over the worker's only descriptor.
//!
//! The worker says [`FromWorker::Ready`] when it is jailed. For each [`ToWorker::Run`] it may ask for objects and ids, and
//! ends with [`FromWorker::Finished`]. It keeps decoded objects between activations; `Run::stale` says which to forget.
//!
//! Runs may be told ahead: they wait in the worker, in their order, and an answer to its question overtakes them. So an object
//! can come in an older version than it is held: the newer one stays. Results may be sent together.

use serde::{Deserialize, Serialize};

use crate::bridge::Hit;
use crate::id::{ObjectId, TransactionId};
use crate::key::Key;
use crate::object::ObjectImage;
use crate::value::Value;

/// What the kernel sends to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToWorker {
    Run(Box<Run>),
    /// Answer to [`FromWorker::Fetch`]: what exists, in the order asked; what does not exist is left out.
    Objects(Vec<ObjectImage>),
    /// Answer to [`FromWorker::Allocate`].
    Allocated(ObjectId),
    /// Answer to [`FromWorker::Entry`].
    Entry(Option<Value>),
    /// Answer to [`FromWorker::Scan`], in the order asked for.
    Entries {
        entries: Vec<(Key, Value)>,
        /// Nothing of the range is left out.
        is_whole: bool,
    },
    /// Answer to [`FromWorker::Count`].
    Count(u64),
    /// Answer to [`FromWorker::Remember`]: the document and what is to be made of it, in this order; or why not.
    Remembered(Result<Remembered, Refused>),
    /// Answer to [`FromWorker::Recall`].
    Recalled(Result<Vec<Hit>, Refused>),
}

/// What a text that is to be indexed comes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remembered {
    pub document: ObjectId,
    /// Objects to be made, with the ids that they have.
    pub objects: Vec<(ObjectId, Vec<(String, Value)>)>,
    /// Entries to be put.
    pub entries: Vec<(ObjectId, Key, Value)>,
    /// Slots to be put into objects that exist.
    pub slots: Vec<(ObjectId, String, Value)>,
}

/// Why the memory did not do what a method asked for: the exception that it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub reason: String,
    pub message: String,
}

/// A chunk that the activation has made: its own slots.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnChunk {
    pub chunk: ObjectId,
    pub slots: Vec<(String, Value)>,
}

/// One message to carry out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub receiver: ObjectId,
    pub selector: String,
    pub arguments: Vec<Value>,
    /// Objects that the worker lacks or has too old: receiver, what it delegates to, arguments.
    pub objects: Vec<ObjectImage>,
    /// Cached objects to forget before the run.
    pub stale: Vec<ObjectId>,
    /// Among `objects` and what is fetched, these are not committed: forget them after the run.
    pub uncommitted: Vec<ObjectId>,
    pub mode: Mode,
}

/// How far the code is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Installed code.
    Proven,
    /// A candidate in a fresh process: a nested message that nobody understands is an error, not a mission.
    Trial,
}

/// What a worker sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// The jail is closed and the interpreter is warm.
    Ready {
        python: String,
        jail: String,
    },
    Fetch(Vec<ObjectId>),
    Allocate,
    /// An entry as it was before this activation. The kernel notes the read.
    Entry {
        object: ObjectId,
        key: Key,
    },
    /// Entries from a key to before another, as they were before this activation. The kernel notes the read.
    Scan {
        object: ObjectId,
        from: Key,
        to: Key,
        limit: u32,
        order: ScanOrder,
    },
    /// How many entries an object had before this activation. The kernel notes the read.
    Count(ObjectId),
    Finished(Box<Finished>),
    /// Text to be indexed. The kernel cuts it and answers what is to be made.
    Remember {
        text: String,
        source: Option<String>,
        meta: Vec<(String, String)>,
        own: Vec<OwnChunk>,
    },
    /// What the memory knows about a question, what this activation has made included.
    Recall {
        question: String,
        k: u32,
        filters: Vec<(String, String)>,
        at: Option<i64>,
        own: Vec<OwnChunk>,
    },
}

/// Which end of a range a scan begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanOrder {
    Ascending,
    Descending,
}

/// The end of an activation. Nothing of it is believed beyond what the kernel checks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finished {
    pub outcome: Outcome,
    /// Every slot looked at, absent ones included, with the change that was seen.
    pub reads: Vec<Read>,
    /// The measured difference between before and after; empty unless `outcome` is `Answered`.
    pub writes: Vec<Write>,
    /// Some activation set `_p_changed = True`.
    pub declared: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Outcome {
    Answered(Value),
    /// A message sent inside found no slot along the delegation chain of its receiver.
    Missed {
        receiver: ObjectId,
        selector: String,
        arguments: Vec<Value>,
    },
    Raised(Raised),
}

/// The [`Raised::kind`] of a transaction that one of its methods doomed.
pub const DOOMED: &str = "Doomed";

/// An exception that no method caught.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// The exception's type, such as `ZeroDivisionError`.
    pub kind: String,
    pub message: String,
    /// Selector and line of each frame, outermost first, as text.
    pub traceback: String,
}

/// One entry of a read set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Read {
    pub object: ObjectId,
    pub slot: ReadSlot,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReadSlot {
    /// That slot as changed by that transaction; `None` when it was absent.
    Named(String, Option<TransactionId>),
    /// The names of all slots, as of that version of the object.
    Whole(TransactionId),
    /// That entry as changed by that transaction; `None` when it was absent.
    Entry(Key, Option<TransactionId>),
    /// The entries from a key to before another: a digest of their keys and changes.
    Range { from: Key, to: Key, digest: u64 },
    /// How many entries there were.
    Count(u64),
}

/// One entry of a write set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Write {
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
    /// Adds a number to an entry; an absent one counts as zero. Never conflicts.
    AddEntry {
        object: ObjectId,
        key: Key,
        amount: Value,
    },
    /// Puts an entry under the integer after the largest integer key. Never conflicts.
    Append {
        object: ObjectId,
        value: Value,
    },
    /// What a chunk means, in the form that the image keeps; the kernel adds it.
    Vector {
        object: ObjectId,
        vector: Vec<u8>,
    },
}

impl Write {
    pub fn object(&self) -> ObjectId {
        match self {
            Write::Create { object, .. }
            | Write::Put { object, .. }
            | Write::Remove { object, .. }
            | Write::PutEntry { object, .. }
            | Write::RemoveEntry { object, .. }
            | Write::AddEntry { object, .. }
            | Write::Append { object, .. }
            | Write::Vector { object, .. } => *object,
        }
    }
}
