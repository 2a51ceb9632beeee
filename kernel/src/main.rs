//! The kernel of BAT OS: holds the image open, carries sends out, thinks about what nobody understands.
//!
//! Parts in reading order: `bridge` (clients), `kernel`, `send`, `edit` (what they ask), `overlay` (what an activation sees),
//! `workers` (where methods run), `mind` (how missing methods are made), `image` (where everything is kept).

mod bridge;
mod edit;
mod image;
mod kernel;
mod mind;
mod names;
mod overlay;
mod run;
mod send;
mod workers;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::main()
}
