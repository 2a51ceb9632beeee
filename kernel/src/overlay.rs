//! The world as one activation sees it: the durable state, with the pending changes of a thought or a branch in front.

use std::sync::{Arc, LazyLock};

use shared::activation::{Read, ReadSlot, ScanOrder};
use shared::id::{ObjectId, TransactionId};
use shared::key::Key;
use shared::lookup::{Found, Slots, chain, lookup, push_parents, walk};
use shared::object::{ObjectImage, PARENTS};
use shared::value::Value;

use crate::image::layer::Layer;
use crate::image::lmdb::Direction;
use crate::image::memory::fresh::Fresh;
pub use crate::image::overlay::{Overlay, PENDING};
use crate::image::scan::Scanned;
use crate::image::state::{Snapshot, State, range_digest};

/// What a scan answers takes so many bytes at most, unless its first entry alone takes more: it must fit into a frame.
const SCANNED_BYTES: usize = 4 << 20;
/// What an entry takes in a frame besides its key and value, at most.
const ENTRY_BYTES: usize = 8;
/// How many entries the first piece of a scan has.
const FIRST_PIECE: usize = 64;

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

impl<'w> World<'w> {
    /// The durable state alone.
    pub fn of(state: &'w State) -> World<'w> {
        World { state, overlay: None }
    }

    /// What stands in front of it, too.
    pub fn over(state: &'w State, overlay: &'w Overlay) -> World<'w> {
        World {
            state,
            overlay: Some(overlay),
        }
    }

    /// The object, and whether it has uncommitted changes.
    pub fn object(&self, id: ObjectId) -> Option<(Arc<ObjectImage>, bool)> {
        match self.overlay.and_then(|overlay| overlay.object(id)) {
            Some(held) => held.as_ref().map(|held| (held.image.clone(), true)),
            None => self.state.object(id).map(|object| (object, false)),
        }
    }

    /// An entry's value; the read is noted.
    pub fn entry(&self, object: ObjectId, key: &Key, reads: &mut Vec<Read>) -> Option<Value> {
        let entry = self.state.entry_before(self.layer(), object, key);
        let seen = entry.as_ref().map(|entry| entry.changed);
        match self.overlay {
            Some(overlay) => reads.extend(overlay.entry_read(object, key, seen)),
            None => reads.push(Read {
                object,
                slot: ReadSlot::Entry(key.clone(), seen),
            }),
        }
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
        let is_changed = self
            .overlay
            .is_some_and(|overlay| overlay.object(object).is_some());
        let (found, is_whole, digest) = match is_changed {
            false => {
                let state = self.state;
                let (found, is_whole) =
                    scan_bounded(&from, &to, limit, order, |low, high, wanted, direction| {
                        state.scan(self.layer(), object, low, high, wanted, direction)
                    });
                let digest = range_digest(&ascending(&found, order));
                (found, is_whole, digest)
            }
            // Mixed with pending entries, they cannot be compared later: what the image itself has there can, if it is
            // looked at in the same moment.
            true => self.state.at_once(|snapshot| {
                let (found, is_whole) =
                    scan_bounded(&from, &to, limit, order, |low, high, wanted, direction| {
                        snapshot.scan(self.layer(), object, (low, high), wanted, direction)
                    });
                let (from, to) = seen(&from, &to, &found, is_whole, order);
                let below = snapshot.scan(
                    &Layer::default(),
                    object,
                    (&from, &to),
                    usize::MAX,
                    Direction::Ascending,
                );
                (found, is_whole, range_digest(&below))
            }),
        };
        let (from, to) = seen(&from, &to, &found, is_whole, order);
        if !self.overlay.is_some_and(|overlay| overlay.is_made_here(object)) {
            reads.push(Read {
                object,
                slot: ReadSlot::Range { from, to, digest },
            });
        }
        let entries = found.into_iter().map(|(key, entry)| (key, entry.value.clone()));
        (entries.collect(), is_whole)
    }

    /// How many entries an object has; the read is noted.
    pub fn count(&self, object: ObjectId, reads: &mut Vec<Read>) -> u64 {
        let count = match self.layer().objects.get(&object) {
            Some(held) => held.as_ref().map_or(0, |held| held.entries),
            None => self.state.held(object).map_or(0, |held| held.entries),
        };
        match self.overlay {
            Some(overlay) => reads.extend(overlay.count_read(object, count)),
            None => reads.push(Read {
                object,
                slot: ReadSlot::Count(count),
            }),
        }
        count
    }

    /// What of the memory stands in front of the durable state here.
    pub fn memory(&self) -> Option<Arc<Fresh>> {
        let memory = &self.overlay?.layer().memory;
        (!memory.is_empty()).then(|| memory.clone())
    }

    fn layer(&self) -> &Layer {
        static NOTHING: LazyLock<Layer> = LazyLock::new(Layer::default);
        self.overlay.map_or(&NOTHING, Overlay::layer)
    }

    /// Looks a selector up, all of it in one unchanging state; whoever carries the message out looks again and notes the reads.
    pub fn way(&self, receiver: ObjectId, selector: &str) -> Way {
        self.state.at_once(|snapshot| {
            let mut way = Way {
                holder: None,
                chain: Vec::new(),
            };
            let Ok(()) = walk(receiver, |id, parents| {
                let object = match self.overlay.and_then(|overlay| overlay.object(id)) {
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
        self.at_once(|reader| {
            let Ok(found) = lookup(reader, receiver, selector);
            let reads = std::mem::take(&mut reader.reads);
            let Ok(chain) = chain(reader, receiver);
            Looked { found, reads, chain }
        })
    }

    /// What the objects of a delegation chain have of their own in a slot, nearest first, and the reads of it.
    pub fn held_along(&self, receiver: ObjectId, slot: &str) -> (Vec<(ObjectId, Value)>, Vec<Read>) {
        self.at_once(|reader| {
            let Ok(chain) = chain(reader, receiver);
            let mut held = Vec::new();
            for holder in chain {
                let Ok(found) = reader.slot(holder, slot);
                held.extend(found.map(|value| (holder, value)));
            }
            (held, std::mem::take(&mut reader.reads))
        })
    }

    /// Runs `work` on one unchanging state.
    pub fn at_once<T>(&self, work: impl FnOnce(&mut Reader<'_, '_>) -> T) -> T {
        self.state.at_once(|snapshot| {
            work(&mut Reader {
                overlay: self.overlay,
                snapshot,
                reads: Vec::new(),
            })
        })
    }
}

/// The range that an answer has seen: to its last key only, unless it is all.
fn seen(from: &Key, to: &Key, found: &Scanned, is_whole: bool, order: ScanOrder) -> (Key, Key) {
    let edge = found.last().map(|(key, _)| key.clone()).filter(|_| !is_whole);
    match (edge, order) {
        (Some(edge), ScanOrder::Ascending) => (from.clone(), edge.after()),
        (Some(edge), ScanOrder::Descending) => (edge, to.clone()),
        (None, _) => (from.clone(), to.clone()),
    }
}

fn ascending(found: &Scanned, order: ScanOrder) -> Scanned {
    let mut found = found.clone();
    if order == ScanOrder::Descending {
        found.reverse();
    }
    found
}

/// Reads in growing pieces, so that large values are never all in memory before their size is known.
fn scan_bounded(
    from: &Key,
    to: &Key,
    limit: usize,
    order: ScanOrder,
    mut read: impl FnMut(&Key, &Key, usize, Direction) -> Scanned,
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
        let some = read(&low, &high, wanted, direction);
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

/// One unchanging world; what is looked at is noted.
pub struct Reader<'a, 'b> {
    overlay: Option<&'a Overlay>,
    snapshot: &'a mut Snapshot<'b>,
    reads: Vec<Read>,
}

impl Reader<'_, '_> {
    pub fn object(&self, id: ObjectId) -> Option<Arc<ObjectImage>> {
        match self.overlay.and_then(|overlay| overlay.object(id)) {
            Some(held) => held.as_ref().map(|held| held.image.clone()),
            None => self.snapshot.object(id),
        }
    }
}

impl Slots for Reader<'_, '_> {
    type Error = std::convert::Infallible;

    fn slot(&mut self, object: ObjectId, name: &str) -> Result<Option<Value>, Self::Error> {
        let holder = self.object(object);
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
