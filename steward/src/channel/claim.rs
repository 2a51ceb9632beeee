//! One file taken out of the inbox: `channel/claimed/<name>/<file>`. A claim exists from the rename until its result stands.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::OFlag;
use shared::home::Home;
use tracing::warn;

use super::{journal, signature};
use crate::durable;
use crate::instruction::{LARGEST_BYTES, Refusal};

/// Write permission of group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Numbers the claims of this process, so that a name is found at the first attempt.
static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// `<unix ms>-<n>`, unique in this home.
    pub name: String,
    /// The name that the file had in the inbox; what is not UTF-8 of it replaced.
    pub file: String,
    /// When it was claimed, milliseconds since 1970.
    pub begun: u64,
    path: PathBuf,
}

impl Claim {
    /// Moves the file out of the inbox, and its signature where there is one. A link is moved itself. Durable once
    /// [`sync`] was called.
    pub fn take(home: &Home, file: &OsStr, now_ms: u64) -> io::Result<Claim> {
        let claimed = home.claimed();
        let (name, folder) = loop {
            let name = format!("{now_ms}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let folder = claimed.join(&name);
            match fs::create_dir(&folder) {
                Ok(()) => break (name, folder),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let path = folder.join(file);
        if let Err(error) = fs::rename(home.inbox().join(file), &path) {
            let _ = fs::remove_dir(&folder);
            return Err(error);
        }
        let claim = Claim::at(name, file, path);
        claim.take_signature(home);
        Ok(claim)
    }

    /// The claims that an earlier steward left, oldest first.
    pub fn left(home: &Home) -> Vec<Claim> {
        let mut names: Vec<OsString> = fs::read_dir(home.claimed())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        names.sort();
        let mut claims = Vec::new();
        for name in names {
            let folder = home.claimed().join(&name);
            let file = fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name())
                .find(|file| file.as_encoded_bytes().ends_with(b".json"));
            match file {
                Some(file) => {
                    let claim = Claim::at(name.to_string_lossy().into_owned(), &file, folder.join(&file));
                    claim.take_signature(home);
                    claims.push(claim);
                }
                None => {
                    // It died before the file was moved, or after the file was removed.
                    if let Err(error) = fs::remove_dir_all(&folder) {
                        warn!("cannot remove {}: {error}", folder.display());
                    }
                }
            }
        }
        claims
    }

    /// The bytes, at most one more than an instruction may have. Never follows a link, never waits; refuses what others may have written.
    pub fn read(&self) -> Result<Vec<u8>, Refusal> {
        read(&self.path)
    }

    /// The bytes of the signature that lay beside the file; `None` when there was none, or it cannot be read.
    pub fn signature(&self) -> Option<Vec<u8>> {
        let file = open(&beside(&self.path)).ok()?;
        let mut bytes = Vec::new();
        let limited = file.metadata().ok()?.is_file().then_some(file)?;
        limited
            .take(signature::LARGEST_BYTES)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(bytes)
    }

    /// Where the claim's journal is.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Ends the claim. Legal when its result stands. The file goes first: what has none is no claim any more.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // What is left over keeps the folder, which then says so. The name of a signature may be longer than any file's.
        let _ = fs::remove_file(beside(&self.path));
        let _ = fs::remove_file(self.folder().join(journal::NAME));
        match fs::remove_dir(self.folder()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Also for a claim whose steward died between the two.
    fn take_signature(&self, home: &Home) {
        if let Some(name) = beside(&self.path).file_name() {
            let _ = fs::rename(home.inbox().join(name), beside(&self.path));
        }
    }

    fn at(name: String, file: &OsStr, path: PathBuf) -> Claim {
        let begun = name.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or(0);
        Claim {
            name,
            file: file.to_string_lossy().into_owned(),
            begun,
            path,
        }
    }
}

/// Makes claims durable that were taken before.
pub fn sync(home: &Home, claims: &[Claim]) -> io::Result<()> {
    match claims {
        [claim] => {
            durable::sync_folder(claim.folder())?;
            durable::sync_folder(&home.claimed())?;
            durable::sync_folder(&home.inbox())
        }
        // Many at once, by one call for the file system.
        _ => durable::sync_all(&home.claimed()),
    }
}

/// What [`Claim::read`] does, of a file that is not claimed yet.
pub fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    let unreadable = |error| Refusal::new("unreadable", format!("the file cannot be read: {error}"));
    let file = open(path).map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ELOOP) => Refusal::new(
            "not_a_file",
            "the file is a symbolic link; links are not followed",
        ),
        _ => unreadable(error),
    })?;
    let data = file.metadata().map_err(unreadable)?;
    if !data.is_file() {
        return Err(Refusal::new("not_a_file", "the file is not a regular file"));
    }
    let me = nix::unistd::geteuid().as_raw();
    if data.uid() != me {
        let message = format!("the file belongs to user {}, not to user {me}", data.uid());
        return Err(Refusal::new("not_trusted", message));
    }
    if data.mode() & WRITABLE_BY_OTHERS != 0 {
        let message = format!(
            "others may write the file (mode {:03o}); chmod go-w it before it is dropped",
            data.mode() & 0o777
        );
        return Err(Refusal::new("not_trusted", message));
    }
    let mut bytes = Vec::new();
    match file.take(LARGEST_BYTES as u64 + 1).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(unreadable(error)),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
}

/// Where the signature of an instruction lies.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}
