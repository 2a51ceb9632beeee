//! The cold way: the old kernel ends before the new one is started, and what leads back from there. An image is converted in between.

use std::time::Instant;

use serde_json::{Value, json};
use tracing::error;

use super::{CONVERSION, Phase, Upgrade};
use crate::change::Failure;
use crate::channel::Outcome;
use crate::instruction::Kind;
use crate::plank::Plank;
use crate::preparation::{self, Both, Done, Work};
use crate::process;
use crate::supervisor::Supervisor;

impl Upgrade {
    pub(super) fn drain(&mut self, both: Box<Both>, kernel: &mut Plank, now: Instant) {
        let beside = json!({ "program": both.new.path.file_name().map(|name| name.to_string_lossy()) });
        if let Err(failure) = self.enter("draining", beside) {
            return self.end(Outcome::Failed, failure);
        }
        kernel.stop_within(now, self.limits.stop);
        self.phase = Phase::Draining(both);
    }

    /// The old kernel has ended.
    pub(super) fn drained(&mut self, both: Box<Both>, kernel: &mut Plank, now: Instant) {
        let message = format!("the old kernel ended: {}", kernel.last_exit());
        self.step("drain", true, message);
        match self.kind() {
            Kind::ImageFormat => self.convert(both, kernel, now),
            _ => self.start(both, kernel, now),
        }
    }

    /// The image is converted, or put back, or it could not be.
    pub(super) fn converted(&mut self, result: Result<Done, Failure>, planks: &mut Supervisor, now: Instant) {
        match (std::mem::replace(&mut self.phase, Phase::Over), result) {
            (Phase::Converting(both), Ok(Done::Converted(found))) => {
                self.step("convert", true, found);
                self.start(both, &mut planks.kernel, now);
            }
            (Phase::Converting(_), Err(failure)) => {
                self.step("convert", false, failure.message.clone());
                self.revert(failure, &mut planks.kernel, now);
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

    pub(super) fn prove(&mut self, both: Box<Both>, until: Instant, planks: &mut Supervisor, now: Instant) {
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

    /// The new kernel has ended: the image is put back where it was set aside, then the old kernel started.
    pub(super) fn reverted(&mut self, failure: Failure, kernel: &mut Plank, now: Instant) {
        if self.has_image_aside() {
            match self.begin_work(Work::PutBack) {
                Ok(()) => {
                    self.phase = Phase::PuttingBack(failure);
                    return;
                }
                // As where the work fails: what could not be put back stays where it is.
                Err(error) => {
                    error!("the image cannot be put back: no thread could be started: {error}");
                    self.step("put_back", false, format!("no thread could be started: {error}"));
                    self.is_put_back = true;
                }
            }
        }
        // Unwritten, the state before is still true: nothing is chosen.
        let _ = self.enter("restoring", failure.beside());
        kernel.set_program(self.old_program.clone());
        kernel.start(now);
        self.phase = Phase::Restoring(failure, now + self.limits.health);
    }

    /// The old kernel answers, or cannot be waited for any longer.
    pub(super) fn restored(&mut self, failure: Failure, kernel: &Plank) {
        let message = match kernel.is_ready() {
            true => "the old kernel serves again".to_owned(),
            false => format!("the old kernel does not answer yet: {}", kernel.last_exit()),
        };
        self.step("restore", kernel.is_ready(), message.clone());
        let message = format!("{}; {message}", failure.message);
        self.end(Outcome::RolledBack, Failure::new(failure.reason, message));
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
}
