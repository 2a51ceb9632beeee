//! Branches against a plain model: random changes, sends and commits; every conflict that the model sees, and no other.

use std::collections::{BTreeMap, BTreeSet};

use shared::activation::{Read, ReadSlot, ScanOrder};
use shared::id::ObjectId;
use shared::key::Key;
use shared::random::Random;
use shared::value::Value;

use super::tests::{commit_branch, key, verified};
use super::*;
use crate::image::Image;
use crate::overlay::World;

const SLOTS: [&str; 3] = ["a", "b", "c"];

/// A value and the transaction that put it.
type Stamped = (i64, u64);

#[derive(Clone, Debug, Default, PartialEq)]
struct Thing {
    slots: BTreeMap<String, Stamped>,
    entries: BTreeMap<i64, Stamped>,
}

type Model = BTreeMap<u64, Thing>;

/// What a send of a branch depended on, as it was in the image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Dependency {
    Slot(u64, String, Option<u64>),
    Entry(u64, i64, Option<u64>),
    Range(u64, i64, i64, Vec<(i64, u64)>),
    Count(u64, usize),
}

/// A branch as the model has it: every change one after the other, none forgotten.
#[derive(Clone, Default)]
struct BranchModel {
    changes: Vec<Change>,
    depends: BTreeSet<Dependency>,
}

impl BranchModel {
    fn on(&self, main: &Model) -> Model {
        let mut model = main.clone();
        self.changes
            .iter()
            .for_each(|change| apply(&mut model, change, u64::MAX));
        model
    }

    fn made(&self, object: u64) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change, Change::Create { object: made, .. } if made.0 == object))
    }

    fn owns_slot(&self, id: u64, name: &str) -> bool {
        self.made(id)
            || self.changes.iter().any(|change| {
                matches!(change, Change::Put { object, slot, .. } | Change::Remove { object, slot } if object.0 == id && slot == name)
            })
    }

    fn owns_entry(&self, id: u64, at: i64) -> bool {
        self.made(id)
            || self.changes.iter().any(|change| {
                matches!(change, Change::PutEntry { object, key: found, .. } | Change::RemoveEntry { object, key: found }
                    if object.0 == id && *found == key(at))
            })
    }

    fn holds(&self, main: &Model) -> bool {
        self.depends.iter().all(|dependency| match dependency {
            Dependency::Slot(id, name, stamp) => slot_stamp(main, *id, name) == *stamp,
            Dependency::Entry(id, at, stamp) => entry_stamp(main, *id, *at) == *stamp,
            Dependency::Range(id, from, to, seen) => range(main, *id, *from, *to) == *seen,
            Dependency::Count(id, count) => main.get(id).map_or(0, |thing| thing.entries.len()) == *count,
        })
    }
}

fn slot_stamp(main: &Model, id: u64, name: &str) -> Option<u64> {
    main.get(&id)?.slots.get(name).map(|(_, stamp)| *stamp)
}

fn entry_stamp(main: &Model, id: u64, at: i64) -> Option<u64> {
    main.get(&id)?.entries.get(&at).map(|(_, stamp)| *stamp)
}

fn range(main: &Model, id: u64, from: i64, to: i64) -> Vec<(i64, u64)> {
    let entries = main.get(&id).map(|thing| &thing.entries);
    let entries = entries.into_iter().flat_map(|entries| entries.range(from..to));
    entries.map(|(at, (_, stamp))| (*at, *stamp)).collect()
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        other => panic!("{other:?}"),
    }
}

fn at_of(key: &Key) -> i64 {
    number(&key.value().unwrap())
}

fn apply(model: &mut Model, change: &Change, stamp: u64) {
    let thing = model.entry(change.object().0).or_default();
    match change {
        Change::Create { slots, .. } => {
            for (name, value) in slots {
                thing.slots.insert(name.clone(), (number(value), stamp));
            }
        }
        Change::Put { slot, value, .. } => {
            thing.slots.insert(slot.clone(), (number(value), stamp));
        }
        Change::Remove { slot, .. } => {
            thing.slots.remove(slot);
        }
        Change::PutEntry { key, value, .. } => {
            thing.entries.insert(at_of(key), (number(value), stamp));
        }
        Change::RemoveEntry { key, .. } => {
            thing.entries.remove(&at_of(key));
        }
        Change::AddEntry { key, amount, .. } => {
            let now = thing.entries.get(&at_of(key)).map_or(0, |(value, _)| *value);
            thing.entries.insert(at_of(key), (now + number(amount), stamp));
        }
        Change::Append { value, .. } => {
            let next = thing.entries.last_key_value().map_or(0, |(at, _)| at + 1);
            thing.entries.insert(next, (number(value), stamp));
        }
        Change::Vector { .. } => {}
    }
}

/// Mostly one of the first, so that branches and image meet often.
fn some(random: &mut Random, ids: &[u64]) -> u64 {
    let among = match random.below(4) {
        0 => ids.len(),
        _ => ids.len().min(2),
    };
    ids[random.below(among as u64) as usize]
}

/// A few changes of things of a model; new objects come from the image's counter.
fn some_changes(random: &mut Random, model: &Model, image: &Image) -> Vec<Change> {
    let ids: Vec<u64> = model.keys().copied().collect();
    (0..=random.below(3))
        .map(|_| {
            let object = ObjectId(some(random, &ids));
            let slot = SLOTS[random.below(3) as usize].to_owned();
            let key = key(random.below(6) as i64);
            let value = Value::Int(random.below(100) as i64);
            match random.below(9) {
                0 => Change::Create {
                    object: image.state.allocate(),
                    slots: vec![(slot, value)],
                },
                1 => Change::Remove { object, slot },
                2 => Change::PutEntry { object, key, value },
                3 => Change::RemoveEntry { object, key },
                4 | 5 => Change::AddEntry {
                    object,
                    key,
                    amount: value,
                },
                6 => Change::Append { object, value },
                _ => Change::Put { object, slot, value },
            }
        })
        .collect()
}

/// Looks at a few things of a world, which must be as the model says; answers the reads as an activation would tell them.
fn look(
    random: &mut Random,
    world: World<'_>,
    main: &Model,
    mut branch: Option<&mut BranchModel>,
) -> Vec<Read> {
    let expected = branch
        .as_ref()
        .map_or_else(|| main.clone(), |branch| branch.on(main));
    let ids: Vec<u64> = expected.keys().copied().collect();
    let mut reads = Vec::new();
    let mut depends = Vec::new();
    for _ in 0..=random.below(3) {
        let id = some(random, &ids);
        let (object, thing) = (ObjectId(id), &expected[&id]);
        let is_made = branch.as_ref().is_some_and(|branch| branch.made(id));
        match random.below(4) {
            0 => {
                let name = SLOTS[random.below(3) as usize];
                let (image, _) = world.object(object).unwrap();
                let slot = image.slot(name);
                assert_eq!(
                    slot.map(|slot| number(&slot.value)),
                    thing.slots.get(name).map(|(value, _)| *value),
                    "#{id}.{name}"
                );
                reads.push(Read {
                    object,
                    slot: ReadSlot::Named(name.into(), slot.map(|slot| slot.changed)),
                });
                if !branch.as_ref().is_some_and(|branch| branch.owns_slot(id, name)) {
                    depends.push(Dependency::Slot(id, name.into(), slot_stamp(main, id, name)));
                }
            }
            1 => {
                let at = random.below(9) as i64;
                let found = world.entry(object, &key(at), &mut reads);
                let known = thing.entries.get(&at).map(|(value, _)| *value);
                assert_eq!(found.as_ref().map(number), known, "#{id}[{at}]");
                if !branch.as_ref().is_some_and(|branch| branch.owns_entry(id, at)) {
                    depends.push(Dependency::Entry(id, at, entry_stamp(main, id, at)));
                }
            }
            2 => {
                let (from, to) = (random.below(5) as i64, 5 + random.below(6) as i64);
                let limit = 1 + random.below(4) as usize;
                let (found, is_whole) = world.scan(
                    object,
                    key(from),
                    key(to),
                    limit,
                    ScanOrder::Ascending,
                    &mut reads,
                );
                let found: Vec<(i64, i64)> = found.iter().map(|(key, v)| (at_of(key), number(v))).collect();
                let known: Vec<(i64, i64)> = thing
                    .entries
                    .range(from..to)
                    .map(|(at, (value, _))| (*at, *value))
                    .collect();
                assert_eq!(found, known[..known.len().min(limit)], "#{id}[{from}:{to}]");
                if !is_made {
                    let edge = if is_whole { to } else { found.last().unwrap().0 + 1 };
                    depends.push(Dependency::Range(id, from, edge, range(main, id, from, edge)));
                }
            }
            _ => {
                assert_eq!(
                    world.count(object, &mut reads),
                    thing.entries.len() as u64,
                    "#{id}"
                );
                if !is_made {
                    depends.push(Dependency::Count(id, main[&id].entries.len()));
                }
            }
        }
    }
    if let Some(branch) = &mut branch {
        branch.depends.extend(depends);
    }
    reads
}

/// A send to a branch: looks, then changes; true when it was carried out.
fn send(image: &Image, random: &mut Random, name: &str, main: &Model, model: &mut BranchModel) {
    let branch = image.branches.find(name).unwrap();
    let mut view = branch.turn.blocking_lock();
    view.refresh(&image.state, &branch).unwrap();
    let mut with = model.clone();
    let world = World::over(&image.state, view.overlay());
    let reads = look(random, world, main, Some(&mut with));
    if random.below(4) == 0 {
        return; // It changes nothing, so it leaves nothing.
    }
    let changes = some_changes(random, &model.on(main), image);
    let reads = view.overlay().of_the_image(reads);
    image.committer.validate(&reads).unwrap();
    image
        .branches
        .change(&branch, &mut view, "test", reads, changes.clone(), None)
        .unwrap();
    for change in changes {
        let id = change.object().0;
        match &change {
            Change::Put { slot, .. } | Change::Remove { slot, .. } if !with.owns_slot(id, slot) => {
                let stamp = slot_stamp(main, id, slot);
                with.depends.insert(Dependency::Slot(id, slot.clone(), stamp));
            }
            Change::PutEntry { key, .. } | Change::RemoveEntry { key, .. }
                if !with.owns_entry(id, at_of(key)) =>
            {
                let at = at_of(key);
                with.depends
                    .insert(Dependency::Entry(id, at, entry_stamp(main, id, at)));
            }
            _ => {}
        }
        with.changes.push(change);
    }
    *model = with;
}

/// Under how many keys something else is held than before.
fn differences<K: Ord>(new: &BTreeMap<K, Stamped>, old: &BTreeMap<K, Stamped>) -> usize {
    let value = |of: &BTreeMap<K, Stamped>, key: &K| of.get(key).map(|(value, _)| *value);
    let keys: BTreeSet<&K> = new.keys().chain(old.keys()).collect();
    keys.into_iter()
        .filter(|key| value(new, key) != value(old, key))
        .count()
}

fn check(image: &Image, main: &Model, branches: &BTreeMap<String, BranchModel>) {
    let same = |world: World<'_>, model: &Model| {
        for (id, thing) in model {
            let (object, mut unused) = (ObjectId(*id), Vec::new());
            let (held, _) = world.object(object).unwrap_or_else(|| panic!("#{id}"));
            let slots: BTreeMap<&str, i64> = held
                .slots
                .iter()
                .map(|slot| (slot.name.as_str(), number(&slot.value)))
                .collect();
            let known: BTreeMap<&str, i64> = thing
                .slots
                .iter()
                .map(|(name, (v, _))| (name.as_str(), *v))
                .collect();
            assert_eq!(slots, known, "#{id}");
            let all = (Key::first(), Key::last());
            let (entries, _) = world.scan(object, all.0, all.1, 1000, ScanOrder::Ascending, &mut unused);
            let entries: Vec<(i64, i64)> = entries.iter().map(|(key, v)| (at_of(key), number(v))).collect();
            let known: Vec<(i64, i64)> = thing.entries.iter().map(|(at, (v, _))| (*at, *v)).collect();
            assert_eq!(entries, known, "#{id}");
            assert_eq!(world.count(object, &mut unused), known.len() as u64);
        }
    };
    same(World::of(&image.state), main);
    assert_eq!(image.state.object_count(), main.len() as u64);
    assert_eq!(image.branches.list().len(), branches.len());
    for (name, model) in branches {
        let branch = image.branches.find(name).unwrap();
        let mut view = branch.turn.blocking_lock();
        view.refresh(&image.state, &branch).unwrap();
        let world = World::over(&image.state, view.overlay());
        same(world, &model.on(main));
        let conflicts = branch.conflicts(&image.state);
        assert_eq!(conflicts.is_empty(), model.holds(main), "{name}: {conflicts:?}");
        // What differs is told, and nothing else.
        let on = model.on(main);
        let mut expected = 0;
        for (id, thing) in &on {
            let old = main.get(id).cloned().unwrap_or_default();
            expected += differences(&thing.slots, &old.slots) + differences(&thing.entries, &old.entries);
        }
        assert_eq!(view.overlay().differences(&image.state).len(), expected, "{name}");
    }
}

/// How often each end was met, so that a run that meets none is no proof.
#[derive(Default)]
struct Ends {
    committed: u32,
    conflicts: u32,
    dropped: u32,
}

fn random_branches(seed: u64, ends: &mut Ends) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed);
    let mut image = Image::open(folder.path()).unwrap();
    let mut main = Model::new();
    let mut branches: BTreeMap<String, BranchModel> = BTreeMap::new();
    for id in 1..=3 {
        assert_eq!(image.state.allocate(), ObjectId(id));
        let made = vec![Change::Create {
            object: ObjectId(id),
            slots: vec![("a".into(), Value::Int(0))],
        }];
        commit(&image, &mut main, made);
    }
    for _ in 0..120 {
        let name = ["one", "two"][random.below(2) as usize];
        match random.below(14) {
            0 => {
                // A crash: nothing is flushed on purpose.
                drop(image);
                image = Image::open(folder.path()).unwrap();
            }
            1 => image.flush().unwrap(),
            2..=4 => {
                let changes = some_changes(&mut random, &main, &image);
                commit(&image, &mut main, changes);
            }
            5 if branches.contains_key(name) && random.below(2) == 0 => {
                image.branches.drop(name).unwrap();
                branches.remove(name);
                ends.dropped += 1;
            }
            6 if branches.contains_key(name) => {
                let model = &branches[name];
                let holds = model.holds(&main);
                match commit_branch(&image, name) {
                    Ok(transaction) => {
                        assert!(holds, "{name} was committed in conflict");
                        model
                            .changes
                            .iter()
                            .for_each(|change| apply(&mut main, change, transaction.0));
                        branches.remove(name);
                        ends.committed += 1;
                    }
                    Err(CommitError::Conflict(places)) => {
                        assert!(!holds, "{name} is no conflict: {places:?}");
                        ends.conflicts += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            _ => {
                if !branches.contains_key(name) {
                    image.branches.begin(name, "test", None).unwrap();
                    branches.insert(name.into(), BranchModel::default());
                }
                if let Some(model) = branches.get_mut(name) {
                    send(&image, &mut random, name, &main, model);
                }
            }
        }
        check(&image, &main, &branches);
    }
    let report = verified(&image, folder.path());
    assert_eq!(report.found.faults, []);
}

fn commit(image: &Image, main: &mut Model, changes: Vec<Change>) {
    let mut draft = Draft::new("test");
    draft.changes = changes.clone();
    let transaction = image.committer.commit_blocking(draft).unwrap().transaction;
    changes
        .iter()
        .for_each(|change| apply(main, change, transaction.0));
}

#[test]
fn branches_are_as_the_model_says_and_conflict_exactly_when_it_does() {
    let mut ends = Ends::default();
    for seed in 1..=25 {
        random_branches(seed * 0x9E37_79B9, &mut ends);
    }
    let Ends {
        committed,
        conflicts,
        dropped,
    } = ends;
    println!("{committed} committed, {conflicts} conflicts, {dropped} dropped");
    assert!(committed > 20 && conflicts > 20 && dropped > 20);
}
