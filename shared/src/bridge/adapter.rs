//! Adapters: what a worker is told of them, and where they are.

use serde::{Deserialize, Serialize};

use crate::id::ObjectId;
use crate::inference::AdapterView;
use crate::value::BlobRef;

/// What an inference-worker is told about an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdapterHold {
    /// Load it ahead.
    Stage,
    /// Load it, and keep it hot.
    Pin,
    Unpin,
}

/// A generation of an adapter: what the image says of it, and where it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterListing {
    pub object: ObjectId,
    pub name: String,
    pub generation: u64,
    pub weights: BlobRef,
    pub rank: u32,
    pub alpha: f64,
    pub products: Vec<String>,
    /// The model that it was checked against.
    pub base: String,
    /// What it takes in memory.
    pub bytes: u64,
    /// What the inference-worker knows of it, if it does.
    pub worker: Option<AdapterView>,
}
