//! Puts a new index, made from the log alone, in the place of the old one.

use std::fs;
use std::path::Path;

use shared::bridge::Unit;

use super::archive::Archive;
use super::digest::digest;
use super::lmdb::Lmdb;
use super::log::{BEGINNING, segments, sync_folder};
use super::rebuild::rebuild;
use super::segment::at;
use super::{OpenError, make_folder};
use crate::reporter::Reporter;

/// Rebuilds `index/` of an image whose lock is held; answers the digest of the state. The old index stays until the new one
/// is whole.
pub fn reindex(folder: &Path, reporter: &Reporter) -> Result<[u8; 32], OpenError> {
    let (log_folder, index) = (folder.join("log"), folder.join("index"));
    let new = folder.join("index.new");
    remove(&new)?;
    make_folder(&new)?;
    let failed = |source| OpenError::Index {
        path: new.clone(),
        source,
    };
    // A torn batch at the end was never acknowledged; the next opening sets it aside.
    reporter.begin("looking for the end of the log", Unit::Transactions, None);
    let last = durable_end(&log_folder, reporter)?;
    let state = rebuild(
        &log_folder,
        Lmdb::open(&new).map_err(failed)?,
        last,
        reporter,
        |_, _, _| {},
    )?;
    reporter.begin("computing the digest", Unit::Objects, None);
    let digest = digest(&state.index(), last).map_err(failed)?;
    drop(state);
    let old = folder.join("index.old");
    remove(&old)?;
    if index.exists() {
        fs::rename(&index, &old).map_err(at(&index))?;
    }
    fs::rename(&new, &index).map_err(at(&new))?;
    sync_folder(folder)?;
    remove(&old)?;
    Ok(digest)
}

/// Moves an index that cannot be read away; the last one that was is kept for who wants to know why.
pub fn set_aside(index: &Path) -> Result<(), OpenError> {
    let aside = index.with_extension("damaged");
    remove(&aside)?;
    fs::rename(index, &aside).map_err(at(index))?;
    Ok(())
}

/// The newest transaction whose record is whole.
fn durable_end(log_folder: &Path, reporter: &Reporter) -> Result<shared::id::TransactionId, OpenError> {
    let from = super::base::newest(log_folder)?.map_or(BEGINNING, |base| base.end());
    let mut last = from.transaction;
    let newest = segments(log_folder)?.pop().unwrap_or(1);
    let walked = Archive::new(log_folder).walk(from, shared::id::TransactionId(u64::MAX), |next, _, _| {
        last = next.transaction;
        reporter.add(1);
        Ok::<bool, super::segment::LogError>(true)
    });
    match walked {
        Ok(()) => Ok(last),
        // The walk asks for the segment after the newest, or meets its torn end.
        Err(_) if last.0 + 1 >= newest => Ok(last),
        Err(error) => Err(error.into()),
    }
}

fn remove(folder: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(folder)(error).into()),
        _ => Ok(()),
    }
}
