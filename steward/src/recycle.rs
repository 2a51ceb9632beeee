//! Method-workers of another program, or with another Python environment: the kernel replaces them one after the other, and has the former ones at
//! hand until the change has proved itself. Told in `docs/handover.md`, "Method-workers".

use std::time::{Duration, Instant};

use shared::handover::{Environment, FromKernel, ToKernel};

use crate::change::{Course, End, Failure, Limits, Means, Probation};
use crate::handover::Said;
use crate::health::{self, Bounds, Health, Outcome, Probe, Respect, Watch};
use crate::plank::Plank;

/// In which the kernel must have brought the former workers back.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A change in progress.
pub struct Recycle {
    pub course: Course,
    limits: Limits,
    bounds: Bounds,
    state: State,
    until: Instant,
    /// Of the kernel with its former workers, then with the new ones.
    old_watch: Watch,
    new_watch: Watch,
}

enum State {
    /// The kernel tries the new workers, and replaces those there are.
    Replacing,
    /// They carry methods out, and are watched.
    Probation(Probation),
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
        means: Means,
        watched: (Watch, Bounds),
        now: Instant,
    ) -> Result<Recycle, Failure> {
        if !kernel.can_hand_over() {
            let message = "the kernel does not serve, or has no control channel".to_owned();
            return Err(Failure::new("not_prepared", message));
        }
        let Means { journal, limits, .. } = means;
        let course = Course::begin("method-workers", journal, "switching")?;
        kernel.say(&ToKernel::Workers { program, environment });
        Ok(Recycle {
            course,
            until: now + limits.health,
            limits,
            bounds: watched.1,
            state: State::Replacing,
            old_watch: watched.0,
            new_watch: Watch::default(),
        })
    }

    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Proved | State::Over => None,
            _ => Some(self.until),
        }
    }

    pub fn is_watching(&self) -> bool {
        matches!(self.state, State::Probation(_))
    }

    /// The kernel said something.
    pub fn heard(&mut self, said: &Said, kernel: &Plank, now: Instant) -> Option<End> {
        let is_kernel = kernel
            .control()
            .is_some_and(|control| control.id() == said.channel);
        let message = said.message.as_ref().filter(|_| is_kernel)?;
        match (message, &self.state) {
            (FromKernel::WorkersReplaced { workers }, State::Replacing) => {
                self.course
                    .taken("replace", true, format!("{workers} method-workers are new"));
                let _ = self.course.note("probation");
                self.state = State::Probation(Probation::new(now, self.limits.handover.probation));
                self.until = now + self.limits.handover.answer;
                None
            }
            (FromKernel::WorkersRefused { message }, State::Replacing) => {
                self.state = State::Over;
                let failure = Failure::new("standby_failed", message);
                self.course.left("replace", failure)
            }
            (
                FromKernel::WorkersRestored { message },
                State::Replacing | State::Probation(_) | State::Proved,
            ) => {
                let failure = Failure {
                    reason: "health_failed",
                    message: message.clone(),
                };
                self.course.taken("prove", false, message.clone());
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
        if !self.is_watching() || !kernel.is_process(probe.figures.pid) {
            return None;
        }
        if let State::Probation(probation) = &mut self.state {
            probation.answered(probe.asked);
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
            self.course.taken("prove", false, failure.message.clone());
            return self.restored(
                failure,
                true,
                "the next kernel begins with the former method-workers",
            );
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
                .proved(health, "methods are carried out", "as well as before");
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
        self.course.judged(health);
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
        self.course.reverting(step, &failure, "the former ones are");
        kernel.say(&ToKernel::RestoreWorkers);
        self.state = State::Restoring(failure);
        self.until = now + AT_ONCE;
        None
    }

    fn restored(&mut self, failure: Failure, ok: bool, message: &str) -> Option<End> {
        self.state = State::Over;
        self.course.restored(failure, ok, message)
    }
}
