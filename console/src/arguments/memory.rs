//! `batos memory`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum MemoryCommand {
    /// Index files; what the memory has already, or nearly, is left out
    Add(MemoryAdd),
    /// Find what answers a question; each hit says why it was found
    Search {
        #[arg(required = true, value_name = "QUERY")]
        question: Vec<String>,
        /// So many hits at most
        #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
        k: u32,
        /// Only what has this pair of meta; again for more
        #[arg(long = "filter", value_name = "K=V", value_parser = pair)]
        filters: Vec<Pair>,
        /// What was valid then: 2026-11-21, 2026-11-21T03:00:00Z, -10m
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        at: Option<String>,
    },
    /// Show a document with its chunks, or a chunk: its id, its source, or its file
    Show { object: String },
    /// Take a document, or one chunk, out of the memory
    Forget { object: String },
    /// Give chunks the vectors that they lack: those that were added before the encoder was there
    Encode,
    /// Tell how much the memory holds, and who encodes
    Stats,
}

#[derive(Debug, Args)]
pub struct MemoryAdd {
    /// Files, folders, or - for standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    /// A pair that every chunk carries, for filters; again for more
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub meta: Vec<Pair>,
    /// Its name in the memory [default: the full path]; the same name again supersedes
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// What it is, where ending and beginning do not tell
    #[arg(long, value_parser = ["text", "markdown", "html", "code", "jsonl", "pdf"])]
    pub format: Option<String>,
    /// What its date is [default: when the file was changed]
    #[arg(long, value_name = "TIME", value_parser = date)]
    pub date: Option<DateUs>,
}

impl MemoryAdd {
    pub fn format(&self) -> Option<&'static str> {
        let formats = ["text", "markdown", "html", "code", "jsonl", "pdf"];
        formats
            .into_iter()
            .find(|format| Some(*format) == self.format.as_deref())
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub key: String,
    pub value: String,
}

/// A date in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateUs(pub i64);

fn pair(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Pair {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("a key, =, and a value, such as project=wing".into()),
    }
}

fn date(text: &str) -> Result<DateUs, String> {
    let time = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    let time = time.parse::<jiff::Timestamp>();
    time.map(|time| DateUs(time.as_microsecond()))
        .map_err(|_| "a date such as 2026-11-21 or 2026-11-21T03:00:00Z".into())
}
