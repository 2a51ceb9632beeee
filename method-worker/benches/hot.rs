//! What a method costs once everything is warm, without a kernel: prints one line of JSON.
//!
//! `cargo bench -p method-worker`. The real worker in its real jail; this program plays the kernel. Each figure is the
//! median of several messages, each a loop of [`TURNS`] inside one activation, loop included; the empty loop stands beside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(
    dead_code,
    reason = "the stage of the jail's tests, of which little is needed here"
)]
#[path = "../tests/jail/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use shared::activation::{Mode, Outcome, Run};
use shared::id::ObjectId;
use shared::value::Value;

use stage::{End, Stage, int, refs};

const TURNS: i64 = 200_000;
const RUNS: usize = 7;
const MESSAGES: usize = 2_000;

const STEP: &str =
    "def step(self):\n    self.a = self.a + 1\n    self.b = self.b + self.a\n    self._p_changed = True\n";

fn main() {
    let mut stage = Stage::new();
    stage.put(1, &[("parents", refs(&[2])), ("a", int(0)), ("b", int(0))]);
    stage.put(2, &[("parents", refs(&[3]))]);
    stage.put(3, &[("far", int(7)), ("items", Value::List(vec![int(1); 100]))]);
    stage.method(1, "step", STEP);
    stage.method(3, "inherited_step", &STEP.replace("step", "inherited_step"));
    stage.method(3, "add", "def add(self, n, by=1):\n    return n + by\n");
    let mut figures = vec![
        ("call_2_reads_2_writes_ns", per_turn(&mut stage, "self.step()")),
        (
            "inherited_call_2_reads_2_writes_ns",
            per_turn(&mut stage, "self.inherited_step()"),
        ),
        ("call_2_arguments_ns", per_turn(&mut stage, "self.add(i, 2)")),
        ("delegated_read_ns", per_turn(&mut stage, "self.far")),
        ("delegated_list_read_ns", per_turn(&mut stage, "self.items")),
        ("own_read_ns", per_turn(&mut stage, "self.a")),
        ("own_write_ns", per_turn(&mut stage, "self.a = i")),
        ("empty_loop_ns", per_turn(&mut stage, "pass")),
    ];
    figures.push(("message_ns", per_message(&mut stage)));
    let figures: Vec<String> = figures
        .into_iter()
        .map(|(name, ns)| format!("\"{name}\": {ns:.1}"))
        .collect();
    println!("{{{}}}", figures.join(", "));
}

/// Nanoseconds of one turn of a loop with this statement.
fn per_turn(stage: &mut Stage, statement: &str) -> f64 {
    let source = format!(
        "def loop(self, n):\n    for i in range(n):\n        {statement}\n    self._p_changed = True\n"
    );
    stage.method(1, "loop", &source);
    let times = (0..RUNS).map(|_| {
        let begun = Instant::now();
        match stage.send(1, "loop", vec![int(TURNS)], Mode::Proven) {
            End::Finished(finished) if matches!(finished.outcome, Outcome::Answered(_)) => {}
            other => panic!("{other:?} of {statement}"),
        }
        begun.elapsed()
    });
    median(times.collect()).as_nanos() as f64 / TURNS as f64
}

/// Nanoseconds of one whole message through the socket, all objects known to the worker.
fn per_message(stage: &mut Stage) -> f64 {
    let mut objects: Vec<_> = stage.objects.values().cloned().collect();
    let times = (0..MESSAGES).map(|_| {
        let run = Run {
            receiver: ObjectId(1),
            selector: "step".into(),
            arguments: Vec::new(),
            objects: std::mem::take(&mut objects),
            stale: Vec::new(),
            uncommitted: Vec::new(),
            mode: Mode::Proven,
        };
        let begun = Instant::now();
        match stage.carry_out(run, Duration::from_secs(20)) {
            End::Finished(_) => begun.elapsed(),
            other => panic!("{other:?}"),
        }
    });
    median(times.collect()).as_nanos() as f64
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
