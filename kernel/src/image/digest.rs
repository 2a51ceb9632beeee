//! The canonical digest of an index: equal for equal states, however they came about.

use shared::id::TransactionId;

use super::index_record::KEPT_REPLIES;
use super::lmdb::{Direction, Lmdb, Pair, Reading, Table};
use super::record::{StoredEntry, StoredObject};

/// Pairs read at a time.
const STEP: usize = 1_000;

/// The BLAKE3 hash over every object, entry, kept reply and mission in key order; places are left out, since a pack moves
/// records. `last` is the newest transaction that the index contains.
pub fn digest(index: &Lmdb, last: TransactionId) -> Result<[u8; 32], ::lmdb::Error> {
    digest_of(&index.reading()?, last)
}

/// The same of one moment of an index.
pub fn digest_of(reading: &Reading<'_>, last: TransactionId) -> Result<[u8; 32], ::lmdb::Error> {
    let mut hasher = blake3::Hasher::new();
    add_objects(&mut hasher, reading)?;
    // Replies of older transactions may be dropped or not.
    let kept = last.0.saturating_sub(KEPT_REPLIES).to_be_bytes();
    each(reading, Table::ReplyAge, |(key, reply)| {
        if key[..] >= kept[..] {
            hasher.update(key);
            if let Ok(Some(stored)) = reading.get(Table::Replies, reply) {
                hasher.update(&stored);
            }
        }
    })?;
    each(reading, Table::Missions, |(key, value)| {
        hasher.update(key);
        hasher.update(value);
    })?;
    // What is derived depends on the state alone; without memory nothing is added.
    for table in [Table::Chunks, Table::Postings, Table::Vectors] {
        each(reading, table, |(key, value)| {
            hasher.update(&(key.len() as u64).to_le_bytes());
            hasher.update(key);
            hasher.update(&(value.len() as u64).to_le_bytes());
            hasher.update(value);
        })?;
    }
    Ok(*hasher.finalize().as_bytes())
}

/// The BLAKE3 hash over every object and entry alone, in key order: what a thought that failed must leave as it was. Missions and
/// replies are not in it.
pub fn objects_digest(reading: &Reading<'_>) -> Result<[u8; 32], ::lmdb::Error> {
    let mut hasher = blake3::Hasher::new();
    add_objects(&mut hasher, reading)?;
    Ok(*hasher.finalize().as_bytes())
}

fn add_objects(hasher: &mut blake3::Hasher, reading: &Reading<'_>) -> Result<(), ::lmdb::Error> {
    each(reading, Table::Objects, |(key, value)| {
        hasher.update(key);
        match postcard::from_bytes::<StoredObject>(value) {
            Ok(stored) => add(hasher, &(stored.entries, stored.image)),
            Err(_) => {
                hasher.update(b"damaged");
            }
        }
    })?;
    each(reading, Table::Entries, |(key, value)| {
        hasher.update(key);
        match postcard::from_bytes::<StoredEntry>(value) {
            Ok(stored) => add(hasher, &(stored.changed, stored.value)),
            Err(_) => {
                hasher.update(b"damaged");
            }
        }
    })
}

/// Visits every pair of a table in key order; memory is that of a step.
pub fn each(reading: &Reading<'_>, table: Table, mut visit: impl FnMut(&Pair)) -> Result<(), ::lmdb::Error> {
    let mut from = Vec::new();
    loop {
        let pairs = reading.range(table, &from, &[0xff; 512], STEP, Direction::Ascending)?;
        pairs.iter().for_each(&mut visit);
        match pairs.last() {
            Some((key, _)) if pairs.len() == STEP => {
                from.clone_from(key);
                from.push(0);
            }
            _ => return Ok(()),
        }
    }
}

/// 64 hexadecimal digits.
pub fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from(*digest).to_hex().to_string()
}

fn add<T: serde::Serialize>(hasher: &mut blake3::Hasher, part: &T) {
    // Encoding into memory fails for no type of ours.
    hasher.update(&postcard::to_allocvec(part).unwrap_or_default());
}
