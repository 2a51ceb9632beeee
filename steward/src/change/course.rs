//! How one change of a plank goes: its states in the journal, its steps for the result file, its judgement.

use serde_json::Value;
use tracing::{error, info, warn};

use super::{End, Failure};
use crate::channel::Journal;
use crate::health::Health;

pub struct Course {
    /// Before each of its lines in the log.
    name: &'static str,
    /// Takes each state before it is acted on.
    journal: Journal,
    /// Over since they were asked for.
    steps: Vec<Taken>,
    health: Option<Health>,
}

/// A step that is over, as the result file tells it.
pub struct Taken {
    pub step: &'static str,
    pub ok: bool,
    pub message: String,
}

impl Course {
    /// Journals the first state.
    pub fn begin(name: &'static str, journal: Journal, state: &str) -> Result<Course, Failure> {
        let course = Course {
            name,
            journal,
            steps: Vec::new(),
            health: None,
        };
        course
            .note(state)
            .map_err(|message| Failure::new("not_recorded", message))?;
        Ok(course)
    }

    /// Journals a state, which may be acted on then.
    pub fn note(&self, state: &str) -> Result<(), String> {
        self.journal.enter(state, Value::Null).map_err(|error| {
            let message = format!("the state {state} cannot be journalled: {error}");
            warn!("{message}");
            message
        })
    }

    /// A step is over.
    pub fn taken(&mut self, step: &'static str, ok: bool, message: String) {
        info!(step, ok, "{}: {message}", self.name);
        self.steps.push(Taken { step, ok, message });
    }

    /// The steps that are over since this was asked.
    pub fn steps(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.steps)
    }

    pub fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }

    /// The last judgement that was made.
    pub fn judged(&mut self, health: Health) {
        self.health = Some(health);
    }

    /// The new plank does `what` well enough.
    pub fn proved(&mut self, health: Health, what: &str, as_before: &str) -> Option<End> {
        let told = health.told(what, as_before);
        self.judged(health);
        self.taken("prove", true, told);
        Some(End::Proved)
    }

    /// Nothing was touched, and `step` is why.
    pub fn left(&mut self, step: &'static str, failure: Failure) -> Option<End> {
        self.taken(step, false, failure.message.clone());
        Some(End::Untouched(failure))
    }

    /// `step` is why the `former` serves again soon.
    pub fn reverting(&mut self, step: &'static str, failure: &Failure, former: &str) {
        error!("{} failed: {}; {former} restored", self.name, failure.message);
        self.taken(step, false, failure.message.clone());
        if let Err(error) = self.journal.enter("reverting", failure.beside()) {
            warn!("the state reverting cannot be journalled: {error}");
        }
    }

    /// What was before serves again, or, when not `ok`, cannot be waited for any longer.
    pub fn restored(&mut self, failure: Failure, ok: bool, message: &str) -> Option<End> {
        self.taken("restore", ok, message.to_owned());
        Some(End::RolledBack(Failure {
            message: format!("{}; {message}", failure.message),
            ..failure
        }))
    }
}
