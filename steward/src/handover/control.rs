//! The steward's end of a kernel's control channel: what is said is written at once, what is heard comes as events.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use shared::frame;
use shared::handover::{FromKernel, ToKernel};
use tracing::warn;

use crate::event::Event;

/// Every channel of this process has another number.
static NEXT: AtomicU64 = AtomicU64::new(1);
/// A kernel that does not read holds the loop up for so long at most; what is said fits into the socket by far.
const PATIENCE: Duration = Duration::from_millis(100);

/// One end. A kernel takes its end for the steward's death, so it is kept until the kernel is gone.
pub struct Control {
    id: u64,
    stream: UnixStream,
}

/// What came by a channel.
#[derive(Clone, Debug)]
pub struct Said {
    pub channel: u64,
    /// `None`: it has ended, or what came made no sense.
    pub message: Option<FromKernel>,
}

impl Control {
    /// A new channel, and the kernel's end of it.
    pub fn open(events: Sender<Event>) -> io::Result<(Control, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Control::of(ours, events)?, OwnedFd::from(theirs)))
    }

    /// A new channel to a kernel of an earlier steward.
    pub fn connect(socket: &Path, events: Sender<Event>) -> io::Result<Control> {
        Control::of(UnixStream::connect(socket)?, events)
    }

    fn of(ours: UnixStream, events: Sender<Event>) -> io::Result<Control> {
        ours.set_write_timeout(Some(PATIENCE))?;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let stream = ours.try_clone()?;
        thread::Builder::new()
            .name("kernel-control".to_owned())
            .spawn(move || listen(id, ours, &events))?;
        Ok(Control { id, stream })
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// True when it was said; whether it was heard is told by an answer.
    pub fn say(&self, message: &ToKernel) -> bool {
        let said = frame::write(&mut &self.stream, message);
        if let Err(error) = &said {
            warn!("a kernel cannot be told {message:?}: {error}");
        }
        said.is_ok()
    }
}

impl Drop for Control {
    /// Ends the thread, too.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn listen(channel: u64, mut stream: UnixStream, events: &Sender<Event>) {
    loop {
        let message = frame::read(&mut stream);
        if let Err(error) = &message
            && !error.is_disconnect()
        {
            warn!("a kernel cannot be understood: {error}");
        }
        let message: Option<FromKernel> = message.ok();
        let is_over = message.is_none();
        if events.send(Event::Kernel(Said { channel, message })).is_err() || is_over {
            return;
        }
    }
}
