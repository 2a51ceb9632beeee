//! How far a long work is, told every so often to whoever wants to know.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::bridge::{Progress, Unit};

/// Between two reports of one step; a step's begin is told at once.
const BETWEEN: Duration = Duration::from_millis(200);

/// Takes counts from the work and tells them as [`Progress`]. Cheap enough to be told of every object.
#[derive(Default)]
pub struct Reporter(Option<Telling>);

struct Telling {
    tell: Box<dyn Fn(Progress) + Send + Sync>,
    current: Mutex<Current>,
}

struct Current {
    progress: Progress,
    next: Instant,
}

impl Reporter {
    /// For who does not want to know.
    pub fn silent() -> Reporter {
        Reporter::default()
    }

    /// `tell` is called by the thread that does the work and must not wait.
    pub fn new(tell: impl Fn(Progress) + Send + Sync + 'static) -> Reporter {
        Reporter(Some(Telling {
            tell: Box::new(tell),
            current: Mutex::new(Current {
                progress: Progress {
                    step: String::new(),
                    done: 0,
                    total: None,
                    unit: Unit::Objects,
                },
                next: Instant::now(),
            }),
        }))
    }

    /// The work turns to another step, of so many units where that is known.
    pub fn begin(&self, step: &str, unit: Unit, total: Option<u64>) {
        tracing::info!(step, "long work");
        let Some(telling) = &self.0 else { return };
        let mut current = telling.current();
        current.progress = Progress {
            step: step.to_owned(),
            done: 0,
            total,
            unit,
        };
        current.next = Instant::now() + BETWEEN;
        (telling.tell)(current.progress.clone());
    }

    /// So many units more are done.
    pub fn add(&self, units: u64) {
        self.change(|done| done + units);
    }

    /// So many units of the step are done in all.
    pub fn reach(&self, units: u64) {
        self.change(|_| units);
    }

    fn change(&self, change: impl FnOnce(u64) -> u64) {
        let Some(telling) = &self.0 else { return };
        let mut current = telling.current();
        current.progress.done = change(current.progress.done);
        let now = Instant::now();
        if now >= current.next {
            current.next = now + BETWEEN;
            (telling.tell)(current.progress.clone());
        }
    }
}

impl Telling {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn steps_are_told_at_once_and_counts_now_and_then() {
        let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let sink = told.clone();
        let reporter = Reporter::new(move |progress| sink.lock().unwrap().push(progress));
        reporter.begin("reading", Unit::Objects, Some(3));
        for _ in 0..3 {
            reporter.add(1);
        }
        reporter.begin("writing", Unit::Bytes, None);
        std::thread::sleep(BETWEEN);
        reporter.reach(70);
        let told = told.lock().unwrap();
        let steps: Vec<(&str, u64, Option<u64>)> =
            told.iter().map(|p| (p.step.as_str(), p.done, p.total)).collect();
        assert_eq!(
            (steps[0], steps[steps.len() - 2], steps[steps.len() - 1]),
            (
                ("reading", 0, Some(3)),
                ("writing", 0, None),
                ("writing", 70, None)
            )
        );
    }
}
