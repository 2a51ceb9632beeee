//! One upgrade of the kernel, from staging to its end, as steps between which the loop runs on. Told in `docs/channel.md`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use shared::bridge::KernelStatus;
use shared::home::Home;
use tracing::{error, info, warn};

use crate::channel::{Claim, Outcome, Report, Step, unix_ms};
use crate::choice::Choice;
use crate::event::Event;
use crate::handover::{End, Handover, Limits, Said};
use crate::home::planks;
use crate::instruction::Instruction;
use crate::plank::Plank;
use crate::process;
use crate::staging::{self, Staged, StagingError};

/// The upgrade in progress.
pub struct Upgrade {
    home: Home,
    claim: Claim,
    instruction: Instruction,
    health_deadline: Duration,
    limits: Limits,
    events: Sender<Event>,
    /// What ran before, and runs again when this fails.
    old_program: PathBuf,
    steps: Vec<Step>,
    /// When the step in progress began, milliseconds since 1970.
    step_begun: u64,
    phase: Phase,
}

enum Phase {
    /// A thread copies and checks.
    Staging,
    /// The new kernel takes over from the old one.
    Handing(Box<Handover>, Staged),
    /// The old kernel is ending.
    Draining(Staged),
    /// The new kernel is to answer until then.
    Proving(Staged, Instant),
    /// The new kernel is ending.
    Reverting(Failure),
    /// The old kernel is to answer until then.
    Restoring(Failure, Instant),
}

/// Why the old kernel comes back.
#[derive(Clone)]
struct Failure {
    reason: &'static str,
    message: String,
}

impl Upgrade {
    /// Begins with staging, on a thread of its own that sends [`Event::Staged`].
    pub fn begin(
        home: &Home,
        claim: Claim,
        instruction: Instruction,
        kernel: &Plank,
        limits: Limits,
        events: Sender<Event>,
    ) -> io::Result<Upgrade> {
        info!(id = instruction.id, program = %instruction.target.path.display(), "upgrade begins");
        let (target, folder) = (instruction.target.clone(), planks(home));
        let to_tell = events.clone();
        thread::Builder::new().name("staging".to_owned()).spawn(move || {
            let _ = to_tell.send(Event::Staged(staging::stage(
                &target.path,
                &target.digest,
                &folder,
            )));
        })?;
        Ok(Upgrade {
            home: home.clone(),
            claim,
            instruction,
            health_deadline: limits.health,
            limits,
            events,
            old_program: kernel.program().to_path_buf(),
            steps: Vec::new(),
            step_begun: unix_ms(),
            phase: Phase::Staging,
        })
    }

    /// Staging is done: the drain begins, or the upgrade ends.
    pub fn staged(
        &mut self,
        result: Result<Staged, StagingError>,
        kernel: &mut Plank,
        now: Instant,
    ) -> Option<Report> {
        match result {
            Ok(staged) => {
                self.step(
                    "stage",
                    true,
                    format!("{} is {}", staged.path.display(), staged.version),
                );
                let (limits, events) = (self.limits.clone(), self.events.clone());
                match Handover::begin(&self.home, &staged, kernel, limits, events, now) {
                    Some(handover) => self.phase = Phase::Handing(Box::new(handover), staged),
                    None => {
                        kernel.stop(now);
                        self.phase = Phase::Draining(staged);
                    }
                }
                None
            }
            Err(error) => {
                self.step("stage", false, error.to_string());
                Some(self.report(Outcome::Failed, error.reason(), error.to_string()))
            }
        }
    }

    /// Something came by a kernel's control channel.
    pub fn heard(&mut self, said: &Said, kernel: &mut Plank, now: Instant) -> Option<Report> {
        self.hand(kernel, now, |handover, kernel| handover.heard(said, kernel, now))
    }

    /// The rehearsal has ended.
    pub fn rehearsed(
        &mut self,
        result: Result<String, String>,
        kernel: &mut Plank,
        now: Instant,
    ) -> Option<Report> {
        self.hand(kernel, now, |handover, kernel| {
            handover.rehearsed(result, kernel, now)
        })
    }

    /// The kernel told its status.
    pub fn probed(&mut self, status: &KernelStatus, kernel: &mut Plank, now: Instant) -> Option<Report> {
        self.hand(kernel, now, |handover, kernel| {
            handover.probed(status, kernel, now)
        })
    }

    /// Whether the kernel is to be asked for its status.
    pub fn is_watching(&self) -> bool {
        matches!(&self.phase, Phase::Handing(handover, _) if handover.is_watching())
    }

    /// Moves a handover on, and takes what it comes to.
    fn hand(
        &mut self,
        kernel: &mut Plank,
        now: Instant,
        work: impl FnOnce(&mut Handover, &mut Plank) -> Option<End>,
    ) -> Option<Report> {
        let Phase::Handing(handover, staged) = &mut self.phase else {
            return None;
        };
        let mut end = work(handover, kernel);
        let staged = staged.clone();
        if let Some(End::Proved) = end {
            let choosing = self.record(&staged);
            let Phase::Handing(handover, _) = &mut self.phase else {
                return None;
            };
            end = match choosing {
                Ok(()) => {
                    handover.commit(kernel, now);
                    None
                }
                Err(cause) => handover.revert("not_recorded", cause, kernel, now),
            };
        }
        if let Phase::Handing(handover, _) = &mut self.phase {
            for taken in handover.steps() {
                self.step(taken.step, taken.ok, taken.message);
            }
        }
        match end? {
            End::Proved => None,
            End::Committed => {
                self.step("choose", true, "recorded; the old kernel has ended".to_owned());
                self.remove_old_copies(&staged);
                Some(self.report(Outcome::Applied, "applied", format!("{} serves", staged.version)))
            }
            End::Untouched(failure) => Some(self.report(Outcome::Failed, failure.reason, failure.message)),
            End::RolledBack(failure) => {
                Some(self.report(Outcome::RolledBack, failure.reason, failure.message))
            }
        }
    }

    /// Moves on as far as the kernel's phase allows; the report when it has ended.
    pub fn advance(&mut self, kernel: &mut Plank, now: Instant) -> Option<Report> {
        if matches!(self.phase, Phase::Handing(..)) {
            return self.hand(kernel, now, |handover, kernel| handover.advance(kernel, now));
        }
        match &self.phase {
            Phase::Draining(staged) if kernel.is_down() => {
                let staged = staged.clone();
                self.step(
                    "drain",
                    true,
                    format!("the old kernel ended: {}", kernel.last_exit()),
                );
                kernel.set_program(staged.path.clone());
                kernel.start(now);
                self.phase = Phase::Proving(staged, now + self.health_deadline);
                None
            }
            Phase::Proving(staged, until) => {
                let (staged, until) = (staged.clone(), *until);
                self.prove(&staged, until, kernel, now)
            }
            Phase::Reverting(failure) if kernel.is_down() => {
                let failure = failure.clone();
                self.restore(kernel, now);
                self.phase = Phase::Restoring(failure, now + self.health_deadline);
                None
            }
            Phase::Restoring(failure, until) if kernel.is_ready() || now >= *until => {
                let failure = failure.clone();
                let message = match kernel.is_ready() {
                    true => "the old kernel serves again".to_owned(),
                    false => format!("the old kernel does not answer yet: {}", kernel.last_exit()),
                };
                self.step("restore", kernel.is_ready(), message.clone());
                Some(self.report(
                    Outcome::RolledBack,
                    failure.reason,
                    format!("{}; {message}", failure.message),
                ))
            }
            _ => None,
        }
    }

    /// The steward is to stop: nothing has been chosen yet, so the old program stays the one to run.
    pub fn abandon(&mut self, kernel: &mut Plank) -> Report {
        if let Phase::Handing(handover, staged) = &mut self.phase {
            let is_committed = handover.is_committed();
            handover.abandon();
            if is_committed {
                let message = format!("{} is chosen; the steward was told to stop", staged.version);
                return self.report(Outcome::Applied, "applied", message);
            }
        }
        kernel.set_program(self.old_program.clone());
        self.report(
            Outcome::RolledBack,
            "stopping",
            "the steward was told to stop in the middle".to_owned(),
        )
    }

    /// When [`Upgrade::advance`] has something to do, events aside.
    pub fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Handing(handover, _) => handover.due(),
            Phase::Proving(_, until) | Phase::Restoring(_, until) => Some(*until),
            _ => None,
        }
    }

    fn prove(&mut self, staged: &Staged, until: Instant, kernel: &mut Plank, now: Instant) -> Option<Report> {
        let cause = if kernel.is_ready() {
            match kernel.pid().and_then(process::program) {
                Some(program) if staged.path.canonicalize().is_ok_and(|path| path == program) => {
                    return self.choose(staged, kernel, now);
                }
                program => format!(
                    "the process that answers runs {program:?}, not {}",
                    staged.path.display()
                ),
            }
        } else if kernel.is_waiting() {
            format!("the new kernel ended before it answered: {}", kernel.last_exit())
        } else if now >= until {
            format!(
                "the new kernel did not answer within {} ms",
                self.health_deadline.as_millis()
            )
        } else {
            return None;
        };
        self.step("prove", false, cause.clone());
        self.revert(
            Failure {
                reason: "health_failed",
                message: cause,
            },
            kernel,
            now,
        );
        None
    }

    fn choose(&mut self, staged: &Staged, kernel: &mut Plank, now: Instant) -> Option<Report> {
        self.step("prove", true, "the new kernel answers".to_owned());
        if let Err(cause) = self.record(staged) {
            self.step("choose", false, cause.clone());
            self.revert(
                Failure {
                    reason: "not_recorded",
                    message: cause,
                },
                kernel,
                now,
            );
            return None;
        }
        self.step("choose", true, "recorded".to_owned());
        self.remove_old_copies(staged);
        Some(self.report(Outcome::Applied, "applied", format!("{} serves", staged.version)))
    }

    /// Makes the staged program the chosen one.
    fn record(&self, staged: &Staged) -> Result<(), String> {
        let program = staged
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let choice = Choice {
            schema: 1,
            program,
            blake3: staged.blake3.clone(),
            instruction: self.instruction.id.clone(),
            claim: self.claim.name.clone(),
        };
        choice
            .record(&self.home)
            .map_err(|error| format!("the choice cannot be recorded: {error}"))
    }

    fn revert(&mut self, failure: Failure, kernel: &mut Plank, now: Instant) {
        error!(
            id = self.instruction.id,
            "upgrade failed: {}; the old kernel is restored", failure.message
        );
        kernel.stop(now);
        self.phase = Phase::Reverting(failure);
    }

    fn restore(&mut self, kernel: &mut Plank, now: Instant) {
        kernel.set_program(self.old_program.clone());
        kernel.start(now);
    }

    /// Keeps the new copy and the one before.
    fn remove_old_copies(&self, staged: &Staged) {
        for entry in fs::read_dir(planks(&self.home)).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_copy = entry.file_name().to_string_lossy().starts_with("kernel-");
            if is_copy
                && path != staged.path
                && path != self.old_program
                && let Err(error) = fs::remove_file(&path)
            {
                warn!("cannot remove {}: {error}", path.display());
            }
        }
    }

    fn step(&mut self, step: &'static str, ok: bool, message: String) {
        let ended = unix_ms();
        self.steps.push(Step {
            step,
            ok,
            message,
            begun: self.step_begun,
            ended,
        });
        self.step_begun = ended;
    }

    fn report(&self, outcome: Outcome, reason: &'static str, message: String) -> Report {
        let report = Report::of(self.claim.clone(), &self.instruction, outcome, reason, message);
        Report {
            steps: self.steps.clone(),
            ..report
        }
    }
}
