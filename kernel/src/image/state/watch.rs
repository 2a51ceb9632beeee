//! The references that commits store while a pack looks for what nothing refers to.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};

use shared::activation::{Read, ReadSlot};
use shared::id::{ObjectId, TransactionId};

use super::super::layer::Layer;
use super::{NAMED_CONFLICTS, State};

impl State {
    /// Begins to note the references that commits store, and the objects that they change.
    pub(in crate::image) fn watch_references(&self) {
        *self.watching() = Some(HashSet::new());
    }

    pub(in crate::image) fn watched(&self) -> Vec<ObjectId> {
        self.watching().iter().flatten().copied().collect()
    }

    pub(in crate::image) fn stop_watching(&self) {
        *self.watching() = None;
    }

    /// What of the ranges has been referred to since a pack began to look, or is by what is pending; a few of them.
    pub(in crate::image) fn referred(&self, ranges: &[(ObjectId, ObjectId)], pending: &Layer) -> Vec<Read> {
        if ranges.is_empty() {
            return Vec::new();
        }
        let mut referred: HashSet<ObjectId> = self.watched().into_iter().collect();
        refer(pending, &mut referred);
        let is_inside = |id: &ObjectId| {
            let at = ranges.partition_point(|(_, last)| last < id);
            ranges.get(at).is_some_and(|(first, _)| first <= id)
        };
        let inside = referred.into_iter().filter(is_inside);
        inside
            .take(NAMED_CONFLICTS)
            .map(|object| Read {
                object,
                slot: ReadSlot::Whole(TransactionId(0)),
            })
            .collect()
    }

    pub(super) fn watching(&self) -> MutexGuard<'_, Option<HashSet<ObjectId>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds what a layer's objects and entries refer to, and those objects themselves.
pub(super) fn refer(layer: &Layer, into: &mut HashSet<ObjectId>) {
    for (id, held) in &layer.objects {
        if let Some(held) = held {
            into.insert(*id);
            for slot in &held.image.slots {
                slot.value.each_reference(&mut |id| {
                    into.insert(id);
                });
            }
        }
    }
    for ((object, key), entry) in &layer.entries {
        into.insert(*object);
        if let Some(key) = key.value() {
            key.each_reference(&mut |id| {
                into.insert(id);
            });
        }
        if let Some(entry) = entry {
            entry.value.each_reference(&mut |id| {
                into.insert(id);
            });
        }
    }
}
