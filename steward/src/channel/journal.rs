//! What was applied: `channel/applied.json`.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shared::home::Home;
use tracing::error;

use crate::durable;

/// Ids kept; the oldest are forgotten.
const MOST_IDS: usize = 10_000;

pub struct Journal {
    path: PathBuf,
    applied: Applied,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Applied {
    schema: u32,
    largest_sequence: Option<u64>,
    /// Oldest first.
    ids: Vec<String>,
}

impl Journal {
    /// The home's journal. A damaged one is put aside as `applied.json.damaged` and begun anew.
    pub fn load(home: &Home) -> Journal {
        let path = home.path().join("channel/applied.json");
        let empty = || Applied {
            schema: 1,
            ..Applied::default()
        };
        let applied = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|cause| {
                error!(
                    "{} is damaged ({cause}) and put aside: replays are not known any more",
                    path.display()
                );
                let _ = fs::rename(&path, path.with_extension("json.damaged"));
                empty()
            }),
            Err(_) => empty(),
        };
        Journal { path, applied }
    }

    pub fn has(&self, id: &str) -> bool {
        self.applied.ids.iter().any(|known| known == id)
    }

    pub fn largest_sequence(&self) -> Option<u64> {
        self.applied.largest_sequence
    }

    /// Adds an applied instruction, durably; twice is once.
    pub fn add(&mut self, id: &str, sequence: Option<u64>) -> io::Result<()> {
        let mut applied = self.applied.clone();
        if !self.has(id) {
            applied.ids.push(id.to_owned());
        }
        let excess = applied.ids.len().saturating_sub(MOST_IDS);
        applied.ids.drain(..excess);
        applied.largest_sequence = applied.largest_sequence.max(sequence);
        durable::write(&self.path, &serde_json::to_vec(&applied)?)?;
        self.applied = applied;
        Ok(())
    }
}
