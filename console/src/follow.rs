//! `batos thoughts --follow`: what happens in thoughts, a line each while it happens.

use std::io::{self, Write};

use shared::bridge::{Call, Event, ThoughtEvent};
use shared::home::Home;
use shared::id::ThoughtId;
use shared::{document, exit};

use crate::failure::Failure;
use crate::kernel::{Kernel, Manner};
use crate::output::Report;
use crate::render::harmless;

/// Follows until the thought ends, or until the user goes.
pub fn run(home: &Home, id: Option<u64>, json: bool) -> Result<Report, Failure> {
    let mut watch = |event: &Event| {
        if let Event::Thought(event) = event {
            // A reader that is gone ends this by its signal.
            let mut out = io::stdout().lock();
            let _ = match json {
                true => writeln!(out, "{}", document::event(event)),
                false => writeln!(out, "{}", line(event)),
            }
            .and_then(|()| out.flush());
        }
    };
    let manner = Manner {
        watch: Some(&mut watch),
        ..Manner::plain()
    };
    let call = Call::Follow {
        id: id.map(ThoughtId),
    };
    let answered = Kernel::of(home).call(call, manner)?;
    Ok(Report {
        document: document::answer(&answered.answer, answered.elapsed_ms),
        text: String::new(),
        exit: exit::ANSWERED,
    })
}

fn line(event: &ThoughtEvent) -> String {
    let detail = harmless(event.detail.trim_end()).replace('\n', "\n      ");
    format!(
        "{:>5}.{}  {:<18} {:<13} {detail}",
        event.thought.0,
        event.round,
        event.kind,
        harmless(&event.state)
    )
}
