//! The blocking client library of the bridge: connects, repeats after a lost connection, never runs a request twice. A kernel that
//! is killed, or that hands over to another one, is a pause to the caller and nothing else.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use interprocess::local_socket::traits::Stream as _;
use interprocess::local_socket::{GenericFilePath, Stream, ToFsName};

use crate::bridge::{Answer, Call, Event, Fault, Hello, Request, ToClient, Welcome};
use crate::frame::{self, FrameError};
use crate::id::ClientId;
use crate::reason;

/// How long to wait between two attempts to reach a kernel that is being replaced: first and longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A call whose connection is lost more often than this is given up: it may be what ends the kernel.
const MAX_LOSSES: u32 = 100;

/// A conversation with the kernel.
pub struct Client {
    socket: PathBuf,
    program: String,
    id: ClientId,
    last_sequence: u64,
    /// How long a request may look for a kernel that is gone before it gives up.
    patience: Duration,
    /// `None` between a lost connection and the next attempt.
    stream: Option<Stream>,
}

/// What one attempt came to, when not to an answer.
enum Broken {
    /// The kernel said that it leaves; whoever comes next is to be asked.
    Left,
    /// The kernel goes down and did nothing about this.
    Stopping(Fault),
    Failed(CallError),
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("no kernel answers at {socket}: {source}")]
    Unreachable { socket: PathBuf, source: FrameError },
    #[error("the kernel's answer cannot be read: {0}")]
    Protocol(FrameError),
    /// The request itself cannot travel.
    #[error("{0}")]
    Request(FrameError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Client {
    /// Connects and shakes hands. `patience` bounds how long this and each later call look for a kernel.
    pub fn connect(socket: &Path, program: &str, patience: Duration) -> Result<Client, CallError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| CallError::Request(io::Error::other(error).into()))?;
        Client::resume(socket, program, patience, ClientId(bytes), 0)
    }

    /// Connects as an earlier client, so that a request whose reply was lost can be repeated.
    pub fn resume(
        socket: &Path,
        program: &str,
        patience: Duration,
        id: ClientId,
        last_sequence: u64,
    ) -> Result<Client, CallError> {
        let mut client = Client {
            socket: socket.to_path_buf(),
            program: program.to_owned(),
            id,
            last_sequence,
            patience,
            stream: None,
        };
        let deadline = Instant::now() + patience;
        client.reach(deadline)?;
        Ok(client)
    }

    /// Runs one call. With `watch`, thought events and progress reach it while the call runs.
    pub fn call(&mut self, call: Call, watch: Option<&mut dyn FnMut(Event)>) -> Result<Answer, CallError> {
        self.last_sequence += 1;
        self.repeat(self.last_sequence, call, watch)
    }

    /// Runs a call under a sequence used before: the stored reply, if it was carried out.
    pub fn repeat(
        &mut self,
        sequence: u64,
        call: Call,
        mut watch: Option<&mut dyn FnMut(Event)>,
    ) -> Result<Answer, CallError> {
        let request = Request {
            sequence,
            watch: watch.is_some(),
            call,
        };
        let bytes = frame::encode(&request).map_err(CallError::Request)?;
        let mut losses = 0;
        let mut pause = FIRST_PAUSE;
        loop {
            // Patience begins anew with each connection that was made and lost, however long the call ran until then.
            let deadline = Instant::now() + self.patience;
            let lost = match self.exchange(&bytes, sequence, deadline, &mut watch) {
                Ok(answer) => return Ok(answer),
                // Whoever comes next waits behind the same socket already.
                Err(Broken::Left) if !self.patience.is_zero() => {
                    self.stream = None;
                    continue;
                }
                Err(Broken::Left) => self.unreachable(FrameError::Ended),
                Err(Broken::Stopping(fault)) => fault.into(),
                Err(Broken::Failed(CallError::Protocol(error))) if error.is_disconnect() => {
                    self.unreachable(error)
                }
                Err(Broken::Failed(error)) => return Err(error),
            };
            self.stream = None;
            losses += 1;
            if losses > MAX_LOSSES || self.patience.is_zero() {
                return Err(lost);
            }
            sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn exchange(
        &mut self,
        request: &[u8],
        expected: u64,
        deadline: Instant,
        watch: &mut Option<&mut dyn FnMut(Event)>,
    ) -> Result<Answer, Broken> {
        let failed = |error| Broken::Failed(CallError::Protocol(error));
        let stream = self.reach(deadline).map_err(Broken::Failed)?;
        io::Write::write_all(stream, request).map_err(|error| failed(error.into()))?;
        loop {
            match frame::read(stream).map_err(failed)? {
                ToClient::Event { sequence, event } if sequence == expected => {
                    if let Some(watch) = watch {
                        watch(Event::Thought(event));
                    }
                }
                ToClient::Progress { sequence, progress } if sequence == expected => {
                    if let Some(watch) = watch {
                        watch(Event::Progress(progress));
                    }
                }
                ToClient::Reply { sequence, result } if sequence == expected => {
                    return match result {
                        // Nothing was done: the kernel after this one does it.
                        Err(fault) if fault.reason == reason::STOPPING => Err(Broken::Stopping(fault)),
                        result => result.map_err(|fault| Broken::Failed(fault.into())),
                    };
                }
                ToClient::Reply {
                    sequence: 0,
                    result: Err(fault),
                } if fault.reason == reason::LEAVING => return Err(Broken::Left),
                // Left over from a call that was given up.
                ToClient::Event { .. } | ToClient::Reply { .. } | ToClient::Progress { .. } => {}
            }
        }
    }

    fn unreachable(&self, source: FrameError) -> CallError {
        CallError::Unreachable {
            socket: self.socket.clone(),
            source,
        }
    }

    /// The open stream, or a new one within the deadline; tried at least once.
    fn reach(&mut self, deadline: Instant) -> Result<&mut Stream, CallError> {
        let mut pause = FIRST_PAUSE;
        while self.stream.is_none() {
            match self.open() {
                Ok(stream) => self.stream = Some(stream),
                Err(source) if Instant::now() >= deadline || !is_passing(&source) => {
                    return Err(self.unreachable(source));
                }
                Err(_) => {
                    sleep(pause);
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
        self.stream.as_mut().ok_or_else(|| CallError::Unreachable {
            socket: self.socket.clone(),
            source: FrameError::Ended,
        })
    }

    fn open(&self) -> Result<Stream, FrameError> {
        let name = self.socket.as_path().to_fs_name::<GenericFilePath>()?;
        let mut stream = Stream::connect(name)?;
        frame::write(
            &mut stream,
            &Hello {
                client: self.id,
                program: self.program.clone(),
            },
        )?;
        let _: Welcome = frame::read(&mut stream)?;
        Ok(stream)
    }
}

/// True for failures that a restarting kernel explains.
fn is_passing(error: &FrameError) -> bool {
    error.is_disconnect()
        || matches!(error, FrameError::Io(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
}
