//! A conversation with the steward: one request and one reply over its control socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use shared::control::{ControlReply, ControlRequest, PlankStatus, StewardStatus};
use shared::frame::{self, FrameError};
use shared::home::Home;

/// A steward answers from memory: longer than this means that it hangs.
const STATUS_DEADLINE: Duration = Duration::from_secs(5);

/// What the steward says about itself; `None` when no steward listens.
pub fn status(home: &Home) -> Option<StewardStatus> {
    match ask(home, ControlRequest::Status, STATUS_DEADLINE) {
        Ok(ControlReply::Status(status)) => Some(status),
        _ => None,
    }
}

/// One request, one reply.
pub fn ask(home: &Home, request: ControlRequest, deadline: Duration) -> Result<ControlReply, FrameError> {
    let mut stream = UnixStream::connect(home.steward_socket())?;
    stream.set_read_timeout(Some(deadline))?;
    stream.set_write_timeout(Some(STATUS_DEADLINE))?;
    frame::write(&mut stream, &request)?;
    frame::read(&mut stream)
}

/// The kernel as the steward sees it.
pub fn kernel_plank(status: &StewardStatus) -> Option<&PlankStatus> {
    status.planks.iter().find(|plank| plank.name == "kernel")
}

/// True when nobody listens, so that waiting is in vain.
pub fn is_absent(error: &FrameError) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error, FrameError::Io(error) if matches!(error.kind(), NotFound | ConnectionRefused))
}
