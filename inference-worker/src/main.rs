//! The inference-worker of BAT OS: one model and one encoder, many requests.
//!
//! Parts in reading order: `run` (arguments, life), `server` (the socket), `engine` (the decoding thread), `encoder` (the
//! encoding thread), `remote` (a server in the place of a model), `checkpoint` (what is loaded and what is refused), `adapter` (what
//! is added to it), `model` (the forward pass), `kernel` (its arithmetic for each processor), `crew` (its threads),
//! `chat` (conversations as text), `grammar` (what a text must be), `sampler` (the next token), `text` (tokens to text, piece by piece).

mod adapter;
mod chat;
mod checkpoint;
mod crew;
mod device;
mod embed;
mod encoder;
mod engine;
#[cfg(test)]
mod expected;
mod generate;
mod grammar;
mod kernel;
mod listener;
mod measure;
mod meters;
mod model;
mod remote;
mod run;
mod sampler;
mod server;
mod text;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::main()
}
