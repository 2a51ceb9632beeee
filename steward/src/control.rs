//! The control socket `run/steward.sock`: one request and one reply a connection.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use shared::frame::{self, FrameError};
use tracing::debug;

use crate::event::{ControlCall, Event};

/// In which a caller must have said what it wants.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// Serves the socket on threads of its own until the process ends.
pub fn serve(socket: UnixListener, events: Sender<Event>) -> io::Result<()> {
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        loop {
            match socket.accept() {
                Ok((stream, _)) => {
                    let events = events.clone();
                    let spawned = thread::Builder::new()
                        .name("control-call".to_owned())
                        .spawn(move || {
                            if let Err(error) = answer(stream, &events) {
                                debug!("a control call failed: {error}");
                            }
                        });
                    if let Err(error) = spawned {
                        debug!("a control call could not be served: {error}");
                    }
                }
                Err(error) => {
                    debug!("a control connection failed: {error}");
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    })?;
    Ok(())
}

fn answer(mut stream: UnixStream, events: &Sender<Event>) -> Result<(), FrameError> {
    stream.set_read_timeout(Some(REQUEST_DEADLINE))?;
    stream.set_write_timeout(Some(REQUEST_DEADLINE))?;
    let request = frame::read(&mut stream)?;
    let (reply, replies) = channel();
    let (done, written) = channel();
    if events
        .send(Event::Control(ControlCall {
            request,
            reply,
            written,
        }))
        .is_err()
    {
        return Ok(());
    }
    if let Ok(reply) = replies.recv() {
        frame::write(&mut stream, &reply)?;
    }
    drop(done);
    Ok(())
}
