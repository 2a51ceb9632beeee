//! The upgrade channel's folder: the inbox watched, files claimed, results written, each claim handled once. What an
//! instruction does is in [`crate::upgrade`]; the whole is told in `docs/channel.md`.

mod claim;
mod inbox;
mod journal;
mod outcome;

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notify::{RecursiveMode, Watcher};
use shared::home::Home;
use tracing::{info, warn};

pub use claim::Claim;
pub use outcome::{Outcome, Report, Step};

use crate::choice::Choice;
use crate::configuration;
use crate::event::Event;
use crate::instruction::{Instruction, Refusal};
use inbox::Inbox;
use journal::Journal;

/// The inbox is looked at this often even when no event says so.
const RESCAN: Duration = Duration::from_secs(5);

pub struct Channel {
    home: Home,
    allow_under: Vec<PathBuf>,
    inbox: Inbox,
    journal: Journal,
    rescan_at: Instant,
    /// Reports that could not be written yet (a full disk, say), tried again with each rescan.
    unwritten: Vec<Report>,
    /// Instructions handled since start: file name and outcome.
    pub handled: Vec<(String, String)>,
    /// Held for its thread.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Channel {
    /// Begins to watch, and finishes what an earlier steward had claimed.
    pub fn open(
        home: &Home,
        configuration: &configuration::Channel,
        choice: Option<&Choice>,
        events: Sender<Event>,
    ) -> Channel {
        let mut channel = Channel {
            home: home.clone(),
            allow_under: configuration.allow_under.clone(),
            inbox: Inbox::new(home.inbox()),
            journal: Journal::load(home),
            rescan_at: Instant::now(),
            unwritten: Vec::new(),
            handled: Vec::new(),
            _watcher: watch(home, events),
        };
        channel.recover(choice);
        channel
    }

    /// When [`Channel::next`] should be asked, events aside.
    pub fn due(&self) -> Instant {
        self.inbox
            .due()
            .map_or(self.rescan_at, |due| due.min(self.rescan_at))
    }

    /// An event came: look at the inbox now.
    pub fn hint(&mut self, now: Instant) {
        self.rescan_at = now;
    }

    /// Looks at the inbox when that is due, refuses what is to be refused, and hands out the first instruction that is to be
    /// carried out. The caller ends it by [`Channel::conclude`] before it asks again.
    pub fn next(&mut self, now: Instant) -> Option<(Claim, Instruction)> {
        if now < self.due() {
            return None;
        }
        if now >= self.rescan_at {
            self.rescan_at = now + RESCAN;
            for report in std::mem::take(&mut self.unwritten) {
                self.write(report);
            }
        }
        for name in self.inbox.stable(now) {
            let claim = match Claim::take(&self.home, &name, unix_ms()) {
                Ok(claim) => claim,
                Err(error) => {
                    warn!("cannot claim {}: {error}", name.display());
                    continue;
                }
            };
            match self.judge(&claim) {
                // What follows stays in the inbox.
                Ok(instruction) => {
                    self.rescan_at = now;
                    return Some((claim, instruction));
                }
                Err(refusal) => self.conclude(Report::refused(claim, refusal)),
            }
        }
        None
    }

    /// Ends a claim: its result is written, then its file removed.
    pub fn conclude(&mut self, report: Report) {
        info!(
            file = report.claim.file,
            outcome = report.outcome.word(),
            reason = report.reason,
            "instruction handled: {}",
            report.message
        );
        self.handled
            .push((report.claim.file.clone(), report.outcome.word().to_owned()));
        self.write(report);
    }

    fn write(&mut self, report: Report) {
        let written = match (&report.outcome, &report.id) {
            (Outcome::Applied, Some(id)) => self.journal.add(id, report.sequence),
            _ => Ok(()),
        };
        let written = written
            .and_then(|()| report.write(&self.home.results()))
            .and_then(|()| report.claim.remove());
        if let Err(error) = written {
            warn!(
                "cannot write the result of {}: {error}; tried again later",
                report.claim.file
            );
            self.unwritten.push(report);
        }
    }

    fn judge(&self, claim: &Claim) -> Result<Instruction, Refusal> {
        let instruction = Instruction::parse(&claim.read()?)?;
        let refuse = |reason, message: String| {
            Err(Refusal {
                id: Some(instruction.id.clone()),
                ..Refusal::new(reason, message)
            })
        };
        let now = unix_ms() / 1000;
        match instruction.expires_unix {
            Some(expires) if expires <= now => {
                return refuse(
                    "expired",
                    format!("it expired at {expires}, {} s ago", now - expires),
                );
            }
            _ => {}
        }
        if self.journal.has(&instruction.id) {
            return refuse(
                "replayed",
                format!("an instruction with the id {} was applied before", instruction.id),
            );
        }
        match (instruction.sequence, self.journal.largest_sequence()) {
            (Some(given), Some(largest)) if given <= largest => {
                return refuse(
                    "stale_sequence",
                    format!("sequence {given} is not larger than {largest}, applied before"),
                );
            }
            _ => {}
        }
        let path = &instruction.target.path;
        let is_allowed = self.allow_under.is_empty()
            || path
                .canonicalize()
                .is_ok_and(|path| self.allow_under.iter().any(|folder| path.starts_with(folder)));
        if !is_allowed {
            return refuse(
                "not_allowed",
                format!("{} lies in no folder of channel.allow_under", path.display()),
            );
        }
        Ok(instruction)
    }

    /// Claims without a result get one, decided by what is chosen to run.
    fn recover(&mut self, choice: Option<&Choice>) {
        for claim in Claim::left(&self.home) {
            if outcome::has_result(&self.home.results(), &claim) {
                if let Err(error) = claim.remove() {
                    warn!("cannot remove the claim {}: {error}", claim.name);
                }
                continue;
            }
            // Judged by form alone: time and history may have passed since.
            let report = match claim.read().and_then(|bytes| Instruction::parse(&bytes)) {
                Err(refusal) => Report::refused(claim, refusal),
                Ok(instruction) if choice.is_some_and(|choice| choice.claim == claim.name) => {
                    let message = "applied; the steward ended before it could say so";
                    Report::of(claim, &instruction, Outcome::Applied, "applied", message)
                }
                Ok(instruction) => {
                    let message = "the steward ended in the middle; the kernel chosen before runs; drop the file again to \
                                   repeat it";
                    Report::of(claim, &instruction, Outcome::RolledBack, "interrupted", message)
                }
            };
            self.conclude(report);
        }
    }
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64)
}

fn watch(home: &Home, events: Sender<Event>) -> Option<notify::RecommendedWatcher> {
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if is_news(&event) {
            let _ = events.send(Event::Inbox);
        }
    });
    let watched = watcher.and_then(|mut watcher| {
        watcher.watch(&home.inbox(), RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watched
        .inspect_err(|error| warn!("cannot watch the inbox ({error}); it is looked at every 5 s"))
        .ok()
}

/// False for what looking into the inbox causes itself: answering it by another look would never end.
fn is_news(event: &notify::Result<notify::Event>) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    match event {
        Ok(event) => {
            !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
        }
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc::channel;

    use super::*;

    struct Folder {
        _folder: tempfile::TempDir,
        home: Home,
    }

    fn folder() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        for path in [home.inbox(), home.results(), home.path().join("channel/claimed")] {
            fs::create_dir_all(path).unwrap();
        }
        Folder {
            _folder: folder,
            home,
        }
    }

    fn open(folder: &Folder, choice: Option<&Choice>) -> Channel {
        let configuration = configuration::Channel {
            enabled: true,
            allow_under: vec!["/opt".into()],
        };
        Channel::open(&folder.home, &configuration, choice, std::sync::mpsc::channel().0)
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

    /// Asks until files have stood still long enough.
    fn settle(channel: &mut Channel) -> Option<(Claim, Instruction)> {
        let now = Instant::now();
        channel.hint(now);
        channel
            .next(now)
            .or_else(|| channel.next(now + Duration::from_secs(1)))
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
        assert_eq!(count(&folder.home.path().join("channel/claimed")), 0);
        assert_eq!(channel.handled.len(), 5);
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn a_file_is_judged_when_it_stands_still() {
        let folder = folder();
        let mut channel = open(&folder, None);
        let path = folder.home.inbox().join("slow.json");
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        fs::write(&path, "{").unwrap();
        channel.hint(start);
        assert!(channel.next(at(0)).is_none());
        fs::write(&path, good("slow")).unwrap();
        assert!(channel.next(at(310)).is_none());
        assert_eq!(count(&folder.home.results()), 0);
        assert_eq!(channel.next(at(700)).unwrap().1.id, "slow");
    }

    #[test]
    fn an_applied_id_and_an_old_sequence_are_refused() {
        let folder = folder();
        let mut channel = open(&folder, None);
        fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
        let (claim, instruction) = settle(&mut channel).unwrap();
        channel.conclude(Report::of(
            claim,
            &instruction,
            Outcome::Applied,
            "applied",
            "done",
        ));
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

    /// The steward dies after each step of handling one claim; the next one finishes it, once.
    #[test]
    fn a_claim_is_finished_by_facts() {
        let check =
            |prepare: &dyn Fn(&Folder, &Claim, &Instruction), chosen: bool, outcome: &str, reason: &str| {
                let folder = folder();
                let mut channel = open(&folder, None);
                fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
                let (claim, instruction) = settle(&mut channel).unwrap();
                prepare(&folder, &claim, &instruction);
                let choice = Choice {
                    schema: 1,
                    program: "kernel-1".into(),
                    blake3: String::new(),
                    instruction: "a".into(),
                    claim: if chosen { claim.name.clone() } else { "0-0".into() },
                };
                for _ in 0..2 {
                    open(&folder, Some(&choice));
                    assert_eq!(result(&folder, "a")["outcome"], outcome);
                    assert_eq!(result(&folder, "a")["reason"], reason);
                    assert_eq!(count(&folder.home.results()), 1);
                    assert_eq!(count(&folder.home.path().join("channel/claimed")), 0);
                }
                assert_eq!(Journal::load(&folder.home).has("a"), outcome == "applied");
            };
        check(&|_, _, _| {}, false, "rolled_back", "interrupted");
        check(&|_, _, _| {}, true, "applied", "applied");
        let journaled = |folder: &Folder, _: &Claim, _: &Instruction| {
            Journal::load(&folder.home).add("a", Some(5)).unwrap();
        };
        check(&journaled, true, "applied", "applied");
        let reported = |folder: &Folder, claim: &Claim, instruction: &Instruction| {
            let report = Report::of(
                claim.clone(),
                instruction,
                Outcome::Failed,
                "digest_mismatch",
                "m",
            );
            report.write(&folder.home.results()).unwrap();
        };
        check(&reported, false, "failed", "digest_mismatch");
        let damaged = |_: &Folder, claim: &Claim, _: &Instruction| fs::write(claim.path(), "{").unwrap();
        check(&damaged, false, "refused", "malformed");
    }

    #[test]
    fn a_claim_without_its_file_was_none() {
        let folder = folder();
        fs::create_dir(folder.home.path().join("channel/claimed/1-0")).unwrap();
        let channel = open(&folder, None);
        assert!(channel.handled.is_empty());
        assert_eq!(count(&folder.home.path().join("channel/claimed")), 0);
    }

    #[test]
    fn a_look_is_no_news_and_a_file_is() {
        let folder = folder();
        let (sender, events) = channel();
        let mut watcher = notify::recommended_watcher(move |event| {
            let _ = sender.send(event);
        })
        .unwrap();
        let inbox = folder.home.inbox();
        watcher.watch(&inbox, RecursiveMode::NonRecursive).unwrap();
        assert_eq!(fs::read_dir(&inbox).unwrap().count(), 0);
        let aside = folder.home.path().join("a.json");
        fs::write(&aside, "{}").unwrap();
        fs::rename(&aside, inbox.join("a.json")).unwrap();
        let mut news = Vec::new();
        loop {
            let event = events.recv_timeout(Duration::from_secs(10)).unwrap();
            news.push(is_news(&event));
            if event.unwrap().paths == [inbox.join("a.json")] {
                break;
            }
        }
        let (arrived, looks) = news.split_last().unwrap();
        assert!(arrived, "the file is news");
        assert!(
            !looks.is_empty() && !looks.contains(&true),
            "the look is seen, and is none: {looks:?}"
        );
    }
}
