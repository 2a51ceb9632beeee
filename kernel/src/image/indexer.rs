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

/// The indexing thread. Dropped without [`Indexer::stop`] it ends without a last flush, as in a crash.
pub struct Indexer {
    signals: Sender<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held by whoever flushes.
    turn: Arc<Mutex<()>>,
    /// True while another kernel reads the same index, which then stays as it is.
    is_frozen: Arc<AtomicBool>,
}

/// Whether the index may be brought up to date.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Course {
    Moving,
    Frozen,
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
        let is_frozen = Arc::new(AtomicBool::new(course == Course::Frozen));
        let (its_turn, it_is_frozen) = (turn.clone(), is_frozen.clone());
        let thread = std::thread::Builder::new()
            .name("indexer".into())
            .spawn(move || run(&state, &its_turn, &it_is_frozen, &inbox));
        Indexer {
            signals,
            thread: Mutex::new(thread.ok()),
            turn,
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

    /// Where the committer tells how much waits.
    pub fn signals(&self) -> Sender<Signal> {
        self.signals.clone()
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

fn run(state: &State, turn: &Mutex<()>, is_frozen: &AtomicBool, inbox: &Receiver<Signal>) {
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
        if (state.fresh_weight() > 0 || matches!(signal, Ok(Signal::Stop)))
            && let Err(error) = flush_unless_frozen(state, turn, is_frozen)
        {
            // Nothing is lost: the log has it all, and the next flush tries again.
            tracing::error!(%error, "the index could not be brought up to date");
            due = Some(Instant::now() + PATIENCE);
        }
        if matches!(signal, Ok(Signal::Stop)) {
            return;
        }
    }
}

fn is_large(state: &State, backlog: Backlog) -> bool {
    let changes = match state.object_count() > MANY_OBJECTS {
        true => BACKLOG_OF_MANY,
        false => BACKLOG,
    };
    backlog.changes >= changes || backlog.transactions >= TRANSACTIONS
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
