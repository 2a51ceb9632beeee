//! The past of an image: walks the chain of places that leads from each thing to what it was before.

use std::collections::{BTreeMap, BTreeSet};

use shared::activation::{Read, ReadSlot};
use shared::bridge::{ChangeView, Difference, TransactionView};
use shared::id::{ObjectId, TransactionId};
use shared::key::Key;
use shared::object::ObjectImage;
use shared::value::Value;

use super::base::{Base, BaseRecord};
use super::draft::{Change, Draft};
use super::index_record::entry_key;
use super::layer::{Layer, empty_object, put};
use super::lmdb::{Direction, Table};
use super::log::BEGINNING;
use super::record::{Entry, Place, RequestId};
use super::segment::{LogError, Position};
use super::state::State;

/// A view of a transaction names at most so many changes.
const SHOWN_CHANGES: usize = 200;

/// Why the past could not be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("history begins after transaction {base}, where the image was packed; {asked} is before that")]
    Packed {
        asked: TransactionId,
        base: TransactionId,
    },
    #[error("there is no transaction {0}; the newest is {1}")]
    Unknown(TransactionId, TransactionId),
    #[error("transaction {0} cannot be undone: {1}")]
    Bound(TransactionId, String),
}

/// The past of one state.
pub struct History<'a> {
    state: &'a State,
}

impl<'a> History<'a> {
    pub fn of(state: &'a State) -> History<'a> {
        History { state }
    }

    /// The transactions that changed an object (or one slot of it), newest first, at most `limit`.
    pub fn versions(
        &self,
        object: ObjectId,
        slot: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TransactionView>, HistoryError> {
        let mut views = Vec::new();
        let mut place = self.state.held(object).map(|held| held.place);
        while let Some((transaction, entry)) = self.record(place)?
            && views.len() < limit
        {
            place = before(&entry, object);
            let view = view(transaction, &entry, |change| {
                change.object == object && slot.is_none_or(|slot| change.slot.as_deref() == Some(slot))
            });
            if !view.changes.is_empty() {
                views.push(view);
            }
        }
        Ok(views)
    }

    /// The newest transactions up to `from`, newest first, at most `limit`.
    pub fn log(&self, from: TransactionId, limit: usize) -> Result<Vec<TransactionView>, HistoryError> {
        self.check(from)?;
        let first = TransactionId(
            from.0
                .saturating_sub(limit as u64 - 1)
                .max(self.state.base().0 + 1),
        );
        let mut views = Vec::new();
        self.walk(first, from, |transaction, entry| {
            views.push(view(transaction, &entry, |_| true));
            true
        })?;
        views.reverse();
        Ok(views)
    }

    /// An object just after a transaction; `None` when it did not exist then.
    pub fn object_at(&self, id: ObjectId, at: TransactionId) -> Result<Option<ObjectImage>, HistoryError> {
        self.check(at)?;
        let Some(held) = self.state.held(id) else {
            return Ok(None);
        };
        if held.image.version <= at {
            return Ok(Some((*held.image).clone()));
        }
        let mut place = Some(held.place);
        let mut changes = Vec::new();
        while let Some((transaction, entry)) = self.record(place)? {
            place = before(&entry, id);
            if transaction <= at {
                let change = entry.objects.into_iter().find(|change| change.object == id);
                changes.extend(change.map(|change| (transaction, change.slots)));
            }
        }
        // What is left of the chain leads into the base, or to nothing: then the object was made by the last change seen.
        let mut object = match place {
            Some(_) => self.in_base(id)?,
            None if changes.is_empty() => return Ok(None),
            None => empty_object(id),
        };
        for (transaction, slots) in changes.into_iter().rev() {
            if !slots.is_empty() || object.version == TransactionId(0) {
                object.version = transaction;
            }
            for (name, value) in slots {
                match value {
                    Some(value) => put(&mut object, name, value, transaction),
                    None => object.slots.retain(|slot| slot.name != name),
                }
            }
        }
        Ok(Some(object))
    }

    /// The entries of an object just after a transaction: how many, and the first `limit` in key order. Takes time for what happened
    /// since, not for how many there are.
    pub fn entries_at(
        &self,
        id: ObjectId,
        at: TransactionId,
        limit: usize,
    ) -> Result<(u64, Vec<(Key, Value)>), HistoryError> {
        self.check(at)?;
        let last = self.state.standing().last;
        // Of each entry that has changed since, the first change says what was before.
        let mut since: BTreeMap<Key, Option<Place>> = BTreeMap::new();
        self.walk(TransactionId(at.0 + 1), last, |_, entry| {
            for change in entry.entries.into_iter().filter(|change| change.object == id) {
                since.entry(change.key).or_insert(change.before);
            }
            true
        })?;
        let mut count = self.state.held(id).map_or(0, |held| held.entries);
        let mut then: Vec<(Key, Value)> = Vec::new();
        for (key, place) in since.iter() {
            let is_now = self.state.entry(id, key).is_some();
            let old = self.entry_in(id, key, *place)?;
            match (old.is_some(), is_now) {
                (true, false) => count += 1,
                (false, true) => count = count.saturating_sub(1),
                _ => {}
            }
            then.extend(old.map(|value| (key.clone(), value)));
        }
        let now = self.state.scan(
            &Layer::default(),
            id,
            &Key::first(),
            &Key::last(),
            limit.saturating_add(since.len()),
            Direction::Ascending,
        );
        let unchanged = now
            .into_iter()
            .filter(|(key, _)| !since.contains_key(key))
            .map(|(key, stored)| (key, stored.value.clone()));
        then.extend(unchanged);
        then.sort_by(|(a, _), (b, _)| a.cmp(b));
        then.truncate(limit);
        Ok((count, then))
    }

    /// What differs between two moments; `from` is the earlier.
    pub fn difference(
        &self,
        from: TransactionId,
        to: TransactionId,
    ) -> Result<Vec<Difference>, HistoryError> {
        self.check(from)?;
        self.check(to)?;
        let mut slots: BTreeMap<ObjectId, BTreeSet<String>> = BTreeMap::new();
        let mut entries: BTreeMap<(ObjectId, Key), (Option<Place>, Option<Value>)> = BTreeMap::new();
        self.walk(TransactionId(from.0 + 1), to, |_, entry| {
            for change in entry.objects {
                let names = change.slots.into_iter().map(|(name, _)| name);
                slots.entry(change.object).or_default().extend(names);
            }
            for change in entry.entries {
                let first_before = change.before;
                entries
                    .entry((change.object, change.key))
                    .or_insert((first_before, None))
                    .1 = change.value;
            }
            true
        })?;
        let mut differences = Vec::new();
        for (object, names) in slots {
            let (old, new) = (self.object_at(object, from)?, self.object_at(object, to)?);
            let is_new = old.is_none();
            let value = |image: &Option<ObjectImage>, name: &str| {
                let slot = image.as_ref().and_then(|image| image.slot(name));
                slot.map(|slot| slot.value.clone())
            };
            for name in names {
                let (old, new) = (value(&old, &name), value(&new, &name));
                if old != new {
                    differences.push(Difference {
                        object,
                        is_new,
                        slot: Some(name),
                        key: None,
                        old,
                        new,
                    });
                }
            }
        }
        for ((object, key), (place, new)) in entries {
            let old = self.entry_in(object, &key, place)?;
            if old != new {
                differences.push(Difference {
                    object,
                    is_new: false,
                    slot: None,
                    key: key.value(),
                    old,
                    new,
                });
            }
        }
        Ok(differences)
    }

    /// The draft that takes a transaction back. Refused where something changed since what it changed.
    pub fn undo(&self, undone: TransactionId, author: &str) -> Result<Draft, HistoryError> {
        let (place, entry) = self.transaction(undone)?;
        let bound = |why: String| HistoryError::Bound(undone, why);
        if entry.author == "awakening" {
            return Err(bound("it made the primordial objects".into()));
        }
        if entry.objects.is_empty() {
            return Err(bound("it changed nothing that can be taken back".into()));
        }
        let mut draft = Draft::new(author);
        draft.undoes = Some(undone);
        let mut later: Vec<String> = Vec::new();
        for change in entry.objects {
            let id = change.object;
            let Some(held) = self.state.held(id) else { continue };
            if change.before.is_none() {
                if held.place != place {
                    later.push(format!(
                        "{id}, which it made, was changed by transaction {}",
                        held.image.version
                    ));
                }
                continue;
            }
            let old = self.object_at(id, TransactionId(undone.0 - 1))?;
            // Of a slot that was removed and put again the last counts.
            let last: BTreeMap<String, Option<Value>> = change.slots.into_iter().collect();
            for (name, value) in last {
                let now = held.image.slot(&name).map(|slot| slot.changed);
                let expected = value.is_some().then_some(undone);
                if now != expected {
                    let by =
                        now.map_or_else(|| "removed".into(), |by| format!("changed by transaction {by}"));
                    later.push(format!("{id}.{name} was {by}"));
                    continue;
                }
                draft.reads.push(Read {
                    object: id,
                    slot: ReadSlot::Named(name.clone(), now),
                });
                let before = old.as_ref().and_then(|old| old.slot(&name));
                draft.changes.push(match before {
                    Some(slot) => Change::Put {
                        object: id,
                        slot: name,
                        value: slot.value.clone(),
                    },
                    None => Change::Remove {
                        object: id,
                        slot: name,
                    },
                });
            }
        }
        for change in entry.entries {
            let (object, key) = (change.object, change.key);
            let now = self.state.entry(object, &key).map(|entry| entry.changed);
            if now != change.value.is_some().then_some(undone) {
                later.push(format!("{object}[{key:?}] was changed since"));
                continue;
            }
            draft.reads.push(Read {
                object,
                slot: ReadSlot::Entry(key.clone(), now),
            });
            draft
                .changes
                .push(match self.entry_in(object, &key, change.before)? {
                    Some(value) => Change::PutEntry { object, key, value },
                    None => Change::RemoveEntry { object, key },
                });
        }
        match later.is_empty() {
            true => Ok(draft),
            false => {
                let more = later.len().saturating_sub(8);
                later.truncate(8);
                if more > 0 {
                    later.push(format!("{more} more"));
                }
                Err(bound(later.join("; ")))
            }
        }
    }

    /// The newest transaction whose time is not after `unix_ms`; the base's where all are.
    pub fn at_time(&self, unix_ms: u64) -> Result<TransactionId, HistoryError> {
        let last = self.state.standing().last;
        let mut from = self.state.mark_before(last);
        while let Some((transaction, mark)) = from
            && mark.unix_ms > unix_ms
        {
            from = self.state.mark_before(TransactionId(transaction.0 - 1));
        }
        let mut found = self.state.base();
        let first = from.map_or(TransactionId(found.0 + 1), |(transaction, _)| transaction);
        self.walk(first, last, |transaction, entry| {
            let is_before = entry.unix_ms <= unix_ms;
            if is_before {
                found = transaction;
            }
            is_before
        })?;
        Ok(found)
    }

    /// Whether a transaction after that one has stored the reply of a request.
    pub fn has_reply(&self, request: &RequestId, after: TransactionId) -> Result<bool, HistoryError> {
        self.check(after)?;
        let mut found = false;
        self.walk(
            TransactionId(after.0 + 1),
            self.state.standing().last,
            |_, entry| {
                found = entry.reply.is_some_and(|stored| stored.request == *request);
                !found
            },
        )?;
        Ok(found)
    }

    /// A transaction's place and record.
    fn transaction(&self, wanted: TransactionId) -> Result<(Place, Entry), HistoryError> {
        let mut found = None;
        let from = self.position_before(wanted)?;
        self.state
            .archive
            .visit(from, wanted, |place, transaction, entry| {
                if transaction == wanted {
                    found = Some((place, entry));
                }
                true
            })?;
        found.ok_or(HistoryError::Unknown(wanted, self.state.standing().last))
    }

    fn walk(
        &self,
        first: TransactionId,
        last: TransactionId,
        mut visit: impl FnMut(TransactionId, Entry) -> bool,
    ) -> Result<(), HistoryError> {
        if first > last {
            return Ok(());
        }
        let from = self.position_before(first)?;
        self.state.archive.visit(from, last, |_, transaction, entry| {
            transaction < first || visit(transaction, entry)
        })?;
        Ok(())
    }

    /// Where to begin reading so as to come by a transaction.
    fn position_before(&self, transaction: TransactionId) -> Result<Position, HistoryError> {
        let last = self.state.standing().last;
        if transaction > last || transaction.0 == 0 {
            return Err(HistoryError::Unknown(transaction, last));
        }
        let base = self.state.base();
        if transaction <= base {
            return Err(HistoryError::Packed {
                asked: transaction,
                base,
            });
        }
        Ok(match self.state.mark_before(transaction) {
            Some((marked, mark)) => Position {
                segment: mark.place.segment,
                offset: mark.place.offset,
                transaction: TransactionId(marked.0 - 1),
                chain: mark.chain,
            },
            None => BEGINNING,
        })
    }

    fn check(&self, at: TransactionId) -> Result<(), HistoryError> {
        let (base, last) = (self.state.base(), self.state.standing().last);
        match at {
            at if at > last => Err(HistoryError::Unknown(at, last)),
            asked if asked < base => Err(HistoryError::Packed { asked, base }),
            _ => Ok(()),
        }
    }

    /// The record at a place; `None` where there is none, or it went into the base.
    fn record(&self, place: Option<Place>) -> Result<Option<(TransactionId, Entry)>, HistoryError> {
        match place {
            Some(place) if place.segment > self.state.base().0 => Ok(Some(self.state.archive.entry(place)?)),
            _ => Ok(None),
        }
    }

    /// The value of an entry that was last changed at a place.
    fn entry_in(
        &self,
        object: ObjectId,
        key: &Key,
        place: Option<Place>,
    ) -> Result<Option<Value>, HistoryError> {
        if place.is_none() {
            return Ok(None);
        }
        if let Some((_, entry)) = self.record(place)? {
            let change = entry
                .entries
                .into_iter()
                .find(|change| change.object == object && change.key == *key);
            return Ok(change.and_then(|change| change.value));
        }
        let index = self.state.index();
        let (from, to) = (entry_key(object, &Key::first()), entry_key(object, &key.after()));
        let offset = index
            .reading()
            .and_then(|reading| reading.range(Table::Base, &from, &to, 1, Direction::Descending))
            .ok()
            .and_then(|pairs| postcard::from_bytes::<u64>(&pairs.first()?.1).ok());
        let Some(offset) = offset else { return Ok(None) };
        let base = Base::open(self.state.archive.folder(), self.state.base())?;
        match base.record(offset)? {
            BaseRecord::Entries { entries, .. } => Ok(entries
                .into_iter()
                .find(|(known, _, _)| known == key)
                .map(|(_, _, value)| value)),
            _ => Ok(None),
        }
    }

    /// An object as the base holds it.
    fn in_base(&self, id: ObjectId) -> Result<ObjectImage, HistoryError> {
        let base = Base::open(self.state.archive.folder(), self.state.base())?;
        let offset = self
            .state
            .index()
            .get(Table::Base, &id.0.to_be_bytes())
            .ok()
            .flatten()
            .and_then(|bytes| postcard::from_bytes::<u64>(&bytes).ok());
        let record = offset.map(|offset| base.record(offset)).transpose()?;
        match record {
            Some(BaseRecord::Objects(objects)) => Ok(objects
                .into_iter()
                .map(|(_, image)| image)
                .find(|image| image.id == id)
                .unwrap_or_else(|| empty_object(id))),
            _ => Ok(empty_object(id)),
        }
    }
}

/// The record that changed an object before this one did.
fn before(entry: &Entry, object: ObjectId) -> Option<Place> {
    let change = entry.objects.iter().find(|change| change.object == object);
    change.and_then(|change| change.before)
}

/// A transaction as people see it, with the changes that are wanted.
fn view(transaction: TransactionId, entry: &Entry, wanted: impl Fn(&ChangeView) -> bool) -> TransactionView {
    let slots = entry.objects.iter().flat_map(|change| {
        let is_new = change.before.is_none();
        change.slots.iter().map(move |(name, value)| ChangeView {
            object: change.object,
            is_new,
            slot: Some(name.clone()),
            key: None,
            value: value.clone(),
        })
    });
    let entries = entry.entries.iter().map(|change| ChangeView {
        object: change.object,
        is_new: false,
        slot: None,
        key: change.key.value(),
        value: change.value.clone(),
    });
    let mut changes: Vec<ChangeView> = slots.chain(entries).filter(wanted).collect();
    let more = changes.len().saturating_sub(SHOWN_CHANGES);
    changes.truncate(SHOWN_CHANGES);
    TransactionView {
        transaction,
        unix_ms: entry.unix_ms,
        author: entry.author.clone(),
        thought: entry.thought,
        undoes: entry.undoes,
        collected: entry
            .collected
            .iter()
            .map(|(first, last)| last.0 - first.0 + 1)
            .sum(),
        changes,
        more_changes: more as u64,
    }
}

#[cfg(test)]
mod tests;
