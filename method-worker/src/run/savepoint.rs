//! Savepoints: a state of the run's changes to which it can go back (M5).
//!
//! A savepoint keeps values, not Python objects: lists and dicts that methods have in their hands when the run goes back
//! belong to no slot any more; who reads the slot again gets what it held. What was read stays read.

use indexmap::IndexMap;
use pyo3::exceptions::PyLookupError;
use pyo3::prelude::*;
use shared::id::ObjectId;
use shared::value::Value;

use super::{Changes, Content, NameId, Run, raise};
use crate::encode::encode;

pub struct Savepoint {
    declared: bool,
    objects: Vec<SavedObject>,
}

struct SavedObject {
    id: ObjectId,
    created: bool,
    /// `None` for a slot that is removed.
    slots: Vec<(NameId, Option<Value>)>,
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
        self.savepoints.push(Savepoint {
            declared: self.declared,
            objects,
        });
        Ok(self.savepoints.len())
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
        self.savepoints.truncate(number);
        let changed = std::mem::replace(&mut self.changes, changes);
        let copies = std::mem::take(&mut self.copies);
        self.shortcuts.clear();
        self.parents_are_loose = false;
        let contents = changed
            .into_values()
            .flat_map(|object| object.slots.into_values());
        let held = contents.filter_map(|content| super::held(Some(content)));
        Ok(held.chain(copies.into_values().map(|copy| copy.object)).collect())
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
