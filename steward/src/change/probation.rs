//! The while in which a new plank serves and is watched, before it is chosen.

use std::time::{Duration, Instant};

/// It is passed by a good answer to a question that was put after its end: what was answered before says nothing of a plank that
/// has hung since.
pub struct Probation {
    begun: Instant,
    over: Instant,
    asked: Option<Instant>,
}

impl Probation {
    pub fn new(begun: Instant, length: Duration) -> Probation {
        Probation {
            begun,
            over: begun + length,
            asked: None,
        }
    }

    /// Whether the answer to a question that was put then can be of the new plank alone: the old one may have answered an earlier one, and
    /// be heard late.
    pub fn concerns(&self, asked: Instant) -> bool {
        asked >= self.begun
    }

    /// A question that was put then was answered well.
    pub fn answered(&mut self, asked: Instant) {
        self.asked = self.asked.max(Some(asked));
    }

    pub fn is_passed(&self) -> bool {
        self.asked.is_some_and(|asked| asked >= self.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_question_after_its_end_passes_it() {
        let begun = Instant::now();
        let over = begun + Duration::from_millis(200);
        let mut probation = Probation::new(begun, Duration::from_millis(200));
        assert!(!probation.is_passed());
        probation.answered(begun);
        probation.answered(begun + Duration::from_millis(199));
        assert!(!probation.is_passed());
        probation.answered(over);
        probation.answered(begun);
        assert!(probation.is_passed());
    }

    #[test]
    fn a_question_to_the_old_plank_says_nothing_of_the_new_one() {
        let begun = Instant::now();
        let probation = Probation::new(begun + Duration::from_millis(10), Duration::from_millis(200));
        assert!(!probation.concerns(begun));
        assert!(probation.concerns(begun + Duration::from_millis(10)));
    }
}
