//! The worker's life: arguments, serving, a clean end.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use shared::exit;
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::Engine;
use crate::{listener, measure, server};

/// Holds a Llama-architecture model and generates for the kernel. The steward starts it.
///
/// The model folder holds model.safetensors, config.json and tokenizer.json, and optionally model.json with sizes and SHA-256
/// digests of these. A missing or damaged model does not end the worker: it answers requests with what is wrong, and looks
/// again when the files change.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Folder of the model.
    #[arg(long)]
    model: PathBuf,
    /// Local socket to answer at; made here unless --listen-fd passes it.
    #[arg(long, required_unless_present = "measure")]
    socket: Option<PathBuf>,
    /// A listening socket passed as this descriptor.
    #[arg(long)]
    listen_fd: Option<i32>,
    /// Threads of the tensor kernels; a small model is fastest with one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Print tokens per second as one JSON document and end.
    #[arg(long)]
    measure: bool,
}

pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // A log that cannot be written, as on a full disk, must not become a panic.
        .log_internal_errors(false)
        .init();
    // SAFETY: no other thread runs yet; candle's pool reads this variable when it is made.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var("RAYON_NUM_THREADS", arguments.threads.to_string());
    }
    match start(arguments) {
        Ok(()) => ExitCode::from(exit::ANSWERED),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(exit::UNUSABLE)
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.measure {
        return measure::print(&arguments.model);
    }
    let engine = Engine::start(arguments.model)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = arguments.socket.unwrap_or_default();
        let listener = listener::open(arguments.listen_fd, &socket)?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            () = server::serve(engine, listener) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
