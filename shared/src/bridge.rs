//! Clients ↔ kernel: the synaptic bridge (M38).
//!
//! A client's first frame is [`Hello`]; the kernel answers [`Welcome`]. Then the client sends [`Request`]s and the kernel
//! sends [`ToClient`]s, replies in any order. A request is identified by client and sequence: repeated after a lost reply,
//! it gets the stored reply and is not run again.

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, Epoch, ObjectId, ThoughtId, TransactionId};
use crate::object::ObjectImage;
use crate::value::Value;

/// A client's first frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub client: ClientId,
    /// Program and version, for the log.
    pub program: String,
}

/// The kernel's first frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub kernel: String,
    pub epoch: Epoch,
}

/// One call of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Counted by the client from 1; the same again means a repeat.
    pub sequence: u64,
    /// Send thought events of this request back while it runs.
    pub watch: bool,
    pub call: Call,
}

/// Everything a client may ask. Objects are named by id (`#12`), by path from the lobby (`personas.brick`), or by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    Send {
        receiver: String,
        selector: String,
        arguments: Vec<Value>,
        deadline_ms: Option<u64>,
    },
    Inspect {
        object: String,
    },
    New {
        parent: String,
        slots: Vec<(String, Value)>,
        name: Option<String>,
    },
    Set {
        object: String,
        slot: String,
        value: Value,
    },
    Define {
        object: String,
        source: String,
    },
    Guard {
        source: String,
    },
    Thoughts {
        id: Option<ThoughtId>,
    },
    Status,
}

impl Call {
    /// True when a repeat could change the image a second time, so that its reply must be stored.
    pub fn may_write(&self) -> bool {
        matches!(
            self,
            Call::Send { .. } | Call::New { .. } | Call::Set { .. } | Call::Define { .. }
        )
    }
}

/// What the kernel sends after [`Welcome`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToClient {
    Event {
        sequence: u64,
        event: ThoughtEvent,
    },
    Reply {
        sequence: u64,
        result: Result<Answer, Fault>,
    },
}

/// A call's success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Sent {
        result: Value,
        transaction: TransactionId,
        thought: Option<ThoughtId>,
    },
    Object(ObjectView),
    Created {
        object: ObjectId,
        transaction: TransactionId,
    },
    Changed {
        object: ObjectId,
        slot: String,
        transaction: TransactionId,
    },
    Verdict {
        findings: Vec<Finding>,
    },
    Thoughts(Vec<ThoughtView>),
    Status(Box<KernelStatus>),
}

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

/// An object as `inspect` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectView {
    pub object: ObjectImage,
    /// Its name in the lobby, if it has one.
    pub name: Option<String>,
    /// Names (or ids) of what it delegates to, nearest first.
    pub chain: Vec<String>,
    /// How many entries it has.
    pub entries: u64,
    /// Keys and values of the first of them, in key order.
    pub first_entries: Vec<(Value, Value)>,
}

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

/// The kernel about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelStatus {
    pub version: String,
    pub pid: u32,
    pub epoch: Epoch,
    pub uptime_ms: u64,
    pub last_transaction: TransactionId,
    pub objects: u64,
    pub log_bytes: u64,
    pub clients: u32,
    /// Process ids of the warm method-workers.
    pub method_workers: Vec<u32>,
    pub sends: u64,
    pub conflicts: u64,
    pub missions_open: u32,
    /// Description of the loaded model, or why there is none.
    pub model: Result<String, String>,
}
