//! How an instruction ended, and the result file that says so.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Claim, unix_ms};
use crate::durable;
use crate::instruction::{Instruction, Refusal};

/// The four ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// Nothing was touched.
    Refused,
    /// Tried; nothing was changed.
    Failed,
    /// The old kernel was restored.
    RolledBack,
}

impl Outcome {
    /// The word of `docs/channel.md`.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::RolledBack => "rolled_back",
        }
    }
}

/// One step of an upgrade; times in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub step: &'static str,
    pub ok: bool,
    pub message: String,
    pub begun: u64,
    pub ended: u64,
}

/// Everything that the result file says.
#[derive(Clone, Debug)]
pub struct Report {
    pub claim: Claim,
    pub id: Option<String>,
    pub sequence: Option<u64>,
    pub outcome: Outcome,
    pub reason: &'static str,
    pub message: String,
    pub steps: Vec<Step>,
    /// Milliseconds since 1970.
    pub ended: u64,
}

impl Report {
    pub fn refused(claim: Claim, refusal: Refusal) -> Report {
        Report {
            claim,
            id: refusal.id,
            sequence: None,
            outcome: Outcome::Refused,
            reason: refusal.reason,
            message: refusal.message,
            steps: Vec::new(),
            ended: unix_ms(),
        }
    }

    pub fn of(
        claim: Claim,
        instruction: &Instruction,
        outcome: Outcome,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Report {
        Report {
            claim,
            id: Some(instruction.id.clone()),
            sequence: instruction.sequence,
            outcome,
            reason,
            message: message.into(),
            steps: Vec::new(),
            ended: unix_ms(),
        }
    }

    /// Writes the result, durably. What stands under its name is moved aside, unless it is of the same claim.
    pub fn write(&self, results: &Path) -> io::Result<()> {
        let file = ResultFile {
            schema: 1,
            id: self.id.as_deref(),
            file: &self.claim.file,
            claim: &self.claim.name,
            outcome: self.outcome.word(),
            reason: self.reason,
            message: &self.message,
            steps: &self.steps,
            begun: self.claim.begun,
            ended: self.ended,
        };
        let stem = stem(&self.claim.file);
        let path = results.join(format!("{stem}.result.json"));
        if !has_result(results, &self.claim) && path.symlink_metadata().is_ok() {
            let aside = (1..).map(|number| results.join(format!("{stem}.{number}.result.json")));
            if let Some(aside) = aside.into_iter().find(|aside| aside.symlink_metadata().is_err()) {
                fs::rename(&path, aside)?;
            }
        }
        durable::write(&path, &serde_json::to_vec_pretty(&file)?)
    }
}

/// True when the result of exactly this claim stands.
pub fn has_result(results: &Path, claim: &Claim) -> bool {
    #[derive(Deserialize)]
    struct Named {
        claim: String,
    }
    let path = results.join(format!("{}.result.json", stem(&claim.file)));
    let named = fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Named>(&bytes).ok());
    named.is_some_and(|named| named.claim == claim.name)
}

#[derive(Serialize)]
struct ResultFile<'a> {
    schema: u32,
    id: Option<&'a str>,
    file: &'a str,
    claim: &'a str,
    outcome: &'a str,
    reason: &'a str,
    message: &'a str,
    steps: &'a [Step],
    begun: u64,
    ended: u64,
}

/// The name without `.json`, short enough to be longer again.
fn stem(file: &str) -> &str {
    let stem = file.strip_suffix(".json").unwrap_or(file);
    let end = stem
        .char_indices()
        .map(|(at, _)| at)
        .take_while(|at| *at <= 200)
        .last();
    if stem.len() <= 200 {
        stem
    } else {
        &stem[..end.unwrap_or(0)]
    }
}
