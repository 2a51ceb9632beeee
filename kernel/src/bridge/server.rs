//! Accepts connections until told to stop; one task a connection.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use interprocess::local_socket::ListenerOptions;
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ToFsName};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{frames, rpc};
use crate::kernel::Kernel;

/// Conversations at the same time; more wait in the socket's queue.
const MAX_CLIENTS: usize = 512;
/// How long requests that run may go on after the kernel was told to stop.
const DRAIN: Duration = Duration::from_secs(8);

/// The listener that the steward passed, or one of our own.
pub fn listener(passed: Option<i32>, socket: &Path) -> io::Result<Listener> {
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

/// Serves until `stop` changes, then lets running requests finish.
pub async fn serve(kernel: Arc<Kernel>, listener: Listener, mut stop: watch::Receiver<bool>) {
    let mut conversations = JoinSet::new();
    loop {
        while conversations.try_join_next().is_some() {}
        tokio::select! {
            accepted = listener.accept(), if conversations.len() < MAX_CLIENTS => match accepted {
                Ok(stream) => {
                    conversations.spawn(converse(kernel.clone(), stream, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _ = conversations.join_next(), if conversations.len() >= MAX_CLIENTS => {}
            _ = stop.changed() => break,
        }
    }
    let finished = async { while conversations.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, finished).await.is_err() {
        tracing::warn!("some requests did not finish in time; what they did not commit is undone");
    }
}

async fn converse(kernel: Arc<Kernel>, mut stream: Stream, mut stop: watch::Receiver<bool>) {
    kernel.clients.fetch_add(1, Ordering::Relaxed);
    let mut first = [0; 1];
    let begun = tokio::select! {
        read = stream.read(&mut first) => matches!(read, Ok(1)),
        _ = stop.changed() => false,
    };
    let ended = match first[0] {
        _ if !begun => Ok(()),
        b'{' | b'[' | b' ' | b'\t' | b'\r' | b'\n' => {
            rpc::converse(kernel.clone(), first[0], stream, stop).await
        }
        other => frames::converse(kernel.clone(), other, stream, stop).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a conversation ended");
    }
    kernel.clients.fetch_sub(1, Ordering::Relaxed);
}

/// Takes over a descriptor that the steward passed.
#[allow(unsafe_code)]
fn adopt(fd: i32) -> io::Result<OwnedFd> {
    // A number that is no open descriptor is refused before it is owned.
    nix::fcntl::fcntl(
        unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) },
        nix::fcntl::FcntlArg::F_GETFD,
    )
    .map_err(|errno| io::Error::new(io::ErrorKind::InvalidInput, format!("--listen-fd {fd}: {errno}")))?;
    // SAFETY: the steward passes this descriptor for this kernel alone (`--listen-fd`), nothing else in this process uses
    // its number, and it is adopted once, in `main`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
