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
mod tests {
    use shared::random::Random;

    use super::super::Image;
    use super::super::pack::pack;
    use super::*;

    /// Every object's slots in order; an absent one did not exist.
    type Model = BTreeMap<u64, Vec<(String, i64)>>;

    /// The model after each transaction. Transactions that change nothing of it (openings, packs) repeat the one before.
    struct Past(Vec<Model>);

    impl Past {
        fn now(&self) -> Model {
            self.0.last().cloned().unwrap_or_default()
        }

        fn reached(&mut self, last: TransactionId, model: Model) {
            let before = self.now();
            while self.0.len() < last.0 as usize {
                self.0.push(before.clone());
            }
            self.0.push(model);
        }
    }

    fn slots(image: &ObjectImage) -> Vec<(String, i64)> {
        let slot = |value: &Value| match value {
            Value::Int(int) => *int,
            other => panic!("{other:?}"),
        };
        let slots = image.slots.iter().filter(|slot| slot.name != "next");
        slots.map(|s| (s.name.clone(), slot(&s.value))).collect()
    }

    fn check(image: &Image, past: &Past) {
        let history = History::of(&image.state);
        let last = image.state.standing().last.0;
        let base = image.state.base().0;
        for at in base..=last {
            let model = past.0.get(at as usize).unwrap_or_else(|| past.0.last().unwrap());
            for id in model.keys() {
                let found = history.object_at(ObjectId(*id), TransactionId(at)).unwrap();
                assert_eq!(
                    found.as_ref().map(slots).as_ref(),
                    model.get(id),
                    "#{id} at {at}, base {base}, last {last}"
                );
            }
        }
        if base > 0 {
            let before = history.object_at(ObjectId(1), TransactionId(base - 1));
            assert!(matches!(before, Err(HistoryError::Packed { .. })));
        }
    }

    fn apply(model: &mut Model, change: &Change) {
        let slots = model.entry(change.object().0).or_default();
        match change {
            Change::Put { slot, value, .. } => {
                let Value::Int(value) = value else { return };
                match slots.iter_mut().find(|(name, _)| name == slot) {
                    Some((_, known)) => *known = *value,
                    None => slots.push((slot.clone(), *value)),
                }
            }
            Change::Remove { slot, .. } => slots.retain(|(name, _)| name != slot),
            _ => {}
        }
    }

    fn random_past(seed: u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random::new(seed);
        let mut image = Image::open(folder.path()).unwrap();
        let mut past = Past(vec![Model::new()]);
        let mut newest: Option<ObjectId> = None;
        for _ in 0..150 {
            let mut model = past.now();
            let ids: Vec<u64> = model.keys().copied().collect();
            let mut draft = Draft::new("test");
            match random.below(16) {
                0 => {
                    drop(image);
                    image = Image::open(folder.path()).unwrap();
                    continue;
                }
                1 => {
                    image.flush().unwrap();
                    continue;
                }
                2 if random.below(4) == 0 => {
                    pack(&image, folder.path(), &crate::reporter::Reporter::silent()).unwrap();
                    continue;
                }
                3 if !ids.is_empty() => {
                    let undone = TransactionId(1 + random.below(image.state.standing().last.0));
                    match History::of(&image.state).undo(undone, "test") {
                        Ok(undo) => {
                            undo.changes.iter().for_each(|change| apply(&mut model, change));
                            draft = undo;
                        }
                        Err(_) => continue,
                    }
                }
                4..=6 => {
                    // Objects hang on each other, so that a pack keeps them; the first is the lobby.
                    let object = image.state.allocate();
                    draft.changes.push(Change::Create {
                        object,
                        slots: Vec::new(),
                    });
                    if let Some(newest) = newest {
                        draft.changes.push(Change::Put {
                            object: newest,
                            slot: "next".into(),
                            value: Value::Ref(object),
                        });
                    }
                    newest = Some(object);
                    model.insert(object.0, Vec::new());
                }
                _ if ids.is_empty() => continue,
                _ => {
                    for _ in 0..=random.below(3) {
                        let object = ObjectId(ids[random.below(ids.len() as u64) as usize]);
                        let slot = ["a", "b", "c"][random.below(3) as usize].to_owned();
                        let change = match random.below(4) {
                            0 => Change::Remove { object, slot },
                            _ => Change::Put {
                                object,
                                slot,
                                value: Value::Int(random.below(100) as i64),
                            },
                        };
                        apply(&mut model, &change);
                        draft.changes.push(change);
                    }
                }
            }
            let is_link = |change: &Change| matches!(change, Change::Put { slot, .. } | Change::Remove { slot, .. } if slot == "next");
            if draft.undoes.is_some() && draft.changes.iter().any(is_link) {
                continue; // It would let go of an object that the model keeps.
            }
            let committed = image.committer.commit_blocking(draft).unwrap();
            past.reached(committed.transaction, model);
        }
        check(&image, &past);
    }

    #[test]
    fn every_object_at_every_transaction_is_as_the_model_remembers() {
        for seed in 1..=12 {
            random_past(seed * 0x9E37_79B9);
        }
    }

    fn commit(image: &Image, changes: Vec<Change>) -> TransactionId {
        let mut draft = Draft::new("test");
        draft.changes = changes;
        image.committer.commit_blocking(draft).unwrap().transaction
    }

    fn int(object: ObjectId, slot: &str, value: i64) -> Change {
        Change::Put {
            object,
            slot: slot.into(),
            value: Value::Int(value),
        }
    }

    #[test]
    fn an_undo_takes_back_and_is_refused_where_later_changes_build_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let image = Image::open(folder.path()).unwrap();
        let id = image.state.allocate();
        let made = commit(
            &image,
            vec![
                Change::Create {
                    object: id,
                    slots: Vec::new(),
                },
                int(id, "a", 1),
            ],
        );
        let key = Key::of(&Value::Text("k".into())).unwrap();
        let entry = |value: i64| Change::PutEntry {
            object: id,
            key: key.clone(),
            value: Value::Int(value),
        };
        let first = commit(&image, vec![int(id, "a", 2), int(id, "b", 5), entry(1)]);
        let second = commit(&image, vec![int(id, "b", 6), entry(2)]);
        let history = History::of(&image.state);
        let refused = history.undo(first, "t").unwrap_err().to_string();
        assert!(
            refused.contains("#1.b was changed by transaction") && refused.contains("\"k\""),
            "{refused}"
        );
        let refused = history.undo(made, "t").unwrap_err().to_string();
        assert!(refused.contains("which it made"), "{refused}");
        let draft = history.undo(second, "t").unwrap();
        let undo = image.committer.commit_blocking(draft).unwrap().transaction;
        let value = |slot: &str| {
            image
                .state
                .object(id)
                .unwrap()
                .slot(slot)
                .map(|slot| slot.value.clone())
        };
        assert_eq!(value("b"), Some(Value::Int(5)));
        assert_eq!(image.state.entry(id, &key).unwrap().value, Value::Int(1));
        // An undo of the undo brings it back.
        let draft = history.undo(undo, "t").unwrap();
        image.committer.commit_blocking(draft).unwrap();
        assert_eq!(value("b"), Some(Value::Int(6)));
        assert_eq!(image.state.entry(id, &key).unwrap().value, Value::Int(2));
        let differences = history.difference(first, second).unwrap();
        assert_eq!(differences.len(), 2, "{differences:?}");
        assert_eq!(history.versions(id, Some("b"), 10).unwrap().len(), 4);
        assert_eq!(
            history
                .log(image.state.standing().last, 3)
                .unwrap()
                .iter()
                .filter(|view| view.undoes.is_some())
                .count(),
            2
        );
    }

    /// Between reading the past and committing the undo somebody else changes the slot: a conflict, no lost change.
    #[test]
    fn an_undo_overtaken_by_a_change_is_a_conflict() {
        use super::super::draft::CommitError;
        let folder = tempfile::tempdir().unwrap();
        let image = Image::open(folder.path()).unwrap();
        let id = image.state.allocate();
        commit(
            &image,
            vec![Change::Create {
                object: id,
                slots: vec![("a".into(), Value::Int(1))],
            }],
        );
        let put = commit(&image, vec![int(id, "a", 2)]);
        let draft = History::of(&image.state).undo(put, "t").unwrap();
        commit(&image, vec![int(id, "a", 3)]);
        assert!(matches!(
            image.committer.commit_blocking(draft),
            Err(CommitError::Conflict(_))
        ));
    }
}
