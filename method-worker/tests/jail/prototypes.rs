//! The prototypes of `kernel/genesis` that keep what they hold in entries.

use shared::value::Value;

use crate::entries::{add, append, check, ints, one, put, raised, remove, run, stage, texts};
use crate::stage::{Stage, answered, int, list, refs, text};

const PROTOTYPES: [(u64, &str); 4] = [
    (20, include_str!("../../../kernel/genesis/ordered_map.py")),
    (21, include_str!("../../../kernel/genesis/counter.py")),
    (22, include_str!("../../../kernel/genesis/queue.py")),
    (23, include_str!("../../../kernel/genesis/bag.py")),
];

/// #10 has the slots index, hits, jobs and words: objects #30 … #33 of the prototypes.
fn prototypes() -> Stage {
    let mut stage = stage();
    for (id, source) in PROTOTYPES {
        stage.put(id, &[]);
        for method in source.split("\n\n\n").filter(|part| part.starts_with("def ")) {
            let name = method["def ".len()..].split('(').next().unwrap();
            stage.method(id, name, &format!("{}\n", method.trim_end()));
        }
        stage.put(id + 10, &[("parents", refs(&[id]))]);
    }
    stage.put(
        10,
        &[
            ("index", one(30)),
            ("hits", one(31)),
            ("jobs", one(32)),
            ("words", one(33)),
        ],
    );
    stage
}

#[test]
fn an_ordered_map_is_a_map() {
    let mut stage = prototypes();
    let pairs: Vec<(Value, Value)> = ["ant", "bee", "beetle", "cat"]
        .iter()
        .zip(1..)
        .map(|(name, at)| (text(name), int(at)))
        .collect();
    stage.store(30, &pairs);
    let pair = |at: usize| list([pairs[at].0.clone(), pairs[at].1.clone()]);
    for (body, expected) in [
        ("m.get('bee')", int(2)),
        ("m.get('dog')", Value::None),
        ("m.get('dog', 0)", int(0)),
        ("m['cat']", int(4)),
        ("m.keys()", texts(&["ant", "bee", "beetle", "cat"])),
        ("m.values()", ints(1..5)),
        ("m.items(None, 'b')", list([pair(0)])),
        ("m.between('b', 'c')", list([pair(1), pair(2)])),
        ("m.between('b', 'c', 1)", list([pair(1)])),
        ("m.prefix('bee')", list([pair(1), pair(2)])),
        ("m.keys(limit=2)", texts(&["ant", "bee"])),
        ("m.keys(None, None, 1, True)", texts(&["cat"])),
        ("m.first()", pair(0)),
        ("m.last()", pair(3)),
        ("m.size()", int(4)),
        ("dict(m)['bee']", int(2)),
        ("[k for k in m if m[k] > 2]", texts(&["beetle", "cat"])),
    ] {
        let finished = run(&mut stage, &format!("m = self.index\nreturn {body}"));
        answered(&finished.outcome, expected);
        assert!(finished.writes.is_empty() && !finished.declared, "{body}");
    }
    let finished = run(
        &mut stage,
        "m = self.index\nm.put('dog', [5])\nreturn [m.remove('ant'), m.size(), m.get('dog')]",
    );
    answered(&finished.outcome, list([int(1), int(4), ints([5])]));
    assert!(finished.declared);
    assert_eq!(
        finished.writes,
        [remove(30, text("ant")), put(30, text("dog"), ints([5]))]
    );
    assert_eq!(raised(&mut stage, "self.index.remove('x')").kind, "KeyError");
}

#[test]
fn a_counter_and_a_queue_merge_what_they_can() {
    let mut stage = prototypes();
    check(
        &mut stage,
        "h = self.hits\nh.increment()\nh.increment()\nh.decrement()\nh.add(10)",
        Value::None,
        &[add(31, text("value"), int(11))],
        &[],
    );
    check(
        &mut stage,
        "return self.hits.value()",
        int(0),
        &[],
        &["#31[value]"],
    );
    check(
        &mut stage,
        "self.jobs.push('a')\nself.jobs.push({'b': 1})",
        Value::None,
        &[
            append(32, text("a")),
            append(32, Value::Map(vec![(text("b"), int(1))])),
        ],
        &[],
    );
    stage.store(32, &[(int(4), text("x")), (int(5), text("y"))]);
    check(
        &mut stage,
        "return [self.jobs.peek(), self.jobs.pop(), self.jobs.size()]",
        list([text("x"), text("x"), int(1)]),
        &[remove(32, int(4))],
        &["#32[4]", "#32[4]", "len(#32)"],
    );
    let finished = run(
        &mut stage,
        "jobs = self.jobs\njobs.push('z')\nseen = [jobs.pop(), jobs.pop(), jobs.pop()]\ntry:\n    jobs.pop()\nexcept IndexError:\n    return seen",
    );
    answered(&finished.outcome, texts(&["x", "y", "z"]));
    assert_eq!(
        finished.writes,
        [remove(32, int(4)), remove(32, int(5)), remove(32, int(6))]
    );
    stage.entries.clear();
    for body in ["self.jobs.pop()", "self.jobs.peek()"] {
        assert_eq!(raised(&mut stage, body).message, "the queue is empty");
    }
}

#[test]
fn a_bag_counts_what_it_holds() {
    let mut stage = prototypes();
    stage.store(33, &[(text("a"), int(2)), (text("b"), int(1))]);
    check(
        &mut stage,
        "w = self.words\nw.add('a')\nw.add('c', 3)",
        Value::None,
        &[add(33, text("a"), int(1)), add(33, text("c"), int(3))],
        &[],
    );
    let finished = run(
        &mut stage,
        "w = self.words\nw.add('c', 3)\nw.remove('a')\nw.remove('b')\nreturn [w.count('a'), w.count('b'), w.count('c'), w.size(), list(w.distinct()), len(w)]",
    );
    answered(
        &finished.outcome,
        list([int(1), int(0), int(3), int(4), texts(&["a", "c"]), int(2)]),
    );
    for (body, kind) in [
        ("self.words.remove('z')", "KeyError"),
        ("self.words.add('a', 0)", "ValueError"),
        ("self.words.add(None)", "TypeError"),
    ] {
        assert_eq!(raised(&mut stage, body).kind, kind, "{body}");
    }
}
