//! Programs that were tried and found bad: `channel/known_bad.json`. They are not tried again until an instruction says `again`.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shared::home::Home;

use super::Report;
use crate::durable;

/// Programs kept; the oldest are forgotten.
const MOST: usize = 1000;
/// Ends that say that the program is at fault, and not the machine or the instruction.
const FAULTS: [&str; 5] = [
    "conversion_failed",
    "health_failed",
    "rehearsal_failed",
    "standby_failed",
    "version_failed",
];

pub struct KnownBad {
    path: PathBuf,
    document: Document,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: u32,
    /// Oldest first.
    programs: Vec<Bad>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bad {
    /// As the instruction named it: `blake3:…` or `sha256:…`.
    pub digest: String,
    /// The instruction that tried it last, and what came of it.
    pub instruction: String,
    pub reason: String,
}

impl KnownBad {
    /// The home's record. A damaged one is put aside as `known_bad.json.damaged` and begun anew.
    pub fn load(home: &Home) -> KnownBad {
        let path = home.path().join("channel/known_bad.json");
        let empty = Document {
            schema: 1,
            ..Document::default()
        };
        let lost = "programs that were found bad are not known any more";
        let document = durable::load_or_set_aside(&path, empty, lost);
        KnownBad { path, document }
    }

    pub fn find(&self, digest: &str) -> Option<&Bad> {
        self.document.programs.iter().find(|bad| bad.digest == digest)
    }

    /// Learns from the end of an instruction, durably; nothing, when its program was not judged.
    pub fn learn(&mut self, report: &Report) -> io::Result<()> {
        let Some(digest) = &report.digest else {
            return Ok(());
        };
        let is_bad = FAULTS.contains(&report.reason.as_ref());
        if !is_bad && (report.outcome != super::Outcome::Applied || self.find(digest).is_none()) {
            return Ok(());
        }
        let mut document = self.document.clone();
        document.programs.retain(|bad| bad.digest != *digest);
        if is_bad {
            document.programs.push(Bad {
                digest: digest.clone(),
                instruction: report.id.clone().unwrap_or_default(),
                reason: report.reason.clone().into_owned(),
            });
        }
        let excess = document.programs.len().saturating_sub(MOST);
        document.programs.drain(..excess);
        durable::write(&self.path, &serde_json::to_vec_pretty(&document)?)?;
        self.document = document;
        Ok(())
    }
}
