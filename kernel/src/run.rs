//! The kernel's life: arguments, opening, awakening, serving, drain, close.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use shared::exit;
use shared::home::{DOUBT_INDEX, Home};

use crate::bridge;
use crate::handover::Channel;
use crate::image::draft::Draft;
use crate::image::restore::RestoreError;
use crate::image::standby::Standby;
use crate::image::{Image, OpenError, doubt};
use crate::life::{Beginning, Life};
use crate::memory::Memory;
use crate::mind::audit::event::Prompts;
use crate::mind::genesis;
use crate::offline::Offline;
use crate::workers::{Environment, Settings, Workers};

/// The kernel of BAT OS. The steward starts it; by hand it is only useful for looking into a fault.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The home folder; default $BATOS_HOME, else the XDG state folder.
    #[arg(long)]
    home: Option<PathBuf>,
    /// A listening socket passed as this descriptor; without it the kernel makes run/kernel.sock itself.
    #[arg(long)]
    listen_fd: Option<i32>,
    /// Where the inference-worker answers; default run/inference.sock of the home.
    #[arg(long)]
    inference_socket: Option<PathBuf>,
    /// The method-worker program; default beside this one.
    #[arg(long)]
    method_worker: Option<PathBuf>,
    /// A folder of Python packages that methods may use.
    #[arg(long, value_name = "DIR")]
    packages: Option<PathBuf>,
    /// What of them: module.name, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "packages")]
    allow: Vec<String>,
    /// Methods that run at the same time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    method_workers: u16,
    /// Milliseconds that a method may run.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    method_deadline_ms: u64,
    /// MiB of memory that a method may use.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(96..=65_536))]
    method_memory_mib: u64,
    /// Open the image beside the kernel that serves it, follow it, and wait for the steward's word to take over.
    #[arg(long)]
    standby: bool,
    /// What the audit tells of prompts and responses.
    #[arg(long, value_enum, default_value_t)]
    audit_prompts: Prompts,
    /// Let `define` install what the guard refused, to try the jail alone. For tests.
    #[arg(long)]
    install_refused: bool,
    /// Work on an image that no kernel has open, instead of serving one.
    #[command(subcommand)]
    work: Option<Offline>,
}

/// Parses, runs, and turns the end into an exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // A log that cannot be written, as on a full disk, must not become a panic of the thread that wrote to it.
        .log_internal_errors(false)
        .init();
    // A file that may not grow is an error of the write, not the end of this process.
    let unwritten = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, unwritten) {
        tracing::warn!(%error, "a limit on file sizes would end this kernel");
    }
    // A huge page is cleared whole at its first touch, for milliseconds on a machine whose memory is scarce, and a client waits.
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
    let done = match arguments.work {
        Some(ref work) => work.run(),
        None => start(arguments).map(|()| ExitCode::from(exit::ANSWERED)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let opening = match error.downcast_ref::<RestoreError>() {
                Some(RestoreError::Open(error)) => Some(error),
                _ => error.downcast_ref::<OpenError>(),
            };
            let code = match opening {
                Some(OpenError::InUse(_)) => exit::IN_USE,
                _ => exit::UNUSABLE,
            };
            tracing::error!("{error:#}");
            ExitCode::from(code)
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let home = Home::resolve(arguments.home.as_deref())?;
    let beginning = match arguments.standby {
        true => Beginning::Beside(Standby::open(&home.image())?),
        false => Beginning::Open(Box::new(open(&home)?)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lived = runtime.block_on(live(arguments, home, beginning));
    // Long work on files, such as a backup, is cut off by the end of the process; a crash may do the same.
    runtime.shutdown_background();
    lived
}

fn open(home: &Home) -> anyhow::Result<Image> {
    if std::env::var_os(DOUBT_INDEX).is_some() {
        tracing::warn!("the kernel before this one crashed: the index is made anew");
        doubt::mark(&home.image().join("index"));
    }
    let image = Image::open(&home.image())?;
    if image.is_empty() {
        awaken(&image)?;
    }
    Ok(image)
}

/// The Prototypal Awakening: every primordial object in one transaction.
fn awaken(image: &Image) -> anyhow::Result<()> {
    let mut draft = Draft::new("awakening");
    draft.changes = genesis::awakening()?;
    for _ in 0..genesis::OBJECTS {
        image.state.allocate();
    }
    let committed = image.committer.commit_blocking(draft)?;
    tracing::info!(objects = genesis::OBJECTS, transaction = %committed.transaction, "awakened");
    Ok(())
}

async fn live(arguments: Arguments, home: Home, beginning: Beginning) -> anyhow::Result<()> {
    let channel = Channel::open(&home)?;
    let listener = bridge::listener(arguments.listen_fd, &home.kernel_socket())?;
    let program = match arguments.method_worker {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("method-worker"),
    };
    let environment = arguments.packages.map(|packages| Environment {
        packages,
        allow: arguments.allow,
    });
    let settings = Settings {
        program,
        environment,
        workers: usize::from(arguments.method_workers),
        deadline: Duration::from_millis(arguments.method_deadline_ms),
        memory_mib: arguments.method_memory_mib,
    };
    let state = match &beginning {
        Beginning::Open(image) => image.state.clone(),
        Beginning::Beside(standby) => standby.state().clone(),
    };
    let inference_socket = arguments
        .inference_socket
        .unwrap_or_else(|| home.inference_socket());
    let memory = Arc::new(Memory::new(inference_socket.clone()));
    let (workers, news) = Workers::new(settings, state, memory);
    let warming = tokio::spawn(workers.clone().keep_warm());
    let life = Life {
        inference_socket,
        home,
        install_refused: arguments.install_refused,
        audit_prompts: arguments.audit_prompts,
        workers,
        news,
        channel,
        listening: listener.descriptor,
    };
    let lived = life.live(beginning, listener.socket).await;
    warming.abort();
    lived
}
