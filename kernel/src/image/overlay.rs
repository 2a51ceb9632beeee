//! Changes that stand in front of the durable state and are no part of it: those of a thought, or of a branch.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use shared::activation::{Read, ReadSlot};
use shared::bridge::Difference;
use shared::id::{ObjectId, TransactionId};
use shared::key::Key;
use shared::value::Value;

use super::draft::{Change, CommitError};
use super::layer::{Held, Layer};
use super::log::Next;
use super::record::{Entry, EntryChange, ObjectChange, Place, VectorChange};
use super::resolution::{resolve, vectors_of};
use super::state::State;

/// The change mark of a slot or entry that is not committed yet.
pub const PENDING: TransactionId = TransactionId::PENDING;
/// A version that nothing ever had: who has read it is in conflict.
const NEVER: TransactionId = TransactionId(0);

/// Changes that have not committed, and what was read on the way to them.
#[derive(Clone, Default)]
pub struct Overlay {
    layer: Layer,
    pub changes: Vec<Change>,
    pub reads: Vec<Read>,
    /// Slots that were put or removed here.
    slots: HashSet<(ObjectId, String)>,
    /// Entries that were put or removed here; those that were only added to follow the image.
    entries: HashSet<(ObjectId, Key)>,
    /// What the image had of the changed objects when they were first changed here; `None` was made here.
    below: HashMap<ObjectId, Option<Held>>,
    /// The last change that the image knew of a changed entry.
    entries_below: HashMap<(ObjectId, Key), Option<TransactionId>>,
}

/// What changes come to in front of a state.
pub struct Resolved {
    objects: Vec<ObjectChange>,
    entries: Vec<EntryChange>,
    own_entries: Vec<(ObjectId, Key)>,
    vectors: Vec<VectorChange>,
}

impl Overlay {
    /// Adds changes and remembers them for the commit; later activations see them. Refused changes leave nothing.
    pub fn apply(&mut self, state: &State, changes: Vec<Change>) -> Result<(), CommitError> {
        let resolved = self.resolve(state, changes.clone())?;
        self.place(state, resolved);
        self.changes.extend(changes);
        Ok(())
    }

    /// What changes would come to here. Refused where a commit of them would be.
    pub fn resolve(&self, state: &State, changes: Vec<Change>) -> Result<Resolved, CommitError> {
        let own_entries = changes
            .iter()
            .filter_map(|change| match change {
                Change::PutEntry { object, key, .. } | Change::RemoveEntry { object, key } => {
                    Some((*object, key.clone()))
                }
                _ => None,
            })
            .collect();
        let vectors = vectors_of(&changes);
        let (objects, entries) = resolve(state, &self.layer, changes)?;
        Ok(Resolved {
            objects,
            entries,
            own_entries,
            vectors,
        })
    }

    /// Makes them visible here.
    pub fn place(&mut self, state: &State, resolved: Resolved) {
        let place = Place {
            segment: u64::MAX,
            offset: 0,
        };
        let next = Next {
            transaction: PENDING,
            place,
            chain: [0; 32],
        };
        for change in &resolved.objects {
            let names = change.slots.iter().map(|(name, _)| name.clone());
            self.slots.extend(names.map(|name| (change.object, name)));
            if change.before.is_none() {
                self.below.insert(change.object, None);
            }
        }
        for change in &resolved.entries {
            let at = (change.object, change.key.clone());
            if !self.layer.entries.contains_key(&at) {
                let version = change.before.map(|before| {
                    let now = state.entry(change.object, &change.key);
                    now.filter(|now| now.place == before)
                        .map_or(NEVER, |now| now.changed)
                });
                self.entries_below.insert(at, version);
            }
        }
        self.entries.extend(resolved.own_entries);
        let entry = Entry {
            objects: resolved.objects,
            entries: resolved.entries,
            vectors: resolved.vectors,
            ..Entry::default()
        };
        let below = RefCell::new(&mut self.below);
        self.layer.advance(next, entry, &|id| {
            let held = state.held(id);
            below.borrow_mut().insert(id, held.clone());
            held
        });
    }

    /// Adds an activation's reads.
    pub fn absorb(&mut self, reads: Vec<Read>) {
        let reads = self.of_the_image(reads);
        self.reads.extend(reads);
    }

    /// An activation's reads as reads of the image: what it saw of this overlay itself is none.
    pub fn of_the_image(&self, reads: Vec<Read>) -> Vec<Read> {
        let kept = reads.into_iter().filter_map(|read| {
            let Some(below) = self.below.get(&read.object) else {
                return Some(read);
            };
            let held = below.as_ref()?;
            match read.slot {
                ReadSlot::Named(name, seen) => {
                    let at = (read.object, name);
                    let is_own = self.slots.contains(&at);
                    let slot = ReadSlot::Named(at.1, seen);
                    (!is_own).then_some(Read { slot, ..read })
                }
                ReadSlot::Whole(PENDING) => Some(Read {
                    slot: ReadSlot::Whole(held.image.version),
                    ..read
                }),
                // The kernel notes reads of entries itself, and knows whose they are.
                _ => Some(read),
            }
        });
        kept.collect()
    }

    /// What a change replaces in the image, as a read; `None` where it replaces nothing of it, or merges with it.
    pub fn replaced(&self, state: &State, change: &Change) -> Option<Read> {
        let object = change.object();
        if matches!(self.below.get(&object), Some(None)) {
            return None;
        }
        let slot = match change {
            Change::Put { slot, .. } | Change::Remove { slot, .. } => {
                if self.slots.contains(&(object, slot.clone())) {
                    return None;
                }
                let image = state.object(object);
                let changed = image.and_then(|image| image.slot(slot).map(|slot| slot.changed));
                ReadSlot::Named(slot.clone(), changed)
            }
            Change::PutEntry { key, .. } | Change::RemoveEntry { key, .. } => {
                if self.entries.contains(&(object, key.clone())) {
                    return None;
                }
                let entry = state.entry(object, key);
                ReadSlot::Entry(key.clone(), entry.map(|entry| entry.changed))
            }
            Change::Create { .. }
            | Change::AddEntry { .. }
            | Change::Append { .. }
            | Change::Vector { .. } => return None,
        };
        Some(Read { object, slot })
    }

    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// The object as it is here: `Some(None)` is gone, `None` is not changed here.
    pub fn object(&self, id: ObjectId) -> Option<&Option<Held>> {
        self.layer.objects.get(&id)
    }

    /// The objects that are not as in the image.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.layer.objects.keys().copied()
    }

    /// The read of the image that a look at an entry of a changed object comes to; `seen` is the last change of the entry.
    pub fn entry_read(&self, object: ObjectId, key: &Key, seen: Option<TransactionId>) -> Option<Read> {
        let at = (object, key.clone());
        let is_own = self.entries.contains(&at) || matches!(self.below.get(&object), Some(None));
        let version = self.entries_below.get(&at).copied().unwrap_or(seen);
        (!is_own).then_some(Read {
            object,
            slot: ReadSlot::Entry(at.1, version),
        })
    }

    /// The same of the number of entries, `counted` here.
    pub fn count_read(&self, object: ObjectId, counted: u64) -> Option<Read> {
        let count = match self.below.get(&object) {
            Some(held) => held.as_ref()?.entries,
            None => counted,
        };
        let slot = ReadSlot::Count(count);
        Some(Read { object, slot })
    }

    /// True for an object that only this overlay has.
    pub fn is_made_here(&self, object: ObjectId) -> bool {
        matches!(self.below.get(&object), Some(None))
    }

    /// What differs from the image as it is now, object by object.
    pub fn differences(&self, state: &State) -> Vec<Difference> {
        let mut found = Vec::new();
        let objects: BTreeSet<ObjectId> = self.layer.objects.keys().copied().collect();
        let mut slots: HashMap<ObjectId, BTreeSet<&String>> = HashMap::new();
        for (object, name) in &self.slots {
            slots.entry(*object).or_default().insert(name);
        }
        for object in objects {
            let old = state.object(object);
            let new = self
                .layer
                .objects
                .get(&object)
                .and_then(|held| held.as_ref().map(|held| &held.image));
            for name in slots.remove(&object).into_iter().flatten() {
                let old_value = old
                    .as_ref()
                    .and_then(|old| old.slot(name))
                    .map(|s| s.value.clone());
                let new_value = new.and_then(|new| new.slot(name)).map(|s| s.value.clone());
                let place = (Some(name.clone()), None);
                difference(&mut found, object, old.is_none(), place, old_value, new_value);
            }
            for (key, entry) in self.layer.range(object, &Key::first(), &Key::last()) {
                let old_value = state.entry(object, key).map(|entry| entry.value.clone());
                let new_value = entry.as_ref().map(|entry| entry.value.clone());
                difference(
                    &mut found,
                    object,
                    old.is_none(),
                    (None, key.value()),
                    old_value,
                    new_value,
                );
            }
        }
        found
    }
}

fn difference(
    found: &mut Vec<Difference>,
    object: ObjectId,
    is_new: bool,
    (slot, key): (Option<String>, Option<Value>),
    old: Option<Value>,
    new: Option<Value>,
) {
    if old != new {
        found.push(Difference {
            object,
            is_new,
            slot,
            key,
            old,
            new,
        });
    }
}
