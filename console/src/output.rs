//! What a command says in the end: a document for programs, a text for people, an exit code.

use std::io::{self, IsTerminal, Write};

use serde_json::Value as Json;
use shared::exit;

use crate::failure::Failure;

/// A command's answer in both forms.
pub struct Report {
    pub document: Json,
    /// Without a final line break; empty for nothing.
    pub text: String,
    pub exit: u8,
}

impl Report {
    pub fn answered(document: Json, text: String) -> Report {
        Report {
            document,
            text,
            exit: exit::ANSWERED,
        }
    }
}

/// Prints the result in the form asked for and returns the exit code.
pub fn finish(result: Result<Report, Failure>, json: bool) -> u8 {
    match result {
        Ok(report) if json => {
            say(&report.document.to_string());
            report.exit
        }
        Ok(report) => {
            if !report.text.is_empty() {
                say(&report.text);
            }
            report.exit
        }
        Err(failure) => {
            match json {
                true => say(&failure.document().to_string()),
                false => complain(&failure),
            }
            failure.exit_code()
        }
    }
}

/// A line on standard output; a reader that is gone is no error of ours.
pub fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A failure on standard error, with its stable word.
pub fn complain(failure: &Failure) {
    let document = failure.document();
    let reason = document["reason"].as_str().unwrap_or_default();
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "batos: {reason}: {failure}");
    for finding in document["findings"].as_array().into_iter().flatten() {
        let _ = writeln!(
            err,
            "  line {}: {} ({})",
            finding["line"],
            finding["message"].as_str().unwrap_or_default(),
            finding["rule"].as_str().unwrap_or_default()
        );
    }
    if let Some(thought) = document["thought"].as_u64() {
        let _ = writeln!(err, "  how it thought: batos thoughts {thought}");
    }
}

/// True when standard output can show colours and the user has not declined them.
pub fn has_colours() -> bool {
    io::stdout().is_terminal() && colours_wanted()
}

/// The same for standard error, where thoughts pass.
pub fn has_error_colours() -> bool {
    io::stderr().is_terminal() && colours_wanted()
}

fn colours_wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
