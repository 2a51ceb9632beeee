//! Prints what a message costs; asserts nothing about time.

use std::time::{Duration, Instant};

use shared::activation::{Mode, Run};
use shared::id::ObjectId;

use crate::stage::{End, Stage, answered, int, refs};

const RUNS: usize = 2000;

#[test]
fn median_of_trivial_runs() {
    let begun = Instant::now();
    let mut stage = Stage::new();
    let ready = begun.elapsed();
    stage.put(1, &[("parents", refs(&[2])), ("n", int(41))]);
    stage
        .put(2, &[])
        .method(2, "m", "def m(self):\n    return self.n + 1\n");
    let objects: Vec<_> = stage.objects.values().cloned().collect();
    let mut times = Vec::with_capacity(RUNS);
    for at in 0..RUNS {
        let run = Run {
            receiver: ObjectId(1),
            selector: "m".into(),
            arguments: vec![],
            objects: if at == 0 { objects.clone() } else { vec![] },
            stale: vec![],
            uncommitted: vec![],
            mode: Mode::Proven,
        };
        let begun = Instant::now();
        match stage.carry_out(run, Duration::from_secs(20)) {
            End::Finished(finished) => answered(&finished.outcome, int(42)),
            other => panic!("{other:?}"),
        }
        times.push(begun.elapsed());
    }
    times.sort();
    println!(
        "spawn to ready {ready:?}; a trivial message through the socket: median {:?}, 99th of 100 {:?}",
        times[RUNS / 2],
        times[RUNS * 99 / 100]
    );
}
