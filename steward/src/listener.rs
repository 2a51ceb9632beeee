//! The sockets that planks serve, made once (or by systemd) and kept: a plank gets a duplicate, so that clients wait in the
//! backlog while one is replaced.
#![allow(unsafe_code)]

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use sd_notify::NotifyState;
use tracing::{info, warn};

use crate::succession;

/// A listening socket and its file.
pub struct Listener {
    pub socket: UnixListener,
    path: PathBuf,
    /// False for a socket of systemd, whose file is not ours to remove.
    ours: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {path}: {source}")]
pub struct ListenError {
    path: PathBuf,
    source: io::Error,
}

impl Listener {
    /// Takes the socket that systemd passed under that name, else binds anew at `path`. The caller holds the home's lock, so
    /// a file in the way is left from a steward that is dead.
    ///
    /// With `adopted`, the socket of a process that an earlier steward left, that one goes on.
    pub fn open(path: &Path, name: &str, adopted: Option<&UnixListener>) -> Result<Listener, ListenError> {
        if let Some(socket) = left(name) {
            info!(name, "listening on the socket that this steward had before");
            return Ok(Listener {
                socket: UnixListener::from(socket),
                path: path.to_path_buf(),
                ours: passed(name).is_none(),
            });
        }
        if let Some(socket) = passed(name) {
            info!(name, "listening on the socket that systemd passed");
            return Ok(Listener {
                socket,
                path: path.to_path_buf(),
                ours: false,
            });
        }
        if let Some(Ok(socket)) = adopted.map(UnixListener::try_clone) {
            store(&socket, name);
            return Ok(Listener {
                socket,
                path: path.to_path_buf(),
                ours: true,
            });
        }
        let failed = |source| ListenError {
            path: path.to_path_buf(),
            source,
        };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let socket = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        store(&socket, name);
        Ok(Listener {
            socket,
            path: path.to_path_buf(),
            ours: true,
        })
    }
}

impl Drop for Listener {
    /// Takes the file away, so that a client learns at once that nobody serves.
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Occupies descriptors 3 and 4 for good, unless systemd passed some there. A plank gets its listener as 3, a kernel its control
/// channel as 4, between fork and exec; nothing that the standard library opens for the child may stand there then.
pub fn reserve_descriptors() -> io::Result<()> {
    loop {
        let file = File::open("/dev/null")?;
        if file.as_raw_fd() > 4 {
            return Ok(());
        }
        std::mem::forget(file);
    }
}

/// A descriptor that this process had under that name before it became this program. Asked for once a name.
pub fn left(name: &str) -> Option<OwnedFd> {
    let number = succession::left(name)?;
    // SAFETY: the program that this process was before left this descriptor open under this name for this one to own, names are distinct, and
    // each is asked for once.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    // Not for the processes that are started from here on.
    fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    Some(owned)
}

/// Gives systemd a duplicate, so that the steward's successor gets it even when no process holds the socket any more. Means nothing where
/// there is no systemd, or a service without a store.
fn store(socket: &UnixListener, name: &str) {
    let states = [NotifyState::FdStore, NotifyState::FdName(name)];
    if let Err(error) = sd_notify::notify_with_fds(&states, &[socket.as_fd()]) {
        warn!(name, "systemd cannot be given the socket: {error}");
    }
}

fn passed(name: &str) -> Option<UnixListener> {
    let mut descriptors = sd_notify::listen_fds_with_names().ok()?;
    let (raw, _) = descriptors.find(|(_, given)| given == name)?;
    // SAFETY: systemd passed this descriptor to this process (LISTEN_PID was checked) for it to own, and names are distinct,
    // so nothing else here takes it. It is duplicated above 3 and left open where it is.
    let borrowed = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(raw) });
    match borrowed.as_fd().try_clone_to_owned() {
        Ok(owned) => Some(UnixListener::from(owned)),
        Err(error) => {
            warn!("the socket that systemd passed cannot be used: {error}");
            None
        }
    }
}
