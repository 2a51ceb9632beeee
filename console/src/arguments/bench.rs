//! `batos bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::bench::{Part, Switch};

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// How well the system writes the methods that it lacks: DNU-Bench
    #[command(
        after_help = "Each task is done by the real system in a temporary home: a message that nobody understands, the thought about it, guard,\n\
            trial, installation, and then hidden examples on fresh objects (docs/dnu.md).\nExamples:\n  \
            batos bench dnu --part dev\n  \
            batos bench dnu --family 'maps' --without grammar\n  \
            batos bench dnu --part test --ablations\n  \
            batos bench dnu --backend http://127.0.0.1:8080/v1 --backend-kind llama.cpp --limit 20\n  \
            batos bench dnu --check                every task against its own reference method"
    )]
    Dnu(DnuBench),
}

#[derive(Debug, Args)]
pub struct DnuBench {
    /// Only this part of the tasks
    #[arg(long, value_enum)]
    pub part: Option<Part>,
    /// Only this family
    #[arg(long)]
    pub family: Option<String>,
    /// Only the task of this id
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,
    /// At most so many tasks
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// A model to measure instead of the shipped seed model: a folder or a GGUF file
    #[arg(long, value_name = "PATH", conflicts_with = "backend")]
    pub model: Option<PathBuf>,
    /// A server to measure, as inference.server.url in docs/backends.md
    #[arg(long, value_name = "URL")]
    pub backend: Option<String>,
    /// The model's name at that server
    #[arg(long, value_name = "NAME", requires = "backend")]
    pub backend_model: Option<String>,
    /// openai, llama.cpp, vllm or ollama
    #[arg(long, value_name = "KIND", requires = "backend")]
    pub backend_kind: Option<String>,
    /// Import each adapter of this folder under its own folder's name in capitals, such as inference-worker/seed/adapters
    #[arg(long, value_name = "DIR", conflicts_with = "backend")]
    pub adapters: Option<PathBuf>,
    /// Threads of the model; one is best where others keep the processor busy [default: the worker's own choice]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Do without this; may be given more than once
    #[arg(long, value_enum)]
    pub without: Vec<Switch>,
    /// Run with everything on, and then without each of these switches [of no list: without each there is]
    #[arg(long, value_enum, num_args = 0.., value_delimiter = ',', require_equals = true, conflicts_with = "without", value_name = "SWITCH,…")]
    pub ablations: Option<Vec<Switch>>,
    /// Run with this in a slot of the image, such as pllm.candidates=16; may be given more than once
    #[arg(long, value_name = "OBJECT.SLOT=JSON")]
    pub set: Vec<String>,
    /// Hold every task to its own reference method, and ask no model
    #[arg(long, conflicts_with_all = ["model", "backend", "adapters", "without", "ablations", "set"])]
    pub check: bool,
    /// Name the tasks and their parts, and do nothing
    #[arg(long, conflicts_with = "check")]
    pub list: bool,
    /// The folder of the tasks [default: tests/dnu of the checkout around]
    #[arg(long, value_name = "DIR")]
    pub tasks: Option<PathBuf>,
}
