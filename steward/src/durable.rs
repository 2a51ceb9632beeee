//! Small files that are either old or new, never half: temporary file, sync, rename, sync of the folder. And documents read from them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use tracing::error;

/// Who makes a write durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    Now,
    /// The caller, for many writes at once.
    Later,
}

/// Puts `bytes` at `path`, durable when this returns. A temporary file beside it may be left after a crash; it begins
/// with a dot and is overwritten by the next write to the same path.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, bytes, Sync::Now)
}

/// The same; atomic in every case, and durable as `sync` says.
pub fn write_with(path: &Path, bytes: &[u8], sync: Sync) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    if sync == Sync::Now {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    match sync {
        Sync::Now => sync_folder(folder),
        Sync::Later => Ok(()),
    }
}

/// Makes renames and removals inside `folder` durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes everything durable that was written to the file system of this folder.
pub fn sync_all(folder: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(folder)?).map_err(Into::into)
}

/// The JSON document at `path`, or `empty` where none can be read. A damaged one is put aside as `….json.damaged`, and the log says
/// what is `lost` with it.
pub fn load_or_set_aside<D: DeserializeOwned>(path: &Path, empty: D, lost: &str) -> D {
    let Ok(bytes) = fs::read(path) else {
        return empty;
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|cause| {
        error!("{} is damaged ({cause}) and put aside: {lost}", path.display());
        let _ = fs::rename(path, path.with_extension("json.damaged"));
        empty
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_document_is_set_aside_and_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let load = || load_or_set_aside(&path, vec![7], "sevens");
        assert_eq!(load(), [7]);
        write(&path, b"[1, 2]").unwrap();
        assert_eq!(load(), [1, 2]);
        write(&path, b"[1, 2").unwrap();
        assert_eq!(load(), [7]);
        assert!(!path.exists());
        assert_eq!(fs::read(folder.path().join("a.json.damaged")).unwrap(), b"[1, 2");
    }
}
