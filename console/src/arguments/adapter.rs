//! `batos adapter`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::request::RequestId;

#[derive(Debug, Subcommand)]
pub enum AdapterCommand {
    /// Make a PEFT folder or a safetensors file the next generation of an adapter
    Import(AdapterImport),
    /// List the adapters: generation, where they are, what they take, how often they were used; and what memory is used for
    List,
    /// Show every generation of an adapter, newest first
    Show { name: String },
    /// Take an adapter's name away; its generations go at the next pack
    Drop {
        name: String,
        #[command(flatten)]
        request: RequestId,
    },
    /// Load an adapter ahead
    Stage { name: String },
    /// Load an adapter and keep it in memory
    Pin { name: String },
    /// Let a pinned adapter give way again
    Unpin { name: String },
}

#[derive(Debug, Args)]
pub struct AdapterImport {
    /// A folder with adapter_config.json and adapter_model.safetensors, or a safetensors file
    #[arg(value_name = "DIR|FILE")]
    pub from: PathBuf,
    /// Letters, digits and _ [default: what the folder or file is called, in capitals]
    #[arg(long)]
    pub name: Option<String>,
    /// The generation that it replaces; needed when the name exists
    #[arg(long, value_name = "N")]
    pub replace: Option<u64>,
    /// Its alpha, where no configuration tells it
    #[arg(long)]
    pub alpha: Option<f64>,
    #[command(flatten)]
    pub request: RequestId,
}
