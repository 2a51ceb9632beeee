//! Method-workers: jailed processes that carry activations out.
//!
//! - [`process`]: one worker process and its socket.
//! - [`child`]: a process that is started, watched and reaped. [`nursery`]: the threads that start them.
//! - [`conversation`]: one activation: what is sent along, what is fetched, what comes back and is checked.
//! - [`lane`]: a worker that is told the next activations before it is done.
//! - [`progress`]: what a worker is at, seen without asking.
//! - [`shift`]: which program they are of, and how another takes its place.
//! - [`pool`]: who is warm, who is fresh, who is replaced.

mod child;
mod conversation;
mod lane;
mod nursery;
mod pool;
mod process;
mod progress;
mod shift;

pub use conversation::Activation;
pub use pool::{Bench, Workers};
pub use process::{Environment, Settings};
pub use shift::News;
