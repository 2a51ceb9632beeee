//! The world as one activation sees it: the durable state, with a thought's own pending changes in front.

use std::collections::HashMap;
use std::sync::Arc;

use shared::activation::{Read, ReadSlot};
use shared::id::{ObjectId, TransactionId};
use shared::lookup::{Found, Slots, chain, lookup};
use shared::object::ObjectImage;
use shared::value::Value;

use crate::image::record::Change;
use crate::image::state::{State, apply, empty_object};

/// The change mark of a slot that is not committed yet.
pub const PENDING: TransactionId = TransactionId(u64::MAX);

/// Changes of a thought that has not committed, and what it read.
#[derive(Clone, Default)]
pub struct Overlay {
    objects: HashMap<ObjectId, Arc<ObjectImage>>,
    pub changes: Vec<Change>,
    pub reads: Vec<Read>,
}

impl Overlay {
    /// Adds changes; later activations see them.
    pub fn apply(&mut self, state: &State, changes: Vec<Change>) {
        for change in changes {
            let id = change.object();
            let mut object = match self.objects.get(&id) {
                Some(object) => (**object).clone(),
                None => state
                    .object(id)
                    .map_or_else(|| empty_object(id), |object| (*object).clone()),
            };
            apply(&mut object, change.clone(), PENDING);
            self.objects.insert(id, Arc::new(object));
            self.changes.push(change);
        }
    }

    /// Adds an activation's reads; what it saw of this overlay itself is no read of the image.
    pub fn absorb(&mut self, reads: Vec<Read>) {
        self.reads
            .extend(reads.into_iter().filter(|read| match &read.slot {
                ReadSlot::Named(_, seen) => *seen != Some(PENDING),
                ReadSlot::Whole(version) => *version != PENDING,
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

impl World<'_> {
    /// The object, and whether it has uncommitted changes.
    pub fn object(&self, id: ObjectId) -> Option<(Arc<ObjectImage>, bool)> {
        match self.overlay.and_then(|overlay| overlay.objects.get(&id)) {
            Some(object) => Some((object.clone(), true)),
            None => self.state.object(id).map(|object| (object, false)),
        }
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
            .and_then(|overlay| overlay.objects.get(&object))
            .cloned();
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
