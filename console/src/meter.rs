//! How far a long transfer is: one updating line on standard error, on a terminal alone.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Nothing is shown of what is over sooner.
const BLINK: Duration = Duration::from_millis(400);
const BETWEEN: Duration = Duration::from_millis(200);

pub struct Meter {
    /// What is done, such as `sent`.
    verb: &'static str,
    /// Unknown for a pipe.
    total_bytes: Option<u64>,
    begun: Instant,
    next: Instant,
    is_shown: bool,
    is_begun: bool,
}

impl Meter {
    /// `is_wanted` is false for programs, which read documents.
    pub fn new(verb: &'static str, total_bytes: Option<u64>, is_wanted: bool) -> Meter {
        let begun = Instant::now();
        Meter {
            verb,
            total_bytes,
            begun,
            next: begun + BLINK,
            is_shown: is_wanted && io::stderr().is_terminal(),
            is_begun: false,
        }
    }

    /// Tells how long it will be in all.
    pub fn expect(&mut self, total_bytes: u64) {
        self.total_bytes = Some(total_bytes);
    }

    pub fn show(&mut self, done_bytes: u64) {
        if !self.is_shown || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + BETWEEN;
        self.is_begun = true;
        let mut err = io::stderr().lock();
        let line = line(self.verb, done_bytes, self.total_bytes, self.begun.elapsed());
        let _ = write!(err, "\r{line}  ").and_then(|()| err.flush());
    }
}

impl Drop for Meter {
    /// Ends the line, so that what comes next stands below it.
    fn drop(&mut self) {
        if self.is_begun {
            eprintln!();
        }
    }
}

fn line(verb: &str, done_bytes: u64, total_bytes: Option<u64>, elapsed: Duration) -> String {
    let per_second = (done_bytes as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    let of = match total_bytes {
        Some(total) if total >= done_bytes && total > 0 => {
            format!(" of {} ({} %)", size(total), done_bytes * 100 / total)
        }
        _ => String::new(),
    };
    format!("{verb} {}{of}, {}/s", size(done_bytes), size(per_second))
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut shown = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if shown < 1024.0 {
            break;
        }
        shown /= 1024.0;
        unit = next;
    }
    format!("{shown:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lines_read_well() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(4 << 30), "4.0 GiB");
        assert_eq!(size(u64::MAX), "16777216.0 TiB");
        let two = Duration::from_secs(2);
        assert_eq!(
            line("sent", 2 << 20, Some(8 << 20), two),
            "sent 2.0 MiB of 8.0 MiB (25 %), 1.0 MiB/s"
        );
        assert_eq!(line("sent", 100, None, two), "sent 100 bytes, 50 bytes/s");
    }
}
