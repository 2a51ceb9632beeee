//! Missions that are tried out by a workflow.

use serde::{Deserialize, Serialize};

use crate::id::{ObjectId, ThoughtId};
use crate::value::Value;

/// A mission that is tried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TryMission {
    /// One that was thought about before, as if what it came to were missing.
    Past(ThoughtId),
    Message {
        receiver: String,
        selector: String,
        arguments: Vec<Value>,
    },
    View {
        object: String,
    },
}

/// A mission that was tried out, and what it cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedView {
    pub workflow: String,
    pub receiver: ObjectId,
    /// Its name in the lobby, else its id.
    pub name: String,
    pub selector: String,
    /// `complete` or `failed`.
    pub outcome: String,
    /// Why it failed, or empty.
    pub message: String,
    pub rounds: u32,
    pub model_calls: u32,
    pub tokens: u64,
    pub elapsed_ms: u64,
    /// What would have been installed: the method's source, or structure and layout of the view.
    pub artifact: String,
}
