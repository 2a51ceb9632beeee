//! Restore: the image of a backup in the place of none, or of another that is moved aside.
//!
//! Everything is copied and checked under another name first, and takes its place by one rename: half a restore never
//! looks whole. The index is not part of a backup; the first start makes it from the log.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, RenameFlags, renameat2};
use shared::bridge::Unit;

use super::backup::{BackupError, CopyError, at, copy_blob, hash, make_folder, reader_of, sync};
use super::base::newest;
use super::blob::{BlobError, digest_of};
use super::log::{segments, unix_ms};
use super::manifest::{Manifest, ManifestError};
use super::segment::Kind;
use super::{OpenError, take_lock};
use crate::reporter::Reporter;

/// Why nothing was restored. What stood there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Files(#[from] BackupError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{0} holds no backup: there is no manifest.json")]
    NoBackup(PathBuf),
    #[error("there is an image at {0} already; with --replace it is moved aside")]
    Present(PathBuf),
    #[error("the backup is damaged: {path} {what}")]
    Damaged { path: PathBuf, what: String },
}

/// What becomes of an image that stands where one is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    Refuse,
    MoveAside,
}

/// What was restored, and where the image that stood there is now.
pub struct Restored {
    pub manifest: Manifest,
    pub aside: Option<PathBuf>,
}

/// Restores the backup in `folder` as the image `image`.
pub fn restore(
    folder: &Path,
    image: &Path,
    present: Present,
    reporter: &Reporter,
) -> Result<Restored, RestoreError> {
    let home = image.parent().unwrap_or(Path::new("."));
    make_folder(home)?;
    // Held to the end: no kernel opens the image that is being replaced.
    let _lock = image.exists().then(|| take_lock(image)).transpose()?;
    let is_there = image.join("log").is_dir() && !is_empty(&image.join("log"))?;
    if is_there && present == Present::Refuse {
        return Err(RestoreError::Present(image.to_path_buf()));
    }
    let _reading = share(folder)?;
    let manifest = Manifest::read(folder)?.ok_or_else(|| RestoreError::NoBackup(folder.to_path_buf()))?;
    let new = image.with_file_name("image.restoring");
    let _new_lock = take_lock(&new)?;
    clear(&new)?;
    copy(folder, &new, &manifest, reporter)?;
    let aside = match image.exists() {
        false => {
            fs::rename(&new, image).map_err(at(image))?;
            None
        }
        true => {
            exchange(&new, image)?;
            match is_there {
                true => {
                    let aside = image.with_file_name(format!("image.replaced-{}", unix_ms()));
                    fs::rename(&new, &aside).map_err(at(&aside))?;
                    Some(aside)
                }
                false => {
                    fs::remove_dir_all(&new).map_err(at(&new))?;
                    None
                }
            }
        }
    };
    sync(home)?;
    Ok(Restored { manifest, aside })
}

/// Copies every file and checks it on the way; durable when this returns.
fn copy(folder: &Path, new: &Path, manifest: &Manifest, reporter: &Reporter) -> Result<(), RestoreError> {
    for name in ["log", "branches", "blobs", "blobs/new"] {
        make_folder(&new.join(name))?;
    }
    let bytes = manifest.files.iter().map(|file| file.bytes).sum();
    reporter.begin("copying the log", Unit::Bytes, Some(bytes));
    for file in &manifest.files {
        let (source, target) = (folder.join(file.kept_as()), new.join(&file.path));
        copy_file(&source, &target, file.bytes)?;
        if hash(&target, file.bytes)? != file.blake3 {
            return Err(RestoreError::Damaged {
                path: source,
                what: "is not what the manifest says".into(),
            });
        }
        reporter.add(file.bytes);
    }
    let bytes = manifest.blobs.iter().map(|blob| blob.bytes).sum();
    reporter.begin("copying the contents", Unit::Bytes, Some(bytes));
    let aside = new.join("blobs/new/blob");
    let mut folders = std::collections::BTreeSet::new();
    for blob in &manifest.blobs {
        let Some(digest) = digest_of(&blob.digest) else {
            continue;
        };
        let (source, target) = (folder.join(blob.path()), new.join(blob.path()));
        if let Some(inside) = target.parent()
            && folders.insert(inside.to_path_buf())
        {
            make_folder(inside)?;
        }
        copy_blob(&source, &digest, &aside, &target, reporter).map_err(|error| match error {
            CopyError::Blob(BlobError::Io { path, source }) => BackupError::Io { path, source }.into(),
            CopyError::Blob(error) => RestoreError::Damaged {
                path: source,
                what: format!("cannot be read: {error}"),
            },
            CopyError::Target(error) => at(&target)(error).into(),
        })?;
    }
    reporter.begin("checking the log", Unit::Transactions, None);
    check_end(new, manifest)?;
    for inside in folders {
        sync(&inside)?;
    }
    for name in ["log", "branches", "blobs", "."] {
        sync(&new.join(name))?;
    }
    Ok(())
}

fn copy_file(source: &Path, target: &Path, bytes: u64) -> Result<(), RestoreError> {
    let mut input = io::Read::take(File::open(source).map_err(at(source))?, bytes);
    let mut output = File::create(target).map_err(at(target))?;
    let copied = io::copy(&mut input, &mut output).map_err(at(target))?;
    output.sync_all().map_err(at(target))?;
    match copied == bytes {
        true => Ok(()),
        false => Err(RestoreError::Damaged {
            path: source.to_path_buf(),
            what: format!("has {copied} bytes, not {bytes}"),
        }),
    }
}

/// The log must lead to the transaction that the manifest tells.
fn check_end(new: &Path, manifest: &Manifest) -> Result<(), RestoreError> {
    let log = new.join("log");
    let firsts = segments(&log).map_err(BackupError::from)?;
    let reached = match (firsts.last(), newest(&log).map_err(BackupError::from)?) {
        (Some(last), _) => {
            let path = super::log::segment_path(&log, *last);
            let mut reader = reader_of(&path, *last, Kind::Log, None)?;
            while let Ok(Ok(_)) = reader.next_record() {}
            Some(reader.position)
        }
        (None, base) => base.map(|base| base.end()),
    };
    let is_told = reached.is_some_and(|reached| {
        (reached.transaction.0, shared::json::to_hex(&reached.chain))
            == (manifest.last, manifest.chain.clone())
    });
    match is_told {
        true => Ok(()),
        false => Err(RestoreError::Damaged {
            path: log,
            what: format!("does not lead to transaction {}", manifest.last),
        }),
    }
}

/// No backup changes the folder meanwhile. A folder that cannot be locked, such as one on a read-only disk, is not changed.
fn share(folder: &Path) -> Result<Option<Flock<File>>, BackupError> {
    let Ok(file) = File::open(folder.join("lock")) else {
        return Ok(None);
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(BackupError::Busy(folder.to_path_buf())),
        Err(_) => Ok(None),
    }
}

/// Leaves nothing but the lock: what a restore that was interrupted had copied.
fn clear(folder: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path).map_err(at(&path))?;
        } else if path.file_name().is_some_and(|name| name != "lock") {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn is_empty(folder: &Path) -> Result<bool, BackupError> {
    Ok(fs::read_dir(folder).map_err(at(folder))?.next().is_none())
}

/// Both names change their folder at once: at no moment there is no image, which a start would take for a new home.
fn exchange(new: &Path, image: &Path) -> Result<(), BackupError> {
    renameat2(
        nix::fcntl::AT_FDCWD,
        new,
        nix::fcntl::AT_FDCWD,
        image,
        RenameFlags::RENAME_EXCHANGE,
    )
    .map_err(|errno| at(image)(errno.into()))
}
