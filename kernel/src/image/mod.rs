//! The image: the log as truth, LMDB as its index, the newest commits in memory in between.
//!
//! - [`record`]: what is written. [`segment`], [`log`]: where it is written first; [`archive`]: reading that. [`lmdb`]: where it is found again.
//! - [`state`]: what readers see: exactly the durable commits; the newest of them are [`layer`]s in front of the index. [`scan`]: ranges
//!   of entries through both. [`doubt`], [`inspection`]: an index that cannot be believed.
//! - [`draft`]: a transaction before it commits; [`resolution`]: what it comes to. [`committer`]: validates, appends, syncs, publishes. [`epoch`]: who may.
//! - [`index_record`]: what the index holds. [`indexer`]: brings it up to date in the background. [`rebuild`]: makes it anew from the log.
//! - [`history`]: what was. [`pack`]: drops the unreachable and old history, leaving a [`base`].
//! - [`overlay`]: changes in front of the state that are not committed: of a thought, or of a [`branch`].
//! - [`memory`]: what the index knows of the texts that were read, and how it is searched.
//! - [`blob`]: contents that are files of their own. [`backup`], [`restore`]: a copy that a [`manifest`] describes.
//! - [`standby`]: an image that another kernel has open, followed until this one takes it over.
//! - [`verify`]: finds every fault, by [`digest`]s and rules. [`exercise`]: a load to try all this under.

pub mod archive;
pub mod backup;
pub mod base;
pub mod blob;
pub mod branch;
#[cfg(test)]
mod collections;
pub mod committer;
pub mod digest;
pub mod doubt;
pub mod draft;
pub mod epoch;
pub mod exercise;
pub mod history;
pub mod index_record;
pub mod indexer;
pub mod inspection;
pub mod layer;
pub mod lmdb;
pub mod log;
pub mod manifest;
pub mod memory;
pub mod overlay;
pub mod pack;
pub mod rebuild;
pub mod record;
pub mod reindex;
pub mod resolution;
pub mod restore;
pub mod scan;
pub mod segment;
pub mod standby;
pub mod state;
#[cfg(test)]
mod tests;
pub mod verify;

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{Flock, FlockArg};
use shared::id::{Epoch, TransactionId};

use self::archive::Archive;
use self::branch::Branches;
use self::committer::Committer;
use self::draft::Draft;
use self::epoch::EpochFile;
use self::indexer::{Course, Indexer};
use self::lmdb::Lmdb;
use self::log::{Log, Next};
use self::record::Entry;
use self::segment::{LogError, Position};
use self::standby::Standby;
use self::state::State;
use crate::reporter::Reporter;

/// An opening brings the index up to date in steps of so many changes; what is less is left to the indexer.
const REPLAYED_AT_ONCE: usize = 100_000;
/// Records go from the thread that checks them to the one that carries them out in pieces, and so many pieces may wait.
const PIECE: usize = 256;
const PIECES_AHEAD: usize = 8;

/// Why an image cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the image {0} is already open in another kernel")]
    InUse(PathBuf),
    #[error("cannot use the image folder {path}: {source}{}", segment::advice(source))]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the index {path} cannot be used: {source}{}", lmdb::advice(source, path))]
    Index { path: PathBuf, source: ::lmdb::Error },
    #[error("the index has format {0}, this kernel knows {format}: it was made by a newer version", format = segment::FORMAT)]
    Newer(u32),
    #[error("the index is damaged: {0}")]
    Damaged(String),
    #[error("the opening of the image could not be recorded: {0}")]
    Epoch(draft::CommitError),
}

impl OpenError {
    /// Whether the index itself is at fault. A full disk, or one that cannot be read, is not mended by another index.
    pub fn is_damaged_index(&self) -> bool {
        match self {
            OpenError::Index { source, .. } => lmdb::is_damage(source),
            OpenError::Damaged(_) => true,
            _ => false,
        }
    }
}

/// An open image. Closing flushes the index; dropping without closing loses nothing, it only leaves more to replay.
pub struct Image {
    pub state: Arc<State>,
    pub committer: Committer,
    pub branches: Branches,
    pub folder: PathBuf,
    /// Made at the awakening; every file of the image carries it.
    pub id: [u8; 16],
    /// Where the log ended when it was opened.
    pub found: Position,
    indexer: Indexer,
    /// Held as long as the image is open; `None` once it was given up.
    lock: Mutex<Option<Flock<File>>>,
}

/// What an opening does besides reading.
struct Opening {
    folder: PathBuf,
    lock: Option<Flock<File>>,
    state: Arc<State>,
    log: Log,
    fence: EpochFile,
    epoch: Epoch,
    course: Course,
}

impl Image {
    /// Opens or creates the image in `folder` and takes the next epoch.
    pub fn open(folder: &Path) -> Result<Image, OpenError> {
        let lock = take_lock(folder)?;
        Image::open_locked(folder, Some(lock))
    }

    /// The same for who has taken the lock already.
    pub fn open_locked(folder: &Path, lock: Option<Flock<File>>) -> Result<Image, OpenError> {
        let (log_folder, index_folder) = (folder.join("log"), folder.join("index"));
        make_folder(&log_folder)?;
        make_folder(&folder.join("branches"))?;
        if doubt::is_marked(&index_folder) {
            tracing::warn!("the index was marked as damaged; it is set aside and made anew from the log");
            reindex::set_aside(&index_folder)?;
        }
        let state = match load_state(&log_folder, &index_folder) {
            // A derived index that cannot be read is made anew; the log decides what is true.
            Err(error) if error.is_damaged_index() => {
                tracing::warn!(%error, "the index is set aside and made anew from the log");
                reindex::set_aside(&index_folder)?;
                load_state(&log_folder, &index_folder)?
            }
            state => state?,
        };
        state.blobs.prepare().map_err(|source| OpenError::Folder {
            path: folder.join("blobs"),
            source,
        })?;
        let log = if log::segments(&log_folder)?.is_empty() {
            if state.position().is_some() {
                return Err(OpenError::Damaged("there is an index but no log".into()));
            }
            Log::create(&log_folder)?
        } else {
            replay(&state, &log_folder, &index_folder, REPLAYED_AT_ONCE)?
        };
        let failed = |source| OpenError::Folder {
            path: folder.join("epoch"),
            source,
        };
        let mut fence = EpochFile::open(folder).map_err(failed)?;
        let epoch = fence.raise(state.epoch()).map_err(failed)?;
        // The names of the folders and files that may just have been made.
        log::sync_folder(folder)?;
        Image::begin(Opening {
            folder: folder.to_path_buf(),
            lock,
            state: Arc::new(state),
            log,
            fence,
            epoch,
            course: Course::Moving,
        })
    }

    /// Begins to write: the opening record of a new epoch is durable when this answers.
    fn begin(opening: Opening) -> Result<Image, OpenError> {
        let Opening {
            folder,
            lock,
            state,
            log,
            fence,
            epoch,
            course,
        } = opening;
        state.begin_epoch(epoch, log.bytes());
        let (id, found) = (log.image(), log.end());
        // Before anything is committed: the ids that branches hold are taken.
        let branches = Branches::open(&folder, id, state.clone())?;
        let indexer = Indexer::start(state.clone(), course);
        let committer = Committer::start(log, state.clone(), fence, indexer.pace());
        let image = Image {
            state,
            committer,
            branches,
            folder,
            id,
            found,
            indexer,
            lock: Mutex::new(lock),
        };
        image
            .committer
            .commit_blocking(Draft::new("kernel"))
            .map_err(OpenError::Epoch)?;
        Ok(image)
    }

    /// Brings the index up to date and leaves it so, for another kernel to read beside this one, until [`Image::thaw`]. Packs and
    /// the like must not run meanwhile.
    pub fn freeze(&self) -> Result<(), ::lmdb::Error> {
        self.indexer.freeze(&self.state)
    }

    /// The index moves on.
    pub fn thaw(&self) {
        self.indexer.thaw(&self.state);
    }

    /// Commits what waits, takes no more commits, and lets go of the image for another kernel, which this one follows from now on.
    /// The index is frozen.
    pub fn give_up(&self) -> Standby {
        self.committer.stop();
        self.indexer.abandon();
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        Standby::of(&self.folder, self.state.clone())
    }

    /// True before the awakening.
    pub fn is_empty(&self) -> bool {
        self.state.object_count() == 0
    }

    /// Brings the index up to the newest durable commit.
    pub fn flush(&self) -> Result<(), ::lmdb::Error> {
        self.indexer.flush(&self.state)
    }

    /// Nobody else brings the index up to date while this is held.
    fn hold_index(&self) -> std::sync::MutexGuard<'_, ()> {
        self.indexer.hold()
    }

    /// Commits what waits, brings the index up to date, and takes no more commits.
    pub fn close(&self) {
        self.committer.stop();
        self.indexer.stop();
    }
}

/// Where an image stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub epoch: Epoch,
    pub last: TransactionId,
    pub objects: u64,
    pub log_bytes: u64,
}

pub fn take_lock(folder: &Path) -> Result<Flock<File>, OpenError> {
    make_folder(folder)?;
    lock(folder)
}

/// Takes the lock of an image that is there.
fn lock(folder: &Path) -> Result<Flock<File>, OpenError> {
    let path = folder.join("lock");
    let failed = |source| OpenError::Folder {
        path: path.clone(),
        source,
    };
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => OpenError::InUse(folder.to_path_buf()),
        other => failed(other.into()),
    })
}

fn make_folder(path: &Path) -> Result<(), OpenError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| match path.parent() {
            // What lies in a folder is durable only when the folder is.
            Some(parent) if parent.is_dir() => File::open(parent)?.sync_all(),
            _ => Ok(()),
        })
        .map_err(|source| OpenError::Folder {
            path: path.to_path_buf(),
            source,
        })
}

/// Opens the log and brings the state up to its end; and the index, in steps of so many changes. One thread reads and checks,
/// another carries out.
fn replay(
    state: &State,
    log_folder: &Path,
    index_folder: &Path,
    flushed_at_once: usize,
) -> Result<Log, OpenError> {
    let (read, checked) = sync_channel::<Vec<(Next, Entry, Position)>>(PIECES_AHEAD);
    std::thread::scope(|scope| {
        let carrying_out = scope.spawn(move || {
            for records in checked {
                state.replay(records);
                if state.fresh_weight() > flushed_at_once {
                    state.flush().map_err(|source| OpenError::Index {
                        path: index_folder.to_path_buf(),
                        source,
                    })?;
                }
            }
            Ok::<(), OpenError>(())
        });
        let from = state.position().unwrap_or(log::BEGINNING);
        let mut piece = Vec::new();
        let opened = Log::open(log_folder, from, |next, entry, position| {
            piece.push((next, entry, position));
            if piece.len() >= PIECE {
                // Nobody takes it when carrying out has failed, which is told below.
                let _ = read.send(std::mem::take(&mut piece));
            }
            Ok::<(), OpenError>(())
        });
        let _ = read.send(piece);
        drop(read);
        match carrying_out.join() {
            Ok(carried_out) => carried_out?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        opened
    })
}

/// The state as the index has it; an empty index is filled from the base, if there is one.
fn load_state(log_folder: &Path, index_folder: &Path) -> Result<State, OpenError> {
    make_folder(index_folder)?;
    let index = Lmdb::open(index_folder).map_err(|source| OpenError::Index {
        path: index_folder.to_path_buf(),
        source,
    })?;
    let is_empty = rebuild::is_empty(&index)?;
    if is_empty && rebuild::holds_objects(&index)? {
        // What it holds is of no known moment: nothing may be added to it.
        return Err(OpenError::Damaged(
            "it holds objects and does not say until where it goes".into(),
        ));
    }
    if is_empty && let Some(base) = base::newest(log_folder)? {
        rebuild::load(&base, &index, &Reporter::silent())?;
    }
    State::load(index, Archive::new(log_folder))
}
