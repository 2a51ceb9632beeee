//! The synaptic bridge (M38): the kernel's socket. A connection whose first byte is `B` speaks frames; one that begins with
//! `{` or white space speaks JSON-RPC 2.0, a document a line.
//!
//! - [`server`]: accepting and counting. [`frames`]: the binary protocol. [`rpc`]: the line protocol.

mod frames;
mod rpc;
mod server;

pub use server::{Course, adopt, listener, serve};
