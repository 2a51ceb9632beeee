//! Branches: what-ifs that stand in front of the newest state until they are committed or dropped (`docs/decisions/0008`).
//!
//! - [`file`]: what is written. [`contents`]: what that comes to. [`view`]: the world of a branch, in front of the state as it is now.

pub mod contents;
pub mod file;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
pub mod view;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use shared::activation::Read;
use shared::bridge::Answer;
use shared::id::{ClientId, ObjectId, TransactionId};

use self::contents::Contents;
use self::file::{BranchFile, Changed, Header, Record};
use self::view::View;
use super::OpenError;
use super::draft::{Change, CommitError, Draft};
use super::epoch::EpochFile;
use super::history::{History, HistoryError};
use super::index_record::KEPT_REPLIES;
use super::log::{sync_folder, unix_ms};
use super::record::{RequestId, StoredReply};
use super::segment::{LogError, at};
use super::state::State;

/// An image has so many branches at most.
pub const MOST: usize = 64;
const NAME_BYTES: usize = 64;
const EXTENSION: &str = "branch";

/// Why something could not be done with a branch.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    #[error("there is no branch {0}; `batos branch list` lists them, `batos branch new {0}` begins one")]
    None(String),
    #[error(
        "{0:?} cannot name a branch: 1 to {NAME_BYTES} of A-Z a-z 0-9 _ -, beginning with a letter or a digit, and not main"
    )]
    Name(String),
    #[error("there is a branch {0} already; choose another name, or `batos branch drop {0}` first")]
    Exists(String),
    #[error("there are {MOST} branches, and no more are kept; commit or drop one")]
    TooMany,
    #[error("the branch has grown to the {} MiB that one may have; commit or drop it", file::MAX_BYTES >> 20)]
    Full,
    #[error("the branch {name} is damaged: {what}; it can only be dropped")]
    Damaged { name: String, what: String },
    #[error(
        "the branch's file could not be written ({0}); a restart of the kernel reads what is there of it"
    )]
    Broken(String),
    #[error("another kernel (epoch {0}) writes to this image now")]
    Retired(shared::id::Epoch),
    #[error(transparent)]
    File(#[from] LogError),
    #[error(transparent)]
    Refused(#[from] CommitError),
}

/// The branches of an open image.
pub struct Branches {
    folder: PathBuf,
    image: [u8; 16],
    state: Arc<State>,
    fence: Mutex<EpochFile>,
    /// Shared by whoever adds to a branch; a pack holds it alone while it decides what goes.
    gate: RwLock<()>,
    /// Held while a branch is begun, committed or dropped, so that a backup or a verification sees all of that or
    /// nothing.
    pub settling: tokio::sync::Mutex<()>,
    known: Mutex<BTreeMap<String, Known>>,
}

/// What stands under a branch's name.
#[derive(Clone)]
pub enum Known {
    Open(Arc<Branch>),
    /// What is wrong with its file.
    Damaged(String),
}

/// One branch.
pub struct Branch {
    pub name: String,
    pub header: Header,
    pub author: String,
    begun_by: Option<RequestId>,
    /// The branch as its sends see it; who holds it sends, one after the other.
    pub turn: tokio::sync::Mutex<View>,
    contents: Mutex<Contents>,
    file: Mutex<BranchFile>,
}

/// A branch's file as a backup copies it.
pub struct Copied {
    pub path: PathBuf,
    pub file: File,
    pub bytes: u64,
}

/// True for what can name a branch, and with it a file.
pub fn is_branch_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=NAME_BYTES).contains(&name.len())
        && name.bytes().all(is_plain)
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name != "main"
}

impl Branches {
    /// Reads the branches of an image whose state is up to date and that nobody commits to yet: ids that branches hold are taken
    /// from now on, and what was committed is removed.
    pub(super) fn open(image: &Path, id: [u8; 16], state: Arc<State>) -> Result<Branches, OpenError> {
        let folder = image.join("branches");
        let failed = |source| OpenError::Folder {
            path: folder.clone(),
            source,
        };
        let fence = EpochFile::open(image).map_err(failed)?;
        let mut known = BTreeMap::new();
        let mut is_changed = false;
        for (name, path) in files(&folder).map_err(failed)? {
            match open_branch(&path, &name, id, &state) {
                Ok(Some(branch)) => {
                    known.insert(name, Known::Open(Arc::new(branch)));
                }
                Ok(None) => {
                    tracing::info!(branch = name, "a branch that is committed is removed");
                    fs::remove_file(&path).map_err(failed)?;
                    is_changed = true;
                }
                Err(error) => {
                    tracing::error!(branch = name, %error, "a branch cannot be used");
                    known.insert(name, Known::Damaged(error.to_string()));
                }
            }
        }
        if is_changed {
            sync_folder(&folder)?;
        }
        Ok(Branches {
            folder,
            image: id,
            state,
            fence: Mutex::new(fence),
            gate: RwLock::new(()),
            settling: tokio::sync::Mutex::new(()),
            known: Mutex::new(known),
        })
    }

    /// Begins a branch, durably. The same request again finds the one that it has begun. `settling` is held.
    pub fn begin(
        &self,
        name: &str,
        author: &str,
        request: Option<RequestId>,
    ) -> Result<Arc<Branch>, BranchError> {
        if !is_branch_name(name) {
            return Err(BranchError::Name(name.chars().take(NAME_BYTES + 1).collect()));
        }
        match self.known().get(name) {
            Some(Known::Open(branch)) if request.is_some() && branch.begun_by == request => {
                return Ok(branch.clone());
            }
            Some(_) => return Err(BranchError::Exists(name.to_owned())),
            None => {}
        }
        if self.known().len() >= MOST {
            return Err(BranchError::TooMany);
        }
        let path = self.path(name);
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| at(&path)(io::Error::other(error)))?;
        let header = Header {
            image: self.image,
            id,
            base: self.state.standing().last,
            unix_ms: unix_ms(),
        };
        let begun = Record::Begun {
            name: name.to_owned(),
            author: author.to_owned(),
            request,
        };
        let file = self.fenced(|| BranchFile::create(&path, &header, &begun))?;
        let branch = Arc::new(Branch {
            name: name.to_owned(),
            header,
            author: author.to_owned(),
            begun_by: request,
            turn: tokio::sync::Mutex::new(View::default()),
            contents: Mutex::default(),
            file: Mutex::new(file),
        });
        self.known().insert(name.to_owned(), Known::Open(branch.clone()));
        Ok(branch)
    }

    pub fn find(&self, name: &str) -> Result<Arc<Branch>, BranchError> {
        match self.known().get(name) {
            Some(Known::Open(branch)) => Ok(branch.clone()),
            Some(Known::Damaged(what)) => Err(BranchError::Damaged {
                name: name.to_owned(),
                what: what.clone(),
            }),
            None if is_branch_name(name) => Err(BranchError::None(name.to_owned())),
            None => Err(BranchError::Name(name.chars().take(NAME_BYTES + 1).collect())),
        }
    }

    /// Every branch by name.
    pub fn list(&self) -> Vec<(String, Known)> {
        let known = self.known();
        known
            .iter()
            .map(|(name, known)| (name.clone(), known.clone()))
            .collect()
    }

    /// Adds what a send or an edit came to, durably; `reads` are those of the image. The turn of the branch is held, its view.
    /// Refused where a commit would be; then nothing is added.
    pub fn change(
        &self,
        branch: &Branch,
        view: &mut View,
        author: &str,
        mut reads: Vec<Read>,
        changes: Vec<Change>,
        reply: Option<StoredReply>,
    ) -> Result<(), BranchError> {
        let _shared = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let overlay = view.overlay_mut();
        reads.extend(
            changes
                .iter()
                .filter_map(|change| overlay.replaced(&self.state, change)),
        );
        let resolved = overlay.resolve(&self.state, changes.clone())?;
        {
            let contents = branch.contents();
            let mut seen = HashSet::new();
            reads.retain(|read| !contents.knows(read) && seen.insert(read.clone()));
        }
        let changed = Changed {
            unix_ms: unix_ms(),
            author: author.to_owned(),
            next_object: self.state.next_object(),
            changes,
            reads,
            reply,
        };
        let record = Record::Changed(changed);
        self.fenced(|| branch.file().append(&record))?;
        if let Record::Changed(changed) = record {
            branch.contents().add(changed);
        }
        overlay.place(&self.state, resolved);
        Ok(())
    }

    /// The transaction that the branch would be now, and its request. From now on the log decides whether it is committed, until
    /// [`Branches::keep`]. `settling` and the branch's turn are held.
    pub fn committing(
        &self,
        branch: &Branch,
        author: String,
        request: Option<RequestId>,
        answer: impl FnOnce(u64, u64) -> Answer,
    ) -> Result<Draft, BranchError> {
        let request = request.unwrap_or(RequestId {
            client: ClientId(branch.header.id),
            sequence: 0,
        });
        let committing = Record::Committing {
            request,
            after: self.state.standing().last,
        };
        self.fenced(|| branch.file().append(&committing))?;
        let contents = branch.contents();
        Ok(Draft {
            reads: contents.reads().to_vec(),
            changes: contents.changes().to_vec(),
            reply: Some((request, answer(contents.sends, contents.objects().len() as u64))),
            ..Draft::new(author)
        })
    }

    /// The commit did not come to be.
    pub fn keep(&self, branch: &Branch) -> Result<(), BranchError> {
        self.fenced(|| branch.file().append(&Record::Kept))
    }

    /// Forgets a branch and removes its file. `settling` is held, and the branch's turn.
    pub fn drop(&self, name: &str) -> Result<(), BranchError> {
        let Some(known) = self.known().get(name).cloned() else {
            return self.find(name).map(|_| ());
        };
        self.fenced(|| match &known {
            Known::Open(branch) => branch.file().remove(),
            Known::Damaged(_) => {
                let path = self.path(name);
                fs::remove_file(&path).map_err(at(&path))?;
                Ok(sync_folder(&self.folder)?)
            }
        })?;
        self.known().remove(name);
        Ok(())
    }

    /// Forgets a branch whose commit stands in the log and whose file could not be removed; the next opening removes it.
    pub fn forget(&self, name: &str) {
        self.known().remove(name);
    }

    /// Nothing is added to a branch while this is held.
    pub(super) fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every object that a branch changes, refers to or has read; those that it made are among them.
    pub(super) fn roots(&self) -> HashSet<ObjectId> {
        let mut roots = HashSet::new();
        self.each(|contents| {
            contents.each_object(&mut |id| {
                roots.insert(id);
            });
        });
        roots
    }

    /// Every content that a branch names.
    pub(super) fn blobs(&self) -> HashSet<[u8; 32]> {
        let mut blobs = HashSet::new();
        self.each(|contents| {
            contents.each_blob(&mut |digest| {
                blobs.insert(digest);
            });
        });
        blobs
    }

    /// The files as they are at one moment, and what `moment` answers then.
    pub(super) fn at_once<T>(&self, moment: impl FnOnce() -> T) -> Result<(Vec<Copied>, T), LogError> {
        let _settled = self.settling.blocking_lock();
        let _held = self.hold();
        let mut copied = Vec::new();
        for (name, known) in self.list() {
            let path = self.path(&name);
            let file = File::open(&path).map_err(at(&path))?;
            let bytes = match known {
                Known::Open(branch) => branch.bytes(),
                Known::Damaged(_) => file.metadata().map_err(at(&path))?.len(),
            };
            copied.push(Copied { path, file, bytes });
        }
        Ok((copied, moment()))
    }

    /// What is wrong with the files, read anew: the file, and what.
    pub(super) fn faults(&self) -> Vec<(PathBuf, String)> {
        let _settled = self.settling.blocking_lock();
        let _held = self.hold();
        let mut faults = Vec::new();
        for (name, known) in self.list() {
            let path = self.path(&name);
            let read = BranchFile::check(&path).map_err(|error| error.to_string());
            let found = read.and_then(|(header, bytes)| match known {
                Known::Damaged(what) => Err(what),
                Known::Open(branch) => match (header == branch.header, bytes == branch.bytes()) {
                    (true, true) => match branch.misfit(&self.state) {
                        // What others did since is in its way, which is no damage.
                        None | Some(CommitError::Unmergeable(_)) => Ok(()),
                        Some(error) => Err(format!("it does not fit the image: {error}")),
                    },
                    _ => Err("it is not what was written".into()),
                },
            });
            faults.extend(found.err().map(|what| (path, what)));
        }
        faults
    }

    fn each(&self, mut visit: impl FnMut(&Contents)) {
        for (_, known) in self.list() {
            if let Known::Open(branch) = known {
                visit(&branch.contents());
            }
        }
    }

    /// Runs `work` unless another kernel has taken the image over.
    fn fenced<T>(&self, work: impl FnOnce() -> Result<T, BranchError>) -> Result<T, BranchError> {
        let mine = self.state.epoch();
        let mut fence = self.fence.lock().unwrap_or_else(PoisonError::into_inner);
        match fence.guard(mine, work) {
            Ok(Ok(done)) => done,
            Ok(Err(newer)) => Err(BranchError::Retired(newer)),
            Err(source) => Err(at(&self.folder.with_file_name("epoch"))(source).into()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{EXTENSION}"))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Branch {
    /// The stored answer of a request that was carried out in this branch.
    pub fn reply(&self, request: &RequestId) -> Option<Answer> {
        self.contents().reply(request).cloned()
    }

    /// How many sends and edits changed something, and how many objects they changed.
    pub fn counts(&self) -> (u64, u64) {
        let contents = self.contents();
        (contents.sends, contents.objects().len() as u64)
    }

    pub fn bytes(&self) -> u64 {
        self.file().bytes()
    }

    /// What it read or replaced and others have changed since; a few of it.
    pub fn conflicts(&self, state: &State) -> Vec<Read> {
        state.conflicts(self.contents().reads(), &Default::default())
    }

    /// Why its changes could not be made in front of the state, conflicts apart.
    pub fn misfit(&self, state: &State) -> Option<CommitError> {
        View::default().refresh(state, self).err()
    }

    pub fn changes(&self) -> Vec<Change> {
        self.contents().changes().to_vec()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> MutexGuard<'_, BranchFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files of branches by name; what was begun and never became one is removed.
fn files(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
            continue;
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(EXTENSION) if is_branch_name(name) => found.push((name.to_owned(), path.clone())),
            Some("new") if is_branch_name(name) => fs::remove_file(&path)?,
            _ => tracing::warn!(path = %path.display(), "this is no branch; it is left alone"),
        }
    }
    found.sort();
    Ok(found)
}

/// Why a file is no branch of this image.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    File(#[from] LogError),
    #[error("it belongs to another image")]
    OtherImage,
    #[error("it is the file of the branch {0}")]
    OtherName(String),
    #[error("it knows transaction {0}, and the newest of this image is {1}: it belongs to another history")]
    OtherHistory(TransactionId, TransactionId),
    #[error("it was being committed when the kernel ended, and whether it was cannot be told: {0}")]
    Uncertain(#[from] HistoryError),
}

/// Whether a transaction after that one has the reply of a branch's commit.
fn was_committed(state: &State, request: &RequestId, after: TransactionId) -> Result<bool, HistoryError> {
    if state.reply(request).is_some() {
        return Ok(true);
    }
    match History::of(state).has_reply(request, after) {
        // The reply would be among those that are kept.
        Err(HistoryError::Packed { .. }) if state.standing().last.0 - after.0 < KEPT_REPLIES => Ok(false),
        found => found,
    }
}

/// `None` when the branch was committed.
fn open_branch(path: &Path, name: &str, image: [u8; 16], state: &State) -> Result<Option<Branch>, Unusable> {
    let (file, header, records) = BranchFile::open(path)?;
    if header.image != image {
        return Err(Unusable::OtherImage);
    }
    let last = state.standing().last;
    if header.base > last {
        return Err(Unusable::OtherHistory(header.base, last));
    }
    let mut branch = Branch {
        name: name.to_owned(),
        header,
        author: String::new(),
        begun_by: None,
        turn: tokio::sync::Mutex::new(View::default()),
        contents: Mutex::default(),
        file: Mutex::new(file),
    };
    let mut committing = None;
    for record in records {
        committing = None;
        match record {
            Record::Begun {
                name: told,
                author,
                request,
            } => {
                if told != name {
                    return Err(Unusable::OtherName(told));
                }
                (branch.author, branch.begun_by) = (author, request);
            }
            Record::Changed(changed) => {
                state.raise_next_object(changed.next_object);
                branch.contents().add(changed);
            }
            Record::Committing { request, after } => committing = Some((request, after)),
            Record::Kept => {}
        }
    }
    if let Some((request, after)) = committing {
        if after > last {
            return Err(Unusable::OtherHistory(after, last));
        }
        if was_committed(state, &request, after)? {
            return Ok(None);
        }
    }
    Ok(Some(branch))
}
