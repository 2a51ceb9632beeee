//! What this process has done and does, counted where it happens and read by whoever asks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::inference::{Figures, Finish, InferenceEvent, Loading, TierFigures};

/// Speed is that of the last so many seconds.
const WINDOW: Duration = Duration::from_secs(10);
/// Tokens are noted in steps of this.
const STEP: Duration = Duration::from_millis(250);

/// Those of the process: there is one model, one encoder, one socket.
pub static METERS: Meters = Meters::new();

pub struct Meters {
    /// Of a model that is being loaded: bytes that were read, and all of them; zero when there is none.
    loaded_bytes: AtomicU64,
    loading_bytes: AtomicU64,
    pub active: AtomicU32,
    pub waiting: AtomicU32,
    ended: [AtomicU64; 5],
    pub read_tokens: AtomicU64,
    pub shared_tokens: AtomicU64,
    written_tokens: AtomicU64,
    pub cache_tokens: AtomicU64,
    pub held_tokens: AtomicU64,
    pub kept_tokens: AtomicU64,
    pub embed_waiting: AtomicU32,
    pub texts: AtomicU64,
    pub text_tokens: AtomicU64,
    /// When tokens were written, and how many there had been.
    written: Mutex<VecDeque<(Instant, u64)>>,
}

impl Meters {
    const fn new() -> Meters {
        Meters {
            loaded_bytes: AtomicU64::new(0),
            loading_bytes: AtomicU64::new(0),
            active: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            ended: [const { AtomicU64::new(0) }; 5],
            read_tokens: AtomicU64::new(0),
            shared_tokens: AtomicU64::new(0),
            written_tokens: AtomicU64::new(0),
            cache_tokens: AtomicU64::new(0),
            held_tokens: AtomicU64::new(0),
            kept_tokens: AtomicU64::new(0),
            embed_waiting: AtomicU32::new(0),
            texts: AtomicU64::new(0),
            text_tokens: AtomicU64::new(0),
            written: Mutex::new(VecDeque::new()),
        }
    }

    /// The loading of so many bytes begins.
    pub fn begin_loading(&self, bytes: u64) {
        self.loaded_bytes.store(0, Ordering::Relaxed);
        self.loading_bytes.store(bytes, Ordering::Relaxed);
    }

    pub fn loaded(&self, bytes: u64) {
        self.loaded_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn end_loading(&self) {
        self.loading_bytes.store(0, Ordering::Relaxed);
    }

    pub fn loading(&self) -> Option<Loading> {
        let all_bytes = self.loading_bytes.load(Ordering::Relaxed);
        (all_bytes > 0).then(|| Loading {
            loaded_bytes: self.loaded_bytes.load(Ordering::Relaxed).min(all_bytes),
            all_bytes,
        })
    }

    /// Tokens of texts were written.
    pub fn wrote(&self, tokens: u64) {
        if tokens == 0 {
            return;
        }
        let before = self.written_tokens.fetch_add(tokens, Ordering::Relaxed);
        let now = Instant::now();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.back().is_none_or(|(at, _)| now - *at >= STEP) {
            written.push_back((now, before));
        }
        while written.front().is_some_and(|(at, _)| now - *at > WINDOW) {
            written.pop_front();
        }
    }

    /// An answer is on its way.
    pub fn told(&self, event: &InferenceEvent) {
        let place = match event {
            InferenceEvent::Done { finish, .. } => match finish {
                Finish::Stop => 0,
                Finish::MaxTokens => 1,
                Finish::Deadline => 2,
                Finish::Cancelled => 3,
            },
            // Mostly asked again without its grammar.
            InferenceEvent::Failed { fault, .. } if fault.reason == "no_grammar" => return,
            InferenceEvent::Failed { .. } => 4,
            _ => return,
        };
        self.ended[place].fetch_add(1, Ordering::Relaxed);
    }

    pub fn figures(&self, tiers: Vec<TierFigures>) -> Figures {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [stopped, full, late, cancelled, failed] = [0, 1, 2, 3, 4].map(|place| load(&self.ended[place]));
        Figures {
            loading: self.loading(),
            active: self.active.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            stopped,
            full,
            late,
            cancelled,
            failed,
            read_tokens: load(&self.read_tokens),
            shared_tokens: load(&self.shared_tokens),
            written_tokens: load(&self.written_tokens),
            written_per_second: self.speed(Instant::now()),
            cache_tokens: load(&self.cache_tokens),
            held_tokens: load(&self.held_tokens),
            kept_tokens: load(&self.kept_tokens),
            embed_waiting: self.embed_waiting.load(Ordering::Relaxed),
            texts: load(&self.texts),
            text_tokens: load(&self.text_tokens),
            tiers,
        }
    }

    /// Tokens a second while texts were written in the last seconds; zero when none were.
    fn speed(&self, now: Instant) -> f32 {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = written
            .iter()
            .find(|(at, _)| now.saturating_duration_since(*at) <= WINDOW);
        recent.map_or(0.0, |(at, before)| {
            let tokens = self.written_tokens.load(Ordering::Relaxed) - before;
            tokens as f32 / (now - *at).max(STEP).as_secs_f32()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_that_of_the_last_seconds() {
        let meters = Meters::new();
        assert_eq!(meters.figures(Vec::new()).written_per_second, 0.0);
        meters.wrote(100);
        let begun = meters.written.lock().unwrap()[0].0;
        assert_eq!(meters.speed(begun + Duration::from_secs(5)), 20.0);
        assert_eq!(meters.speed(begun + Duration::from_secs(11)), 0.0);
        assert_eq!(meters.figures(Vec::new()).written_tokens, 100);
    }

    #[test]
    fn loading_is_told_while_it_lasts() {
        let meters = Meters::new();
        assert_eq!(meters.loading(), None);
        meters.begin_loading(10);
        meters.loaded(4);
        assert_eq!(
            meters.loading(),
            Some(Loading {
                loaded_bytes: 4,
                all_bytes: 10
            })
        );
        meters.loaded(40);
        assert_eq!(meters.loading().unwrap().loaded_bytes, 10);
        meters.end_loading();
        assert_eq!(meters.figures(Vec::new()).loading, None);
    }

    #[test]
    fn ends_are_counted_by_their_reason() {
        let meters = Meters::new();
        let done = |finish| InferenceEvent::Done {
            request: 1,
            text: String::new(),
            finish,
            prompt_tokens: 0,
            generated_tokens: 0,
            elapsed_ms: 0,
        };
        for finish in [Finish::Stop, Finish::Stop, Finish::Cancelled] {
            meters.told(&done(finish));
        }
        let figures = meters.figures(Vec::new());
        assert_eq!((figures.stopped, figures.cancelled, figures.failed), (2, 1, 0));
    }
}
