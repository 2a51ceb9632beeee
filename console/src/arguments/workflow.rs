//! `batos workflow`.

use std::path::PathBuf;

use clap::Subcommand;

use super::request::RequestId;

#[derive(Debug, Subcommand)]
pub enum WorkflowCommand {
    /// List the workflows, those that are taken first before the others
    List,
    /// Show a workflow: who works in which state, and where each may lead
    Show {
        name: String,
        /// As a graph for Graphviz
        #[arg(long)]
        dot: bool,
    },
    /// Make a copy under a new name, to be changed
    Clone {
        name: String,
        new: String,
        #[command(flatten)]
        request: RequestId,
    },
    /// Think about the same missions by two workflows, keep nothing of it, and tell what each came to and cost
    Compare {
        a: String,
        b: String,
        /// Numbers of past thoughts; `batos thoughts` lists them
        #[arg(value_name = "THOUGHT")]
        thoughts: Vec<u64>,
        /// A file with a mission a line: OBJECT SELECTOR [JSON…], or OBJECT :view
        #[arg(long, value_name = "FILE")]
        missions: Option<PathBuf>,
    },
    /// Take a workflow first for its kind of mission
    Adopt {
        name: String,
        #[command(flatten)]
        request: RequestId,
    },
    /// Take a workflow away; refused while it is the first of its kind, or the last
    Drop {
        name: String,
        #[command(flatten)]
        request: RequestId,
    },
}
