//! `batos codex export FILE`.

use std::path::Path;

use serde_json::json;
use shared::bridge::{Answer, Call};
use shared::exit;
use shared::home::Home;

use crate::failure::Failure;
use crate::kernel::{Kernel, Manner};
use crate::output::{self, Report};

/// Writes the image's codex into a file that takes the place of another only when it is whole.
pub fn export(home: &Home, file: &Path) -> Result<Report, Failure> {
    let answered = Kernel::of(home).call(Call::Codex, Manner::plain())?;
    let Answer::Codex { text } = answered.answer else {
        return Err(Failure::internal(
            "the kernel answered something else than a codex",
        ));
    };
    output::write_whole(file, &text)?;
    let shown = file.display().to_string();
    Ok(Report {
        text: format!("the codex is in {shown}"),
        document: json!({ "ok": true, "file": shown, "bytes": text.len() }),
        exit: exit::ANSWERED,
    })
}
