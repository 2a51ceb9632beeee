//! What the index holds: its records, their keys, and what brings it from before a layer to after it.

use serde::{Deserialize, Serialize};
use shared::id::{Epoch, ObjectId};
use shared::key::Key;
use shared::object::ObjectImage;

use super::OpenError;
use super::layer::{Held, Layer};
use super::lmdb::{Direction, IndexWrite, Lmdb, Reading, Table};
use super::memory::writes;
use super::record::{Place, RequestId};
use super::segment::{FORMAT, Position};

/// Stored replies of older commits are dropped.
pub const KEPT_REPLIES: u64 = 10_000;

/// The index's own account of how far it is.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct IndexPosition {
    pub position: Position,
    pub next_object: u64,
    pub epoch: Epoch,
    pub objects: u64,
}

/// How far an index is; `None` for an empty one.
pub fn position_of(reading: &Reading<'_>) -> Result<Option<IndexPosition>, OpenError> {
    let bytes = reading
        .get(Table::Meta, b"position")
        .map_err(|error| OpenError::Damaged(error.to_string()))?;
    bytes.map(|bytes| decode(&bytes)).transpose()
}

/// What brings an index from before a layer to after it.
pub fn index_writes(
    index: &Lmdb,
    layer: &Layer,
    known: &IndexPosition,
) -> Result<Vec<IndexWrite>, ::lmdb::Error> {
    let mut writes = vec![
        put(Table::Meta, b"format".to_vec(), &FORMAT),
        put(Table::Meta, b"position".to_vec(), known),
    ];
    for (id, held) in &layer.objects {
        let key = id.0.to_be_bytes().to_vec();
        match held {
            Some(held) => writes.push(put(Table::Objects, key, &StoredObjectRef::of(held))),
            None => {
                let (from, to) = (entry_key(*id, &Key::first()), entry_key(*id, &Key::last()));
                let gone =
                    index
                        .reading()?
                        .range(Table::Entries, &from, &to, usize::MAX, Direction::Ascending)?;
                writes.extend(gone.into_iter().map(|(key, _)| delete(Table::Entries, key)));
                writes.push(delete(Table::Objects, key));
            }
        }
    }
    for ((object, key), entry) in &layer.entries {
        let key = entry_key(*object, key);
        writes.push(match entry {
            Some(entry) => put(Table::Entries, key, &**entry),
            None => delete(Table::Entries, key),
        });
    }
    for (request, (transaction, stored)) in &layer.replies {
        let key = reply_key(request);
        writes.push(IndexWrite::Put {
            table: Table::ReplyAge,
            key: [&transaction.0.to_be_bytes()[..], &key].concat(),
            value: key.clone(),
        });
        writes.push(put(Table::Replies, key, stored));
    }
    for (id, mission) in &layer.missions {
        writes.push(put(Table::Missions, id.0.to_be_bytes().to_vec(), mission));
    }
    for (transaction, mark) in &layer.marks {
        writes.push(put(Table::Marks, transaction.0.to_be_bytes().to_vec(), mark));
    }
    if !layer.memory.is_empty() {
        writes.extend(writes::writes(&index.reading()?, &layer.memory)?);
    }
    let old = known
        .position
        .transaction
        .0
        .saturating_sub(KEPT_REPLIES)
        .to_be_bytes();
    let aged = index
        .reading()?
        .range(Table::ReplyAge, &[], &old, usize::MAX, Direction::Ascending)?;
    for (age, key) in aged {
        writes.push(delete(Table::Replies, key));
        writes.push(delete(Table::ReplyAge, age));
    }
    Ok(writes)
}

/// [`StoredObject`], borrowed.
#[derive(Serialize)]
struct StoredObjectRef<'a> {
    place: Place,
    entries: u64,
    image: &'a ObjectImage,
}

impl StoredObjectRef<'_> {
    fn of(held: &Held) -> StoredObjectRef<'_> {
        StoredObjectRef {
            place: held.place,
            entries: held.entries,
            image: &held.image,
        }
    }
}

/// The index's key of an entry.
pub fn entry_key(object: ObjectId, key: &Key) -> Vec<u8> {
    [&object.0.to_be_bytes()[..], key.bytes()].concat()
}

/// The index's key of the reply to a request.
pub fn reply_key(request: &RequestId) -> Vec<u8> {
    [&request.client.0[..], &request.sequence.to_be_bytes()].concat()
}

/// An index record.
pub fn put<T: Serialize>(table: Table, key: Vec<u8>, value: &T) -> IndexWrite {
    // Postcard into a growing vector fails only for types that cannot be encoded at all; ours all can.
    let value = postcard::to_allocvec(value).unwrap_or_default();
    IndexWrite::Put { table, key, value }
}

fn delete(table: Table, key: Vec<u8>) -> IndexWrite {
    IndexWrite::Delete { table, key }
}

/// A record of the index's own account.
pub fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, OpenError> {
    postcard::from_bytes(bytes).map_err(|error| OpenError::Damaged(format!("meta record: {error}")))
}
