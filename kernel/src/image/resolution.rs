//! What a transaction's wishes come to, after everything that is pending before it.

use std::collections::HashMap;

use rustc_hash::FxHashMap;
use shared::id::ObjectId;
use shared::json::to_hex;
use shared::key::Key;
use shared::object::{PARENTS, is_slot_name};
use shared::value::{BlobRef, Value};

use super::draft::{Change, CommitError};
use super::layer::{Held, Layer};
use super::record::{EntryChange, ObjectChange, Place, VectorChange};
use super::state::State;

/// The states to record, in the order of the first change of each object and entry. Refused where a change makes no sense,
/// or would leave a reference to nothing, or name a blob whose content is not here.
pub fn resolve(
    state: &State,
    pending: &Layer,
    changes: Vec<Change>,
) -> Result<(Vec<ObjectChange>, Vec<EntryChange>), CommitError> {
    let mut resolution = Resolution {
        state,
        pending,
        objects: Vec::new(),
        at: FxHashMap::default(),
        entries: Vec::new(),
        entry_at: HashMap::new(),
        last_integers: HashMap::new(),
    };
    for change in changes {
        resolution.add(change)?;
    }
    resolution.check_references()?;
    resolution.check_blobs()?;
    // An entry that was absent and stays so is no change.
    resolution
        .entries
        .retain(|change| change.before.is_some() || change.value.is_some());
    Ok((resolution.objects, resolution.entries))
}

/// What changes do to vectors.
pub fn vectors_of(changes: &[Change]) -> Vec<VectorChange> {
    let vectors = changes.iter().filter_map(|change| match change {
        Change::Vector { object, vector } => Some(VectorChange {
            chunk: *object,
            vector: vector.clone(),
        }),
        _ => None,
    });
    vectors.collect()
}

/// One draft's changes, one after the other.
struct Resolution<'a> {
    state: &'a State,
    pending: &'a Layer,
    objects: Vec<ObjectChange>,
    at: FxHashMap<ObjectId, usize>,
    entries: Vec<EntryChange>,
    entry_at: HashMap<(ObjectId, Key), usize>,
    /// The largest integer key of the objects that are appended to.
    last_integers: HashMap<ObjectId, Option<Key>>,
}

impl Resolution<'_> {
    fn add(&mut self, change: Change) -> Result<(), CommitError> {
        match change {
            Change::Create { object, slots } => {
                if self.at.contains_key(&object) || self.held(object).is_some() {
                    return Err(refused(format!("{object} exists already")));
                }
                for (index, (name, value)) in slots.iter().enumerate() {
                    if slots[..index].iter().any(|(known, _)| known == name) {
                        return Err(refused(format!("{object} would have two slots {name}")));
                    }
                    check_slot(object, name, value)?;
                }
                self.at.insert(object, self.objects.len());
                let slots = slots
                    .into_iter()
                    .map(|(name, value)| (name, Some(value)))
                    .collect();
                self.objects.push(ObjectChange {
                    object,
                    before: None,
                    slots,
                });
            }
            Change::Put { object, slot, value } => {
                check_slot(object, &slot, &value)?;
                self.slot(object, slot, Some(value))?;
            }
            Change::Remove { object, slot } => self.slot(object, slot, None)?,
            Change::PutEntry { object, key, value } => self.entry(object, key, Some(value))?,
            Change::RemoveEntry { object, key } => self.entry(object, key, None)?,
            Change::AddEntry { object, key, amount } => {
                let now = self.entry_value(object, &key).unwrap_or(Value::Int(0));
                let sum = now.plus(&amount).ok_or_else(|| {
                    CommitError::Unmergeable(format!(
                        "{object}: a {} cannot be added to a {}, or the sum is beyond 64 bits",
                        amount.kind(),
                        now.kind()
                    ))
                })?;
                self.entry(object, key, Some(sum))?;
            }
            Change::Append { object, value } => {
                let key = self.next_key(object)?;
                self.entry(object, key, Some(value))?;
            }
            // Beside the objects; see `vectors_of`.
            Change::Vector { .. } => {}
        }
        Ok(())
    }

    fn held(&self, id: ObjectId) -> Option<Held> {
        match self.pending.objects.get(&id) {
            Some(known) => known.clone(),
            None => self.state.held(id),
        }
    }

    /// The change of an object, begun if this is its first.
    fn object(&mut self, object: ObjectId) -> Result<&mut ObjectChange, CommitError> {
        let at = match self.at.get(&object) {
            Some(at) => *at,
            None => {
                let held = self
                    .held(object)
                    .ok_or_else(|| refused(format!("{object} does not exist")))?;
                self.at.insert(object, self.objects.len());
                self.objects.push(ObjectChange {
                    object,
                    before: Some(held.place),
                    slots: Vec::new(),
                });
                self.objects.len() - 1
            }
        };
        Ok(&mut self.objects[at])
    }

    fn slot(&mut self, object: ObjectId, name: String, value: Option<Value>) -> Result<(), CommitError> {
        let change = self.object(object)?;
        match value {
            // A slot that is put again after a removal comes last: both stay, in this order.
            Some(value) => match change.slots.iter_mut().rfind(|(known, _)| *known == name) {
                Some((_, known @ Some(_))) => *known = Some(value),
                _ => change.slots.push((name, Some(value))),
            },
            None => {
                change.slots.retain(|(known, _)| *known != name);
                change.slots.push((name, None));
            }
        }
        Ok(())
    }

    fn entry(&mut self, object: ObjectId, key: Key, value: Option<Value>) -> Result<(), CommitError> {
        self.object(object)?;
        // Keys come from workers, and the index can never hold a longer one.
        if !key.is_whole() {
            return Err(refused(format!(
                "{key:?} cannot be the key of an entry of {object}"
            )));
        }
        if value.is_some()
            && let Some(last) = self.last_integers.get_mut(&object)
            && is_integer(&key)
        {
            *last = last.take().max(Some(key.clone()));
        }
        if value.is_none() && self.last_integers.get(&object) == Some(&Some(key.clone())) {
            self.last_integers.remove(&object);
        }
        let at = (object, key);
        if let Some(known) = self.entry_at.get(&at) {
            self.entries[*known].value = value;
            return Ok(());
        }
        let before: Option<Place> = self
            .state
            .entry_before(self.pending, object, &at.1)
            .map(|stored| stored.place);
        self.entries.push(EntryChange {
            object,
            key: at.1.clone(),
            before,
            value,
        });
        self.entry_at.insert(at, self.entries.len() - 1);
        Ok(())
    }

    fn entry_value(&self, object: ObjectId, key: &Key) -> Option<Value> {
        match self.entry_at.get(&(object, key.clone())) {
            Some(at) => self.entries[*at].value.clone(),
            None => self
                .state
                .entry_before(self.pending, object, key)
                .map(|stored| stored.value.clone()),
        }
    }

    /// The integer after the largest integer key; a queue never gives a key out twice while it holds a later one.
    fn next_key(&mut self, object: ObjectId) -> Result<Key, CommitError> {
        let last = match self.last_integers.get(&object) {
            Some(last) => last,
            None => {
                let last = self.last_integer(object);
                self.last_integers.entry(object).or_insert(last)
            }
        };
        Key::next_integer(last.as_ref()).ok_or_else(|| {
            CommitError::Unmergeable(format!("{object} has no integer key left to append under"))
        })
    }

    fn last_integer(&self, object: ObjectId) -> Option<Key> {
        let (from, mut to) = Key::integers();
        let stored = loop {
            let last = self.state.last_entry(self.pending, object, &from, &to);
            match last.map(|(key, _)| key) {
                Some(key) if self.is_removed(object, &key) => to = key,
                last => break last,
            }
        };
        let own = self
            .entries
            .iter()
            .filter(|change| change.object == object && change.value.is_some())
            .map(|change| &change.key)
            .filter(|key| is_integer(key))
            .max();
        stored.max(own.cloned())
    }

    fn is_removed(&self, object: ObjectId, key: &Key) -> bool {
        let at = self.entry_at.get(&(object, key.clone()));
        at.is_some_and(|at| self.entries[*at].value.is_none())
    }

    /// Nothing may refer to what does not exist.
    fn check_references(&self) -> Result<(), CommitError> {
        let mut missing = None;
        let mut check = |value: &Value, holder: ObjectId| {
            value.each_reference(&mut |id| {
                if missing.is_none() && !self.at.contains_key(&id) && self.held(id).is_none() {
                    missing = Some((holder, id));
                }
            });
        };
        for change in &self.objects {
            for value in change.slots.iter().filter_map(|(_, value)| value.as_ref()) {
                check(value, change.object);
            }
        }
        for change in &self.entries {
            if let Some(value) = &change.value {
                check(value, change.object);
            }
            if let Some(key) = change.key.value() {
                check(&key, change.object);
            }
        }
        match missing {
            Some((holder, id)) => Err(refused(format!(
                "{holder} would refer to {id}, which does not exist"
            ))),
            None => Ok(()),
        }
    }

    /// Nothing may name a content that is not kept: what is not durable before its transaction may never be.
    fn check_blobs(&self) -> Result<(), CommitError> {
        let slots = self
            .objects
            .iter()
            .flat_map(|change| change.slots.iter().map(|(_, value)| (change.object, value)));
        let entries = self.entries.iter().map(|change| (change.object, &change.value));
        let mut result = Ok(());
        for (holder, value) in slots.chain(entries) {
            let Some(value) = value else { continue };
            value.each_blob(&mut |blob| {
                if result.is_ok() {
                    result = self.check_blob(holder, blob);
                }
            });
        }
        result
    }

    fn check_blob(&self, holder: ObjectId, blob: &BlobRef) -> Result<(), CommitError> {
        let name = to_hex(&blob.digest);
        match self.state.blobs.length(&blob.digest) {
            Ok(Some(bytes)) if bytes == blob.bytes => Ok(()),
            Ok(Some(bytes)) => Err(refused(format!(
                "{holder} would name the blob {name} with {} bytes, but it has {bytes}",
                blob.bytes
            ))),
            Ok(None) => Err(refused(format!(
                "{holder} would name the blob {name}, whose content is not in this image; give it first by `batos blob put`"
            ))),
            Err(error) => Err(refused(format!("{holder} would name the blob {name}: {error}"))),
        }
    }
}

fn refused(message: String) -> CommitError {
    CommitError::Refused(message)
}

fn is_integer(key: &Key) -> bool {
    let (from, to) = Key::integers();
    from <= *key && *key < to
}

/// What every slot must obey, whoever put it.
fn check_slot(object: ObjectId, name: &str, value: &Value) -> Result<(), CommitError> {
    if !is_slot_name(name) {
        return Err(refused(format!(
            "{name:?} cannot be the name of a slot of {object}"
        )));
    }
    let is_parents =
        matches!(value, Value::List(items) if items.iter().all(|item| matches!(item, Value::Ref(_))));
    if name == PARENTS && !is_parents {
        return Err(refused(format!("{object}.parents must be a list of references")));
    }
    Ok(())
}
