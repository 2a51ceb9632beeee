//! A transaction before it commits, and why it may not.

use shared::activation::Read;
use shared::bridge::Answer;
use shared::id::{ThoughtId, TransactionId};

use super::record::{Change, Mission, RequestId};

/// What a transaction read and wants to change.
#[derive(Clone, Debug)]
pub struct Draft {
    pub author: String,
    pub thought: Option<ThoughtId>,
    /// Checked at commit: what was seen must still be so. Lookups that found nothing count.
    pub reads: Vec<Read>,
    pub changes: Vec<Change>,
    /// Stored with the commit; the answer's transaction is filled in by the committer.
    pub reply: Option<(RequestId, Answer)>,
    pub mission: Option<Mission>,
}

impl Draft {
    pub fn new(author: impl Into<String>) -> Draft {
        Draft {
            author: author.into(),
            thought: None,
            reads: Vec::new(),
            changes: Vec::new(),
            reply: None,
            mission: None,
        }
    }
}

/// A commit that is durable.
#[derive(Clone, Debug)]
pub struct Committed {
    pub transaction: TransactionId,
    /// The draft's answer with its transaction filled in.
    pub answer: Option<Answer>,
}

/// Why nothing was committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Replay the activation: what it read has changed.
    #[error("{} changed {}", .0.object, slot_words(.0))]
    Conflict(Box<Read>),
    /// The request was carried out before; this is its reply.
    #[error("the request was carried out before")]
    Repeated(Box<Answer>),
    #[error("{0}")]
    Refused(String),
    #[error("the image cannot be written: {0}")]
    Failed(String),
    #[error("the kernel is stopping")]
    Stopping,
}

fn slot_words(read: &Read) -> String {
    match &read.slot {
        shared::activation::ReadSlot::Named(name, _) => format!("in slot {name}"),
        shared::activation::ReadSlot::Whole(_) => "in its slots".to_owned(),
    }
}
