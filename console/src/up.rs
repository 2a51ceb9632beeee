//! `batos up`: the system runs when this returns, and was started at most once.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use shared::bridge::KernelStatus;
use shared::exit;
use shared::home::Home;

use crate::failure::Failure;
use crate::output::Report;
use crate::{status, steward};

/// In which the kernel must answer.
const DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
/// Before a steward is started again where another had the home and does not answer.
const RETRY: Duration = Duration::from_millis(100);
/// How long one look at the kernel may take, so that a steward that ends is noticed.
const LOOK: Duration = Duration::from_millis(500);
/// How many of the log's last lines an error repeats.
const LOG_LINES: usize = 8;
const LOG_TAIL_BYTES: u64 = 16 << 10;

pub fn run(home: &Home, json: bool) -> Result<Report, Failure> {
    let begun = Instant::now();
    let was_running = steward::status(home).is_some();
    let mut start = if was_running {
        None
    } else {
        Some(Start::begin(home)?)
    };
    let mut dots = Dots::new(!json && !was_running);
    let kernel = loop {
        if let Some(kernel) = ready(home) {
            break kernel;
        }
        if let Some(start) = &mut start {
            start.check(home)?;
        }
        if let Some(failure) = refused(home) {
            dots.end();
            return Err(failure);
        }
        if begun.elapsed() > DEADLINE {
            dots.end();
            return Err(late(home));
        }
        dots.tick();
        sleep(PAUSE);
    };
    dots.end();
    let elapsed_ms = begun.elapsed().as_millis() as u64;
    let document = json!({
        "ok": true, "was_running": was_running, "home": home.path().display().to_string(),
        "kernel_pid": kernel.pid, "elapsed_ms": elapsed_ms,
    });
    let text = match was_running {
        true => format!(
            "already running at {} (kernel {})",
            home.path().display(),
            kernel.pid
        ),
        false => format!(
            "running at {} (kernel {}, ready after {elapsed_ms} ms)",
            home.path().display(),
            kernel.pid
        ),
    };
    Ok(Report::answered(document, text))
}

/// The kernel that the steward supervises, once both answer.
fn ready(home: &Home) -> Option<KernelStatus> {
    let steward = steward::status(home)?;
    let supervised = steward::kernel_plank(&steward)?.pid?;
    status::kernel(home, LOOK)
        .ok()
        .filter(|kernel| kernel.pid == supervised)
}

/// The kernel's own refusal of its home or image: waiting would not help.
fn refused(home: &Home) -> Option<Failure> {
    let steward = steward::status(home)?;
    let plank = steward::kernel_plank(&steward)?;
    let ended = format!("exit code {} ", exit::UNUSABLE);
    if !plank.last_exit.starts_with(&ended) {
        return None;
    }
    let log = home.logs().join("kernel.log");
    let why = tail(&log, LOG_LINES)
        .into_iter()
        .rev()
        .find(|line| line.contains(" ERROR "))
        .unwrap_or_else(|| format!("see {}", log.display()));
    Some(Failure::start(
        format!(
            "the kernel refuses this home: {}; mend it (the steward goes on trying) or end it by `batos down`",
            why.trim()
        ),
        exit::UNUSABLE,
    ))
}

fn late(home: &Home) -> Failure {
    let state = steward::status(home)
        .as_ref()
        .and_then(steward::kernel_plank)
        .map(|plank| format!(" (the kernel is {}; last end: {})", plank.state, plank.last_exit))
        .unwrap_or_default();
    Failure::NoKernel(format!(
        "the kernel did not answer within {} s{state}; see {} and the other logs beside it:\n{}",
        DEADLINE.as_secs(),
        log_path(home).display(),
        log_tail(home)
    ))
}

/// A steward that was started and is not known to serve yet.
struct Start {
    steward: Child,
    /// The steward ended because another `up` won; that one's steward is waited for.
    is_beaten: bool,
}

impl Start {
    fn begin(home: &Home) -> Result<Start, Failure> {
        let program = program()?;
        let log = open_log(home)?;
        let err = log
            .try_clone()
            .map_err(|error| Failure::start(format!("cannot use the log: {error}"), exit::ERROR))?;
        // The steward leaves this session by itself (`setsid`), so no process group is made for it here.
        let spawned = Command::new(&program)
            .arg("--home")
            .arg(home.path())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(err)
            .spawn();
        let steward = spawned.map_err(|error| {
            Failure::start(
                format!("cannot start {}: {error}", program.display()),
                exit::ERROR,
            )
        })?;
        Ok(Start {
            steward,
            is_beaten: false,
        })
    }

    /// Fails when the steward has ended for a reason of its own.
    fn check(&mut self, home: &Home) -> Result<(), Failure> {
        if self.is_beaten {
            // The winner may have been a steward that was just being killed: then nobody answers, and it is tried again.
            if steward::status(home).is_none() {
                sleep(RETRY);
                *self = Start::begin(home)?;
            }
            return Ok(());
        }
        match self.steward.try_wait() {
            Ok(Some(ended)) if ended.code() == Some(i32::from(exit::IN_USE)) => self.is_beaten = true,
            Ok(Some(ended)) => return Err(ended_early(home, ended)),
            Ok(None) | Err(_) => {}
        }
        Ok(())
    }
}

fn ended_early(home: &Home, ended: ExitStatus) -> Failure {
    let code = ended.code().and_then(|code| u8::try_from(code).ok());
    let (what, exit) = match code {
        Some(exit::UNUSABLE) => (
            "the home cannot be used; name another by --home or mend it",
            exit::UNUSABLE,
        ),
        Some(exit::CONFIGURATION) => ("steward.toml is wrong; correct it", exit::CONFIGURATION),
        _ => ("this is not expected", exit::ERROR),
    };
    Failure::start(
        format!(
            "the steward ended at once ({ended}): {what}. The end of {}:\n{}",
            log_path(home).display(),
            log_tail(home)
        ),
        exit,
    )
}

/// The steward beside this program.
fn program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().and_then(std::fs::canonicalize);
    let own = own.map_err(|error| {
        Failure::start(
            format!("where this program lies is unknown: {error}"),
            exit::ERROR,
        )
    })?;
    let program = own.with_file_name("steward");
    match program.is_file() {
        true => Ok(program),
        false => Err(Failure::start(
            format!(
                "{} is missing; build all programs (./scripts/run does)",
                program.display()
            ),
            exit::ERROR,
        )),
    }
}

/// The log that catches what the steward says before it has its own.
fn open_log(home: &Home) -> Result<File, Failure> {
    let unusable = |doing: &str, path: &Path, error: io::Error| {
        let message = format!(
            "{doing} {}: {error}; make it usable or name another home by --home",
            path.display()
        );
        Failure::start(message, exit::UNUSABLE)
    };
    let logs = home.logs();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&logs);
    made.map_err(|error| unusable("cannot make the folder", &logs, error))?;
    let path = log_path(home);
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path);
    opened.map_err(|error| unusable("cannot write", &path, error))
}

fn log_path(home: &Home) -> PathBuf {
    home.logs().join("steward.log")
}

fn log_tail(home: &Home) -> String {
    let lines = tail(&log_path(home), LOG_LINES);
    let indented: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
    indented.join("\n")
}

/// The last lines of a log.
fn tail(path: &Path, count: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..].iter().map(|line| (*line).to_owned()).collect()
}

/// Signs of life on a terminal while a start takes longer than a blink.
struct Dots {
    is_shown: bool,
    is_begun: bool,
    next: Instant,
}

impl Dots {
    fn new(is_wanted: bool) -> Dots {
        let is_shown = is_wanted && io::stderr().is_terminal();
        Dots {
            is_shown,
            is_begun: false,
            next: Instant::now() + Duration::from_millis(300),
        }
    }

    fn tick(&mut self) {
        if !self.is_shown || Instant::now() < self.next {
            return;
        }
        eprint!("{}", if self.is_begun { "." } else { "starting " });
        let _ = io::stderr().flush();
        self.is_begun = true;
        self.next = Instant::now() + Duration::from_millis(500);
    }

    fn end(&mut self) {
        if self.is_begun {
            eprintln!();
            self.is_begun = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_is_a_file_is_unusable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        let home = Home::resolve(Some(&path)).unwrap();
        let failure = open_log(&home).unwrap_err();
        assert_eq!(failure.exit_code(), exit::UNUSABLE);
        assert!(failure.to_string().contains("--home"), "{failure}");
    }

    #[test]
    fn the_end_of_the_log_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        assert_eq!(log_tail(&home), "");
        let mut log = open_log(&home).unwrap();
        (0..5000).for_each(|n| writeln!(log, "line {n}").unwrap());
        let tail = log_tail(&home);
        assert_eq!(
            (tail.lines().count(), tail.lines().last()),
            (LOG_LINES, Some("  line 4999"))
        );
    }
}
