//! One upgrade, from its steps to its end, between which the loop runs on. Every state is journalled before it is acted
//! on. Told in `docs/upgrade.md`.

//!
//! - [`phase`]: where it is. [`changing`]: the new plank takes over while the old one serves. [`restart`]: the cold way.
//! - [`successor`]: of the steward itself. [`choosing`]: the new plank is chosen.
//! - This file: the actions before all that, and the end.

mod changing;
mod choosing;
mod phase;
mod restart;
mod successor;

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::control::UpgradeStatus;
use shared::home::Home;
use tracing::{error, info, warn};

use crate::change::{Failure, Limits};
use crate::channel::{Accepted, Claim, Journal, Outcome, Report, Step, unix_ms};
use crate::configuration;
use crate::event::Event;
use crate::health::{Health, Watch};
use crate::instruction::{Instruction, Kind};
use crate::preparation::{self, Both, Done, Prepared, Work};
use crate::supervisor::Supervisor;
use phase::Phase;

/// What a thread of an action has beyond its own limit to say how it ended.
const GRACE: Duration = Duration::from_secs(2);
/// The number of what is done while no kernel runs; steps have smaller ones.
const CONVERSION: usize = usize::MAX;

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
                self.staged(both, planks, now);
            }
            Ok(Done::Converted(_) | Done::PutBack) => {}
            Err(failure) => {
                self.step(word, false, failure.message.clone());
                self.end(Outcome::Failed, failure);
            }
        }
    }

    /// The new plank is in the home.
    fn staged(&mut self, both: Box<Both>, planks: &mut Supervisor, now: Instant) {
        match self.kind() {
            Kind::Kernel => self.hand_over(both, &mut planks.kernel, now),
            // Two formats at once there cannot be.
            Kind::ImageFormat => self.drain(both, &mut planks.kernel, now),
            kind @ (Kind::InferenceWorker | Kind::Model) => {
                let orders = planks.inference_orders(kind, &both.new.path);
                self.exchange(both, orders, &planks.inference, now);
            }
            Kind::Steward => self.succeeding(both),
            kind @ (Kind::MethodWorker | Kind::Python) => {
                let chosen = planks.chosen().with(kind, &both.new.path);
                self.recycle(both, &chosen, &planks.kernel, now);
            }
        }
    }

    fn kind(&self) -> Kind {
        self.instruction.target.kind
    }

    /// Moves on as far as the kernel's phase allows. The report and the journal to conclude it in when it has ended, once.
    pub fn advance(&mut self, planks: &mut Supervisor, now: Instant) -> Option<Report> {
        self.go_on(planks, now, |change, planks| change.advance(planks, now));
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
            Phase::Draining(both) if kernel.is_down() => self.drained(both, kernel, now),
            Phase::Succeeded(until, from) => self.believe(until, from, planks, now),
            Phase::Failed(message) => {
                error!("{message}; the old steward is restored");
                std::process::exit(i32::from(shared::exit::ERROR));
            }
            Phase::Proving(both, until) => self.prove(both, until, planks, now),
            Phase::Probation(new) => self.watch_new(new, planks, now),
            Phase::Reverting(failure) if kernel.is_down() => self.reverted(failure, kernel, now),
            Phase::Restoring(failure, until) if kernel.is_ready() || now >= until => {
                self.restored(failure, kernel);
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
            Phase::Changing(mut change, both) => {
                let is_committed = change.is_committed();
                change.abandon(planks);
                if is_committed {
                    let message = format!("{} is chosen; the steward was told to stop", both.new.version);
                    return self.report(Outcome::Applied, "applied", message);
                }
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
            Phase::Changing(change, _) => change.due(),
            Phase::Succeeded(until, from) => {
                Some(from.map_or(*until, |from| from + self.limits.handover.probation))
            }
            Phase::Failed(_) | Phase::Succeeding(_) => Some(Instant::now()),
            Phase::Staging { until, .. } | Phase::Proving(_, until) | Phase::Restoring(_, until) => {
                Some(*until)
            }
            Phase::Probation(new) => Some(new.until),
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

    fn enter(&mut self, state: &str, beside: Value) -> Result<(), Failure> {
        self.journal.enter(state, beside).map_err(|error| {
            let message = format!("the state {state} cannot be journalled: {error}");
            warn!(id = self.instruction.id, "{message}");
            Failure::new("not_recorded", message)
        })
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
