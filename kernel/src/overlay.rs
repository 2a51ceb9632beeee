//! The world as one activation sees it: the durable state, with a thought's own pending changes in front.

use std::sync::{Arc, LazyLock};

use shared::activation::{Read, ReadSlot, ScanOrder};
use shared::id::{ObjectId, TransactionId};
use shared::key::Key;
use shared::lookup::{Found, Slots, chain, lookup, push_parents, walk};
use shared::object::{ObjectImage, PARENTS};
use shared::value::Value;

use crate::image::draft::{Change, CommitError};
use crate::image::layer::Layer;
use crate::image::lmdb::Direction;
use crate::image::log::Next;
use crate::image::record::{Entry, Place};
use crate::image::resolution::resolve;
use crate::image::scan::Scanned;
use crate::image::state::{State, range_digest};

/// The change mark of a slot that is not committed yet.
pub const PENDING: TransactionId = TransactionId(u64::MAX);

/// What a scan answers takes so many bytes at most, unless its first entry alone takes more: it must fit into a frame.
const SCANNED_BYTES: usize = 4 << 20;
/// What an entry takes in a frame besides its key and value, at most.
const ENTRY_BYTES: usize = 8;
/// How many entries the first piece of a scan has.
const FIRST_PIECE: usize = 64;

/// Changes of a thought that has not committed, and what it read.
#[derive(Clone, Default)]
pub struct Overlay {
    layer: Layer,
    pub changes: Vec<Change>,
    pub reads: Vec<Read>,
}

impl Overlay {
    /// Adds changes; later activations see them. Refused changes leave nothing.
    pub fn apply(&mut self, state: &State, changes: Vec<Change>) -> Result<(), CommitError> {
        let (objects, entries) = resolve(state, &self.layer, changes.clone())?;
        let place = Place {
            segment: u64::MAX,
            offset: 0,
        };
        let next = Next {
            transaction: PENDING,
            place,
            chain: [0; 32],
        };
        let entry = Entry {
            objects,
            entries,
            ..Entry::default()
        };
        self.layer.advance(next, entry, &|id| state.held(id));
        self.changes.extend(changes);
        Ok(())
    }

    /// Adds an activation's reads; what it saw of this overlay itself is no read of the image.
    pub fn absorb(&mut self, reads: Vec<Read>) {
        self.reads.extend(reads.into_iter().filter(|read| {
            let touched = |object| self.layer.objects.contains_key(&object);
            match &read.slot {
                ReadSlot::Named(_, seen) => *seen != Some(PENDING),
                ReadSlot::Whole(version) => *version != PENDING,
                ReadSlot::Entry(_, seen) => *seen != Some(PENDING),
                // Mixed with pending entries they cannot be compared later; the entries read one by one still are.
                ReadSlot::Range { .. } | ReadSlot::Count(_) => !touched(read.object),
            }
        }));
    }
}

/// Where an activation reads.
#[derive(Clone, Copy)]
pub struct World<'a> {
    pub state: &'a State,
    pub overlay: Option<&'a Overlay>,
}

/// A lookup's result and everything it depended on.
pub struct Looked {
    pub found: Option<Found>,
    pub reads: Vec<Read>,
    /// The receiver and what it delegates to, as far as the lookup went or could go.
    pub chain: Vec<ObjectId>,
}

/// Where a message goes.
pub struct Way {
    /// The object whose slot is named by the selector.
    pub holder: Option<Arc<ObjectImage>>,
    /// The receiver and what it delegates to, up to the holder, in their versions.
    pub chain: Vec<(ObjectId, TransactionId)>,
}

impl World<'_> {
    /// The object, and whether it has uncommitted changes.
    pub fn object(&self, id: ObjectId) -> Option<(Arc<ObjectImage>, bool)> {
        match self.overlay.and_then(|overlay| overlay.layer.objects.get(&id)) {
            Some(held) => held.as_ref().map(|held| (held.image.clone(), true)),
            None => self.state.object(id).map(|object| (object, false)),
        }
    }

    /// An entry's value; the read is noted.
    pub fn entry(&self, object: ObjectId, key: &Key, reads: &mut Vec<Read>) -> Option<Value> {
        let entry = self.state.entry_before(self.layer(), object, key);
        reads.push(Read {
            object,
            slot: ReadSlot::Entry(key.clone(), entry.as_ref().map(|entry| entry.changed)),
        });
        entry.map(|entry| entry.value.clone())
    }

    /// At most `limit` entries of a range, fewer when they are large (but one at least), and whether that is all of it; the
    /// read of what was seen is noted.
    pub fn scan(
        &self,
        object: ObjectId,
        from: Key,
        to: Key,
        limit: usize,
        order: ScanOrder,
        reads: &mut Vec<Read>,
    ) -> (Vec<(Key, Value)>, bool) {
        let (mut found, is_whole) = self.scan_bounded(object, &from, &to, limit, order);
        let entries = found
            .iter()
            .map(|(key, entry)| (key.clone(), entry.value.clone()))
            .collect();
        // What was seen reaches to the last key only, unless it is all.
        let edge = found.last().map(|(key, _)| key.clone()).filter(|_| !is_whole);
        let (from, to) = match (edge, order) {
            (Some(edge), ScanOrder::Ascending) => (from, edge.after()),
            (Some(edge), ScanOrder::Descending) => (edge, to),
            (None, _) => (from, to),
        };
        if order == ScanOrder::Descending {
            found.reverse();
        }
        reads.push(Read {
            object,
            slot: ReadSlot::Range {
                from,
                to,
                digest: range_digest(&found),
            },
        });
        (entries, is_whole)
    }

    /// Reads in growing pieces, so that large values are never all in memory before their size is known.
    fn scan_bounded(
        &self,
        object: ObjectId,
        from: &Key,
        to: &Key,
        limit: usize,
        order: ScanOrder,
    ) -> (Scanned, bool) {
        let direction = match order {
            ScanOrder::Ascending => Direction::Ascending,
            ScanOrder::Descending => Direction::Descending,
        };
        let (mut low, mut high) = (from.clone(), to.clone());
        let mut found = Scanned::new();
        let (mut piece, mut left) = (FIRST_PIECE, SCANNED_BYTES);
        while found.len() < limit {
            let wanted = piece.min(limit - found.len());
            let some = self
                .state
                .scan(self.layer(), object, &low, &high, wanted, direction);
            let is_last = some.len() < wanted;
            for (key, entry) in some {
                let bytes = key.bytes().len() + entry.value.frame_bytes() + ENTRY_BYTES;
                if bytes > left && !found.is_empty() {
                    return (found, false);
                }
                left = left.saturating_sub(bytes);
                found.push((key, entry));
            }
            if is_last {
                return (found, true);
            }
            match (found.last(), order) {
                (Some((edge, _)), ScanOrder::Ascending) => low = edge.after(),
                (Some((edge, _)), ScanOrder::Descending) => high = edge.clone(),
                (None, _) => {}
            }
            piece *= 4;
        }
        (found, false)
    }

    /// How many entries an object has; the read is noted.
    pub fn count(&self, object: ObjectId, reads: &mut Vec<Read>) -> u64 {
        let count = match self.layer().objects.get(&object) {
            Some(held) => held.as_ref().map_or(0, |held| held.entries),
            None => self.state.held(object).map_or(0, |held| held.entries),
        };
        reads.push(Read {
            object,
            slot: ReadSlot::Count(count),
        });
        count
    }

    fn layer(&self) -> &Layer {
        static NOTHING: LazyLock<Layer> = LazyLock::new(Layer::default);
        self.overlay.map_or(&NOTHING, |overlay| &overlay.layer)
    }

    /// Looks a selector up, all of it in one unchanging state; whoever carries the message out looks again and notes the reads.
    pub fn way(&self, receiver: ObjectId, selector: &str) -> Way {
        self.state.at_once(|snapshot| {
            let mut way = Way {
                holder: None,
                chain: Vec::new(),
            };
            let Ok(()) = walk(receiver, |id, parents| {
                let pending = self.overlay.and_then(|overlay| overlay.layer.objects.get(&id));
                let object = match pending {
                    Some(held) => held.as_ref().map(|held| held.image.clone()),
                    None => snapshot.object(id),
                };
                if let Some(object) = object {
                    way.chain.push((id, object.version));
                    match object.slot(selector) {
                        Some(_) => way.holder = Some(object),
                        None => push_parents(object.slot(PARENTS).map(|slot| &slot.value), parents),
                    }
                }
                Ok::<bool, std::convert::Infallible>(way.holder.is_some())
            });
            way
        })
    }

    /// Looks a selector up, all of it in one unchanging state.
    pub fn look_up(&self, receiver: ObjectId, selector: &str) -> Looked {
        self.state.at_once(|snapshot| {
            let mut reader = Reader {
                overlay: self.overlay,
                snapshot,
                reads: Vec::new(),
            };
            let Ok(found) = lookup(&mut reader, receiver, selector);
            let reads = std::mem::take(&mut reader.reads);
            let Ok(chain) = chain(&mut reader, receiver);
            Looked { found, reads, chain }
        })
    }
}

struct Reader<'a, 'b> {
    overlay: Option<&'a Overlay>,
    snapshot: &'a mut crate::image::state::Snapshot<'b>,
    reads: Vec<Read>,
}

impl Slots for Reader<'_, '_> {
    type Error = std::convert::Infallible;

    fn slot(&mut self, object: ObjectId, name: &str) -> Result<Option<Value>, Self::Error> {
        let overlaid = self
            .overlay
            .and_then(|overlay| overlay.layer.objects.get(&object))
            .and_then(|held| held.as_ref().map(|held| held.image.clone()));
        let holder = overlaid.or_else(|| self.snapshot.object(object));
        let slot = holder.as_ref().and_then(|holder| holder.slot(name));
        let seen = slot.map(|slot| slot.changed);
        if seen != Some(PENDING) {
            self.reads.push(Read {
                object,
                slot: ReadSlot::Named(name.to_owned(), seen),
            });
        }
        Ok(slot.map(|slot| slot.value.clone()))
    }
}
