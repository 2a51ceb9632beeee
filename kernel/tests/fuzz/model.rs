//! What an image should be: plain maps, kept once for every transaction.

use std::collections::{BTreeMap, BTreeSet};

use shared::id::{ObjectId, TransactionId};
use shared::key::Key;
use shared::value::{BlobRef, Value};

use kernel::image::draft::Change;

use crate::branches::PlainBranch;

/// The key of an entry. Numbers sort before texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlainKey {
    Int(i64),
    Text(String),
}

impl PlainKey {
    pub fn key(&self) -> Key {
        let value = match self {
            PlainKey::Int(int) => Value::Int(*int),
            PlainKey::Text(text) => Value::Text(text.clone()),
        };
        Key::of(&value).unwrap()
    }

    pub fn of(key: &Key) -> PlainKey {
        match key.value().unwrap() {
            Value::Int(int) => PlainKey::Int(int),
            Value::Text(text) => PlainKey::Text(text),
            other => panic!("{other:?}"),
        }
    }
}

/// A value and the transaction that put it.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    pub value: Value,
    pub changed: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    pub slots: Vec<(String, Put)>,
    pub entries: BTreeMap<PlainKey, Put>,
    /// The last transaction that named it.
    pub touched: u64,
}

impl Object {
    pub fn slot(&self, name: &str) -> Option<&Put> {
        self.slots
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, put)| put)
    }
}

pub type World = BTreeMap<u64, Object>;

/// What one transaction named: enough to take it back.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    pub made: BTreeSet<u64>,
    /// Whether the slot was there afterwards.
    pub slots: BTreeMap<(u64, String), bool>,
    pub entries: BTreeMap<(u64, PlainKey), bool>,
    pub objects: BTreeSet<u64>,
}

/// Everything that happened.
pub struct Model {
    /// After each transaction since the base.
    pub worlds: BTreeMap<u64, World>,
    pub changes: BTreeMap<u64, Changed>,
    pub blobs: BTreeSet<BlobRef>,
    /// Sequences whose reply is kept, and their transaction.
    pub replies: BTreeMap<u64, u64>,
    pub base: u64,
    pub branches: BTreeMap<String, PlainBranch>,
}

impl Model {
    pub fn new(last: u64) -> Model {
        Model {
            worlds: BTreeMap::from([(last, World::new())]),
            changes: BTreeMap::new(),
            blobs: BTreeSet::new(),
            replies: BTreeMap::new(),
            base: 0,
            branches: BTreeMap::new(),
        }
    }

    pub fn last(&self) -> u64 {
        *self.worlds.keys().next_back().unwrap()
    }

    pub fn now(&self) -> &World {
        self.worlds.values().next_back().unwrap()
    }

    pub fn at(&self, transaction: u64) -> &World {
        &self.worlds[&transaction]
    }

    /// A transaction that changes nothing that is kept here.
    pub fn pass(&mut self) {
        self.commit(self.now().clone(), Changed::default());
    }

    pub fn commit(&mut self, world: World, changed: Changed) {
        let next = self.last() + 1;
        self.worlds.insert(next, world);
        self.changes.insert(next, changed);
    }

    /// What changes come to, or that they must be refused.
    pub fn apply(&self, changes: &[Change]) -> Option<(World, Changed)> {
        let next = self.last() + 1;
        let (before, mut world, mut changed) = (self.now(), self.now().clone(), Changed::default());
        for change in changes {
            let id = change.object().0;
            if let Change::Create { slots, .. } = change {
                if world.contains_key(&id) {
                    return None;
                }
                let put = |(name, value): &(String, Value)| {
                    let put = Put {
                        value: value.clone(),
                        changed: next,
                    };
                    (name.clone(), put)
                };
                let slots = slots.iter().map(put).collect();
                world.insert(
                    id,
                    Object {
                        slots,
                        ..Object::default()
                    },
                );
                changed.made.insert(id);
            }
            let object = world.get_mut(&id)?;
            object.touched = next;
            changed.objects.insert(id);
            let own = |object: &Object| {
                object
                    .entries
                    .keys()
                    .filter_map(|key| match key {
                        PlainKey::Int(int) => Some(*int),
                        PlainKey::Text(_) => None,
                    })
                    .max()
            };
            let mut entry = |object: &mut Object, key: PlainKey, value: Option<Value>| {
                changed.entries.insert((id, key.clone()), value.is_some());
                match value {
                    Some(value) => object.entries.insert(key, Put { value, changed: next }),
                    None => object.entries.remove(&key),
                };
            };
            match change {
                Change::Create { .. } | Change::Vector { .. } => {}
                Change::Put { slot, value, .. } => {
                    let put = Put {
                        value: value.clone(),
                        changed: next,
                    };
                    match object.slots.iter_mut().find(|(known, _)| known == slot) {
                        Some((_, known)) => *known = put,
                        None => object.slots.push((slot.clone(), put)),
                    }
                    changed.slots.insert((id, slot.clone()), true);
                }
                Change::Remove { slot, .. } => {
                    object.slots.retain(|(known, _)| known != slot);
                    changed.slots.insert((id, slot.clone()), false);
                }
                Change::PutEntry { key, value, .. } => {
                    entry(object, PlainKey::of(key), Some(value.clone()));
                }
                Change::RemoveEntry { key, .. } => entry(object, PlainKey::of(key), None),
                Change::AddEntry { key, amount, .. } => {
                    let key = PlainKey::of(key);
                    let (Value::Int(amount), now) = (amount, object.entries.get(&key).map(|put| &put.value))
                    else {
                        return None;
                    };
                    let sum = match now {
                        None => *amount,
                        Some(Value::Int(now)) => now + amount,
                        Some(_) => return None,
                    };
                    entry(object, key, Some(Value::Int(sum)));
                }
                Change::Append { value, .. } => {
                    // What the transaction has removed before does not count.
                    let next = own(object).map_or(0, |last| last + 1);
                    changed.entries.insert((id, PlainKey::Int(next)), true);
                    object.entries.insert(
                        PlainKey::Int(next),
                        Put {
                            value: value.clone(),
                            changed: self.last() + 1,
                        },
                    );
                }
            }
        }
        changed.entries.retain(|(id, key), is_there| {
            *is_there
                || before
                    .get(id)
                    .is_some_and(|object| object.entries.contains_key(key))
        });
        self.is_sound(&world, &changed).then_some((world, changed))
    }

    /// Nothing that was put refers to what does not exist or is not kept.
    fn is_sound(&self, world: &World, changed: &Changed) -> bool {
        let slots = changed
            .slots
            .keys()
            .filter_map(|(id, name)| Some(&world.get(id)?.slot(name)?.value));
        let made = changed
            .made
            .iter()
            .flat_map(|id| world[id].slots.iter().map(|(_, put)| &put.value));
        let entries = changed
            .entries
            .keys()
            .filter_map(|(id, key)| Some(&world.get(id)?.entries.get(key)?.value));
        slots.chain(made).chain(entries).all(|value| {
            let mut is_sound = true;
            value.each_reference(&mut |id| is_sound &= world.contains_key(&id.0));
            value.each_blob(&mut |blob| is_sound &= self.blobs.contains(blob));
            is_sound
        })
    }

    /// The changes that take a transaction back; `None` where it must be refused.
    pub fn undo(&self, undone: u64) -> Option<Vec<Change>> {
        let changed = self
            .changes
            .get(&undone)
            .filter(|changed| !changed.objects.is_empty())?;
        let (before, now) = (self.worlds.get(&(undone - 1))?, self.now());
        let mut changes = Vec::new();
        for id in changed.objects.iter().filter(|id| now.contains_key(id)) {
            if changed.made.contains(id) {
                if now[id].touched != undone {
                    return None;
                }
                continue;
            }
            let names = changed.slots.iter().filter(|((holder, _), _)| holder == id);
            for ((_, name), is_there) in names {
                if now[id].slot(name).map(|put| put.changed) != is_there.then_some(undone) {
                    return None;
                }
                let (object, slot) = (ObjectId(*id), name.clone());
                changes.push(match before[id].slot(name) {
                    Some(put) => Change::Put {
                        object,
                        slot,
                        value: put.value.clone(),
                    },
                    None => Change::Remove { object, slot },
                });
            }
        }
        for ((id, key), is_there) in &changed.entries {
            let current = now.get(id).and_then(|object| object.entries.get(key));
            if current.map(|put| put.changed) != is_there.then_some(undone) {
                return None;
            }
            let (object, old) = (
                ObjectId(*id),
                before.get(id).and_then(|object| object.entries.get(key)),
            );
            changes.push(match old {
                Some(put) => Change::PutEntry {
                    object,
                    key: key.key(),
                    value: put.value.clone(),
                },
                None => Change::RemoveEntry {
                    object,
                    key: key.key(),
                },
            });
        }
        Some(changes)
    }

    /// Ids that neither the lobby nor a branch reaches.
    pub fn unreachable(&self) -> BTreeSet<u64> {
        let now = self.now();
        let mut reached = BTreeSet::new();
        let mut waiting = vec![ObjectId::LOBBY.0];
        waiting.extend(self.branches.values().flat_map(PlainBranch::roots));
        while let Some(id) = waiting.pop() {
            let Some(object) = now.get(&id) else { continue };
            if reached.insert(id) {
                let slots = object.slots.iter().map(|(_, put)| put);
                for put in slots.chain(object.entries.values()) {
                    put.value.each_reference(&mut |id| waiting.push(id.0));
                }
            }
        }
        now.keys().filter(|id| !reached.contains(id)).copied().collect()
    }

    /// The image was packed: what was unreachable is gone from all of history, and history begins now.
    pub fn pack(&mut self) {
        let gone = self.unreachable();
        self.base = self.last();
        self.worlds = self.worlds.split_off(&self.base);
        self.changes.clear();
        for world in self.worlds.values_mut() {
            world.retain(|id, _| !gone.contains(id));
        }
        if !gone.is_empty() {
            self.pass();
        }
    }

    /// What differs between two moments: slots and entries by their values, of objects that exist.
    pub fn difference(&self, from: u64, to: u64) -> BTreeSet<(u64, String)> {
        let (old, new) = (self.at(from), self.at(to));
        let mut different = BTreeSet::new();
        let none = Object::default();
        for id in self.now().keys() {
            let (old, new) = (old.get(id).unwrap_or(&none), new.get(id).unwrap_or(&none));
            for (name, _) in old.slots.iter().chain(&new.slots) {
                let value = |object: &Object| object.slot(name).map(|put| put.value.clone());
                if value(old) != value(new) {
                    different.insert((*id, name.clone()));
                }
            }
            for key in old.entries.keys().chain(new.entries.keys()) {
                let value = |object: &Object| object.entries.get(key).map(|put| put.value.clone());
                if value(old) != value(new) {
                    different.insert((*id, format!("{key:?}")));
                }
            }
        }
        different
    }
}

pub fn transaction(number: u64) -> TransactionId {
    TransactionId(number)
}
