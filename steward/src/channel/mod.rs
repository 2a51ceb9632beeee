//! The upgrade channel's folder: the inbox watched, files claimed, judged and journalled, results written, each claim handled once.
//! What an instruction does is in [`crate::upgrade`]; the whole is told in `docs/upgrade.md`.
//!
//! - [`arrivals`], [`inbox`], [`claim`]: files that come, are whole, are taken. [`judgement`], [`signature`]: which are carried out.
//! - [`journal`], [`outcome`]: states and ends, written down. [`applied`], [`known_bad`]: what is remembered of them.
//! - [`recovery`]: what an earlier steward left. This file: the order of all that.

mod applied;
mod arrivals;
mod claim;
mod inbox;
mod journal;
mod judgement;
mod known_bad;
mod outcome;
mod recovery;
mod signature;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use shared::home::Home;
use tracing::{info, warn};

pub use claim::Claim;
pub use journal::Journal;
pub use outcome::{Outcome, Report, Step};

use crate::chosen::Chosen;
use crate::configuration;
use crate::durable;
use crate::event::Event;
use crate::instruction::Instruction;
use applied::Applied;
use arrivals::Arrivals;
use inbox::Inbox;
use known_bad::KnownBad;

/// The inbox is looked at this often even when no event says so.
const RESCAN: Duration = Duration::from_secs(5);
/// Ends that `status` remembers.
const MOST_HANDLED: usize = 50;

/// An instruction to be carried out; its state is `accepted`.
pub struct Accepted {
    pub claim: Claim,
    pub instruction: Instruction,
    pub journal: Journal,
}

pub struct Channel {
    home: Home,
    configuration: configuration::Channel,
    inbox: Inbox,
    arrivals: Arrivals,
    applied: Applied,
    known_bad: KnownBad,
    /// Claimed and not judged yet: what an earlier steward left so, for one.
    claimed: VecDeque<Claim>,
    resumed: Option<Accepted>,
    rescan_at: Instant,
    /// Reports that could not be written yet (a full disk, say), tried again with each rescan.
    unwritten: Vec<Report>,
    /// The last instructions handled since start: file name and outcome.
    pub handled: VecDeque<(String, String)>,
}

impl Channel {
    /// Begins to watch, and finishes what an earlier steward had claimed.
    pub fn open(home: &Home, configuration: &configuration::Channel, events: Sender<Event>) -> Channel {
        let mut channel = Channel {
            home: home.clone(),
            configuration: configuration.clone(),
            arrivals: Arrivals::watch(&home.inbox(), events),
            inbox: Inbox::new(home.inbox()),
            applied: Applied::load(home),
            known_bad: KnownBad::load(home),
            claimed: VecDeque::new(),
            resumed: None,
            rescan_at: Instant::now() + RESCAN,
            unwritten: Vec::new(),
            handled: VecDeque::new(),
        };
        channel.recover();
        channel
    }

    /// When [`Channel::next`] should be asked, events aside.
    pub fn due(&self, now: Instant) -> Instant {
        match self.claimed.is_empty() {
            true => self
                .inbox
                .due(now)
                .map_or(self.rescan_at, |due| due.min(self.rescan_at)),
            false => now,
        }
    }

    /// An event came: look at everything in the inbox.
    pub fn ask(&mut self) {
        self.inbox.ask();
    }

    /// Looks at the inbox as far as that is due, for a slice of time; refuses what is to be refused, and hands out the first
    /// instruction that is to be carried out on a system where these planks run. The caller ends it by
    /// [`Channel::conclude`] before it asks again.
    pub fn next(&mut self, now: Instant, running: &Chosen) -> Option<Accepted> {
        if now >= self.rescan_at {
            self.rescan_at = now + RESCAN;
            self.inbox.ask();
            for report in std::mem::take(&mut self.unwritten) {
                self.write(&[report]);
            }
        }
        let news = self.arrivals.take();
        news.whole.into_iter().for_each(|name| self.inbox.arrived(name));
        if news.needs_look {
            self.inbox.ask();
        }
        self.inbox.look(now);
        if self.claimed.is_empty() {
            let names = match self.inbox.next_good() {
                Some(name) => vec![name],
                None => self.inbox.next_junk(),
            };
            self.claim(&names);
        }
        let mut refused = Vec::new();
        let mut accepted = None;
        while accepted.is_none()
            && let Some(claim) = self.claimed.pop_front()
        {
            match self.judge(&claim, running) {
                Ok(instruction) => accepted = self.accept(claim, instruction),
                Err(refusal) => refused.push(Report::refused(claim, refusal)),
            }
        }
        self.write(&refused);
        accepted
    }

    /// Ends a claim: its end is journalled, its result written, then its file removed.
    pub fn conclude(&mut self, report: Report, journal: &Journal) {
        if let Err(error) = journal.enter("concluded", report.record()) {
            warn!("the end of {} is not in its journal: {error}", report.claim.file);
        }
        self.write(&[report]);
    }

    fn claim(&mut self, names: &[std::ffi::OsString]) {
        let mut claims = Vec::new();
        for name in names {
            match Claim::take(&self.home, name, unix_ms()) {
                Ok(claim) => claims.push(claim),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => warn!("cannot claim {}: {error}", name.display()),
            }
        }
        if claims.is_empty() {
            return;
        }
        if let Err(error) = claim::sync(&self.home, &claims) {
            warn!("claims may not outlive a power cut: {error}");
        }
        self.claimed.extend(claims);
    }

    fn accept(&mut self, claim: Claim, instruction: Instruction) -> Option<Accepted> {
        let begun = Journal::begin(claim.folder()).and_then(|journal| {
            let beside = json!({ "id": instruction.id, "sequence": instruction.sequence });
            journal.enter("accepted", beside).map(|()| journal)
        });
        match begun {
            Ok(journal) => Some(Accepted {
                claim,
                instruction,
                journal,
            }),
            Err(error) => {
                let message = format!("its journal cannot be begun: {error}; nothing was touched");
                self.write(&[Report::of(
                    claim,
                    &instruction,
                    Outcome::Failed,
                    "not_recorded",
                    message,
                )]);
                None
            }
        }
    }

    /// Writes results, and removes their claims. One alone is synced by itself, many together.
    fn write(&mut self, reports: &[Report]) {
        let sync = match reports {
            [] => return,
            [_] => durable::Sync::Now,
            _ => durable::Sync::Later,
        };
        let mut written = Vec::new();
        for report in reports {
            let added = match (&report.outcome, &report.id) {
                (Outcome::Applied, Some(id)) => self.applied.add(id, report.sequence),
                _ => Ok(()),
            };
            let added = added.and_then(|()| self.known_bad.learn(report));
            match added.and_then(|()| report.write(&self.home.results(), sync)) {
                Ok(()) => written.push(report),
                Err(error) => self.keep(report, &error),
            }
        }
        if sync == durable::Sync::Later
            && let Err(error) = durable::sync_all(&self.home.results())
        {
            written.drain(..).for_each(|report| self.keep(report, &error));
        }
        for report in written {
            info!(
                file = report.claim.file,
                outcome = report.outcome.word(),
                reason = report.reason.as_ref(),
                "instruction handled: {}",
                report.message
            );
            self.handled
                .push_back((report.claim.file.clone(), report.outcome.word().to_owned()));
            if self.handled.len() > MOST_HANDLED {
                self.handled.pop_front();
            }
            if let Err(error) = report.claim.remove() {
                // Its result stands: a later steward removes it.
                warn!("cannot remove the claim {}: {error}", report.claim.name);
            }
        }
    }

    fn keep(&mut self, report: &Report, error: &std::io::Error) {
        warn!(
            "cannot write the result of {}: {error}; tried again later",
            report.claim.file
        );
        self.unwritten.push(report.clone());
    }
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64)
}
