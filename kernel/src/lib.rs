//! The kernel of BAT OS: holds the image open, carries sends out, thinks about what nobody understands.
//!
//! Parts in reading order: `bridge` (clients), `kernel`, `send`, `contention`, `edit`, `branches`, `transfers`, `adapters`, `export`, `import`, `codex`, `wish` (what they ask), `reporter` (how far long work is), `description` (objects as
//! text), `overlay` (what an activation sees),
//! `memory` (what was read and is found again), `life`, `handover`, `rehearsal` (how one kernel follows another), `requests` (what is under way), `figures` (how it fared),
//! `workers` (where methods run), `mind` (how missing methods are made), `image` (where everything is kept).
//!
//! A library only for this crate's own program, benchmarks and whole-image tests: other programs talk to a kernel, they never
//! link it.

mod adapters;
mod branches;
mod bridge;
mod codex;
mod contention;
mod description;
mod edit;
mod export;
mod figures;
mod handover;
pub mod image;
mod import;
mod kernel;
mod life;
mod memory;
mod mind;
mod names;
mod offline;
mod overlay;
mod past;
mod priority;
mod rehearsal;
pub mod reporter;
mod requests;
pub mod run;
mod send;
mod transfers;
mod upkeep;
mod views;
mod wish;
mod workers;
