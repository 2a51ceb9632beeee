//! Much of the same kind is done on all processors.
//!
//! Few things are done where they come up, and all are until somebody has the crew come: what a thought or a send brings keeps that one's priority and
//! waits for nobody. The crew has the priority of who had it come, a thread that serves.

use std::sync::OnceLock;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// From so many on it is worth to be shared out.
const MANY: usize = 32;

static CREW: OnceLock<Option<ThreadPool>> = OnceLock::new();

/// Has the crew come, unless it is there.
pub fn assemble() {
    CREW.get_or_init(|| {
        let crew = ThreadPoolBuilder::new().thread_name(|at| format!("crew {at}"));
        crew.build().ok()
    });
}

/// What comes of each, in their order.
pub fn each<T: Sync, R: Send>(things: &[T], act: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
    match CREW.get() {
        Some(Some(crew)) if things.len() >= MANY => crew.install(|| things.par_iter().map(act).collect()),
        _ => things.iter().map(act).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_however_many_there_are() {
        assemble();
        for count in [0, 1, MANY - 1, MANY, 10_000] {
            let things: Vec<usize> = (0..count).collect();
            assert_eq!(
                each(&things, |thing| thing * 2),
                things.iter().map(|n| n * 2).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn few_are_done_by_who_asks() {
        assemble();
        let own = std::thread::current().id();
        let who = each(&[(); MANY - 1], |()| std::thread::current().id());
        assert!(who.iter().all(|id| *id == own));
        let who = each(&[(); MANY], |()| std::thread::current().id());
        assert!(who.iter().all(|id| *id != own));
    }
}
