//! A string of bytes as a program for an image and its model: each operation takes a few bytes, the end of the bytes ends it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kernel::image::Image;
use kernel::image::backup::backup;
use kernel::image::digest::{digest, hex};
use kernel::image::draft::{Change, CommitError, Draft};
use kernel::image::history::History;
use kernel::image::layer::Layer;
use kernel::image::lmdb::Direction;
use kernel::image::overlay::Overlay;
use kernel::image::pack::pack;
use kernel::image::record::RequestId;
use kernel::image::reindex::reindex;
use kernel::image::restore::{Present, restore};
use kernel::image::verify::{Chains, verify};
use kernel::reporter::Reporter;
use shared::activation::{Read, ReadSlot};
use shared::bridge::Answer;
use shared::id::{ClientId, ObjectId, TransactionId};
use shared::value::Value;

use crate::branches::compare_branches;
use crate::model::{Model, PlainKey, World, transaction};

/// Operations by number. A new kind of operation takes a number that is free, so that the kept corpus keeps its meaning.
const OPERATIONS: u8 = 32;
/// More are not looked at; a program that grows without end proves nothing more.
const MOST_OPERATIONS: usize = 400;

/// What a run has come by: an operation, how it went, and the one before. New ones make an input worth keeping.
pub type Features = BTreeSet<(u8, &'static str, u8)>;

/// Runs a program; the error says where image and model differ.
pub fn run(bytes: &[u8]) -> Result<Features, String> {
    let memory = Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => tempfile::Builder::new().prefix("batfuzz").tempdir_in(memory),
        false => tempfile::tempdir(),
    }
    .map_err(|error| error.to_string())?;
    let image = Image::open(&folder.path().join("image")).map_err(|error| error.to_string())?;
    let mut run = Run {
        input: Input { bytes, at: 0 },
        model: Model::new(image.state.standing().last.0),
        image: Some(image),
        folder: folder.path().to_path_buf(),
        ids: Vec::new(),
        restored: 0,
    };
    let mut features = Features::new();
    let mut before = OPERATIONS;
    for count in 0.. {
        let Some(operation) = run.input.next() else { break };
        if count > MOST_OPERATIONS {
            break;
        }
        let operation = operation % OPERATIONS;
        let how = run
            .operation(operation)
            .and_then(|how| run.standing().map(|()| how))
            .map_err(|what| format!("operation {count} ({operation}): {what}"))?;
        features.insert((operation, how, before));
        before = operation;
    }
    run.whole().map_err(|what| format!("at the end: {what}"))?;
    run.verified().map_err(|what| format!("at the end: {what}"))?;
    Ok(features)
}

pub struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next().unwrap_or(0)) % bound.max(1)
    }
}

pub struct Run<'a> {
    pub input: Input<'a>,
    pub model: Model,
    /// `None` only between a closing and an opening.
    pub image: Option<Image>,
    folder: PathBuf,
    /// Every object that was made, in the image or in a branch.
    pub ids: Vec<u64>,
    /// Backups that were restored.
    restored: u32,
}

pub fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Run<'_> {
    pub fn image(&self) -> &Image {
        self.image.as_ref().unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.join("image")
    }

    fn operation(&mut self, operation: u8) -> Result<&'static str, String> {
        match operation {
            0..=2 => self.make(),
            3..=9 => {
                let changes = (0..=self.input.below(4)).map(|_| self.change()).collect();
                self.commit(changes)
            }
            10 => self.undo(),
            11 => self.past(),
            12 => self.difference(),
            13 => self.image().flush().map(|()| "flushed").map_err(told),
            14 => self.image().committer.rotate().map(|_| "rotated"),
            15 => self.pack(),
            16 => self.back_up(),
            17 => {
                self.image().close();
                self.image = None;
                self.open("closed")
            }
            18 => {
                self.image = None;
                self.open("crashed")
            }
            19 => {
                self.image().close();
                self.image = None;
                reindex(&self.path(), &Reporter::silent()).map_err(told)?;
                self.open("reindexed")
            }
            20 => {
                self.image = None;
                std::fs::remove_dir_all(self.path().join("index")).map_err(told)?;
                self.open("index lost")
            }
            21 => self.verified().map(|()| "verified"),
            22 => self.conflict(),
            23 => self.scan(),
            24..=30 => self.branch(operation),
            _ => self.whole().map(|()| "compared"),
        }
    }

    fn any(&mut self) -> Option<u64> {
        let at = self.input.below(self.ids.len());
        self.ids.get(at).copied()
    }

    pub fn object(&mut self) -> ObjectId {
        // Now and then one that does not exist, or no longer.
        ObjectId(self.any().unwrap_or(7_777))
    }

    fn make(&mut self) -> Result<&'static str, String> {
        let object = self.image().state.allocate();
        let mut changes = vec![Change::Create {
            object,
            slots: vec![("made".into(), Value::Int(object.0 as i64))],
        }];
        let holder = self.any();
        if let (Some(holder), 1..) = (holder, self.input.below(4)) {
            changes.push(Change::Put {
                object: ObjectId(holder),
                slot: "child".into(),
                value: Value::Ref(object),
            });
        }
        let how = self.commit(changes)?;
        if how == "committed" {
            self.ids.push(object.0);
        }
        Ok(how)
    }

    pub fn change(&mut self) -> Change {
        let object = self.object();
        let slot = ["a", "b", "child", "parents"][self.input.below(4)].to_owned();
        let slot = if slot == "parents" { "c".to_owned() } else { slot };
        let number = self.input.below(32) as i64 - 4;
        let key = match number % 3 {
            0 => PlainKey::Text("k".repeat(number.unsigned_abs() as usize)),
            _ => PlainKey::Int(number),
        }
        .key();
        match self.input.below(10) {
            0 => Change::Remove { object, slot },
            1 | 2 => Change::PutEntry {
                object,
                key,
                value: self.value(),
            },
            3 => Change::RemoveEntry { object, key },
            4 => Change::AddEntry {
                object,
                key,
                amount: Value::Int(number),
            },
            5 => Change::Append {
                object,
                value: self.value(),
            },
            _ => Change::Put {
                object,
                slot,
                value: self.value(),
            },
        }
    }

    fn value(&mut self) -> Value {
        match self.input.below(8) {
            0 | 1 => Value::Ref(self.object()),
            2 => Value::Text("long ".repeat(self.input.below(200))),
            3 => self.content(),
            4 => Value::List(vec![Value::Ref(self.object()), Value::None]),
            _ => Value::Int(self.input.below(256) as i64),
        }
    }

    /// A content that is kept now, or was never.
    fn content(&mut self) -> Value {
        let (seed, is_kept) = (self.input.below(16), self.input.below(4) > 0);
        let bytes = vec![seed as u8; seed * 40];
        let blob = shared::value::BlobRef {
            digest: *blake3::hash(&bytes).as_bytes(),
            bytes: bytes.len() as u64,
        };
        if is_kept {
            let blobs = &self.image().state.blobs;
            let mut upload = blobs.begin().unwrap();
            upload.write(&bytes).unwrap();
            assert_eq!(blobs.keep(upload).unwrap(), blob);
            self.model.blobs.insert(blob);
        }
        Value::Blob(blob)
    }

    /// Commits to both; the image must do what the model expects.
    fn commit(&mut self, changes: Vec<Change>) -> Result<&'static str, String> {
        let sequence = self.input.below(24) as u64;
        let mut draft = Draft::new("fuzz");
        draft.changes = changes.clone();
        // Half of the transactions belong to a request, some to one that was answered before.
        let request = RequestId {
            client: ClientId([7; 16]),
            sequence,
        };
        let answer = Answer::Changed {
            object: ObjectId(1),
            slot: "a".into(),
            transaction: TransactionId(0),
        };
        draft.reply = (sequence > 11).then_some((request, answer));
        let is_answered = draft.reply.is_some();
        let known = self.model.replies.get(&sequence).copied().filter(|_| is_answered);
        let expected = self.model.apply(&changes);
        match (self.image().committer.commit_blocking(draft), known, expected) {
            (Err(CommitError::Repeated(answer)), Some(known), _) => match *answer {
                Answer::Changed { transaction, .. } if transaction.0 == known => Ok("repeated"),
                other => Err(format!(
                    "request {sequence} was answered by {known} and now by {other:?}"
                )),
            },
            (Err(CommitError::Refused(_) | CommitError::Unmergeable(_)), None, None) => Ok("refused"),
            (Ok(committed), None, Some((world, changed))) => {
                self.model.commit(world, changed);
                if is_answered {
                    self.model.replies.insert(sequence, self.model.last());
                }
                match committed.transaction.0 == self.model.last() {
                    true => Ok("committed"),
                    false => Err(format!(
                        "it is transaction {}, not {}",
                        committed.transaction,
                        self.model.last()
                    )),
                }
            }
            (result, known, expected) => Err(format!(
                "{changes:?}: {result:?}; answered before {known:?}, expected {}",
                if expected.is_some() {
                    "to commit"
                } else {
                    "to be refused"
                }
            )),
        }
    }

    fn undo(&mut self) -> Result<&'static str, String> {
        let last = self.model.last();
        let undone = last.saturating_sub(self.input.below(12) as u64).max(1);
        let draft = History::of(&self.image().state).undo(transaction(undone), "fuzz");
        let expected = match undone > self.model.base {
            true => self.model.undo(undone),
            false => None,
        };
        let (draft, changes) = match (draft, expected) {
            (Err(_), None) => return Ok("bound"),
            (Ok(draft), Some(changes)) => (draft, changes),
            (draft, expected) => return Err(format!("undo of {undone}: {draft:?}, expected {expected:?}")),
        };
        let expected = self.model.apply(&changes);
        match (self.image().committer.commit_blocking(draft), expected) {
            (Ok(_), Some((world, changed))) => {
                self.model.commit(world, changed);
                Ok("undone")
            }
            (Err(CommitError::Refused(_) | CommitError::Unmergeable(_)), None) => Ok("refused"),
            (result, expected) => Err(format!(
                "undo of {undone}: {result:?}, expected {:?}",
                expected.is_some()
            )),
        }
    }

    fn moment(&mut self) -> u64 {
        let (base, last) = (
            self.model.worlds.keys().next().copied().unwrap(),
            self.model.last(),
        );
        base + self.input.below(256) as u64 % (last - base + 1)
    }

    /// Every object as of a moment.
    fn past(&mut self) -> Result<&'static str, String> {
        let at = self.moment();
        let history = History::of(&self.image().state);
        let limit = 3;
        for id in &self.ids {
            let (id, known) = (ObjectId(*id), self.model.at(at).get(id));
            let found = history.object_at(id, transaction(at)).map_err(told)?;
            let slots = |image: shared::object::ObjectImage| -> Vec<_> {
                image
                    .slots
                    .into_iter()
                    .map(|slot| (slot.name, slot.value, slot.changed.0))
                    .collect()
            };
            let expected: Option<Vec<_>> = known.map(|object| {
                let slots = object.slots.iter();
                slots
                    .map(|(name, put)| (name.clone(), put.value.clone(), put.changed))
                    .collect()
            });
            let found = found.map(slots);
            // A slot that a pack has brought into the base keeps the transaction that put it.
            if found != expected {
                return Err(format!("{id} at {at}: {found:?}, expected {expected:?}"));
            }
            if let Some(object) = known {
                let (count, first) = history.entries_at(id, transaction(at), limit).map_err(told)?;
                let first: Vec<_> = first
                    .into_iter()
                    .map(|(key, value)| (PlainKey::of(&key), value))
                    .collect();
                let expected: Vec<_> = object
                    .entries
                    .iter()
                    .take(limit)
                    .map(|(key, put)| (key.clone(), put.value.clone()))
                    .collect();
                if (count, &first) != (object.entries.len() as u64, &expected) {
                    return Err(format!(
                        "entries of {id} at {at}: {count} {first:?}, expected {} {expected:?}",
                        object.entries.len()
                    ));
                }
            }
        }
        Ok("past")
    }

    fn difference(&mut self) -> Result<&'static str, String> {
        let (a, b) = (self.moment(), self.moment());
        let (from, to) = (a.min(b), a.max(b));
        let found = History::of(&self.image().state)
            .difference(transaction(from), transaction(to))
            .map_err(told)?;
        let now = self.model.now();
        let found: BTreeSet<(u64, String)> = found
            .into_iter()
            .filter(|one| now.contains_key(&one.object.0))
            .map(|one| {
                let key = one
                    .key
                    .map(|key| format!("{:?}", PlainKey::of(&shared::key::Key::of(&key).unwrap())));
                (one.object.0, one.slot.or(key).unwrap())
            })
            .collect();
        let expected = self.model.difference(from, to);
        match found == expected {
            true => Ok("difference"),
            false => Err(format!(
                "between {from} and {to}: {found:?}, expected {expected:?}"
            )),
        }
    }

    fn pack(&mut self) -> Result<&'static str, String> {
        if !self.model.now().contains_key(&ObjectId::LOBBY.0) {
            return Ok("no lobby");
        }
        let expected = self.model.unreachable().len() as u64;
        let packed = pack(self.image(), &self.path(), &Reporter::silent()).map_err(told)?;
        self.model.pack();
        match (packed.collected == expected, packed.base.0 == self.model.base) {
            (true, true) => Ok(if expected > 0 { "collected" } else { "packed" }),
            _ => Err(format!(
                "{packed:?}, expected {expected} collected and base {}",
                self.model.base
            )),
        }
    }

    fn back_up(&mut self) -> Result<&'static str, String> {
        let to = self.folder.join("backup");
        backup(self.image(), &to, &Reporter::silent()).map_err(told)?;
        self.restored += 1;
        if self.restored > 3 {
            return Ok("backed up");
        }
        let home = self.folder.join(format!("restored-{}", self.restored));
        restore(&to, &home.join("image"), Present::Refuse, &Reporter::silent()).map_err(told)?;
        let image = Image::open(&home.join("image")).map_err(told)?;
        let compared =
            compare(&image, None, self.model.now()).and_then(|()| compare_branches(&image, &self.model));
        let (own, other) = (self.digest(self.image())?, self.digest(&image)?);
        image.close();
        compared?;
        match own == other {
            true => Ok("restored"),
            false => Err(format!("the digest is {own}, and {other} of the restored")),
        }
    }

    fn digest(&self, image: &Image) -> Result<String, String> {
        image.flush().map_err(told)?;
        let last = image.state.standing().last;
        Ok(hex(&digest(&image.state.index(), last).map_err(told)?))
    }

    /// Opening is a transaction of its own.
    pub fn open(&mut self, how: &'static str) -> Result<&'static str, String> {
        self.image = Some(Image::open(&self.path()).map_err(told)?);
        self.model.pass();
        Ok(how)
    }

    /// What was read a while ago may have changed since.
    fn conflict(&mut self) -> Result<&'static str, String> {
        let at = self.moment();
        let object = self.object();
        let put = |world: &World| {
            world
                .get(&object.0)
                .and_then(|found| found.slot("a"))
                .map(|put| put.changed)
        };
        let (seen, now) = (put(self.model.at(at)), put(self.model.now()));
        let mut draft = Draft::new("fuzz");
        let slot = ReadSlot::Named("a".into(), seen.map(transaction));
        draft.reads.push(Read { object, slot });
        match (self.image().committer.commit_blocking(draft), seen == now) {
            (Ok(_), true) => {
                self.model.pass();
                Ok("held")
            }
            (Err(CommitError::Conflict(_)), false) => Ok("conflict"),
            (result, _) => Err(format!(
                "{object}.a was read at {at}, {seen:?} and now {now:?}: {result:?}"
            )),
        }
    }

    fn scan(&mut self) -> Result<&'static str, String> {
        let object = self.object();
        let bound = |input: &mut Input| PlainKey::Int(input.below(32) as i64 - 4);
        let (from, to) = (bound(&mut self.input), bound(&mut self.input));
        let limit = self.input.below(6);
        let entries = self
            .model
            .now()
            .get(&object.0)
            .map(|found| found.entries.clone())
            .unwrap_or_default();
        let inside = || entries.keys().filter(|key| **key >= from && **key < to).cloned();
        let ascending: Vec<_> = inside().take(limit).collect();
        let mut descending: Vec<_> = inside().collect();
        descending.reverse();
        descending.truncate(limit);
        for (direction, expected) in [
            (Direction::Ascending, ascending),
            (Direction::Descending, descending),
        ] {
            let state = &self.image().state;
            let found = state.scan(
                &Layer::default(),
                object,
                &from.key(),
                &to.key(),
                limit,
                direction,
            );
            let found: Vec<_> = found.iter().map(|(key, _)| PlainKey::of(key)).collect();
            if found != expected {
                return Err(format!(
                    "{object} {from:?}..{to:?} {limit} {direction:?}: {found:?}, expected {expected:?}"
                ));
            }
        }
        Ok("scanned")
    }

    fn verified(&mut self) -> Result<(), String> {
        let report = verify(
            self.image(),
            &self.path(),
            &self.folder.join("scratch"),
            Chains::Untold,
            &Reporter::silent(),
        )
        .map_err(told)?;
        match report.found.faults.is_empty() {
            true => Ok(()),
            false => Err(format!("{:?}", report.found.faults)),
        }
    }

    /// The newest transaction and the number of objects.
    fn standing(&self) -> Result<(), String> {
        let standing = self.image().state.standing();
        let expected = (self.model.last(), self.model.now().len() as u64);
        match (standing.last.0, standing.objects) == expected {
            true => Ok(()),
            false => Err(format!("{standing:?}, expected {expected:?}")),
        }
    }

    fn whole(&self) -> Result<(), String> {
        for id in self.ids.iter().filter(|id| !self.model.now().contains_key(id)) {
            if self.image().state.object(ObjectId(*id)).is_some() {
                return Err(format!("#{id} still exists"));
            }
        }
        compare(self.image(), None, self.model.now())?;
        compare_branches(self.image(), &self.model)
    }
}

/// Every object and entry of an image, or of a branch of it, where the last changes are not told.
pub fn compare(image: &Image, branch: Option<&Overlay>, world: &World) -> Result<(), String> {
    let none = Layer::default();
    let layer = branch.map_or(&none, Overlay::layer);
    let is_committed = branch.is_none();
    let version = |changed: u64| if is_committed { changed } else { 0 };
    for (id, object) in world {
        let here = branch.and_then(|branch| branch.object(ObjectId(*id)).cloned());
        let held = here
            .unwrap_or_else(|| image.state.held(ObjectId(*id)))
            .ok_or(format!("#{id} is not there"))?;
        let slots: Vec<_> = held
            .image
            .slots
            .iter()
            .map(|slot| (&slot.name, &slot.value, version(slot.changed.0)))
            .collect();
        let expected: Vec<_> = object
            .slots
            .iter()
            .map(|(name, put)| (name, &put.value, version(put.changed)))
            .collect();
        if slots != expected {
            return Err(format!("#{id}: {slots:?}, expected {expected:?}"));
        }
        let first = shared::key::Key::first();
        let last = shared::key::Key::last();
        let scanned = image.state.scan(
            layer,
            ObjectId(*id),
            &first,
            &last,
            usize::MAX,
            Direction::Ascending,
        );
        let entries: Vec<_> = scanned
            .iter()
            .map(|(key, entry)| (PlainKey::of(key), &entry.value, version(entry.changed.0)))
            .collect();
        let expected: Vec<_> = object
            .entries
            .iter()
            .map(|(key, put)| (key.clone(), &put.value, version(put.changed)))
            .collect();
        if entries != expected || held.entries != expected.len() as u64 {
            return Err(format!(
                "entries of #{id}: {} {entries:?}, expected {expected:?}",
                held.entries
            ));
        }
    }
    Ok(())
}
