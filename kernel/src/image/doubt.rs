//! An index that cannot be believed. It is derived from the log, so it is made anew; what must not happen is that something wrong
//! that it says, or something that it does not say, reaches a reader or a commit.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::lmdb::Lmdb;

/// A file of this name in the folder of an index: the next opening sets that index aside.
const MARK: &str = "suspect";

/// While this kernel only looks on, the index is another one's, and what this one cannot read may be its own fault.
static ONLY_READS: AtomicBool = AtomicBool::new(false);

/// Whether this kernel only looks on.
pub fn only_reads(reads: bool) {
    ONLY_READS.store(reads, Ordering::SeqCst);
}

/// Ends this kernel, since what it reads cannot be trusted; the next one has an index made from the log.
pub fn end(index: &Lmdb, error: &dyn Display) -> ! {
    mark(index.folder());
    tracing::error!(
        index = %index.folder().display(),
        %error,
        "the index cannot be read; this kernel ends, and the next one makes the index anew from the log"
    );
    std::process::exit(i32::from(shared::exit::UNUSABLE))
}

/// Answers what was read, or ends this kernel.
pub fn believed<T>(index: &Lmdb, read: Result<T, ::lmdb::Error>) -> T {
    match read {
        Ok(read) => read,
        // A write of its newest page has failed: nothing more is read by way of it, but the file may be sound.
        Err(::lmdb::Error::Panic) => {
            tracing::error!(
                "a write of the index has failed, and only another kernel can go on with it; this one ends"
            );
            std::process::exit(i32::from(shared::exit::UNUSABLE))
        }
        Err(error) => end(index, &error),
    }
}

/// Decodes a record of the index, or ends this kernel.
pub fn decoded<T: serde::de::DeserializeOwned>(index: &Lmdb, bytes: &[u8]) -> T {
    postcard::from_bytes(bytes).unwrap_or_else(|error| end(index, &format!("a record of it: {error}")))
}

/// Has the next opening of an image make the index in that folder anew.
pub fn mark(index_folder: &Path) {
    if ONLY_READS.load(Ordering::SeqCst) {
        return;
    }
    if let Err(error) = File::create(index_folder.join(MARK)) {
        tracing::error!(%error, "the index could not be marked; batos reindex makes it anew");
    }
}

pub fn is_marked(index_folder: &Path) -> bool {
    fs::symlink_metadata(index_folder.join(MARK)).is_ok()
}
