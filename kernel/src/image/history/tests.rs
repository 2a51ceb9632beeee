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
