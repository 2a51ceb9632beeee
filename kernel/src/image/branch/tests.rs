//! Branches against a plain model, and the ways in which a file can be other than it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use shared::activation::{Read, ReadSlot, ScanOrder};
use shared::bridge::Answer;
use shared::id::{ClientId, ObjectId, TransactionId};
use shared::key::Key;
use shared::random::Random;
use shared::value::{BlobRef, Value};

use super::*;
use crate::image::Image;
use crate::image::backup::backup;
use crate::image::pack::pack;
use crate::image::restore::{Present, restore};
use crate::image::verify::{Chains, verify};
use crate::overlay::World;
use crate::reporter::Reporter;

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

fn key(at: i64) -> Key {
    Key::of(&Value::Int(at)).unwrap()
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

/// As the kernel does it, in one thread.
fn commit_branch(image: &Image, name: &str) -> Result<TransactionId, CommitError> {
    let branches = &image.branches;
    let branch = branches.find(name).unwrap();
    let draft = branches
        .committing(&branch, "test".into(), None, committed(name))
        .unwrap();
    match image.committer.commit_blocking(draft) {
        Ok(committed) => {
            branches.drop(name).unwrap();
            Ok(committed.transaction)
        }
        Err(error) => {
            branches.keep(&branch).unwrap();
            Err(error)
        }
    }
}

fn committed(name: &str) -> impl FnOnce(u64, u64) -> Answer {
    let name = name.to_owned();
    move |sends, objects| Answer::BranchCommitted {
        name,
        sends,
        objects,
        transaction: TransactionId(0),
    }
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
            let slots: BTreeSet<&String> = thing.slots.keys().chain(old.slots.keys()).collect();
            let value = |thing: &Thing, name: &String| thing.slots.get(name).map(|(value, _)| *value);
            expected += slots
                .iter()
                .filter(|name| value(thing, name) != value(&old, name))
                .count();
            let entries: BTreeSet<&i64> = thing.entries.keys().chain(old.entries.keys()).collect();
            let value = |thing: &Thing, at: &i64| thing.entries.get(at).map(|(value, _)| *value);
            expected += entries
                .iter()
                .filter(|at| value(thing, at) != value(&old, at))
                .count();
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
    let report = verify(
        &image,
        folder.path(),
        &folder.path().join("verify"),
        Chains::Untold,
        &Reporter::silent(),
    )
    .unwrap();
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

fn put(object: ObjectId, slot: &str, value: Value) -> Change {
    Change::Put {
        object,
        slot: slot.into(),
        value,
    }
}

/// An image with a lobby, and a branch that has changed it.
fn with_branch(folder: &Path) -> Image {
    let image = Image::open(folder).unwrap();
    let lobby = image.state.allocate();
    let mut draft = Draft::new("test");
    draft.changes.push(Change::Create {
        object: lobby,
        slots: vec![("a".into(), Value::Int(1))],
    });
    image.committer.commit_blocking(draft).unwrap();
    image.branches.begin("b", "test", None).unwrap();
    change(&image, vec![put(lobby, "a", Value::Int(2))]).unwrap();
    image
}

fn change(image: &Image, changes: Vec<Change>) -> Result<(), BranchError> {
    let branch = image.branches.find("b")?;
    let mut view = branch.turn.blocking_lock();
    view.refresh(&image.state, &branch).unwrap();
    image
        .branches
        .change(&branch, &mut view, "test", Vec::new(), changes, None)
}

fn seen(image: &Image, object: ObjectId, slot: &str) -> Option<Value> {
    let branch = image.branches.find("b").unwrap();
    let mut view = branch.turn.blocking_lock();
    view.refresh(&image.state, &branch).unwrap();
    let world = World::over(&image.state, view.overlay());
    let (object, _) = world.object(object)?;
    object.slot(slot).map(|slot| slot.value.clone())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("branches/b.branch")
}

const LOBBY: ObjectId = ObjectId::LOBBY;

/// A file cut anywhere is the branch up to its last whole record; one with a flipped byte before that is damaged, and can be dropped.
#[test]
fn a_torn_end_is_cut_off_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let first = fs::metadata(file(folder.path())).unwrap().len() as usize;
    change(&image, vec![put(LOBBY, "a", Value::Int(3))]).unwrap();
    drop(image);
    let whole = fs::read(file(folder.path())).unwrap();
    for length in (first..whole.len()).step_by(7).chain([whole.len() - 1]) {
        fs::write(file(folder.path()), &whole[..length]).unwrap();
        let image = Image::open(folder.path()).unwrap();
        assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(2)), "{length} bytes");
        // What is added next stands where the torn record stood.
        change(&image, vec![put(LOBBY, "a", Value::Int(4))]).unwrap();
        drop(image);
        let image = Image::open(folder.path()).unwrap();
        assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(4)), "{length} bytes");
    }
    for at in (0..first).step_by(5) {
        // Bytes of the header that mean nothing are covered by its checksum as well.
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(file(folder.path()), &flipped).unwrap();
        let image = Image::open(folder.path()).unwrap();
        let error = image
            .branches
            .find("b")
            .err()
            .unwrap_or_else(|| panic!("byte {at}"));
        assert!(matches!(error, BranchError::Damaged { .. }), "byte {at}: {error}");
        let report = verify(
            &image,
            folder.path(),
            &folder.path().join("verify"),
            Chains::Untold,
            &Reporter::silent(),
        )
        .unwrap();
        assert!(report.found.faults[0].place.ends_with("b.branch"), "byte {at}");
        assert_eq!(
            report.found.faults.len(),
            1,
            "byte {at}: {:?}",
            report.found.faults
        );
    }
    let image = Image::open(folder.path()).unwrap();
    image.branches.drop("b").unwrap();
    assert!(!file(folder.path()).exists());
    assert!(image.branches.list().is_empty());
}

/// A byte that flips under a running kernel is found by a verification, which changes nothing.
#[test]
fn verify_reads_the_files_anew() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let mut bytes = fs::read(file(folder.path())).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(file(folder.path()), &bytes).unwrap();
    let report = verify(
        &image,
        folder.path(),
        &folder.path().join("verify"),
        Chains::Untold,
        &Reporter::silent(),
    )
    .unwrap();
    assert_eq!(report.found.faults.len(), 1, "{:?}", report.found.faults);
    assert_eq!(fs::read(file(folder.path())).unwrap(), bytes);
}

/// Between the commit and the removal of the file the kernel is killed: the branch is not committed a second time.
#[test]
fn a_commit_that_was_cut_off_is_settled_by_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let add = Change::AddEntry {
        object: LOBBY,
        key: key(1),
        amount: Value::Int(5),
    };
    change(&image, vec![add]).unwrap();
    // The intent is durable, the commit did not come to be.
    let branch = image.branches.find("b").unwrap();
    let draft = image
        .branches
        .committing(&branch, "t".into(), None, committed("b"))
        .unwrap();
    drop((image, branch));
    let image = Image::open(folder.path()).unwrap();
    assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(2)));
    assert_eq!(image.state.entry(LOBBY, &key(1)), None);
    let branch = image.branches.find("b").unwrap();
    image
        .branches
        .committing(&branch, "t".into(), None, committed("b"))
        .unwrap();
    image.committer.commit_blocking(draft).unwrap();
    drop((image, branch));
    let image = Image::open(folder.path()).unwrap();
    assert!(image.branches.list().is_empty() && !file(folder.path()).exists());
    assert_eq!(image.state.entry(LOBBY, &key(1)).unwrap().value, Value::Int(5));
    assert_eq!(
        image.state.object(LOBBY).unwrap().slot("a").unwrap().value,
        Value::Int(2)
    );
}

/// The same, and the image was packed in between.
#[test]
fn a_commit_that_was_cut_off_is_settled_after_a_pack() {
    for is_committed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let image = with_branch(folder.path());
        let branch = image.branches.find("b").unwrap();
        let draft = image
            .branches
            .committing(&branch, "t".into(), None, committed("b"))
            .unwrap();
        if is_committed {
            image.committer.commit_blocking(draft).unwrap();
        }
        for _ in 0..3 {
            image.committer.commit_blocking(Draft::new("test")).unwrap();
        }
        pack(&image, folder.path(), &Reporter::silent()).unwrap();
        drop((image, branch));
        let image = Image::open(folder.path()).unwrap();
        assert_eq!(image.branches.list().len(), usize::from(!is_committed));
        if !is_committed {
            assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(2)));
        }
    }
}

/// Nothing was committed after an object was made in a branch: its id is taken all the same.
#[test]
fn ids_of_a_branch_are_never_given_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let made = image.state.allocate();
    let create = Change::Create {
        object: made,
        slots: Vec::new(),
    };
    change(&image, vec![create, put(LOBBY, "made", Value::Ref(made))]).unwrap();
    drop(image);
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let image = Image::open(folder.path()).unwrap();
    let next = image.state.allocate();
    assert!(next > made, "{next} {made}");
    assert_eq!(image.state.object(made), None);
    commit_branch(&image, "b").unwrap();
    assert!(image.state.object(made).is_some());
}

/// What only a branch refers to, and a content that only a branch names, outlive a pack; dropped, they go with the next.
#[test]
fn a_pack_keeps_what_a_branch_needs() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let loose = image.state.allocate();
    let inner = image.state.allocate();
    let mut draft = Draft::new("test");
    draft.changes = vec![
        Change::Create {
            object: inner,
            slots: Vec::new(),
        },
        Change::Create {
            object: loose,
            slots: vec![("inner".into(), Value::Ref(inner))],
        },
    ];
    image.committer.commit_blocking(draft).unwrap();
    let mut upload = image.state.blobs.begin().unwrap();
    upload.write(b"a content").unwrap();
    let blob: BlobRef = image.state.blobs.keep(upload).unwrap();
    let path = image.state.blobs.path(&blob.digest);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    let age = || {
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap()
    };
    age();
    let changes = vec![
        put(LOBBY, "to", Value::Ref(loose)),
        put(LOBBY, "film", Value::Blob(blob)),
    ];
    change(&image, changes).unwrap();
    let packed = pack(&image, folder.path(), &Reporter::silent()).unwrap();
    assert_eq!(packed.collected, 0);
    assert!(image.state.object(inner).is_some() && path.exists());
    drop(image);
    let image = Image::open(folder.path()).unwrap();
    assert_eq!(seen(&image, LOBBY, "to"), Some(Value::Ref(loose)));
    image.branches.drop("b").unwrap();
    age();
    let packed = pack(&image, folder.path(), &Reporter::silent()).unwrap();
    assert_eq!(packed.collected, 2);
    assert!(image.state.object(inner).is_none() && !path.exists());
}

#[test]
fn a_backup_brings_branches_back() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(&folder.path().join("image"));
    let to = folder.path().join("backup");
    backup(&image, &to, &Reporter::silent()).unwrap();
    change(&image, vec![put(LOBBY, "a", Value::Int(7))]).unwrap();
    backup(&image, &to, &Reporter::silent()).unwrap();
    assert_eq!(backup(&image, &to, &Reporter::silent()).unwrap().copied_bytes, 0);
    let restored = folder.path().join("restored");
    restore(&to, &restored, Present::Refuse, &Reporter::silent()).unwrap();
    let again = Image::open(&restored).unwrap();
    assert_eq!(seen(&again, LOBBY, "a"), Some(Value::Int(7)));
    commit_branch(&again, "b").unwrap();
    assert_eq!(
        again.state.object(LOBBY).unwrap().slot("a").unwrap().value,
        Value::Int(7)
    );
    // The image itself has not moved; a branch of another image is none of its.
    assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(7)));
    image.branches.drop("b").unwrap();
    backup(&image, &to, &Reporter::silent()).unwrap();
    assert_eq!(fs::read_dir(to.join("branches")).unwrap().count(), 0);
}

/// Another kernel opened the image (its lock lost): what this one would add is refused and not written.
#[test]
fn a_retired_kernel_adds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let mut fence = EpochFile::open(folder.path()).unwrap();
    fence.raise(image.state.epoch()).unwrap();
    let before = fs::read(file(folder.path())).unwrap();
    let error = change(&image, vec![put(LOBBY, "a", Value::Int(9))]).unwrap_err();
    assert!(matches!(error, BranchError::Retired(_)), "{error}");
    assert!(matches!(image.branches.drop("b"), Err(BranchError::Retired(_))));
    assert!(matches!(
        image.branches.begin("c", "t", None),
        Err(BranchError::Retired(_))
    ));
    assert_eq!(fs::read(file(folder.path())).unwrap(), before);
    assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(2)));
}

#[test]
fn names_and_numbers_are_bounded() {
    let long = "x".repeat(65);
    for bad in [
        "", "main", ".", "..", "a/b", "a.b", "-a", "_a", "ä", "a b", "a\0", &long,
    ] {
        assert!(!is_branch_name(bad), "{bad:?}");
    }
    for good in ["a", "what_if", "9-lives", &long[1..]] {
        assert!(is_branch_name(good), "{good:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    assert!(matches!(
        image.branches.begin("b", "t", None),
        Err(BranchError::Exists(_))
    ));
    assert!(matches!(
        image.branches.begin("../b", "t", None),
        Err(BranchError::Name(_))
    ));
    assert!(matches!(image.branches.find("../b"), Err(BranchError::Name(_))));
    assert!(matches!(image.branches.drop("nobody"), Err(BranchError::None(_))));
    for number in 1..MOST {
        image.branches.begin(&format!("b{number}"), "t", None).unwrap();
    }
    assert!(matches!(
        image.branches.begin("more", "t", None),
        Err(BranchError::TooMany)
    ));
    // A branch that is full refuses, and is as it was.
    let large = |n: u8| put(LOBBY, "large", Value::Bytes(vec![n; 12 << 20]));
    change(&image, vec![large(1)]).unwrap();
    change(&image, vec![large(2)]).unwrap();
    assert!(matches!(change(&image, vec![large(3)]), Err(BranchError::Full)));
    assert_eq!(
        seen(&image, LOBBY, "large"),
        Some(Value::Bytes(vec![2; 12 << 20]))
    );
    commit_branch(&image, "b").unwrap();
}

/// A sum depends on the image as soon as it is looked at, and not before.
#[test]
fn a_sum_that_was_looked_at_is_a_read() {
    for is_looked_at in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let image = with_branch(folder.path());
        let add = |amount| Change::AddEntry {
            object: LOBBY,
            key: key(1),
            amount: Value::Int(amount),
        };
        change(&image, vec![add(5)]).unwrap();
        let branch = image.branches.find("b").unwrap();
        let mut view = branch.turn.blocking_lock();
        view.refresh(&image.state, &branch).unwrap();
        let world = World::over(&image.state, view.overlay());
        let mut reads = Vec::new();
        if is_looked_at {
            assert_eq!(world.entry(LOBBY, &key(1), &mut reads), Some(Value::Int(5)));
        }
        let changes = vec![put(LOBBY, "sum", Value::Int(5))];
        image
            .branches
            .change(&branch, &mut view, "t", reads, changes, None)
            .unwrap();
        let mut draft = Draft::new("test");
        draft.changes.push(add(1));
        image.committer.commit_blocking(draft).unwrap();
        let conflicts = branch.conflicts(&image.state);
        assert_eq!(conflicts.is_empty(), !is_looked_at, "{conflicts:?}");
        drop(view);
        assert_eq!(commit_branch(&image, "b").is_ok(), !is_looked_at);
    }
}

/// The same request begins a branch once.
#[test]
fn a_repeated_beginning_finds_the_branch() {
    let folder = tempfile::tempdir().unwrap();
    let request = Some(RequestId {
        client: ClientId([7; 16]),
        sequence: 3,
    });
    let image = Image::open(folder.path()).unwrap();
    let first = image.branches.begin("b", "t", request).unwrap().header;
    drop(image);
    let image = Image::open(folder.path()).unwrap();
    assert_eq!(image.branches.begin("b", "t", request).unwrap().header, first);
    assert!(image.branches.begin("b", "t", None).is_err());
}
