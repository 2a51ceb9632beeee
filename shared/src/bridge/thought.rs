//! Missions, and thoughts as they are told.

use serde::{Deserialize, Serialize};

use super::TransactionView;
use crate::id::{ObjectId, ThoughtId};

/// A mission and its thought as `thoughts` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThoughtView {
    pub id: ThoughtId,
    pub receiver: ObjectId,
    pub selector: String,
    /// `open`, `complete` or `failed`.
    pub outcome: String,
    /// Why it failed, or empty.
    pub message: String,
    pub rounds: u32,
    pub model_calls: u32,
    pub begun_unix_ms: u64,
    pub elapsed_ms: u64,
    /// The installed source, or the last candidate.
    pub artifact: String,
    pub events: Vec<ThoughtEvent>,
}

/// A mission under way as `missions` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MissionView {
    pub id: ThoughtId,
    pub receiver: ObjectId,
    /// Its name in the lobby, else its id.
    pub name: String,
    pub selector: String,
    /// `queued`, or the state that its cycle is in.
    pub state: String,
    pub priority: Priority,
    pub round: u32,
    pub model_calls: u32,
    /// That the model wrote, and how many it may write in all.
    pub tokens: u64,
    pub token_budget: u64,
    pub begun_unix_ms: u64,
    pub elapsed_ms: u64,
    /// Senders that wait for it.
    pub waiting: u32,
}

/// What goes first when more missions are open than are thought about at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Somebody waits for the answer.
    Awaited,
    /// Taken up again after a restart, and nobody waits any more.
    Resumed,
}

/// How a method came to be, as `why` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginView {
    /// The object that has the method.
    pub holder: ObjectId,
    pub name: String,
    pub selector: String,
    pub source: String,
    /// That put it there.
    pub transaction: TransactionView,
    /// The thought that wrote it; `None` where a person did, or a pack has forgotten the thought.
    pub thought: Option<ThoughtView>,
}

/// Something that happened in a thought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThoughtEvent {
    pub thought: ThoughtId,
    pub round: u32,
    pub unix_ms: u64,
    /// `STATE_TRANSITION`, `ARTIFACT_GENERATED`, `VALIDATION_SUCCESS`, `VALIDATION_FAILURE`, `TOKEN` …
    pub kind: String,
    /// The state the cycle is in after the event.
    pub state: String,
    pub detail: String,
}
