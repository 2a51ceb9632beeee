//! A state that stands still while something looks at several places of it.

use std::sync::{Arc, RwLockReadGuard};

use shared::id::ObjectId;
use shared::key::Key;
use shared::lookup::Slots;
use shared::object::ObjectImage;
use shared::value::Value;

use super::super::layer::Layer;
use super::super::lmdb::Direction;
use super::super::scan::Scanned;
use super::{Core, State};

impl State {
    /// Runs `work` on one unchanging state.
    pub fn at_once<T>(&self, work: impl FnOnce(&mut Snapshot<'_>) -> T) -> T {
        work(&mut Snapshot {
            state: self,
            core: self.read(),
        })
    }
}

/// One unchanging state; holds publishes up while it lives, so keep it short.
pub struct Snapshot<'a> {
    state: &'a State,
    core: RwLockReadGuard<'a, Core>,
}

impl Snapshot<'_> {
    pub fn object(&self, id: ObjectId) -> Option<Arc<ObjectImage>> {
        self.state.find(&self.core, id).map(|held| held.image)
    }

    /// As [`State::scan`].
    pub fn scan(
        &self,
        pending: &Layer,
        object: ObjectId,
        range: (&Key, &Key),
        limit: usize,
        direction: Direction,
    ) -> Scanned {
        self.state
            .scan_in(&self.core, pending, object, range, limit, direction)
    }
}

impl Slots for Snapshot<'_> {
    type Error = std::convert::Infallible;

    fn slot(&mut self, object: ObjectId, name: &str) -> Result<Option<Value>, Self::Error> {
        Ok(self
            .object(object)
            .and_then(|object| object.slot(name).map(|slot| slot.value.clone())))
    }
}
