//! The worker's life: arguments, serving, a clean end.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use shared::exit;
use tokio::signal::unix::{SignalKind, signal};

use crate::adapter::store::Budgets;
use crate::checkpoint::Weights;
use crate::device::place::Place;
use crate::embed::EmbedArguments;
use crate::encoder::{self, Encoder};
use crate::engine::{Engine, Settings};
use crate::generate::GenerateArguments;
use crate::remote::{ServerArguments, When};
use crate::server::Server;
use crate::{embed, generate, grammar, listener, measure};

/// Holds a Llama-architecture model and generates for the kernel. The steward starts it.
///
/// The model is a folder with model.safetensors (or the files of model.safetensors.index.json), config.json and tokenizer.json, and
/// optionally model.json with sizes and SHA-256 digests of these; or a GGUF file. Any model of the Llama architecture will do. A missing or damaged model does not end the worker: it answers requests with what is wrong, and looks
/// again when the files change.
#[derive(Parser)]
#[command(
    version,
    about,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    model: ModelArguments,
    /// Folder or file of an encoder (all-MiniLM-L6-v2 or another of the BERT kind) for requests to embed texts.
    #[arg(long)]
    embedder: Option<PathBuf>,
    /// BLAKE3 hash, in hexadecimal, that the encoder's file must have: of a blob, its name.
    #[arg(long, value_name = "HEX64", requires = "embedder")]
    embedder_hash: Option<blake3::Hash>,
    /// Local socket to answer at; made here unless --listen-fd passes it.
    #[arg(long, required_unless_present = "measure")]
    socket: Option<PathBuf>,
    /// A listening socket passed as this descriptor.
    #[arg(long)]
    listen_fd: Option<i32>,
    /// Accept nothing at that descriptor until the steward says so by the worker's own socket, inference-PID.sock beside --socket.
    #[arg(long, requires = "listen_fd")]
    standby: bool,
    /// Print tokens per second as one JSON document and end.
    #[arg(long)]
    measure: bool,
    /// With --measure: measure once for each line of standard input, so that others can be measured by turns. A line is `round`,
    /// `round N` with the Nth --adapter, `change`, or `serve ADAPTERS REQUESTS TOGETHER`.
    #[arg(long, requires = "measure")]
    turns: bool,
    /// With --turns: a PEFT folder or a safetensors file; may be given several times.
    #[arg(long, requires = "turns")]
    adapter: Vec<PathBuf>,
    /// With --measure: measure what it costs to keep to the grammar of a method.
    #[arg(long, requires = "measure")]
    grammars: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Write the continuation of a prompt, or the answer to a question, to standard output. Needs no kernel.
    Generate(Box<GenerateArguments>),
    /// Write the embedding of each line of a file as a line of JSON. Needs no kernel.
    Embed(EmbedArguments),
}

/// Which model, and how it is run.
#[derive(Args)]
pub struct ModelArguments {
    /// Folder of the model, or a GGUF file.
    #[arg(long, required_unless_present = "server_url")]
    model: Option<PathBuf>,
    /// BLAKE3 hash, in hexadecimal, that the GGUF file must have: of a blob, its name.
    #[arg(long, value_name = "HEX64")]
    model_hash: Option<blake3::Hash>,
    /// Where the model runs: auto, cpu, cuda, or cuda:N. An accelerator needs a program that was built for it (docs/gpu.md).
    #[arg(long, value_name = "PLACE", default_value_t)]
    device: Place,
    /// Threads of the tensor kernels; by default as many as there are cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// How plain weights are kept in memory.
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
    /// Memory for keys and values of all requests together, in MiB; requests that find no room wait.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    cache_mib: u64,
    /// Memory for adapters that are not in use, in MiB; those used longest ago give way.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    adapters_warm_mib: u64,
    /// Memory for adapters in use, pinned, or used last, in MiB; requests that find no room wait.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    adapters_hot_mib: u64,
    #[command(flatten)]
    server: ServerArguments,
}

impl ModelArguments {
    /// Fails with what a server's settings lack.
    pub fn settings(self) -> anyhow::Result<Settings> {
        let server = self.server.server().map_err(anyhow::Error::msg)?;
        anyhow::ensure!(
            self.model.is_some() || server.as_ref().is_none_or(|server| server.when == When::Always),
            "--server-when needed wants a --model that the server stands by for"
        );
        Ok(Settings {
            model: self.model.unwrap_or_default(),
            model_hash: self.model_hash,
            weights: self.weights,
            place: self.device,
            threads: threads(self.threads),
            cache_bytes: self.cache_mib << 20,
            adapters: Budgets {
                warm_bytes: self.adapters_warm_mib << 20,
                hot_bytes: self.adapters_hot_mib << 20,
            },
            server,
        })
    }
}

/// As many as were asked for, or as there are cores.
pub fn threads(asked: Option<u16>) -> usize {
    match asked {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    }
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
    match start(arguments) {
        Ok(()) => ExitCode::from(exit::ANSWERED),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(exit::UNUSABLE)
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Some(Command::Generate(generate)) => return generate::print(*generate),
        Some(Command::Embed(embed)) => return embed::print(embed),
        None => {}
    }
    let settings = arguments.model.settings()?;
    if arguments.measure {
        anyhow::ensure!(
            settings.server.is_none(),
            "--measure measures a model of the worker's own, not a server"
        );
        if arguments.grammars {
            return grammar::measure(settings, arguments.turns);
        }
        return measure::print(settings, arguments.turns, &arguments.adapter);
    }
    let encoder = Encoder::start(arguments.embedder.map(|model| encoder::Settings {
        model,
        hash: arguments.embedder_hash,
        threads: settings.threads,
    }))?;
    let beside = Engine::start_beside(&settings)?;
    let engine = Engine::start(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = arguments.socket.unwrap_or_default();
        let listener = listener::open(arguments.listen_fd, &socket)?;
        let own = match arguments.listen_fd {
            Some(_) => Some(listener::Own::open(&socket)?),
            None => None,
        };
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let server = Server::new(engine, beside, encoder, arguments.standby);
        let own_socket = own.as_ref().map(|own| &own.listener);
        tokio::select! {
            () = server.clone().serve(&listener, own_socket) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // A worker that gives way writes to its end what it has begun; who stops it sooner kills it.
        server.close();
        tokio::select! {
            () = server.clone().rest() => {}
            () = server.serve(&listener, own_socket) => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
