//! What a log record's body and an index record hold: the only types of this crate that are written to disk.
//! The layout is drawn in `docs/image-format.md`; the order of fields and variants is the encoding.

use serde::{Deserialize, Serialize};
use shared::activation::Write;
use shared::bridge::{Answer, Fault, ThoughtEvent};
use shared::id::{ClientId, Epoch, ObjectId, ThoughtId};
use shared::value::Value;

/// One transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub epoch: Epoch,
    pub unix_ms: u64,
    /// Who asked: `client …`, `thought 3`, `kernel`.
    pub author: String,
    pub thought: Option<ThoughtId>,
    /// Ids below this are taken.
    pub next_object: u64,
    pub changes: Vec<Change>,
    pub reply: Option<StoredReply>,
    pub mission: Option<Mission>,
}

/// A change of slots.
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
}

impl From<Write> for Change {
    fn from(write: Write) -> Change {
        match write {
            Write::Create { object, slots } => Change::Create { object, slots },
            Write::Put { object, slot, value } => Change::Put { object, slot, value },
            Write::Remove { object, slot } => Change::Remove { object, slot },
        }
    }
}

impl Change {
    pub fn object(&self) -> ObjectId {
        match self {
            Change::Create { object, .. } | Change::Put { object, .. } | Change::Remove { object, .. } => {
                *object
            }
        }
    }
}

/// Which request a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestId {
    pub client: ClientId,
    pub sequence: u64,
}

/// The reply of a request that changed the image, kept so that a repeat is answered and not run again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredReply {
    pub request: RequestId,
    pub answer: Answer,
}

/// A message that nobody understood, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mission {
    pub id: ThoughtId,
    pub receiver: ObjectId,
    pub selector: String,
    pub arguments: Vec<Value>,
    /// The first sender's request, so that the message is carried out at most once after a crash.
    pub request: Option<RequestId>,
    pub begun_unix_ms: u64,
    pub stage: Stage,
    pub rounds: u32,
    pub model_calls: u32,
    pub elapsed_ms: u64,
    /// The installed source, or the last candidate.
    pub artifact: String,
    pub events: Vec<ThoughtEvent>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    Open,
    Complete,
    Failed(Fault),
}
