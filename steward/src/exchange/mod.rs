//! One inference-worker takes over from another, with another program or another model: the new one is loaded aside and tried, then serves at the
//! same socket while the old one finishes what it has begun. Told in `docs/handover.md`, "Inference-workers".
//!
//! - [`errand`]: what workers are asked, on threads. This file: the states.

mod errand;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use shared::home::Home;
use shared::inference::Figures;
use tracing::{info, warn};

pub use errand::Done;

use crate::change::{Course, End, Failure, Limits, Means};
use crate::event::Event;
use crate::handover::Companion;
use crate::health::{self, Bounds, Health, Measured, Outcome};
use crate::plank::Plank;
use errand::{Found, Sockets, Trial};

/// For what a worker does at once.
const AT_ONCE: Duration = Duration::from_secs(2);
/// In which the old worker must have finished what it has begun, unless the instruction says otherwise.
pub const DRAIN: Duration = Duration::from_secs(120);
/// Threads have a limit of their own; this much beyond it they are given up.
const GRACE: Duration = Duration::from_secs(2);

/// An exchange in progress. The supervised worker is the old one until [`State::Probation`], then the new one.
pub struct Exchange {
    home: Home,
    events: Sender<Event>,
    limits: Limits,
    bounds: Bounds,
    /// What the new one is started with, and what the old one was.
    new: Orders,
    old: Orders,
    state: State,
    until: Instant,
    /// The errand that is waited for.
    errand: u64,
    /// The new worker, later the old one that has yielded.
    other: Option<Companion>,
    /// Whether the old worker knows how to yield.
    has_yielded: bool,
    trial: Option<Trial>,
    pub course: Course,
}

/// How a worker is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
}

enum State {
    /// The new one loads, and writes what the old one writes.
    Warming,
    /// The new one begins to serve, the old one yields.
    Switching,
    /// The new one serves and is watched.
    Probation,
    /// Well; the caller records the choice.
    Proved,
    /// The old one finishes what it has begun.
    Retiring,
    /// The old one is to serve again: first the process that has yielded, then its program anew.
    Restoring(Failure, bool),
    Over,
}

impl Exchange {
    /// Starts the new worker beside the old one.
    pub fn begin(
        home: &Home,
        new: Orders,
        worker: &Plank,
        means: Means,
        bounds: Bounds,
        now: Instant,
    ) -> Result<Exchange, Failure> {
        let Means {
            journal,
            limits,
            events,
        } = means;
        let failed = |message: String| Failure::new("standby_failed", message);
        let course = Course::begin("exchange", journal, "warming")?;
        let other = worker
            .companion(&new.program, &new.arguments)
            .map_err(|error| failed(format!("it cannot be started: {error}")))?;
        info!(pid = other.pid, program = %new.program.display(), "worker started aside");
        let mut exchange = Exchange {
            home: home.clone(),
            events,
            bounds,
            new,
            old: Orders {
                program: worker.program().to_path_buf(),
                arguments: worker.arguments().to_vec(),
            },
            state: State::Warming,
            until: now + limits.health + GRACE,
            limits,
            errand: 0,
            other: Some(other),
            has_yielded: false,
            trial: None,
            course,
        };
        let sockets = exchange.sockets(worker);
        let limit = exchange.limits.health;
        exchange
            .send(move || errand::try_out(&sockets.new, sockets.old.as_deref(), limit))
            .map_err(failed)?;
        Ok(exchange)
    }

    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Proved | State::Over => None,
            _ => Some(self.until),
        }
    }

    pub fn is_committed(&self) -> bool {
        matches!(self.state, State::Retiring)
    }

    /// An errand has ended.
    pub fn done(&mut self, done: Done, worker: &mut Plank, now: Instant) -> Option<End> {
        if done.number != self.errand {
            return None;
        }
        match (done.result, &self.state) {
            (Ok(Found::Tried(trial)), State::Warming) => self.tried(*trial, worker, now),
            (Err(message), State::Warming) => self.leave_it("warm", message),
            (Ok(Found::Switched(open)), State::Switching) => self.switched(open, worker, now),
            (Err(message), State::Switching) => self.roll_back("switch", message, worker, now),
            (Ok(Found::Watched(figures)), State::Probation) => self.watched(&figures, worker, now),
            (Err(message), State::Probation) => self.roll_back("prove", message, worker, now),
            (Ok(Found::Restored), State::Restoring(failure, false)) => {
                let failure = failure.clone();
                self.restored(failure, true, "the old worker serves again")
            }
            (Err(message), State::Restoring(failure, false)) => {
                warn!("{message}; it is started anew");
                let failure = failure.clone();
                self.restore_anew(failure, worker, now)
            }
            _ => None,
        }
    }

    /// Moves on as far as time and ended processes allow.
    pub fn advance(&mut self, worker: &mut Plank, now: Instant) -> Option<End> {
        if let Some(how) = self.other.as_mut().and_then(Companion::ended) {
            self.other = None;
            match self.state {
                State::Warming => {
                    return self.leave_it("warm", format!("it ended before it was warm: {how}"));
                }
                State::Switching => {
                    let message = format!("the new worker ended while it was to serve: {how}");
                    return self.roll_back("switch", message, worker, now);
                }
                State::Retiring => return self.retired("the old worker has finished what it had begun"),
                _ => warn!("the old worker, which had yielded, ended: {how}"),
            }
        }
        if worker.pid().is_none() && matches!(self.state, State::Probation | State::Proved) {
            let message = format!("the new worker ended: {}", worker.last_exit());
            return self.roll_back("prove", message, worker, now);
        }
        if let State::Restoring(failure, true) = &self.state
            && worker.is_ready()
        {
            let failure = failure.clone();
            return self.restored(failure, true, "the old worker was started anew and serves");
        }
        if now < self.until {
            return None;
        }
        match &self.state {
            State::Warming => self.leave_it("warm", "it was not ready in time".to_owned()),
            State::Switching => {
                self.roll_back("switch", "it did not begin to serve in time".into(), worker, now)
            }
            State::Probation => self.roll_back("prove", "it did not answer in time".into(), worker, now),
            State::Retiring => {
                warn!("the old worker has not finished in time and is killed");
                self.other = None;
                self.retired("the old worker was killed: it had not finished in time")
            }
            State::Restoring(failure, is_anew) => {
                let (failure, is_anew) = (failure.clone(), *is_anew);
                match is_anew {
                    true => self.restored(failure, false, "the old worker does not answer yet"),
                    false => self.restore_anew(failure, worker, now),
                }
            }
            State::Proved | State::Over => None,
        }
    }

    /// The choice is recorded: the old worker finishes what it has begun and ends.
    pub fn commit(&mut self, now: Instant) {
        if let Some(old) = &self.other {
            old.ask_to_end();
        }
        self.state = State::Retiring;
        self.until = now + self.limits.stop;
        if self.other.is_none() {
            self.until = now;
        }
    }

    /// Gives the new worker up after all.
    pub fn revert(&mut self, failure: Failure, worker: &mut Plank, now: Instant) -> Option<End> {
        self.roll_back_for("choose", failure, worker, now)
    }

    /// The steward is to stop: the supervised worker is stopped by the supervisor, the other one here.
    pub fn abandon(&mut self, worker: &mut Plank) {
        if !self.is_committed() {
            worker.set_program(self.old.program.clone());
            worker.set_arguments(self.old.arguments.clone());
        }
        self.other = None;
        self.state = State::Over;
    }

    fn tried(&mut self, trial: Trial, worker: &Plank, now: Instant) -> Option<End> {
        self.course
            .taken("warm", true, format!("the new worker has {}", trial.model));
        self.trial = Some(trial);
        if let Err(message) = self.course.note("switching") {
            return self.leave_it_for("switch", "not_recorded", message);
        }
        let sockets = self.sockets(worker);
        let begun = self.send(move || errand::switch(&sockets.new, sockets.old.as_deref(), AT_ONCE));
        if let Err(message) = begun {
            return self.leave_it("switch", message);
        }
        self.state = State::Switching;
        self.until = now + 3 * AT_ONCE;
        None
    }

    fn switched(&mut self, open: Option<u32>, worker: &mut Plank, now: Instant) -> Option<End> {
        let Some(new) = self.other.take() else {
            return self.roll_back("switch", "the new worker ended".into(), worker, now);
        };
        let told = match open {
            Some(open) => format!("the old worker finishes {open} conversations"),
            None => "no old worker that knows how to yield".to_owned(),
        };
        self.course.taken("switch", true, told);
        self.has_yielded = open.is_some();
        let pid = new.pid;
        self.other = worker.exchange(new);
        worker.set_arguments(self.new.arguments.clone());
        if !self.has_yielded
            && let Some(old) = self.other.take()
        {
            // It would go on taking what comes.
            drop(old);
        }
        let _ = self.course.note("probation");
        let socket = self.home.inference_own_socket(pid.unsigned_abs());
        let (probation, answer) = (self.limits.handover.probation, self.limits.handover.answer);
        let has_model = self.trial.as_ref().is_some_and(|trial| trial.new.is_some());
        let begun = self.send(move || errand::watch(&socket, has_model, probation, answer));
        if let Err(message) = begun {
            return self.roll_back("prove", message, worker, now);
        }
        self.state = State::Probation;
        self.until = now + 2 * probation.max(answer) + GRACE;
        None
    }

    fn watched(&mut self, figures: &Figures, worker: &mut Plank, now: Instant) -> Option<End> {
        let health = self.judged(figures, worker);
        let (answers, as_before) = ("the new worker answers", "as well as the old one");
        if health.outcome == Outcome::Unhealthy {
            let told = health.told(answers, as_before);
            self.course.judged(health);
            return self.roll_back("prove", told, worker, now);
        }
        self.state = State::Proved;
        self.course.proved(health, answers, as_before)
    }

    fn judged(&self, figures: &Figures, worker: &Plank) -> Health {
        let trial = self.trial.clone();
        let (new, old, before) = match trial {
            Some(trial) => (trial.new, trial.old, trial.figures),
            None => (None, None, None),
        };
        let pid = |pid: Option<i32>| pid.map_or(0, i32::unsigned_abs);
        let is_program = self.new.program != self.old.program;
        let of = |figures: &Figures, written: &Option<errand::Written>, pid: u32| Measured {
            requests: figures.stopped + figures.full + figures.late + figures.failed,
            failed: figures.failed,
            // One of each is all there is; both wrote as many tokens.
            p50_us: None,
            p99_us: None,
            probes: u64::from(written.is_some()),
            probe_p50_us: written
                .as_ref()
                .map(|written| written.took.as_micros() as u64 / u64::from(written.tokens.max(1))),
            // Another model has another size.
            resident_mib: match is_program {
                true => health::resident_mib(pid),
                false => 0,
            },
        };
        let old_pid = self.other.as_ref().map(|old| old.pid);
        let mut health = health::judge(
            of(&before.unwrap_or_default(), &old, pid(old_pid)),
            of(figures, &new, pid(worker.pid())),
            &self.bounds,
            health::Respect::Lasting,
        );
        if is_program
            && let (Some(old), Some(new)) = (&old, &new)
            && old.text != new.text
        {
            health.outcome = health.outcome.max(Outcome::Degraded);
            health.remarks.push(format!(
                "asked for the same, it writes {:?}, and the old one wrote {:?}",
                new.text, old.text
            ));
        }
        health
    }

    /// Nothing was touched: the new worker goes.
    fn leave_it(&mut self, step: &'static str, message: String) -> Option<End> {
        self.leave_it_for(step, "standby_failed", message)
    }

    fn leave_it_for(&mut self, step: &'static str, reason: &'static str, message: String) -> Option<End> {
        self.other = None;
        self.state = State::Over;
        self.course.left(step, Failure { reason, message })
    }

    fn roll_back(
        &mut self,
        step: &'static str,
        message: String,
        worker: &mut Plank,
        now: Instant,
    ) -> Option<End> {
        let reason = "health_failed";
        self.roll_back_for(step, Failure { reason, message }, worker, now)
    }

    /// The new worker goes; the old one serves again.
    fn roll_back_for(
        &mut self,
        step: &'static str,
        failure: Failure,
        worker: &mut Plank,
        now: Instant,
    ) -> Option<End> {
        self.course.reverting(step, &failure, "the old worker is");
        let old = match self.state {
            // The supervised one is the old one still; it may have yielded.
            State::Switching => {
                self.other = None;
                worker.pid()
            }
            _ => match self.other.take() {
                Some(old) => {
                    worker.kill_now();
                    let pid = old.pid;
                    worker.exchange(old);
                    worker.set_arguments(self.old.arguments.clone());
                    Some(pid)
                }
                None => None,
            },
        };
        let Some(old) = old else {
            return self.restore_anew(failure, worker, now);
        };
        let socket = self.home.inference_own_socket(old.unsigned_abs());
        match self.send(move || errand::restore(&socket, AT_ONCE)) {
            Ok(()) => {
                self.state = State::Restoring(failure, false);
                self.until = now + AT_ONCE + GRACE;
                None
            }
            Err(message) => {
                warn!("{message}");
                self.restore_anew(failure, worker, now)
            }
        }
    }

    fn restore_anew(&mut self, failure: Failure, worker: &mut Plank, now: Instant) -> Option<End> {
        worker.kill_now();
        worker.set_program(self.old.program.clone());
        worker.set_arguments(self.old.arguments.clone());
        worker.start(now);
        self.state = State::Restoring(failure, true);
        self.until = now + self.limits.health;
        None
    }

    fn restored(&mut self, failure: Failure, ok: bool, message: &str) -> Option<End> {
        self.state = State::Over;
        self.course.restored(failure, ok, message)
    }

    fn retired(&mut self, message: &str) -> Option<End> {
        self.course.taken("retire", true, message.to_owned());
        self.state = State::Over;
        Some(End::Committed)
    }

    /// The new worker's socket is that of the companion while there is one that has not served.
    fn sockets(&self, worker: &Plank) -> Sockets {
        let own = |pid: i32| self.home.inference_own_socket(pid.unsigned_abs());
        Sockets {
            new: self.other.as_ref().map(|new| own(new.pid)).unwrap_or_default(),
            old: worker.pid().filter(|_| worker.is_ready()).map(own),
        }
    }

    fn send(&mut self, work: impl FnOnce() -> Result<Found, String> + Send + 'static) -> Result<(), String> {
        let begun = errand::begin(self.events.clone(), work);
        self.errand = begun.map_err(|error| format!("no thread could be started: {error}"))?;
        Ok(())
    }
}
