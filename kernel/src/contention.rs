//! Turns at objects that many want to change at the same time: who met a conflict there goes on one after the other, so that
//! each needs a few attempts, however many they are.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::id::ObjectId;
use tokio::sync::{Mutex as Waiting, OwnedMutexGuard};
use tokio::time::timeout;

/// What may have no end keeps a turn so long: an endless method would hold all others up.
const MOST_UNPROVEN: Duration = Duration::from_millis(20);

/// The contended objects. Nobody holds two turns, so nobody waits in a circle.
#[derive(Default)]
pub struct Contention {
    contended: Mutex<HashMap<ObjectId, Arc<Waiting<()>>>>,
    /// How many there are; most of the time none, and then nobody takes the lock.
    count: AtomicUsize,
}

/// A turn at an object; the next one begins when it is dropped.
pub struct Turn {
    contention: Arc<Contention>,
    object: ObjectId,
    waiting: Arc<Waiting<()>>,
    _held: OwnedMutexGuard<()>,
}

impl Contention {
    /// A turn at the object, after those who asked before.
    pub async fn turn(self: &Arc<Self>, object: ObjectId) -> Turn {
        let waiting = {
            let mut contended = self.contended();
            let waiting = contended.entry(object).or_default().clone();
            self.count.store(contended.len(), Ordering::Relaxed);
            waiting
        };
        self.wait(object, waiting).await
    }

    /// The same if others contend for it now; `None` when nobody does.
    pub async fn turn_if_contended(self: &Arc<Self>, object: ObjectId) -> Option<Turn> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let waiting = self.contended().get(&object).cloned()?;
        Some(self.wait(object, waiting).await)
    }

    async fn wait(self: &Arc<Self>, object: ObjectId, waiting: Arc<Waiting<()>>) -> Turn {
        Turn {
            contention: self.clone(),
            object,
            _held: waiting.clone().lock_owned().await,
            waiting,
        }
    }

    fn contended(&self) -> MutexGuard<'_, HashMap<ObjectId, Arc<Waiting<()>>>> {
        self.contended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Carries out, in a turn if there is one, what may have no end: after a while others go on, and the turn is gone.
    pub async fn within<T>(turn: &mut Option<Turn>, work: impl Future<Output = T>) -> T {
        if turn.is_none() {
            return work.await;
        }
        let mut work = pin!(work);
        match timeout(MOST_UNPROVEN, &mut work).await {
            Ok(done) => done,
            Err(_) => {
                drop(turn.take());
                work.await
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut contended = self.contention.contended();
        // The table, this turn and its guard; everybody who waits holds one more, and takes it under this lock.
        if Arc::strong_count(&self.waiting) <= 3 {
            contended.remove(&self.object);
            self.contention.count.store(contended.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_no_end_holds_nobody_up() {
        let contention = Arc::new(Contention::default());
        let object = ObjectId(7);
        let mut turn = Some(contention.turn(object).await);
        // Would wait for itself, if it kept its turn.
        let next = Turn::within(&mut turn, contention.turn(object)).await;
        assert!(turn.is_none());
        drop(next);
        let mut turn = Some(contention.turn(object).await);
        assert_eq!(Turn::within(&mut turn, async { 1 }).await, 1);
        assert!(turn.is_some(), "what ends soon keeps it");
    }

    #[tokio::test]
    async fn turns_come_one_after_the_other_and_leave_nothing() {
        let contention = Arc::new(Contention::default());
        let object = ObjectId(7);
        assert!(contention.turn_if_contended(object).await.is_none());
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = contention.turn(object).await;
        let mut others = Vec::new();
        for number in 1..=3 {
            let (contention, order) = (contention.clone(), order.clone());
            others.push(tokio::spawn(async move {
                let _turn = contention.turn_if_contended(object).await;
                order.lock().unwrap().push(number);
            }));
            tokio::task::yield_now().await;
        }
        assert!(
            contention.turn_if_contended(ObjectId(8)).await.is_none(),
            "another object"
        );
        order.lock().unwrap().push(0);
        drop(first);
        for other in others {
            other.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
        assert_eq!(contention.contended().len(), 0);
        assert!(contention.turn_if_contended(object).await.is_none());
    }
}
