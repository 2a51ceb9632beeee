//! The listening socket: the one that the steward passed, or one of our own.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};

/// Opens or adopts the listener.
pub fn open(passed: Option<i32>, socket: &Path) -> io::Result<Listener> {
    match passed {
        Some(fd) => {
            interprocess::os::unix::uds_local_socket::tokio::Listener::try_from(adopt(fd)?).map(Into::into)
        }
        None => ListenerOptions::new()
            .name(socket.to_fs_name::<GenericFilePath>()?)
            .try_overwrite(true)
            .create_tokio(),
    }
}

/// The worker's own socket, by which the steward reaches this worker and no other.
pub struct Own {
    pub listener: Listener,
    path: PathBuf,
}

impl Own {
    /// Beside the socket that workers share: `inference-PID.sock`.
    pub fn open(shared: &Path) -> io::Result<Own> {
        let path = shared.with_file_name(format!("inference-{}.sock", std::process::id()));
        let listener = open(None, &path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Own { listener, path })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[allow(unsafe_code)]
fn adopt(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: borrowed only for this check; a number that is no open descriptor is refused before it is owned.
    nix::fcntl::fcntl(
        unsafe { BorrowedFd::borrow_raw(fd) },
        nix::fcntl::FcntlArg::F_GETFD,
    )
    .map_err(|errno| io::Error::new(io::ErrorKind::InvalidInput, format!("--listen-fd {fd}: {errno}")))?;
    // SAFETY: the steward passes this descriptor for this process alone, nothing else here uses its number, and it is adopted
    // once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
