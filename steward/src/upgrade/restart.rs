//! The cold way: the old kernel ends before the new one is started, and what leads back from there. An image is converted in between.

use std::time::Instant;

use serde_json::{Value, json};
use tracing::error;

use super::phase::New;
use super::{CONVERSION, Phase, Upgrade};
use crate::change::{Failure, Probation};
use crate::channel::Outcome;
use crate::health::{self, Probe, Respect, Watch};
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
                    // What is acknowledged in a new format cannot be taken along by the way back.
                    if self.kind() == Kind::ImageFormat {
                        return self.choose(&both, "the new kernel answers", planks, now);
                    }
                    self.phase = Phase::Probation(Box::new(New {
                        both,
                        probation: Probation::new(now, self.limits.handover.probation),
                        until: now + self.limits.handover.answer,
                        watch: Watch::default(),
                    }));
                    return;
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
        self.not_proved(cause, kernel, now);
    }

    /// The new kernel told its figures.
    pub(super) fn probed_new(&mut self, probe: &Probe, kernel: &mut Plank, now: Instant) {
        let Phase::Probation(new) = &mut self.phase else {
            return;
        };
        if !kernel.is_process(probe.figures.pid) {
            return;
        }
        let (own, former) = (probe.figures.epoch, self.watch.epoch());
        if own < former {
            let cause = format!(
                "the new kernel answers wrongly: it says that its epoch is {}, after {}",
                own.0, former.0
            );
            return self.not_proved(cause, kernel, now);
        }
        new.probation.answered(probe.asked);
        new.until = now + self.limits.handover.answer;
        new.watch.note(probe);
    }

    /// It is watched until its probation is over.
    pub(super) fn watch_new(&mut self, new: Box<New>, planks: &mut Supervisor, now: Instant) {
        let kernel = &mut planks.kernel;
        if !kernel.is_ready() {
            let cause = format!("the new kernel ended: {}", kernel.last_exit());
            return self.not_proved(cause, kernel, now);
        }
        if now >= new.until {
            let answer_ms = self.limits.handover.answer.as_millis();
            let cause = format!("the new kernel gave no good answer for {answer_ms} ms");
            return self.not_proved(cause, kernel, now);
        }
        if !new.probation.is_passed() {
            self.phase = Phase::Probation(new);
            return;
        }
        let figures = (self.watch.of_late(), new.watch.since_it_serves());
        // Times say nothing: it was not warm when its clients came.
        let health = health::judge(figures.0, figures.1, &self.instruction.bounds, Respect::Lasting);
        let told = health.told("the new kernel answers", "as well as the old one");
        let is_well = health.outcome != health::Outcome::Unhealthy;
        self.health = Some(health);
        match is_well {
            true => self.choose(&new.both, &told, planks, now),
            false => self.not_proved(format!("the new kernel is not well: {told}"), kernel, now),
        }
    }

    fn not_proved(&mut self, cause: String, kernel: &mut Plank, now: Instant) {
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

    fn choose(&mut self, both: &Both, proof: &str, planks: &mut Supervisor, now: Instant) {
        self.step("prove", true, proof.to_owned());
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
        // One that hangs does not end when it is asked, and clients wait.
        kernel.stop_within(now, self.limits.stop.min(self.limits.handover.answer));
        self.phase = Phase::Reverting(failure);
    }
}
