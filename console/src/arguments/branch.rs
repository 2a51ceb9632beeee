//! `batos branch`.

use clap::Subcommand;

use super::request::RequestId;

#[derive(Debug, Subcommand)]
pub enum BranchCommand {
    /// Begin a branch
    New {
        /// 1 to 64 of A-Z a-z 0-9 _ -
        name: String,
        #[command(flatten)]
        request: RequestId,
    },
    /// List the branches, and whether each could be committed now
    List,
    /// Tell what a branch changes, slot by slot
    #[command(visible_alias = "diff")]
    Show { name: String },
    /// Throw a branch away
    Drop { name: String },
    /// Make all that a branch changes one transaction; in conflict the places are named and the branch stays
    Commit {
        name: String,
        #[command(flatten)]
        request: RequestId,
    },
}
