//! The new plank takes over while the old one serves: each way of that begun, moved on by what happens, and its end taken.

use std::time::Instant;

use super::{Phase, Upgrade};
use crate::change::{Change, End, Failure, Means};
use crate::channel::Outcome;
use crate::chosen::Chosen;
use crate::exchange::{self, Exchange, Orders};
use crate::handover::{Handover, Said};
use crate::health::Probe;
use crate::plank::Plank;
use crate::preparation::Both;
use crate::recycle::Recycle;
use crate::supervisor::Supervisor;

impl Upgrade {
    /// Something came by a kernel's control channel.
    pub fn heard(&mut self, said: &Said, planks: &mut Supervisor, now: Instant) {
        self.go_on(planks, now, |change, planks| change.heard(said, planks, now));
    }

    /// The rehearsal has ended.
    pub fn rehearsed(&mut self, result: Result<String, String>, planks: &mut Supervisor, now: Instant) {
        self.go_on(planks, now, |change, planks| {
            change.rehearsed(result, planks, now)
        });
    }

    /// A question of an exchange was answered.
    pub fn errand(&mut self, done: exchange::Done, planks: &mut Supervisor, now: Instant) {
        self.go_on(planks, now, |change, planks| change.errand(done, planks, now));
    }

    /// The kernel told its figures.
    pub fn probed(&mut self, probe: &Probe, planks: &mut Supervisor, now: Instant) {
        match self.phase {
            Phase::Staging { .. } => self.watch.note(probe),
            Phase::Probation(_) => return self.probed_new(probe, &mut planks.kernel, now),
            _ => {}
        }
        self.go_on(planks, now, |change, planks| change.probed(probe, planks, now));
    }

    /// Whether the kernel is to be asked for its figures.
    pub fn is_watching(&self) -> bool {
        match &self.phase {
            Phase::Staging { .. } | Phase::Probation(_) => true,
            Phase::Changing(change, _) => change.is_watching(),
            _ => false,
        }
    }

    /// The kernel that serves hands over, or, where it does not know how, ends before the new one is started.
    pub(super) fn hand_over(&mut self, both: Box<Both>, kernel: &mut Plank, now: Instant) {
        let watched = (self.watch.clone(), self.instruction.bounds);
        if let Some(handover) = Handover::begin(&self.home, &both.new, kernel, self.means(), watched, now) {
            self.phase = Phase::Changing(Change::Handover(Box::new(handover)), both);
            return;
        }
        self.drain(both, kernel, now);
    }

    pub(super) fn exchange(&mut self, both: Box<Both>, orders: Orders, worker: &Plank, now: Instant) {
        let mut means = self.means();
        means.limits.stop = self.instruction.limits.drain.unwrap_or(exchange::DRAIN);
        match Exchange::begin(&self.home, orders, worker, means, self.instruction.bounds, now) {
            Ok(exchange) => self.phase = Phase::Changing(Change::Exchange(Box::new(exchange)), both),
            Err(failure) => self.not_begun("warm", failure),
        }
    }

    pub(super) fn recycle(&mut self, both: Box<Both>, chosen: &Chosen, kernel: &Plank, now: Instant) {
        let program = chosen.method_worker.display().to_string();
        let environment = chosen.python.as_ref().map(|(_, environment)| environment.clone());
        let watched = (std::mem::take(&mut self.watch), self.instruction.bounds);
        match Recycle::begin(program, environment, kernel, self.means(), watched, now) {
            Ok(recycle) => self.phase = Phase::Changing(Change::Recycle(Box::new(recycle)), both),
            Err(failure) => self.not_begun("replace", failure),
        }
    }

    /// Moves a change on, and takes what it comes to.
    pub(super) fn go_on(
        &mut self,
        planks: &mut Supervisor,
        now: Instant,
        work: impl FnOnce(&mut Change, &mut Supervisor) -> Option<End>,
    ) {
        let (mut change, both) = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Changing(change, both) => (change, both),
            other => {
                self.phase = other;
                return;
            }
        };
        let mut end = work(&mut change, planks);
        self.health = change.health().cloned();
        if let Some(End::Proved) = end {
            end = match self.record(&both, planks) {
                Ok(()) => change.commit(planks, now),
                Err(failure) => change.revert(failure, planks, now),
            };
        }
        for taken in change.steps() {
            self.step(taken.step, taken.ok, taken.message);
        }
        match end {
            None | Some(End::Proved) => self.phase = Phase::Changing(change, both),
            Some(End::Committed) => self.applied(&both),
            Some(End::Untouched(failure)) => self.end(Outcome::Failed, failure),
            Some(End::RolledBack(failure)) => self.end(Outcome::RolledBack, failure),
        }
    }

    fn means(&self) -> Means {
        Means {
            journal: self.journal.clone(),
            limits: self.limits.clone(),
            events: self.events.clone(),
        }
    }

    fn not_begun(&mut self, step: &str, failure: Failure) {
        self.step(step, false, failure.message.clone());
        self.end(Outcome::Failed, failure);
    }
}
