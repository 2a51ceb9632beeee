//! The kernel about itself.

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, TransactionId};
use crate::inference::Figures;

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
    /// How many blobs there are, and their bytes.
    pub blobs: u64,
    pub blob_bytes: u64,
    pub clients: u32,
    /// Process ids of the warm method-workers.
    pub method_workers: Vec<u32>,
    pub sends: u64,
    pub conflicts: u64,
    pub missions_open: u32,
    /// Description of the loaded model, or why there is none.
    pub model: Result<String, String>,
    /// The same of the embedder.
    pub embedder: Result<String, String>,
    /// None when no inference-worker tells them.
    pub inference: Option<Figures>,
}

/// Who serves, and how its requests fared: sends, reads and edits that needed no thought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFigures {
    pub pid: u32,
    pub epoch: Epoch,
    pub last_transaction: TransactionId,
    /// Since it serves: requests that had a reply, and of these, how many were refused or failed.
    pub answered: u64,
    pub failed: u64,
    /// How many replies took how long; places as in [`crate::spread`].
    pub took: Vec<u64>,
}
