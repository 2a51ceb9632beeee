//! The while in which a new plank serves and is watched, before it is chosen.

use std::time::Instant;

/// It is passed by a good answer to a question that was put after its end: what was answered before says nothing of a plank that
/// has hung since.
pub struct Probation {
    over: Instant,
    asked: Option<Instant>,
}

impl Probation {
    pub fn until(over: Instant) -> Probation {
        Probation { over, asked: None }
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_question_after_its_end_passes_it() {
        let (begun, over) = (Instant::now(), Instant::now() + Duration::from_millis(200));
        let mut probation = Probation::until(over);
        assert!(!probation.is_passed());
        probation.answered(begun);
        probation.answered(begun + Duration::from_millis(199));
        assert!(!probation.is_passed());
        probation.answered(over);
        probation.answered(begun);
        assert!(probation.is_passed());
    }
}
