//! The logs of processes that run, kept within bounds. They write to their files themselves; this cuts a file that has grown.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::copy_file_range;
use tracing::warn;

/// A log larger than this is put aside.
pub const LARGEST_BYTES: u64 = 16 << 20;

/// Cuts every log of the folder that is too large. Its writers append, so that they go on at the beginning.
pub fn cut(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        let is_large = entry
            .metadata()
            .is_ok_and(|data| data.is_file() && data.len() > LARGEST_BYTES);
        if is_log
            && is_large
            && let Err(error) = put_aside(&path)
        {
            warn!("{} cannot be put aside: {error}", path.display());
        }
    }
}

/// Copies the log to `<name>.log.1`, inside the file system, and leaves it empty.
fn put_aside(path: &Path) -> io::Result<()> {
    let log = OpenOptions::new().read(true).write(true).open(path)?;
    let aside = path.with_extension("log.1");
    let copy = File::create(&aside)?;
    while copy_file_range(&log, None, &copy, None, 1 << 30)? > 0 {}
    log.set_len(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_is_cut_under_its_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel.log");
        let mut writer = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        writer.write_all(b"first\n").unwrap();
        cut(folder.path());
        assert_eq!(fs::read(&path).unwrap(), b"first\n");
        let line = vec![b'x'; 1 << 20];
        (0..16).for_each(|_| writer.write_all(&line).unwrap());
        cut(folder.path());
        assert_eq!(fs::read(&path).unwrap(), b"");
        writer.write_all(b"second\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second\n");
        let aside = fs::read(folder.path().join("kernel.log.1")).unwrap();
        assert!(aside.starts_with(b"first\nx") && aside.len() == 6 + (16 << 20));
    }
}
