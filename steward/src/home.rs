//! The home folder prepared: folders made, permissions set, the steward's lock taken.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use shared::home::Home;

use crate::listener;

/// The home while this process is its steward: the lock is held until this is dropped, or the process ends however.
#[derive(Debug)]
pub struct OwnedHome {
    pub home: Home,
    /// Held for its `flock`; a dead steward holds nothing, so no stale lock exists.
    lock: File,
}

impl OwnedHome {
    /// For the steward that this one becomes.
    pub fn lock(&self) -> io::Result<OwnedFd> {
        self.lock.try_clone().map(OwnedFd::from)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("the home {0} is not a folder; name another by --home")]
    NotAFolder(PathBuf),
    #[error("the home {0} belongs to user {1}, not to user {2}; name another by --home")]
    Stranger(PathBuf, u32, u32),
    #[error("the home {0} is a folder that everyone writes to; name a folder inside it by --home")]
    Public(PathBuf),
    #[error("{doing} {path}: {source}; make the home writable or name another by --home")]
    Unwritable {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the home {path} is already in use by the steward with process id {pid}")]
    InUse { path: PathBuf, pid: String },
}

/// What the lock is called among the descriptors that a steward leaves to the one that it becomes.
pub const LOCK: &str = "lock";
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Makes the folders, sets their modes, takes the lock.
pub fn prepare(home: Home) -> Result<OwnedHome, HomeError> {
    let root = home.path().to_path_buf();
    match fs::metadata(&root) {
        Ok(metadata) => check_existing(&root, &metadata)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_folder(&root)?,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(HomeError::NotAFolder(root));
        }
        Err(source) => {
            return Err(HomeError::Unwritable {
                doing: "cannot look at",
                path: root,
                source,
            });
        }
    }
    set_private(&root)?;
    let run = home.run();
    make_folder(&run)?;
    set_private(&run)?;
    let lock = match listener::left(LOCK) {
        Some(lock) => File::from(lock),
        None => lock(&home)?,
    };
    for folder in [
        home.image(),
        home.audit(),
        home.models(),
        home.inbox(),
        home.results(),
        home.claimed(),
        home.logs(),
        home.planks(),
    ] {
        make_folder(&folder)?;
    }
    Ok(OwnedHome { home, lock })
}

fn check_existing(root: &Path, metadata: &fs::Metadata) -> Result<(), HomeError> {
    let me = nix::unistd::geteuid().as_raw();
    if !metadata.is_dir() {
        return Err(HomeError::NotAFolder(root.to_path_buf()));
    }
    // Such as /tmp: making that private would break the machine.
    if metadata.mode() & 0o1002 != 0 {
        return Err(HomeError::Public(root.to_path_buf()));
    }
    if metadata.uid() != me {
        return Err(HomeError::Stranger(root.to_path_buf(), metadata.uid(), me));
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), HomeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| HomeError::Unwritable {
        doing: "cannot make the folder",
        path: path.to_path_buf(),
        source,
    })
}

fn set_private(path: &Path) -> Result<(), HomeError> {
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|source| HomeError::Unwritable {
        doing: "cannot make private",
        path: path.to_path_buf(),
        source,
    })
}

fn lock(home: &Home) -> Result<File, HomeError> {
    let path = home.run().join("steward.lock");
    let failed = |source| HomeError::Unwritable {
        doing: "cannot lock",
        path: path.clone(),
        source,
    };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match patient_lock(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = (&file).take(32).read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() {
                "unknown"
            } else {
                pid.trim()
            }
            .to_owned();
            return Err(HomeError::InUse {
                path: home.path().to_path_buf(),
                pid,
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

/// A steward killed between making a child and the child's start leaves its lock with that child for a moment.
fn patient_lock(file: &File) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => sleep(LOCK_PAUSE),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(path: &Path) -> Home {
        Home::resolve(Some(path)).unwrap()
    }

    #[test]
    fn a_home_is_made_private_and_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b");
        let owned = prepare(home(&root)).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(owned.home.run()).unwrap().mode() & 0o777, 0o700);
        assert!(owned.home.inbox().is_dir());
        match prepare(home(&root)) {
            Err(HomeError::InUse { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
            other => panic!("{other:?}"),
        }
        drop(owned);
        prepare(home(&root)).unwrap();
    }

    #[test]
    fn what_cannot_be_a_home_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(prepare(home(&file)), Err(HomeError::NotAFolder(_))));
        assert!(matches!(
            prepare(home(&file.join("under"))),
            Err(HomeError::NotAFolder(_))
        ));
        let public = folder.path().join("public");
        fs::create_dir(&public).unwrap();
        fs::set_permissions(&public, Permissions::from_mode(0o1777)).unwrap();
        assert!(matches!(prepare(home(&public)), Err(HomeError::Public(_))));
        assert_eq!(fs::metadata(&public).unwrap().mode() & 0o7777, 0o1777);
        assert!(matches!(
            prepare(home(Path::new("/proc/home"))),
            Err(HomeError::Unwritable { .. })
        ));
    }
}
