//! The kernel of BAT OS: holds the image open, carries sends out, thinks about what nobody understands.
//!
//! Parts in reading order: `bridge` (clients), `kernel`, `send`, `contention`, `edit`, `branches`, `transfers`, `export`, `import` (what they ask), `reporter` (how far long work is), `description` (objects as
//! text), `overlay` (what an activation sees),
//! `workers` (where methods run), `mind` (how missing methods are made), `image` (where everything is kept).
//!
//! A library only for this crate's own program, benchmarks and whole-image tests: other programs talk to a kernel, they never
//! link it.

mod branches;
mod bridge;
mod contention;
mod description;
mod edit;
mod export;
pub mod image;
mod import;
mod kernel;
mod mind;
mod names;
mod offline;
mod overlay;
mod past;
pub mod reporter;
pub mod run;
mod send;
mod transfers;
mod upkeep;
mod workers;
