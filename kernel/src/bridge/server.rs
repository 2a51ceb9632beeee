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
/// How long the last replies may take to be on their way once requests are parked.
const LAST_REPLIES: Duration = Duration::from_millis(100);

/// Where the conversations are going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    Serving,
    /// Nothing more is heard; what runs is finished.
    Leaving,
    /// What still runs is broken off: its client asks the next kernel.
    Parking,
}

/// A listening socket.
pub struct Listening {
    pub socket: Listener,
    /// A duplicate of the one that the steward passed.
    pub descriptor: Option<OwnedFd>,
}

/// The listener that the steward passed, or one of our own.
pub fn listener(passed: Option<i32>, path: &Path) -> io::Result<Listening> {
    match passed {
        Some(fd) => {
            let adopted = adopt(fd, "--listen-fd")?;
            let descriptor = Some(adopted.try_clone()?);
            let socket = interprocess::os::unix::uds_local_socket::tokio::Listener::try_from(adopted)?;
            Ok(Listening {
                socket: socket.into(),
                descriptor,
            })
        }
        None => Ok(Listening {
            socket: ListenerOptions::new()
                .name(path.to_fs_name::<GenericFilePath>()?)
                .try_overwrite(true)
                .create_tokio()?,
            descriptor: None,
        }),
    }
}

/// Serves until told otherwise, then lets running requests finish, or breaks them off. Answers the listener, whose queue goes on.
pub async fn serve(kernel: Arc<Kernel>, listener: Listener, mut course: watch::Receiver<Course>) -> Listener {
    let mut conversations = JoinSet::new();
    while *course.borrow() == Course::Serving {
        while conversations.try_join_next().is_some() {}
        tokio::select! {
            accepted = listener.accept(), if conversations.len() < MAX_CLIENTS => match accepted {
                Ok(stream) => {
                    conversations.spawn(converse(kernel.clone(), stream, course.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _ = conversations.join_next(), if conversations.len() >= MAX_CLIENTS => {}
            _ = course.changed() => {}
        }
    }
    let finished = async { while conversations.join_next().await.is_some() {} };
    let too_late = async {
        tokio::select! {
            () = tokio::time::sleep(DRAIN) => {
                tracing::warn!("some requests did not finish in time; what they did not commit is undone");
            }
            () = parking(&mut course) => tokio::time::sleep(LAST_REPLIES).await,
        }
    };
    tokio::select! {
        () = finished => {}
        () = too_late => {}
    }
    conversations.shutdown().await;
    listener
}

async fn converse(kernel: Arc<Kernel>, mut stream: Stream, mut course: watch::Receiver<Course>) {
    kernel.clients.fetch_add(1, Ordering::Relaxed);
    let mut first = [0; 1];
    let begun = tokio::select! {
        read = stream.read(&mut first) => matches!(read, Ok(1)),
        _ = course.changed() => false,
    };
    let ended = match first[0] {
        _ if !begun => Ok(()),
        b'{' | b'[' | b' ' | b'\t' | b'\r' | b'\n' => {
            rpc::converse(kernel.clone(), first[0], stream, course).await
        }
        other => frames::converse(kernel.clone(), other, stream, course).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a conversation ended");
    }
    kernel.clients.fetch_sub(1, Ordering::Relaxed);
}

/// Lets the requests of a conversation finish that hears nothing more, as long as they may.
pub async fn finish(requests: &mut JoinSet<()>, course: &mut watch::Receiver<Course>) {
    tokio::select! {
        () = async { while requests.join_next().await.is_some() {} } => {}
        () = parking(course) => requests.shutdown().await,
    }
}

/// Returns when what runs is to be broken off.
async fn parking(course: &mut watch::Receiver<Course>) {
    let _ = course.wait_for(|course| *course == Course::Parking).await;
}

/// Takes over a descriptor that the steward passed; the programs that this one starts do not get it.
#[allow(unsafe_code)]
pub fn adopt(fd: i32, what: &str) -> io::Result<OwnedFd> {
    // A number that is no open descriptor is refused before it is owned.
    nix::fcntl::fcntl(
        unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) },
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )
    .map_err(|errno| io::Error::new(io::ErrorKind::InvalidInput, format!("{what} {fd}: {errno}")))?;
    // SAFETY: the steward passes this descriptor for this kernel alone, nothing else in this process uses its number, and it
    // is adopted once, at the beginning.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
