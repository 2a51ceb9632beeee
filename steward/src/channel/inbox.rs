//! The inbox as a rescan sees it: which files stand still.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

/// How long size and time of change must stand still before a file is judged.
const STILL: Duration = Duration::from_millis(300);

pub struct Inbox {
    folder: PathBuf,
    /// What was seen, in order of names.
    seen: BTreeMap<OsString, Seen>,
}

struct Seen {
    size_bytes: u64,
    modified: Option<SystemTime>,
    since: Instant,
}

impl Inbox {
    pub fn new(folder: PathBuf) -> Inbox {
        Inbox {
            folder,
            seen: BTreeMap::new(),
        }
    }

    /// When the file seen longest will have stood still.
    pub fn due(&self) -> Option<Instant> {
        self.seen.values().map(|seen| seen.since + STILL).min()
    }

    /// Rescans; the names of files and links that are ready to be claimed. They are forgotten: what is not claimed is seen
    /// afresh by the next rescan.
    pub fn stable(&mut self, now: Instant) -> Vec<OsString> {
        let mut seen = BTreeMap::new();
        let mut stable = Vec::new();
        for (name, found) in self.scan(now) {
            let since = match self.seen.get(&name) {
                Some(known) if known.size_bytes == found.size_bytes && known.modified == found.modified => {
                    known.since
                }
                _ => now,
            };
            if now.saturating_duration_since(since) >= STILL {
                stable.push(name);
            } else {
                seen.insert(name, Seen { since, ..found });
            }
        }
        self.seen = seen;
        stable
    }

    fn scan(&self, now: Instant) -> BTreeMap<OsString, Seen> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                warn!("cannot read {}: {error}", self.folder.display());
                let _ = fs::create_dir_all(&self.folder);
                return BTreeMap::new();
            }
        };
        entries
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.as_encoded_bytes();
                name.ends_with(b".json") && !name.starts_with(b".")
            })
            .filter_map(|entry| {
                // Of the entry itself: links are not followed.
                let data = entry.metadata().ok()?;
                let kind = data.file_type();
                (kind.is_file() || kind.is_symlink()).then(|| {
                    (
                        entry.file_name(),
                        Seen {
                            size_bytes: data.len(),
                            modified: data.modified().ok(),
                            since: now,
                        },
                    )
                })
            })
            .collect()
    }
}
