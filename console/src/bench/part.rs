//! Which part of the bench a task belongs to: decided by the hash of what it says, so nobody chooses.

use clap::ValueEnum;
use sha2::{Digest as _, Sha256};

/// Of 256; three tasks in five are for test.
const TEST_BELOW: u8 = 154;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// May be looked at, and may be trained on.
    Dev,
    /// Stands in no corpus, prompt or dataset; `./scripts/dnu-scan` proves it.
    Test,
}

impl Part {
    pub fn of(hash: &[u8; 32]) -> Part {
        match hash[0] < TEST_BELOW {
            true => Part::Test,
            false => Part::Dev,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Part::Dev => "dev",
            Part::Test => "test",
        }
    }
}

/// SHA-256 of the fields, each ended by a line break; `scripts/dnu-scan` computes the same.
pub fn hash<'a>(fields: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for field in fields {
        hasher.update(field.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_changes_may_change_its_part() {
        let of = |text: &str| hash(["id", text]);
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
        let test = (0..1_000)
            .filter(|n| Part::of(&of(&n.to_string())) == Part::Test)
            .count();
        assert!((540..660).contains(&test), "{test}");
    }
}
