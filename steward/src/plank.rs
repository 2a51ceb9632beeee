//! One supervised process and the phases of its life.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shared::control::PlankStatus;
use shared::handover::{FromKernel, ToKernel};
use shared::home::DOUBT_INDEX;
use tracing::{error, info, warn};

use crate::backoff::{Backoff, jitter};
use crate::handover::{Companion, Control, Said};
use crate::process::Identity;
use crate::running::Running;
use crate::silence::Silence;
use crate::spawn::{self, Launch};

/// In the environment of a plank: what its start is known by.
pub const NONCE: &str = "BATOS_NONCE";
/// The last argument of a process that was started beside the supervised one.
pub const STANDBY: &str = "--standby";

/// A process that is kept running.
pub struct Plank {
    pub name: &'static str,
    launch: Launch,
    backoff: Backoff,
    stop_deadline: Duration,
    silence: Silence,
    /// Why it was killed, where that was not asked for.
    blame: Option<String>,
    phase: Phase,
    /// The process, in those phases that have one.
    running: Option<Running>,
    /// Drawn for its start, so that a later steward knows it again.
    nonce: String,
    /// Starts after the first.
    restarts: u32,
    started_once: bool,
    /// Why it last ended, or what is known to be missing.
    last_exit: String,
    /// Whether it was ended by a fault in memory and has not been ready since.
    has_crashed: bool,
    /// The channel to the running process, of a kernel.
    control: Option<Control>,
    /// Whether that process has greeted on it.
    has_greeted: bool,
}

enum Phase {
    /// Not running and not to be started.
    Down,
    /// Not running, to be started then.
    Waiting {
        until: Instant,
        is_crash_loop: bool,
    },
    /// Running; has not answered yet.
    Starting {
        pid: i32,
    },
    Ready {
        pid: i32,
        since: Instant,
    },
    /// Asked to end; killed when that passes, once.
    Stopping {
        pid: i32,
        kill_at: Option<Instant>,
    },
}

impl Plank {
    /// One that does not answer for `hang` is killed.
    pub fn new(
        name: &'static str,
        launch: Launch,
        backoff: Backoff,
        stop_deadline: Duration,
        hang: Option<Duration>,
    ) -> Plank {
        Plank {
            name,
            launch,
            backoff,
            stop_deadline,
            silence: Silence::new(hang, Instant::now()),
            blame: None,
            phase: Phase::Down,
            running: None,
            nonce: String::new(),
            restarts: 0,
            started_once: false,
            last_exit: String::new(),
            has_crashed: false,
            control: None,
            has_greeted: false,
        }
    }

    /// Says something about a plank that has not ended yet, in the place where its status tells of its last end.
    pub fn remark(&mut self, remark: String) {
        self.last_exit = remark;
    }

    pub fn program(&self) -> &Path {
        &self.launch.program
    }

    /// Changes what the next start runs, and forgets how the earlier program fared.
    pub fn set_program(&mut self, program: PathBuf) {
        self.launch.program = program;
        self.backoff.reset();
    }

    pub fn pid(&self) -> Option<i32> {
        match self.phase {
            Phase::Starting { pid } | Phase::Ready { pid, .. } | Phase::Stopping { pid, .. } => Some(pid),
            Phase::Down | Phase::Waiting { .. } => None,
        }
    }

    /// Whether an answer is of the process that runs: an earlier one may have given it.
    pub fn is_process(&self, pid: u32) -> bool {
        self.pid().and_then(|own| u32::try_from(own).ok()) == Some(pid)
    }

    pub fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Down)
    }

    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    pub fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. })
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    pub fn last_exit(&self) -> &str {
        &self.last_exit
    }

    /// Legal when it is not running; does nothing otherwise.
    pub fn start(&mut self, now: Instant) {
        if self.pid().is_some() {
            return;
        }
        let of_one_start = [DOUBT_INDEX, NONCE];
        self.launch
            .environment
            .retain(|(name, _)| !of_one_start.contains(&name.as_str()));
        self.nonce = spawn::nonce();
        self.launch.environment.push((NONCE.into(), self.nonce.clone()));
        if self.has_crashed {
            // Only the kernel has an index; to another plank it means nothing.
            self.launch.environment.push((DOUBT_INDEX.into(), "1".into()));
        }
        match spawn::plank(&self.launch) {
            Ok((pid, control)) => {
                info!(plank = self.name, pid, program = %self.launch.program.display(), "started");
                self.phase = Phase::Starting { pid };
                self.running = Some(Running::child(pid));
                self.control = control;
                self.has_greeted = false;
                self.restarts += u32::from(self.started_once);
                self.started_once = true;
            }
            Err(cause) => {
                self.last_exit = format!("cannot be started: {}: {cause}", self.launch.program.display());
                self.wait(now, None);
            }
        }
    }

    /// Asks it to end and stay down. Killed when it has not ended within the deadline.
    pub fn stop(&mut self, now: Instant) {
        self.stop_within(now, self.stop_deadline);
    }

    /// The same with a deadline of the caller.
    pub fn stop_within(&mut self, now: Instant, deadline: Duration) {
        match self.phase {
            Phase::Starting { pid } | Phase::Ready { pid, .. } => {
                info!(plank = self.name, pid, "asked to end");
                self.running.iter().for_each(Running::ask_to_end);
                self.phase = Phase::Stopping {
                    pid,
                    kill_at: Some(now + deadline),
                };
            }
            Phase::Waiting { .. } => self.phase = Phase::Down,
            Phase::Stopping { .. } | Phase::Down => {}
        }
    }

    /// It answered.
    pub fn answered(&mut self, now: Instant) {
        self.silence.end();
        if let Phase::Starting { pid } = self.phase {
            info!(plank = self.name, pid, "ready");
            self.has_crashed = false;
            self.phase = Phase::Ready { pid, since: now };
        }
    }

    /// Whether one that must answer, since it was ready, is to be asked now. Who starts may take its time: a large image, a
    /// large model.
    pub fn ask(&mut self, now: Instant) -> bool {
        self.must_answer() && self.silence.ask(now)
    }

    pub fn allow_silence(&mut self, now: Instant) {
        self.silence.allow(now);
    }

    fn must_answer(&self) -> bool {
        self.is_ready() || (self.is_starting() && self.is_adopted())
    }

    /// Does what is due. True when a process was started.
    pub fn tick(&mut self, now: Instant) -> bool {
        if !self.must_answer() {
            self.silence.end();
        }
        if let Some(silent) = self.silence.too_long(now) {
            let seconds = silent.as_secs_f32();
            let blame = format!("did not answer for {seconds:.1} s (supervision.hang_ms)");
            error!(plank = self.name, pid = self.pid(), "{blame} and is killed");
            self.blame = Some(blame);
            self.silence.end();
            self.running.iter().for_each(Running::kill);
            return false;
        }
        match self.phase {
            Phase::Waiting { until, .. } if until <= now => {
                self.start(now);
                self.is_starting()
            }
            Phase::Stopping {
                pid,
                kill_at: Some(at),
            } if at <= now => {
                warn!(plank = self.name, pid, "has not ended in time and is killed");
                self.running.iter().for_each(Running::kill);
                self.phase = Phase::Stopping { pid, kill_at: None };
                false
            }
            _ => false,
        }
    }

    /// When [`Plank::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until, .. } => Some(until),
            Phase::Stopping { kill_at, .. } => kill_at,
            _ if self.must_answer() => self.silence.due(),
            _ => None,
        }
    }

    /// Takes notice of its end, if it has ended.
    pub fn reap(&mut self, now: Instant) {
        let Some(pid) = self.pid() else { return };
        let Some(end) = self.running.as_ref().and_then(Running::ended) else {
            return;
        };
        self.running = None;
        self.has_crashed |= end.is_crash;
        self.last_exit = match self.blame.take() {
            Some(blame) => format!("{blame}; {}", end.how),
            None => end.how,
        };
        self.control = None;
        match self.phase {
            Phase::Stopping { .. } => {
                info!(plank = self.name, pid, how = self.last_exit, "ended as asked");
                self.phase = Phase::Down;
            }
            Phase::Ready { since, .. } => self.wait(now, Some(now.saturating_duration_since(since))),
            _ => self.wait(now, None),
        }
    }

    /// What a kernel said by its control channel, or by another one.
    pub fn heard(&mut self, said: &Said, now: Instant) {
        if self
            .control
            .as_ref()
            .is_none_or(|control| control.id() != said.channel)
        {
            return;
        }
        match said.message {
            Some(FromKernel::Hello { .. }) => self.has_greeted = true,
            Some(FromKernel::Serving { .. }) => self.answered(now),
            _ => {}
        }
    }

    pub fn control(&self) -> Option<&Control> {
        self.control.as_ref()
    }

    /// True when it was said to the running kernel.
    pub fn say(&self, message: &ToKernel) -> bool {
        self.control.as_ref().is_some_and(|control| control.say(message))
    }

    /// Whether it serves and knows how to hand over.
    pub fn can_hand_over(&self) -> bool {
        self.is_ready() && self.has_greeted
    }

    /// Whether an earlier steward started it.
    pub fn is_adopted(&self) -> bool {
        self.running.as_ref().is_some_and(Running::is_adopted)
    }

    pub fn log(&self) -> &Path {
        &self.launch.log
    }

    /// Another process of the same kind, beside this one, that stands by.
    pub fn companion(&self, program: &Path, arguments: &[OsString]) -> std::io::Result<Companion> {
        let nonce = spawn::nonce();
        let mut launch = self.launch.beside(program, arguments)?;
        launch.arguments.push(STANDBY.into());
        launch.environment.retain(|(name, _)| name != NONCE);
        launch.environment.push((NONCE.into(), nonce.clone()));
        let (pid, control) = spawn::plank(&launch)?;
        let process = Running::child(pid);
        Ok(Companion::new(process, nonce, program.to_path_buf(), control))
    }

    pub fn arguments(&self) -> &[OsString] {
        &self.launch.arguments
    }

    /// Changes what the next start is told.
    pub fn set_arguments(&mut self, arguments: Vec<OsString>) {
        self.launch.arguments = arguments;
    }

    /// Supervises another process from now on, which has not answered yet; answers the one until now, if it runs.
    pub fn exchange(&mut self, other: Companion) -> Option<Companion> {
        let (former, control) = (self.running.take(), self.control.take());
        let nonce = std::mem::take(&mut self.nonce);
        let former =
            former.map(|process| Companion::new(process, nonce, self.launch.program.clone(), control));
        let (process, nonce, program, control) = other.release();
        let pid = process.pid();
        self.set_program(program);
        self.running = Some(process);
        self.nonce = nonce;
        self.has_greeted = control.is_some();
        self.control = control;
        self.phase = Phase::Starting { pid };
        former
    }

    /// What it said before does not count: it is to say anew that it serves.
    pub fn await_answer(&mut self) {
        if let Phase::Ready { pid, .. } = self.phase {
            self.phase = Phase::Starting { pid };
        }
    }

    /// Ends it at once and keeps it down.
    pub fn kill_now(&mut self) {
        if let Some(process) = self.running.take() {
            warn!(plank = self.name, pid = process.pid(), "is killed");
            self.last_exit = process.kill_and_reap().how;
        }
        self.control = None;
        self.phase = Phase::Down;
    }

    /// The process as it must be known to a later steward.
    pub fn identity(&self) -> Option<Identity> {
        self.pid().and_then(Identity::of)
    }

    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Supervises a process of an earlier steward from now on, instead of starting one. Legal before the first start.
    pub fn adopt(&mut self, process: Running, nonce: String, control: Option<Control>) {
        let pid = process.pid();
        info!(plank = self.name, pid, "adopted from an earlier steward");
        self.phase = Phase::Starting { pid };
        self.running = Some(process);
        self.nonce = nonce;
        self.control = control;
        self.has_greeted = false;
        self.started_once = true;
        self.last_exit = "adopted: an earlier steward started it".to_owned();
    }

    pub fn status(&self) -> PlankStatus {
        let state = match self.phase {
            Phase::Down => "stopped",
            Phase::Waiting {
                is_crash_loop: true, ..
            } => "crash_loop",
            Phase::Waiting {
                is_crash_loop: false, ..
            } => "backing_off",
            Phase::Starting { .. } => "starting",
            Phase::Ready { .. } => "ready",
            Phase::Stopping { .. } => "stopping",
        };
        PlankStatus {
            name: self.name.to_owned(),
            path: self.launch.program.display().to_string(),
            pid: self.pid().map(|pid| pid as u32),
            state: state.to_owned(),
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
        }
    }

    fn wait(&mut self, now: Instant, ready_for: Option<Duration>) {
        let pause = self.backoff.pause(now, ready_for, jitter());
        let (plank, how, pause_ms) = (self.name, &self.last_exit, pause.length.as_millis() as u64);
        if pause.is_crash_loop {
            error!(plank, how, pause_ms, "keeps ending");
        } else {
            warn!(plank, how, pause_ms, "ended");
        }
        self.phase = Phase::Waiting {
            until: now + pause.length,
            is_crash_loop: pause.is_crash_loop,
        };
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::os::unix::net::UnixListener;
    use std::thread::sleep;

    use super::*;
    use crate::backoff::Intensity;
    use crate::spawn::Limits;

    fn script(folder: &Path, text: &str, stop_deadline_ms: u64) -> Plank {
        crate::listener::reserve_descriptors().unwrap();
        let launch = Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), text.into()],
            environment: Vec::new(),
            listener: UnixListener::bind(folder.join("socket")).unwrap(),
            log: folder.join("plank.log"),
            events: None,
            limits: Limits::default(),
            group: None,
        };
        let intensity = Intensity {
            ends: 1000,
            window: Duration::from_secs(60),
        };
        let backoff = Backoff::new(3, Duration::from_millis(200), intensity);
        let hang = Some(Duration::from_millis(300));
        Plank::new(
            "kernel",
            launch,
            backoff,
            Duration::from_millis(stop_deadline_ms),
            hang,
        )
    }

    fn until(plank: &mut Plank, what: impl Fn(&Plank) -> bool) {
        for _ in 0..500 {
            let now = Instant::now();
            plank.reap(now);
            if what(plank) {
                return;
            }
            plank.tick(now);
            sleep(Duration::from_millis(10));
        }
        panic!("{:?}", plank.status());
    }

    #[test]
    fn what_keeps_ending_becomes_a_crash_loop_and_is_still_tried() {
        let folder = tempfile::tempdir().unwrap();
        let mut plank = script(folder.path(), "echo trying; exit 5", 1000);
        plank.start(Instant::now());
        until(&mut plank, |plank| plank.status().state == "crash_loop");
        let restarts = plank.status().restarts;
        assert!(plank.last_exit().contains("exit code 5"));
        until(&mut plank, |plank| plank.status().restarts > restarts);
        let log = std::fs::read_to_string(folder.path().join("plank.log")).unwrap();
        assert!(log.lines().count() >= 3 && log.starts_with("trying"));
    }

    #[test]
    fn what_is_killed_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut plank = script(folder.path(), "exec sleep 60", 1000);
        plank.start(Instant::now());
        plank.answered(Instant::now());
        let first = plank.pid().unwrap();
        kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
        until(&mut plank, |plank| {
            plank.is_starting() && plank.pid() != Some(first)
        });
        assert_eq!(plank.last_exit(), "killed by SIGKILL");
        plank.stop(Instant::now());
        until(&mut plank, Plank::is_down);
        assert_eq!(plank.last_exit(), "killed by SIGTERM");
    }

    #[test]
    fn what_does_not_answer_is_killed_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut plank = script(folder.path(), "exec sleep 60", 1000);
        plank.start(Instant::now());
        let first = plank.pid();
        assert!(!plank.ask(Instant::now()), "who starts is not asked");
        plank.answered(Instant::now());
        assert!(plank.ask(Instant::now()));
        until(&mut plank, |plank| plank.is_starting() && plank.pid() != first);
        let why = plank.last_exit();
        assert!(
            why.contains("did not answer for 0.3 s") && why.contains("SIGKILL"),
            "{why}"
        );
    }

    /// A kernel that a fault in memory has ended is started with a doubt about its index, until one is ready.
    #[test]
    fn a_crash_is_told_to_the_next_until_one_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("echo doubt=${DOUBT_INDEX}; exec sleep 60");
        let mut plank = script(folder.path(), &text, 1000);
        let log = || std::fs::read_to_string(folder.path().join("plank.log")).unwrap_or_default();
        let end = |plank: &mut Plank, signal| {
            plank.answered(Instant::now());
            kill(Pid::from_raw(plank.pid().unwrap()), signal).unwrap();
        };
        plank.start(Instant::now());
        until(&mut plank, |_| log() == "doubt=\n");
        end(&mut plank, Signal::SIGKILL);
        until(&mut plank, |_| log() == "doubt=\ndoubt=\n");
        end(&mut plank, Signal::SIGABRT);
        until(&mut plank, |_| log() == "doubt=\ndoubt=\ndoubt=1\n");
        end(&mut plank, Signal::SIGKILL);
        until(&mut plank, |_| log().ends_with("doubt=1\ndoubt=\n"));
    }

    #[test]
    fn what_does_not_end_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut plank = script(
            folder.path(),
            "trap '' TERM; echo on; while :; do sleep 0.05; done",
            100,
        );
        plank.start(Instant::now());
        while std::fs::read_to_string(folder.path().join("plank.log"))
            .unwrap_or_default()
            .is_empty()
        {
            sleep(Duration::from_millis(10));
        }
        plank.stop(Instant::now());
        until(&mut plank, Plank::is_down);
        assert_eq!(plank.last_exit(), "killed by SIGKILL");
    }

    #[test]
    fn the_listener_is_descriptor_three() {
        let folder = tempfile::tempdir().unwrap();
        let mut plank = script(folder.path(), "readlink /proc/$$/fd/3; exit 5", 100);
        plank.start(Instant::now());
        until(&mut plank, Plank::is_waiting);
        let log = std::fs::read_to_string(folder.path().join("plank.log")).unwrap();
        assert!(log.starts_with("socket:"), "{log}");
    }

    #[test]
    fn a_missing_program_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut plank = script(folder.path(), "", 100);
        plank.set_program("/no/such/kernel".into());
        plank.start(Instant::now());
        assert!(plank.is_waiting() && plank.last_exit().contains("/no/such/kernel"));
    }
}
