//! What a log record's body and an index record hold: the only types of this crate that are written to disk.
//! The layout is drawn in `docs/image-format.md`; the order of fields and variants is the encoding.

use serde::{Deserialize, Serialize};
use shared::bridge::{Answer, Fault, ThoughtEvent};
use shared::id::{ClientId, Epoch, ObjectId, ThoughtId, TransactionId};
use shared::key::Key;
use shared::object::ObjectImage;
use shared::value::Value;

use super::log::unix_ms;
use super::memory::vector::Vector;

/// Where a record stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// First transaction of the segment.
    pub segment: u64,
    pub offset: u64,
}

/// One transaction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub epoch: Epoch,
    pub unix_ms: u64,
    /// Who asked: `client …`, `thought 3`, `kernel`.
    pub author: String,
    pub thought: Option<ThoughtId>,
    /// The transaction whose changes this one takes back.
    pub undoes: Option<TransactionId>,
    /// Ids below this are taken.
    pub next_object: u64,
    pub objects: Vec<ObjectChange>,
    pub entries: Vec<EntryChange>,
    /// Ranges of objects, both ends included, that a pack found unreachable.
    pub collected: Vec<(ObjectId, ObjectId)>,
    pub reply: Option<StoredReply>,
    pub mission: Option<Mission>,
    /// Written only where there are some: records without are as they were before vectors, and who knows none reads them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_none")]
    pub vectors: Vec<VectorChange>,
}

/// What a transaction did to a chunk's vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VectorChange {
    pub chunk: ObjectId,
    /// `None` takes it away.
    pub vector: Option<Vector>,
}

/// The last field of a record, which may not be there. What it holds is guarded by the record's checksum.
fn or_none<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<VectorChange>, D::Error> {
    Ok(Vec::deserialize(deserializer).unwrap_or_default())
}

/// What a transaction did to the slots of one object. One whose entries alone changed has no slots here, but is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectChange {
    pub object: ObjectId,
    /// The record that last changed the object or its entries; `None` makes the object.
    pub before: Option<Place>,
    /// In the order of the changes; `None` removes. A slot that was removed and put again is here twice.
    pub slots: Vec<(String, Option<Value>)>,
}

/// What a transaction did to one entry of an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryChange {
    pub object: ObjectId,
    pub key: Key,
    /// The record that last changed the entry; `None` when it was absent.
    pub before: Option<Place>,
    /// `None` removes.
    pub value: Option<Value>,
}

/// Which request a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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

impl Mission {
    /// One that nobody has thought about yet, begun now.
    pub fn open(id: ThoughtId, receiver: ObjectId, selector: String, arguments: Vec<Value>) -> Mission {
        Mission {
            id,
            receiver,
            selector,
            arguments,
            request: None,
            begun_unix_ms: unix_ms(),
            stage: Stage::Open,
            rounds: 0,
            model_calls: 0,
            elapsed_ms: 0,
            artifact: String::new(),
            events: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    Open,
    Complete,
    Failed(Fault),
}

/// An object as the index holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredObject {
    /// The record that last changed it or its entries.
    pub place: Place,
    /// How many entries it has.
    pub entries: u64,
    pub image: ObjectImage,
}

/// An entry as the index holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredEntry {
    pub place: Place,
    pub changed: TransactionId,
    pub value: Value,
}

/// One of the transactions whose place the index knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub place: Place,
    /// The chain hash before its record.
    pub chain: [u8; 32],
    pub unix_ms: u64,
}
