//! One method-worker process. The kernel is its parent: it is killed by its handle and always reaped.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use shared::activation::FromWorker;
use shared::frame::FrameError;
use shared::incoming::Incoming;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::child::{Child, Order};
use super::conversation::Knowledge;
use super::nursery;
use super::progress::Progress;
use crate::priority;

/// The worker's only descriptor, and the one that it closes as soon as it has mapped it.
const WORKER_FD: i32 = 3;
const PROGRESS_FD: i32 = 4;
/// Processor time over a worker's whole life; each activation's own bound is its deadline, kept by kill.
const CPU_SECONDS: &str = "86400";
/// Starting CPython and closing the jail takes some 50 ms; a machine under load takes longer.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// How workers are made and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub program: PathBuf,
    /// What methods may use beside Python's own.
    pub environment: Option<Environment>,
    /// Activations at the same time.
    pub workers: usize,
    pub deadline: Duration,
    pub memory_mib: u64,
}

/// Packages that an upgrade has installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The folder of its packages.
    pub packages: PathBuf,
    /// `module.name` of what methods may use.
    pub allow: Vec<String>,
}

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Sends,
    /// Thoughts and trials, of which nobody waits for a millisecond: they give way to sends.
    Thoughts,
}

impl Work {
    /// How nice its processes make themselves; 0: as they are.
    pub fn nice(self) -> io::Result<i32> {
        match self {
            Work::Sends => Ok(0),
            Work::Thoughts => priority::nicer(),
        }
    }
}

/// A running, jailed worker.
pub struct Worker {
    child: Child,
    pub stream: UnixStream,
    /// What it has said that nobody has looked at.
    pub incoming: Incoming,
    pub knowledge: Knowledge,
    pub progress: Progress,
    pub runs: u32,
    /// Of which shift it is.
    pub shift: u64,
}

impl Environment {
    fn arguments(&self) -> [std::ffi::OsString; 4] {
        [
            "--packages".into(),
            self.packages.clone().into(),
            "--allow".into(),
            self.allow.join(",").into(),
        ]
    }
}

impl Worker {
    /// Starts one and waits until it says that its jail is closed.
    pub async fn start(settings: &Settings, work: Work) -> io::Result<Worker> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let (progress, page) = Progress::new()?;
        ours.set_nonblocking(true)?;
        let mut arguments: Vec<OsString> = Vec::new();
        for (name, value) in [
            ("--memory-mib", settings.memory_mib.to_string()),
            ("--cpu-seconds", CPU_SECONDS.to_owned()),
            ("--nice", work.nice()?.to_string()),
        ] {
            arguments.extend([name.into(), value.into()]);
        }
        arguments.extend(settings.environment.iter().flat_map(Environment::arguments));
        let order = Order::new(&settings.program, arguments)?
            .handing(&theirs, WORKER_FD)?
            .handing(&page, PROGRESS_FD)?;
        drop((theirs, page));
        // The parent's copy of the worker's end closes with the order, or its death would not end the stream.
        let child = nursery::start(order, work).await.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot start {}: {error}", settings.program.display()),
            )
        })?;
        let mut worker = Worker {
            child,
            stream: UnixStream::from_std(ours)?,
            incoming: Incoming::default(),
            knowledge: Knowledge::default(),
            progress,
            runs: 0,
            shift: 0,
        };
        match timeout(START_DEADLINE, worker.hear()).await {
            Ok(Ok(FromWorker::Ready { .. })) => Ok(worker),
            Ok(Ok(_)) => Err(io::Error::other("a method-worker spoke before it was ready")),
            Ok(Err(_)) => {
                let end = worker.end().await;
                Err(io::Error::other(format!(
                    "a method-worker ended before it was ready: {}",
                    describe(&end)
                )))
            }
            Err(_) => Err(io::Error::other("a method-worker was not ready in time")),
        }
    }

    /// The next message that it sends. Nothing is lost when this is broken off.
    pub async fn hear(&mut self) -> Result<FromWorker, FrameError> {
        loop {
            if let Some(message) = self.incoming.take()? {
                return Ok(message);
            }
            if self.stream.read_buf(self.incoming.room()).await? == 0 {
                return Err(self.incoming.end());
            }
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it, if it still lives, and reaps it.
    pub async fn kill(mut self) {
        let _ = self.child.kill().await;
    }

    /// How it ended, after its stream did; a worker that does not end by itself is killed.
    pub async fn end(mut self) -> End {
        match timeout(Duration::from_millis(500), self.child.wait()).await {
            Ok(Ok(status)) => End::of(status),
            _ => {
                let _ = self.child.kill().await;
                End::Unresponsive
            }
        }
    }
}

/// Why a worker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The jail's system call filter killed it.
    ForbiddenCall,
    /// Its limit of processor time.
    CpuLimit,
    /// A crash of the interpreter: a stack overflow or an abort.
    Crashed(i32),
    /// Killed from outside: by the system when memory ran out, or by a person.
    Killed,
    Exited(i32),
    Unresponsive,
}

impl End {
    fn of(status: ExitStatus) -> End {
        match (status.code(), status.signal().map(Signal::try_from)) {
            (Some(code), _) => End::Exited(code),
            (None, Some(Ok(Signal::SIGSYS))) => End::ForbiddenCall,
            (None, Some(Ok(Signal::SIGXCPU))) => End::CpuLimit,
            (None, Some(Ok(Signal::SIGKILL | Signal::SIGTERM))) => End::Killed,
            (None, Some(Ok(signal))) => End::Crashed(signal as i32),
            (None, _) => End::Unresponsive,
        }
    }
}

/// In words.
pub fn describe(end: &End) -> String {
    match end {
        End::ForbiddenCall => "it made a system call that the jail forbids".into(),
        End::CpuLimit => "it used up its processor time".into(),
        End::Crashed(signal) => format!("its interpreter crashed (signal {signal})"),
        End::Killed => "it was killed from outside".into(),
        End::Exited(code) => format!("it exited with code {code}"),
        End::Unresponsive => "it did not answer and was killed".into(),
    }
}
