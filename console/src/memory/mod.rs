//! `batos memory`: sources are read here, passage by passage, and found again there.
//!
//! - [`source`]: what a file is and how its passages come. [`lines`]: lines of any encoding. [`prose`], [`code`], [`events`], [`html`],
//!   [`pdf`]: the formats. [`add`]: passages go to the kernel. [`encode`]: chunks get the vectors that they lack. [`show`]: answers for people.

mod add;
mod code;
mod encode;
mod events;
mod html;
mod lines;
mod pdf;
mod prose;
mod show;
mod source;

use std::time::Instant;

use shared::bridge::Call;
use shared::document;
use shared::exit;
use shared::home::Home;

use crate::arguments::{MemoryCommand, Pair};
use crate::failure::Failure;
use crate::kernel::{Kernel, Manner};
use crate::output::Report;

/// Runs one of them. `json` is true for a program that wants one document.
pub fn run(home: &Home, command: MemoryCommand, json: bool) -> Result<Report, Failure> {
    let call = match command {
        MemoryCommand::Add(add) => return add::run(home, &add, json),
        MemoryCommand::Search {
            question,
            k,
            filters,
            at,
        } => Call::MemorySearch {
            question: question.join(" "),
            k,
            filters: pairs(filters),
            at,
        },
        MemoryCommand::Show { object } => Call::MemoryShow {
            object: source::named(&object),
        },
        MemoryCommand::Forget { object } => Call::MemoryForget {
            object: source::named(&object),
        },
        MemoryCommand::Encode => return encode::run(home, json),
        MemoryCommand::Stats => Call::MemoryStats,
    };
    let begun = Instant::now();
    let answer = Kernel::of(home).call(call, Manner::plain())?.answer;
    Ok(Report {
        document: document::answer(&answer, begun.elapsed().as_millis() as u64),
        text: show::answer(&answer),
        exit: exit::ANSWERED,
    })
}

fn pairs(pairs: Vec<Pair>) -> Vec<(String, String)> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}
