//! `batos upgrade`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum UpgradeCommand {
    /// Give an instruction, written beforehand or made of these options, and wait for its result
    #[command(
        after_help = "FILE.minisig is given along when it lies beside FILE. Where the configuration names public keys, write the\n\
            instruction by --output with --sequence, sign it (minisign -S -m FILE), and submit FILE.\n\
            Exit codes: 0 applied, 1 refused, failed or rolled back (the reason is in docs/upgrade.md), 3 no steward.\nExamples:\n  \
            batos upgrade submit --kernel ./kernel --verify --backup /backups/batos\n  \
            batos upgrade submit --model ./models/llama-3.1-8b.gguf\n  \
            batos upgrade submit --python requirements.txt --allow toolz.frequencies\n  \
            batos upgrade submit --kernel ./kernel --sequence 7 --output up.json && minisign -S -m up.json && batos upgrade submit up.json"
    )]
    Submit(Box<UpgradeSubmit>),
    /// Tell which instruction is being carried out and in which state, how many wait, and the last result
    Status,
    /// List results, newest last
    List {
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Go back to the kernel, or another plank, before; once more goes forth again
    #[command(
        after_help = "An upgrade like any other, to what planks/previous.json (previous-KIND.json) names, checked and proved in the same way."
    )]
    Rollback(UpgradeRollback),
}

#[derive(Debug, Args)]
pub struct UpgradeSubmit {
    /// An instruction in the form of docs/upgrade.md
    #[arg(conflicts_with_all = ["plank", "id", "sequence", "expires_in", "verify", "again", "backup", "output"])]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub plank: UpgradePlank,
    /// Of --python: what methods may use, as module.name; may be given several times
    #[arg(long, value_name = "NAME", requires = "python")]
    pub allow: Vec<String>,
    /// Its id [default: of digest and time]
    #[arg(long)]
    pub id: Option<String>,
    /// Its number: larger than that of every one applied before; needed where signatures are
    #[arg(long, value_name = "N")]
    pub sequence: Option<u64>,
    /// Refuse it when it is not begun within so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub expires_in: Option<u64>,
    /// Verify the image first, and end when it has a fault
    #[arg(long)]
    pub verify: bool,
    /// Try a program that was found bad before all the same
    #[arg(long)]
    pub again: bool,
    /// Back the image up first, as `batos backup DIR` does
    #[arg(long, value_name = "DIR")]
    pub backup: Option<PathBuf>,
    /// Write the instruction here, to be signed, and give nothing
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub wait: UpgradeWait,
}

/// Make an instruction that replaces one of these.
#[derive(Debug, Args)]
#[group(id = "plank", multiple = false)]
pub struct UpgradePlank {
    /// Make an instruction that replaces the kernel by this program
    #[arg(long, value_name = "PROGRAM")]
    pub kernel: Option<PathBuf>,
    /// The same of the inference-worker: what is being written is written to its end by the old one
    #[arg(long, value_name = "PROGRAM")]
    pub inference_worker: Option<PathBuf>,
    /// The same of the method-workers, one after the other
    #[arg(long, value_name = "PROGRAM")]
    pub method_worker: Option<PathBuf>,
    /// The same of the steward, which becomes this program and keeps what it supervises
    #[arg(long, value_name = "PROGRAM")]
    pub steward: Option<PathBuf>,
    /// The same of the base model: a folder, or a GGUF file
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// A Python environment for methods, built by pip from this file of requirements
    #[arg(long, value_name = "REQUIREMENTS")]
    pub python: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum UpgradeKind {
    #[default]
    Kernel,
    InferenceWorker,
    MethodWorker,
    Steward,
    Model,
    Python,
}

#[derive(Debug, Args)]
pub struct UpgradeRollback {
    /// What is to go back
    #[arg(long, value_enum, default_value_t)]
    pub kind: UpgradeKind,
    /// Its number: larger than that of every one applied before; needed where signatures are
    #[arg(long, value_name = "N")]
    pub sequence: Option<u64>,
    /// Write the instruction here, to be signed, and give nothing
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub wait: UpgradeWait,
}

#[derive(Debug, Args)]
pub struct UpgradeWait {
    /// Return once the instruction is in the inbox, also where no steward runs
    #[arg(long)]
    pub no_wait: bool,
}
