//! The mind: how a message that nobody understands becomes a method.
//!
//! - [`mission`]: one durable mission at a time for a receiver and selector; who waits for it; what survives a crash.
//! - [`cycle`]: carries out what the states in the image ask for. The order of thought is theirs, not Rust's.
//! - [`narrow`]: generated code names only slots that exist.
//! - [`model`]: the door to the inference-worker. [`audit`]: the stream of consciousness.
//! - [`genesis`]: the objects of the Prototypal Awakening, from `kernel/genesis/`.

pub mod audit;
mod cycle;
pub mod genesis;
mod mission;
pub mod model;
mod narrow;

pub use mission::Mind;
