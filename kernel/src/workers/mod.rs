//! Method-workers: jailed processes that carry activations out.
//!
//! - [`process`]: one worker process and its socket; the only place that makes processes.
//! - [`conversation`]: one activation: what is sent along, what is fetched, what comes back and is checked.
//! - [`lane`]: a worker that is told the next activations before it is done.
//! - [`progress`]: what a worker is at, seen without asking.
//! - [`pool`]: who is warm, who is fresh, who is replaced.

mod conversation;
mod lane;
mod pool;
mod process;
mod progress;

pub use conversation::Activation;
pub use pool::Workers;
pub use process::Settings;
