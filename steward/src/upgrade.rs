//! One upgrade, from its steps to its end, between which the loop runs on. Every state is journalled before it is acted
//! on. Told in `docs/upgrade.md`.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use shared::control::UpgradeStatus;
use shared::home::Home;
use tracing::{error, info, warn};

use crate::channel::{Accepted, Claim, Journal, Outcome, Report, Step, unix_ms};
use crate::choice::Choice;
use crate::chosen::Chosen;
use crate::configuration;
use crate::conversion;
use crate::event::Event;
use crate::exchange::{self, Exchange, Orders};
use crate::handover::{self, End, Handover, Limits, Means, Said};
use crate::health::{self, Health, Probe, Watch};
use crate::instruction::{Instruction, Kind};
use crate::plank::Plank;
use crate::preparation::{self, Both, Done, Prepared, Undone, Work};
use crate::process;
use crate::recycle::Recycle;
use crate::staging::Staged;
use crate::succession::{self, Succession};
use crate::supervisor::Supervisor;
use crate::tree;

/// What a thread of an action has beyond its own limit to say how it ended.
const GRACE: Duration = Duration::from_secs(2);
/// The number of what is done while no kernel runs; steps have smaller ones.
const CONVERSION: usize = usize::MAX;

/// A new steward reads its home, and a machine may be busy, before it answers.
const LEAST_ANSWER: Duration = Duration::from_secs(3);

/// The upgrade in progress.
pub struct Upgrade {
    home: Home,
    claim: Claim,
    instruction: Instruction,
    journal: Journal,
    events: Sender<Event>,
    limits: Limits,
    /// What ran before, and runs again when this fails.
    old_program: PathBuf,
    method_worker: PathBuf,
    steps: Vec<Step>,
    /// What the old kernel does while the new program is staged.
    watch: Watch,
    /// Whether it was tried to put the image back.
    is_put_back: bool,
    /// How the new kernel fares.
    health: Option<Health>,
    /// When the step in progress began, milliseconds since 1970.
    step_begun: u64,
    phase: Phase,
}

enum Phase {
    /// A thread does the action of that number.
    Staging { number: usize, until: Instant },
    /// The new kernel takes over from the old one.
    Handing(Box<Handover>, Box<Both>),
    /// The new inference-worker takes over from the old one.
    Exchanging(Box<Exchange>, Box<Both>),
    /// The kernel replaces its method-workers.
    Recycling(Box<Recycle>, Box<Both>),
    /// This steward is about to become another one.
    Succeeding(Box<Both>),
    /// It has, and is to see the kernel serve until then; and from when on it is believed.
    Succeeded(Instant, Option<Instant>),
    /// The new steward gives itself up: the sentry is waited for.
    Failed(String),
    /// The old kernel is ending.
    Draining(Box<Both>),
    /// No kernel runs; a thread sets the image aside and has it converted.
    Converting(Box<Both>),
    /// No kernel runs; a thread puts the image back.
    PuttingBack(Failure),
    /// The new kernel is to answer until then.
    Proving(Box<Both>, Instant),
    /// The new kernel is ending.
    Reverting(Failure),
    /// The old kernel is to answer until then.
    Restoring(Failure, Instant),
    /// It has ended; this is its report, not handed out yet.
    Ended(Box<Report>),
    /// The report was handed out.
    Over,
}

/// Why the old kernel comes back.
#[derive(Clone)]
struct Failure {
    reason: &'static str,
    message: String,
}

impl Failure {
    fn new(reason: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            reason,
            message: message.into(),
        }
    }

    fn beside(&self) -> Value {
        json!({ "reason": self.reason, "message": self.message })
    }
}

impl Upgrade {
    /// Begins with the first action.
    pub fn begin(
        home: &Home,
        accepted: Accepted,
        planks: &Supervisor,
        limits: Limits,
        events: Sender<Event>,
        now: Instant,
    ) -> Upgrade {
        let mut upgrade = Upgrade::of(home, accepted, planks, limits, events);
        upgrade.prepare(1, now);
        upgrade
    }

    fn of(
        home: &Home,
        accepted: Accepted,
        planks: &Supervisor,
        limits: Limits,
        events: Sender<Event>,
    ) -> Upgrade {
        let Accepted {
            claim,
            instruction,
            journal,
        } = accepted;
        let kind = instruction.target.kind;
        info!(id = instruction.id, kind = kind.word(), program = %instruction.target.path.display(), "upgrade begins");
        Upgrade {
            home: home.clone(),
            limits: Limits {
                health: instruction.health_within.unwrap_or(limits.health),
                stop: instruction.limits.drain.unwrap_or(limits.stop),
                handover: configuration::Handover {
                    probation: instruction.probation.unwrap_or(limits.handover.probation),
                    ..limits.handover
                },
            },
            claim,
            instruction,
            journal,
            events,
            old_program: planks.chosen().path(kind).to_path_buf(),
            method_worker: planks.chosen().method_worker.clone(),
            steps: Vec::new(),
            watch: Watch::default(),
            is_put_back: false,
            health: None,
            step_begun: unix_ms(),
            phase: Phase::Over,
        }
    }

    /// Goes on with the upgrade in which this process became this program.
    pub fn resume(
        home: &Home,
        accepted: Accepted,
        planks: &Supervisor,
        limits: Limits,
        events: Sender<Event>,
        now: Instant,
    ) -> Upgrade {
        let until = now + limits.health;
        let mut upgrade = Upgrade::of(home, accepted, planks, limits, events);
        upgrade.phase = Phase::Succeeded(until, None);
        let mut staged = upgrade.journal.last();
        if let Value::Object(keys) = &mut staged {
            keys.remove("state");
            keys.remove("at");
        }
        let _ = upgrade.enter("probation", staged);
        upgrade
    }

    /// Becomes the new steward, where everything is prepared for that. Answers why it did not, in which case the upgrade has ended.
    pub fn succeed(
        &mut self,
        left: &dyn Fn() -> std::io::Result<Vec<(&'static str, OwnedFd)>>,
    ) -> Option<String> {
        let Phase::Succeeding(both) = &self.phase else {
            return None;
        };
        let error = match left() {
            Ok(descriptors) => succession::succeed(&Succession {
                home: &self.home,
                claim: &self.claim.name,
                new: &both.new.path,
                old: &both.old.path,
                limit: self.limits.health + self.limits.handover.probation + GRACE,
                answer: self.limits.handover.answer.max(LEAST_ANSWER),
                descriptors,
            }),
            Err(error) => error,
        };
        let message = format!("{} cannot be started: {error}", both.new.path.display());
        self.step("succeed", false, message.clone());
        self.end(Outcome::Failed, Failure::new("standby_failed", message.clone()));
        Some(message)
    }

    /// The new steward sees the kernel serve for a while; then it is chosen.
    fn believe(&mut self, until: Instant, from: Option<Instant>, planks: &mut Supervisor, now: Instant) {
        let from = match planks.kernel.is_ready() {
            true => Some(from.unwrap_or(now)),
            false => None,
        };
        if from.is_some_and(|from| now >= from + self.limits.handover.probation) {
            let last = self.journal.last();
            let staged = |name: &str, blake3: &str| Staged {
                path: self.home.planks().join(last[name].as_str().unwrap_or_default()),
                blake3: last[blake3].as_str().unwrap_or_default().to_owned(),
                version: last["version"].as_str().unwrap_or_default().to_owned(),
            };
            let both = Both {
                new: staged("program", "blake3"),
                old: staged("old", "old_blake3"),
            };
            self.step(
                "prove",
                true,
                "the new steward supervises the kernel, which serves".to_owned(),
            );
            match self.record(&both, planks) {
                Ok(()) => self.applied(&both),
                // The sentry restores the old one.
                Err(failure) => self.phase = Phase::Failed(failure.message),
            }
            return;
        }
        self.phase = match now >= until {
            true => Phase::Failed("the new steward does not see the kernel serve".to_owned()),
            false => Phase::Succeeded(until, from),
        };
    }

    /// What `batos upgrade status` tells.
    pub fn status(&self) -> UpgradeStatus {
        let (state, since_ms) = self.journal.state();
        UpgradeStatus {
            id: self.instruction.id.clone(),
            file: self.claim.file.clone(),
            claim: self.claim.name.clone(),
            state,
            since_ms,
        }
    }

    /// An action is done: the next begins, or the drain, or the upgrade ends.
    pub fn prepared(&mut self, prepared: Prepared, planks: &mut Supervisor, now: Instant) {
        if prepared.claim == self.claim.name && prepared.number == CONVERSION {
            return self.converted(prepared.result, planks, now);
        }
        let Phase::Staging { number, .. } = self.phase else {
            return;
        };
        if prepared.claim != self.claim.name || prepared.number != number {
            return;
        }
        let word = self.work(number).word();
        match prepared.result {
            Ok(Done::Step(message)) => {
                self.step(word, true, message);
                self.prepare(number + 1, now);
            }
            Ok(Done::Staged(both)) => {
                let message = format!("{} is {}", both.new.path.display(), both.new.version);
                self.step(word, true, message);
                match self.kind() {
                    Kind::Kernel => self.hand_over(both, &mut planks.kernel, now),
                    // Two formats at once there cannot be.
                    Kind::ImageFormat => self.drain(both, &mut planks.kernel, now),
                    kind @ (Kind::InferenceWorker | Kind::Model) => {
                        let orders = planks.inference_orders(kind, &both.new.path);
                        self.exchange(both, orders, &planks.inference, now);
                    }
                    Kind::Steward => {
                        let name =
                            |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
                        let beside = json!({
                            "program": name(&both.new.path), "blake3": both.new.blake3, "version": both.new.version,
                            "old": name(&both.old.path), "old_blake3": both.old.blake3,
                        });
                        match self.enter("succeeding", beside) {
                            Ok(()) => self.phase = Phase::Succeeding(both),
                            Err(failure) => self.end(Outcome::Failed, failure),
                        }
                    }
                    kind @ (Kind::MethodWorker | Kind::Python) => {
                        let chosen = planks.chosen().with(kind, &both.new.path);
                        self.recycle(both, &chosen, &planks.kernel, now);
                    }
                }
            }
            Ok(Done::Converted(_) | Done::PutBack) => {}
            Err(undone) => {
                self.step(word, false, undone.message.clone());
                self.end(Outcome::Failed, Failure::new(undone.reason, undone.message));
            }
        }
    }

    /// The image is converted, or put back, or it could not be.
    fn converted(&mut self, result: Result<Done, Undone>, planks: &mut Supervisor, now: Instant) {
        match (std::mem::replace(&mut self.phase, Phase::Over), result) {
            (Phase::Converting(both), Ok(Done::Converted(found))) => {
                self.step("convert", true, found);
                self.start(both, &mut planks.kernel, now);
            }
            (Phase::Converting(_), Err(undone)) => {
                self.step("convert", false, undone.message.clone());
                self.revert(
                    Failure::new(undone.reason, undone.message),
                    &mut planks.kernel,
                    now,
                );
            }
            (Phase::PuttingBack(failure), result) => {
                let told = result.map_or_else(
                    |undone| (false, undone.message),
                    |_| (true, "the image is as it was".into()),
                );
                self.step("put_back", told.0, told.1);
                // Not again, whether it succeeded or not; what could not be put back stays where it is.
                self.is_put_back = true;
                self.phase = Phase::Reverting(failure);
            }
            (other, _) => self.phase = other,
        }
    }

    /// The kernel that serves hands over, or, where it does not know how, ends before the new one is started.
    fn hand_over(&mut self, both: Box<Both>, kernel: &mut Plank, now: Instant) {
        let watched = (std::mem::take(&mut self.watch), self.instruction.bounds);
        if let Some(handover) = Handover::begin(&self.home, &both.new, kernel, self.means(), watched, now) {
            self.phase = Phase::Handing(Box::new(handover), both);
            return;
        }
        self.drain(both, kernel, now);
    }

    fn drain(&mut self, both: Box<Both>, kernel: &mut Plank, now: Instant) {
        let beside = json!({ "program": both.new.path.file_name().map(|name| name.to_string_lossy()) });
        if let Err(failure) = self.enter("draining", beside) {
            return self.end(Outcome::Failed, failure);
        }
        kernel.stop_within(now, self.limits.stop);
        self.phase = Phase::Draining(both);
    }

    fn exchange(&mut self, both: Box<Both>, orders: Orders, worker: &Plank, now: Instant) {
        let mut means = self.means();
        means.limits.stop = self.instruction.limits.drain.unwrap_or(exchange::DRAIN);
        match Exchange::begin(&self.home, orders, worker, means, self.instruction.bounds, now) {
            Ok(exchange) => self.phase = Phase::Exchanging(Box::new(exchange), both),
            Err(failure) => {
                self.step("warm", false, failure.message.clone());
                self.end(Outcome::Failed, Failure::new(failure.reason, failure.message));
            }
        }
    }

    fn recycle(&mut self, both: Box<Both>, chosen: &Chosen, kernel: &Plank, now: Instant) {
        let program = chosen.method_worker.display().to_string();
        let environment = chosen.python.as_ref().map(|(_, environment)| environment.clone());
        let watched = (std::mem::take(&mut self.watch), self.instruction.bounds);
        let (journal, limits) = (self.journal.clone(), self.limits.clone());
        match Recycle::begin(program, environment, kernel, journal, limits, watched, now) {
            Ok(recycle) => self.phase = Phase::Recycling(Box::new(recycle), both),
            Err(failure) => {
                self.step("replace", false, failure.message.clone());
                self.end(Outcome::Failed, Failure::new(failure.reason, failure.message));
            }
        }
    }

    /// Moves a change of method-workers on, and takes what it comes to.
    fn turn(
        &mut self,
        planks: &mut Supervisor,
        now: Instant,
        work: impl FnOnce(&mut Recycle, &Plank) -> Option<End>,
    ) {
        let (mut recycle, both) = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Recycling(recycle, both) => (recycle, both),
            other => {
                self.phase = other;
                return;
            }
        };
        let mut end = work(&mut recycle, &planks.kernel);
        self.health = recycle.health().cloned();
        if let Some(End::Proved) = end {
            end = match self.record(&both, planks) {
                Ok(()) => Some(recycle.commit(&planks.kernel)),
                Err(failure) => {
                    let failure = handover::Failure {
                        reason: failure.reason,
                        message: failure.message,
                    };
                    recycle.revert(failure, &planks.kernel, now)
                }
            };
        }
        for taken in recycle.steps() {
            self.step(taken.step, taken.ok, taken.message);
        }
        match end {
            None | Some(End::Proved) => self.phase = Phase::Recycling(recycle, both),
            Some(End::Committed) => self.applied(&both),
            Some(End::Untouched(failure)) => {
                self.end(Outcome::Failed, Failure::new(failure.reason, failure.message));
            }
            Some(End::RolledBack(failure)) => {
                self.end(Outcome::RolledBack, Failure::new(failure.reason, failure.message));
            }
        }
    }

    /// A question of an exchange was answered.
    pub fn errand(&mut self, done: exchange::Done, planks: &mut Supervisor, now: Instant) {
        self.go_on(planks, now, |exchange, worker| exchange.done(done, worker, now));
    }

    /// Moves an exchange on, and takes what it comes to.
    fn go_on(
        &mut self,
        planks: &mut Supervisor,
        now: Instant,
        work: impl FnOnce(&mut Exchange, &mut Plank) -> Option<End>,
    ) {
        let (mut exchange, both) = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Exchanging(exchange, both) => (exchange, both),
            other => {
                self.phase = other;
                return;
            }
        };
        let mut end = work(&mut exchange, &mut planks.inference);
        self.health = exchange.health().cloned();
        if let Some(End::Proved) = end {
            end = match self.record(&both, planks) {
                Ok(()) => {
                    exchange.commit(now);
                    None
                }
                Err(failure) => {
                    let failure = handover::Failure {
                        reason: failure.reason,
                        message: failure.message,
                    };
                    exchange.revert(failure, &mut planks.inference, now)
                }
            };
        }
        for taken in exchange.steps() {
            self.step(taken.step, taken.ok, taken.message);
        }
        match end {
            None | Some(End::Proved) => self.phase = Phase::Exchanging(exchange, both),
            Some(End::Committed) => self.applied(&both),
            Some(End::Untouched(failure)) => {
                self.end(Outcome::Failed, Failure::new(failure.reason, failure.message));
            }
            Some(End::RolledBack(failure)) => {
                self.end(Outcome::RolledBack, Failure::new(failure.reason, failure.message));
            }
        }
    }

    fn means(&self) -> Means {
        Means {
            journal: self.journal.clone(),
            limits: self.limits.clone(),
            events: self.events.clone(),
        }
    }

    fn kind(&self) -> Kind {
        self.instruction.target.kind
    }

    /// Something came by a kernel's control channel.
    pub fn heard(&mut self, said: &Said, planks: &mut Supervisor, now: Instant) {
        self.hand(planks, now, |handover, kernel| handover.heard(said, kernel, now));
        self.turn(planks, now, |recycle, kernel| recycle.heard(said, kernel, now));
    }

    /// The rehearsal has ended.
    pub fn rehearsed(&mut self, result: Result<String, String>, planks: &mut Supervisor, now: Instant) {
        self.hand(planks, now, |handover, kernel| {
            handover.rehearsed(result, kernel, now)
        });
    }

    /// The kernel told its figures.
    pub fn probed(&mut self, probe: &Probe, planks: &mut Supervisor, now: Instant) {
        if let Phase::Staging { .. } = self.phase {
            self.watch.note(probe);
        }
        self.hand(planks, now, |handover, kernel| {
            handover.probed(probe, kernel, now)
        });
        self.turn(planks, now, |recycle, kernel| recycle.probed(probe, kernel, now));
    }

    /// Whether the kernel is to be asked for its figures.
    pub fn is_watching(&self) -> bool {
        match &self.phase {
            Phase::Staging { .. } => true,
            Phase::Handing(handover, _) => handover.is_watching(),
            Phase::Recycling(recycle, _) => recycle.is_watching(),
            _ => false,
        }
    }

    /// Moves a handover on, and takes what it comes to.
    fn hand(
        &mut self,
        planks: &mut Supervisor,
        now: Instant,
        work: impl FnOnce(&mut Handover, &mut Plank) -> Option<End>,
    ) {
        let (mut handover, both) = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Handing(handover, both) => (handover, both),
            other => {
                self.phase = other;
                return;
            }
        };
        let mut end = work(&mut handover, &mut planks.kernel);
        self.health = handover.health().cloned();
        if let Some(End::Proved) = end {
            end = match self.record(&both, planks) {
                Ok(()) => {
                    handover.commit(&planks.kernel, now);
                    None
                }
                Err(failure) => handover.revert(failure.reason, failure.message, &mut planks.kernel, now),
            };
        }
        for taken in handover.steps() {
            self.step(taken.step, taken.ok, taken.message);
        }
        match end {
            None | Some(End::Proved) => self.phase = Phase::Handing(handover, both),
            Some(End::Committed) => {
                let message = "recorded; the old kernel has ended".to_owned();
                self.step("choose", true, message);
                self.applied(&both);
            }
            Some(End::Untouched(failure)) => {
                self.end(Outcome::Failed, Failure::new(failure.reason, failure.message));
            }
            Some(End::RolledBack(failure)) => {
                self.end(Outcome::RolledBack, Failure::new(failure.reason, failure.message));
            }
        }
    }

    /// Moves on as far as the kernel's phase allows. The report and the journal to conclude it in when it has ended, once.
    pub fn advance(&mut self, planks: &mut Supervisor, now: Instant) -> Option<Report> {
        self.hand(planks, now, |handover, kernel| handover.advance(kernel, now));
        self.go_on(planks, now, |exchange, worker| exchange.advance(worker, now));
        self.turn(planks, now, |recycle, kernel| recycle.advance(kernel, now));
        let kernel = &mut planks.kernel;
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Ended(report) => return Some(*report),
            Phase::Staging { number, until } if now >= until => {
                let work = self.work(number);
                let message = format!("the step {} takes longer than its limit", work.word());
                self.step(work.word(), false, message.clone());
                let reason = match work {
                    Work::Step(_) => "step_failed",
                    _ => "limit_passed",
                };
                self.end(Outcome::Failed, Failure::new(reason, message));
            }
            Phase::Draining(both) if kernel.is_down() => {
                let message = format!("the old kernel ended: {}", kernel.last_exit());
                self.step("drain", true, message);
                match self.kind() {
                    Kind::ImageFormat => self.convert(both, kernel, now),
                    _ => self.start(both, kernel, now),
                }
            }
            Phase::Succeeded(until, from) => self.believe(until, from, planks, now),
            Phase::Failed(message) => {
                error!("{message}; the old steward is restored");
                std::process::exit(i32::from(shared::exit::ERROR));
            }
            Phase::Proving(both, until) => self.prove(both, until, planks, now),
            Phase::Reverting(failure) if kernel.is_down() && self.has_image_aside() => {
                if let Err(message) = self.begin_work(Work::PutBack) {
                    error!("the image cannot be put back: {message}");
                }
                self.phase = Phase::PuttingBack(failure);
            }
            Phase::Reverting(failure) if kernel.is_down() => {
                // Unwritten, the state before is still true: nothing is chosen.
                let _ = self.enter("restoring", failure.beside());
                kernel.set_program(self.old_program.clone());
                kernel.start(now);
                self.phase = Phase::Restoring(failure, now + self.limits.health);
            }
            Phase::Restoring(failure, until) if kernel.is_ready() || now >= until => {
                let message = match kernel.is_ready() {
                    true => "the old kernel serves again".to_owned(),
                    false => format!("the old kernel does not answer yet: {}", kernel.last_exit()),
                };
                self.step("restore", kernel.is_ready(), message.clone());
                let message = format!("{}; {message}", failure.message);
                self.end(Outcome::RolledBack, Failure::new(failure.reason, message));
            }
            waiting => self.phase = waiting,
        }
        None
    }

    /// The steward is to stop: nothing has been chosen yet, so the old program stays the one to run. `None`: its end is left to the
    /// next steward.
    pub fn abandon(&mut self, planks: &mut Supervisor) -> Option<Report> {
        let is_open = matches!(self.phase, Phase::Staging { .. } | Phase::Ended(_));
        if self.kind() == Kind::ImageFormat && !is_open {
            // The next steward puts the image back before anything is started.
            self.phase = Phase::Over;
            planks.kernel.set_program(self.old_program.clone());
            return None;
        }
        Some(self.report_abandoned(planks))
    }

    fn report_abandoned(&mut self, planks: &mut Supervisor) -> Report {
        let outcome = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Ended(report) => return *report,
            Phase::Handing(mut handover, both) => {
                let is_committed = handover.is_committed();
                handover.abandon();
                if is_committed {
                    let message = format!("{} is chosen; the steward was told to stop", both.new.version);
                    return self.report(Outcome::Applied, "applied", message);
                }
                Outcome::RolledBack
            }
            Phase::Exchanging(mut exchange, both) => {
                let is_committed = exchange.is_committed();
                exchange.abandon(&mut planks.inference);
                if is_committed {
                    let message = format!("{} is chosen; the steward was told to stop", both.new.version);
                    return self.report(Outcome::Applied, "applied", message);
                }
                Outcome::RolledBack
            }
            Phase::Recycling(mut recycle, _) => {
                recycle.abandon(&planks.kernel);
                Outcome::RolledBack
            }
            Phase::Staging { .. } => Outcome::Failed,
            _ => Outcome::RolledBack,
        };
        if self.kind().plank() == Kind::Kernel {
            planks.kernel.set_program(self.old_program.clone());
        }
        let failure = Failure::new("stopping", "the steward was told to stop in the middle");
        self.report(outcome, failure.reason, failure.message)
    }

    /// For the end of the claim.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// When [`Upgrade::advance`] has something to do, events aside.
    pub fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Handing(handover, _) => handover.due(),
            Phase::Exchanging(exchange, _) => exchange.due(),
            Phase::Recycling(recycle, _) => recycle.due(),
            Phase::Succeeded(until, from) => {
                Some(from.map_or(*until, |from| from + self.limits.handover.probation))
            }
            Phase::Failed(_) | Phase::Succeeding(_) => Some(Instant::now()),
            Phase::Staging { until, .. } | Phase::Proving(_, until) | Phase::Restoring(_, until) => {
                Some(*until)
            }
            Phase::Ended(_) => Some(Instant::now()),
            _ => None,
        }
    }

    fn work(&self, number: usize) -> Work {
        let old = (self.old_program.clone(), self.method_worker.clone());
        Work::numbered(&self.instruction, number, old)
    }

    fn prepare(&mut self, number: usize, now: Instant) {
        if let Err(failure) = self.enter("staging", json!({ "step": number })) {
            return self.end(Outcome::Failed, failure);
        }
        let work = self.work(number);
        let limit = match work {
            Work::Step(_) => self.instruction.limits.step,
            _ => self.instruction.limits.stage,
        };
        let claim = self.claim.name.clone();
        let events = self.events.clone();
        match preparation::begin(&self.home, claim, number, work, &self.instruction, events) {
            Ok(()) => {
                self.phase = Phase::Staging {
                    number,
                    until: now + limit + GRACE,
                };
            }
            Err(error) => {
                let message = format!("no thread could be started: {error}");
                self.end(Outcome::Failed, Failure::new("step_failed", message));
            }
        }
    }

    fn start(&mut self, both: Box<Both>, kernel: &mut Plank, now: Instant) {
        match self.enter("starting", Value::Null) {
            Ok(()) => {
                kernel.set_program(both.new.path.clone());
                kernel.start(now);
                self.phase = Phase::Proving(both, now + self.limits.health);
            }
            Err(failure) => self.revert(failure, kernel, now),
        }
    }

    fn convert(&mut self, both: Box<Both>, kernel: &mut Plank, now: Instant) {
        let work = Work::Convert {
            kernel: both.new.path.clone(),
        };
        let begun = self.enter("converting", Value::Null).and_then(|()| {
            self.begin_work(work)
                .map_err(|error| Failure::new("step_failed", format!("no thread could be started: {error}")))
        });
        match begun {
            Ok(()) => self.phase = Phase::Converting(both),
            Err(failure) => self.revert(failure, kernel, now),
        }
    }

    /// Whether the image was set aside and is to be put back.
    fn has_image_aside(&self) -> bool {
        let aside = self.home.path().join(format!("image-before-{}", self.claim.name));
        let plan = self.instruction.image.as_ref();
        let is_wanted = plan.is_some_and(|plan| plan.is_restored);
        is_wanted && !self.is_put_back && aside.exists()
    }

    fn begin_work(&self, work: Work) -> std::io::Result<()> {
        let (claim, events) = (self.claim.name.clone(), self.events.clone());
        preparation::begin(&self.home, claim, CONVERSION, work, &self.instruction, events)
    }

    fn prove(&mut self, both: Box<Both>, until: Instant, planks: &mut Supervisor, now: Instant) {
        let kernel = &mut planks.kernel;
        let staged = &both.new.path;
        let cause = if kernel.is_ready() {
            match kernel.pid().and_then(process::program) {
                Some(program) if staged.canonicalize().is_ok_and(|path| path == program) => {
                    return self.choose(&both, planks, now);
                }
                program => format!(
                    "the process that answers runs {program:?}, not {}",
                    staged.display()
                ),
            }
        } else if kernel.is_waiting() {
            format!("the new kernel ended before it answered: {}", kernel.last_exit())
        } else if now >= until {
            let within_ms = self.limits.health.as_millis();
            format!("the new kernel did not answer within {within_ms} ms")
        } else {
            self.phase = Phase::Proving(both, until);
            return;
        };
        self.step("prove", false, cause.clone());
        self.revert(Failure::new("health_failed", cause), kernel, now);
    }

    fn choose(&mut self, both: &Both, planks: &mut Supervisor, now: Instant) {
        self.step("prove", true, "the new kernel answers".to_owned());
        match self.record(both, planks) {
            Ok(()) => {
                self.step("choose", true, "recorded".to_owned());
                self.applied(both);
            }
            Err(failure) => {
                self.step("choose", false, failure.message.clone());
                self.revert(failure, &mut planks.kernel, now);
            }
        }
    }

    fn applied(&mut self, both: &Both) {
        self.remove_old_copies(both);
        conversion::forget(&self.home, &self.claim.name);
        let version = &both.new.version;
        let failure = match &self.health {
            Some(health) if health.outcome == health::Outcome::Degraded => {
                let remarks = health.remarks.join("; ");
                Failure::new(
                    "degraded",
                    format!("{version} serves, worse than the old one: {remarks}"),
                )
            }
            _ => Failure::new("applied", format!("{version} serves")),
        };
        self.end(Outcome::Applied, failure);
    }

    /// Makes the staged program the chosen one.
    fn record(&mut self, both: &Both, planks: &mut Supervisor) -> Result<(), Failure> {
        let kind = self.kind();
        let instead_of = planks.configured(kind);
        let mut chosen = self.choice(
            &both.new.path,
            &both.new.blake3,
            &self.instruction.id,
            &self.claim.name,
        );
        chosen.instead_of = instead_of;
        let former = Choice::load(&self.home, kind).ok().flatten();
        let of_former = |part: fn(&Choice) -> &String| former.as_ref().map(part).cloned().unwrap_or_default();
        let (instruction, claim) = (of_former(|it| &it.instruction), of_former(|it| &it.claim));
        let blake3 = match both.old.blake3.is_empty() {
            true => of_former(|it| &it.blake3),
            false => both.old.blake3.clone(),
        };
        let is_kept = both.old.path.starts_with(self.home.planks());
        let previous = is_kept.then(|| self.choice(&both.old.path, &blake3, &instruction, &claim));
        self.enter("choosing", json!({ "health": self.health }))?;
        chosen
            .record(previous.as_ref(), &self.home, kind)
            .map_err(|error| {
                Failure::new("not_recorded", format!("the choice cannot be recorded: {error}"))
            })?;
        planks.choose(kind, &both.new.path);
        Ok(())
    }

    fn choice(&self, program: &Path, blake3: &str, instruction: &str, claim: &str) -> Choice {
        let name = program.file_name().unwrap_or_default();
        Choice {
            schema: 1,
            program: name.to_string_lossy().into_owned(),
            blake3: blake3.to_owned(),
            instruction: instruction.to_owned(),
            claim: claim.to_owned(),
            instead_of: None,
        }
    }

    fn revert(&mut self, failure: Failure, kernel: &mut Plank, now: Instant) {
        error!(
            id = self.instruction.id,
            "upgrade failed: {}; the old kernel is restored", failure.message
        );
        // Unwritten, the state before is still true: nothing is chosen.
        let _ = self.enter("reverting", failure.beside());
        kernel.stop(now);
        self.phase = Phase::Reverting(failure);
    }

    fn enter(&mut self, state: &str, beside: Value) -> Result<(), Failure> {
        self.journal.enter(state, beside).map_err(|error| {
            let message = format!("the state {state} cannot be journalled: {error}");
            warn!(id = self.instruction.id, "{message}");
            Failure::new("not_recorded", message)
        })
    }

    /// Keeps the new copy, the one before and, of earlier ones, as many as the instruction says, the newest.
    fn remove_old_copies(&self, both: &Both) {
        let mut others: Vec<(SystemTime, PathBuf)> = fs::read_dir(self.home.planks())
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(&format!("{}-", self.kind().word()))
            })
            .map(|entry| {
                let changed = entry.metadata().and_then(|data| data.modified());
                (changed.unwrap_or(SystemTime::UNIX_EPOCH), entry.path())
            })
            .filter(|(_, path)| *path != both.new.path && *path != both.old.path)
            .collect();
        others.sort_by(|one, other| other.cmp(one));
        for (_, path) in others.into_iter().skip(self.instruction.keep - 1) {
            tree::remove(&path);
        }
    }

    fn step(&mut self, step: &str, ok: bool, message: String) {
        let ended = unix_ms();
        self.steps.push(Step {
            step: step.to_owned(),
            ok,
            message,
            begun: self.step_begun,
            ended,
        });
        self.step_begun = ended;
    }

    fn end(&mut self, outcome: Outcome, why: Failure) {
        self.phase = Phase::Ended(Box::new(self.report(outcome, why.reason, why.message)));
    }

    fn report(&self, outcome: Outcome, reason: &'static str, message: String) -> Report {
        let report = Report::of(self.claim.clone(), &self.instruction, outcome, reason, message);
        Report {
            steps: self.steps.clone(),
            health: self.health.clone(),
            ..report
        }
    }
}
