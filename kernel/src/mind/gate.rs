//! Which missions are thought about now: so many at once, those first that somebody waits for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::bridge::Priority;
use shared::id::ThoughtId;
use tokio::sync::oneshot;

/// Every so many missions, the one that waited longest goes first, whatever its priority: nothing starves.
const TURN_OF_THE_OLDEST: u64 = 4;

/// The way to the model.
#[derive(Default)]
pub struct Gate {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    inside: usize,
    /// How many were let in from the queue.
    count: u64,
    /// In the order of their coming.
    queue: Vec<Waiting>,
}

struct Waiting {
    mission: ThoughtId,
    priority: Priority,
    enter: oneshot::Sender<()>,
}

/// Lets the next one in when it is dropped.
pub struct Pass(Arc<Gate>);

/// A place in the queue. Given up, it lets the next one in if it was its turn already.
struct Ticket {
    gate: Arc<Gate>,
    turn: Option<oneshot::Receiver<()>>,
}

impl Gate {
    /// Returns when the mission may be thought about; at most `most` are at once.
    pub async fn enter(self: &Arc<Self>, mission: ThoughtId, priority: Priority, most: usize) -> Pass {
        let mut ticket = {
            let mut inner = self.lock();
            if inner.inside < most.max(1) {
                inner.inside += 1;
                return Pass(self.clone());
            }
            let (enter, turn) = oneshot::channel();
            inner.queue.push(Waiting {
                mission,
                priority,
                enter,
            });
            Ticket {
                gate: self.clone(),
                turn: Some(turn),
            }
        };
        if let Some(turn) = ticket.turn.as_mut() {
            // The sender is in the queue of the gate, which the ticket holds.
            let _ = turn.await;
        }
        ticket.turn = None;
        Pass(self.clone())
    }

    /// Somebody waits for a queued mission now.
    pub fn raise(&self, mission: ThoughtId, priority: Priority) {
        for waiting in self
            .lock()
            .queue
            .iter_mut()
            .filter(|waiting| waiting.mission == mission)
        {
            waiting.priority = waiting.priority.min(priority);
        }
    }

    /// True while the mission waits to be let in.
    pub fn has_queued(&self, mission: ThoughtId) -> bool {
        self.lock().queue.iter().any(|waiting| waiting.mission == mission)
    }

    fn leave(&self) {
        let mut inner = self.lock();
        inner.inside -= 1;
        while let Some(next) = inner.next() {
            if next.enter.send(()).is_ok() {
                inner.inside += 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn next(&mut self) -> Option<Waiting> {
        if self.queue.is_empty() {
            return None;
        }
        self.count += 1;
        let at = match self.count.is_multiple_of(TURN_OF_THE_OLDEST) {
            true => 0,
            // The first of the most urgent.
            false => (0..self.queue.len()).min_by_key(|at| self.queue[*at].priority)?,
        };
        Some(self.queue.remove(at))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(mut turn) = self.turn.take() {
            turn.close();
            if turn.try_recv().is_ok() {
                self.gate.leave();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn enter(gate: &Arc<Gate>, mission: u64, priority: Priority) -> (u64, Pass) {
        (mission, gate.enter(ThoughtId(mission), priority, 1).await)
    }

    #[tokio::test]
    async fn who_is_waited_for_goes_first_and_nobody_starves() {
        let gate = Arc::<Gate>::default();
        let first = enter(&gate, 0, Priority::Resumed).await;
        let mut queued = tokio::task::JoinSet::new();
        for (mission, priority) in [
            (1, Priority::Resumed),
            (2, Priority::Resumed),
            (3, Priority::Awaited),
            (4, Priority::Awaited),
            (5, Priority::Awaited),
            (6, Priority::Awaited),
        ] {
            let gate = gate.clone();
            queued.spawn(async move { enter(&gate, mission, priority).await });
            tokio::task::yield_now().await;
        }
        assert!(gate.has_queued(ThoughtId(2)));
        gate.raise(ThoughtId(2), Priority::Awaited);
        drop(first);
        let mut order = Vec::new();
        while let Some(entered) = queued.join_next().await {
            let (mission, pass) = entered.unwrap();
            order.push(mission);
            drop(pass);
        }
        // The fourth turn is the oldest's.
        assert_eq!(order, [2, 3, 4, 1, 5, 6]);
        assert_eq!(gate.lock().inside, 0);
    }

    #[tokio::test]
    async fn who_gives_up_blocks_nobody() {
        let gate = Arc::<Gate>::default();
        let first = enter(&gate, 0, Priority::Awaited).await;
        let own = gate.clone();
        let mut gone = Box::pin(own.enter(ThoughtId(1), Priority::Awaited, 1));
        assert!(futures_poll(&mut gone).await.is_none());
        let other = gate.clone();
        let waiting = tokio::spawn(async move { enter(&other, 2, Priority::Awaited).await.0 });
        tokio::task::yield_now().await;
        // It is its turn, and it goes before it hears of it.
        drop(first);
        drop(gone);
        assert_eq!(waiting.await.unwrap(), 2);
        assert_eq!(gate.lock().inside, 0);
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
