//! `batos codex export FILE`.

use std::fs;
use std::path::Path;

use serde_json::json;
use shared::bridge::{Answer, Call};
use shared::exit;
use shared::home::Home;

use crate::failure::Failure;
use crate::kernel::{Kernel, Manner};
use crate::output::Report;

/// Writes the image's codex into a file that takes the place of another only when it is whole.
pub fn export(home: &Home, file: &Path) -> Result<Report, Failure> {
    let answered = Kernel::of(home).call(Call::Codex, Manner::plain())?;
    let Answer::Codex { text } = answered.answer else {
        return Err(Failure::internal(
            "the kernel answered something else than a codex",
        ));
    };
    let mut aside = file.as_os_str().to_owned();
    aside.push(".new");
    let written = fs::write(&aside, &text).and_then(|()| fs::rename(&aside, file));
    written.map_err(|error| Failure::usage(format!("{} cannot be written: {error}", file.display())))?;
    let shown = file.display().to_string();
    Ok(Report {
        text: format!("the codex is in {shown}"),
        document: json!({ "ok": true, "file": shown, "bytes": text.len() }),
        exit: exit::ANSWERED,
    })
}
