//! The tables of snippets that several tests share.
#![allow(dead_code)]

pub mod hostile;
pub mod legal;

/// A method around a body: `def act(self, other=None, n=1):`, each line of the body indented once.
pub fn method(body: &str) -> String {
    let mut source = String::from("def act(self, other=None, n=1):\n");
    for line in body.lines() {
        source.push_str("    ");
        source.push_str(line);
        source.push('\n');
    }
    source
}

/// A snippet that begins with `def`, `async`, `@` and the like is a whole source; any other is a body.
pub fn source_of(snippet: &str) -> String {
    match snippet.strip_prefix("RAW:") {
        Some(raw) => raw.to_owned(),
        None => method(snippet),
    }
}

/// A small repeatable random number generator (xorshift), so that a failure can be run again.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}
