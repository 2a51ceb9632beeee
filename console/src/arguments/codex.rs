//! `batos codex`.

use std::path::PathBuf;

use clap::Subcommand;

use super::request::RequestId;

#[derive(Debug, Subcommand)]
pub enum CodexCommand {
    /// Write the codex of the image into a file
    Export {
        /// A TOML file, or - for standard output
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Make a file the codex of the image, in one transaction
    #[command(
        after_help = "Example:\n  batos codex export codex.toml\n  batos codex import codex.toml --dry-run"
    )]
    Import {
        /// A TOML file, or - for standard input
        file: PathBuf,
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        request: RequestId,
    },
}
