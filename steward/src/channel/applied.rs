//! What was applied: `channel/applied.json`.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shared::home::Home;

use crate::durable;

/// Ids kept; the oldest are forgotten.
const MOST_IDS: usize = 10_000;

pub struct Applied {
    path: PathBuf,
    document: Document,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: u32,
    largest_sequence: Option<u64>,
    /// Oldest first.
    ids: Vec<String>,
}

impl Applied {
    /// The home's record. A damaged one is put aside as `applied.json.damaged` and begun anew.
    pub fn load(home: &Home) -> Applied {
        let path = home.path().join("channel/applied.json");
        let empty = Document {
            schema: 1,
            ..Document::default()
        };
        let document = durable::load_or_set_aside(&path, empty, "replays are not known any more");
        Applied { path, document }
    }

    pub fn has(&self, id: &str) -> bool {
        self.document.ids.iter().any(|known| known == id)
    }

    pub fn largest_sequence(&self) -> Option<u64> {
        self.document.largest_sequence
    }

    /// Adds an applied instruction, durably; twice is once.
    pub fn add(&mut self, id: &str, sequence: Option<u64>) -> io::Result<()> {
        let mut document = self.document.clone();
        if !self.has(id) {
            document.ids.push(id.to_owned());
        }
        let excess = document.ids.len().saturating_sub(MOST_IDS);
        document.ids.drain(..excess);
        document.largest_sequence = document.largest_sequence.max(sequence);
        durable::write(&self.path, &serde_json::to_vec(&document)?)?;
        self.document = document;
        Ok(())
    }
}
