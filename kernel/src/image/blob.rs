//! Blobs: contents that are too large for a value, each a file of its own that is named by its BLAKE3 hash.
//!
//! An upload is hashed while it is written to `blobs/new/`, synced, and renamed to its name, durably, before any transaction
//! can name it. A content is kept once, whoever gives it; given again it replaces the file, which mends one that was damaged.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use shared::json::{from_hex, to_hex};
use shared::value::BlobRef;

use super::segment::options;

/// A long upload is synced in pieces of so many bytes, so that no commit waits behind gigabytes.
const SYNC_BYTES: u64 = 64 << 20;

/// A check reads in pieces of so many bytes.
const CHECKED_AT_ONCE: usize = 1 << 20;

/// Why a content cannot be kept or told.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("{path}: {source}{}", super::segment::advice(source))]
    Io { path: PathBuf, source: io::Error },
    #[error("there is no blob {} in this image", to_hex(.0))]
    Missing([u8; 32]),
    #[error("the blob {} is damaged: {what}; put the same content again to mend it", to_hex(.digest))]
    Damaged { digest: [u8; 32], what: String },
}

/// The blobs of one image: the folder `image/blobs`.
pub struct Blobs {
    folder: PathBuf,
    /// Counted when first asked for.
    totals: OnceLock<Totals>,
    /// First bytes of the hashes whose folders are known to be durable.
    durable_folders: Mutex<HashSet<u8>>,
    /// By the first byte of the hash: held from a name's making until it lasts or is gone. Who puts the same content meanwhile would be told
    /// that it is kept, and then lose it to the other's failed sync.
    naming: [Mutex<()>; 256],
}

struct Totals {
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Blobs {
    /// Looks at nothing yet.
    pub fn at(folder: PathBuf) -> Blobs {
        Blobs {
            folder,
            totals: OnceLock::new(),
            durable_folders: Mutex::new(HashSet::new()),
            naming: [const { Mutex::new(()) }; 256],
        }
    }

    /// Makes the folders, and removes what uploads left behind that were never finished. Only for whoever holds the image.
    pub fn prepare(&self) -> io::Result<()> {
        make_folder(&self.folder.join("new"))?;
        self.take_over()?;
        sync(&self.folder)
    }

    /// The same of folders that another kernel has prepared.
    pub fn take_over(&self) -> io::Result<()> {
        for left in fs::read_dir(self.folder.join("new"))? {
            fs::remove_file(left?.path())?;
        }
        Ok(())
    }

    /// Where a content lies, or would.
    pub fn path(&self, digest: &[u8; 32]) -> PathBuf {
        self.folder.join(relative_path(digest))
    }

    /// The content's length, if it is here.
    pub fn length(&self, digest: &[u8; 32]) -> Result<Option<u64>, BlobError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(data) => Ok(Some(data.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(BlobError::Io { path, source }),
        }
    }

    /// Every content that has lain here for longer than `age`.
    pub fn older_than(&self, age: std::time::Duration) -> io::Result<Vec<[u8; 32]>> {
        let mut found = Vec::new();
        for folder in fs::read_dir(&self.folder)? {
            let folder = folder?;
            if folder.file_name() == "new" || !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                let digest = file.file_name().to_str().and_then(digest_of);
                let is_old = file
                    .metadata()?
                    .modified()?
                    .elapsed()
                    .is_ok_and(|lain| lain > age);
                found.extend(digest.filter(|_| is_old));
            }
        }
        Ok(found)
    }

    /// Removes a content that nothing names.
    pub fn remove(&self, digest: &[u8; 32]) -> io::Result<()> {
        let bytes = fs::metadata(self.path(digest)).map_or(0, |data| data.len());
        fs::remove_file(self.path(digest))?;
        if let Some(totals) = self.totals.get() {
            totals.count.fetch_sub(1, Ordering::Relaxed);
            totals.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Begins an upload. Dropped before it is kept, it leaves nothing.
    pub fn begin(&self) -> Result<Upload, BlobError> {
        let mut random = [0; 16];
        let path = self.folder.join("new");
        getrandom::fill(&mut random).map_err(|error| BlobError::Io {
            path: path.clone(),
            source: io::Error::other(error),
        })?;
        let path = path.join(to_hex(&random));
        let file = options()
            .create_new(true)
            .open(&path)
            .map_err(|source| BlobError::Io {
                path: path.clone(),
                source,
            })?;
        Ok(Upload {
            path: Some(path),
            file,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            unsynced_bytes: 0,
        })
    }

    /// Ends an upload: the content is durable when this returns.
    pub fn keep(&self, mut upload: Upload) -> Result<BlobRef, BlobError> {
        let digest = *upload.hasher.finalize().as_bytes();
        let Some(from) = upload.path.take() else {
            return Err(BlobError::Missing(digest));
        };
        let to = self.path(&digest);
        let kept = || -> io::Result<bool> {
            upload.file.sync_all()?;
            let folder = to.parent().unwrap_or(&self.folder);
            self.make_durable(digest[0], folder)?;
            let naming = &self.naming[usize::from(digest[0])];
            let _naming = naming.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = !to.exists();
            fs::rename(&from, &to)?;
            if let Err(error) = sync(folder) {
                // A new name that may not last is no content: a transaction could name it.
                if is_new {
                    let _ = fs::remove_file(&to);
                }
                return Err(error);
            }
            Ok(is_new)
        };
        match kept() {
            Ok(is_new) => {
                if let Some(totals) = self.totals.get().filter(|_| is_new) {
                    totals.count.fetch_add(1, Ordering::Relaxed);
                    totals.bytes.fetch_add(upload.bytes, Ordering::Relaxed);
                }
                Ok(BlobRef {
                    digest,
                    bytes: upload.bytes,
                })
            }
            Err(source) => {
                let _ = fs::remove_file(&from);
                Err(BlobError::Io { path: to, source })
            }
        }
    }

    /// Makes the folder of the hashes that begin with a byte, unless it is there, and sees to it that it lasts.
    fn make_durable(&self, first: u8, folder: &Path) -> io::Result<()> {
        // Held meanwhile, so that no content is said to be kept in a folder that another has made and not synced.
        let mut durable = self
            .durable_folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if durable.contains(&first) && folder.is_dir() {
            return Ok(());
        }
        make_folder(folder)?;
        if let Err(error) = sync(&self.folder) {
            // Made again, it is synced again; one that holds contents stays.
            let _ = fs::remove_dir(folder);
            return Err(error);
        }
        durable.insert(first);
        Ok(())
    }

    /// Opens a content for reading from its beginning.
    pub fn open(&self, digest: &[u8; 32]) -> Result<Content, BlobError> {
        Content::open(self.path(digest), *digest)
    }

    /// Reads a whole content; an error when it is not here, is of another length, or has another hash.
    pub fn check(&self, blob: &BlobRef) -> Result<(), BlobError> {
        let mut content = self.open(&blob.digest)?;
        let bytes = content.blob().bytes;
        if bytes != blob.bytes {
            return Err(BlobError::Damaged {
                digest: blob.digest,
                what: format!("it has {bytes} bytes instead of {}", blob.bytes),
            });
        }
        while !content.next(CHECKED_AT_ONCE)?.1 {}
        Ok(())
    }

    /// How many contents there are, and their bytes.
    pub fn totals(&self) -> (u64, u64) {
        let totals = self.totals.get_or_init(|| {
            let (mut count, mut bytes) = (0, 0);
            // An unreadable folder shows itself where a content is needed.
            let _ = self.each(|blob| {
                count += 1;
                bytes += blob.bytes;
            });
            Totals {
                count: count.into(),
                bytes: bytes.into(),
            }
        });
        (
            totals.count.load(Ordering::Relaxed),
            totals.bytes.load(Ordering::Relaxed),
        )
    }

    /// Visits every content, in no order.
    pub fn each(&self, mut visit: impl FnMut(BlobRef)) -> io::Result<()> {
        let folders = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            folders => folders?,
        };
        for folder in folders {
            let folder = folder?;
            if folder.file_name() == "new" {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                let digest = file.file_name().to_str().and_then(digest_of);
                if let Some(digest) = digest {
                    let bytes = file.metadata()?.len();
                    visit(BlobRef { digest, bytes });
                }
            }
        }
        Ok(())
    }
}

/// A content that is not whole yet: a file in `blobs/new/`, removed when this is dropped.
pub struct Upload {
    /// `None` once it is kept.
    path: Option<PathBuf>,
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
    unsynced_bytes: u64,
}

impl Upload {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes. After an error the upload is of no use any more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.unsynced_bytes += bytes.len() as u64;
        let written = self.file.write_all(bytes).and_then(|()| {
            if self.unsynced_bytes < SYNC_BYTES {
                return Ok(());
            }
            self.unsynced_bytes = 0;
            self.file.sync_data()
        });
        written.map_err(|source| BlobError::Io {
            path: self.path.clone().unwrap_or_default(),
            source,
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// A content that is being read, its hash checked on the way.
pub struct Content {
    path: PathBuf,
    file: File,
    blob: BlobRef,
    at: u64,
    hasher: blake3::Hasher,
}

impl Content {
    /// Opens the file of a content, wherever it lies.
    pub fn open(path: PathBuf, digest: [u8; 32]) -> Result<Content, BlobError> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((bytes, file)) => Ok(Content {
                path,
                file,
                blob: BlobRef { digest, bytes },
                at: 0,
                hasher: blake3::Hasher::new(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::Missing(digest)),
            Err(source) => Err(BlobError::Io { path, source }),
        }
    }

    /// Its name, and its length as it lies here.
    pub fn blob(&self) -> BlobRef {
        self.blob
    }

    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next bytes, at most `limit`, and whether they are the last. The last are told only when the whole content has the
    /// hash that it is named by.
    pub fn next(&mut self, limit: usize) -> Result<(Vec<u8>, bool), BlobError> {
        let wanted = (self.blob.bytes - self.at).min(limit as u64);
        let mut bytes = Vec::with_capacity(wanted as usize);
        (&mut self.file)
            .take(wanted)
            .read_to_end(&mut bytes)
            .map_err(|source| BlobError::Io {
                path: self.path.clone(),
                source,
            })?;
        if bytes.len() as u64 != wanted {
            return Err(self.damaged("it is shorter than when it was opened".into()));
        }
        self.hasher.update(&bytes);
        self.at += wanted;
        if self.at < self.blob.bytes {
            return Ok((bytes, false));
        }
        let found = *self.hasher.finalize().as_bytes();
        match found == self.blob.digest {
            true => Ok((bytes, true)),
            false => Err(self.damaged(format!(
                "the {} bytes of {} have the hash {}",
                self.blob.bytes,
                self.path.display(),
                to_hex(&found)
            ))),
        }
    }

    fn damaged(&self, what: String) -> BlobError {
        BlobError::Damaged {
            digest: self.blob.digest,
            what,
        }
    }
}

/// Where a content lies under a folder of blobs: `ab/ab12…`.
pub fn relative_path(digest: &[u8; 32]) -> PathBuf {
    let name = to_hex(digest);
    Path::new(&name[..2]).join(&name)
}

/// The hash that 64 lower-case hexadecimal digits name.
pub fn digest_of(name: &str) -> Option<[u8; 32]> {
    let is_plain = name.len() == 64 && !name.bytes().any(|byte| byte.is_ascii_uppercase());
    from_hex(name).filter(|_| is_plain)?.try_into().ok()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Blobs) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::at(folder.path().join("blobs"));
        blobs.prepare().unwrap();
        (folder, blobs)
    }

    fn put(blobs: &Blobs, pieces: &[&[u8]]) -> BlobRef {
        let mut upload = blobs.begin().unwrap();
        for piece in pieces {
            upload.write(piece).unwrap();
        }
        blobs.keep(upload).unwrap()
    }

    fn read(blobs: &Blobs, digest: &[u8; 32]) -> Result<Vec<u8>, BlobError> {
        let mut content = blobs.open(digest)?;
        let mut all = Vec::new();
        loop {
            let (bytes, is_last) = content.next(3)?;
            all.extend(bytes);
            if is_last {
                return Ok(all);
            }
        }
    }

    fn left_in_new(blobs: &Blobs) -> usize {
        fs::read_dir(blobs.folder.join("new")).unwrap().count()
    }

    #[test]
    fn a_content_comes_back_and_is_kept_once() {
        let (_folder, blobs) = store();
        let first = put(&blobs, &[b"hel", b"lo"]);
        assert_eq!(first.digest, *blake3::hash(b"hello").as_bytes());
        assert_eq!(blobs.totals(), (1, 5));
        assert_eq!(put(&blobs, &[b"hello"]), first);
        let empty = put(&blobs, &[]);
        assert_eq!(blobs.totals(), (2, 5));
        assert_eq!(read(&blobs, &first.digest).unwrap(), b"hello");
        assert_eq!(read(&blobs, &empty.digest).unwrap(), b"");
        assert_eq!(blobs.length(&first.digest).unwrap(), Some(5));
        assert_eq!(blobs.length(&[0; 32]).unwrap(), None);
        assert_eq!(left_in_new(&blobs), 0);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let (_folder, blobs) = store();
        let mut upload = blobs.begin().unwrap();
        upload.write(b"half").unwrap();
        assert_eq!(left_in_new(&blobs), 1);
        drop(upload);
        assert_eq!(left_in_new(&blobs), 0);
        // A kernel that is killed drops nothing; the next opening does.
        std::mem::forget(blobs.begin().unwrap());
        blobs.prepare().unwrap();
        assert_eq!((left_in_new(&blobs), blobs.totals()), (0, (0, 0)));
    }

    #[test]
    fn damage_is_told_instead_of_the_last_bytes_and_mended_by_another_put() {
        let (_folder, blobs) = store();
        let blob = put(&blobs, &[b"hello"]);
        for damage in [&b"hellO"[..], b"hell", b"hello!", b""] {
            fs::write(blobs.path(&blob.digest), damage).unwrap();
            let error = read(&blobs, &blob.digest).unwrap_err().to_string();
            assert!(
                error.contains("damaged") && error.contains(&to_hex(&blob.digest)),
                "{error}"
            );
        }
        put(&blobs, &[b"hello"]);
        assert_eq!(read(&blobs, &blob.digest).unwrap(), b"hello");
    }
}
