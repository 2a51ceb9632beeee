//! The inbox as looks at it show it: which files are whole, and whether each could be carried out.
//!
//! A look goes through the folder in slices of time, so that the loop runs on in a flood of junk. What is good in form is handed out
//! as soon as the look that found it is over; junk is handed out for refusal when nothing good is known.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, ReadDir};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

use super::claim;
use crate::instruction::Instruction;

/// How long a file that is not renamed into the inbox must not have been changed before it is judged.
const STILL: Duration = Duration::from_millis(300);
/// How long one call may look.
const SLICE: Duration = Duration::from_millis(20);
/// Names of either kind kept; others are found again by a later look.
const MOST_NAMES: usize = 256;
/// Between the end of a look for what is good and the next one while junk is swept out.
const SWEEP: Duration = Duration::from_secs(1);

pub struct Inbox {
    folder: PathBuf,
    /// Whole and good in form, in order of names.
    good: BTreeSet<OsString>,
    /// Whole and to be refused.
    junk: Vec<OsString>,
    look: Option<Look>,
    /// A look is to begin.
    is_asked: bool,
    /// There is more junk than is named in `junk`.
    has_more_junk: bool,
    /// When a file that was too young at the last look will do.
    young_due: Option<Instant>,
    searched_at: Option<Instant>,
}

struct Look {
    entries: ReadDir,
    /// A search looks at everything before anything is refused; a sweep stops to have junk refused.
    is_sweep: bool,
}

/// What a file's state of change says.
enum Age {
    Whole,
    Young(Duration),
}

impl Inbox {
    /// Begins with a look at all that is there.
    pub fn new(folder: PathBuf) -> Inbox {
        Inbox {
            folder,
            good: BTreeSet::new(),
            junk: Vec::new(),
            look: None,
            is_asked: true,
            has_more_junk: false,
            young_due: None,
            searched_at: None,
        }
    }

    /// Asks for a look at everything.
    pub fn ask(&mut self) {
        self.is_asked = true;
    }

    /// A file that was renamed into the inbox: it is whole.
    pub fn arrived(&mut self, name: OsString) {
        self.sort_in(name);
    }

    /// When [`Inbox::look`] has something to do; `None` for not before an event.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let is_busy = self.is_asked || self.look.is_some() || self.has_work() || self.has_more_junk;
        if is_busy { Some(now) } else { self.young_due }
    }

    /// Looks on for a slice of time.
    pub fn look(&mut self, now: Instant) {
        self.begin(now);
        let Some(mut look) = self.look.take() else { return };
        let until = Instant::now() + SLICE;
        for entry in look.entries.by_ref() {
            let Ok(entry) = entry else { continue };
            let name = entry.file_name();
            // Of the entry itself: links are not followed.
            if is_candidate(&name)
                && let Ok(data) = entry.metadata()
                && (data.file_type().is_file() || data.file_type().is_symlink())
            {
                match age(&data) {
                    Age::Whole => self.sort_in(name),
                    Age::Young(left) => {
                        let due = now + left;
                        self.young_due = Some(self.young_due.map_or(due, |known| known.min(due)));
                    }
                }
            }
            let has_to_stop = look.is_sweep && (self.junk.len() >= MOST_NAMES || !self.good.is_empty());
            if has_to_stop || Instant::now() >= until {
                self.look = Some(look);
                return;
            }
        }
        if !look.is_sweep {
            self.searched_at = Some(Instant::now());
        }
    }

    /// The first good name, once nothing can be before it; it is forgotten.
    pub fn next_good(&mut self) -> Option<OsString> {
        self.good.pop_first()
    }

    /// Junk to be refused now; forgotten. Empty while a search goes on or something good is known.
    pub fn next_junk(&mut self) -> Vec<OsString> {
        let is_searching = self.is_asked || self.look.as_ref().is_some_and(|look| !look.is_sweep);
        match is_searching || !self.good.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut self.junk),
        }
    }

    fn has_work(&self) -> bool {
        !self.good.is_empty() || !self.junk.is_empty()
    }

    fn begin(&mut self, now: Instant) {
        if self.young_due.is_some_and(|due| due <= now) {
            self.young_due = None;
            self.is_asked = true;
        }
        let may_search = match &self.look {
            None => true,
            Some(look) => {
                look.is_sweep
                    && self
                        .searched_at
                        .is_none_or(|at| now.saturating_duration_since(at) >= SWEEP)
            }
        };
        if self.is_asked && may_search {
            self.is_asked = false;
            self.open(false);
        } else if self.look.is_none() && self.has_more_junk && self.junk.is_empty() {
            self.has_more_junk = false;
            self.open(true);
        }
    }

    fn open(&mut self, is_sweep: bool) {
        match fs::read_dir(&self.folder) {
            Ok(entries) => self.look = Some(Look { entries, is_sweep }),
            Err(error) => {
                warn!("cannot read {}: {error}", self.folder.display());
                let _ = fs::create_dir_all(&self.folder);
            }
        }
    }

    /// Judges the form of a file that lies there, without touching it. It is judged again once it is claimed.
    fn sort_in(&mut self, name: OsString) {
        if self.good.contains(&name) || self.junk.contains(&name) {
            return;
        }
        let is_good =
            claim::read(&self.folder.join(&name)).is_ok_and(|bytes| Instruction::parse(&bytes).is_ok());
        if is_good {
            self.good.insert(name);
            if self.good.len() > MOST_NAMES {
                self.good.pop_last();
                self.is_asked = true;
            }
        } else if self.junk.len() < MOST_NAMES {
            self.junk.push(name);
        } else {
            self.has_more_junk = true;
        }
    }
}

/// Whether a name is looked at.
pub fn is_candidate(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".json") && !name.starts_with(b".")
}

/// By the time of change of the inode, which a rename sets as well. A time in the future is one before the clock was put back.
fn age(data: &fs::Metadata) -> Age {
    let changed = Duration::new(
        data.ctime().max(0).unsigned_abs(),
        data.ctime_nsec().unsigned_abs() as u32,
    );
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    match now.checked_sub(changed) {
        Some(age) if age < STILL => Age::Young(STILL - age),
        _ => Age::Whole,
    }
}
