//! How far long work of the kernel is: one updating line on standard error, on a terminal alone.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use shared::bridge::{Progress, Unit};

use crate::meter::size;
use crate::render::harmless;

/// Nothing is shown of what is over sooner.
const BLINK: Duration = Duration::from_millis(400);

/// The line of one call.
pub struct Step {
    begun: Instant,
    is_shown: bool,
    is_begun: bool,
}

impl Step {
    /// `is_wanted` is false for programs, which read documents.
    pub fn new(is_wanted: bool) -> Step {
        Step {
            begun: Instant::now(),
            is_shown: is_wanted && io::stderr().is_terminal(),
            is_begun: false,
        }
    }

    pub fn show(&mut self, progress: &Progress) {
        if !self.is_shown || self.begun.elapsed() < BLINK {
            return;
        }
        self.is_begun = true;
        let mut err = io::stderr().lock();
        let line = line(progress);
        let _ = write!(err, "\r\x1b[K{line}").and_then(|()| err.flush());
    }

    /// Takes the line away, so that the answer stands in its place.
    pub fn end(&mut self) {
        if self.is_begun {
            eprint!("\r\x1b[K");
            self.is_begun = false;
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.end();
    }
}

fn line(progress: &Progress) -> String {
    let step = harmless(&progress.step);
    let count = |units: u64| match progress.unit {
        Unit::Bytes => size(units),
        _ => units.to_string(),
    };
    let unit = match progress.unit {
        Unit::Bytes => "",
        Unit::Objects => " objects",
        Unit::Entries => " entries",
        Unit::Transactions => " transactions",
        Unit::Chunks => " chunks",
    };
    match progress.total {
        Some(total) if total >= progress.done && total > 0 => format!(
            "{step}: {} of {}{unit} ({} %)",
            count(progress.done),
            count(total),
            u128::from(progress.done) * 100 / u128::from(total)
        ),
        _ if progress.done > 0 => format!("{step}: {}{unit}", count(progress.done)),
        _ => format!("{step} …"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_and_how_far() {
        let mut progress = Progress {
            step: "copying the log".into(),
            done: 0,
            total: Some(4 << 20),
            unit: Unit::Bytes,
        };
        assert_eq!(line(&progress), "copying the log: 0 bytes of 4.0 MiB (0 %)");
        progress.done = 1 << 20;
        assert_eq!(line(&progress), "copying the log: 1.0 MiB of 4.0 MiB (25 %)");
        // An image that grows meanwhile.
        progress.done = 5 << 20;
        assert_eq!(line(&progress), "copying the log: 5.0 MiB");
        let marking = Progress {
            step: "marking\x1b[2J".into(),
            done: 0,
            total: None,
            unit: Unit::Objects,
        };
        assert_eq!(line(&marking), "marking\u{fffd}[2J …");
    }
}
