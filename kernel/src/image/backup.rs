//! Backup: a copy of an image as of one transaction, made while others go on, and each time only of what is new (M9).
//!
//! The log is append-only: of a segment that is there already only the end is copied, of the newest only up to the durable
//! end. A blob is a file that never changes. The manifest is written last, and names how much of each file counts; so a
//! backup that is interrupted leaves the former one as it was. Whatever is copied of the log is read again from the copy
//! and must continue the chain.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use shared::bridge::{Backup, Unit};
use shared::id::TransactionId;
use shared::json::to_hex;

use super::base::newest;
use super::blob::{BlobError, Blobs, Content};
use super::branch::Copied;
use super::log::{segment_path, segments, unix_ms};
use super::manifest::{FORMAT, Manifest, ManifestBlob, ManifestEnd, ManifestError, ManifestFile};
use super::segment::{End, HEADER_BYTES, Header, Kind, LogError, Position, Reader, options};
use super::{Image, OpenError};
use crate::reporter::Reporter;

const PIECE_BYTES: usize = 1 << 20;

/// Why there is no new backup. The former one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{path}: {source}{}", super::segment::advice(source))]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Image(#[from] OpenError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{0} holds other files and no backup; name an empty or a new folder")]
    NotEmpty(PathBuf),
    #[error("{0} lies in the image itself")]
    Inside(PathBuf),
    #[error("{0} is in use by another backup or restore")]
    Busy(PathBuf),
    #[error("{folder} holds a backup of another image ({found})")]
    OtherImage { folder: PathBuf, found: String },
    #[error(
        "{folder} holds another history of this image, up to transaction {last}; keep it and back up into another folder"
    )]
    OtherHistory { folder: PathBuf, last: u64 },
}

/// Backs the image up into `folder`. Nothing may rewrite the image's files meanwhile, as a pack does; commits may go on.
pub fn backup(image: &Image, folder: &Path, reporter: &Reporter) -> Result<Backup, BackupError> {
    if folder.starts_with(&image.folder) {
        return Err(BackupError::Inside(folder.to_path_buf()));
    }
    let _lock = take(folder)?;
    let known = Manifest::read(folder)?;
    let id = to_hex(&image.id);
    if let Some(known) = known.as_ref().filter(|known| known.image != id) {
        return Err(BackupError::OtherImage {
            folder: folder.to_path_buf(),
            found: known.image.clone(),
        });
    }
    // Branches and the end are of one moment: a branch is committed in both or in none.
    let (branches, end) = image.branches.at_once(|| image.state.position())?;
    let end = end.ok_or_else(|| OpenError::Damaged("it has no position".into()))?;
    let mut copying = Copying {
        image: &image.folder,
        folder,
        known: known.as_ref(),
        copied_bytes: 0,
        reporter,
    };
    if known.as_ref().is_some_and(|known| known.last > end.transaction.0) {
        return Err(copying.other_history());
    }
    let mut files = copying.log(end)?;
    files.extend(copying.branches(branches)?);
    // Every blob that a transaction up to the end names was kept before that transaction.
    let (blobs, damaged) = copying.blobs(&image.state.blobs)?;
    let manifest = Manifest {
        format: FORMAT,
        image: id,
        last: end.transaction.0,
        chain: to_hex(&end.chain),
        unix_ms: unix_ms(),
        kernel: env!("CARGO_PKG_VERSION").into(),
        files,
        blobs,
        damaged,
        seal: String::new(),
    };
    manifest.write(folder).map_err(at(folder))?;
    sweep(folder, &manifest)?;
    Ok(Backup {
        folder: folder.display().to_string(),
        image: manifest.image.clone(),
        last: end.transaction,
        files: manifest.files.len() as u64,
        blobs: manifest.blobs.len() as u64,
        bytes: manifest.bytes(),
        copied_bytes: copying.copied_bytes,
        damaged: manifest.damaged,
    })
}

/// One backup under way.
struct Copying<'a> {
    image: &'a Path,
    folder: &'a Path,
    known: Option<&'a Manifest>,
    copied_bytes: u64,
    reporter: &'a Reporter,
}

impl Copying<'_> {
    /// The newest base and the segments after it, up to the durable end.
    fn log(&mut self, end: Position) -> Result<Vec<ManifestFile>, BackupError> {
        let source = self.image.join("log");
        make_folder(&self.folder.join("log"))?;
        let mut files = Vec::new();
        let base = newest(&source)?;
        let after = base.as_ref().map_or(TransactionId(0), |base| base.transaction());
        let mut firsts = segments(&source)?;
        firsts.retain(|first| *first > after.0 && *first <= end.segment);
        let whole = firsts.iter().filter(|first| **first < end.segment);
        let bytes: u64 = whole
            .filter_map(|first| length(&segment_path(&source, *first)))
            .sum();
        let bytes = bytes + end.offset + base.as_ref().and_then(|base| base.bytes()).unwrap_or(0);
        self.reporter.begin("copying the log", Unit::Bytes, Some(bytes));
        if let Some(base) = &base {
            files.push(self.base(base.path())?);
        }
        for (at, first) in firsts.iter().enumerate() {
            files.push(self.segment(*first, firsts.get(at + 1).copied(), end)?);
        }
        sync(&self.folder.join("log"))?;
        Ok(files)
    }

    fn base(&mut self, source: &Path) -> Result<ManifestFile, BackupError> {
        let (name, path) = named("log", source);
        let bytes = fs::metadata(source).map_err(at(source))?.len();
        let target = self.folder.join(&path);
        if let Some(known) = self.known_file(&path, bytes) {
            return Ok(known);
        }
        let blake3 = self.copy(source, &target, 0, bytes)?;
        let mut reader = reader_of(&target, name, Kind::Base, None)?;
        while let Ok(_record) = whole(&mut reader, &target)? {}
        Ok(ManifestFile {
            path,
            bytes,
            blake3,
            end: None,
        })
    }

    /// One segment. It ends where the next begins, or at the durable end.
    fn segment(
        &mut self,
        first: u64,
        next: Option<u64>,
        last: Position,
    ) -> Result<ManifestFile, BackupError> {
        let folder = self.image.join("log");
        let source = segment_path(&folder, first);
        let (_, path) = named("log", &source);
        let (bytes, end) = match next {
            Some(next) => {
                let following = segment_path(&folder, next);
                let file = File::open(&following).map_err(at(&following))?;
                let bytes = fs::metadata(&source).map_err(at(&source))?.len();
                (bytes, Header::read(&file, &following, next)?.begin())
            }
            None => (last.offset, last),
        };
        let told = ManifestEnd {
            transaction: end.transaction.0,
            chain: to_hex(&end.chain),
        };
        let target = self.folder.join(&path);
        if let Some(known) = self.known_file(&path, bytes) {
            return match known.end.as_ref() == Some(&told) {
                true => Ok(known),
                false => Err(self.other_history()),
            };
        }
        let known = self.known.and_then(|manifest| manifest.file(&path)).cloned();
        let kept = known
            .as_ref()
            .filter(|known| length(&target) >= Some(known.bytes))
            .map_or(0, |known| known.bytes);
        if kept > bytes {
            return Err(self.other_history());
        }
        if let Some(known) = known.as_ref().filter(|known| kept == known.bytes && kept > 0)
            && hash(&source, kept)? != known.blake3
        {
            return Err(self.other_history());
        }
        let blake3 = self.copy(&source, &target, kept, bytes)?;
        // The copy is looked at, from where it went on.
        let from = known
            .filter(|_| kept > 0)
            .and_then(|known| position(first, &known));
        let mut reader = reader_of(&target, first, Kind::Log, from)?;
        while reader.position.transaction < end.transaction {
            if whole(&mut reader, &target)?.is_err() {
                break;
            }
        }
        match (reader.position.transaction, reader.position.chain) == (end.transaction, end.chain) {
            true => Ok(ManifestFile {
                path,
                bytes,
                blake3,
                end: Some(told),
            }),
            false => Err(LogError::Damaged {
                path: source,
                offset: reader.position.offset,
                what: format!("it does not lead to transaction {}", end.transaction),
            }
            .into()),
        }
    }

    /// The branches, each as far as it counts; they are small.
    fn branches(&mut self, branches: Vec<Copied>) -> Result<Vec<ManifestFile>, BackupError> {
        let mut files = Vec::new();
        if branches.is_empty() {
            return Ok(files);
        }
        make_folder(&self.folder.join("branches"))?;
        for Copied { path, file, bytes } in branches {
            let (_, name) = named("branches", &path);
            let wanted = bytes;
            let mut bytes = Vec::new();
            file.take(wanted).read_to_end(&mut bytes).map_err(at(&path))?;
            if bytes.len() as u64 != wanted {
                return Err(at(&path)(io::ErrorKind::UnexpectedEof.into()));
            }
            let file = ManifestFile {
                path: name,
                bytes: bytes.len() as u64,
                blake3: blake3::hash(&bytes).to_hex().to_string(),
                end: None,
            };
            let target = self.folder.join(file.kept_as());
            if length(&target) != Some(file.bytes) {
                let written = File::create(&target).and_then(|mut file| {
                    file.write_all(&bytes)?;
                    file.sync_all()
                });
                written.map_err(at(&target))?;
                self.copied_bytes += file.bytes;
            }
            files.push(file);
        }
        sync(&self.folder.join("branches"))?;
        Ok(files)
    }

    /// Every blob, its hash checked when it is copied; those that are here already by their length. The second list is of
    /// those that are damaged.
    fn blobs(&mut self, blobs: &Blobs) -> Result<(Vec<ManifestBlob>, Vec<String>), BackupError> {
        let mut found = Vec::new();
        blobs
            .each(|blob| found.push(blob))
            .map_err(at(&self.image.join("blobs")))?;
        found.sort_unstable();
        let bytes = found.iter().map(|blob| blob.bytes).sum();
        self.reporter
            .begin("copying the contents", Unit::Bytes, Some(bytes));
        let new = self.folder.join("new");
        make_folder(&new)?;
        let (mut kept, mut damaged, mut done) = (Vec::new(), Vec::new(), 0);
        let mut touched: Option<PathBuf> = None;
        for blob in found {
            let entry = ManifestBlob {
                digest: to_hex(&blob.digest),
                bytes: blob.bytes,
            };
            let target = self.folder.join(entry.path());
            if length(&target) != Some(blob.bytes) {
                let folder = target.parent().unwrap_or(self.folder).to_path_buf();
                if touched.as_ref() != Some(&folder) {
                    make_folder(&folder)?;
                    touched.replace(folder).map_or(Ok(()), |done| sync(&done))?;
                }
                match copy_blob(
                    &blobs.path(&blob.digest),
                    &blob.digest,
                    &new.join("blob"),
                    &target,
                    self.reporter,
                ) {
                    Ok(()) => self.copied_bytes += blob.bytes,
                    Err(CopyError::Blob(BlobError::Damaged { digest, what })) => {
                        tracing::error!(
                            blob = to_hex(&digest),
                            what,
                            "a damaged blob is left out of a backup"
                        );
                        damaged.push(entry.digest);
                        continue;
                    }
                    Err(CopyError::Blob(BlobError::Missing(_))) => continue,
                    Err(CopyError::Blob(BlobError::Io { path, source })) => {
                        return Err(BackupError::Io { path, source });
                    }
                    Err(CopyError::Target(source)) => return Err(at(&target)(source)),
                }
            }
            kept.push(entry);
            done += blob.bytes;
            self.reporter.reach(done);
        }
        if let Some(folder) = touched {
            sync(&folder)?;
            sync(&self.folder.join("blobs"))?;
        }
        Ok((kept, damaged))
    }

    /// What the former backup says of a file that is whole in it.
    fn known_file(&self, path: &str, bytes: u64) -> Option<ManifestFile> {
        let known = self.known?.file(path)?;
        let is_whole = known.bytes == bytes && length(&self.folder.join(known.kept_as())) >= Some(bytes);
        if is_whole {
            self.reporter.add(bytes);
        }
        is_whole.then(|| known.clone())
    }

    /// Copies a file from a byte on to before another, and cuts the copy there; answers the hash of all of it. Durable.
    fn copy(&mut self, source: &Path, target: &Path, from: u64, to: u64) -> Result<String, BackupError> {
        let mut hasher = blake3::Hasher::new();
        let mut input = File::open(source).map_err(at(source))?.take(to);
        let mut output = options()
            .create(true)
            .truncate(false)
            .open(target)
            .map_err(at(target))?;
        output
            .set_len(from)
            .and_then(|()| output.seek(SeekFrom::Start(from)))
            .map_err(at(target))?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut offset = 0;
        loop {
            let got = input.read(&mut piece).map_err(at(source))?;
            if got == 0 {
                break;
            }
            hasher.update(&piece[..got]);
            let skipped = from.saturating_sub(offset).min(got as u64) as usize;
            output.write_all(&piece[skipped..got]).map_err(at(target))?;
            self.copied_bytes += (got - skipped) as u64;
            offset += got as u64;
            self.reporter.add(got as u64);
        }
        output.sync_all().map_err(at(target))?;
        match offset == to {
            true => Ok(hasher.finalize().to_hex().to_string()),
            false => Err(at(source)(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn other_history(&self) -> BackupError {
        BackupError::OtherHistory {
            folder: self.folder.to_path_buf(),
            last: self.known.map_or(0, |known| known.last),
        }
    }
}

/// Why a blob was not copied: the source, or the target.
#[derive(Debug)]
pub enum CopyError {
    Blob(BlobError),
    Target(io::Error),
}

/// Copies a content by way of `aside`, which is renamed only when the hash is right; the folder is not synced.
pub fn copy_blob(
    source: &Path,
    digest: &[u8; 32],
    aside: &Path,
    target: &Path,
    reporter: &Reporter,
) -> Result<(), CopyError> {
    let mut content = Content::open(source.to_path_buf(), *digest).map_err(CopyError::Blob)?;
    let mut output = options()
        .create(true)
        .truncate(true)
        .open(aside)
        .map_err(CopyError::Target)?;
    loop {
        let (bytes, is_last) = content.next(PIECE_BYTES).map_err(CopyError::Blob)?;
        output.write_all(&bytes).map_err(CopyError::Target)?;
        reporter.add(bytes.len() as u64);
        if is_last {
            break;
        }
    }
    output
        .sync_all()
        .and_then(|()| fs::rename(aside, target))
        .map_err(CopyError::Target)
}

/// Makes the folder and takes it for this backup alone.
fn take(folder: &Path) -> Result<Flock<File>, BackupError> {
    make_folder(folder)?;
    let path = folder.join("lock");
    let is_ours = path.exists() || folder.join("manifest.json").exists();
    if !is_ours && fs::read_dir(folder).map_err(at(folder))?.next().is_some() {
        return Err(BackupError::NotEmpty(folder.to_path_buf()));
    }
    let file = options()
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(at(&path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => BackupError::Busy(folder.to_path_buf()),
        other => at(&path)(other.into()),
    })
}

/// Removes what the manifest does not name any more.
fn sweep(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let kept: std::collections::HashSet<PathBuf> = manifest
        .files
        .iter()
        .map(ManifestFile::kept_as)
        .chain(manifest.blobs.iter().map(ManifestBlob::path))
        .collect();
    let blobs = fs::read_dir(folder.join("blobs")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = blobs.map(|entry| entry.path()).collect();
    folders.extend(["log", "branches"].map(|name| folder.join(name)));
    for inside in folders {
        for entry in fs::read_dir(&inside).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_kept = path.strip_prefix(folder).is_ok_and(|name| kept.contains(name));
            if !is_kept {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
    }
    let new = folder.join("new");
    fs::remove_dir_all(&new).map_err(at(&new))
}

/// The number that a file of the log is named by, and its path in the image.
fn named(folder: &str, source: &Path) -> (u64, String) {
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    let number = name.split('.').next().and_then(|number| number.parse().ok());
    (number.unwrap_or(0), format!("{folder}/{name}"))
}

/// Where the former backup ended in a segment.
fn position(segment: u64, known: &ManifestFile) -> Option<Position> {
    let end = known.end.as_ref()?;
    Some(Position {
        segment,
        offset: known.bytes,
        transaction: TransactionId(end.transaction),
        chain: super::blob::digest_of(&end.chain)?,
    })
    .filter(|position| position.offset >= HEADER_BYTES as u64)
}

/// Reads a file of the log from its first record, or from a position.
pub fn reader_of(path: &Path, first: u64, kind: Kind, from: Option<Position>) -> Result<Reader, BackupError> {
    let file = File::open(path).map_err(at(path))?;
    let begin = Header::read(&file, path, first)?.begin();
    Ok(Reader::new(&file, path, kind, from.unwrap_or(begin))?)
}

/// The next record, or the clean end.
fn whole(reader: &mut Reader, path: &Path) -> Result<Result<(), ()>, BackupError> {
    let offset = reader.position.offset;
    match reader.next_record()? {
        Ok(_) => Ok(Ok(())),
        Err(End::Clean) => Ok(Err(())),
        Err(End::Bad(what)) => Err(super::segment::damaged(path, offset, what).into()),
    }
}

/// The hash of a file's first bytes.
pub fn hash(path: &Path, bytes: u64) -> Result<String, BackupError> {
    let file = File::open(path).map_err(at(path))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(bytes)).map_err(at(path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn length(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|data| data.len())
}

pub fn make_folder(folder: &Path) -> Result<(), BackupError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(at(folder))
}

pub fn sync(folder: &Path) -> Result<(), BackupError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

/// Names the path of an input or output error.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_path_buf();
    move |source| BackupError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use shared::id::ObjectId;
    use shared::value::Value;

    use super::*;
    use crate::image::digest::{digest, hex};
    use crate::image::draft::{Change, Draft};
    use crate::image::restore::{Present, restore};

    fn set(image: &Image, value: i64) {
        let mut draft = Draft::new("test");
        draft.changes.push(match image.state.object(ObjectId(1)) {
            Some(_) => Change::Put {
                object: ObjectId(1),
                slot: "n".into(),
                value: Value::Int(value),
            },
            None => Change::Create {
                object: image.state.allocate(),
                slots: vec![("n".into(), Value::Int(value))],
            },
        });
        image.committer.commit_blocking(draft).unwrap();
    }

    fn digest_of(image: &Image) -> String {
        image.flush().unwrap();
        hex(&digest(&image.state.index(), image.state.standing().last).unwrap())
    }

    /// What a restored image comes to, without an index at first.
    fn restored(backup: &Path) -> String {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("image");
        restore(backup, &folder, Present::Refuse, &Reporter::silent()).unwrap();
        let image = Image::open(&folder).unwrap();
        let digest = digest_of(&image);
        image.close();
        digest
    }

    /// Commits, closed segments and backups in turn: each backup copies what is new alone, and comes to the same state.
    #[test]
    fn a_log_of_several_segments_is_continued_and_restored() {
        let folder = tempfile::tempdir().unwrap();
        let image = Image::open(&folder.path().join("image")).unwrap();
        let to = folder.path().join("backup");
        let mut former = 0;
        for round in 0..6 {
            for n in 0..20 {
                set(&image, round * 100 + n);
                if n % 7 == 3 && round != 4 {
                    image.committer.rotate().unwrap();
                }
            }
            let made = backup(&image, &to, &Reporter::silent()).unwrap();
            assert_eq!(made.copied_bytes, made.bytes - former, "round {round}");
            former = made.bytes;
            assert_eq!(backup(&image, &to, &Reporter::silent()).unwrap().copied_bytes, 0);
            assert_eq!(restored(&to), digest_of(&image), "round {round}");
        }
        assert!(segments(&to.join("log")).unwrap().len() > 10);
    }

    /// A backup that ended in the middle has added to files of the former one, and its manifest is not there.
    #[test]
    fn what_an_interrupted_backup_added_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let image = Image::open(&folder.path().join("image")).unwrap();
        let to = folder.path().join("backup");
        set(&image, 1);
        backup(&image, &to, &Reporter::silent()).unwrap();
        let state = digest_of(&image);
        let manifest = fs::read(to.join("manifest.json")).unwrap();
        set(&image, 2);
        backup(&image, &to, &Reporter::silent()).unwrap();
        fs::write(to.join("manifest.json"), &manifest).unwrap();
        fs::write(to.join("log/00000000000000009999.log"), "half").unwrap();
        assert_eq!(restored(&to), state);
        backup(&image, &to, &Reporter::silent()).unwrap();
        assert_eq!(restored(&to), digest_of(&image));
        assert!(!to.join("log/00000000000000009999.log").exists());
    }

    /// A copied record that does not continue the chain is found, and named, before the manifest says that all is well.
    #[test]
    fn a_damaged_log_is_not_backed_up() {
        use std::os::unix::fs::FileExt;
        let folder = tempfile::tempdir().unwrap();
        let image = Image::open(&folder.path().join("image")).unwrap();
        set(&image, 1);
        let segment = segment_path(&image.folder.join("log"), 1);
        let file = options().open(&segment).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 200).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 200).unwrap();
        let error = backup(&image, &folder.path().join("backup"), &Reporter::silent()).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        assert!(!folder.path().join("backup/manifest.json").exists());
    }
}
