//! A plank changed while the rest serves: what the three ways of doing that have in common. Told in `docs/handover.md`.
//!
//! - [`course`]: the states journalled, the steps told, the health judged. This file: the ways, and what each happening is to each.

mod course;
mod probation;

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use course::{Course, Taken};
pub use probation::Probation;

use crate::channel::Journal;
use crate::configuration;
use crate::event::Event;
use crate::exchange::{self, Exchange};
use crate::handover::{Handover, Said};
use crate::health::{Health, Probe};
use crate::recycle::Recycle;
use crate::supervisor::Supervisor;

/// A change in progress, by what it is a change of.
pub enum Change {
    /// The new kernel takes over from the old one.
    Handover(Box<Handover>),
    /// The new inference-worker takes over from the old one.
    Exchange(Box<Exchange>),
    /// The kernel replaces its method-workers.
    Recycle(Box<Recycle>),
}

/// What a change has come to.
pub enum End {
    /// The new plank is healthy: record it, then [`Change::commit`], or [`Change::revert`].
    Proved,
    /// The new plank serves alone.
    Committed,
    /// The old plank never stopped serving.
    Untouched(Failure),
    /// The old plank serves again; the message says how.
    RolledBack(Failure),
}

/// Why there is no new plank.
#[derive(Clone, Debug)]
pub struct Failure {
    /// A word of `docs/upgrade.md`.
    pub reason: &'static str,
    pub message: String,
}

/// How long each state may take.
#[derive(Clone, Debug)]
pub struct Limits {
    pub handover: configuration::Handover,
    /// Of a rehearsal, of warming, and of a start anew.
    pub health: Duration,
    /// Between SIGTERM and SIGKILL.
    pub stop: Duration,
}

/// What every change is given.
pub struct Means {
    /// Takes each state before it is acted on.
    pub journal: Journal,
    pub limits: Limits,
    /// For the threads that it starts.
    pub events: Sender<Event>,
}

impl Failure {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            reason,
            message: message.into(),
        }
    }

    /// What the journal has beside a state that is on the way back.
    pub fn beside(&self) -> Value {
        json!({ "reason": self.reason, "message": self.message })
    }
}

impl Change {
    /// Something came by a kernel's control channel.
    pub fn heard(&mut self, said: &Said, planks: &mut Supervisor, now: Instant) -> Option<End> {
        match self {
            Change::Handover(handover) => handover.heard(said, &mut planks.kernel, now),
            Change::Recycle(recycle) => recycle.heard(said, &planks.kernel, now),
            Change::Exchange(_) => None,
        }
    }

    /// The rehearsal has ended.
    pub fn rehearsed(
        &mut self,
        result: Result<String, String>,
        planks: &mut Supervisor,
        now: Instant,
    ) -> Option<End> {
        match self {
            Change::Handover(handover) => handover.rehearsed(result, &mut planks.kernel, now),
            Change::Exchange(_) | Change::Recycle(_) => None,
        }
    }

    /// A question of an exchange was answered.
    pub fn errand(&mut self, done: exchange::Done, planks: &mut Supervisor, now: Instant) -> Option<End> {
        match self {
            Change::Exchange(exchange) => exchange.done(done, &mut planks.inference, now),
            Change::Handover(_) | Change::Recycle(_) => None,
        }
    }

    /// The kernel told its figures.
    pub fn probed(&mut self, probe: &Probe, planks: &mut Supervisor, now: Instant) -> Option<End> {
        match self {
            Change::Handover(handover) => handover.probed(probe, &mut planks.kernel, now),
            Change::Recycle(recycle) => recycle.probed(probe, &planks.kernel, now),
            Change::Exchange(_) => None,
        }
    }

    /// Moves on as far as time and ended processes allow.
    pub fn advance(&mut self, planks: &mut Supervisor, now: Instant) -> Option<End> {
        match self {
            Change::Handover(handover) => handover.advance(&mut planks.kernel, now),
            Change::Exchange(exchange) => exchange.advance(&mut planks.inference, now),
            Change::Recycle(recycle) => recycle.advance(&planks.kernel, now),
        }
    }

    /// The choice is recorded: what was before ends, for which some wait.
    pub fn commit(&mut self, planks: &mut Supervisor, now: Instant) -> Option<End> {
        match self {
            Change::Handover(handover) => handover.commit(&planks.kernel, now),
            Change::Exchange(exchange) => exchange.commit(now),
            Change::Recycle(recycle) => return Some(recycle.commit(&planks.kernel)),
        }
        None
    }

    /// Gives the new plank up after all.
    pub fn revert(&mut self, failure: Failure, planks: &mut Supervisor, now: Instant) -> Option<End> {
        match self {
            Change::Handover(handover) => handover.revert(failure, &mut planks.kernel, now),
            Change::Exchange(exchange) => exchange.revert(failure, &mut planks.inference, now),
            Change::Recycle(recycle) => recycle.revert(failure, &planks.kernel, now),
        }
    }

    /// The steward is to stop: planks that are supervised are stopped by the supervisor, the others here.
    pub fn abandon(&mut self, planks: &mut Supervisor) {
        match self {
            Change::Handover(handover) => handover.abandon(),
            Change::Exchange(exchange) => exchange.abandon(&mut planks.inference),
            Change::Recycle(recycle) => recycle.abandon(&planks.kernel),
        }
    }

    /// When [`Change::advance`] has something to do, events aside.
    pub fn due(&self) -> Option<Instant> {
        match self {
            Change::Handover(handover) => handover.due(),
            Change::Exchange(exchange) => exchange.due(),
            Change::Recycle(recycle) => recycle.due(),
        }
    }

    /// Whether the kernel is to be asked for its figures.
    pub fn is_watching(&self) -> bool {
        match self {
            Change::Handover(handover) => handover.is_watching(),
            Change::Recycle(recycle) => recycle.is_watching(),
            Change::Exchange(_) => false,
        }
    }

    /// Whether the new plank is the chosen one.
    pub fn is_committed(&self) -> bool {
        match self {
            Change::Handover(handover) => handover.is_committed(),
            Change::Exchange(exchange) => exchange.is_committed(),
            // Nothing is waited for then.
            Change::Recycle(_) => false,
        }
    }

    /// The steps that are over since this was asked.
    pub fn steps(&mut self) -> Vec<Taken> {
        match self {
            Change::Handover(handover) => handover.course.steps(),
            Change::Exchange(exchange) => exchange.course.steps(),
            Change::Recycle(recycle) => recycle.course.steps(),
        }
    }

    /// How the new plank fares against the old one, once that was judged.
    pub fn health(&self) -> Option<&Health> {
        match self {
            Change::Handover(handover) => handover.course.health(),
            Change::Exchange(exchange) => exchange.course.health(),
            Change::Recycle(recycle) => recycle.course.health(),
        }
    }
}
