//! The image against a plain model: random transactions, crashes (dropping without closing) and clean restarts.

use std::collections::BTreeMap;
use std::path::Path;

use shared::activation::{Read, ReadSlot};
use shared::bridge::Answer;
use shared::id::{ClientId, ObjectId, TransactionId};
use shared::random::Random;
use shared::value::Value;

use super::Image;
use super::draft::{Change, CommitError, Draft};
use super::record::RequestId;
use crate::reporter::Reporter;

/// Object → slot → value.
type Model = BTreeMap<u64, BTreeMap<String, i64>>;

fn commit(image: &Image, changes: Vec<Change>) -> Result<TransactionId, CommitError> {
    let mut draft = Draft::new("test");
    draft.changes = changes;
    image
        .committer
        .commit_blocking(draft)
        .map(|committed| committed.transaction)
}

fn put(object: u64, slot: &str, value: i64) -> Change {
    Change::Put {
        object: ObjectId(object),
        slot: slot.into(),
        value: Value::Int(value),
    }
}

fn check(image: &Image, model: &Model) {
    for (id, slots) in model {
        let object = image.state.object(ObjectId(*id)).unwrap();
        let found: BTreeMap<String, i64> = object
            .slots
            .iter()
            .map(|slot| match slot.value {
                Value::Int(int) => (slot.name.clone(), int),
                ref other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(&found, slots, "#{id}");
    }
    assert_eq!(image.state.object_count(), model.len() as u64);
}

fn random_history(folder: &Path, seed: u64) {
    let mut random = Random::new(seed);
    let mut model = Model::new();
    let mut image = Image::open(folder).unwrap();
    for _ in 0..120 {
        match random.below(12) {
            0 => {
                // A crash: nothing is flushed on purpose.
                drop(image);
                image = Image::open(folder).unwrap();
                check(&image, &model);
            }
            1 => {
                image.close();
                drop(image);
                image = Image::open(folder).unwrap();
                check(&image, &model);
            }
            2 => image.state.flush().unwrap(),
            3 | 4 => {
                let id = image.state.allocate();
                assert!(!model.contains_key(&id.0), "an id was given out twice");
                commit(
                    &image,
                    vec![Change::Create {
                        object: id,
                        slots: Vec::new(),
                    }],
                )
                .unwrap();
                model.insert(id.0, BTreeMap::new());
            }
            5 if !model.is_empty() => {
                // A refused transaction must leave nothing of its first half.
                let id = *model.keys().next().unwrap();
                let error = commit(&image, vec![put(id, "a", 99), put(u64::MAX - 1, "a", 1)]);
                assert!(matches!(error, Err(CommitError::Refused(_))));
            }
            _ if model.is_empty() => {}
            other => {
                let ids: Vec<u64> = model.keys().copied().collect();
                let id = ids[random.below(ids.len() as u64) as usize];
                let slot = ["a", "b", "c"][random.below(3) as usize];
                let value = random.below(1000) as i64;
                if other == 6 {
                    commit(
                        &image,
                        vec![Change::Remove {
                            object: ObjectId(id),
                            slot: slot.into(),
                        }],
                    )
                    .unwrap();
                    model.get_mut(&id).unwrap().remove(slot);
                } else {
                    commit(&image, vec![put(id, slot, value)]).unwrap();
                    model.get_mut(&id).unwrap().insert(slot.into(), value);
                }
            }
        }
        check(&image, &model);
    }
}

#[test]
fn random_histories_match_the_model() {
    for seed in 1..=20 {
        let folder = tempfile::tempdir().unwrap();
        random_history(folder.path(), seed * 0x9E37_79B9);
    }
}

fn with_object() -> (tempfile::TempDir, Image, u64) {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(folder.path()).unwrap();
    let id = image.state.allocate();
    let slots = vec![("a".to_owned(), Value::Int(1)), ("b".to_owned(), Value::Int(2))];
    commit(&image, vec![Change::Create { object: id, slots }]).unwrap();
    (folder, image, id.0)
}

fn seen(image: &Image, object: u64, slot: &str) -> Read {
    let changed = image
        .state
        .object(ObjectId(object))
        .unwrap()
        .slot(slot)
        .map(|slot| slot.changed);
    Read {
        object: ObjectId(object),
        slot: ReadSlot::Named(slot.into(), changed),
    }
}

#[test]
fn disjoint_slots_of_one_object_both_commit_and_a_real_conflict_does_not() {
    let (_folder, image, id) = with_object();
    let read_a = seen(&image, id, "a");
    commit(&image, vec![put(id, "b", 20)]).unwrap();
    let draft = |read: &Read| Draft {
        reads: vec![read.clone()],
        changes: vec![put(id, "a", 10)],
        ..Draft::new("t")
    };
    image.committer.commit_blocking(draft(&read_a)).unwrap();
    let error = image.committer.commit_blocking(draft(&read_a)).unwrap_err();
    assert!(
        matches!(&error, CommitError::Conflict(reads) if *reads == [read_a.clone()]),
        "{error}"
    );
}

/// A lookup that found nothing counts: somebody who adds the slot in between makes it a conflict.
#[test]
fn an_absent_slot_that_appears_is_a_conflict() {
    let (_folder, image, id) = with_object();
    let absent = seen(&image, id, "new");
    commit(&image, vec![put(id, "new", 1)]).unwrap();
    let draft = Draft {
        reads: vec![absent],
        changes: vec![put(id, "a", 5)],
        ..Draft::new("t")
    };
    assert!(matches!(
        image.committer.commit_blocking(draft),
        Err(CommitError::Conflict(_))
    ));
}

#[test]
fn a_repeated_request_gets_the_stored_reply_even_after_a_crash() {
    let (folder, image, id) = with_object();
    let request = RequestId {
        client: ClientId([7; 16]),
        sequence: 1,
    };
    let answer = Answer::Changed {
        object: ObjectId(id),
        slot: "a".into(),
        transaction: TransactionId(0),
    };
    let draft = || Draft {
        changes: vec![put(id, "a", 5)],
        reply: Some((request, answer.clone())),
        ..Draft::new("t")
    };
    let first = image.committer.commit_blocking(draft()).unwrap();
    drop(image);
    let image = Image::open(folder.path()).unwrap();
    let Err(CommitError::Repeated(stored)) = image.committer.commit_blocking(draft()) else {
        panic!("ran twice")
    };
    assert_eq!(Some(*stored), first.answer);
    assert_eq!(image.state.reply(&request), first.answer);
}

#[test]
fn the_image_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(folder.path()).unwrap();
    assert!(matches!(
        Image::open(folder.path()),
        Err(super::OpenError::InUse(_))
    ));
    let epoch = image.state.epoch();
    image.close();
    drop(image);
    assert_eq!(Image::open(folder.path()).unwrap().state.epoch().0, epoch.0 + 1);
}

#[test]
fn parents_must_be_references_and_names_must_be_names() {
    let (_folder, image, id) = with_object();
    let refused = |slot: &str, value: Value| {
        let change = Change::Put {
            object: ObjectId(id),
            slot: slot.into(),
            value,
        };
        assert!(
            matches!(commit(&image, vec![change]), Err(CommitError::Refused(_))),
            "{slot}"
        );
    };
    refused("parents", Value::Int(1));
    refused("parents", Value::List(vec![Value::Text("traits".into())]));
    refused("__class__", Value::Int(1));
    refused("a b", Value::Int(1));
    refused("", Value::Int(1));
}

/// A kernel that was retired, but still runs and holds its files, never writes again.
#[test]
fn a_retired_kernel_is_refused_a_thousand_times() {
    let (folder, old, id) = with_object();
    // Only a test can get past the lock.
    let new = Image::open_locked(folder.path(), None).unwrap();
    for n in 0..1_000 {
        let late = commit(&old, vec![put(id, "a", 1_000 + n)]);
        assert!(matches!(late, Err(CommitError::Failed(_))), "{late:?}");
        commit(&new, vec![put(id, "a", n)]).unwrap();
    }
    drop(old);
    new.close();
    drop(new);
    let image = Image::open(folder.path()).unwrap();
    let slot = image
        .state
        .object(ObjectId(id))
        .unwrap()
        .slot("a")
        .unwrap()
        .value
        .clone();
    assert_eq!(slot, Value::Int(999));
}

#[test]
fn nothing_may_refer_to_what_does_not_exist() {
    let (_folder, image, id) = with_object();
    let dangling = Change::Put {
        object: ObjectId(id),
        slot: "a".into(),
        value: Value::List(vec![Value::Ref(ObjectId(999))]),
    };
    assert!(matches!(
        commit(&image, vec![dangling]),
        Err(CommitError::Refused(_))
    ));
}

/// An index that was lost, or whose bytes were flipped, is named by a verification and made anew to the same digest.
#[test]
fn a_damaged_index_is_named_and_rebuilt_to_the_same_digest() {
    use super::exercise::exercise;
    use super::lmdb::{IndexWrite, Table};
    use super::verify::{Chains, verify};
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("scratch");
    let image = Image::open(folder.path()).unwrap();
    exercise(
        &image,
        500,
        9,
        &Default::default(),
        &std::sync::Mutex::new(Vec::new()),
    )
    .unwrap();
    let whole = verify(
        &image,
        folder.path(),
        &scratch,
        Chains::Untold,
        &Reporter::silent(),
    )
    .unwrap()
    .found;
    assert!(whole.faults.is_empty(), "{:?}", whole.faults);
    assert!(whole.objects > 10 && whole.entries > 10);
    let (key, mut value) = image.state.index().all(Table::Objects).unwrap().pop().unwrap();
    let at = value.len() - 1;
    value[at] ^= 1;
    let table = Table::Objects;
    image
        .state
        .index()
        .write(&[IndexWrite::Put { table, key, value }])
        .unwrap();
    let damaged = verify(
        &image,
        folder.path(),
        &scratch,
        Chains::Untold,
        &Reporter::silent(),
    )
    .unwrap()
    .found;
    assert!(!damaged.faults.is_empty());
    assert!(
        damaged.faults[0].place.starts_with("index Objects #"),
        "{:?}",
        damaged.faults
    );
    image.close();
    drop(image);
    let digest = super::reindex::reindex(folder.path(), &Reporter::silent()).unwrap();
    assert_eq!(super::digest::hex(&digest), whole.digest);
    let image = Image::open(folder.path()).unwrap();
    assert!(
        verify(
            &image,
            folder.path(),
            &scratch,
            Chains::Untold,
            &Reporter::silent()
        )
        .unwrap()
        .found
        .faults
        .is_empty()
    );
    drop(image);
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let image = Image::open(folder.path()).unwrap();
    let again = verify(
        &image,
        folder.path(),
        &scratch,
        Chains::Untold,
        &Reporter::silent(),
    )
    .unwrap()
    .found;
    assert!(again.faults.is_empty(), "{:?}", again.faults);
    assert_eq!(again.objects, whole.objects);
}

fn check_whole(image: &Image, folder: &Path) -> shared::bridge::Verification {
    let scratch = folder.join("scratch");
    let report = super::verify::verify(
        image,
        folder,
        &scratch,
        super::verify::Chains::Untold,
        &Reporter::silent(),
    )
    .unwrap()
    .found;
    assert!(report.faults.is_empty(), "{:#?}", report.faults);
    report
}

/// What the lobby reaches stays, through slots, parents, keys and entries; the rest goes, cycles included.
#[test]
fn a_pack_keeps_what_the_lobby_reaches_and_drops_the_rest() {
    use shared::key::Key;
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(folder.path()).unwrap();
    let ids: Vec<ObjectId> = (0..8).map(|_| image.state.allocate()).collect();
    assert_eq!(ids[0], ObjectId::LOBBY);
    let create = |at: usize, refers: &[usize]| Change::Create {
        object: ids[at],
        slots: vec![(
            "to".into(),
            Value::List(refers.iter().map(|at| Value::Ref(ids[*at])).collect()),
        )],
    };
    // 0 → 1 → 2 → 1; 2 has entries that lead to 3 (value) and 4 (key); 5 ⇄ 6 lead to 1 and are reached by nobody; 7 by a later put.
    let changes = vec![
        create(1, &[]),
        create(2, &[1]),
        create(3, &[]),
        create(4, &[]),
        create(5, &[1]),
        create(6, &[5]),
        create(7, &[]),
        create(0, &[1]),
    ];
    commit(&image, changes).unwrap();
    let key = |value: Value| Key::of(&value).unwrap();
    let link = |from: usize, to: usize| Change::Put {
        object: ids[from],
        slot: "link".into(),
        value: Value::Ref(ids[to]),
    };
    let entry = |k: Key, value: Value| Change::PutEntry {
        object: ids[2],
        key: k,
        value,
    };
    let more = vec![
        link(1, 2),
        link(5, 6),
        entry(key(Value::Int(1)), Value::Ref(ids[3])),
        entry(key(Value::Ref(ids[4])), Value::None),
    ];
    commit(&image, more).unwrap();
    for n in 0..300 {
        commit(&image, vec![put(ids[1].0, "n", n)]).unwrap();
    }
    check_whole(&image, folder.path());
    let packed = super::pack::pack(&image, folder.path(), &Reporter::silent()).unwrap();
    assert_eq!((packed.objects, packed.collected), (5, 3), "{packed:?}");
    let there =
        |image: &Image| -> Vec<bool> { ids.iter().map(|id| image.state.object(*id).is_some()).collect() };
    let expected = [true, true, true, true, true, false, false, false];
    assert_eq!(there(&image), expected);
    check_whole(&image, folder.path());
    commit(&image, vec![put(ids[1].0, "n", 7)]).unwrap();
    let report = check_whole(&image, folder.path());
    assert_eq!((report.objects, report.entries), (5, 2));
    drop(image);
    let image = Image::open(folder.path()).unwrap();
    assert_eq!(there(&image), expected);
    let before = check_whole(&image, folder.path());
    let again = super::pack::pack(&image, folder.path(), &Reporter::silent()).unwrap();
    assert_eq!((again.objects, again.collected), (5, 0));
    assert!(again.base > packed.base);
    assert_eq!(check_whole(&image, folder.path()).objects, before.objects);
    drop(image);
    // The index is derived from base and log: without it nothing is lost.
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let image = Image::open(folder.path()).unwrap();
    assert_eq!(there(&image), expected);
    check_whole(&image, folder.path());
}

/// Packs while four threads commit: nothing acknowledged is lost, no reference breaks, and space comes back.
#[test]
fn packs_under_load_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(folder.path()).unwrap();
    let lobby = image.state.allocate();
    commit(
        &image,
        vec![Change::Create {
            object: lobby,
            slots: Vec::new(),
        }],
    )
    .unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4_u64)
            .map(|worker| {
                let (image, stop) = (&image, &stop);
                scope.spawn(move || {
                    let mut count = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        // An object that stays, one that is dropped at once, and one that hangs by an entry.
                        let kept = image.state.allocate();
                        let lost = image.state.allocate();
                        let make = |object| Change::Create {
                            object,
                            slots: vec![("n".into(), Value::Int(count as i64))],
                        };
                        let hang = Change::PutEntry {
                            object: lobby,
                            key: shared::key::Key::of(&Value::List(vec![
                                Value::Int(worker as i64),
                                Value::Int(count as i64),
                            ]))
                            .unwrap(),
                            value: Value::Ref(kept),
                        };
                        commit(image, vec![make(kept), make(lost), hang]).unwrap();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for _ in 0..6 {
            std::thread::sleep(std::time::Duration::from_millis(30));
            super::pack::pack(&image, folder.path(), &Reporter::silent()).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let total: u64 = counts.iter().sum();
    assert!(total > 100, "{counts:?}");
    let report = check_whole(&image, folder.path());
    assert_eq!(report.entries, total);
    super::pack::pack(&image, folder.path(), &Reporter::silent()).unwrap();
    drop(image);
    let image = Image::open(folder.path()).unwrap();
    let report = check_whole(&image, folder.path());
    assert_eq!((report.objects, report.entries), (total + 1, total));
}

/// A content that a slot names stays; one that nothing names goes once it has lain; a damaged one is named.
#[test]
fn a_pack_removes_blobs_that_nothing_names_and_verification_reads_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(folder.path()).unwrap();
    let lobby = image.state.allocate();
    let keep = |content: &[u8]| {
        let mut upload = image.state.blobs.begin().unwrap();
        upload.write(content).unwrap();
        image.state.blobs.keep(upload).unwrap()
    };
    let (named, unnamed, fresh) = (keep(b"named"), keep(b"nobody's"), keep(b"just given"));
    for blob in [named, unnamed] {
        let file = std::fs::File::options()
            .write(true)
            .open(image.state.blobs.path(&blob.digest))
            .unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
        file.set_modified(long_ago).unwrap();
    }
    commit(
        &image,
        vec![Change::Create {
            object: lobby,
            slots: vec![("content".into(), Value::Blob(named))],
        }],
    )
    .unwrap();
    super::pack::pack(&image, folder.path(), &Reporter::silent()).unwrap();
    let is_here = |blob: shared::value::BlobRef| image.state.blobs.length(&blob.digest).unwrap().is_some();
    assert_eq!(
        [is_here(named), is_here(unnamed), is_here(fresh)],
        [true, false, true]
    );
    check_whole(&image, folder.path());
    std::fs::write(image.state.blobs.path(&named.digest), b"nbmed").unwrap();
    let scratch = folder.path().join("scratch");
    let report = super::verify::verify(
        &image,
        folder.path(),
        &scratch,
        super::verify::Chains::Untold,
        &Reporter::silent(),
    )
    .unwrap();
    assert_eq!(report.found.faults.len(), 1, "{:?}", report.found.faults);
    assert_eq!(report.found.faults[0].place, "#1.content");
}

#[test]
fn a_conflict_is_told_when_what_it_met_is_visible() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(folder.path()).unwrap();
    let id = image.state.allocate();
    let slots = vec![("n".to_owned(), Value::Int(0))];
    commit(&image, vec![Change::Create { object: id, slots }]).unwrap();
    let changed = || {
        let object = image.state.object(id).unwrap();
        object.slot("n").unwrap().changed
    };
    let bump = |seen: TransactionId| {
        let mut draft = Draft::new("test");
        draft.reads = vec![Read {
            object: id,
            slot: ReadSlot::Named("n".into(), Some(seen)),
        }];
        draft.changes = vec![put(id.0, "n", 1)];
        let result = image.committer.commit_blocking(draft);
        (result.is_ok(), changed() > seen)
    };
    for _ in 0..20 {
        let seen = changed();
        let outcomes = std::thread::scope(|scope| {
            // While this runs the others wait, and then go into one group.
            let (begin, begun) = std::sync::mpsc::channel();
            scope.spawn(|| {
                image.committer.exclusively(move |_, _| {
                    begin.send(()).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    Ok(())
                })
            });
            begun.recv().unwrap();
            let both = [(); 2].map(|()| scope.spawn(|| bump(seen)));
            both.map(|thread| thread.join().unwrap())
        });
        assert_eq!(outcomes.iter().filter(|(committed, _)| *committed).count(), 1);
        for (_, is_visible) in outcomes {
            assert!(is_visible, "{outcomes:?}");
        }
    }
}
