//! A counter that the kernel sees: how many runs were begun. It lets results wait for one another and still tells which run
//! is the slow one, or the one that ended the process.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapRaw;
use nix::sys::stat::{SFlag, fstat};

/// Where the kernel hands a memory file over, if it does; closed once it is mapped.
const DESCRIPTOR: RawFd = 4;

/// The first eight bytes of a page that the kernel shares.
pub struct Progress(MmapRaw);

impl Progress {
    /// Maps descriptor 4. `None` when it is no file of that size: then nobody looks.
    ///
    /// Called once, before anything else opens a descriptor.
    pub fn take() -> Option<Progress> {
        // SAFETY: 4 is not -1; whether it is open is what is found out (EBADF is an ordinary error).
        let status = fstat(unsafe { BorrowedFd::borrow_raw(DESCRIPTOR) }).ok()?;
        let is_file = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
        if !is_file || status.st_size < size_of::<AtomicU64>() as i64 {
            return None;
        }
        // SAFETY: the descriptor is open (asked just above), was handed over by exec to this program alone, and this
        // function is called once, so that nothing else owns it.
        let file = unsafe { File::from_raw_fd(DESCRIPTOR) };
        MmapRaw::map_raw(&file).ok().map(Progress)
    }

    /// A run begins.
    pub fn count(&self) {
        // SAFETY: the mapping is at least eight bytes, aligned to a page, writable and lives as long as `self`; the kernel
        // sealed its size; both sides touch it by atomic operations only.
        let counter = unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().cast()) };
        counter.fetch_add(1, Ordering::Release);
    }
}
