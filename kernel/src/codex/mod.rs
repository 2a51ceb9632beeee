//! The codex (M19): personas, their dynamics, covenants. One file for a person, data in the image. Drawn in `docs/codex.md`.
//!
//! - [`file`]: the file. [`image`]: the same as slots. [`covenants`]: what data must look like, whoever writes it.

pub mod covenants;
pub mod file;
mod image;

pub use image::{SEED, seeded};
