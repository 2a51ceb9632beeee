//! Brings the LMDB index up to date in the background; how far it is behind only decides how much a restart replays.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::state::State;

/// A small backlog waits so long for company.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many changes are not left waiting, and not so many transactions: a restart replays them.
const BACKLOG: usize = 16_000;
const TRANSACTIONS: usize = 40_000;
/// An index of more objects than this gains nothing from a large backlog, since hardly two changes fall on one page of it; then
/// less is left waiting, for a restart takes longer there.
const MANY_OBJECTS: u64 = 200_000;
const BACKLOG_OF_MANY: usize = 2_000;
/// So many times what starts a flush may wait behind one; then commits wait until it is less.
const MOST: usize = 4;
/// Commits wait no longer than this for an index that does not move, and look so often.
const PATIENCE_OF_COMMITS: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(2);

/// The indexing thread. Dropped without [`Indexer::stop`] it ends without a last flush, as in a crash.
pub struct Indexer {
    signals: Sender<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held by whoever flushes.
    turn: Arc<Mutex<()>>,
    is_failing: Arc<AtomicBool>,
    /// True while another kernel reads the same index, which then stays as it is.
    is_frozen: Arc<AtomicBool>,
}

/// Whether the index may be brought up to date.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Course {
    Moving,
    Frozen,
}

/// Tells the indexer what waits, and holds commits back where that is too much: what a restart must replay, and what stands in
/// memory, is bounded.
pub struct Pace {
    signals: Sender<Signal>,
    is_failing: Arc<AtomicBool>,
    is_frozen: Arc<AtomicBool>,
}

impl Pace {
    /// Called after every group, by the thread that commits.
    pub fn keep(&self, state: &State) {
        let _ = self.signals.send(Signal::Waiting(state.backlog()));
        let most = MOST * large(state);
        let until = Instant::now() + PATIENCE_OF_COMMITS;
        // An index that cannot be written holds nobody up: the log has it all. Nor does one that is frozen, for a short while.
        while state.fresh_weight() > most
            && !self.is_failing.load(Ordering::Relaxed)
            && !self.is_frozen.load(Ordering::Relaxed)
            && Instant::now() < until
        {
            std::thread::sleep(LOOK);
        }
    }
}

/// What waits for the index.
#[derive(Clone, Copy)]
pub struct Backlog {
    pub changes: usize,
    pub transactions: usize,
}

/// What the thread is told.
pub enum Signal {
    /// So much waits for the index now.
    Waiting(Backlog),
    /// Flush once more and end.
    Stop,
    /// End at once.
    Abandon,
}

impl Indexer {
    pub fn start(state: Arc<State>, course: Course) -> Indexer {
        let (signals, inbox) = channel();
        let turn = Arc::new(Mutex::new(()));
        let is_failing = Arc::new(AtomicBool::new(false));
        let is_frozen = Arc::new(AtomicBool::new(course == Course::Frozen));
        let (its_turn, failing, frozen) = (turn.clone(), is_failing.clone(), is_frozen.clone());
        let thread = std::thread::Builder::new()
            .name("indexer".into())
            .spawn(move || run(&state, &its_turn, (&failing, &frozen), &inbox));
        Indexer {
            signals,
            thread: Mutex::new(thread.ok()),
            turn,
            is_failing,
            is_frozen,
        }
    }

    /// Brings the index up to date once more, then leaves it as it is.
    pub fn freeze(&self, state: &State) -> Result<(), ::lmdb::Error> {
        let _turn = self.hold();
        state.flush()?;
        self.is_frozen.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Lets the index move on.
    pub fn thaw(&self, state: &State) {
        self.is_frozen.store(false, Ordering::SeqCst);
        let _ = self.signals.send(Signal::Waiting(state.backlog()));
    }

    /// Ends without a last flush; nothing of this kernel touches the index any more.
    pub fn abandon(&self) {
        self.finish(Signal::Abandon);
    }

    /// What the committer keeps to.
    pub fn pace(&self) -> Pace {
        Pace {
            signals: self.signals.clone(),
            is_failing: self.is_failing.clone(),
            is_frozen: self.is_frozen.clone(),
        }
    }

    /// Brings the index up to date now.
    pub fn flush(&self, state: &State) -> Result<(), ::lmdb::Error> {
        flush(state, &self.turn)
    }

    /// Nothing is flushed while this is held.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flushes once more and ends.
    pub fn stop(&self) {
        self.finish(Signal::Stop);
    }

    fn finish(&self, signal: Signal) {
        let _ = self.signals.send(signal);
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.finish(Signal::Abandon);
    }
}

fn run(
    state: &State,
    turn: &Mutex<()>,
    (is_failing, is_frozen): (&AtomicBool, &AtomicBool),
    inbox: &Receiver<Signal>,
) {
    let mut due: Option<Instant> = None;
    loop {
        let signal = match due {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match signal {
            Ok(Signal::Waiting(backlog)) if !is_large(state, backlog) => {
                due.get_or_insert_with(|| Instant::now() + PATIENCE);
                continue;
            }
            Ok(Signal::Abandon) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Signal::Waiting(_) | Signal::Stop) | Err(RecvTimeoutError::Timeout) => {}
        }
        due = None;
        // Signals pile up during a flush: only what still waits counts.
        if state.fresh_weight() > 0 || matches!(signal, Ok(Signal::Stop)) {
            let flushed = flush_unless_frozen(state, turn, is_frozen);
            is_failing.store(flushed.is_err(), Ordering::Relaxed);
            if let Err(error) = flushed {
                // Nothing is lost: the log has it all, and the next flush tries again.
                tracing::error!(%error, "the index could not be brought up to date");
                due = Some(Instant::now() + PATIENCE);
            }
        }
        if matches!(signal, Ok(Signal::Stop)) {
            return;
        }
    }
}

fn is_large(state: &State, backlog: Backlog) -> bool {
    backlog.changes >= large(state) || backlog.transactions >= TRANSACTIONS
}

/// So many changes are not left waiting.
fn large(state: &State) -> usize {
    match state.object_count() > MANY_OBJECTS {
        true => BACKLOG_OF_MANY,
        false => BACKLOG,
    }
}

fn flush_unless_frozen(state: &State, turn: &Mutex<()>, is_frozen: &AtomicBool) -> Result<(), ::lmdb::Error> {
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    // Looked at in turn, so that no flush is under way when the index is said to be frozen.
    match is_frozen.load(Ordering::SeqCst) {
        true => Ok(()),
        false => state.flush(),
    }
}

fn flush(state: &State, turn: &Mutex<()>) -> Result<(), ::lmdb::Error> {
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    state.flush()
}

#[cfg(test)]
mod tests {
    use shared::id::ObjectId;
    use shared::value::Value;

    use super::*;
    use crate::image::Image;
    use crate::image::draft::{Change, Draft};

    /// Commits objects until so many changes wait; answers how long the last commit took.
    fn pile_up(image: &Image, changes: usize) -> Duration {
        const OF_ONE: usize = 1_000;
        let mut last = Duration::ZERO;
        while image.state.fresh_weight() < changes {
            let mut draft = Draft::new("test");
            let made = |_| Change::Create {
                object: image.state.allocate(),
                slots: vec![("n".into(), Value::Ref(ObjectId::LOBBY))],
            };
            draft.changes = (0..OF_ONE).map(made).collect();
            let begun = Instant::now();
            image.committer.commit_blocking(draft).unwrap();
            last = begun.elapsed();
        }
        last
    }

    #[test]
    fn commits_wait_for_an_index_that_falls_behind() {
        let folder = tempfile::tempdir().unwrap();
        let image = Image::open(&folder.path().join("image")).unwrap();
        let mut draft = Draft::new("test");
        draft.changes.push(Change::Create {
            object: image.state.allocate(),
            slots: Vec::new(),
        });
        image.committer.commit_blocking(draft).unwrap();
        let turn = image.hold_index();
        pile_up(&image, MOST * BACKLOG + 1);
        // The group that went too far holds the next one up.
        let waited = pile_up(&image, MOST * BACKLOG + 1_500);
        assert!(waited >= PATIENCE_OF_COMMITS / 2, "{waited:?}");
        drop(turn);
        let until = Instant::now() + Duration::from_secs(20);
        while image.state.fresh_weight() >= BACKLOG {
            assert!(Instant::now() < until, "the index does not catch up");
            std::thread::sleep(LOOK);
        }
        assert!(pile_up(&image, 1) < PATIENCE_OF_COMMITS);
    }
}
