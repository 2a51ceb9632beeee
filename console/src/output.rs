//! What a command says in the end: a document for programs, a text for people, an exit code.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use shared::exit;

use crate::failure::Failure;
use crate::render::harmless;

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

    /// The same with a line for people below it.
    pub fn remarked(mut self, remark: Option<&str>) -> Report {
        self.text.extend(remark.map(|remark| format!("\n{remark}")));
        self
    }

    /// The text as standard output may have it: what an image or a model wrote commands no terminal.
    pub fn shown(&self) -> String {
        match io::stdout().is_terminal() {
            true => harmless(&self.text),
            false => self.text.clone(),
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
                say(&report.shown());
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

/// Writes a file that takes the place of another only when it is whole.
pub fn write_whole(file: &Path, text: &str) -> Result<(), Failure> {
    let mut aside = OsString::from(file);
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let written = fs::write(&aside, text).and_then(|()| fs::rename(&aside, file));
    written.map_err(|error| {
        let _ = fs::remove_file(&aside);
        Failure::usage(format!("{} cannot be written: {error}", file.display()))
    })
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
    let mut text = failure.to_string();
    if io::stderr().is_terminal() {
        text = harmless(&text);
    }
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "batos: {reason}: {text}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.html");
        write_whole(&file, "one").unwrap();
        write_whole(&file, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert!(write_whole(&folder.path().join("no/b.html"), "x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
