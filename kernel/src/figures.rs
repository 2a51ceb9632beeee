//! How the requests of this kernel fared since it serves: what a steward judges a new kernel by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::bridge::{Answer, Call, Fault};
use shared::spread::{PLACES, place};

/// Counts.
pub struct Figures {
    answered: AtomicU64,
    failed: AtomicU64,
    took: [AtomicU64; PLACES],
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            took: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Figures {
    /// Whether such a request is counted: long work, such as a backup, says nothing of how well a kernel answers.
    pub fn counts(call: &Call) -> bool {
        matches!(
            call,
            Call::Send { .. }
                | Call::Inspect { .. }
                | Call::New { .. }
                | Call::Set { .. }
                | Call::Define { .. }
        )
    }

    /// Counts a reply; one that a thought had a part in says something of the model alone.
    pub fn note(&self, took: Duration, result: &Result<Answer, Fault>) {
        if let Ok(Answer::Sent { thought: Some(_), .. }) = result {
            return;
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.failed
            .fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.took[place(us)].fetch_add(1, Ordering::Relaxed);
    }

    /// Answered, of these failed, and how many took how long.
    pub fn told(&self) -> (u64, u64, Vec<u64>) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (
            count(&self.answered),
            count(&self.failed),
            self.took.iter().map(count).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use shared::bridge::Fault;
    use shared::id::{ThoughtId, TransactionId};
    use shared::value::Value;

    use super::*;

    #[test]
    fn replies_are_counted_but_not_thoughts() {
        let figures = Figures::default();
        let sent = |thought| {
            Ok(Answer::Sent {
                result: Value::None,
                transaction: TransactionId(1),
                thought,
            })
        };
        figures.note(Duration::from_micros(90), &sent(None));
        figures.note(Duration::from_secs(9), &sent(Some(ThoughtId(1))));
        figures.note(
            Duration::from_micros(90),
            &Err(Fault::new("no_object", "there is none")),
        );
        let (answered, failed, took) = figures.told();
        assert_eq!((answered, failed, took[place(90)]), (2, 1, 2));
        assert!(Figures::counts(&Call::Inspect { object: "a".into() }) && !Figures::counts(&Call::Verify));
    }
}
