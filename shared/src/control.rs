//! Console ↔ steward, over the local socket `run/steward.sock`: one request and one reply a connection.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlRequest {
    Status,
    /// Stop kernel and workers in order, then end. The reply comes when they are stopped.
    Stop,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ControlReply {
    Status(StewardStatus),
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StewardStatus {
    pub version: String,
    pub pid: u32,
    pub uptime_ms: u64,
    pub home: String,
    pub planks: Vec<PlankStatus>,
    /// The last instructions handled since start, newest last: file name and outcome.
    pub instructions: Vec<(String, String)>,
    /// The instruction that is being carried out.
    pub upgrade: Option<Box<UpgradeStatus>>,
}

/// An instruction between its claim and its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradeStatus {
    pub id: String,
    /// Its name in the inbox.
    pub file: String,
    pub claim: String,
    /// The journal's state, of `docs/upgrade.md`, and when it began, milliseconds since 1970.
    pub state: String,
    pub since_ms: u64,
}

/// A supervised process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlankStatus {
    /// `kernel` or `inference-worker`.
    pub name: String,
    pub path: String,
    pub pid: Option<u32>,
    /// `starting`, `ready`, `backing_off`, `crash_loop`, `stopping`, `stopped`.
    pub state: String,
    pub restarts: u32,
    /// Why it last ended, in words; empty at first.
    pub last_exit: String,
}
