//! Plays the kernel for the real program: spawns it as the kernel does, and gives it honest and hostile methods.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod entries;
mod faces;
mod hostile;
mod latency;
mod prototypes;
mod semantics;
mod shortcuts;
mod stage;
mod walks;
