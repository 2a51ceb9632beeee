//! One upgrade of the kernel, from staging to its end, as steps between which the loop runs on. Told in `docs/channel.md`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use shared::home::Home;
use tracing::{error, info, warn};

use crate::channel::{Claim, Outcome, Report, Step, unix_ms};
use crate::choice::Choice;
use crate::event::Event;
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
        health_deadline: Duration,
        events: Sender<Event>,
    ) -> io::Result<Upgrade> {
        info!(id = instruction.id, program = %instruction.target.path.display(), "upgrade begins");
        let (target, folder) = (instruction.target.clone(), planks(home));
        thread::Builder::new().name("staging".to_owned()).spawn(move || {
            let _ = events.send(Event::Staged(staging::stage(
                &target.path,
                &target.digest,
                &folder,
            )));
        })?;
        Ok(Upgrade {
            home: home.clone(),
            claim,
            instruction,
            health_deadline,
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
                kernel.stop(now);
                self.phase = Phase::Draining(staged);
                None
            }
            Err(error) => {
                self.step("stage", false, error.to_string());
                Some(self.report(Outcome::Failed, error.reason(), error.to_string()))
            }
        }
    }

    /// Moves on as far as the kernel's phase allows; the report when it has ended.
    pub fn advance(&mut self, kernel: &mut Plank, now: Instant) -> Option<Report> {
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
        kernel.set_program(self.old_program.clone());
        self.report(
            Outcome::RolledBack,
            "stopping",
            "the steward was told to stop in the middle".to_owned(),
        )
    }

    /// When [`Upgrade::advance`] has something to do, events aside.
    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Proving(_, until) | Phase::Restoring(_, until) => Some(until),
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
        if let Err(error) = choice.record(&self.home) {
            let cause = format!("the choice cannot be recorded: {error}");
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
