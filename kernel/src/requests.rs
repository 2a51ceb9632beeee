//! How many requests are under way: a kernel that hands over waits for them, but not for those that wait for a thought.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Counts.
#[derive(Default)]
pub struct Requests {
    under_way: AtomicUsize,
    /// Of these, how many wait for a thought, which may take minutes and is resumed by the next kernel.
    thinking: AtomicUsize,
    fewer: Notify,
}

/// A request until its reply is on its way.
pub struct UnderWay<K: AsRef<Requests>>(Arc<K>);

/// A request that waits for a thought.
pub struct Thinking<'a>(&'a Requests);

impl Requests {
    pub fn begin<K: AsRef<Requests>>(kernel: &Arc<K>) -> UnderWay<K> {
        (**kernel).as_ref().under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(kernel.clone())
    }

    pub fn think(&self) -> Thinking<'_> {
        self.thinking.fetch_add(1, Ordering::SeqCst);
        self.fewer.notify_one();
        Thinking(self)
    }

    pub fn count(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// Returns when nothing is under way but what waits for a thought, at the latest after `patience`.
    pub async fn rest(&self, patience: Duration) {
        let rested = async {
            while self.count() > self.thinking.load(Ordering::SeqCst) {
                self.fewer.notified().await;
            }
        };
        let _ = tokio::time::timeout(patience, rested).await;
    }
}

impl<K: AsRef<Requests>> Drop for UnderWay<K> {
    fn drop(&mut self) {
        let requests = (*self.0).as_ref();
        requests.under_way.fetch_sub(1, Ordering::SeqCst);
        requests.fewer.notify_one();
    }
}

impl Drop for Thinking<'_> {
    fn drop(&mut self) {
        self.0.thinking.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    struct Holder(Requests);

    impl AsRef<Requests> for Holder {
        fn as_ref(&self) -> &Requests {
            &self.0
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_thought_is_not_waited_for() {
        let holder = Arc::new(Holder(Requests::default()));
        let requests = &holder.0;
        let (first, second) = (Requests::begin(&holder), Requests::begin(&holder));
        let thought = requests.think();
        let begun = Instant::now();
        requests.rest(Duration::from_millis(50)).await;
        assert!(begun.elapsed() >= Duration::from_millis(50) && requests.count() == 2);
        let ending = tokio::spawn(async move { drop(first) });
        requests.rest(Duration::from_secs(20)).await;
        ending.await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10) && requests.count() == 1);
        drop((thought, second));
        assert_eq!(requests.count(), 0);
    }
}
