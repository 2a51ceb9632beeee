//! The mind: how a message that nobody understands becomes a method.
//!
//! - [`mission`]: one durable mission at a time for a receiver and selector; who waits for it; what survives a crash.
//! - [`aim`]: what a mission is for.
//! - [`runtime`]: the threads that thoughts have. [`gate`]: which are thought about now. [`budget`]: what each may cost, and how it is cancelled.
//! - [`cycle`]: carries out what the states in the image ask for. The order of thought is theirs, not Rust's (`docs/mind.md`).
//! - [`tryout`]: a mission by another workflow, without a trace.
//! - [`origin`]: how a method came to be.
//! - [`model`]: the door to the inference-worker. [`recall`]: that to the memory. [`audit`]: the stream of consciousness.
//! - [`genesis`]: the objects of the Prototypal Awakening, from `kernel/genesis/`. [`renewal`]: what a newer program adds to them.

mod aim;
pub mod audit;
mod budget;
mod cycle;
mod gate;
pub mod genesis;
mod mission;
pub mod model;
mod origin;
mod recall;
mod renewal;
mod runtime;
mod tryout;

pub use aim::view_selector;
pub use mission::Mind;
