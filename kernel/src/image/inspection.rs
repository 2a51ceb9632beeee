//! Looks through an index for what LMDB itself would trip over. It trusts its file: a page that leads outside of it ends the program that
//! reads or writes it, so a verification runs in a process of its own.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use nix::sys::signal::Signal;

use super::OpenError;
use super::digest::each;
use super::index_record::position_of;
use super::lmdb::{Lmdb, Reading, Table};
use super::rebuild::is_empty;
use super::record::{Mark, Mission, StoredEntry, StoredObject, StoredReply};

/// An index without a record is no longer than this.
const HALF_MADE_BYTES: u64 = 64 << 10;

/// Runs this program again with other arguments, on the same standard streams; answers how it ended.
pub fn in_own_process(arguments: &[OsString]) -> std::io::Result<ExitStatus> {
    Command::new(std::env::current_exe()?).args(arguments).status()
}

/// The signal that a damaged index has ended a process by.
pub fn crash(status: ExitStatus) -> Option<String> {
    let signal = status.signal()?;
    Some(Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string()))
}

/// Reads every record of the index of an image whose lock is held; the error is the first fault. One that is not there, or is empty,
/// has none.
pub fn look_through(image: &Path) -> Result<(), OpenError> {
    let folder = image.join("index");
    let Ok(data) = std::fs::metadata(folder.join("data.mdb")) else {
        return Ok(());
    };
    let failed = |source| OpenError::Index {
        path: folder.clone(),
        source,
    };
    let index = match Lmdb::open_to_read(&folder) {
        Ok(index) => index,
        // One that a crash has left before it was filled is made anew at every start, and no fault.
        Err(_) if data.len() <= HALF_MADE_BYTES => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if is_empty(&index)? {
        return Ok(());
    }
    let reading = index.reading().map_err(failed)?;
    let known = position_of(&reading)?.map_or(0, |known| known.objects);
    let objects = records::<StoredObject>(&reading, Table::Objects).map_err(failed)?;
    if objects? != known {
        return Err(OpenError::Damaged(format!(
            "it counts {known} objects and there are others"
        )));
    }
    records::<StoredEntry>(&reading, Table::Entries).map_err(failed)??;
    records::<StoredReply>(&reading, Table::Replies).map_err(failed)??;
    records::<Mission>(&reading, Table::Missions).map_err(failed)??;
    records::<Mark>(&reading, Table::Marks).map_err(failed)??;
    records::<u64>(&reading, Table::Base).map_err(failed)??;
    each(&reading, Table::ReplyAge, |_| {}).map_err(failed)?;
    Ok(())
}

/// How many records a table has, when all of them can be decoded and it says the same.
fn records<T: serde::de::DeserializeOwned>(
    reading: &Reading<'_>,
    table: Table,
) -> Result<Result<u64, OpenError>, ::lmdb::Error> {
    let (mut count, mut bad) = (0, None);
    each(reading, table, |(key, value)| {
        count += 1;
        if let Err(error) = postcard::from_bytes::<T>(value) {
            bad.get_or_insert_with(|| format!("{table:?} {key:?}: {error}"));
        }
    })?;
    let told = reading.count(table)?;
    Ok(match bad {
        Some(what) => Err(OpenError::Damaged(what)),
        None if told != count => Err(OpenError::Damaged(format!(
            "{table:?} says that it has {told} records and there are {count}"
        ))),
        None => Ok(count),
    })
}
