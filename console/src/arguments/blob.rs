//! `batos blob`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum BlobCommand {
    /// Give a content; prints the blob's value, which names it in slots and arguments
    #[command(after_help = "Example:\n  batos blob put film.mp4 --object account --slot film")]
    Put(BlobPut),
    /// Read a content, to standard output or into a file
    #[command(
        after_help = "Examples:\n  batos blob get account.film -o film.mp4\n  batos blob get 0123…ef | sha256sum"
    )]
    Get(BlobGet),
}

#[derive(Debug, Args)]
pub struct BlobPut {
    /// A file, or - for standard input
    pub file: PathBuf,
    /// Make the content the value of a slot of this object
    #[arg(long, requires = "slot")]
    pub object: Option<String>,
    /// The slot's name
    #[arg(long, requires = "object", value_name = "NAME")]
    pub slot: Option<String>,
}

#[derive(Debug, Args)]
pub struct BlobGet {
    /// The content's 64 hexadecimal digits, or the slot that holds it
    #[arg(value_name = "DIGEST|OBJECT.SLOT")]
    pub blob: String,
    /// Write here; the file is whole or as it was before
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
