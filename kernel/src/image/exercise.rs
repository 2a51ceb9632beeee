//! A load of random transactions on an image, for trying its promises from outside: each is told once it is durable. With upkeep,
//! there are contents, packs and backups in it, and with branches a what-if of each thread.
//!
//! Lines: `acknowledged T`; of a branch `branch ID holds N` (sends), `branch ID ending` before it is dropped or committed,
//! `branch ID committed T`, and `branch ID gone`; `packed`, `backed T`, `failed: …`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use shared::bridge::Answer;
use shared::id::{ObjectId, TransactionId};
use shared::json::to_hex;
use shared::key::Key;
use shared::random::Random;
use shared::value::{BlobRef, Value};

use super::Image;
use super::backup::backup;
use super::branch::BranchError;
use super::draft::{Change, CommitError, Committed, Draft};
use super::pack::pack;
use crate::reporter::Reporter;

const THREADS: u64 = 4;
/// Once in so many transactions the index is brought up to date, and once in ten times so many a segment is closed.
const FLUSH_EVERY: u64 = 40;
/// With upkeep, once in so many transactions a content is kept and named, and the image packed or backed up.
const CONTENT_EVERY: u64 = 12;
const UPKEEP_EVERY: u64 = 25;
/// With branches, once in so many transactions something is done in one, and once in so many of those it ends.
const BRANCH_EVERY: u64 = 4;
const ENDED_EVERY: u64 = 10;

/// What a load has besides transactions.
#[derive(Default)]
pub struct Upkeep {
    /// Contents are kept, and the image is packed now and then.
    pub packs: bool,
    /// The image is backed up into this folder now and then.
    pub backup: Option<PathBuf>,
    /// Every thread has a branch now and then.
    pub branches: bool,
}

/// Commits so many transactions from several threads and writes a line `acknowledged T` for each when it is durable.
/// A pack or backup that fails is told as a line and the load goes on; a transaction that fails ends it.
pub fn exercise(
    image: &Image,
    transactions: u64,
    seed: u64,
    upkeep: &Upkeep,
    out: &Mutex<impl Write + Send>,
) -> Result<(), String> {
    let counted = AtomicU64::new(0);
    let turn = Mutex::new(());
    if upkeep.packs && image.is_empty() {
        // What the lobby holds is what a pack keeps.
        let mut draft = Draft::new("exercise");
        let object = image.state.allocate();
        draft.changes.push(Change::Create {
            object,
            slots: Vec::new(),
        });
        image
            .committer
            .commit_blocking(draft)
            .map_err(|error| error.to_string())?;
    }
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (counted, failed, turn) = (&counted, &failed, &turn);
            scope.spawn(move || {
                let mut load = Load::new(seed.wrapping_mul(31) + thread, format!("thread-{thread}"));
                while counted.fetch_add(1, Ordering::Relaxed) < transactions {
                    let done = load.one(image, upkeep, out);
                    if let Err(error) = done.and_then(|()| load.look_after(image, upkeep, turn, out)) {
                        *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                        return;
                    }
                }
            });
        }
    });
    let failed = failed
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    failed.map_or(Ok(()), Err)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Writes a line at once.
fn tell(out: &Mutex<impl Write>, line: &str) -> Result<(), String> {
    let mut out = out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())
}

/// One thread's share.
struct Load {
    random: Random,
    own: Vec<ObjectId>,
    /// The name of its branch.
    branch: String,
}

impl Load {
    fn new(seed: u64, branch: String) -> Load {
        Load {
            random: Random::new(seed | 1),
            own: Vec::new(),
            branch,
        }
    }

    fn one(&mut self, image: &Image, upkeep: &Upkeep, out: &Mutex<impl Write>) -> Result<(), String> {
        if upkeep.branches && self.random.below(BRANCH_EVERY) == 0 {
            self.what_if(image, out)?;
        }
        let mut draft = Draft::new("exercise");
        if upkeep.packs
            && self.random.below(CONTENT_EVERY) == 0
            && let Some(object) = self.any()
        {
            let value = Value::Blob(self.content(image)?);
            let slot = ["film", "song"][self.random.below(2) as usize].to_owned();
            draft.changes.push(Change::Put { object, slot, value });
        }
        let object = match self.random.below(8) {
            0 => None,
            _ => self.any(),
        };
        match object {
            None => {
                let object = image.state.allocate();
                self.own.push(object);
                draft.changes.push(Change::Create {
                    object,
                    slots: vec![("n".into(), Value::Int(0))],
                });
                if upkeep.packs && object != ObjectId::LOBBY {
                    // Else a pack would collect what this thread goes on to change.
                    draft.changes.push(Change::PutEntry {
                        object: ObjectId::LOBBY,
                        key: Key::of(&Value::Int(object.0 as i64)).map_err(|error| error.to_string())?,
                        value: Value::Ref(object),
                    });
                }
            }
            Some(object) => {
                for _ in 0..=self.random.below(3) {
                    draft.changes.push(self.change(object));
                }
            }
        }
        let committed = image
            .committer
            .commit_blocking(draft)
            .map_err(|error| error.to_string())?;
        tell(out, &format!("acknowledged {}", committed.transaction))?;
        match self.random.below(FLUSH_EVERY * 10) {
            0 => image.committer.rotate().map(|_| ()),
            n if n <= 10 => image.flush().map_err(|error| error.to_string()),
            _ => Ok(()),
        }
    }

    /// Begins this thread's branch, changes something in it, or ends it.
    fn what_if(&mut self, image: &Image, out: &Mutex<impl Write>) -> Result<(), String> {
        let branches = &image.branches;
        let Some(object) = self.any() else {
            return Ok(());
        };
        let Ok(branch) = branches.find(&self.branch) else {
            let _settling = branches.settling.blocking_lock();
            let begun = branches.begin(&self.branch, "exercise", None).map_err(told)?;
            return tell(out, &format!("branch {} holds 0", to_hex(&begun.header.id)));
        };
        let id = to_hex(&branch.header.id);
        if self.random.below(ENDED_EVERY) > 0 {
            let changes = (0..=self.random.below(2)).map(|_| self.change(object)).collect();
            let mut view = branch.turn.blocking_lock();
            let changed = match view.refresh(&image.state, &branch) {
                Ok(()) => branches.change(&branch, &mut view, "exercise", Vec::new(), changes, None),
                Err(error) => Err(error.into()),
            };
            return match changed {
                Ok(()) => tell(out, &format!("branch {id} holds {}", branch.counts().0)),
                Err(BranchError::Refused(_)) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
        }
        let _settling = branches.settling.blocking_lock();
        let _turn = branch.turn.blocking_lock();
        tell(out, &format!("branch {id} ending"))?;
        if self.random.below(2) == 0 {
            let answer = |sends, objects| Answer::BranchCommitted {
                name: self.branch.clone(),
                sends,
                objects,
                transaction: TransactionId(0),
            };
            let draft = branches
                .committing(&branch, "exercise".into(), None, answer)
                .map_err(told)?;
            match image.committer.commit_blocking(draft) {
                Ok(Committed { transaction, .. }) => {
                    tell(out, &format!("acknowledged {transaction}"))?;
                    tell(out, &format!("branch {id} committed {transaction}"))?;
                }
                Err(CommitError::Conflict(_) | CommitError::Refused(_) | CommitError::Unmergeable(_)) => {
                    branches.keep(&branch).map_err(told)?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        branches.drop(&self.branch).map_err(told)?;
        tell(out, &format!("branch {id} gone"))
    }

    /// A new content of up to some kilobytes.
    fn content(&mut self, image: &Image) -> Result<BlobRef, String> {
        let bytes: Vec<u8> = (0..self.random.below(9_000))
            .map(|_| self.random.below(256) as u8)
            .collect();
        let blobs = &image.state.blobs;
        let mut upload = blobs.begin().map_err(|error| error.to_string())?;
        upload.write(&bytes).map_err(|error| error.to_string())?;
        blobs.keep(upload).map_err(|error| error.to_string())
    }

    /// Packs or backs up, when it is time and nobody else does.
    fn look_after(
        &mut self,
        image: &Image,
        upkeep: &Upkeep,
        turn: &Mutex<()>,
        out: &Mutex<impl Write>,
    ) -> Result<(), String> {
        let wanted = self.random.below(UPKEEP_EVERY);
        let Ok(_turn) = turn.try_lock() else {
            return Ok(());
        };
        let done = match &upkeep.backup {
            _ if upkeep.packs && wanted == 0 => pack(image, &image.folder, &Reporter::silent())
                .map(|_| "packed".to_owned())
                .map_err(|error| error.to_string()),
            Some(folder) if wanted == 1 => backup(image, folder, &Reporter::silent())
                .map(|made| format!("backed {}", made.last))
                .map_err(|error| error.to_string()),
            _ => return Ok(()),
        };
        tell(out, &done.unwrap_or_else(|error| format!("failed: {error}")))
    }

    fn change(&mut self, object: ObjectId) -> Change {
        let number = Value::Int(self.random.below(1_000) as i64);
        let slot = ["a", "b", "c"][self.random.below(3) as usize].to_owned();
        // A number is always a key.
        let key = Key::of(&Value::Int(self.random.below(20) as i64)).unwrap_or_else(|_| Key::first());
        match self.random.below(9) {
            0 => Change::Remove { object, slot },
            1 => Change::PutEntry {
                object,
                key,
                value: number,
            },
            2 => Change::RemoveEntry { object, key },
            3 => Change::AddEntry {
                object,
                key,
                amount: number,
            },
            4 => Change::Append {
                object,
                value: number,
            },
            5 => Change::Put {
                object,
                slot,
                value: Value::Text("x".repeat(self.random.below(3_000) as usize)),
            },
            6 => Change::Put {
                object,
                slot,
                value: self.any().map_or(Value::None, Value::Ref),
            },
            _ => Change::Put {
                object,
                slot,
                value: number,
            },
        }
    }

    fn any(&mut self) -> Option<ObjectId> {
        match self.own.len() as u64 {
            0 => None,
            count => {
                let at = self.random.below(count) as usize;
                Some(self.own[at])
            }
        }
    }
}
