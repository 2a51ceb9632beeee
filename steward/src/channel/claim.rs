//! One file taken out of the inbox: `channel/claimed/<name>/<file>`. A claim exists from the rename until its result stands.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use shared::home::Home;
use tracing::warn;

use crate::durable;
use crate::instruction::{LARGEST_BYTES, Refusal};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// `<unix ms>-<n>`, unique in this home.
    pub name: String,
    /// The name that the file had in the inbox; what is not UTF-8 of it replaced.
    pub file: String,
    /// When it was claimed, milliseconds since 1970.
    pub begun: u64,
    path: PathBuf,
}

impl Claim {
    /// Moves the file out of the inbox, durably. A link is moved itself.
    pub fn take(home: &Home, file: &OsStr, now_ms: u64) -> io::Result<Claim> {
        let claimed = claimed(home);
        let mut number = 0;
        let (name, folder) = loop {
            let name = format!("{now_ms}-{number}");
            let folder = claimed.join(&name);
            match fs::create_dir(&folder) {
                Ok(()) => break (name, folder),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        };
        let path = folder.join(file);
        let moved = fs::rename(home.inbox().join(file), &path)
            .and_then(|()| durable::sync_folder(&folder))
            .and_then(|()| durable::sync_folder(&claimed))
            .and_then(|()| durable::sync_folder(&home.inbox()));
        if let Err(error) = moved {
            let _ = fs::remove_dir(&folder);
            return Err(error);
        }
        Ok(Claim::at(name, file, path))
    }

    /// The claims that an earlier steward left, oldest first.
    pub fn left(home: &Home) -> Vec<Claim> {
        let mut names: Vec<OsString> = fs::read_dir(claimed(home))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        names.sort();
        names
            .into_iter()
            .filter_map(|name| {
                let folder = claimed(home).join(&name);
                let files: Option<OsString> = fs::read_dir(&folder)
                    .ok()?
                    .flatten()
                    .map(|entry| entry.file_name())
                    .next();
                match files {
                    Some(file) => Some(Claim::at(
                        name.to_string_lossy().into_owned(),
                        &file,
                        folder.join(&file),
                    )),
                    None => {
                        // It died before the file was moved, or after the file was removed.
                        if let Err(error) = fs::remove_dir(&folder) {
                            warn!("cannot remove {}: {error}", folder.display());
                        }
                        None
                    }
                }
            })
            .collect()
    }

    /// The bytes, at most one more than an instruction may have. Never follows a link, never waits.
    pub fn read(&self) -> Result<Vec<u8>, Refusal> {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = match OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(&self.path)
        {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
                return Err(Refusal::new(
                    "not_a_file",
                    "the file is a symbolic link; links are not followed",
                ));
            }
            Err(error) => {
                return Err(Refusal::new(
                    "unreadable",
                    format!("the file cannot be read: {error}"),
                ));
            }
        };
        if !file.metadata().is_ok_and(|data| data.is_file()) {
            return Err(Refusal::new("not_a_file", "the file is not a regular file"));
        }
        let mut bytes = Vec::new();
        match file.take(LARGEST_BYTES as u64 + 1).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(Refusal::new(
                "unreadable",
                format!("the file cannot be read: {error}"),
            )),
        }
    }

    /// Ends the claim. Legal when its result stands.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match self.path.parent().map(fs::remove_dir) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    #[cfg(test)]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn at(name: String, file: &OsStr, path: PathBuf) -> Claim {
        let begun = name.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or(0);
        Claim {
            name,
            file: file.to_string_lossy().into_owned(),
            begun,
            path,
        }
    }
}

fn claimed(home: &Home) -> PathBuf {
    let folder: &Path = home.path();
    folder.join("channel/claimed")
}
