//! This kernel's end of the control channel to the steward (`docs/handover.md`).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use shared::frame::{asynchronous, encode};
use shared::handover::{CONTROL_DESCRIPTOR, FromKernel, PROTOCOL, ToKernel};
use shared::home::Home;
use shared::incoming::Incoming;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{UnixListener, UnixStream};

use crate::bridge::adopt;

/// A steward that does not read its end for so long is given up.
const PATIENCE: Duration = Duration::from_secs(1);

/// The channel. A kernel that was started by hand has none, and hears nothing.
pub struct Channel {
    /// `None` after its end, until a later steward comes.
    stream: Option<UnixStream>,
    incoming: Incoming,
    /// The stream broke while something was said; [`Channel::hear`] is to tell.
    is_broken: bool,
    door: Option<Door>,
}

/// Where a later steward knocks.
struct Door {
    listener: UnixListener,
    path: PathBuf,
}

/// What came by the channel.
pub enum Heard {
    Message(ToKernel),
    /// The steward is gone.
    Ended,
    /// A later one is there.
    Adopted,
}

impl Channel {
    /// Takes the descriptor that the environment names.
    pub fn open(home: &Home) -> io::Result<Channel> {
        let mut channel = Channel {
            stream: None,
            incoming: Incoming::default(),
            is_broken: false,
            door: None,
        };
        let Some(named) = std::env::var_os(CONTROL_DESCRIPTOR) else {
            return Ok(channel);
        };
        let number = named.to_str().and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{CONTROL_DESCRIPTOR} is {named:?}, which is no number of a descriptor"),
            )
        })?;
        let stream = StdUnixStream::from(adopt(number, CONTROL_DESCRIPTOR)?);
        stream.set_nonblocking(true)?;
        channel.stream = Some(UnixStream::from_std(stream)?);
        let path = home.control_socket(std::process::id());
        let _ = std::fs::remove_file(&path);
        channel.door = Some(Door {
            listener: UnixListener::bind(&path)?,
            path,
        });
        Ok(channel)
    }

    /// The next thing that happens; for ever, where nothing can. Nothing is lost when this is broken off.
    pub async fn hear(&mut self) -> Heard {
        if std::mem::take(&mut self.is_broken) {
            self.stream = None;
            return Heard::Ended;
        }
        match (&mut self.stream, &self.door) {
            (Some(stream), _) => loop {
                match self.incoming.take() {
                    Ok(Some(message)) => return Heard::Message(message),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the steward cannot be understood");
                        self.stream = None;
                        return Heard::Ended;
                    }
                }
                if !matches!(stream.read_buf(self.incoming.room()).await, Ok(1..)) {
                    self.stream = None;
                    return Heard::Ended;
                }
            },
            (None, Some(door)) => loop {
                match door.listener.accept().await {
                    Ok((stream, _)) => {
                        self.stream = Some(stream);
                        self.incoming = Incoming::default();
                        return Heard::Adopted;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a steward could not be heard");
                        tokio::time::sleep(PATIENCE).await;
                    }
                }
            },
            (None, None) => std::future::pending().await,
        }
    }

    /// Says who this is.
    pub async fn greet(&mut self) {
        self.say(&FromKernel::Hello {
            protocol: PROTOCOL,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
        .await;
    }

    /// Says something, if there is somebody.
    pub async fn say(&mut self, message: &FromKernel) {
        let Some(stream) = &mut self.stream else { return };
        let said = tokio::time::timeout(PATIENCE, asynchronous::write(stream, message)).await;
        if !matches!(said, Ok(Ok(()))) {
            self.is_broken = true;
        }
    }

    /// Says [`FromKernel::Lent`], and passes the descriptor with it.
    pub async fn lend(&mut self, socket: BorrowedFd<'_>) {
        let Some(stream) = &self.stream else { return };
        let Ok(frame) = encode(&FromKernel::Lent) else {
            return;
        };
        let passing = stream.async_io(Interest::WRITABLE, || {
            let (bytes, descriptors) = ([IoSlice::new(&frame)], [socket.as_raw_fd()]);
            let rights = [ControlMessage::ScmRights(&descriptors)];
            let to = stream.as_fd().as_raw_fd();
            sendmsg::<()>(to, &bytes, &rights, MsgFlags::empty(), None).map_err(io::Error::from)
        });
        // A frame so small goes whole or not at all.
        match tokio::time::timeout(PATIENCE, passing).await {
            Ok(Ok(sent)) if sent == frame.len() => {}
            _ => self.is_broken = true,
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
