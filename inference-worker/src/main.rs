//! The inference-worker of BAT OS: one model, many requests.
//!
//! Parts in reading order: `run` (arguments, life), `server` (the socket), `engine` (the decoding thread), `checkpoint` (what is
//! loaded and what is refused), `sampler` (the next token), `text` (tokens to text, piece by piece).

mod checkpoint;
mod engine;
mod listener;
mod measure;
mod run;
mod sampler;
mod server;
mod text;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::main()
}
