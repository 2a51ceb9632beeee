//! An image that another kernel has open: its log is followed, nothing is written, until this kernel takes it over.
//!
//! The index that both read is frozen meanwhile (`docs/handover.md`). A batch is followed once a later one stands behind it: a
//! kernel begins no batch before the one before is synced, so the last one that is seen may still be taken back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::id::TransactionId;

use super::epoch::EpochFile;
use super::indexer::Course;
use super::log::{Next, segment_path};
use super::record::Entry;
use super::segment::{HEADER_BYTES, Header, Kind, Position, Reader, at, damaged};
use super::state::State;
use super::{Image, OpenError, Opening, doubt, load_state, lock, replay};

/// A kernel that was killed lets go of the lock a moment later.
const LOCK_PAUSE: Duration = Duration::from_micros(200);

/// The state of an image that another kernel writes to.
pub struct Standby {
    folder: PathBuf,
    state: Arc<State>,
}

/// What a look at the log has brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Followed {
    /// Everything but, perhaps, the newest batch is here.
    Abreast,
    /// There is more.
    Behind,
}

impl Standby {
    /// Opens an image beside the kernel that has it open, which has frozen the index. Writes nothing and mends nothing.
    pub fn open(folder: &Path) -> Result<Standby, OpenError> {
        doubt::only_reads(true);
        let index_folder = folder.join("index");
        if doubt::is_marked(&index_folder) {
            return Err(OpenError::Damaged("it is marked as damaged".into()));
        }
        if !index_folder.join("data.mdb").is_file() {
            return Err(OpenError::Damaged(
                "there is none, and no kernel has made one".into(),
            ));
        }
        let state = load_state(&folder.join("log"), &index_folder)?;
        if state.position().is_none() {
            return Err(OpenError::Damaged("it is empty".into()));
        }
        Ok(Standby::of(folder, Arc::new(state)))
    }

    /// Goes on from a state that was written to until now.
    pub(super) fn of(folder: &Path, state: Arc<State>) -> Standby {
        doubt::only_reads(true);
        Standby {
            folder: folder.to_path_buf(),
            state,
        }
    }

    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Brings the state up to what is known to be durable, a segment at a time.
    pub fn follow(&self) -> Result<Followed, OpenError> {
        let Some(mut position) = self.state.position() else {
            return Ok(Followed::Abreast);
        };
        let path = segment_path(&self.folder.join("log"), position.segment);
        let file = File::open(&path).map_err(at(&path))?;
        let begin = Header::read(&file, &path, position.segment)?.begin();
        if position.offset < HEADER_BYTES as u64 {
            position = begin;
        }
        let mut reader = Reader::new(&file, &path, Kind::Log, position)?;
        let mut batch = None;
        let mut seen: Vec<(Next, Entry, Position)> = Vec::new();
        // What does not fit (yet) may be a batch on its way.
        while let Ok(record) = {
            position = reader.position;
            reader.next_record()?
        } {
            if batch.replace(record.header.batch) != Some(record.header.batch) {
                self.state.replay(std::mem::take(&mut seen));
            }
            let entry = postcard::from_bytes(&record.body)
                .map_err(|_| damaged(&path, position.offset, "a record's body is not an entry"))?;
            let next = Next {
                transaction: record.header.transaction,
                place: record.place,
                chain: position.chain,
            };
            seen.push((next, entry, reader.position));
        }
        // A segment bears the number of its first record: the one after the last of this one, so nothing is missing here.
        let next = reader.position.transaction.0 + 1;
        let is_closed = next != position.segment && segment_path(&self.folder.join("log"), next).is_file();
        if !is_closed {
            return Ok(Followed::Abreast);
        }
        self.state.replay(seen);
        self.state.moved_to(Position {
            segment: next,
            offset: 0,
            ..reader.position
        });
        Ok(Followed::Behind)
    }

    /// Up to where the state is.
    pub fn last(&self) -> TransactionId {
        self.state.standing().last
    }

    /// Takes the image over as a start does, from where this state is: the lock, the log to its durable end, the next epoch. The
    /// lock is waited for so long. The index stays frozen until [`Image::thaw`]. Clients wait meanwhile, so the folders, which the
    /// kernel before has made durable, are not synced again.
    pub fn promote(&self, patience: Duration) -> Result<Image, OpenError> {
        let until = Instant::now() + patience;
        let lock = loop {
            match lock(&self.folder) {
                Err(OpenError::InUse(_)) if Instant::now() < until => std::thread::sleep(LOCK_PAUSE),
                taken => break taken?,
            }
        };
        doubt::only_reads(false);
        let blobs = self.folder.join("blobs");
        self.state
            .blobs
            .take_over()
            .map_err(|source| OpenError::Folder { path: blobs, source })?;
        let (log_folder, index_folder) = (self.folder.join("log"), self.folder.join("index"));
        let log = replay(&self.state, &log_folder, &index_folder, usize::MAX)?;
        let failed = |source| OpenError::Folder {
            path: self.folder.join("epoch"),
            source,
        };
        let mut fence = EpochFile::open(&self.folder).map_err(failed)?;
        let epoch = fence.raise_quickly(self.state.epoch()).map_err(failed)?;
        Image::begin(Opening {
            folder: self.folder.clone(),
            lock: Some(lock),
            state: self.state.clone(),
            log,
            fence,
            epoch,
            course: Course::Frozen,
        })
    }
}

#[cfg(test)]
mod tests {
    use shared::id::{ObjectId, TransactionId};
    use shared::value::Value;

    use super::super::draft::{Change, CommitError, Draft};
    use super::*;

    const THING: ObjectId = ObjectId(1);

    fn put(image: &Image, number: i64) -> Result<TransactionId, CommitError> {
        let mut draft = Draft::new("test");
        let slots = vec![("n".to_owned(), Value::Int(number))];
        draft.changes = match number {
            0 => vec![Change::Create {
                object: image.state.allocate(),
                slots,
            }],
            _ => vec![Change::Put {
                object: THING,
                slot: "n".into(),
                value: Value::Int(number),
            }],
        };
        image
            .committer
            .commit_blocking(draft)
            .map(|committed| committed.transaction)
    }

    fn number(state: &State) -> Option<Value> {
        state.object(THING)?.slot("n").map(|slot| slot.value.clone())
    }

    #[test]
    fn two_kernels_hand_an_image_to_and_fro_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let first = Image::open(&path).unwrap();
        put(&first, 0).unwrap();
        first.freeze().unwrap();
        let second = Standby::open(&path).unwrap();
        let mut last = 0;
        let mut serving = first;
        let mut waiting = second;
        for round in 0..6 {
            for _ in 0..20 {
                last += 1;
                let transaction = put(&serving, last).unwrap();
                while waiting.follow().unwrap() == Followed::Behind {}
                // All but the newest batch.
                assert!(waiting.last() < transaction && waiting.last().0 + 2 >= transaction.0);
            }
            if round % 2 == 1 {
                serving.committer.rotate().unwrap();
                while waiting.follow().unwrap() == Followed::Behind {}
                assert_eq!(waiting.last(), serving.state.standing().last);
            }
            let epoch = serving.state.epoch();
            assert!(matches!(
                waiting.promote(Duration::ZERO),
                Err(OpenError::InUse(_))
            ));
            let yielded = serving.give_up();
            assert!(matches!(put(&serving, 99), Err(CommitError::Stopping)));
            serving = waiting.promote(Duration::ZERO).unwrap();
            waiting = yielded;
            assert_eq!(serving.state.epoch().0, epoch.0 + 1);
            assert_eq!(number(&serving.state), Some(Value::Int(last)));
        }
        serving.thaw();
        serving.close();
        drop((serving, waiting));
        let reopened = Image::open(&path).unwrap();
        assert_eq!(number(&reopened.state), Some(Value::Int(last)));
        assert_eq!(reopened.state.object_count(), 1);
    }

    /// A kernel that hangs while another is promoted: whatever it does later is refused.
    #[test]
    fn a_kernel_that_lost_the_image_writes_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let first = Image::open(&path).unwrap();
        put(&first, 0).unwrap();
        first.freeze().unwrap();
        let second = Standby::open(&path).unwrap();
        // As its end would.
        drop(first.lock.lock().unwrap().take());
        let second = second.promote(Duration::ZERO).unwrap();
        put(&second, 1).unwrap();
        assert!(matches!(put(&first, 2), Err(CommitError::Failed(_))));
        assert_eq!(number(&second.state), Some(Value::Int(1)));
    }
}
