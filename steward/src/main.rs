//! The program `steward`. In reading order:
//! - [`home`]: the home prepared and locked. [`configuration`]: `steward.toml`, checked. [`seed`]: the shipped model.
//! - [`listener`]: the sockets, made once. [`spawn`]: every process creation. [`process`]: who a process is. [`cgroup`]: bounds of many together.
//! - [`running`], [`backoff`], [`plank`], [`supervisor`]: supervised processes, `docs/supervision.md`. [`logs`]: their logs, cut.
//! - [`predecessor`]: what a killed steward left running.
//! - [`channel`], [`instruction`], [`preparation`], [`staging`], [`tree`], [`upgrade`], [`choice`], [`chosen`]: upgrades, `docs/upgrade.md`.
//! - [`change`]: a plank changed while the rest serves. [`handover`]: one kernel takes over from another, `docs/handover.md`. [`health`]: whether the new one is well.
//! - [`exchange`]: one inference-worker takes over from another. [`recycle`]: new method-workers. [`environment`]: their Python.
//! - [`conversion`]: another format of the image.
//! - [`succession`]: this steward becomes another one.
//! - [`control`], [`probe`], [`event`], [`steward`]: the one loop and those who send it events.
//!
//! The steward never opens the image and never forks itself: the process that was started is the one that stays.

mod backoff;
mod cgroup;
mod change;
mod channel;
mod choice;
mod chosen;
mod configuration;
mod control;
mod conversion;
mod durable;
mod environment;
mod event;
mod exchange;
mod handover;
mod health;
mod home;
mod instruction;
mod listener;
mod logs;
mod orphans;
mod plank;
mod predecessor;
mod preparation;
mod probe;
mod process;
mod recycle;
mod running;
mod seed;
mod silence;
mod spawn;
mod staging;
mod steward;
mod succession;
mod supervisor;
mod tree;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps one BAT OS running: supervises the kernel and the inference-worker of a home folder and carries out upgrade
/// instructions dropped into its channel.
#[derive(Parser)]
#[command(
    version,
    after_help = "The home holds everything of one system; it is made when absent. Configuration: HOME/steward.toml.\n\
                  Signals: TERM and INT stop kernel and workers in order, HUP looks at the inbox again.\n\
                  Exit codes: 0 stopped, 2 usage, 4 home in use, 5 home unusable, 6 configuration wrong."
)]
struct Arguments {
    /// The home folder [default: $BATOS_HOME, else $XDG_STATE_HOME/batos, else ~/.local/state/batos]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Log to standard error and stay in the session of the terminal, instead of HOME/logs/steward.log
    #[arg(long)]
    foreground: bool,
    #[command(subcommand)]
    work: Option<Work>,
}

#[derive(Subcommand)]
enum Work {
    /// Read what a steward of this home reads at its start, print what was found, and change nothing
    Rehearse {
        /// The home folder
        #[arg(long, value_name = "DIR")]
        home: PathBuf,
    },
    /// Watch a steward that has just become another program (the steward starts this)
    #[command(hide = true)]
    Sentry(succession::SentryArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.work {
        Some(Work::Rehearse { home }) => {
            return said(steward::rehearse(&home).map(|found| println!("{found}")));
        }
        Some(Work::Sentry(arguments)) => return said(succession::stand_sentry(&arguments)),
        None => {}
    }
    match steward::run(arguments.home.as_deref(), arguments.foreground) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("steward: {error}");
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn said<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("steward: {error}");
            ExitCode::from(shared::exit::UNUSABLE)
        }
    }
}
