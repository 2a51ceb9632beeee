//! Method-workers: jailed processes that carry activations out.
//!
//! - [`process`]: one worker process and its socket; the only place that makes processes.
//! - [`conversation`]: one activation: what is sent along, what is fetched, what comes back and is checked.
//! - [`pool`]: who is warm, who is fresh, who is replaced.

mod conversation;
mod pool;
mod process;

pub use conversation::Activation;
pub use pool::Workers;
pub use process::Settings;
