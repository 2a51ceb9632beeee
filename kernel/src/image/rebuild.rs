//! Makes an index anew from the base and the log alone.

use std::path::Path;
use std::sync::Arc;

use shared::bridge::Unit;
use shared::id::TransactionId;

use super::OpenError;
use super::archive::Archive;
use super::base::{Base, BaseRecord, newest};
use super::index_record::{IndexPosition, index_writes, position_of, put};
use super::layer::{Held, Layer};
use super::lmdb::{IndexWrite, Lmdb, Table};
use super::log::BEGINNING;
use super::memory::fresh::Fresh;
use super::record::{Entry, Mark, Place, StoredEntry};
use super::segment::HEADER_BYTES;
use super::state::State;
use crate::reporter::Reporter;

/// The state is written into the index in steps of so many changes.
const STEP: usize = 20_000;

/// Fills an index that is empty, or behind, with the state as of `last`. Every record is shown to `watch` before it is carried
/// out, with the state before it.
pub fn rebuild(
    log_folder: &Path,
    index: Lmdb,
    last: TransactionId,
    reporter: &Reporter,
    watch: impl FnMut(&State, TransactionId, &Entry),
) -> Result<State, OpenError> {
    if is_empty(&index)?
        && let Some(base) = newest(log_folder)?
    {
        load(&base, &index, reporter)?;
    }
    let state = State::load(index, Archive::new(log_folder))?;
    replay(&state, last, reporter, watch)?;
    Ok(state)
}

/// True for an index that was never filled, or not to the end.
pub fn is_empty(index: &Lmdb) -> Result<bool, OpenError> {
    let reading = index.reading().map_err(|source| unusable(index, source))?;
    Ok(position_of(&reading)?.is_none())
}

/// Whether there is anything in an index that says nothing of itself.
pub fn holds_objects(index: &Lmdb) -> Result<bool, OpenError> {
    let counted = index.reading().and_then(|reading| reading.count(Table::Objects));
    Ok(counted.map_err(|source| unusable(index, source))? > 0)
}

/// Brings a rebuilt state up to `last`.
pub fn catch_up(state: &State, last: TransactionId) -> Result<(), OpenError> {
    replay(state, last, &Reporter::silent(), |_, _, _| {})
}

fn replay(
    state: &State,
    last: TransactionId,
    reporter: &Reporter,
    mut watch: impl FnMut(&State, TransactionId, &Entry),
) -> Result<(), OpenError> {
    let index = state.index();
    let failed = |source| unusable(&index, source);
    let from = state.position().unwrap_or(BEGINNING);
    let transactions = last.0.saturating_sub(from.transaction.0);
    reporter.begin("replaying the log", Unit::Transactions, Some(transactions));
    Archive::new(state.archive.folder()).walk(from, last, |next, entry, position| {
        watch(state, next.transaction, &entry);
        reporter.add(1);
        state.replay(vec![(next, entry, position)]);
        if state.fresh_weight() > STEP {
            state.flush().map_err(failed)?;
        }
        Ok::<bool, OpenError>(true)
    })?;
    state.flush().map_err(failed)
}

/// Fills an empty index with what a base holds.
pub fn load(base: &Base, index: &Lmdb, reporter: &Reporter) -> Result<(), OpenError> {
    let mut layer = Layer::default();
    let mut places: Vec<IndexWrite> = Vec::new();
    let transaction = base.transaction();
    let mut known = IndexPosition {
        position: base.end(),
        next_object: 1,
        epoch: Default::default(),
        objects: 0,
    };
    layer.marks.insert(
        TransactionId(transaction.0 + 1),
        Mark {
            place: Place {
                segment: transaction.0 + 1,
                offset: HEADER_BYTES as u64,
            },
            chain: base.end().chain,
            unix_ms: base.unix_ms(),
        },
    );
    reporter.begin("reading the base", Unit::Bytes, base.bytes());
    base.walk(|place, record| {
        reporter.reach(place.offset);
        match record {
            BaseRecord::Objects(objects) => {
                for (entries, image) in objects {
                    let id = image.id;
                    places.push(put(Table::Base, id.0.to_be_bytes().to_vec(), &place.offset));
                    let held = Held {
                        place,
                        entries,
                        image: Arc::new(image),
                    };
                    Fresh::note(&mut layer.memory, id, Some(&held.image), false);
                    layer.objects.insert(id, Some(held));
                }
            }
            BaseRecord::Entries { object, entries } => {
                if let Some((first, _, _)) = entries.first() {
                    let key = super::index_record::entry_key(object, first);
                    places.push(put(Table::Base, key, &place.offset));
                }
                for (key, changed, value) in entries {
                    let stored = StoredEntry {
                        place,
                        changed,
                        value,
                    };
                    layer.entries.insert((object, key), Some(Arc::new(stored)));
                }
            }
            BaseRecord::Replies(replies) => {
                for (at, reply) in replies {
                    layer.replies.insert(reply.request, (at, reply));
                }
            }
            BaseRecord::Missions(missions) => {
                layer
                    .missions
                    .extend(missions.into_iter().map(|mission| (mission.id, mission)));
            }
            BaseRecord::Vectors(vectors) => {
                let memory = Arc::make_mut(&mut layer.memory);
                for (id, vector) in vectors {
                    memory.vectors.insert(id, Some(Arc::new(vector)));
                }
            }
            BaseRecord::End {
                objects,
                next_object,
                epoch,
                ..
            } => {
                known.objects = objects;
                known.next_object = next_object;
                known.epoch = epoch;
            }
        }
        if layer.weight() + layer.memory.vectors.len() > STEP {
            write_step(index, &mut layer, &mut places, &known)?;
        }
        Ok::<(), OpenError>(())
    })?;
    write_step(index, &mut layer, &mut places, &known)?;
    // Only now is it a whole index.
    let whole = vec![
        put(Table::Meta, b"base".to_vec(), &transaction),
        put(Table::Meta, b"position".to_vec(), &known),
    ];
    index.write(&whole).map_err(|source| unusable(index, source))
}

fn write_step(
    index: &Lmdb,
    layer: &mut Layer,
    places: &mut Vec<IndexWrite>,
    known: &IndexPosition,
) -> Result<(), OpenError> {
    let failed = |source| unusable(index, source);
    let mut writes = index_writes(index, layer, known).map_err(failed)?;
    writes.retain(
        |write| !matches!(write, IndexWrite::Put { table: Table::Meta, key, .. } if key == b"position"),
    );
    writes.append(places);
    index.write(&writes).map_err(failed)?;
    *layer = Layer::default();
    Ok(())
}

fn unusable(index: &Lmdb, source: ::lmdb::Error) -> OpenError {
    OpenError::Index {
        path: index.folder().to_path_buf(),
        source,
    }
}
