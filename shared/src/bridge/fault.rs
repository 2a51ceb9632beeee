//! A call's failure.

use serde::{Deserialize, Serialize};

use crate::id::ThoughtId;

/// A call's failure: a stable word for programs, a sentence for people. The words are in [`crate::reason`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    pub reason: String,
    pub message: String,
    /// The guard's findings, when the reason is that it refused.
    pub findings: Vec<Finding>,
    /// The thought that failed, when there was one.
    pub thought: Option<ThoughtId>,
}

impl Fault {
    pub fn new(reason: &str, message: impl Into<String>) -> Fault {
        Fault {
            reason: reason.to_owned(),
            message: message.into(),
            findings: Vec::new(),
            thought: None,
        }
    }
}

/// One thing that the guard objects to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub rule: String,
    /// Counted from 1.
    pub line: u32,
    pub message: String,
}
