//! An upgrade of the steward itself: begun by the old one, ended by the new one, as which this process goes on.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::home::Home;

use super::{GRACE, Phase, Upgrade};
use crate::change::{Failure, Limits};
use crate::channel::{Accepted, Outcome};
use crate::event::Event;
use crate::preparation::Both;
use crate::staging::Staged;
use crate::succession::{self, Succession};
use crate::supervisor::Supervisor;

/// A new steward reads its home, and a machine may be busy, before it answers.
const LEAST_ANSWER: Duration = Duration::from_secs(3);

impl Upgrade {
    /// Goes on with the upgrade in which this process became this program.
    pub fn resume(
        home: &Home,
        accepted: Accepted,
        planks: &Supervisor,
        limits: Limits,
        events: Sender<Event>,
        now: Instant,
    ) -> Upgrade {
        let until = now + limits.health;
        let mut upgrade = Upgrade::of(home, accepted, planks, limits, events);
        upgrade.phase = Phase::Succeeded(until, None);
        let mut staged = upgrade.journal.last();
        if let Value::Object(keys) = &mut staged {
            keys.remove("state");
            keys.remove("at");
        }
        let _ = upgrade.enter("probation", staged);
        upgrade
    }

    /// The new steward is in the home; [`Upgrade::succeed`] comes next.
    pub(super) fn succeeding(&mut self, both: Box<Both>) {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let beside = json!({
            "program": name(&both.new.path), "blake3": both.new.blake3, "version": both.new.version,
            "old": name(&both.old.path), "old_blake3": both.old.blake3,
        });
        match self.enter("succeeding", beside) {
            Ok(()) => self.phase = Phase::Succeeding(both),
            Err(failure) => self.end(Outcome::Failed, failure),
        }
    }

    /// Becomes the new steward, where everything is prepared for that. Answers why it did not, in which case the upgrade has ended.
    pub fn succeed(&mut self, left: &dyn Fn() -> io::Result<Vec<(&'static str, OwnedFd)>>) -> Option<String> {
        let Phase::Succeeding(both) = &self.phase else {
            return None;
        };
        let error = match left() {
            Ok(descriptors) => succession::succeed(&Succession {
                home: &self.home,
                claim: &self.claim.name,
                new: &both.new.path,
                old: &both.old.path,
                limit: self.limits.health + self.limits.handover.probation + GRACE,
                answer: self.limits.handover.answer.max(LEAST_ANSWER),
                descriptors,
            }),
            Err(error) => error,
        };
        let message = format!("{} cannot be started: {error}", both.new.path.display());
        self.step("succeed", false, message.clone());
        self.end(Outcome::Failed, Failure::new("standby_failed", message.clone()));
        Some(message)
    }

    /// The new steward sees the kernel serve for a while; then it is chosen.
    pub(super) fn believe(
        &mut self,
        until: Instant,
        from: Option<Instant>,
        planks: &mut Supervisor,
        now: Instant,
    ) {
        let from = match planks.kernel.is_ready() {
            true => Some(from.unwrap_or(now)),
            false => None,
        };
        if from.is_some_and(|from| now >= from + self.limits.handover.probation) {
            let last = self.journal.last();
            let staged = |name: &str, blake3: &str| Staged {
                path: self.home.planks().join(last[name].as_str().unwrap_or_default()),
                blake3: last[blake3].as_str().unwrap_or_default().to_owned(),
                version: last["version"].as_str().unwrap_or_default().to_owned(),
            };
            let both = Both {
                new: staged("program", "blake3"),
                old: staged("old", "old_blake3"),
            };
            self.step(
                "prove",
                true,
                "the new steward supervises the kernel, which serves".to_owned(),
            );
            match self.record(&both, planks) {
                Ok(()) => self.applied(&both),
                // The sentry restores the old one.
                Err(failure) => self.phase = Phase::Failed(failure.message),
            }
            return;
        }
        self.phase = match now >= until {
            true => Phase::Failed("the new steward does not see the kernel serve".to_owned()),
            false => Phase::Succeeded(until, from),
        };
    }
}
