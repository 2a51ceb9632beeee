//! One line of the stream, as `docs/thoughts.md` draws it.

use std::sync::OnceLock;

use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::id::TransactionId;

use crate::image::log::unix_ms;
use crate::image::record::Mission;

/// What becomes of prompts and responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Prompts {
    /// They are told.
    #[default]
    Full,
    /// Their SHA-256 is told.
    Digest,
    /// Nothing of them is told.
    None,
}

/// Of a mission's brief: made when it is first asked for, since arguments may be long.
#[derive(Debug, Default)]
pub struct BriefHash(OnceLock<String>);

/// An event without its place in the chain.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Event {
    pub timestamp: String,
    pub cycle_id: String,
    pub transaction_id: u64,
    pub mission_brief_hash: String,
    pub event_type: String,
    pub current_state: String,
    pub transition_to: Option<String>,
    pub active_persona: String,
    pub llm_prompt: Option<String>,
    pub llm_response_raw: Option<String>,
    pub artifact_oid: Option<String>,
    pub validation_result: Option<String>,
    pub final_outcome: Option<String>,
    pub receiver: String,
    pub selector: String,
    pub tokens: Option<u64>,
    pub duration_ms: Option<u64>,
    /// The mean natural logarithm of the likelihoods of its tokens.
    pub confidence: Option<f64>,
}

impl BriefHash {
    /// The SHA-256 of what this mission is about; of a mission it is always the same.
    fn of(&self, mission: &Mission) -> &str {
        self.0.get_or_init(|| {
            let (receiver, selector, arguments) = (mission.receiver, &mission.selector, &mission.arguments);
            sha256_hex(format!("{receiver} {selector} {arguments:?}").as_bytes())
        })
    }
}

impl Event {
    /// Something that happened in a mission just now; `brief` is that mission's.
    pub fn of(mission: &Mission, brief: &BriefHash, round: u32, newest: TransactionId, kind: &str) -> Event {
        Event {
            cycle_id: format!("{}.{round}", mission.id),
            transaction_id: newest.0,
            mission_brief_hash: brief.of(mission).to_owned(),
            receiver: mission.receiver.to_string(),
            selector: mission.selector.clone(),
            ..Event::now(kind)
        }
    }

    /// Something that belongs to no mission.
    pub fn now(kind: &str) -> Event {
        Event {
            timestamp: iso_8601(unix_ms()),
            cycle_id: "0.0".into(),
            mission_brief_hash: "0".repeat(64),
            event_type: kind.to_owned(),
            ..Event::default()
        }
    }

    /// Leaves prompts and responses out, if they are to be.
    pub fn keep(&mut self, prompts: Prompts) {
        for text in [&mut self.llm_prompt, &mut self.llm_response_raw] {
            *text = match (prompts, text.take()) {
                (Prompts::Full, text) => text,
                (Prompts::Digest, Some(text)) => Some(format!("sha256:{}", sha256_hex(text.as_bytes()))),
                (Prompts::Digest | Prompts::None, _) => None,
            };
        }
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let texts = [&self.llm_prompt, &self.llm_response_raw, &self.validation_result];
        512 + texts
            .iter()
            .filter_map(|text| text.as_ref().map(String::len))
            .sum::<usize>()
    }
}

/// 64 hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
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

#[cfg(test)]
mod tests {
    use shared::id::{ObjectId, ThoughtId};
    use shared::value::Value;

    use super::*;

    #[test]
    fn a_brief_is_hashed_as_documented_and_once() {
        let mut mission = Mission::open(ThoughtId(3), ObjectId(12), "greet".into(), vec![Value::Int(1)]);
        let brief = BriefHash::default();
        let hash =
            |mission: &Mission| Event::of(mission, &brief, 1, TransactionId(1), "A").mission_brief_hash;
        let first = hash(&mission);
        assert_eq!(first, sha256_hex(b"#12 greet [Int(1)]"));
        // Other arguments under the same hash: it was not made again.
        mission.arguments.clear();
        assert_eq!(hash(&mission), first);
    }
}
