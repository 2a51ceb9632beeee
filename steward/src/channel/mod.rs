//! The upgrade channel's folder: the inbox watched, files claimed, judged and journalled, results written, each claim handled once.
//! What an instruction does is in [`crate::upgrade`]; the whole is told in `docs/upgrade.md`.

mod applied;
mod arrivals;
mod claim;
mod inbox;
mod journal;
mod known_bad;
mod outcome;
mod signature;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use shared::home::Home;
use tracing::{info, warn};

pub use claim::Claim;
pub use journal::Journal;
pub use outcome::{Outcome, Report, Step};

use crate::choice::Choice;
use crate::chosen::Chosen;
use crate::configuration;
use crate::conversion;
use crate::durable;
use crate::event::Event;
use crate::instruction::{Action, Digest, Instruction, Kind, Refusal};
use crate::succession;
use crate::tree;
use applied::Applied;
use arrivals::Arrivals;
use inbox::Inbox;
use known_bad::KnownBad;

/// The inbox is looked at this often even when no event says so.
const RESCAN: Duration = Duration::from_secs(5);
/// How far ahead of this clock that of a writer may be, seconds.
const CLOCKS_DIFFER_S: u64 = 300;
/// Ends that `status` remembers.
const MOST_HANDLED: usize = 50;

/// States in which the old kernel has not been asked to stop.
const UNTOUCHED: [&str; 5] = ["accepted", "staging", "preparing", "rehearsing", "warming"];

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

    fn judge(&self, claim: &Claim, running: &Chosen) -> Result<Instruction, Refusal> {
        let bytes = claim.read()?;
        let keys = &self.configuration.public_keys;
        let signed = signature::check(keys, &bytes, claim.signature().as_deref());
        let instruction = match (signed, Instruction::parse(&bytes)) {
            (Ok(()), parsed) => parsed?,
            (Err(refusal), parsed) => {
                let id = parsed.map_or_else(|refused| refused.id, |instruction| Some(instruction.id));
                return Err(Refusal { id, ..refusal });
            }
        };
        match self.admit(&instruction, running) {
            Ok(()) => Ok(instruction),
            Err(refusal) => Err(Refusal {
                id: Some(instruction.id),
                ..refusal
            }),
        }
    }

    /// Judges what the form does not say: time, history, place, base.
    fn admit(&self, instruction: &Instruction, running: &Chosen) -> Result<(), Refusal> {
        let refuse = |reason, message: String| Err(Refusal::new(reason, message));
        let now = unix_ms() / 1000;
        if let Some(expires) = instruction.expires_unix.filter(|expires| *expires <= now) {
            return refuse(
                "expired",
                format!("it expired at {expires}, {} s ago", now - expires),
            );
        }
        if let Some(created) = instruction
            .created_unix
            .filter(|created| *created > now + CLOCKS_DIFFER_S)
        {
            let message = format!("it was created {} s from now; is a clock wrong?", created - now);
            return refuse("from_future", message);
        }
        if self.applied.has(&instruction.id) {
            return refuse(
                "replayed",
                format!("an instruction with the id {} was applied before", instruction.id),
            );
        }
        match (instruction.sequence, self.applied.largest_sequence()) {
            (Some(given), Some(largest)) if given <= largest => {
                return refuse(
                    "stale_sequence",
                    format!("sequence {given} is not larger than {largest}, applied before"),
                );
            }
            (None, _) if !self.configuration.public_keys.is_empty() => {
                return refuse(
                    "missing_key",
                    "sequence is missing; a signed instruction needs it".to_owned(),
                );
            }
            _ => {}
        }
        let digest = instruction.target.digest.to_string();
        if let Some(bad) = self.known_bad.find(&digest).filter(|_| !instruction.is_again) {
            let message = format!(
                "this program was tried by {} and found bad ({}); an instruction with \"again\": true tries it all the same",
                bad.instruction, bad.reason
            );
            return refuse("known_bad", message);
        }
        let path = &instruction.target.path;
        let folders = &self.configuration.allow_under;
        let is_allowed = folders.is_empty()
            || path.canonicalize().is_ok_and(|path| {
                self.is_kept(&path) || folders.iter().any(|folder| path.starts_with(folder))
            });
        if !is_allowed {
            return refuse(
                "not_allowed",
                format!("{} lies in no folder of channel.allow_under", path.display()),
            );
        }
        let is_command = |step: &Action| matches!(step, Action::Command(_));
        if !self.configuration.allow_commands && instruction.steps.iter().any(is_command) {
            let message = "it has a command step, and channel.allow_commands is not true";
            return refuse("not_allowed", message.to_owned());
        }
        match &instruction.base {
            Some(base) => check_base(base, &running.judged_by(instruction.target.kind)),
            None => Ok(()),
        }
    }

    /// True for a program that an earlier upgrade brought into the home: the way back is always allowed.
    fn is_kept(&self, path: &Path) -> bool {
        self.home
            .planks()
            .canonicalize()
            .is_ok_and(|planks| path.starts_with(planks))
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

    /// The upgrade in which this process became this program, which goes on.
    pub fn resumed(&mut self) -> Option<Accepted> {
        self.resumed.take()
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

    /// Claims without a result get one, decided by their journal and by what is chosen to run.
    fn recover(&mut self) {
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

fn check_base(base: &Digest, running: &Path) -> Result<(), Refusal> {
    let found = tree::digest_like(base, running).map_err(|error| {
        let message = format!("{}, which runs, cannot be read: {error}", running.display());
        Refusal::new("base_mismatch", message)
    })?;
    match found == *base {
        true => Ok(()),
        false => Err(Refusal::new(
            "base_mismatch",
            format!("{} runs, which is {found} and not {base}", running.display()),
        )),
    }
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Folder {
        _folder: tempfile::TempDir,
        home: Home,
    }

    fn folder() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        for path in [home.inbox(), home.results(), home.claimed(), home.planks()] {
            fs::create_dir_all(path).unwrap();
        }
        Folder {
            _folder: folder,
            home,
        }
    }

    fn open(folder: &Folder, choice: Option<&Choice>) -> Channel {
        if let Some(choice) = choice {
            choice.record(Some(choice), &folder.home, Kind::Kernel).unwrap();
        }
        let configuration = configuration::Channel {
            enabled: true,
            allow_under: vec!["/opt".into()],
            public_keys: Vec::new(),
            allow_commands: false,
        };
        Channel::open(&folder.home, &configuration, std::sync::mpsc::channel().0)
    }

    fn good(id: &str) -> String {
        let digest = "0".repeat(64);
        format!(
            r#"{{"schema":1,"id":"{id}","sequence":5,"target":{{"kind":"kernel","path":"/opt/../opt","blake3":"{digest}"}}}}"#
        )
    }

    fn result(folder: &Folder, stem: &str) -> serde_json::Value {
        let bytes = fs::read(folder.home.results().join(format!("{stem}.result.json"))).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    const RUNNING: &str = "/bin/true";

    fn running() -> Chosen {
        Chosen {
            kernel: RUNNING.into(),
            inference: RUNNING.into(),
            method_worker: RUNNING.into(),
            model: RUNNING.into(),
            is_model_chosen: false,
            python: None,
            steward: RUNNING.into(),
        }
    }

    /// Asks until everything has been looked at.
    fn settle(channel: &mut Channel) -> Option<Accepted> {
        channel.ask();
        loop {
            let now = Instant::now();
            if channel.due(now) > now + Duration::from_secs(2) {
                return None;
            }
            if let Some(accepted) = channel.next(now, &running()) {
                return Some(accepted);
            }
        }
    }

    fn count(path: &Path) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn what_is_refused_gets_a_result_and_is_gone() {
        let folder = folder();
        let inbox = folder.home.inbox();
        fs::write(inbox.join("half.json"), &good("half")[..40]).unwrap();
        fs::write(inbox.join("note.txt"), "not looked at").unwrap();
        fs::write(inbox.join(".hidden.json"), "not looked at").unwrap();
        fs::create_dir(inbox.join("folder.json")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", inbox.join("link.json")).unwrap();
        fs::write(
            inbox.join("outside.json"),
            good("outside").replace("/opt/../opt", "/etc/passwd"),
        )
        .unwrap();
        fs::write(
            inbox.join("late.json"),
            good("late").replace("\"sequence\":5", "\"expires\":5"),
        )
        .unwrap();
        fs::write(inbox.join(format!("{}.json", "x".repeat(250))), "{}").unwrap();
        let mut channel = open(&folder, None);
        assert!(settle(&mut channel).is_none());
        assert_eq!(result(&folder, "half")["reason"], "malformed");
        assert_eq!(result(&folder, "link")["reason"], "not_a_file");
        assert_eq!(result(&folder, "outside")["reason"], "not_allowed");
        assert_eq!(result(&folder, "late")["reason"], "expired");
        assert_eq!(result(&folder, "late")["id"], "late");
        assert_eq!(count(&folder.home.results()), 5);
        assert_eq!(count(&inbox), 3);
        assert_eq!(count(&folder.home.claimed()), 0);
        assert_eq!(channel.handled.len(), 5);
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn a_file_is_judged_when_it_is_not_changed_any_more() {
        let folder = folder();
        let mut channel = open(&folder, None);
        let path = folder.home.inbox().join("slow.json");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(500) {
            fs::write(&path, "{").unwrap();
            assert!(channel.next(Instant::now(), &running()).is_none());
            assert_eq!(count(&folder.home.results()), 0);
        }
        fs::write(&path, good("slow")).unwrap();
        assert_eq!(settle(&mut channel).unwrap().instruction.id, "slow");
    }

    #[test]
    fn an_applied_id_and_an_old_sequence_are_refused() {
        let folder = folder();
        let mut channel = open(&folder, None);
        fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
        let accepted = settle(&mut channel).unwrap();
        let report = Report::of(
            accepted.claim,
            &accepted.instruction,
            Outcome::Applied,
            "applied",
            "done",
        );
        channel.conclude(report, &accepted.journal);
        assert_eq!(result(&folder, "a")["outcome"], "applied");
        // A steward started anew knows as much.
        let mut channel = open(&folder, None);
        fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
        fs::write(folder.home.inbox().join("b.json"), good("b")).unwrap();
        assert!(settle(&mut channel).is_none());
        assert_eq!(result(&folder, "a")["reason"], "replayed");
        assert_eq!(result(&folder, "a.1")["outcome"], "applied");
        assert_eq!(result(&folder, "b")["reason"], "stale_sequence");
    }

    #[test]
    fn what_form_2_says_about_time_and_base_and_commands_counts() {
        let folder = folder();
        let now = unix_ms() / 1000;
        let digest = "0".repeat(64);
        let write = |name: &str, more: &str| {
            let text = format!(
                r#"{{"schema":2,"id":"{name}","target":{{"kind":"kernel","path":"/opt/../opt","digest":"sha256:{digest}"}},{more}}}"#
            );
            fs::write(folder.home.inbox().join(format!("{name}.json")), text).unwrap();
        };
        write("future", &format!("\"created\":{}", now + 400));
        write(
            "based",
            &format!("\"created\":{now},\"base\":{{\"digest\":\"blake3:{digest}\"}}"),
        );
        write(
            "command",
            &format!(r#""created":{now},"steps":[{{"do":"command","argv":["/bin/true"]}}]"#),
        );
        let mut channel = open(&folder, None);
        assert!(settle(&mut channel).is_none());
        assert_eq!(result(&folder, "future")["reason"], "from_future");
        assert_eq!(result(&folder, "based")["reason"], "base_mismatch");
        assert_eq!(result(&folder, "command")["reason"], "not_allowed");
        let running = crate::staging::digest(Path::new(RUNNING)).unwrap();
        write(
            "fits",
            &format!(
                "\"created\":{},\"base\":{{\"digest\":\"blake3:{running}\"}}",
                now + 200
            ),
        );
        assert_eq!(settle(&mut channel).unwrap().instruction.id, "fits");
    }

    /// With a key, what is not signed by it is refused; what is signed once is good once.
    #[test]
    fn a_key_makes_signatures_needed() {
        let folder = folder();
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let configuration = configuration::Channel {
            enabled: true,
            allow_under: Vec::new(),
            public_keys: vec![minisign_verify::PublicKey::from_base64(&pair.pk.to_base64()).unwrap()],
            allow_commands: false,
        };
        let mut channel = Channel::open(&folder.home, &configuration, std::sync::mpsc::channel().0);
        let inbox = folder.home.inbox();
        let drop_in = |name: &str, text: &str, signed: Option<&str>| {
            if let Some(signed) = signed {
                let signature = minisign::sign(None, &pair.sk, signed.as_bytes(), None, None).unwrap();
                fs::write(
                    inbox.join(format!("{name}.json.minisig")),
                    signature.into_string(),
                )
                .unwrap();
            }
            fs::write(inbox.join(format!("{name}.json")), text).unwrap();
        };
        drop_in("none", &good("none"), None);
        drop_in("other", &good("other"), Some(&good("another")));
        let unnumbered = good("unnumbered").replace("\"sequence\":5,", "");
        drop_in("unnumbered", &unnumbered, Some(&unnumbered));
        drop_in("signed", &good("signed"), Some(&good("signed")));
        let accepted = settle(&mut channel).unwrap();
        assert_eq!(accepted.instruction.id, "signed");
        let report = Report::of(
            accepted.claim,
            &accepted.instruction,
            Outcome::Applied,
            "applied",
            "done",
        );
        channel.conclude(report, &accepted.journal);
        drop_in("signed", &good("signed"), Some(&good("signed")));
        assert!(settle(&mut channel).is_none());
        assert_eq!(result(&folder, "none")["reason"], "unsigned");
        assert_eq!(result(&folder, "none")["id"], "none");
        assert_eq!(result(&folder, "other")["reason"], "bad_signature");
        assert_eq!(result(&folder, "unnumbered")["reason"], "missing_key");
        assert_eq!(result(&folder, "signed")["reason"], "replayed");
        assert_eq!(result(&folder, "signed.1")["outcome"], "applied");
        assert_eq!((count(&inbox), count(&folder.home.claimed())), (0, 0));
    }

    #[test]
    fn files_that_others_may_write_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        for (name, mode) in [("group", 0o664), ("all", 0o646), ("mine", 0o644)] {
            let path = folder.home.inbox().join(format!("{name}.json"));
            fs::write(&path, good(name)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut channel = open(&folder, None);
        let accepted = settle(&mut channel).unwrap();
        assert_eq!(accepted.instruction.id, "mine");
        assert!(settle(&mut channel).is_none());
        assert_eq!(result(&folder, "group")["reason"], "not_trusted");
        assert_eq!(result(&folder, "all")["reason"], "not_trusted");
    }

    /// The steward dies in each state of handling one claim; the next one finishes it, once.
    #[test]
    fn a_claim_is_finished_by_its_journal() {
        let check = |states: &[(&str, Value)], is_chosen: bool, outcome: &str, reason: &str| {
            let folder = folder();
            let mut channel = open(&folder, None);
            fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
            let accepted = settle(&mut channel).unwrap();
            for (state, beside) in states {
                accepted.journal.enter(state, beside.clone()).unwrap();
            }
            let choice = Choice {
                schema: 1,
                program: "kernel-1".into(),
                blake3: String::new(),
                instruction: "a".into(),
                claim: match is_chosen {
                    true => accepted.claim.name.clone(),
                    false => "0-0".into(),
                },
                instead_of: None,
            };
            for _ in 0..2 {
                let mut channel = open(&folder, Some(&choice));
                assert!(settle(&mut channel).is_none(), "{states:?}: carried out again");
                assert_eq!(result(&folder, "a")["outcome"], outcome, "{states:?}");
                assert_eq!(result(&folder, "a")["reason"], reason, "{states:?}");
                assert_eq!(result(&folder, "a")["id"], "a");
                assert_eq!(count(&folder.home.results()), 1);
                assert_eq!(count(&folder.home.claimed()), 0);
            }
            assert_eq!(Applied::load(&folder.home).has("a"), outcome == "applied");
        };
        let none = Value::Null;
        let why = json!({"reason": "health_failed", "message": "it hangs"});
        check(&[], false, "failed", "interrupted");
        for state in ["staging", "preparing", "rehearsing", "warming"] {
            check(&[(state, json!({"step": 1}))], false, "failed", "interrupted");
        }
        for state in [
            "draining",
            "yielding",
            "promoting",
            "starting",
            "choosing",
            "probation",
        ] {
            check(&[(state, none.clone())], false, "rolled_back", "interrupted");
        }
        check(
            &[("starting", none.clone()), ("choosing", none)],
            true,
            "applied",
            "applied",
        );
        for state in ["reverting", "restoring"] {
            check(&[(state, why.clone())], false, "rolled_back", "health_failed");
        }
        let folder = folder();
        let mut channel = open(&folder, None);
        fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
        let accepted = settle(&mut channel).unwrap();
        for (outcome, word) in [(Outcome::Applied, "applied"), (Outcome::Failed, "failed")] {
            let claim = accepted.claim.clone();
            let report = Report::of(claim, &accepted.instruction, outcome, word, "m");
            check(&[("concluded", report.record())], false, word, word);
        }
    }

    /// A program that was found bad is not tried again, until an instruction says so; when it is good then, it is forgotten.
    #[test]
    fn what_is_known_to_be_bad_is_not_tried_again() {
        let folder = folder();
        let form_2 = |id: &str, more: &str| {
            let digest = "0".repeat(64);
            let text = format!(
                r#"{{"schema":2,"id":"{id}","created":1,{more}"target":{{"kind":"kernel","path":"/opt/../opt","digest":"blake3:{digest}"}}}}"#
            );
            fs::write(folder.home.inbox().join(format!("{id}.json")), text).unwrap();
        };
        let conclude = |accepted: Accepted, channel: &mut Channel, outcome, reason: &'static str| {
            let report = Report::of(accepted.claim, &accepted.instruction, outcome, reason, "m");
            channel.conclude(report, &accepted.journal);
        };
        let mut channel = open(&folder, None);
        form_2("first", "");
        let accepted = settle(&mut channel).unwrap();
        conclude(accepted, &mut channel, Outcome::RolledBack, "health_failed");
        // A steward started anew knows as much.
        let mut channel = open(&folder, None);
        form_2("second", "");
        assert!(settle(&mut channel).is_none());
        assert_eq!(result(&folder, "second")["reason"], "known_bad");
        assert!(
            result(&folder, "second")["message"]
                .as_str()
                .unwrap()
                .contains("first")
        );
        form_2("third", r#""again":true,"#);
        let accepted = settle(&mut channel).unwrap();
        conclude(accepted, &mut channel, Outcome::Applied, "applied");
        form_2("fourth", "");
        let accepted = settle(&mut channel).unwrap();
        assert_eq!(accepted.instruction.id, "fourth");
        // A step that failed says nothing about the program.
        conclude(accepted, &mut channel, Outcome::Failed, "step_failed");
        form_2("fifth", "");
        assert!(settle(&mut channel).is_some());
    }

    /// A claim that nothing was begun for is carried out, as if it had been dropped now; one with a result is not.
    #[test]
    fn a_claim_without_a_state_is_judged_afresh() {
        let folder = folder();
        fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
        Claim::take(&folder.home, "a.json".as_ref(), 1).unwrap();
        let mut channel = open(&folder, None);
        let accepted = settle(&mut channel).unwrap();
        assert_eq!(accepted.instruction.id, "a");
        let claim = accepted.claim.clone();
        let report = Report::of(claim, &accepted.instruction, Outcome::Failed, "x", "m");
        report.write(&folder.home.results(), durable::Sync::Now).unwrap();
        fs::remove_file(accepted.claim.folder().join(journal::NAME)).unwrap();
        assert!(settle(&mut open(&folder, None)).is_none());
        assert_eq!(count(&folder.home.claimed()), 0);
        assert_eq!(count(&folder.home.results()), 1);
    }

    #[test]
    fn a_claim_without_its_file_was_none() {
        let folder = folder();
        fs::create_dir(folder.home.claimed().join("1-0")).unwrap();
        let channel = open(&folder, None);
        assert!(channel.handled.is_empty());
        assert_eq!(count(&folder.home.claimed()), 0);
    }

    /// A good instruction is found in a flood, and every file of the flood gets its result.
    #[test]
    fn a_good_one_is_found_among_junk() {
        let folder = folder();
        for number in 0..3000 {
            fs::write(folder.home.inbox().join(format!("{number}.json")), "{junk").unwrap();
        }
        fs::write(folder.home.inbox().join("z.json"), good("z")).unwrap();
        // Else it is too young to be judged when the junk is whole already.
        std::thread::sleep(Duration::from_millis(350));
        let mut channel = open(&folder, None);
        let accepted = settle(&mut channel).unwrap();
        assert_eq!(accepted.instruction.id, "z");
        assert!(count(&folder.home.results()) <= 1, "junk first");
        let report = Report::of(
            accepted.claim,
            &accepted.instruction,
            Outcome::Applied,
            "applied",
            "done",
        );
        channel.conclude(report, &accepted.journal);
        assert!(settle(&mut channel).is_none());
        assert_eq!(count(&folder.home.results()), 3001);
        assert_eq!(
            (count(&folder.home.inbox()), count(&folder.home.claimed())),
            (0, 0)
        );
        assert_eq!(result(&folder, "2999")["reason"], "malformed");
    }
}
