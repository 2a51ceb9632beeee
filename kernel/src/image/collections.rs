//! Entries against a plain model, and what may and may not conflict when many write at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;

use shared::activation::{Read, ReadSlot, ScanOrder};
use shared::id::ObjectId;
use shared::key::Key;
use shared::value::Value;

use super::Image;
use super::draft::{Change, CommitError, Draft};
use super::lmdb::Direction;
use crate::overlay::{Overlay, World};

const THREADS: usize = 8;

fn with_object() -> (tempfile::TempDir, Image, ObjectId) {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(folder.path()).unwrap();
    let object = image.state.allocate();
    let slots = Vec::new();
    commit(&image, Vec::new(), vec![Change::Create { object, slots }]).unwrap();
    (folder, image, object)
}

fn commit(image: &Image, reads: Vec<Read>, changes: Vec<Change>) -> Result<(), CommitError> {
    let draft = Draft {
        reads,
        changes,
        ..Draft::new("test")
    };
    image.committer.commit_blocking(draft).map(|_| ())
}

fn key(value: impl Into<i64>) -> Key {
    Key::of(&Value::Int(value.into())).unwrap()
}

fn named(name: &str) -> Key {
    Key::of(&Value::Text(name.into())).unwrap()
}

fn world(image: &Image) -> World<'_> {
    World {
        state: &image.state,
        overlay: None,
    }
}

fn all(image: &Image, object: ObjectId) -> Vec<(Key, Value)> {
    let (entries, is_whole) = world(image).scan(
        object,
        Key::first(),
        Key::last(),
        usize::MAX,
        ScanOrder::Ascending,
        &mut Vec::new(),
    );
    assert!(is_whole);
    entries
}

/// Runs `work` on so many threads at once.
fn together(work: impl Fn(usize) + Sync) {
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(thread);
            });
        }
    });
}

#[test]
fn concurrent_adds_and_appends_lose_nothing_and_never_conflict() {
    let (folder, image, object) = with_object();
    let rounds = 60;
    together(|thread| {
        for round in 0..rounds {
            let add = Change::AddEntry {
                object,
                key: named("sum"),
                amount: Value::Int(thread as i64 + 1),
            };
            let append = Change::Append {
                object,
                value: Value::Int((thread * rounds + round) as i64),
            };
            commit(&image, Vec::new(), vec![add, append.clone(), append]).unwrap();
        }
    });
    drop(image);
    let image = Image::open(folder.path()).unwrap();
    let mut entries = all(&image, object);
    let sum = entries.pop().unwrap();
    let expected = (1..=THREADS as i64).sum::<i64>() * rounds as i64;
    assert_eq!(sum, (named("sum"), Value::Int(expected)));
    let total = THREADS * rounds * 2;
    let keys: Vec<Key> = entries.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, (0..total as i64).map(key).collect::<Vec<_>>());
    let mut seen: BTreeMap<i64, (usize, i64)> = BTreeMap::new();
    for (at, (_, value)) in entries.iter().enumerate() {
        let Value::Int(value) = value else {
            panic!("{value:?}")
        };
        let (count, last) = seen.entry(*value).or_insert((0, at as i64));
        // What one transaction appends stands together, in its order.
        assert!(at as i64 - *last <= 1);
        *count += 1;
    }
    assert!(seen.len() == total / 2 && seen.values().all(|(count, _)| *count == 2));
    assert_eq!(world(&image).count(object, &mut Vec::new()), total as u64 + 1);
}

#[test]
fn no_two_pops_get_the_same_element() {
    let (_folder, image, object) = with_object();
    let elements = 200;
    let changes = (0..elements)
        .map(|at| Change::Append {
            object,
            value: Value::Int(at),
        })
        .collect();
    commit(&image, Vec::new(), changes).unwrap();
    let popped = std::sync::Mutex::new(Vec::new());
    let conflicts = std::sync::atomic::AtomicUsize::new(0);
    together(|thread| {
        loop {
            let mut reads = Vec::new();
            let (found, _) = world(&image).scan(
                object,
                Key::first(),
                Key::last(),
                1,
                ScanOrder::Ascending,
                &mut reads,
            );
            let Some((key, value)) = found.into_iter().next() else {
                return;
            };
            match commit(&image, reads, vec![Change::RemoveEntry { object, key }]) {
                Ok(()) => popped.lock().unwrap().push(value),
                Err(CommitError::Conflict(_)) => {
                    conflicts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                Err(error) => panic!("thread {thread}: {error}"),
            }
        }
    });
    let popped = popped.into_inner().unwrap();
    let different: BTreeSet<String> = popped.iter().map(|value| format!("{value:?}")).collect();
    assert_eq!(
        (popped.len(), different.len()),
        (elements as usize, elements as usize)
    );
    assert!(all(&image, object).is_empty());
    println!("{conflicts:?} conflicts for {elements} pops");
}

#[test]
fn only_what_a_scan_has_seen_conflicts() {
    let (_folder, image, object) = with_object();
    let put = |at: i64| Change::PutEntry {
        object,
        key: key(at),
        value: Value::None,
    };
    commit(&image, Vec::new(), (0..10).map(|at| put(at * 10)).collect()).unwrap();
    let scanned = |limit, order| {
        let mut reads = Vec::new();
        world(&image).scan(object, key(20), key(60), limit, order, &mut reads);
        reads
    };
    use ScanOrder::{Ascending, Descending};
    // What the scan reads, what is put meanwhile, whether that is a conflict.
    for (limit, order, other, is_conflict) in [
        (100, Ascending, 35, true),
        (100, Ascending, 30, true),
        (100, Ascending, 20, true),
        (100, Ascending, 60, false),
        (100, Ascending, 19, false),
        (2, Ascending, 25, true),
        (2, Ascending, 31, false),
        (2, Descending, 45, true),
        (2, Descending, 39, false),
    ] {
        let reads = scanned(limit, order);
        let at = || vec![put(1000)];
        commit(&image, reads.clone(), at()).unwrap();
        commit(&image, Vec::new(), vec![put(other)]).unwrap();
        let ended = commit(&image, reads, at());
        assert_eq!(
            matches!(ended, Err(CommitError::Conflict(_))),
            is_conflict,
            "{limit} {order:?} {other}: {ended:?}"
        );
        if other % 10 != 0 {
            let change = Change::RemoveEntry {
                object,
                key: key(other),
            };
            commit(&image, Vec::new(), vec![change]).unwrap();
        }
    }
    // So does a count, by any entry that comes or goes, but by no other change.
    let mut reads = Vec::new();
    world(&image).count(object, &mut reads);
    commit(&image, reads.clone(), vec![put(20)]).unwrap();
    commit(&image, Vec::new(), vec![put(21)]).unwrap();
    assert!(matches!(
        commit(&image, reads, vec![put(20)]),
        Err(CommitError::Conflict(_))
    ));
}

#[test]
fn a_scan_is_bounded_by_bytes_too() {
    let (_folder, image, object) = with_object();
    for at in 0..12_i64 {
        let change = Change::PutEntry {
            object,
            key: key(at),
            value: Value::Bytes(vec![0; 1 << 20]),
        };
        commit(&image, Vec::new(), vec![change]).unwrap();
    }
    let scan = |from: i64| {
        let mut reads = Vec::new();
        let (found, is_whole) = world(&image).scan(
            object,
            key(from),
            Key::last(),
            1000,
            ScanOrder::Ascending,
            &mut reads,
        );
        let [
            Read {
                slot: ReadSlot::Range { to, .. },
                ..
            },
        ] = &reads[..]
        else {
            panic!("{reads:?}")
        };
        assert_eq!(
            is_whole,
            *to == Key::last(),
            "the read ends where the answer ends"
        );
        (found.len(), is_whole)
    };
    assert_eq!((scan(0), scan(9)), ((3, false), (3, true)));
}

#[test]
fn what_is_no_key_is_refused() {
    let (_folder, image, object) = with_object();
    for bytes in [vec![], vec![0xff], vec![0x20; 400]] {
        let change = Change::PutEntry {
            object,
            key: Key::from_bytes(&bytes).unwrap(),
            value: Value::None,
        };
        assert!(matches!(
            commit(&image, Vec::new(), vec![change]),
            Err(CommitError::Refused(_))
        ));
    }
}

/// Every way to change entries, with crashes, flushes and an overlay in front, against a map.
#[test]
fn scans_match_a_plain_map() {
    let (folder, mut image, object) = with_object();
    let mut seed = 0x0123_4567_89AB_CDEF_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut model: BTreeMap<Key, Value> = BTreeMap::new();
    for step in 0..400 {
        let mut changes = Vec::new();
        for _ in 0..=random(6) {
            let (at, value) = (key(random(90) as i64 - 10), Value::Int(random(1000) as i64));
            match random(6) {
                0 | 1 => {
                    model.insert(at.clone(), value.clone());
                    let key = at;
                    changes.push(Change::PutEntry { object, key, value });
                }
                2 => {
                    let sum = model.get(&at).unwrap_or(&Value::Int(0)).plus(&value).unwrap();
                    model.insert(at.clone(), sum);
                    let (key, amount) = (at, value);
                    changes.push(Change::AddEntry { object, key, amount });
                }
                3 => {
                    let last = model.last_key_value().map(|(key, _)| key);
                    model.insert(Key::next_integer(last).unwrap(), value.clone());
                    changes.push(Change::Append { object, value });
                }
                _ => {
                    model.remove(&at);
                    changes.push(Change::RemoveEntry { object, key: at });
                }
            }
        }
        let mut overlay = Overlay::default();
        match random(4) {
            0 => overlay.apply(&image.state, changes.clone()).unwrap(),
            _ => commit(&image, Vec::new(), std::mem::take(&mut changes)).unwrap(),
        }
        match random(12) {
            0 => image.state.flush().unwrap(),
            1 if changes.is_empty() => {
                drop(image);
                image = Image::open(folder.path()).unwrap();
            }
            _ => {}
        }
        let seen = World::over(&image.state, &overlay);
        let (a, b) = (key(random(120) as i64 - 20), key(random(120) as i64 - 20));
        let (from, to) = match step % 3 {
            0 => (Key::first(), Key::last()),
            _ => (a.clone().min(b.clone()), a.max(b)),
        };
        let limit = 1 + random(40) as usize;
        for order in [ScanOrder::Ascending, ScanOrder::Descending] {
            let pairs = model.range(from.clone()..to.clone());
            let mut expected: Vec<(Key, Value)> = pairs.map(|(k, v)| (k.clone(), v.clone())).collect();
            if order == ScanOrder::Descending {
                expected.reverse();
            }
            let is_all = expected.len() < limit;
            expected.truncate(limit);
            let (found, is_whole) =
                seen.scan(object, from.clone(), to.clone(), limit, order, &mut Vec::new());
            assert_eq!((found, is_whole), (expected, is_all), "step {step} {order:?}");
        }
        assert_eq!(seen.count(object, &mut Vec::new()), model.len() as u64);
        commit(&image, Vec::new(), changes).unwrap();
    }
}

/// By hand: `cargo test --release -p kernel a_million -- --ignored --nocapture`.
#[test]
#[ignore = "makes a million entries and prints what ranges of them cost"]
fn a_million_entries() {
    let (folder, image, object) = with_object();
    let total = 1_000_000;
    let name = |at: usize| named(&format!("key-{:07}", at * 7_919 % total));
    let begun = std::time::Instant::now();
    for batch in 0..total / 10_000 {
        let changes = (batch * 10_000..(batch + 1) * 10_000)
            .map(|at| Change::PutEntry {
                object,
                key: name(at),
                value: Value::Int(at as i64),
            })
            .collect();
        commit(&image, Vec::new(), changes).unwrap();
    }
    println!("puts, 10,000 a transaction: {:?} in all", begun.elapsed());
    let measure = |what: &str, image: &Image| {
        let timed = |work: &mut dyn FnMut(usize)| {
            let mut times: Vec<_> = (0..200)
                .map(|round| {
                    let begun = std::time::Instant::now();
                    work(round * 4_999);
                    begun.elapsed()
                })
                .collect();
            times.sort();
            (times[100], times[198])
        };
        let range = timed(&mut |at| {
            let from = named(&format!("key-{:07}", at % (total - 100)));
            let (found, _) = world(image).scan(
                object,
                from,
                Key::last(),
                100,
                ScanOrder::Ascending,
                &mut Vec::new(),
            );
            assert_eq!(found.len(), 100);
        });
        let prefix = timed(&mut |at| {
            let (from, to) = Key::text_prefix(&format!("key-{:05}", at % 10_000)).unwrap();
            let (found, is_whole) =
                world(image).scan(object, from, to, 1000, ScanOrder::Ascending, &mut Vec::new());
            assert_eq!((found.len(), is_whole), (100, true));
        });
        let one = timed(&mut |at| {
            let mut reads = Vec::new();
            assert!(world(image).entry(object, &name(at), &mut reads).is_some());
        });
        let last = timed(&mut |_| {
            let found = image.state.scan(
                &Default::default(),
                object,
                &Key::first(),
                &Key::last(),
                1,
                Direction::Descending,
            );
            assert_eq!(found.len(), 1);
        });
        println!(
            "{what}: median and 99th of 100 of 100 by range {range:?}, by prefix {prefix:?}; one {one:?}, last {last:?}"
        );
    };
    measure("newest in memory", &image);
    let begun = std::time::Instant::now();
    image.state.flush().unwrap();
    println!("flush: {:?}", begun.elapsed());
    measure("indexed", &image);
    image.close();
    drop(image);
    let begun = std::time::Instant::now();
    let image = Image::open(folder.path()).unwrap();
    println!("open: {:?}", begun.elapsed());
    measure("right after an opening", &image);
}
