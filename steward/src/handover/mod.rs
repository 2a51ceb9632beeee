//! One kernel takes over from another while clients wait a moment: the switch of `docs/handover.md`, as steps between which the
//! loop runs on.
//!
//! - [`control`]: the steward's end of a kernel's control channel. [`companion`]: a kernel beside the one that is supervised.
//! - [`canary`]: the same questions to both. This file: the states, and what each happening means in each.

mod canary;
mod companion;
mod control;

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

use shared::handover::{FromKernel, PROTOCOL, ToKernel};
use shared::home::Home;
use shared::id::{Epoch, TransactionId};
use tracing::{info, warn};

pub use companion::Companion;
pub use control::{Control, Said};

use crate::change::{Course, End, Failure, Limits, Means, Probation};
use crate::event::Event;
use crate::health::{self, Bounds, Health, Outcome, Probe, Respect, Watch};
use crate::plank::Plank;
use crate::spawn;
use crate::staging::Staged;
use canary::Canary;

/// A handover in progress. The supervised kernel is the old one until [`State::Promoting`], then the new one.
pub struct Handover {
    limits: Limits,
    home: Home,
    staged: Staged,
    old_program: PathBuf,
    events: Sender<Event>,
    state: State,
    /// When the state's limit is over.
    until: Instant,
    /// The other kernel: the new one as a standby, later the old one that has yielded.
    other: Option<Companion>,
    /// What the old kernel said when it was prepared: the new one's epoch must be larger.
    former: Epoch,
    /// Where the image stood when the old kernel yielded.
    yielded: TransactionId,
    /// What the old kernel did just before, and what the new one does.
    old_watch: Watch,
    new_watch: Watch,
    bounds: Bounds,
    pub course: Course,
}

enum State {
    /// The old kernel freezes the index.
    Preparing,
    /// The new program looks at the image, on a thread.
    Rehearsing,
    /// The new kernel becomes warm; then both are asked the same.
    Warming(Option<Canary>),
    /// The old kernel finishes what runs.
    Yielding,
    /// The new kernel takes the image over.
    Promoting,
    /// The new kernel serves, and is watched.
    Probation(Probation),
    /// Healthy; the caller records the choice.
    Proved,
    /// The old kernel is ending.
    Retiring,
    /// The old kernel is to serve again: first the process that has yielded, then its program anew.
    Restoring {
        failure: Failure,
        is_anew: bool,
    },
    Over,
}

impl Handover {
    /// Begins, when the kernel serves and has a control channel; `None` when it must be replaced the cold way.
    pub fn begin(
        home: &Home,
        staged: &Staged,
        kernel: &Plank,
        means: Means,
        watched: (Watch, Bounds),
        now: Instant,
    ) -> Option<Handover> {
        let Means {
            journal,
            limits,
            events,
        } = means;
        if !kernel.can_hand_over() {
            return None;
        }
        // Unwritten, it is the cold way's to fail.
        let course = Course::begin("handover", journal, "preparing").ok()?;
        if !kernel.say(&ToKernel::Prepare) {
            return None;
        }
        Some(Handover {
            until: now + limits.handover.prepare,
            limits,
            home: home.clone(),
            staged: staged.clone(),
            old_program: kernel.program().to_path_buf(),
            events,
            state: State::Preparing,
            other: None,
            former: Epoch(0),
            yielded: TransactionId(0),
            old_watch: watched.0,
            new_watch: Watch::default(),
            bounds: watched.1,
            course,
        })
    }

    /// When [`Handover::advance`] has something to do, events aside.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Proved | State::Over => None,
            _ => Some(self.until),
        }
    }

    /// Whether the kernel is to be asked for its status.
    pub fn is_watching(&self) -> bool {
        matches!(
            self.state,
            State::Preparing | State::Rehearsing | State::Warming(_) | State::Probation(_)
        )
    }

    /// A kernel said something, or its channel has ended.
    pub fn heard(&mut self, said: &Said, kernel: &mut Plank, now: Instant) -> Option<End> {
        let is_other = self
            .other
            .as_ref()
            .is_some_and(|other| other.speaks_by(said.channel));
        let is_kernel = kernel
            .control()
            .is_some_and(|control| control.id() == said.channel);
        match (&said.message, is_kernel, is_other) {
            (Some(message), true, _) => self.kernel_said(message, kernel, now),
            (Some(message), _, true) => self.other_said(message, kernel, now),
            (None, true, _) => self.kernel_ended(kernel, "its control channel ended, or made no sense", now),
            (None, _, true) => {
                let ended = self.other.as_mut().and_then(Companion::ended);
                let how = ended.unwrap_or_else(|| "its control channel ended, or made no sense".to_owned());
                self.other_ended(&how, kernel)
            }
            _ => None,
        }
    }

    /// The rehearsal has ended.
    pub fn rehearsed(
        &mut self,
        result: Result<String, String>,
        kernel: &mut Plank,
        now: Instant,
    ) -> Option<End> {
        if !matches!(self.state, State::Rehearsing) {
            return None;
        }
        match result {
            Ok(found) => self.course.taken("rehearse", true, found),
            Err(message) => return self.leave_it("rehearse", "rehearsal_failed", message, kernel),
        }
        if let Err(message) = self.course.note("warming") {
            return self.leave_it("warm", "not_recorded", message, kernel);
        }
        match kernel.companion(&self.staged.path, kernel.arguments()) {
            Ok(companion) => {
                info!(pid = companion.pid, program = %self.staged.path.display(), "standby started");
                self.other = Some(companion);
                self.enter(State::Warming(None), now + self.limits.health);
                None
            }
            Err(error) => self.leave_it(
                "warm",
                "standby_failed",
                format!("it cannot be started: {error}"),
                kernel,
            ),
        }
    }

    /// The serving kernel was asked for its figures.
    pub fn probed(&mut self, probe: &Probe, kernel: &mut Plank, now: Instant) -> Option<End> {
        let status = &probe.figures;
        let probation = match &mut self.state {
            State::Preparing | State::Rehearsing | State::Warming(_) => {
                self.old_watch.note(probe);
                return None;
            }
            State::Probation(probation) if probation.concerns(probe.asked) => probation,
            _ => return None,
        };
        let fault = if !kernel.is_process(status.pid) {
            format!("another process, {}, answers", status.pid)
        } else if status.epoch <= self.former {
            format!(
                "it says that its epoch is {}, after {}",
                status.epoch.0, self.former.0
            )
        } else if status.last_transaction < self.yielded {
            format!(
                "it knows no transaction after {}, and there is {}",
                status.last_transaction.0, self.yielded.0
            )
        } else {
            probation.answered(probe.asked);
            self.until = now + self.limits.handover.answer;
            self.new_watch.note(probe);
            let health = self.judged(Respect::Lasting);
            if health.outcome == Outcome::Unhealthy {
                return self.unhealthy(health, kernel, now);
            }
            return None;
        };
        self.roll_back(
            "prove",
            format!("the new kernel answers wrongly: {fault}"),
            kernel,
            now,
        )
    }

    /// Moves on as far as time and ended processes allow.
    pub fn advance(&mut self, kernel: &mut Plank, now: Instant) -> Option<End> {
        if let Some(ended) = self.other.as_mut().and_then(Companion::ended) {
            return self.other_ended(&ended, kernel);
        }
        if kernel.pid().is_none() {
            let how = kernel.last_exit().to_owned();
            if let Some(end) = self.kernel_ended(kernel, &how, now) {
                return Some(end);
            }
        }
        if let State::Probation(probation) = &self.state
            && probation.is_passed()
            && now < self.until
        {
            let health = self.judged(Respect::All);
            if health.outcome == Outcome::Unhealthy {
                return self.unhealthy(health, kernel, now);
            }
            self.state = State::Proved;
            return self
                .course
                .proved(health, "the new kernel answers", "as well as the old one");
        }
        if let State::Restoring { failure, .. } = &self.state
            && kernel.is_ready()
        {
            let failure = failure.clone();
            kernel.say(&ToKernel::Settle);
            return self.restored(failure, true, "the old kernel serves again");
        }
        match now >= self.until {
            true => self.too_late(kernel, now),
            false => None,
        }
    }

    /// The choice is recorded: the old kernel ends.
    pub fn commit(&mut self, kernel: &Plank, now: Instant) {
        kernel.say(&ToKernel::Settle);
        if let Some(old) = &self.other {
            old.ask_to_end();
        }
        self.enter(State::Retiring, now + self.limits.stop);
    }

    /// Gives the new kernel up after all.
    pub fn revert(&mut self, failure: Failure, kernel: &mut Plank, now: Instant) -> Option<End> {
        self.roll_back_for("choose", failure, kernel, now)
    }

    /// Whether the new kernel is the chosen one.
    pub fn is_committed(&self) -> bool {
        matches!(self.state, State::Retiring)
    }

    /// The steward is to stop: whichever kernel is supervised is stopped by the supervisor, the other one here.
    pub fn abandon(&mut self) {
        self.other = None;
        self.state = State::Over;
    }

    fn kernel_said(&mut self, message: &FromKernel, kernel: &mut Plank, now: Instant) -> Option<End> {
        match (message, &mut self.state) {
            (FromKernel::Prepared { epoch, last }, State::Preparing) => {
                self.former = *epoch;
                self.course.taken(
                    "prepare",
                    true,
                    format!("the index is up to date at transaction {}", last.0),
                );
                self.rehearse(kernel, now)
            }
            (FromKernel::Refused { message }, State::Preparing) => {
                let message = format!("the old kernel cannot hand over: {message}");
                self.leave_it("prepare", "not_prepared", message, kernel)
            }
            (FromKernel::Answered { question, result }, State::Warming(Some(canary))) => {
                canary.old_said(*question, result.clone());
                self.compare(kernel, now)
            }
            (
                FromKernel::Yielded {
                    last,
                    finished,
                    parked,
                },
                State::Yielding,
            ) => {
                self.yielded = *last;
                let message = format!("the old kernel finished {finished} requests and parked {parked}");
                self.promote(true, message, kernel, now)
            }
            (FromKernel::Refused { message }, State::Yielding) => {
                let message = format!("the old kernel does not yield: {message}");
                self.leave_it("yield", "not_prepared", message, kernel)
            }
            (FromKernel::Serving { epoch, last }, State::Promoting) => {
                if *epoch <= self.former || *last < self.yielded {
                    let message = format!(
                        "the new kernel says that it serves in epoch {} at transaction {}, after epoch {} and transaction {}",
                        epoch.0, last.0, self.former.0, self.yielded.0
                    );
                    return self.roll_back("promote", message, kernel, now);
                }
                self.course.taken(
                    "promote",
                    true,
                    format!("the new kernel serves in epoch {}", epoch.0),
                );
                let _ = self.course.note("probation");
                let probation = Probation::new(now, self.limits.handover.probation);
                self.enter(State::Probation(probation), now + self.limits.handover.answer);
                None
            }
            (FromKernel::Refused { message }, State::Promoting) => {
                let message = format!("the new kernel does not take over: {message}");
                self.roll_back("promote", message, kernel, now)
            }
            _ => None,
        }
    }

    fn other_said(&mut self, message: &FromKernel, kernel: &mut Plank, now: Instant) -> Option<End> {
        match (message, &mut self.state) {
            (FromKernel::Hello { protocol, pid, .. }, State::Warming(_)) => {
                let expected = self
                    .other
                    .as_ref()
                    .and_then(|other| u32::try_from(other.pid).ok());
                if *protocol != PROTOCOL || Some(*pid) != expected {
                    let message = format!("it greets as process {pid} with protocol {protocol}");
                    return self.leave_it("warm", "standby_failed", message, kernel);
                }
                None
            }
            (FromKernel::Warm { last }, State::Warming(None)) => {
                self.course.taken(
                    "warm",
                    true,
                    format!("the new kernel follows at transaction {}", last.0),
                );
                let (canary, questions) = Canary::begin();
                for question in questions {
                    kernel.say(&question);
                    if let Some(new) = &self.other {
                        new.say(&question);
                    }
                }
                self.state = State::Warming(Some(canary));
                None
            }
            (FromKernel::Answered { question, result }, State::Warming(Some(canary))) => {
                canary.new_said(*question, result.clone());
                self.compare(kernel, now)
            }
            (FromKernel::Refused { message }, State::Warming(_)) => {
                let message = message.clone();
                self.leave_it("warm", "standby_failed", message, kernel)
            }
            _ => None,
        }
    }

    /// The supervised kernel is gone, or as good as that.
    fn kernel_ended(&mut self, kernel: &mut Plank, how: &str, now: Instant) -> Option<End> {
        match self.state {
            State::Preparing | State::Rehearsing | State::Warming(_) => {
                let message = format!("the old kernel ended in the middle: {how}");
                self.leave_it("prepare", "not_prepared", message, kernel)
            }
            State::Yielding => {
                kernel.kill_now();
                let message = format!("the old kernel ended before it had yielded: {how}");
                self.promote(false, message, kernel, now)
            }
            State::Promoting => {
                let message = format!("the new kernel ended while it took over: {how}");
                self.roll_back("promote", message, kernel, now)
            }
            State::Probation { .. } | State::Proved => {
                let message = format!("the new kernel ended: {how}");
                self.roll_back("prove", message, kernel, now)
            }
            // The supervisor starts it again.
            State::Restoring { .. } | State::Retiring | State::Over => None,
        }
    }

    fn other_ended(&mut self, how: &str, kernel: &mut Plank) -> Option<End> {
        self.other = None;
        match self.state {
            State::Warming(_) => {
                let message = format!("the new kernel ended before it was warm: {how}");
                self.leave_it("warm", "standby_failed", message, kernel)
            }
            State::Yielding => {
                // The old one is asked for more than it can take back by itself: it lets go of the image and is promoted again.
                warn!("the new kernel ended while the old one yielded: {how}");
                None
            }
            State::Retiring => self.retired(),
            _ => {
                warn!("the old kernel, which had yielded, ended: {how}");
                None
            }
        }
    }

    fn too_late(&mut self, kernel: &mut Plank, now: Instant) -> Option<End> {
        match self.state {
            State::Preparing => {
                let message =
                    "the old kernel could not bring the index up to date in time; a pack or a backup may run";
                self.leave_it("prepare", "not_prepared", message.into(), kernel)
            }
            State::Rehearsing => {
                // The thread has a limit of its own, so this comes second.
                self.leave_it(
                    "rehearse",
                    "rehearsal_failed",
                    "it did not end in time".into(),
                    kernel,
                )
            }
            State::Warming(_) => {
                let message = "the new kernel was not warm in time";
                self.leave_it("warm", "standby_failed", message.into(), kernel)
            }
            State::Yielding => {
                kernel.kill_now();
                let message = "the old kernel did not yield in time and was killed".into();
                self.promote(false, message, kernel, now)
            }
            State::Promoting => {
                let message = "the new kernel did not take over in time".into();
                self.roll_back("promote", message, kernel, now)
            }
            State::Probation(_) => {
                let message = format!(
                    "the new kernel gave no good answer for {} ms",
                    self.limits.handover.answer.as_millis()
                );
                self.roll_back("prove", message, kernel, now)
            }
            State::Retiring => {
                warn!("the old kernel has not ended in time and is killed");
                self.other = None;
                self.retired()
            }
            State::Restoring { ref failure, is_anew } => {
                let failure = failure.clone();
                match is_anew {
                    false => self.restore_anew(failure, kernel, now),
                    // The supervisor goes on trying.
                    true => {
                        let message = format!("the old kernel does not answer yet: {}", kernel.last_exit());
                        self.restored(failure, false, &message)
                    }
                }
            }
            State::Proved | State::Over => None,
        }
    }

    fn rehearse(&mut self, kernel: &mut Plank, now: Instant) -> Option<End> {
        let (program, image, log) = (
            self.staged.path.clone(),
            self.home.image(),
            kernel.log().to_path_buf(),
        );
        if let Err(message) = self.course.note("rehearsing") {
            return self.leave_it("rehearse", "not_recorded", message, kernel);
        }
        let (limit, events) = (self.limits.health, self.events.clone());
        let begun: io::Result<_> = thread::Builder::new()
            .name("rehearsal".to_owned())
            .spawn(move || {
                let _ = events.send(Event::Rehearsed(spawn::rehearse(&program, &image, &log, limit)));
            });
        match begun {
            Ok(_) => {
                self.enter(
                    State::Rehearsing,
                    now + self.limits.health + self.limits.handover.answer,
                );
                None
            }
            Err(error) => self.leave_it("rehearse", "rehearsal_failed", error.to_string(), kernel),
        }
    }

    fn judged(&self, respect: Respect) -> Health {
        let (old, new) = (self.old_watch.of_late(), self.new_watch.since_it_serves());
        health::judge(old, new, &self.bounds, respect)
    }

    fn unhealthy(&mut self, health: Health, kernel: &mut Plank, now: Instant) -> Option<End> {
        let message = format!("the new kernel is not well: {}", health.remarks.join("; "));
        self.course.judged(health);
        self.roll_back("prove", message, kernel, now)
    }

    /// Both answered: the old kernel yields, unless the new one says something else.
    fn compare(&mut self, kernel: &mut Plank, now: Instant) -> Option<End> {
        let State::Warming(Some(canary)) = &self.state else {
            return None;
        };
        match canary.verdict()? {
            Ok(()) => {
                if let Err(message) = self.course.note("yielding") {
                    return self.leave_it("yield", "not_recorded", message, kernel);
                }
                let finish_ms = self.limits.handover.finish.as_millis() as u64;
                kernel.say(&ToKernel::Yield { finish_ms });
                let limit = self.limits.handover.finish + self.limits.handover.answer;
                self.enter(State::Yielding, now + limit);
                None
            }
            Err(message) => {
                let message = format!("the new kernel answers otherwise than the old one: {message}");
                self.leave_it("warm", "standby_failed", message, kernel)
            }
        }
    }

    /// Nobody holds the image now: the new kernel takes it, and is the supervised one.
    fn promote(&mut self, ok: bool, message: String, kernel: &mut Plank, now: Instant) -> Option<End> {
        self.course.taken("yield", ok, message);
        let Some(new) = self.other.take() else {
            let message = "the new kernel ended before it could take over".into();
            return self.roll_back("promote", message, kernel, now);
        };
        // Unwritten, the state before is as good: nothing is chosen, and the image's epoch says who writes.
        let _ = self.course.note("promoting");
        new.say(&ToKernel::Promote);
        self.other = kernel.exchange(new);
        self.enter(State::Promoting, now + self.limits.handover.promote);
        None
    }

    /// Nothing was touched: the new kernel goes, the old one moves on.
    fn leave_it(
        &mut self,
        step: &'static str,
        reason: &'static str,
        message: String,
        kernel: &mut Plank,
    ) -> Option<End> {
        self.other = None;
        kernel.say(&ToKernel::Settle);
        self.state = State::Over;
        self.course.left(step, Failure { reason, message })
    }

    fn roll_back(
        &mut self,
        step: &'static str,
        message: String,
        kernel: &mut Plank,
        now: Instant,
    ) -> Option<End> {
        let reason = "health_failed";
        self.roll_back_for(step, Failure { reason, message }, kernel, now)
    }

    /// Whoever is supervised goes; the old kernel serves again, from where the image is.
    fn roll_back_for(
        &mut self,
        step: &'static str,
        failure: Failure,
        kernel: &mut Plank,
        now: Instant,
    ) -> Option<End> {
        self.course.reverting(step, &failure, "the old kernel is");
        let is_old = matches!(self.state, State::Yielding);
        match self.other.take() {
            Some(old) => {
                kernel.kill_now();
                old.say(&ToKernel::Promote);
                kernel.exchange(old);
            }
            // The old one has yielded, and there is no new one.
            None if is_old && kernel.say(&ToKernel::Promote) => kernel.await_answer(),
            None => return self.restore_anew(failure, kernel, now),
        }
        let is_anew = false;
        self.enter(
            State::Restoring { failure, is_anew },
            now + self.limits.handover.promote,
        );
        None
    }

    /// The old program is started anew, as after a crash.
    fn restore_anew(&mut self, failure: Failure, kernel: &mut Plank, now: Instant) -> Option<End> {
        kernel.kill_now();
        kernel.set_program(self.old_program.clone());
        kernel.start(now);
        let is_anew = true;
        self.enter(State::Restoring { failure, is_anew }, now + self.limits.health);
        None
    }

    fn restored(&mut self, failure: Failure, ok: bool, message: &str) -> Option<End> {
        self.state = State::Over;
        self.course.restored(failure, ok, message)
    }

    fn retired(&mut self) -> Option<End> {
        self.state = State::Over;
        let message = "recorded; the old kernel has ended".to_owned();
        self.course.taken("choose", true, message);
        Some(End::Committed)
    }

    fn enter(&mut self, state: State, until: Instant) {
        self.state = state;
        self.until = until;
    }
}
