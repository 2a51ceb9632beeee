//! How an instruction ended, and the result file that says so.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Claim, unix_ms};
use crate::durable;
use crate::health::Health;
use crate::instruction::{Instruction, Refusal};

/// Longest message of a result, in characters: it has to fit the journal, too.
const LONGEST_MESSAGE: usize = 600;

/// The four ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// The word of `docs/upgrade.md`.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub step: String,
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
    /// Of the program, as the instruction names it; `None` where it was never read.
    pub digest: Option<String>,
    pub outcome: Outcome,
    pub reason: Cow<'static, str>,
    pub message: String,
    pub steps: Vec<Step>,
    /// Where the new program was compared with the old one.
    pub health: Option<Health>,
    /// Milliseconds since 1970.
    pub ended: u64,
}

impl Report {
    pub fn refused(claim: Claim, refusal: Refusal) -> Report {
        Report {
            claim,
            id: refusal.id,
            sequence: None,
            digest: None,
            outcome: Outcome::Refused,
            reason: refusal.reason.into(),
            message: refusal.message,
            steps: Vec::new(),
            health: None,
            ended: unix_ms(),
        }
    }

    pub fn of(
        claim: Claim,
        instruction: &Instruction,
        outcome: Outcome,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Report {
        Report {
            claim,
            id: Some(instruction.id.clone()),
            sequence: instruction.sequence,
            digest: Some(instruction.target.digest.to_string()),
            outcome,
            reason: reason.into(),
            message: message.into(),
            steps: Vec::new(),
            health: None,
            ended: unix_ms(),
        }
    }

    /// What stands beside the state `concluded`.
    pub fn record(&self) -> Value {
        json!({ "sequence": self.sequence, "digest": self.digest, "result": self.file() })
    }

    /// The report that a `concluded` claim had.
    pub fn restored(claim: Claim, state: &Value) -> Option<Report> {
        let file: ResultFile = serde_json::from_value(state["result"].clone()).ok()?;
        Some(Report {
            claim,
            id: file.id,
            sequence: state["sequence"].as_u64(),
            digest: state["digest"].as_str().map(str::to_owned),
            outcome: file.outcome,
            reason: file.reason.into(),
            message: file.message,
            steps: file.steps,
            health: file.health,
            ended: file.ended,
        })
    }

    /// Writes the result, durably with [`durable::Sync::Now`]. What stands under its name is moved aside, unless it is of the same claim.
    pub fn write(&self, results: &Path, sync: durable::Sync) -> io::Result<()> {
        let stem = stem(&self.claim.file);
        let path = results.join(format!("{stem}.result.json"));
        if path.symlink_metadata().is_ok() && !has_result(results, &self.claim) {
            let aside = (1..).map(|number| results.join(format!("{stem}.{number}.result.json")));
            if let Some(aside) = aside.into_iter().find(|aside| aside.symlink_metadata().is_err()) {
                fs::rename(&path, aside)?;
            }
        }
        durable::write_with(&path, &serde_json::to_vec_pretty(&self.file())?, sync)
    }

    fn file(&self) -> ResultFile {
        ResultFile {
            schema: 1,
            id: self.id.clone(),
            file: self.claim.file.clone(),
            claim: self.claim.name.clone(),
            outcome: self.outcome,
            reason: self.reason.clone().into_owned(),
            message: cut(&self.message),
            steps: self
                .steps
                .iter()
                .map(|step| Step {
                    message: cut(&step.message),
                    ..step.clone()
                })
                .collect(),
            health: self.health.clone(),
            begun: self.claim.begun,
            ended: self.ended,
        }
    }
}

fn cut(message: &str) -> String {
    message.chars().take(LONGEST_MESSAGE).collect()
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

#[derive(Serialize, Deserialize)]
struct ResultFile {
    schema: u32,
    id: Option<String>,
    file: String,
    claim: String,
    outcome: Outcome,
    reason: String,
    message: String,
    steps: Vec<Step>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
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
