//! A counter in memory that a worker shares: how many activations it has begun. Its results may wait for one another, and it
//! is still known which activation is the slow one, or the one that ended the worker.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapRaw;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// The kernel's side. A worker that counts wrongly harms itself: the number only chooses which of the activations that it was
/// told is held to be the running one.
pub struct Progress(MmapRaw);

impl Progress {
    /// A page of zeros, and the descriptor that the worker gets of it.
    pub fn new() -> io::Result<(Progress, OwnedFd)> {
        let descriptor = memfd_create(
            c"batos-progress",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )?;
        let file = File::from(descriptor);
        file.set_len(4096)?;
        // Nobody can shrink it under the mapping.
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let map = MmapRaw::map_raw(&file)?;
        Ok((Progress(map), OwnedFd::from(file)))
    }

    /// How many activations the worker says it has begun.
    pub fn begun(&self) -> u64 {
        // SAFETY: the mapping is a page of 4,096 bytes that its seals keep, aligned, and lives as long as `self`; it is touched
        // by atomic operations only, here and in the worker.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().cast()) }.load(Ordering::Acquire)
    }
}
