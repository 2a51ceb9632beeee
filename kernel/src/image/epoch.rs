//! The fence between kernels: who writes must hold the newest epoch.
//!
//! The file lock of an image keeps two kernels from opening it by accident. This keeps one that was retired, or that lost its
//! lock, from ever writing again: every batch is written under a lock on `image/epoch` after its number was read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use shared::id::Epoch;

use super::segment::options;

const BYTES: usize = 12;

/// The epoch file, open. Bytes: epoch (8), CRC-32C of them (4).
pub struct EpochFile {
    file: Option<File>,
}

impl EpochFile {
    pub fn open(folder: &Path) -> io::Result<EpochFile> {
        let file = options()
            .create(true)
            .truncate(false)
            .open(folder.join("epoch"))?;
        Ok(EpochFile { file: Some(file) })
    }

    /// Makes the epoch one more than the file's and than `known`, durably. Waits for a batch that is being written.
    pub fn raise(&mut self, known: Epoch) -> io::Result<Epoch> {
        self.raise_quickly(known)
            .and_then(|raised| self.file.as_ref().map_or(Ok(()), File::sync_all).map(|()| raised))
    }

    /// The same without a sync: the fence holds for every process from now on, and after a power cut, which no other kernel
    /// survives either, the log's own epoch stands in. The caller commits next.
    pub fn raise_quickly(&mut self, known: Epoch) -> io::Result<Epoch> {
        self.locked(|file| {
            let raised = Epoch(read(file)?.0.max(known.0) + 1);
            let number = raised.0.to_le_bytes();
            let mut bytes = [0; BYTES];
            bytes[..8].copy_from_slice(&number);
            bytes[8..].copy_from_slice(&crc32c::crc32c(&number).to_le_bytes());
            file.write_all_at(&bytes, 0)?;
            Ok(raised)
        })?
    }

    /// Runs `work` while nobody can raise the epoch, if it still is `mine`; else answers the newer one.
    pub fn guard<T>(&mut self, mine: Epoch, work: impl FnOnce() -> T) -> io::Result<Result<T, Epoch>> {
        self.locked(|file| {
            let now = read(file)?;
            Ok(if now == mine { Ok(work()) } else { Err(now) })
        })?
    }

    fn locked<T>(&mut self, work: impl FnOnce(&File) -> T) -> io::Result<T> {
        let file = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(locked) => {
                let answer = work(&locked);
                self.file = Some(locked.unlock().map_err(|(_, errno)| io::Error::from(errno))?);
                Ok(answer)
            }
            Err((file, errno)) => {
                self.file = Some(file);
                Err(errno.into())
            }
        }
    }
}

/// The number in the file; zero when it was never written whole, since the log's own epoch then decides.
fn read(file: &File) -> io::Result<Epoch> {
    let mut bytes = [0; BYTES];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Epoch(0)),
        Err(error) => return Err(error),
    }
    let (number, sum) = bytes.split_at(8);
    let is_whole = crc32c::crc32c(number).to_le_bytes() == sum;
    let mut raw = [0; 8];
    raw.copy_from_slice(number);
    Ok(Epoch(if is_whole { u64::from_le_bytes(raw) } else { 0 }))
}
