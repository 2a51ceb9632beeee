//! Brings the LMDB index up to date in the background; how far it is behind only decides how much a restart replays.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::state::State;

const PAUSE: Duration = Duration::from_millis(500);
/// A small backlog waits for company for this many pauses.
const PATIENCE: u32 = 6;
const LARGE_BACKLOG: usize = 16_000;

/// The indexing thread. Dropped without [`Indexer::stop`] it ends without a last flush, as in a crash.
pub struct Indexer {
    end: Sender<Ending>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Flush,
    Abandon,
}

impl Indexer {
    pub fn start(state: Arc<State>) -> Indexer {
        let (end, ended) = channel();
        let thread = std::thread::Builder::new().name("indexer".into()).spawn(move || {
            let mut waited = 0;
            loop {
                let ending = match ended.recv_timeout(PAUSE) {
                    Ok(ending) => Some(ending),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => Some(Ending::Abandon),
                };
                if ending == Some(Ending::Abandon) {
                    return;
                }
                waited += 1;
                let backlog = state.fresh_weight();
                if ending.is_some() || backlog >= LARGE_BACKLOG || (backlog > 0 && waited >= PATIENCE) {
                    waited = 0;
                    if let Err(error) = state.flush() {
                        // Nothing is lost: the log has it all, and the next flush tries again.
                        tracing::error!(%error, "the index could not be brought up to date");
                    }
                }
                if ending.is_some() {
                    return;
                }
            }
        });
        Indexer {
            end,
            thread: Mutex::new(thread.ok()),
        }
    }

    /// Flushes once more and ends.
    pub fn stop(&self) {
        self.finish(Ending::Flush);
    }

    fn finish(&self, ending: Ending) {
        let _ = self.end.send(ending);
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.finish(Ending::Abandon);
    }
}
