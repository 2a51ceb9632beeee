//! The program `batos`. In reading order:
//! - [`arguments`]: the command line. [`literal`]: what stands in it for values and files.
//! - [`command`]: what each subcommand does. [`blob`]: the one about contents, with a [`meter`]. [`memory`]: the one about texts. [`up`], [`down`], [`status`]: the three about processes.
//! - [`bench`]: measures the system in homes of its own.
//! - [`kernel`], [`steward`]: conversations with the two processes that answer. [`failure`]: why a command has no answer.
//! - [`output`], [`render`], [`progress`]: documents for programs, text for people, a thought as it passes.
//! - [`repl`], [`line`], [`completion`]: the interactive console.
//!
//! Non-goals: nothing here opens an image or runs a method; everything goes through the sockets of the home's `run` folder.
#![forbid(unsafe_code)]

mod adapter;
mod arguments;
mod bench;
mod blob;
mod branch;
mod codex;
mod command;
mod completion;
mod down;
mod failure;
mod follow;
mod kernel;
mod line;
mod literal;
mod memory;
mod meter;
mod metrics;
mod offline;
mod output;
mod past;
mod progress;
mod render;
mod repl;
mod status;
mod step;
mod steward;
mod up;
mod upgrade;
mod view;
mod wish;
mod workflow;

#[cfg(test)]
mod fake_kernel;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(command::run(std::env::args_os().collect()))
}
