//! Method-workers of another program, or with another Python environment: the kernel replaces them one after the other, and has the former ones at
//! hand until the change has proved itself. Told in `docs/handover.md`, "Method-workers".

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::handover::{Environment, FromKernel, ToKernel};
use tracing::{error, info, warn};

use crate::channel::Journal;
use crate::handover::{End, Failure, Limits, Said, Taken};
use crate::health::{self, Bounds, Health, Outcome, Probe, Respect, Watch};
use crate::plank::Plank;

/// In which the kernel must have brought the former workers back.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A change in progress.
pub struct Recycle {
    journal: Journal,
    limits: Limits,
    bounds: Bounds,
    state: State,
    until: Instant,
    /// Of the kernel with its former workers, then with the new ones.
    old_watch: Watch,
    new_watch: Watch,
    health: Option<Health>,
    steps: Vec<Taken>,
}

enum State {
    /// The kernel tries the new workers, and replaces those there are.
    Replacing,
    /// They carry methods out, and are watched.
    Probation(Instant),
    Proved,
    /// The former ones are to come back.
    Restoring(Failure),
    Over,
}

impl Recycle {
    /// Asks the kernel for it.
    pub fn begin(
        program: String,
        environment: Option<Environment>,
        kernel: &Plank,
        journal: Journal,
        limits: Limits,
        watched: (Watch, Bounds),
        now: Instant,
    ) -> Result<Recycle, Failure> {
        if !kernel.can_hand_over() {
            let message = "the kernel does not serve, or has no control channel".to_owned();
            return Err(Failure {
                reason: "not_prepared",
                message,
            });
        }
        journal.enter("switching", Value::Null).map_err(|error| Failure {
            reason: "not_recorded",
            message: format!("the state switching cannot be journalled: {error}"),
        })?;
        kernel.say(&ToKernel::Workers { program, environment });
        Ok(Recycle {
            journal,
            until: now + limits.health,
            limits,
            bounds: watched.1,
            state: State::Replacing,
            old_watch: watched.0,
            new_watch: Watch::default(),
            health: None,
            steps: Vec::new(),
        })
    }

    /// The steps that are over since this was asked.
    pub fn steps(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.steps)
    }

    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Probation(over) => Some(over.min(self.until)),
            State::Proved | State::Over => None,
            _ => Some(self.until),
        }
    }

    pub fn is_watching(&self) -> bool {
        matches!(self.state, State::Probation(_))
    }

    pub fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }

    /// The kernel said something.
    pub fn heard(&mut self, said: &Said, kernel: &Plank, now: Instant) -> Option<End> {
        let is_kernel = kernel
            .control()
            .is_some_and(|control| control.id() == said.channel);
        let message = said.message.as_ref().filter(|_| is_kernel)?;
        match (message, &self.state) {
            (FromKernel::WorkersReplaced { workers }, State::Replacing) => {
                self.taken("replace", true, format!("{workers} method-workers are new"));
                let _ = self.note("probation");
                self.state = State::Probation(now + self.limits.handover.probation);
                self.until = now + self.limits.handover.answer;
                None
            }
            (FromKernel::WorkersRefused { message }, State::Replacing) => {
                self.taken("replace", false, message.clone());
                self.state = State::Over;
                Some(End::Untouched(Failure {
                    reason: "standby_failed",
                    message: message.clone(),
                }))
            }
            (
                FromKernel::WorkersRestored { message },
                State::Replacing | State::Probation(_) | State::Proved,
            ) => {
                let failure = Failure {
                    reason: "health_failed",
                    message: message.clone(),
                };
                self.taken("prove", false, message.clone());
                self.restored(failure, true, "the former method-workers carry methods out again")
            }
            (FromKernel::WorkersRestored { .. }, State::Restoring(failure)) => {
                let failure = failure.clone();
                self.restored(failure, true, "the former method-workers carry methods out again")
            }
            _ => None,
        }
    }

    /// The kernel told its figures.
    pub fn probed(&mut self, probe: &Probe, kernel: &Plank, now: Instant) -> Option<End> {
        if !self.is_watching() || kernel.pid().map(i32::unsigned_abs) != Some(probe.figures.pid) {
            return None;
        }
        self.until = now + self.limits.handover.answer;
        self.new_watch.note(probe);
        let health = self.judged(Respect::Lasting);
        match health.outcome {
            Outcome::Unhealthy => self.unhealthy(health, kernel, now),
            _ => None,
        }
    }

    /// Moves on as far as time allows.
    pub fn advance(&mut self, kernel: &Plank, now: Instant) -> Option<End> {
        let is_going = matches!(
            self.state,
            State::Replacing | State::Probation(_) | State::Restoring(_)
        );
        if is_going && kernel.pid().is_none() {
            // The next kernel begins with the workers that are chosen.
            let failure = Failure {
                reason: "health_failed",
                message: format!("the kernel ended meanwhile: {}", kernel.last_exit()),
            };
            self.taken("prove", false, failure.message.clone());
            return self.restored(
                failure,
                true,
                "the next kernel begins with the former method-workers",
            );
        }
        if let State::Probation(over) = self.state
            && now >= over
            && now < self.until
        {
            let health = self.judged(Respect::All);
            if health.outcome == Outcome::Unhealthy {
                return self.unhealthy(health, kernel, now);
            }
            let told = match health.remarks.is_empty() {
                true => "methods are carried out as well as before".to_owned(),
                false => format!("methods are carried out; {}", health.remarks.join("; ")),
            };
            self.health = Some(health);
            self.taken("prove", true, told);
            self.state = State::Proved;
            return Some(End::Proved);
        }
        if now < self.until {
            return None;
        }
        match &self.state {
            State::Replacing => self.fail(
                "replace",
                "the kernel did not replace them in time".into(),
                kernel,
                now,
            ),
            State::Probation(_) => {
                self.fail("prove", "the kernel gave no answer in time".into(), kernel, now)
            }
            State::Restoring(failure) => {
                let failure = failure.clone();
                self.restored(
                    failure,
                    false,
                    "the kernel does not say that the former ones are back",
                )
            }
            State::Proved | State::Over => None,
        }
    }

    /// The choice is recorded.
    pub fn commit(&mut self, kernel: &Plank) -> End {
        kernel.say(&ToKernel::KeepWorkers);
        self.state = State::Over;
        End::Committed
    }

    /// Gives the new ones up after all.
    pub fn revert(&mut self, failure: Failure, kernel: &Plank, now: Instant) -> Option<End> {
        self.fail_for("choose", failure, kernel, now)
    }

    /// The steward is to stop.
    pub fn abandon(&mut self, kernel: &Plank) {
        kernel.say(&ToKernel::RestoreWorkers);
        self.state = State::Over;
    }

    fn judged(&self, respect: Respect) -> Health {
        health::judge(
            self.old_watch.of_late(),
            self.new_watch.since_first(),
            &self.bounds,
            respect,
        )
    }

    fn unhealthy(&mut self, health: Health, kernel: &Plank, now: Instant) -> Option<End> {
        let message = format!("with the new method-workers {}", health.remarks.join("; "));
        self.health = Some(health);
        self.fail("prove", message, kernel, now)
    }

    fn fail(&mut self, step: &'static str, message: String, kernel: &Plank, now: Instant) -> Option<End> {
        let reason = "health_failed";
        self.fail_for(step, Failure { reason, message }, kernel, now)
    }

    fn fail_for(
        &mut self,
        step: &'static str,
        failure: Failure,
        kernel: &Plank,
        now: Instant,
    ) -> Option<End> {
        error!(
            "new method-workers failed: {}; the former ones are restored",
            failure.message
        );
        self.taken(step, false, failure.message.clone());
        let beside = json!({ "reason": failure.reason, "message": failure.message });
        if let Err(error) = self.journal.enter("reverting", beside) {
            warn!("the state reverting cannot be journalled: {error}");
        }
        kernel.say(&ToKernel::RestoreWorkers);
        self.state = State::Restoring(failure);
        self.until = now + AT_ONCE;
        None
    }

    fn restored(&mut self, failure: Failure, ok: bool, message: &str) -> Option<End> {
        self.taken("restore", ok, message.to_owned());
        self.state = State::Over;
        Some(End::RolledBack(Failure {
            message: format!("{}; {message}", failure.message),
            ..failure
        }))
    }

    fn note(&self, state: &str) -> Result<(), String> {
        self.journal.enter(state, Value::Null).map_err(|error| {
            let message = format!("the state {state} cannot be journalled: {error}");
            warn!("{message}");
            message
        })
    }

    fn taken(&mut self, step: &'static str, ok: bool, message: String) {
        info!(step, ok, "method-workers: {message}");
        self.steps.push(Taken { step, ok, message });
    }
}
