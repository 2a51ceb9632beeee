//! PDF: poppler's `pdftotext` takes the text out; bytes are those of the text that it writes.

use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::lines::Lines;

const PROGRAM: &str = "pdftotext";
/// So much is told of what it complains about.
const COMPLAINT_BYTES: u64 = 400;

/// The program at work; dropped, it ends.
pub struct Reading(Child);

/// The lines of a document, and the program that writes them.
pub fn lines(path: &Path) -> Result<(Lines, Reading), String> {
    let started = Command::new(PROGRAM)
        .args(["-q", "-enc", "UTF-8"])
        .arg(path)
        .arg("-")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!(
            "PDF is read by {PROGRAM} of poppler, which is not installed here; on Debian the package poppler-utils has it"
        ),
        _ => format!("{PROGRAM} cannot be started: {error}"),
    })?;
    let out = child.stdout.take().ok_or("its output cannot be read")?;
    let lines = Lines::reading(Box::new(BufReader::new(out)), encoding_rs::UTF_8);
    Ok((lines, Reading(child)))
}

impl Reading {
    /// After the last line: whether all went well.
    pub fn finish(mut self) -> Result<(), String> {
        let mut complaint = String::new();
        if let Some(error) = self.0.stderr.take() {
            let _ = error.take(COMPLAINT_BYTES).read_to_string(&mut complaint);
        }
        match self.0.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!(
                "{PROGRAM} could not read it ({status}): {}",
                complaint.trim()
            )),
            Err(error) => Err(format!("{PROGRAM} was lost: {error}")),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
