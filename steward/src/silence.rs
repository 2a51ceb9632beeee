//! A plank that runs and does not answer: stopped, deadlocked, or out of descriptors. It has not ended, so no signal tells of it.

use std::time::{Duration, Instant};

/// Asked this many times within the limit.
const QUESTIONS: u32 = 3;
/// However long the limit.
const MOST_SELDOM: Duration = Duration::from_secs(10);
/// The steward's loop turns more often; else the steward was itself stopped, and nobody can have answered it.
const ABSENCE: Duration = Duration::from_secs(15);

/// How long a question to a plank that serves has waited.
pub struct Silence {
    /// `None`: nobody is asked.
    limit: Option<Duration>,
    asked: Option<Instant>,
    ask_at: Instant,
    seen: Instant,
}

impl Silence {
    pub fn new(limit: Option<Duration>, now: Instant) -> Silence {
        Silence {
            limit,
            asked: None,
            ask_at: now,
            seen: now,
        }
    }

    /// When the next question is due.
    pub fn due(&self) -> Option<Instant> {
        self.limit.map(|_| self.ask_at)
    }

    /// True when it is to be asked now; the question is then taken as put.
    pub fn ask(&mut self, now: Instant) -> bool {
        if self.limit.is_none() || now < self.ask_at {
            return false;
        }
        self.put_off(now);
        self.asked.get_or_insert(now);
        true
    }

    /// It answered.
    pub fn end(&mut self) {
        self.asked = None;
    }

    /// It is not to answer now, so that no question is due either: who waits for one that nobody puts would not sleep.
    pub fn allow(&mut self, now: Instant) {
        self.end();
        self.put_off(now);
    }

    fn put_off(&mut self, now: Instant) {
        if let Some(limit) = self.limit {
            self.ask_at = now + (limit / QUESTIONS).min(MOST_SELDOM);
        }
    }

    /// How long it has been silent, where that is too long.
    pub fn too_long(&mut self, now: Instant) -> Option<Duration> {
        let was_away = now.saturating_duration_since(self.seen) > ABSENCE;
        self.seen = now;
        if was_away && self.asked.is_some() {
            self.asked = Some(now);
        }
        let silent = now.saturating_duration_since(self.asked?);
        self.limit.filter(|limit| silent >= *limit).map(|_| silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn who_does_not_answer_is_silent_for_too_long() {
        let begun = Instant::now();
        let mut silence = Silence::new(Some(LIMIT), begun);
        assert!(silence.ask(begun) && !silence.ask(begun + seconds(9)));
        for passed in [5, 10, 15, 20, 25, 29] {
            silence.ask(begun + seconds(passed));
            assert_eq!(silence.too_long(begun + seconds(passed)), None);
        }
        assert_eq!(silence.too_long(begun + seconds(30)), Some(LIMIT));
    }

    #[test]
    fn an_answer_begins_it_anew() {
        let begun = Instant::now();
        let mut silence = Silence::new(Some(LIMIT), begun);
        silence.ask(begun);
        for passed in (5..120).step_by(5) {
            assert_eq!(silence.too_long(begun + seconds(passed)), None);
            silence.end();
            silence.ask(begun + seconds(passed));
        }
    }

    #[test]
    fn a_steward_that_was_stopped_asks_again_first() {
        let begun = Instant::now();
        let mut silence = Silence::new(Some(LIMIT), begun);
        silence.ask(begun);
        assert_eq!(silence.too_long(begun + seconds(600)), None);
        assert_eq!(silence.too_long(begun + seconds(610)), None);
        silence.too_long(begun + seconds(620));
        assert!(silence.too_long(begun + seconds(630)).is_some());
    }

    #[test]
    fn no_question_is_due_while_silence_is_allowed() {
        let begun = Instant::now();
        let mut silence = Silence::new(Some(LIMIT), begun);
        silence.ask(begun);
        for passed in (5..120).step_by(5) {
            let now = begun + seconds(passed);
            assert_eq!(silence.too_long(now), None);
            silence.allow(now);
            assert!(silence.due().is_some_and(|due| due > now));
        }
        assert!(silence.ask(begun + seconds(130)));
    }

    #[test]
    fn without_a_limit_nobody_is_asked() {
        let begun = Instant::now();
        let mut silence = Silence::new(None, begun);
        assert!(!silence.ask(begun) && silence.due().is_none());
        assert_eq!(silence.too_long(begun + seconds(5)), None);
    }
}
