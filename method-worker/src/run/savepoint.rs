//! Savepoints: a state of the run's changes to which it can go back (M5).
//!
//! A savepoint keeps values, not Python objects: lists and dicts that methods have in their hands when the run goes back
//! belong to no slot any more; who reads the slot again gets what it held. What was read stays read.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use pyo3::exceptions::PyLookupError;
use pyo3::prelude::*;
use shared::id::ObjectId;
use shared::key::Key;
use shared::value::Value;

use super::entries::{Pending, place};
use super::{Changes, Content, NameId, Run, raise};
use crate::encode::encode;

pub struct Savepoint {
    declared: bool,
    objects: Vec<SavedObject>,
    entries: Vec<SavedEntries>,
}

struct SavedObject {
    id: ObjectId,
    created: bool,
    /// `None` for a slot that is removed.
    slots: Vec<(NameId, Option<Value>)>,
}

/// The changed entries of an object.
struct SavedEntries {
    object: ObjectId,
    pending: Vec<(Key, SavedEntry)>,
    appended: Vec<Value>,
}

enum SavedEntry {
    /// `None` for one that is removed.
    Is(Option<Value>),
    Added(Value),
}

impl Run {
    /// Marks the state of all changes so far; the number that [`Run::roll_back`] takes. Refuses what could not persist.
    pub fn savepoint(&mut self, py: Python<'_>) -> PyResult<usize> {
        self.settle(py).map_err(raise)?;
        let mut objects = Vec::with_capacity(self.changes.len());
        for (id, changes) in &self.changes {
            let mut slots = Vec::with_capacity(changes.slots.len());
            for (name, content) in &changes.slots {
                let value = match content {
                    Content::Removed => None,
                    Content::Stored(value) => Some(value.clone()),
                    Content::Held(held) => {
                        let place = format!("{id}.{}", self.names.text(*name));
                        Some(encode(held.bind(py), &place).map_err(raise)?)
                    }
                };
                slots.push((*name, value));
            }
            objects.push(SavedObject {
                id: *id,
                created: changes.created,
                slots,
            });
        }
        let entries = self.saved_entries(py)?;
        self.savepoints.push(Savepoint {
            declared: self.declared,
            objects,
            entries,
        });
        Ok(self.savepoints.len())
    }

    fn saved_entries(&self, py: Python<'_>) -> PyResult<Vec<SavedEntries>> {
        let value = |content: &Content, place: &dyn Fn() -> String| match content {
            Content::Removed => Ok(None),
            Content::Stored(value) => Ok(Some(value.clone())),
            Content::Held(held) => encode(held.bind(py), &place()).map(Some).map_err(raise),
        };
        let mut saved = Vec::new();
        for (object, entries) in &self.entries {
            let mut pending = Vec::with_capacity(entries.pending.len());
            for (key, entry) in &entries.pending {
                let entry = match entry {
                    Pending::Is(content) => SavedEntry::Is(value(content, &|| place(*object, key))?),
                    Pending::Added(amount) => SavedEntry::Added(amount.clone()),
                };
                pending.push((key.clone(), entry));
            }
            let mut appended = Vec::with_capacity(entries.appended.len());
            for content in &entries.appended {
                appended.extend(value(content, &|| format!("what is appended to {object}"))?);
            }
            saved.push(SavedEntries {
                object: *object,
                pending,
                appended,
            });
        }
        Ok(saved)
    }

    /// Takes back every change since that savepoint, which stays; later ones are gone. What the slots held comes back, to be
    /// dropped outside of [`super::with`].
    pub fn roll_back(&mut self, number: usize) -> PyResult<Vec<Py<PyAny>>> {
        let saved = number.checked_sub(1).and_then(|at| self.savepoints.get(at));
        let Some(saved) = saved else {
            return Err(PyLookupError::new_err(format!(
                "there is no savepoint {number} in this transaction"
            )));
        };
        self.declared = saved.declared;
        let changes: IndexMap<_, _, _> = saved.objects.iter().map(SavedObject::restored).collect();
        let entries: Vec<_> = saved.entries.iter().map(SavedEntries::restored).collect();
        self.savepoints.truncate(number);
        let old_entries = self.drop_entry_changes();
        for (object, pending, appended) in entries {
            let entries = self.entries_of(object);
            entries.pending = pending;
            entries.appended = appended;
        }
        let changed = std::mem::replace(&mut self.changes, changes);
        let copies = std::mem::take(&mut self.copies);
        self.shortcuts.clear();
        self.parents_are_loose = false;
        let contents = changed
            .into_values()
            .flat_map(|object| object.slots.into_values());
        let held = contents.filter_map(|content| super::held(Some(content)));
        let copied = copies.into_values().map(|copy| copy.object);
        Ok(held.chain(copied).chain(old_entries).collect())
    }
}

impl SavedObject {
    fn restored(&self) -> (ObjectId, Changes) {
        let slots = self.slots.iter().map(|(name, value)| {
            let content = value.clone().map_or(Content::Removed, Content::Stored);
            (*name, content)
        });
        let changes = Changes {
            created: self.created,
            slots: slots.collect(),
        };
        (self.id, changes)
    }
}

impl SavedEntries {
    fn restored(&self) -> (ObjectId, BTreeMap<Key, Pending>, Vec<Content>) {
        let pending = self.pending.iter().map(|(key, entry)| {
            let entry = match entry {
                SavedEntry::Is(value) => Pending::Is(value.clone().map_or(Content::Removed, Content::Stored)),
                SavedEntry::Added(amount) => Pending::Added(amount.clone()),
            };
            (key.clone(), entry)
        });
        let appended = self.appended.iter().cloned().map(Content::Stored);
        (self.object, pending.collect(), appended.collect())
    }
}
