//! What brings the three databases from before a layer to after it. The result depends on the state alone, not on the steps to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use shared::id::ObjectId;

use super::analysis::Analysis;
use super::block::{self, Block, Row};
use super::fresh::Fresh;
use super::matrix::{self, Matrix};
use super::postings;
use super::vector::{Encoder, Vector};
use crate::image::lmdb::{Direction, IndexWrite, Reading, Table};
use crate::image::record::StoredObject;

/// Of one term in one block: which chunks have it, and how often; `None` for those that have it no more.
type Changed = BTreeMap<u16, Option<u32>>;

/// The same of each of its blocks.
type ChangedBlocks = BTreeMap<u32, Changed>;
/// What becomes of some vectors of a block.
type ChangedVectors = Vec<(u8, Option<Arc<Vector>>)>;

/// What to write for `fresh` into an index that `reading` shows. The objects in it are those from before.
pub fn writes(reading: &Reading<'_>, fresh: &Fresh) -> Result<Vec<IndexWrite>, ::lmdb::Error> {
    let mut writes = Vec::new();
    if !fresh.chunks.is_empty() {
        of_chunks(reading, fresh, &mut writes)?;
    }
    if !fresh.vectors.is_empty() {
        of_vectors(reading, fresh, &mut writes)?;
    }
    Ok(writes)
}

fn of_chunks(
    reading: &Reading<'_>,
    fresh: &Fresh,
    writes: &mut Vec<IndexWrite>,
) -> Result<(), ::lmdb::Error> {
    let mut terms: FxHashMap<Box<[u8]>, ChangedBlocks> = FxHashMap::default();
    let mut note = |analysis: &Analysis, (block, low): (u32, u16), is_there: bool| {
        for (term, times) in &analysis.terms {
            let blocks = match terms.get_mut(term) {
                Some(blocks) => blocks,
                None => terms.entry(term.clone()).or_default(),
            };
            let changed = is_there.then_some(*times);
            blocks.entry(block).or_default().insert(low, changed);
        }
    };
    let mut blocks: BTreeMap<u32, Vec<ObjectId>> = BTreeMap::new();
    for id in fresh.chunks.keys() {
        blocks.entry(block::place(*id).0).or_default().push(*id);
    }
    for (number, ids) in blocks {
        let key = number.to_be_bytes();
        let mut rows = match reading.get(Table::Chunks, &key)? {
            Some(bytes) => Block::read(&bytes).ok_or(::lmdb::Error::Corrupted)?.thawed(),
            None => BTreeMap::new(),
        };
        for id in ids {
            let place = block::place(id);
            if rows.remove(&place.1).is_some()
                && let Some(before) = stored(reading, id)?
            {
                note(&before, place, false);
            }
            if let Some(Some(chunk)) = fresh.chunks.get(&id) {
                let now = chunk.analysis();
                note(&now, place, true);
                rows.insert(place.1, Row::of(&now));
            }
        }
        writes.push(written(Table::Chunks, key.to_vec(), block::frozen(&rows)));
    }
    let mut ordered: Vec<(Box<[u8]>, ChangedBlocks)> = terms.into_iter().collect();
    ordered.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    for (term, blocks) in ordered {
        for (number, changed) in blocks {
            let key = postings::key(&term, number);
            let mut all = match reading.get(Table::Postings, &key)? {
                Some(bytes) => postings::thawed(&bytes).ok_or(::lmdb::Error::Corrupted)?,
                None => BTreeMap::new(),
            };
            for (low, times) in changed {
                match times {
                    Some(times) => all.insert(low, times),
                    None => all.remove(&low),
                };
            }
            let value = (!all.is_empty()).then(|| postings::frozen(all));
            writes.push(written(Table::Postings, key, value));
        }
    }
    Ok(())
}

fn of_vectors(
    reading: &Reading<'_>,
    fresh: &Fresh,
    writes: &mut Vec<IndexWrite>,
) -> Result<(), ::lmdb::Error> {
    let known = encoders(reading)?;
    let mut blocks: BTreeMap<(Encoder, u64), ChangedVectors> = BTreeMap::new();
    for (id, vector) in &fresh.vectors {
        let (block, low) = matrix::place(*id);
        let own = vector.as_ref().map(|vector| vector.encoder());
        // It may be there by another encoder.
        for other in known.iter().filter(|other| Some(**other) != own) {
            blocks.entry((*other, block)).or_default().push((low, None));
        }
        if let Some(own) = own {
            blocks
                .entry((own, block))
                .or_default()
                .push((low, vector.clone()));
        }
    }
    for ((encoder, number), changes) in blocks {
        let key = matrix::key(encoder, number);
        let stored = reading.get(Table::Vectors, &key)?;
        let mut vectors = match &stored {
            Some(bytes) => Matrix::read(bytes)
                .ok_or(::lmdb::Error::Corrupted)?
                .thawed(encoder),
            None => BTreeMap::new(),
        };
        let mut is_changed = false;
        for (low, vector) in changes {
            is_changed |= match vector {
                Some(vector) => {
                    vectors.insert(low, vector);
                    true
                }
                None => vectors.remove(&low).is_some(),
            };
        }
        if is_changed {
            writes.push(written(Table::Vectors, key, matrix::frozen(&vectors)));
        }
    }
    Ok(())
}

/// The encoders that the index has vectors of.
pub fn encoders(reading: &Reading<'_>) -> Result<BTreeSet<Encoder>, ::lmdb::Error> {
    let mut found = BTreeSet::new();
    let mut from = Vec::new();
    loop {
        let next = reading.range(Table::Vectors, &from, &[0xff; 16], 1, Direction::Ascending)?;
        let Some((encoder, _)) = next.first().and_then(|(key, _)| matrix::split(key)) else {
            return Ok(found);
        };
        found.insert(encoder);
        from = matrix::range(encoder).1;
    }
}

/// What a chunk of the index was known by.
fn stored(reading: &Reading<'_>, id: ObjectId) -> Result<Option<Analysis>, ::lmdb::Error> {
    let bytes = reading.get(Table::Objects, &id.0.to_be_bytes())?;
    let stored = bytes.map(|bytes| postcard::from_bytes::<StoredObject>(&bytes));
    let stored = stored.transpose().map_err(|_| ::lmdb::Error::Corrupted)?;
    Ok(stored.and_then(|stored| Analysis::of(&stored.image)))
}

fn written(table: Table, key: Vec<u8>, value: Option<Vec<u8>>) -> IndexWrite {
    match value {
        Some(value) => IndexWrite::Put { table, key, value },
        None => IndexWrite::Delete { table, key },
    }
}

impl Row {
    pub fn of(analysis: &Analysis) -> Row {
        Row {
            fingerprint: analysis.fingerprint,
            length: u16::try_from(analysis.length).unwrap_or(u16::MAX),
        }
    }
}
