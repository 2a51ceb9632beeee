//! Pack: drops what no root reaches and all history before now, while others go on (M4).
//!
//! 1. The log is cut: a new segment begins after transaction P, and the index holds just the state at P.
//! 2. What the roots reach at P is marked; roots are the lobby, open missions and all that branches refer to. What is not marked is collected by one transaction of the log; references that
//!    were stored since P are watched and keep what they reach.
//! 3. The marked state at P is written as a base, durably.
//! 4. A new index is made from the base and the log after it, and takes the place of the old one.
//! 5. The log before P, older bases and the old index are removed; so are blobs that nothing names and that have lain for an hour.
//!
//! A kill between any two steps leaves a whole image; the next pack begins anew and removes what was left over.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use shared::bridge::{Packing, Unit};
use shared::id::{ObjectId, TransactionId};
use shared::key::Key;

use super::base::{BaseRecord, BaseWriter, base_path};
use super::committer::end_this_kernel;
use super::digest::each;
use super::draft::{CommitError, Draft};
use super::index_record::{IndexPosition, entry_key, position_of};
use super::lmdb::{Lmdb, Reading, Table};
use super::log::{numbered, segment_path, segments, sync_folder};
use super::memory::matrix::{self, Matrix};
use super::memory::vector::Vector;
use super::rebuild::{catch_up, rebuild};
use super::record::{Mission, Stage, StoredEntry, StoredObject, StoredReply};
use super::segment::{LogError, at};
use super::{Image, OpenError, make_folder};
use crate::reporter::Reporter;

/// Objects that wait to be looked into; more are found again by another pass.
const WAITING: usize = 1 << 20;
/// Contents that nothing names stay so long, for whoever has given one and is about to name it.
const LAIN: std::time::Duration = std::time::Duration::from_secs(3600);
/// References that are stored while a pack looks can make it look again, so many times.
const ROUNDS: u32 = 20;

/// Why a pack did not end.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error(transparent)]
    Image(#[from] OpenError),
    #[error("the log could not be cut: {0}")]
    Cut(String),
    #[error("what is unreachable could not be collected: {0}")]
    Collect(#[from] CommitError),
    #[error("references were stored to unreachable objects again and again; try when less is going on")]
    Restless,
}

impl From<LogError> for PackError {
    fn from(error: LogError) -> PackError {
        PackError::Image(error.into())
    }
}

/// Packs an open image, whose folder is `folder`. `reporter` is told how far it is. One that fails leaves the image as it
/// was, and nothing that takes room.
pub fn pack(image: &Image, folder: &Path, reporter: &Reporter) -> Result<Packing, PackError> {
    let packed = pack_whole(image, folder, reporter);
    if let Err(PackError::Image(OpenError::Log(error @ LogError::Unsynced { .. }))) = &packed {
        end_this_kernel(error);
    }
    if packed.is_err() {
        image.state.stop_watching();
        let _ = remove(&folder.join("index.new"));
        drop_unfinished(&folder.join("log"));
    }
    packed
}

fn pack_whole(image: &Image, folder: &Path, reporter: &Reporter) -> Result<Packing, PackError> {
    let log_folder = folder.join("log");
    let bytes_before = disk_bytes(folder);
    reporter.begin("cutting the log", Unit::Objects, None);
    let index = image.state.index();
    let reading = {
        // Nothing else brings the index up to date until it is read.
        let _turn = image.hold_index();
        image.state.watch_references();
        image.committer.cut().map_err(PackError::Cut)?;
        index.reading().map_err(|source| failed(&index, source))?
    };
    let known = position_of(&reading)?.ok_or_else(|| PackError::Cut("the index has no position".into()))?;
    let result = mark_and_collect(image, &reading, &known, reporter).and_then(|(reached, collected)| {
        let mut named = HashSet::new();
        let objects = write_base(
            &log_folder,
            image.id,
            &reading,
            &known,
            &reached,
            &mut named,
            reporter,
        )?;
        Ok((objects, collected, named))
    });
    drop(reading);
    image.state.stop_watching();
    let (objects, collected, named) = result?;
    let mut unnamed = unnamed_blobs(image, &named)?;
    let base = known.position.transaction;
    let new = folder.join("index.new");
    remove(&new)?;
    make_folder(&new)?;
    let fresh = Lmdb::open(&new).map_err(|source| OpenError::Index {
        path: new.clone(),
        source,
    })?;
    // Most of what was committed meanwhile is caught up before anybody has to wait.
    let rebuilt = rebuild(
        &log_folder,
        fresh,
        image.state.standing().last,
        reporter,
        |_, _, _| {},
    )?;
    {
        let _turn = image.hold_index();
        let (from, to) = (folder.join("index"), folder.join("index.old"));
        let image_folder = folder.to_path_buf();
        // A branch names what it names now, until this is done.
        let _held = image.branches.hold();
        let kept = image.branches.blobs();
        unnamed.retain(|digest| !kept.contains(digest));
        image
            .committer
            .exclusively(move |log, state| {
                let last = state.standing().last;
                catch_up(&rebuilt, last).map_err(|error| error.to_string())?;
                // The folder's names change while it is open; what is open stays open.
                remove(&to).map_err(|error| error.to_string())?;
                fs::rename(&from, &to).map_err(|error| error.to_string())?;
                if let Err(error) = fs::rename(&new, &from) {
                    let _ = fs::rename(&to, &from);
                    return Err(error.to_string());
                }
                // The old index leads into the log that goes: its name must be gone for good first.
                sync_folder(&image_folder).unwrap_or_else(|error| end_this_kernel(&error));
                log.forget_before(base);
                state.replace_index(rebuilt.index(), base, log.bytes());
                // The image is packed. What cannot be removed only takes room; the next pack tries again.
                let dropped = drop_before(&log_folder, base)
                    .and_then(|()| drop_blobs(state, known.position, last, unnamed));
                match dropped {
                    Ok(()) => {}
                    Err(error @ LogError::Unsynced { .. }) => end_this_kernel(&error),
                    Err(error) => {
                        tracing::warn!(%error, "what a pack has made superfluous could not be removed");
                    }
                }
                Ok(())
            })
            .map_err(PackError::Cut)?;
    }
    drop(index);
    remove(&folder.join("index.old"))?;
    Ok(Packing {
        base,
        objects,
        collected,
        bytes_before,
        bytes_after: disk_bytes(folder),
    })
}

/// Marks, and collects what is not marked; answers the marks and how many objects were collected.
fn mark_and_collect(
    image: &Image,
    reading: &Reading<'_>,
    known: &IndexPosition,
    reporter: &Reporter,
) -> Result<(Bits, u64), PackError> {
    let mut reached = Bits::new(known.next_object);
    let mut roots = vec![ObjectId::LOBBY];
    each(reading, Table::Missions, |(_, value)| {
        if let Ok(mission) = postcard::from_bytes::<Mission>(value)
            && mission.stage == Stage::Open
        {
            roots.push(mission.receiver);
            mission
                .arguments
                .iter()
                .for_each(|argument| argument.each_reference(&mut |id| roots.push(id)));
        }
    })
    .map_err(|source| in_index(image, source))?;
    for _ in 0..ROUNDS {
        reporter.begin("marking what the roots reach", Unit::Objects, Some(known.objects));
        roots.extend(image.state.watched());
        roots.extend(image.branches.roots());
        mark(reading, &mut reached, std::mem::take(&mut roots), reporter)
            .map_err(|source| in_index(image, source))?;
        let (ranges, count) = unreached(reading, &reached).map_err(|source| in_index(image, source))?;
        if count == 0 {
            return Ok((reached, 0));
        }
        // From here to the commit no branch comes to refer to anything that is being dropped.
        let _held = image.branches.hold();
        if image.branches.roots().iter().any(|id| reached.lacks(*id)) {
            continue;
        }
        let mut draft = Draft::new("pack");
        draft.collected = ranges;
        match image.committer.commit_blocking(draft) {
            Ok(_) => return Ok((reached, count)),
            Err(CommitError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(PackError::Restless)
}

/// Marks what `roots` reach through slots and entries; memory is that of the marks and a bounded list.
fn mark(
    reading: &Reading<'_>,
    reached: &mut Bits,
    roots: Vec<ObjectId>,
    reporter: &Reporter,
) -> Result<(), ::lmdb::Error> {
    let mut looked = Bits::new(reached.bound());
    // What was marked before was looked into before.
    looked.clone_from(reached);
    let mut waiting = roots;
    waiting.retain(|id| reached.add(*id) || !looked.has(*id));
    loop {
        while let Some(id) = waiting.pop() {
            if !looked.add(id) {
                continue;
            }
            reporter.add(1);
            let mut found = |id: ObjectId| {
                if reached.add(id) && waiting.len() < WAITING {
                    waiting.push(id);
                }
            };
            if let Some(bytes) = reading.get(Table::Objects, &id.0.to_be_bytes())?
                && let Ok(stored) = postcard::from_bytes::<StoredObject>(&bytes)
            {
                for slot in &stored.image.slots {
                    slot.value.each_reference(&mut found);
                }
                if stored.entries > 0 {
                    each_entry(reading, id, |key, entry| {
                        entry.value.each_reference(&mut found);
                        if let Some(key) = key.value() {
                            key.each_reference(&mut found);
                        }
                    })?;
                }
            }
        }
        // Those that found no room on the list.
        match reached.first_not_in(&looked) {
            Some(id) => waiting.push(id),
            None => return Ok(()),
        }
    }
}

fn each_entry(
    reading: &Reading<'_>,
    object: ObjectId,
    mut visit: impl FnMut(&Key, StoredEntry),
) -> Result<(), ::lmdb::Error> {
    const STEP: usize = 1_000;
    let mut from = entry_key(object, &Key::first());
    let to = entry_key(object, &Key::last());
    loop {
        let pairs = reading.range(
            Table::Entries,
            &from,
            &to,
            STEP,
            super::lmdb::Direction::Ascending,
        )?;
        for (key, value) in &pairs {
            if let (Ok(key), Ok(entry)) = (Key::from_bytes(&key[8..]), postcard::from_bytes(value)) {
                visit(&key, entry);
            }
        }
        match pairs.last() {
            Some((key, _)) if pairs.len() == STEP => {
                from.clone_from(key);
                from.push(0);
            }
            _ => return Ok(()),
        }
    }
}

/// Ranges of the objects that exist and are not marked, and how many those are.
fn unreached(
    reading: &Reading<'_>,
    reached: &Bits,
) -> Result<(Vec<(ObjectId, ObjectId)>, u64), ::lmdb::Error> {
    let mut ranges: Vec<(ObjectId, ObjectId)> = Vec::new();
    let mut count = 0;
    each(reading, Table::Objects, |(key, _)| {
        let Some(id) = key.first_chunk::<8>().map(|id| ObjectId(u64::from_be_bytes(*id))) else {
            return;
        };
        if reached.has(id) {
            return;
        }
        count += 1;
        match ranges.last_mut() {
            Some((_, last)) if last.0 + 1 == id.0 => *last = id,
            _ => ranges.push((id, id)),
        }
    })?;
    Ok((ranges, count))
}

/// Writes the marked state as a base; answers how many objects it holds.
fn write_base(
    log_folder: &Path,
    id: [u8; 16],
    reading: &Reading<'_>,
    known: &IndexPosition,
    reached: &Bits,
    named: &mut HashSet<[u8; 32]>,
    reporter: &Reporter,
) -> Result<u64, PackError> {
    let mut base = BaseWriter::begin(log_folder, id, known.position)?;
    let index_failed = |source| {
        PackError::Image(OpenError::Index {
            path: log_folder.to_path_buf(),
            source,
        })
    };
    let mut failed = None;
    let mut objects = 0;
    reporter.begin("writing the objects", Unit::Objects, Some(known.objects));
    each(reading, Table::Objects, |(_, value)| {
        reporter.add(1);
        if let Ok(stored) = postcard::from_bytes::<StoredObject>(value)
            && reached.has(stored.image.id)
            && failed.is_none()
        {
            objects += 1;
            for slot in &stored.image.slots {
                slot.value.each_blob(&mut |blob| {
                    named.insert(blob.digest);
                });
            }
            failed = base.object(stored.entries, stored.image, value.len()).err();
        }
    })
    .map_err(index_failed)?;
    let entries = reading.count(Table::Entries).map_err(index_failed)?;
    reporter.begin("writing the entries", Unit::Entries, Some(entries));
    each(reading, Table::Entries, |(key, value)| {
        reporter.add(1);
        let Some((id, rest)) = key.split_first_chunk::<8>() else {
            return;
        };
        let object = ObjectId(u64::from_be_bytes(*id));
        if let (Ok(key), Ok(stored)) = (Key::from_bytes(rest), postcard::from_bytes::<StoredEntry>(value))
            && reached.has(object)
            && failed.is_none()
        {
            let bytes = key.bytes().len() + value.len();
            stored.value.each_blob(&mut |blob| {
                named.insert(blob.digest);
            });
            failed = base
                .entry(object, (key, stored.changed, stored.value), bytes)
                .err();
        }
    })
    .map_err(index_failed)?;
    each(reading, Table::ReplyAge, |(age, key)| {
        if let Some(at) = age.first_chunk::<8>()
            && let Ok(Some(bytes)) = reading.get(Table::Replies, key)
            && let Ok(stored) = postcard::from_bytes::<StoredReply>(&bytes)
            && failed.is_none()
        {
            let at = TransactionId(u64::from_be_bytes(*at));
            failed = base.rest(&BaseRecord::Replies(vec![(at, stored)])).err();
        }
    })
    .map_err(index_failed)?;
    each(reading, Table::Missions, |(_, value)| {
        if let Ok(mission) = postcard::from_bytes::<Mission>(value)
            && failed.is_none()
        {
            if mission.stage == Stage::Open {
                blobs_of(&mission, named);
            }
            failed = base.rest(&BaseRecord::Missions(vec![mission])).err();
        }
    })
    .map_err(index_failed)?;
    each(reading, Table::Vectors, |(key, value)| {
        let (Some((encoder, number)), Some(matrix)) = (matrix::split(key), Matrix::read(value)) else {
            return;
        };
        let vectors: Vec<(ObjectId, Vector)> = matrix
            .thawed(encoder)
            .into_iter()
            .map(|(low, vector)| (matrix::id_at(number, low), (*vector).clone()))
            .filter(|(id, _)| reached.has(*id))
            .collect();
        if !vectors.is_empty() && failed.is_none() {
            failed = base.rest(&BaseRecord::Vectors(vectors)).err();
        }
    })
    .map_err(index_failed)?;
    match failed {
        Some(error) => Err(error.into()),
        None => {
            base.finish(known.next_object, known.epoch)?;
            Ok(objects)
        }
    }
}

/// Adds the contents that a message which is being thought about names: nothing else may name them yet.
fn blobs_of(mission: &Mission, into: &mut HashSet<[u8; 32]>) {
    for argument in &mission.arguments {
        argument.each_blob(&mut |blob| {
            into.insert(blob.digest);
        });
    }
}

/// Contents that nothing named at the base. One that was given just now may be named by a transaction to come.
fn unnamed_blobs(image: &Image, named: &HashSet<[u8; 32]>) -> Result<Vec<[u8; 32]>, PackError> {
    let mut old = image
        .state
        .blobs
        .older_than(LAIN)
        .map_err(|error| PackError::Cut(error.to_string()))?;
    old.retain(|digest| !named.contains(digest));
    Ok(old)
}

/// Removes the contents that no transaction after the base has named either. Nothing must be committing.
fn drop_blobs(
    state: &super::state::State,
    base: super::segment::Position,
    last: TransactionId,
    unnamed: Vec<[u8; 32]>,
) -> Result<(), LogError> {
    if unnamed.is_empty() {
        return Ok(());
    }
    let mut since = HashSet::new();
    state.archive.visit(base, last, |_, _, entry| {
        let slots = entry.objects.iter().flat_map(|change| &change.slots);
        let values = slots.filter_map(|(_, value)| value.as_ref());
        for value in values.chain(entry.entries.iter().filter_map(|change| change.value.as_ref())) {
            value.each_blob(&mut |blob| {
                since.insert(blob.digest);
            });
        }
        if let Some(mission) = &entry.mission {
            blobs_of(mission, &mut since);
        }
        true
    })?;
    for digest in unnamed.iter().filter(|digest| !since.contains(*digest)) {
        // One that cannot be removed only takes space; the next pack tries again.
        if let Err(error) = state.blobs.remove(digest) {
            tracing::warn!(%error, "a blob that nothing names could not be removed");
        }
    }
    Ok(())
}

/// Removes bases that are not written to their end.
fn drop_unfinished(log_folder: &Path) {
    for entry in fs::read_dir(log_folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".base.new") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes the segments and bases that the base of `base` stands for.
fn drop_before(log_folder: &Path, base: TransactionId) -> Result<(), LogError> {
    for segment in segments(log_folder)?.into_iter().filter(|first| *first <= base.0) {
        let path = segment_path(log_folder, segment);
        fs::remove_file(&path).map_err(at(&path))?;
    }
    for older in numbered(log_folder, ".base")?
        .into_iter()
        .filter(|older| *older < base.0)
    {
        let path = base_path(log_folder, TransactionId(older));
        fs::remove_file(&path).map_err(at(&path))?;
    }
    sync_folder(log_folder)
}

fn remove(folder: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(folder)(error).into()),
        _ => Ok(()),
    }
}

fn failed(index: &Lmdb, source: ::lmdb::Error) -> OpenError {
    OpenError::Index {
        path: index.folder().to_path_buf(),
        source,
    }
}

fn in_index(image: &Image, source: ::lmdb::Error) -> PackError {
    PackError::Image(failed(&image.state.index(), source))
}

/// Bytes that the files of a folder take on disk.
fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => disk_bytes(&entry.path()),
            Ok(data) => data.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// A set of object ids below a bound.
#[derive(Clone)]
struct Bits {
    words: Vec<u64>,
}

impl Bits {
    fn new(bound: u64) -> Bits {
        Bits {
            words: vec![0; (bound / 64 + 1) as usize],
        }
    }

    fn bound(&self) -> u64 {
        self.words.len() as u64 * 64 - 64
    }

    /// True for an id below the bound that is not here.
    fn lacks(&self, id: ObjectId) -> bool {
        (id.0 / 64) < self.words.len() as u64 && !self.has(id)
    }

    fn has(&self, id: ObjectId) -> bool {
        let word = self.words.get((id.0 / 64) as usize);
        word.is_some_and(|word| word & (1 << (id.0 % 64)) != 0)
    }

    /// True when it was not there. Ids at or over the bound are newer than the pack, and none of its business.
    fn add(&mut self, id: ObjectId) -> bool {
        let Some(word) = self.words.get_mut((id.0 / 64) as usize) else {
            return false;
        };
        let bit = 1 << (id.0 % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn first_not_in(&self, other: &Bits) -> Option<ObjectId> {
        self.words
            .iter()
            .zip(&other.words)
            .position(|(own, other)| own & !other != 0)
            .map(|at| {
                let missing = self.words[at] & !other.words[at];
                ObjectId(at as u64 * 64 + u64::from(missing.trailing_zeros()))
            })
    }
}
