//! `batos view`: an object as a page or a picture.

use std::io::{self, IsTerminal, Write as _};
use std::path::Path;

use serde_json::json;
use shared::bridge::{Answer, Call, ViewView};
use shared::document;
use shared::home::Home;

use crate::arguments::View;
use crate::failure::Failure;
use crate::kernel::Kernel;
use crate::output::{self, Report};

/// Has the view made where it is not there, and writes it out.
pub fn run(home: &Home, view: View, json: bool) -> Result<Report, Failure> {
    let call = Call::View {
        object: view.object,
        fresh: view.fresh,
        workflow: view.workflow,
        deadline_ms: view.deadline.map(|deadline| deadline.0),
    };
    let answered = Kernel::of(home).call_shown(call, !json && io::stderr().is_terminal())?;
    let Answer::View(shown) = &answered.answer else {
        return Err(Failure::internal(
            "the kernel answered something else than a view",
        ));
    };
    let text = if view.svg { &shown.svg } else { &shown.html };
    let mut document = document::answer(&answered.answer, answered.elapsed_ms);
    let Some(file) = view.out.filter(|file| file != Path::new("-")) else {
        if !json {
            let mut out = io::stdout().lock();
            // A reader that is gone ends this by its signal.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
        return Ok(Report::answered(document, String::new()));
    };
    output::write_whole(&file, text)?;
    document["file"] = json!(file.display().to_string());
    document["bytes"] = json!(text.len());
    if let Some(members) = document.as_object_mut() {
        members.remove("html");
        members.remove("svg");
    }
    let said = format!("{} is in {}", described(shown), file.display());
    Ok(Report::answered(document, said))
}

/// Who drew it, in words.
pub fn described(view: &ViewView) -> String {
    let by = match view.drawn_by.is_empty() {
        true => "no model took part".to_owned(),
        false => format!("thought by {}", view.drawn_by.join(", ")),
    };
    let when = match view.thought {
        Some(thought) => format!("made by thought {thought}"),
        None => format!("made in transaction {}", view.transaction),
    };
    format!("the view of {} ({}, {by}, {when})", view.name, view.workflow)
}

#[cfg(test)]
mod tests {
    use shared::id::{ObjectId, ThoughtId, TransactionId};

    use super::*;

    #[test]
    fn it_says_who_drew_it() {
        let mut view = ViewView {
            object: ObjectId(40),
            name: "account".into(),
            record: ObjectId(41),
            transaction: TransactionId(7),
            workflow: "view_plain".into(),
            drawn_by: Vec::new(),
            thought: None,
            html: String::new(),
            svg: String::new(),
        };
        assert_eq!(
            described(&view),
            "the view of account (view_plain, no model took part, made in transaction 7)"
        );
        view.drawn_by = vec!["BABS".into(), "BRICK".into()];
        view.thought = Some(ThoughtId(3));
        assert_eq!(
            described(&view),
            "the view of account (view_plain, thought by BABS, BRICK, made by thought 3)"
        );
    }
}
