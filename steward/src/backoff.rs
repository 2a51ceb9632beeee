//! When an ended plank is started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Largest pause for a plank that did become ready: outside kills, one after the other, must not cost its users a second each.
const LARGEST_PAUSE_AFTER_READY: Duration = Duration::from_millis(100);
/// A plank that was ready for this long begins with a clean slate.
const CLEAN_SLATE: Duration = Duration::from_secs(2);

/// Exponential pauses with jitter; a crash loop after too many ends in a row without having been ready.
#[derive(Debug)]
pub struct Backoff {
    crash_loop_after: u32,
    crash_loop_pause: Duration,
    intensity: Intensity,
    /// When it ended, within the window.
    recent: VecDeque<Instant>,
    /// Ends in a row without a clean slate between.
    ends: u32,
    /// Of these, the last ones in a row that were never ready.
    never_ready: u32,
}

/// More ends than that within the window are a crash loop, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    pub ends: u32,
    pub window: Duration,
}

/// What to do about an end.
#[derive(Debug, PartialEq, Eq)]
pub struct Pause {
    pub length: Duration,
    pub is_crash_loop: bool,
}

impl Backoff {
    pub fn new(crash_loop_after: u32, crash_loop_pause: Duration, intensity: Intensity) -> Backoff {
        Backoff {
            crash_loop_after,
            crash_loop_pause,
            intensity,
            recent: VecDeque::new(),
            ends: 0,
            never_ready: 0,
        }
    }

    /// Forgets earlier ends: another program is to be tried.
    pub fn reset(&mut self) {
        self.ends = 0;
        self.never_ready = 0;
        self.recent.clear();
    }

    /// The pause after an end that was noticed `now`. `ready_for` says how long it had been ready, if it was. `jitter` lies in 0.0 … 1.0 and moves
    /// the pause by up to a quarter.
    pub fn pause(&mut self, now: Instant, ready_for: Option<Duration>, jitter: f64) -> Pause {
        let window = self.intensity.window;
        self.recent.push_back(now);
        self.recent
            .retain(|at| now.saturating_duration_since(*at) < window);
        if ready_for.is_some_and(|time| time >= CLEAN_SLATE) {
            self.ends = 0;
        }
        self.never_ready = if ready_for.is_some() {
            0
        } else {
            self.never_ready + 1
        };
        let largest = match ready_for {
            Some(_) => LARGEST_PAUSE_AFTER_READY.min(self.crash_loop_pause),
            None => self.crash_loop_pause,
        };
        let exponential = FIRST_PAUSE.saturating_mul(1 << self.ends.min(16)).min(largest);
        self.ends = self.ends.saturating_add(1);
        let is_crash_loop =
            self.never_ready >= self.crash_loop_after || self.recent.len() > self.intensity.ends as usize;
        let base = if is_crash_loop {
            self.crash_loop_pause
        } else {
            exponential
        };
        Pause {
            length: base.mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0)),
            is_crash_loop,
        }
    }
}

/// A random number in 0.0 … 1.0; the middle when the system has none to give.
pub fn jitter() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: Intensity = Intensity {
        ends: 1000,
        window: Duration::from_secs(60),
    };

    fn pauses(ready_for: Option<Duration>, count: usize) -> Vec<(u64, bool)> {
        let mut backoff = Backoff::new(6, Duration::from_secs(4), MANY);
        let now = Instant::now();
        (0..count)
            .map(|_| backoff.pause(now, ready_for, 0.5))
            .map(|pause| (pause.length.as_millis() as u64, pause.is_crash_loop))
            .collect()
    }

    #[test]
    fn pauses_double_until_a_crash_loop() {
        let expected = [50, 100, 200, 400, 800].map(|pause| (pause, false));
        assert_eq!(pauses(None, 5), expected);
        assert_eq!(pauses(None, 8)[5..], [(4000, true), (4000, true), (4000, true)]);
    }

    #[test]
    fn what_was_ready_comes_back_soon() {
        assert_eq!(pauses(Some(Duration::from_secs(3)), 3), [(50, false); 3]);
        assert_eq!(pauses(Some(Duration::from_millis(9)), 40)[39], (100, false));
    }

    #[test]
    fn too_many_ends_in_a_while_are_a_crash_loop_however_ready_it_was() {
        let intensity = Intensity {
            ends: 3,
            window: Duration::from_secs(60),
        };
        let mut backoff = Backoff::new(6, Duration::from_secs(4), intensity);
        let begun = Instant::now();
        let mut ends = |second| {
            let at = begun + Duration::from_secs(second);
            backoff.pause(at, Some(Duration::from_secs(5)), 0.5).is_crash_loop
        };
        assert_eq!(
            [0, 10, 20, 30, 95, 200].map(&mut ends),
            [false, false, false, true, false, false]
        );
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        let mut backoff = Backoff::new(6, Duration::from_secs(4), MANY);
        let now = Instant::now();
        assert_eq!(
            backoff.pause(now, None, 0.0).length,
            Duration::from_micros(37_500)
        );
        backoff.reset();
        assert_eq!(
            backoff.pause(now, None, 1.0).length,
            Duration::from_micros(62_500)
        );
        assert!((0.0..=1.0).contains(&jitter()));
    }
}
