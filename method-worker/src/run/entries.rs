//! The entries of objects: what the run has read of them, what it has changed, and how the two are seen as one (M7).
//!
//! A change is kept apart from what is stored, and nothing is asked of the kernel that no method looks at: a put, an add and
//! an append are blind. Looking at an entry that was added to, or at keys among which appended values stand, asks for what is
//! stored, and so makes it a read; the change is then the one value or key that was seen.
//!
//! A list or dict that is read from an entry is measured as one of a slot is: it is the same Python object during the run,
//! and what it is at the end is written where it differs.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use rustc_hash::{FxBuildHasher, FxHashMap};
use shared::activation::ScanOrder;
use shared::id::ObjectId;
use shared::key::Key;
use shared::value::Value;

use super::walk::Walk;
use super::{Content, Run, held};
use crate::decode::{decode, is_mutable};
use crate::encode::{encode, same};
use crate::holders::is_alone;

/// Entries that were met on a walk are remembered up to so many an object; those that were asked for one by one always.
const REMEMBERED: usize = 4_096;
/// So many lists and dicts of entries are held before those that nobody else holds are let go.
const HELD: usize = 2_048;

/// Stored entries that are looked at at once for one that is not removed.
const REMOVED_AT_ONCE: u32 = 64;

/// The entries of every object that the run has to do with.
pub type AllEntries = IndexMap<ObjectId, Entries, FxBuildHasher>;

/// One object's entries.
pub struct Entries {
    /// Stored entries that were read; `None` where there was none.
    known: FxHashMap<Key, Option<Value>>,
    /// How many are stored, once it was asked.
    count: Option<u64>,
    pub pending: BTreeMap<Key, Pending>,
    /// Values to be put behind all others, in this order, after `pending`: no method has looked where.
    pub appended: Vec<Content>,
    /// At so many `pending` the lists and dicts that nobody else holds are let go.
    let_go_at: usize,
}

impl Default for Entries {
    fn default() -> Entries {
        Entries {
            known: FxHashMap::default(),
            count: None,
            pending: BTreeMap::new(),
            appended: Vec::new(),
            let_go_at: HELD,
        }
    }
}

/// What the run has made of an entry.
pub enum Pending {
    /// This is what it holds now.
    Is(Content),
    /// This is to be added to what it holds when the run commits.
    Added(Value),
}

impl Entries {
    /// What is stored there, as far as the run has read it.
    pub fn read(&self, key: &Key) -> Option<&Option<Value>> {
        self.known.get(key)
    }
}

impl Run {
    /// The entry's value; `None` when there is none.
    pub fn entry(&mut self, py: Python<'_>, object: ObjectId, key: &Key) -> PyResult<Option<Py<PyAny>>> {
        self.require(object)?;
        self.settle_appended_before(object, key);
        self.seen_entry(py, object, key)
    }

    pub fn has_entry(&mut self, object: ObjectId, key: &Key) -> PyResult<bool> {
        self.require(object)?;
        self.settle_appended_before(object, key);
        Ok(match self.pending(object, key) {
            Some(Pending::Is(Content::Removed)) => false,
            Some(_) => true,
            None => self.stored_entry(object, key).is_some(),
        })
    }

    /// Puts an entry without looking; what it held comes back, to be dropped outside of [`super::with`].
    pub fn put_entry(
        &mut self,
        object: ObjectId,
        key: Key,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Py<PyAny>>> {
        self.require(object)?;
        self.settle_appended_before(object, &key);
        let is = Pending::Is(Content::Held(value.clone().unbind()));
        Ok(content(self.entries_of(object).pending.insert(key, is)))
    }

    /// Removes an entry. `None` when there is none; else what it held, as from [`Run::put_entry`].
    pub fn remove_entry(&mut self, object: ObjectId, key: Key) -> PyResult<Option<Option<Py<PyAny>>>> {
        if !self.has_entry(object, &key)? {
            return Ok(None);
        }
        let is_fresh = self.is_created(object);
        let pending = &mut self.entries_of(object).pending;
        let old = match is_fresh {
            true => pending.remove(&key),
            false => pending.insert(key, Pending::Is(Content::Removed)),
        };
        Ok(Some(content(old)))
    }

    /// Adds to an entry; an absent one counts as zero. Looks at nothing that is stored. What it held comes back as from
    /// [`Run::put_entry`].
    pub fn add_to_entry(
        &mut self,
        py: Python<'_>,
        object: ObjectId,
        key: Key,
        amount: Value,
    ) -> PyResult<Option<Py<PyAny>>> {
        if !matches!(amount, Value::Int(_) | Value::Float(_)) {
            return Err(PyTypeError::new_err(format!(
                "a {} cannot be added to an entry; an integer of 64 bits or a float can",
                amount.kind()
            )));
        }
        self.require(object)?;
        self.settle_appended_before(object, &key);
        let now = match self.pending(object, &key) {
            None => Pending::Added(amount),
            Some(Pending::Added(before)) => Pending::Added(sum(object, &key, before, &amount)?),
            Some(Pending::Is(Content::Removed)) => Pending::Is(Content::Stored(amount)),
            Some(Pending::Is(Content::Stored(value))) => {
                Pending::Is(Content::Stored(sum(object, &key, value, &amount)?))
            }
            Some(Pending::Is(Content::Held(held))) => {
                let value = encode(held.bind(py), &place(object, &key)).map_err(super::raise)?;
                Pending::Is(Content::Stored(sum(object, &key, &value, &amount)?))
            }
        };
        Ok(content(self.entries_of(object).pending.insert(key, now)))
    }

    /// Puts a value under the integer after the largest integer key, without looking which that is.
    pub fn append_entry(&mut self, object: ObjectId, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.require(object)?;
        let held = Content::Held(value.clone().unbind());
        self.entries_of(object).appended.push(held);
        Ok(())
    }

    /// How many entries there are. Looks at the count and at every entry that was put or added to without looking.
    pub fn count_entries(&mut self, object: ObjectId) -> PyResult<u64> {
        self.require(object)?;
        let (is_fresh, peer) = (self.is_created(object), &mut self.peer);
        let entries = self.entries.entry(object).or_default();
        let mut count = match entries.count {
            Some(count) => count,
            None if is_fresh => 0,
            None => *entries.count.insert(peer.count(object)),
        };
        count += entries.appended.len() as u64;
        for (key, pending) in &entries.pending {
            let is_there = !matches!(pending, Pending::Is(Content::Removed));
            let was_there = !is_fresh
                && entries
                    .known
                    .entry(key.clone())
                    .or_insert_with(|| peer.entry(object, key.clone()))
                    .is_some();
            match (was_there, is_there) {
                (false, true) => count += 1,
                (true, false) => count = count.saturating_sub(1),
                _ => {}
            }
        }
        Ok(count)
    }

    /// The next entry of a walk: its key, and its value if the walk is over values.
    pub fn next_entry(
        &mut self,
        py: Python<'_>,
        walk: &mut Walk,
    ) -> PyResult<Option<(Key, Option<Py<PyAny>>)>> {
        let object = walk.object;
        while walk.left > 0 {
            if walk.reaches_integers() {
                self.settle_appended(object);
            }
            let is_fresh = self.is_created(object);
            let stored = walk.next_stored(|from, to, limit, order| match is_fresh {
                true => (Vec::new(), true),
                false => self.peer.scan(object, from, to, limit, order),
            });
            let pending = self.entries.get(&object).and_then(|entries| {
                let mut range = entries.pending.range(walk.low.clone()..walk.high.clone());
                match walk.order {
                    ScanOrder::Ascending => range.next(),
                    ScanOrder::Descending => range.next_back(),
                }
            });
            let Some(key) = walk.nearest(stored, pending.map(|(key, _)| key.clone())) else {
                return Ok(None);
            };
            if let Some(value) = walk.pass(&key) {
                self.remember(object, &key, value);
            }
            let is_removed = matches!(self.pending(object, &key), Some(Pending::Is(Content::Removed)));
            if is_removed {
                continue;
            }
            walk.left -= 1;
            let value = match walk.face.has_values() {
                true => self.seen_entry(py, object, &key)?,
                false => None,
            };
            self.forget_surplus(object, &key);
            return Ok(Some((key, value)));
        }
        Ok(None)
    }

    /// The entries' changes of every object are gone; what was read stays read. What they held comes back.
    pub fn drop_entry_changes(&mut self) -> Vec<Py<PyAny>> {
        let mut old = Vec::new();
        for entries in self.entries.values_mut() {
            let pending = std::mem::take(&mut entries.pending).into_values();
            old.extend(pending.filter_map(|pending| content(Some(pending))));
            old.extend(
                entries
                    .appended
                    .drain(..)
                    .filter_map(|content| held(Some(content))),
            );
        }
        old
    }

    pub fn entries_of(&mut self, object: ObjectId) -> &mut Entries {
        self.entries.entry(object).or_default()
    }

    fn pending(&self, object: ObjectId, key: &Key) -> Option<&Pending> {
        self.entries.get(&object)?.pending.get(key)
    }

    /// What is stored there, noted as read by the kernel when it is asked.
    fn stored_entry(&mut self, object: ObjectId, key: &Key) -> Option<&Value> {
        if self.is_created(object) {
            return None;
        }
        let peer = &mut self.peer;
        let known = &mut self.entries.entry(object).or_default().known;
        known
            .entry(key.clone())
            .or_insert_with(|| peer.entry(object, key.clone()))
            .as_ref()
    }

    /// The value now, appended values left aside.
    fn seen_entry(&mut self, py: Python<'_>, object: ObjectId, key: &Key) -> PyResult<Option<Py<PyAny>>> {
        let value = match self.pending(object, key) {
            Some(Pending::Is(Content::Held(held))) => return Ok(Some(held.clone_ref(py))),
            Some(Pending::Is(Content::Removed)) => return Ok(None),
            Some(Pending::Is(Content::Stored(value))) => value.clone(),
            Some(Pending::Added(amount)) => {
                let amount = amount.clone();
                let stored = self.stored_entry(object, key).unwrap_or(&Value::Int(0));
                let sum = sum(object, key, stored, &amount)?;
                let is = Pending::Is(Content::Stored(sum.clone()));
                self.entries_of(object).pending.insert(key.clone(), is);
                sum
            }
            None => match self.stored_entry(object, key) {
                Some(value) => value.clone(),
                None => return Ok(None),
            },
        };
        let data = decode(py, &value, self)?.unbind();
        if is_mutable(&value) {
            let entries = self.entries_of(object);
            entries.let_go(py);
            let is = Pending::Is(Content::Held(data.clone_ref(py)));
            entries.pending.insert(key.clone(), is);
        }
        Ok(Some(data))
    }

    /// Notes what a walk has passed.
    fn remember(&mut self, object: ObjectId, key: &Key, value: Value) {
        let known = &mut self.entries_of(object).known;
        known.entry(key.clone()).or_insert(Some(value));
    }

    /// Forgets what a walk has passed where there is too much of it and no change to compare with it.
    fn forget_surplus(&mut self, object: ObjectId, key: &Key) {
        let entries = self.entries_of(object);
        if entries.known.len() > REMEMBERED && !entries.pending.contains_key(key) {
            entries.known.remove(key);
        }
    }

    /// Before an entry under such a key is looked at or changed, appended values get their keys.
    fn settle_appended_before(&mut self, object: ObjectId, key: &Key) {
        let (from, to) = Key::integers();
        if from <= *key && *key < to {
            self.settle_appended(object);
        }
    }

    /// Appended values get the keys that the committer would give them; where the last one stands is read for it.
    fn settle_appended(&mut self, object: ObjectId) {
        let Some(entries) = self.entries.get(&object) else {
            return;
        };
        if entries.appended.is_empty() {
            return;
        }
        let (from, to) = Key::integers();
        let own = entries
            .pending
            .range(from.clone()..to.clone())
            .rev()
            .find(|(_, pending)| !matches!(pending, Pending::Is(Content::Removed)))
            .map(|(key, _)| key.clone());
        let stored = match self.is_created(object) {
            true => None,
            false => self.last_stored(object, from, to),
        };
        let mut last = own.max(stored);
        let entries = self.entries_of(object);
        for value in std::mem::take(&mut entries.appended) {
            // Without an integer left the committer refuses the run; here the rest stays appended.
            match Key::next_integer(last.as_ref()) {
                Some(key) => {
                    entries.pending.insert(key.clone(), Pending::Is(value));
                    last = Some(key);
                }
                None => entries.appended.push(value),
            }
        }
    }
}

impl Run {
    /// The largest key of a range under which something is stored and not removed by this activation.
    fn last_stored(&mut self, object: ObjectId, from: Key, mut to: Key) -> Option<Key> {
        let mut wanted = 1;
        loop {
            let (found, is_whole) =
                self.peer
                    .scan(object, from.clone(), to.clone(), wanted, ScanOrder::Descending);
            let pending = self.entries.get(&object).map(|entries| &entries.pending);
            let is_removed = |key: &Key| {
                let pending = pending.and_then(|pending| pending.get(key));
                matches!(pending, Some(Pending::Is(Content::Removed)))
            };
            if let Some((key, _)) = found.iter().find(|(key, _)| !is_removed(key)) {
                return Some(key.clone());
            }
            match found.last() {
                Some((edge, _)) if !is_whole => to = edge.clone(),
                _ => return None,
            }
            wanted = REMOVED_AT_ONCE;
        }
    }
}

impl Entries {
    /// Lets go of lists and dicts that were read, are as they are stored, and that no method has in its hands.
    fn let_go(&mut self, py: Python<'_>) {
        if self.pending.len() < self.let_go_at {
            return;
        }
        let known = &mut self.known;
        self.pending.retain(|key, pending| {
            let Pending::Is(Content::Held(held)) = pending else {
                return true;
            };
            let Some(Some(stored)) = known.get(key) else {
                return true;
            };
            let is_as_stored = || encode(held.bind(py), "").is_ok_and(|value| same(&value, stored));
            let is_kept = !is_alone(held.bind(py), 1) || !is_as_stored();
            if !is_kept {
                known.remove(key);
            }
            is_kept
        });
        self.let_go_at = HELD.max(2 * self.pending.len());
    }
}

/// How errors name an entry: `#12['a']`.
pub fn place(object: ObjectId, key: &Key) -> String {
    match key.value() {
        Some(value) => format!("{object}{}", crate::encode::step(&value)),
        None => format!("{object}[?]"),
    }
}

fn sum(object: ObjectId, key: &Key, now: &Value, amount: &Value) -> PyResult<Value> {
    now.plus(amount).ok_or_else(|| {
        let place = place(object, key);
        match now {
            Value::Int(_) => PyOverflowError::new_err(format!("{place} would be beyond 64 bits")),
            _ => PyTypeError::new_err(format!(
                "{place} is a {}; only a number can be added to",
                now.kind()
            )),
        }
    })
}

fn content(pending: Option<Pending>) -> Option<Py<PyAny>> {
    match pending {
        Some(Pending::Is(content)) => held(Some(content)),
        _ => None,
    }
}
