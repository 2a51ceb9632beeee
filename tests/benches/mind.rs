//! The machine of thought without a model: what the rows of `./scripts/bench mind` are made of. A scripted model answers at once.
//!
//! `mind THOUGHTS` prints one line of JSON: spans of whole cycles one after the other, of trials, of the guard, and of sends of an existing
//! method while nothing else and while a hundred thoughts go on.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

#[path = "../tests/system/harness.rs"]
mod harness;
#[path = "../tests/system/personas.rs"]
mod personas;
#[path = "../tests/system/scripted.rs"]
mod scripted;

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::scripted::Scripted;

const AT_ONCE: usize = 100;
const BETWEEN: Duration = Duration::from_millis(150);
const IDLE: Duration = Duration::from_secs(3);

/// A conversation by JSON-RPC.
struct Line(BufReader<UnixStream>);

impl Line {
    fn of(scripted: &Scripted) -> Line {
        Line(BufReader::new(scripted.system.socket()))
    }

    fn call(&mut self, method: &str, parameters: &Json) -> Json {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
        writeln!(self.0.get_mut(), "{request}").unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        let answer: Json = serde_json::from_str(&answer).unwrap();
        assert!(answer["error"].is_null(), "{method} {parameters}: {answer}");
        answer["result"].clone()
    }
}

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let thoughts: usize = words.first().map_or(100, |word| word.parse().unwrap());
    let scripted = Scripted::speaking(personas::correct);
    let mut line = Line::of(&scripted);
    let spans = cycles(&mut line, thoughts, &[]);
    // And held to the three examples of a wish.
    cycles(&mut line, thoughts, &EXAMPLES);
    let (with_examples, trials): (Vec<_>, Vec<_>) = trials(&scripted)
        .into_iter()
        .partition(|(told, _)| told.ends_with("3 examples met"));
    let spans_of = |trials: &[(String, f64)]| trials.iter().map(|(_, span)| *span).collect::<Vec<f64>>();
    let (trials, with_examples) = (spans_of(&trials), spans_of(&with_examples));
    let (idle, busy, slowest_ms, all_ms) = together(&scripted, &mut line);
    let document = json!({
        "cycle_p50_ms": share(&spans, 0.5),
        "cycle_p99_ms": share(&spans, 0.99),
        "trial_p99_ms": share(&trials, 0.99),
        "trial_examples_p50_ms": share(&with_examples, 0.5),
        "trial_examples_p99_ms": share(&with_examples, 0.99),
        "guard_p50_ms": guarded(),
        "idle_p99_ms": share(&idle, 0.99),
        "busy_p99_ms": share(&busy, 0.99),
        "busy_sends": busy.len(),
        "at_once": AT_ONCE,
        "slowest_thought_ms": slowest_ms,
        "all_thoughts_ms": all_ms,
        "thoughts": thoughts,
    });
    println!("{document}");
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn share(spans: &[f64], share: f64) -> f64 {
    let mut sorted = spans.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn object(line: &mut Line) -> Json {
    line.call("new", &json!({"parent": "traits", "slots": {"count": 0}}))["object"].clone()
}

/// What [`personas::counting`] does, to the letter.
const EXAMPLES: [&str; 3] = [
    "count=0 () -> \"count_up 1\"; count=1",
    "count=41 () -> \"count_up 42\"; count=42",
    "count=null () -> !",
];

/// Whole cycles, one after the other with a pause: a send that nobody understands, to its answer; wished for by examples.
fn cycles(line: &mut Line, thoughts: usize, examples: &[&str]) -> Vec<f64> {
    let mut spans = Vec::new();
    for _ in 0..thoughts {
        let receiver = object(line);
        if !examples.is_empty() {
            line.call(
                "wish",
                &json!({"object": receiver, "selector": "count_up", "examples": examples}),
            );
        }
        // A model takes longer than this; meanwhile the process for the next trial is made.
        thread::sleep(BETWEEN);
        let begun = Instant::now();
        line.call(
            "send",
            &json!({"receiver": receiver, "selector": "count_up", "arguments": []}),
        );
        spans.push(ms(begun));
    }
    spans
}

/// What the stream of consciousness says of trials.
fn trials(scripted: &Scripted) -> Vec<(String, f64)> {
    let stream = scripted.system.home().join("audit/thoughts.jsonl");
    let text = std::fs::read_to_string(stream).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap())
        .filter_map(|event| {
            let told = event["validation_result"].as_str()?.to_owned();
            let is_trial = told.starts_with("trial:");
            is_trial.then(|| (told, event["duration_ms"].as_f64().unwrap()))
        })
        .collect()
}

/// The guard on a method of fifty lines that reads, loops, branches and changes.
fn guarded() -> f64 {
    let mut source = String::from("def weigh(self, rows, limit):\n    total = 0\n");
    for at in 0..11 {
        source.push_str(&format!(
            "    for row in rows:\n        if row > limit + {at}:\n            total = total + row * {at}\n    self.count = self.count + total\n"
        ));
    }
    source.push_str("    self._p_changed = True\n    for name in self.slot_names():\n        total = total + len(name)\n    return total\n");
    assert_eq!(source.lines().count(), 50);
    let expected = guard::Expectation::message("weigh", 2);
    assert!(guard::check(&source, &expected).is_ok());
    let spans: Vec<f64> = (0..1_000)
        .map(|_| {
            let begun = Instant::now();
            black_box(guard::check(black_box(&source), &expected));
            ms(begun)
        })
        .collect();
    share(&spans, 0.5)
}

/// Sends of an existing method while nothing else goes on, and while a hundred thoughts are asked for at the same moment; then the slowest
/// thought and when the last was done.
fn together(scripted: &Scripted, line: &mut Line) -> (Vec<f64>, Vec<f64>, f64, f64) {
    let known = object(line);
    let source = "def tell(self):\n    return self.count\n";
    line.call("define", &json!({"object": known, "source": source}));
    let send = json!({"receiver": known, "selector": "tell", "arguments": []});
    let mut sent = |until: &dyn Fn() -> bool| {
        let mut spans = Vec::new();
        while !until() {
            let begun = Instant::now();
            line.call("send", &send);
            spans.push(ms(begun));
        }
        spans
    };
    let begun = Instant::now();
    let idle = sent(&|| begun.elapsed() > IDLE);
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    thread::scope(|scope| {
        let thinking: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    let mut own = Line::of(scripted);
                    let receiver = object(&mut own);
                    let asked = Instant::now();
                    own.call(
                        "send",
                        &json!({"receiver": receiver, "selector": "count_up", "arguments": []}),
                    );
                    ms(asked)
                })
            })
            .collect();
        let waiting = scope.spawn(|| {
            let slowest = thinking
                .into_iter()
                .map(|one| one.join().unwrap())
                .fold(0.0, f64::max);
            over.store(true, Ordering::SeqCst);
            slowest
        });
        let busy = sent(&|| over.load(Ordering::SeqCst));
        (idle, busy, waiting.join().unwrap(), ms(begun))
    })
}
