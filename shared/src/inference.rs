//! Kernel ↔ inference-worker, over the local socket `run/inference.sock`: requests in, events out, many at once.

use serde::{Deserialize, Serialize};

/// What the kernel asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum InferenceRequest {
    /// Answered by [`InferenceEvent::Described`].
    Describe,
    Generate(Generate),
    /// Ends a running generation with [`Finish::Cancelled`]; unknown ids are ignored.
    Cancel {
        request: u64,
    },
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    /// Chosen by the asker, unique among its open requests on this connection.
    pub request: u64,
    pub prompt: String,
    pub max_tokens: u32,
    /// Zero means greedy.
    pub temperature: f32,
    pub top_p: f32,
    pub seed: u64,
    /// The text ends before the first of these; a checkpoint's own end token always ends it.
    pub stop: Vec<String>,
    pub deadline_ms: u64,
}

/// What the inference-worker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InferenceEvent {
    /// The loaded model, or why none is loaded.
    Described(Result<Description, InferenceFault>),
    /// A piece of text as it is decoded; pieces join to the final text.
    Text {
        request: u64,
        text: String,
    },
    Done {
        request: u64,
        text: String,
        finish: Finish,
        prompt_tokens: u32,
        generated_tokens: u32,
        elapsed_ms: u64,
    },
    Failed {
        request: u64,
        fault: InferenceFault,
    },
}

/// The loaded model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    pub name: String,
    pub parameters: u64,
    pub context_tokens: u32,
    pub path: String,
    pub load_ms: u64,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// The model's end token or a stop sequence.
    Stop,
    MaxTokens,
    Deadline,
    Cancelled,
}

/// A stable word (`loading`, `model_missing`, `model_damaged`, `prompt_too_long`, `busy`, `bad_request`, `engine`) and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct InferenceFault {
    pub reason: String,
    pub message: String,
}
