//! The stream of consciousness (M30): one JSON document a line, appended outside the image's transactions, so that a thought
//! that left nothing can still be explained. Writing never blocks a thought.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use serde::Serialize;
use shared::id::TransactionId;

use crate::image::record::Mission;

/// The file is renamed when it is larger.
const ROTATE_BYTES: u64 = 64 << 20;

/// The door to the writing thread.
pub struct Audit {
    lines: Sender<Line>,
}

/// One event.
#[derive(Serialize)]
pub struct Line {
    /// ISO 8601, UTC.
    timestamp: String,
    cycle_id: String,
    transaction_id: u64,
    /// SHA-256 of receiver, selector and arguments.
    mission_brief_hash: String,
    event_type: String,
    current_state: String,
    transition_to: Option<String>,
    active_persona: &'static str,
    llm_prompt: String,
    llm_response_raw: String,
    artifact_oid: Option<String>,
    validation_result: Option<String>,
    final_outcome: Option<String>,
}

impl Audit {
    /// Appends to `thoughts.jsonl` in the folder.
    pub fn open(folder: &Path) -> std::io::Result<Audit> {
        fs::create_dir_all(folder)?;
        let path = folder.join("thoughts.jsonl");
        let mut file = append(&path)?;
        let (lines, queue) = channel::<Line>();
        std::thread::Builder::new().name("audit".into()).spawn(move || {
            for line in queue {
                let Ok(mut text) = serde_json::to_vec(&line) else {
                    continue;
                };
                text.push(b'\n');
                if let Err(error) = file.write_all(&text) {
                    tracing::error!(%error, path = %path.display(), "the audit cannot be written");
                }
                if file.metadata().is_ok_and(|m| m.len() > ROTATE_BYTES) {
                    let aside = path.with_extension(format!("{}.jsonl", crate::image::log::unix_ms()));
                    if fs::rename(&path, aside).is_ok()
                        && let Ok(new) = append(&path)
                    {
                        file = new;
                    }
                }
            }
        })?;
        Ok(Audit { lines })
    }

    pub fn write(&self, line: Line) {
        let _ = self.lines.send(line);
    }
}

impl Line {
    /// `detail` goes into the field that the kind of event fills.
    pub fn new(
        mission: &Mission,
        round: u32,
        transaction: TransactionId,
        kind: &str,
        state: &str,
        prompt: &str,
        detail: &str,
    ) -> Line {
        let brief = format!(
            "{} {} {:?}",
            mission.receiver, mission.selector, mission.arguments
        );
        let persona = if state == "validating" { "ALFRED" } else { "ROBIN" };
        let some = |wanted: bool| wanted.then(|| detail.to_owned());
        let is_transition = kind == "STATE_TRANSITION";
        Line {
            timestamp: iso_8601(crate::image::log::unix_ms()),
            cycle_id: format!("{}.{round}", mission.id),
            transaction_id: transaction.0,
            mission_brief_hash: sha256_hex(brief.as_bytes()),
            event_type: kind.to_owned(),
            // A transition's detail is the state before.
            current_state: if is_transition {
                detail.to_owned()
            } else {
                state.to_owned()
            },
            transition_to: is_transition.then(|| state.to_owned()),
            active_persona: persona,
            llm_prompt: prompt.to_owned(),
            llm_response_raw: if kind == "ARTIFACT_GENERATED" {
                detail.to_owned()
            } else {
                String::new()
            },
            artifact_oid: (kind == "COMMITTED").then(|| format!("{}.{}", mission.receiver, mission.selector)),
            validation_result: some(kind.starts_with("VALIDATION_")),
            final_outcome: match (kind, state) {
                ("COMMITTED", _) => Some("complete".into()),
                ("STATE_TRANSITION", "failed") => Some("failed".into()),
                _ => None,
            },
        }
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `2026-11-20T22:03:00.123Z`.
fn iso_8601(unix_ms: u64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms as i64)
        .map(|time| format!("{time:.3}"))
        .unwrap_or_default()
}
