//! Finds every fault of an image: chain, records, back pointers, references, counts, index, branches.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use shared::bridge::{ImageFault, Unit, Verification};
use shared::id::{ObjectId, TransactionId};
use shared::key::Key;
use shared::value::BlobRef;

use super::archive::Archive;
use super::blob::Blobs;
use super::digest::{digest, each, hex};
use super::lmdb::{Lmdb, Table};
use super::log::{BEGINNING, segment_path};
use super::rebuild::rebuild;
use super::record::{Entry, Place, StoredEntry, StoredObject};
use super::segment::at;
use super::state::State;
use super::{Image, OpenError, make_folder};
use crate::reporter::Reporter;

/// More faults than these are only counted.
const NAMED: usize = 100;

/// What a verification found, the chain hash after each transaction when it was asked for, and what branches hold where somebody
/// told.
pub struct Report {
    pub found: Verification,
    pub chains: Option<BTreeMap<u64, String>>,
    pub branches: BTreeMap<String, u64>,
}

/// Whether every transaction's chain hash is wanted in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chains {
    Told,
    Untold,
}

/// Verifies an open image as of now, while others go on using it. A second index is made in `scratch`, an empty folder, and
/// compared with the image's own; memory is bounded.
pub fn verify(
    image: &Image,
    folder: &Path,
    scratch: &Path,
    chains: Chains,
    reporter: &Reporter,
) -> Result<Report, OpenError> {
    let mut faults = Faults::default();
    clear(scratch)?;
    let index_failed = |source| OpenError::Index {
        path: scratch.to_path_buf(),
        source,
    };
    image.flush().map_err(index_failed)?;
    // The own index is compared at one moment: its newest flush.
    let index = image.state.index();
    let own = index.reading().map_err(index_failed)?;
    let known = super::index_record::position_of(&own)?
        .ok_or_else(|| OpenError::Damaged("it has no position".into()))?;
    let last = known.position.transaction;
    reporter.begin("reading the index", Unit::Objects, None);
    let own_digest = super::digest::digest_of(&own, last).map_err(index_failed)?;
    drop(own);
    let log_folder = folder.join("log");
    let mut told = (chains == Chains::Told).then(BTreeMap::new);
    if let Some(told) = &mut told {
        let from = super::base::newest(&log_folder)?.map_or(BEGINNING, |base| base.end());
        Archive::new(&log_folder).walk(from, last, |next, _, position| {
            told.insert(next.transaction.0, hex(&position.chain));
            Ok::<bool, OpenError>(true)
        })?;
    }
    let fresh = Lmdb::open(scratch).map_err(index_failed)?;
    let rebuilt = rebuild(&log_folder, fresh, last, reporter, |state, transaction, entry| {
        check_entry(state, transaction, entry, &mut faults);
    });
    let rebuilt = match rebuilt {
        Ok(state) => state,
        Err(error) => {
            faults.add("log", error.to_string());
            return Ok(faults.report(last, &known.position.chain, &own_digest, (0, 0), told));
        }
    };
    let reached = rebuilt.position().unwrap_or(BEGINNING);
    if (reached.transaction, reached.chain) != (last, known.position.chain) {
        faults.add(
            &segment_path(&log_folder, reached.segment).display().to_string(),
            format!(
                "the log leads to transaction {} where the index stands at {last}",
                reached.transaction
            ),
        );
    }
    let rebuilt_index = rebuilt.index();
    let counts =
        check_state(&rebuilt_index, &image.state.blobs, &mut faults, reporter).map_err(index_failed)?;
    reporter.begin("comparing the index", Unit::Objects, None);
    let true_digest = digest(&rebuilt_index, last).map_err(index_failed)?;
    if true_digest != own_digest {
        let before = faults.count;
        compare(&index, &rebuilt_index, &mut faults).map_err(index_failed)?;
        if faults.count == before {
            faults.add(
                "index",
                "it differs from what the log comes to; batos reindex mends it".into(),
            );
        }
    }
    if known.objects != counts.0 {
        faults.add(
            "index",
            format!("it counts {} objects and there are {}", known.objects, counts.0),
        );
    }
    for (path, what) in image.branches.faults() {
        faults.add(&path.display().to_string(), what);
    }
    drop((rebuilt_index, rebuilt));
    let _ = std::fs::remove_dir_all(scratch);
    Ok(faults.report(last, &known.position.chain, &true_digest, counts, told))
}

/// Leaves an empty folder.
fn clear(scratch: &Path) -> Result<(), OpenError> {
    match std::fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(at(scratch)(error).into());
        }
        _ => {}
    }
    make_folder(scratch)
}

#[derive(Default)]
struct Faults {
    named: Vec<ImageFault>,
    count: usize,
}

impl Faults {
    fn add(&mut self, place: &str, what: String) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(ImageFault {
                place: place.to_owned(),
                what,
            });
        }
    }

    fn report(
        self,
        last: TransactionId,
        chain: &[u8; 32],
        digest: &[u8; 32],
        (objects, entries): (u64, u64),
        chains: Option<BTreeMap<u64, String>>,
    ) -> Report {
        Report {
            found: Verification {
                last,
                chain: hex(chain),
                digest: hex(digest),
                objects,
                entries,
                more_faults: (self.count - self.named.len()) as u64,
                faults: self.named,
            },
            chains,
            branches: BTreeMap::new(),
        }
    }
}

/// A record against the state before it: its back pointers and its epoch.
fn check_entry(state: &State, transaction: TransactionId, entry: &Entry, faults: &mut Faults) {
    let place = format!("transaction {transaction}");
    if entry.epoch < state.epoch() {
        faults.add(
            &place,
            format!(
                "it was written in epoch {} after epoch {}",
                entry.epoch,
                state.epoch()
            ),
        );
    }
    // What was last changed before the base is found in the base now.
    let before_base = |place: Option<Place>| place.is_some_and(|place| place.segment <= state.base().0);
    let mut compare = |what: String, told: Option<Place>, found: Option<Place>| {
        if told != found && !(before_base(told) && before_base(found)) {
            faults.add(
                &place,
                format!("{what} says it was last changed at {told:?}; it was at {found:?}"),
            );
        }
    };
    for change in &entry.objects {
        let found = state.held(change.object).map(|held| held.place);
        compare(change.object.to_string(), change.before, found);
    }
    for change in &entry.entries {
        let found = state.entry(change.object, &change.key).map(|entry| entry.place);
        compare(
            format!("{}[{:?}]", change.object, change.key),
            change.before,
            found,
        );
    }
}

/// References, counts and forms of a whole index; answers how many objects and entries there are.
fn check_state(
    index: &Lmdb,
    blobs: &Blobs,
    faults: &mut Faults,
    reporter: &Reporter,
) -> Result<(u64, u64), ::lmdb::Error> {
    let reading = index.reading()?;
    let exists = |id: ObjectId| {
        reading
            .get(Table::Objects, &id.0.to_be_bytes())
            .is_ok_and(|found| found.is_some())
    };
    // Each content is read once, however often it is named.
    let mut looked: HashMap<[u8; 32], Option<String>> = HashMap::new();
    let mut blob = |blob: &BlobRef| {
        let what = looked
            .entry(blob.digest)
            .or_insert_with(|| blobs.check(blob).err().map(|error| error.to_string()));
        what.clone()
    };
    let (mut objects, mut entries) = (0, 0);
    let mut promised: u64 = 0;
    let total = reading.count(Table::Objects)?;
    reporter.begin("checking objects and their contents", Unit::Objects, Some(total));
    each(&reading, Table::Objects, |(key, value)| {
        objects += 1;
        reporter.add(1);
        let Ok(stored) = postcard::from_bytes::<StoredObject>(value) else {
            faults.add(&object_name(key), "its index record cannot be read".into());
            return;
        };
        promised += stored.entries;
        for slot in &stored.image.slots {
            slot.value.each_reference(&mut |id| {
                if !exists(id) {
                    faults.add(
                        &format!("{}.{}", stored.image.id, slot.name),
                        format!("it refers to {id}, which does not exist"),
                    );
                }
            });
            slot.value.each_blob(&mut |named| {
                if let Some(what) = blob(named) {
                    faults.add(&format!("{}.{}", stored.image.id, slot.name), what);
                }
            });
        }
    })?;
    let total = reading.count(Table::Entries)?;
    reporter.begin("checking entries", Unit::Entries, Some(total));
    each(&reading, Table::Entries, |(key, value)| {
        entries += 1;
        reporter.add(1);
        let name = object_name(key);
        let Ok(stored) = postcard::from_bytes::<StoredEntry>(value) else {
            faults.add(&name, "the index record of an entry cannot be read".into());
            return;
        };
        let holder = key.first_chunk::<8>().map(|id| ObjectId(u64::from_be_bytes(*id)));
        if !holder.is_some_and(exists) {
            faults.add(&name, "it has an entry and does not exist".into());
        }
        stored.value.each_reference(&mut |id| {
            if !exists(id) {
                faults.add(&name, format!("an entry refers to {id}, which does not exist"));
            }
        });
        stored.value.each_blob(&mut |named| {
            if let Some(what) = blob(named) {
                faults.add(&name, what);
            }
        });
    })?;
    if promised != entries {
        faults.add(
            "index",
            format!("objects count {promised} entries and there are {entries}"),
        );
    }
    Ok((objects, entries))
}

/// Names what an index has otherwise than the log says.
fn compare(own: &Lmdb, rebuilt: &Lmdb, faults: &mut Faults) -> Result<(), ::lmdb::Error> {
    let (own, rebuilt) = (own.reading()?, rebuilt.reading()?);
    for table in [
        Table::Objects,
        Table::Entries,
        Table::Missions,
        Table::Chunks,
        Table::Postings,
        Table::Vectors,
    ] {
        each(&rebuilt, table, |(key, value)| {
            let stored = own.get(table, key).ok().flatten();
            if stored.as_ref() != Some(value) {
                let what = if stored.is_some() {
                    "differs from"
                } else {
                    "lacks what is in"
                };
                faults.add(
                    &format!("index {table:?} {}", name(table, key)),
                    format!("it {what} the log; batos reindex mends it"),
                );
            }
        })?;
        each(&own, table, |(key, _)| {
            if rebuilt.get(table, key).is_ok_and(|found| found.is_none()) {
                faults.add(
                    &format!("index {table:?} {}", name(table, key)),
                    "the log knows nothing of it; batos reindex mends it".into(),
                );
            }
        })?;
    }
    Ok(())
}

fn name(table: Table, key: &[u8]) -> String {
    match table {
        Table::Missions => format!("{:?}", key),
        Table::Chunks | Table::Postings | Table::Vectors => key.escape_ascii().to_string(),
        _ => object_name(key),
    }
}

/// The object, or the entry, that a key of the index names.
fn object_name(key: &[u8]) -> String {
    let Some((id, rest)) = key.split_first_chunk::<8>() else {
        return format!("{key:?}");
    };
    let id = ObjectId(u64::from_be_bytes(*id));
    match Key::from_bytes(rest) {
        Ok(key) if !rest.is_empty() => format!("{id}[{key:?}]"),
        _ => id.to_string(),
    }
}
