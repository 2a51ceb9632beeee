//! What passes while a call runs: of a thought, one updating line on standard error, and a line for each setback.

use std::io::{self, Write};

use shared::bridge::{Event, ThoughtEvent};

use crate::render::harmless;
use crate::step::Step;

const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";
/// How many of the model's last characters the line shows.
const TAIL_CHARS: usize = 32;

/// The line of one call.
pub struct Progress {
    has_colours: bool,
    /// States of this round, oldest first.
    states: Vec<String>,
    round: u32,
    /// What the model wrote last, in one line.
    tail: String,
    is_begun: bool,
    /// Of what is no thought.
    step: Step,
}

impl Progress {
    pub fn new(has_colours: bool) -> Progress {
        Progress {
            has_colours,
            states: Vec::new(),
            round: 0,
            tail: String::new(),
            is_begun: false,
            step: Step::new(true),
        }
    }

    /// Shows an event.
    pub fn show(&mut self, event: &Event) {
        let event = match event {
            Event::Thought(event) => event,
            Event::Progress(progress) => return self.step.show(progress),
        };
        let mut err = io::stderr().lock();
        let text = self.pass(event);
        let _ = write!(err, "{text}").and_then(|()| err.flush());
    }

    /// Ends the line, so that the answer stands below it.
    pub fn end(&mut self) {
        self.step.end();
        if self.is_begun {
            eprintln!();
            self.is_begun = false;
        }
    }

    /// What to write for an event.
    fn pass(&mut self, event: &ThoughtEvent) -> String {
        let mut text = String::new();
        if event.round != self.round {
            self.round = event.round;
            self.states.clear();
            self.tail.clear();
            if self.is_begun {
                text.push('\n');
            }
        }
        if self.states.last() != Some(&event.state) && !event.state.is_empty() {
            self.states.push(harmless(&event.state));
            self.tail.clear();
        }
        match event.kind.as_str() {
            "TOKEN" => {
                let line: String = harmless(&event.detail).replace(['\n', '\t'], " ");
                self.tail.push_str(&line);
                let surplus = self.tail.chars().count().saturating_sub(TAIL_CHARS);
                self.tail = self.tail.chars().skip(surplus).collect();
            }
            "VALIDATION_FAILURE" => {
                let why = harmless(event.detail.trim());
                let shown: Vec<&str> = why.lines().rev().take(3).collect();
                let shown: Vec<&str> = shown.into_iter().rev().collect();
                text.push_str(&format!(
                    "{}{}  ✗ {}{}\n",
                    self.begin_line(),
                    self.colour(RED),
                    shown.join("\n    "),
                    self.colour(PLAIN)
                ));
            }
            "ESCALATED" => {
                let server = harmless(&event.detail);
                text.push_str(&format!("{}  → {server}\n", self.begin_line()));
            }
            _ => {}
        }
        text.push_str(&self.line(event));
        self.is_begun = true;
        text
    }

    fn line(&self, event: &ThoughtEvent) -> String {
        let (last, before) = match self.states.split_last() {
            Some((last, before)) => (last.as_str(), before),
            None => ("", &[][..]),
        };
        let colour = match last {
            "COMPLETE" => GREEN,
            "FAILED" => RED,
            _ => "",
        };
        let path: String = before.iter().map(|state| format!("{state} → ")).collect();
        let round = if self.round > 0 {
            format!(", round {}", self.round)
        } else {
            String::new()
        };
        let tail = if self.tail.is_empty() {
            String::new()
        } else {
            format!("  {}", self.tail)
        };
        let (dim, plain, colour) = (self.colour(DIM), self.colour(PLAIN), self.colour(colour));
        format!(
            "{}{dim}thought {}{round}: {path}{plain}{colour}{last}{plain}{dim}{tail}{plain}",
            self.begin_line(),
            event.thought
        )
    }

    /// Back to the beginning of the line and over what stood there.
    fn begin_line(&self) -> &'static str {
        if self.has_colours {
            "\r\x1b[K"
        } else if self.is_begun {
            "\n"
        } else {
            ""
        }
    }

    fn colour(&self, code: &'static str) -> &'static str {
        if self.has_colours { code } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::id::ThoughtId;

    fn event(round: u32, kind: &str, state: &str, detail: &str) -> ThoughtEvent {
        ThoughtEvent {
            thought: ThoughtId(4),
            round,
            unix_ms: 0,
            kind: kind.into(),
            state: state.into(),
            detail: detail.into(),
        }
    }

    #[test]
    fn states_pass_in_one_line() {
        let mut progress = Progress::new(true);
        progress.pass(&event(0, "STATE_TRANSITION", "IDLE", ""));
        let text = progress.pass(&event(0, "STATE_TRANSITION", "SYNTHESIZING", ""));
        assert!(
            text.starts_with("\r\x1b[K") && text.contains("IDLE → "),
            "{text:?}"
        );
        assert!(!text.contains('\n'), "{text:?}");
        let text = progress.pass(&event(0, "TOKEN", "SYNTHESIZING", "\x1b[2Jx\n"));
        assert!(!text.contains("\x1b[2J") && !text.contains('\n'), "{text:?}");
    }

    #[test]
    fn a_setback_stays_readable() {
        let mut progress = Progress::new(false);
        progress.pass(&event(0, "STATE_TRANSITION", "VALIDATING", ""));
        let text = progress.pass(&event(0, "VALIDATION_FAILURE", "VALIDATING", "no slot 'x'"));
        assert!(text.contains("✗ no slot 'x'\n"), "{text:?}");
        let text = progress.pass(&event(1, "STATE_TRANSITION", "SYNTHESIZING", ""));
        assert!(text.contains("thought 4, round 1: SYNTHESIZING"), "{text:?}");
    }

    #[test]
    fn who_is_asked_instead_is_told() {
        let mut progress = Progress::new(false);
        progress.pass(&event(1, "STATE_TRANSITION", "FAILED", ""));
        let text = progress.pass(&event(
            2,
            "ESCALATED",
            "IDLE",
            "llama at http://x/v1 is asked: not sure",
        ));
        assert!(
            text.contains("  → llama at http://x/v1 is asked: not sure\n"),
            "{text:?}"
        );
    }
}
