//! One steward takes over from another, in place: the process stays and keeps its children, sockets and lock, and becomes another program. Who
//! restores the old one when the new one fails is a sentry, started just before. Told in `docs/supervision.md`, "The steward itself".

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use shared::control::{ControlReply, ControlRequest};
use shared::frame;
use shared::home::Home;
use tracing::{error, info, warn};

use crate::choice::Choice;
use crate::instruction::Kind;
use crate::process;
use crate::staging::digest;

/// Descriptors that a steward leaves to the one that it becomes: `name:number` and so on.
pub const DESCRIPTORS: &str = "BATOS_STEWARD_DESCRIPTORS";
/// The claim of the upgrade in which it became that one.
const CLAIM: &str = "BATOS_STEWARD_CLAIM";
/// The sentry's process id.
const SENTRY: &str = "BATOS_STEWARD_SENTRY";
/// Why the new steward was given up, for the old one.
const FAILED: &str = "BATOS_STEWARD_FAILED";
/// The folder of the program that was installed: the others lie beside it; and that program's digest.
const PROGRAMS: &str = "BATOS_STEWARD_PROGRAMS";
const INSTALLED: &str = "BATOS_STEWARD_INSTALLED";

const PAUSE: Duration = Duration::from_millis(30);

/// Where the programs are that were installed together.
pub fn programs() -> io::Result<PathBuf> {
    match std::env::var_os(PROGRAMS) {
        Some(folder) => Ok(folder.into()),
        None => {
            let program = std::env::current_exe()?;
            Ok(program.parent().map_or_else(PathBuf::new, Path::to_path_buf))
        }
    }
}

/// BLAKE3 of the steward that was installed, which a choice stands in the place of.
pub fn installed() -> Option<String> {
    match std::env::var(INSTALLED) {
        Ok(digest) => Some(digest),
        Err(_) => std::env::current_exe()
            .ok()
            .and_then(|program| digest(&program).ok()),
    }
}

/// Becomes the steward that an upgrade has chosen, when this is the one that was installed. Returns when there is nothing to become.
pub fn follow_choice(home: &Home) {
    let choice = match Choice::load(home, Kind::Steward) {
        Ok(Some(choice)) if std::env::var_os(PROGRAMS).is_none() => choice,
        _ => return,
    };
    let installed = installed();
    if choice.instead_of != installed || Some(&choice.blake3) == installed.as_ref() {
        return;
    }
    match choice.verified(home, Kind::Steward) {
        Ok(program) => {
            let error = become_program(&program, &[]);
            eprintln!(
                "steward: {} cannot be started: {error}; this one goes on",
                program.display()
            );
        }
        Err(error) => eprintln!("steward: {error}; this one goes on"),
    }
}

/// What a sentry is told.
#[derive(clap::Args, Debug)]
pub struct SentryArguments {
    #[arg(long)]
    pub home: PathBuf,
    /// The steward that is watched.
    #[arg(long)]
    pub pid: i32,
    #[arg(long)]
    pub claim: String,
    /// In which it must have proved itself.
    #[arg(long)]
    pub limit_ms: u64,
    /// In which it must answer.
    #[arg(long)]
    pub answer_ms: u64,
    /// Whether a service manager starts the steward again.
    #[arg(long)]
    pub service: bool,
    /// Of the steward.
    #[arg(last = true)]
    pub arguments: Vec<OsString>,
}

/// How an old steward is left.
pub struct Succession<'a> {
    pub home: &'a Home,
    pub claim: &'a str,
    pub new: &'a Path,
    pub old: &'a Path,
    pub limit: Duration,
    pub answer: Duration,
    pub descriptors: Vec<(&'static str, OwnedFd)>,
}

/// Starts the sentry and becomes the new program. Returns only when that failed, and nothing has changed.
pub fn succeed(succession: &Succession) -> io::Error {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut sentry = Command::new(succession.old);
    sentry
        .args([
            "sentry",
            "--pid",
            &std::process::id().to_string(),
            "--claim",
            succession.claim,
        ])
        .args(["--limit-ms", &succession.limit.as_millis().to_string()])
        .args(["--answer-ms", &succession.answer.as_millis().to_string()])
        .arg("--home")
        .arg(succession.home.path());
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        sentry.arg("--service");
    }
    sentry
        .arg("--")
        .args(&arguments)
        .stdin(Stdio::null())
        .process_group(0);
    remember_installed(&mut sentry);
    let mut sentry = match sentry.spawn() {
        Ok(sentry) => sentry,
        Err(error) => return error,
    };
    let mut names = Vec::new();
    for (name, descriptor) in &succession.descriptors {
        if let Err(error) = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())) {
            let _ = sentry.kill();
            let _ = sentry.wait();
            return error.into();
        }
        names.push(format!("{name}:{}", descriptor.as_raw_fd()));
    }
    info!(program = %succession.new.display(), "this steward becomes another one");
    let error = become_program(
        succession.new,
        &[
            (DESCRIPTORS, names.join(",")),
            (CLAIM, succession.claim.to_owned()),
            (SENTRY, sentry.id().to_string()),
        ],
    );
    let _ = sentry.kill();
    let _ = sentry.wait();
    error
}

/// The claim of the upgrade in which this process became this program.
pub fn claim() -> Option<String> {
    std::env::var(SENTRY).ok()?;
    std::env::var(CLAIM).ok()
}

/// Why the steward after this one was given up: its claim, and the reason.
pub fn failed() -> Option<(String, String)> {
    Some((std::env::var(CLAIM).ok()?, std::env::var(FAILED).ok()?))
}

/// Reaps the sentry, which ends when the upgrade has its result.
pub fn reap_sentry() {
    let pid = std::env::var(SENTRY).ok().and_then(|pid| pid.parse().ok());
    if let Some(pid) = pid {
        thread::spawn(move || {
            let _ = waitpid(Pid::from_raw(pid), None);
        });
    }
}

/// The number of a descriptor that the steward before left under that name.
pub fn left(name: &str) -> Option<RawFd> {
    let all = std::env::var(DESCRIPTORS).ok()?;
    let mut pairs = all.split(',').filter_map(|pair| pair.split_once(':'));
    pairs.find(|pair| pair.0 == name)?.1.parse().ok()
}

/// A sentry's life: watches the new steward until its upgrade has a result; where it fails, ends it and becomes the old one.
pub fn stand_sentry(arguments: &SentryArguments) -> io::Result<()> {
    let home = Home::resolve(Some(&arguments.home))?;
    let claim = home.claimed().join(&arguments.claim);
    let steward = pidfd_open(
        rustix::process::Pid::from_raw(arguments.pid).ok_or(io::ErrorKind::InvalidInput)?,
        PidfdFlags::empty(),
    )?;
    let begun = Instant::now();
    let (limit, answer) = (
        Duration::from_millis(arguments.limit_ms),
        Duration::from_millis(arguments.answer_ms),
    );
    let mut last_good = begun;
    let why = loop {
        if !claim.exists() {
            return Ok(());
        }
        if process::has_ended(&steward, Duration::ZERO)? {
            break "the new steward ended".to_owned();
        }
        match status(&home, answer) {
            Ok(pid) if pid == arguments.pid.unsigned_abs() => last_good = Instant::now(),
            Ok(pid) => break format!("it answers as process {pid}, and is {}", arguments.pid),
            // Nobody answers while it starts.
            Err(_) => {}
        }
        if last_good.elapsed() > answer {
            break format!("the new steward did not answer for {} ms", answer.as_millis());
        }
        if begun.elapsed() > limit {
            break format!(
                "the new steward did not prove itself within {} ms",
                limit.as_millis()
            );
        }
        thread::sleep(PAUSE);
    };
    let _ = pidfd_send_signal(&steward, Signal::KILL);
    process::has_ended(&steward, Duration::from_secs(5))?;
    if arguments.service {
        return Err(io::Error::other(format!(
            "{why}; the service manager starts the old one"
        )));
    }
    let mut old = Command::new(std::env::current_exe()?);
    old.args(&arguments.arguments)
        .env(CLAIM, &arguments.claim)
        .env(FAILED, &why)
        .env_remove(DESCRIPTORS)
        .env_remove(SENTRY);
    Err(old.exec())
}

fn status(home: &Home, limit: Duration) -> Result<u32, frame::FrameError> {
    let mut stream = UnixStream::connect(home.steward_socket())?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    frame::write(&mut stream, &ControlRequest::Status)?;
    match frame::read(&mut stream)? {
        ControlReply::Status(status) => Ok(status.pid),
        ControlReply::Stopped => Err(frame::FrameError::Ended),
    }
}

fn become_program(program: &Path, more: &[(&str, String)]) -> io::Error {
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1));
    for name in [DESCRIPTORS, CLAIM, SENTRY, FAILED] {
        command.env_remove(name);
    }
    command.envs(more.iter().map(|(name, value)| (name, value)));
    remember_installed(&mut command);
    command.exec()
}

fn remember_installed(command: &mut Command) {
    match programs() {
        Ok(folder) => drop(command.env(PROGRAMS, folder)),
        Err(error) => warn!("where the programs are is not known: {error}"),
    }
    match installed() {
        Some(digest) => drop(command.env(INSTALLED, digest)),
        None => error!("the installed steward cannot be read"),
    }
}

/// What belongs to one steward and not to the processes that it starts.
pub const OWN_ENVIRONMENT: [&str; 6] = [DESCRIPTORS, CLAIM, SENTRY, FAILED, PROGRAMS, INSTALLED];
