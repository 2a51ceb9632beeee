//! What an earlier steward left: each claim without a result gets one, or goes on.

use serde_json::Value;
use shared::home::Home;
use tracing::warn;

use super::claim::Claim;
use super::{Accepted, Channel, Journal, Outcome, Report, journal, outcome, unix_ms};
use crate::choice::Choice;
use crate::conversion;
use crate::instruction::{Instruction, Kind};
use crate::succession;

/// States in which the old kernel has not been asked to stop.
const UNTOUCHED: [&str; 5] = ["accepted", "staging", "preparing", "rehearsing", "warming"];

impl Channel {
    /// The upgrade in which this process became this program, which goes on.
    pub fn resumed(&mut self) -> Option<Accepted> {
        self.resumed.take()
    }

    /// Claims without a result get one, decided by their journal and by what is chosen to run.
    pub(super) fn recover(&mut self) {
        for claim in Claim::left(&self.home) {
            if outcome::has_result(&self.home.results(), &claim) {
                if let Err(error) = claim.remove() {
                    warn!("cannot remove the claim {}: {error}", claim.name);
                }
                continue;
            }
            let states = journal::read(claim.folder());
            if Some(&claim.name) == succession::claim().as_ref() && self.resumed.is_none() {
                self.resumed = self.resume(&claim);
                if self.resumed.is_some() {
                    continue;
                }
            }
            let Some(last) = states.last() else {
                // Nothing was begun: it is as if it had been dropped now.
                self.claimed.push_back(claim);
                continue;
            };
            self.recover_image(&claim);
            let report = Report::restored(claim.clone(), last)
                .unwrap_or_else(|| by_facts(&self.home, claim, &states[0], last));
            self.write(&[report]);
        }
    }

    fn resume(&self, claim: &Claim) -> Option<Accepted> {
        let instruction = claim.read().and_then(|bytes| Instruction::parse(&bytes));
        let instruction = instruction.inspect_err(|error| warn!("{error}")).ok()?;
        let journal = Journal::reopen(claim.folder()).inspect_err(|error| warn!("{error}"));
        Some(Accepted {
            claim: claim.clone(),
            instruction,
            journal: journal.ok()?,
        })
    }

    /// Of an upgrade of the image's format that was broken off.
    fn recover_image(&self, claim: &Claim) {
        let instruction = claim.read().and_then(|bytes| Instruction::parse(&bytes)).ok();
        if let Some(plan) = instruction.and_then(|instruction| instruction.image) {
            let choice = Choice::load(&self.home, Kind::Kernel).ok().flatten();
            let is_chosen = choice.is_some_and(|choice| choice.claim == claim.name);
            conversion::recover(&self.home, &claim.name, is_chosen, plan.is_restored);
        }
    }
}

/// The end of a claim whose steward died in the state `last`.
fn by_facts(home: &Home, claim: Claim, first: &Value, last: &Value) -> Report {
    let instruction = claim.read().and_then(|bytes| Instruction::parse(&bytes)).ok();
    let target = instruction.map(|instruction| instruction.target);
    let choice = target
        .as_ref()
        .and_then(|target| Choice::load(home, target.kind).ok().flatten());
    let digest = target.map(|target| target.digest.to_string());
    let state = last["state"].as_str().unwrap_or_default();
    let text = |key: &str| last[key].as_str();
    let (outcome, reason, message) = if choice.is_some_and(|choice| choice.claim == claim.name) {
        let message = "applied; the steward ended before it could say so".to_owned();
        (Outcome::Applied, "applied".to_owned(), message)
    } else if let Some((_, why)) = succession::failed().filter(|(failed, _)| *failed == claim.name) {
        let message = format!("{why}; the old steward serves again");
        (Outcome::RolledBack, "health_failed".to_owned(), message)
    } else if UNTOUCHED.contains(&state) {
        let message = format!(
            "the steward ended while it was {state}; nothing was switched; drop the file again to repeat it"
        );
        (Outcome::Failed, "interrupted".to_owned(), message)
    } else if let (Some(reason), Some(message)) = (text("reason"), text("message")) {
        let message = format!("{message}; the steward ended meanwhile; what was chosen before runs");
        (Outcome::RolledBack, reason.to_owned(), message)
    } else {
        let message = format!(
            "the steward ended while it was {state}; what was chosen before runs; drop the file again to repeat it"
        );
        (Outcome::RolledBack, "interrupted".to_owned(), message)
    };
    Report {
        claim,
        id: first["id"].as_str().map(str::to_owned),
        sequence: first["sequence"].as_u64(),
        digest,
        outcome,
        reason: reason.into(),
        message,
        steps: Vec::new(),
        health: serde_json::from_value(last["health"].clone()).ok(),
        ended: unix_ms(),
    }
}
