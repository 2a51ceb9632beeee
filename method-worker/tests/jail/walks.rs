//! Walks over ranges of entries, and over what the walking method itself changes ahead.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use shared::activation::{Outcome, Write};
use shared::key::Key;
use shared::value::Value;

use crate::entries::{check, ints, key, remove, run, stage, texts};
use crate::stage::{answered, int, list, text};

#[test]
fn ranges_are_read_as_far_as_they_are_walked() {
    let mut stage = stage();
    check(
        &mut stage,
        "for key in self.row:\n    if key == 2:\n        return key",
        int(2),
        &[],
        &["#11[0 1 2 3 4 5 6 7 8 9 end]"],
    );
    stage.page = 3;
    check(
        &mut stage,
        "return [key for key in self.row if key > 6]",
        ints(7..10),
        &[],
        &["#11[0 1 2]", "#11[3 4 5]", "#11[6 7 8]", "#11[9 end]"],
    );
    check(
        &mut stage,
        "for key in reversed(self.row):\n    if key < 6:\n        return key",
        int(5),
        &[],
        &["#11[9 8 7]", "#11[6 5 4]"],
    );
    for (range, expected, asked) in [
        ("primitive('keys', self.row, 3, 5)", ints([3, 4]), "#11[3 4 end]"),
        (
            "primitive('values', self.row, None, 2)",
            ints([0, 10]),
            "#11[0 1 end]",
        ),
        ("primitive('values', self.row, 8)", ints([80, 90]), "#11[8 9 end]"),
        (
            "primitive('keys', self.row, None, None, 2)",
            ints([0, 1]),
            "#11[0 1]",
        ),
        (
            "primitive('keys', self.row, 2, 9, 2, True)",
            ints([8, 7]),
            "#11[8 7]",
        ),
        ("primitive('keys', self.row, 5, 2)", ints([]), ""),
        ("primitive('keys', self.row, None, None, 0)", ints([]), ""),
        ("primitive('values', self, 'c')", list([ints([3])]), "#10[c end]"),
        (
            "primitive('items', self, 'b', 'c')",
            list([list([text("b"), int(2)])]),
            "#10[b end]",
        ),
        ("primitive('first', self.row)", ints([0, 0]), "#11[0]"),
        ("primitive('last', self.row)", ints([9, 90]), "#11[9]"),
        ("primitive('first', self.bare)", Value::None, "#12[ end]"),
    ] {
        let asked: Vec<&str> = [asked].into_iter().filter(|asked| !asked.is_empty()).collect();
        check(&mut stage, &format!("return {range}"), expected, &[], &asked);
    }
    // A range can be walked again, is true when it has something, and sees what was done to it in between.
    check(
        &mut stage,
        "two = primitive('keys', self.row, 0, 2)\nseen = [bool(two), list(two), 5 in two]\ndel self.row[0]\ndel self.row[1]\n\
         return seen + [list(two), bool(two), repr(two)]",
        list([
            Value::Bool(true),
            ints([0, 1]),
            Value::Bool(false),
            ints([]),
            Value::Bool(false),
            text("<keys of #11>"),
        ]),
        &[remove(11, int(0)), remove(11, int(1))],
        &[
            "#11[0]",
            "#11[0 1 end]",
            "#11[0 1 end]",
            "#11[0 1 end]",
            "#11[0]",
            "#11[1]",
            "#11[ end]",
        ],
    );
    stage.store(
        10,
        &[(text("ab"), int(0)), (text("aé"), int(0)), (text("é"), int(0))],
    );
    check(
        &mut stage,
        "return [[k for k, v in primitive('prefix', self, p)] for p in ['a', 'é', 'x', '']]",
        list([
            texts(&["a", "ab", "aé"]),
            texts(&["é"]),
            texts(&[]),
            texts(&["a", "ab", "aé", "b", "c", "é"]),
        ]),
        &[],
        &[
            "#10[a ab aé]",
            "#10[ end]",
            "#10[é end]",
            "#10[ end]",
            "#10[a ab aé]",
            "#10[b c é]",
            "#10[ end]",
        ],
    );
    check(
        &mut stage,
        "return [sorted(self.row, reverse=True)[0], max(self.row), sum(primitive('values', self.row)), dict(primitive('items', self.row, 0, 1))[0]]",
        ints([9, 9, 450, 0]),
        &[],
        &{
            let pages = ["#11[0 1 2]", "#11[3 4 5]", "#11[6 7 8]", "#11[9 end]"];
            let mut asked = vec!["len(#11)"];
            asked.extend(pages.iter().chain(&pages).chain(&pages));
            asked.push("#11[0 end]");
            asked
        },
    );
}

#[test]
fn a_walk_sees_what_is_changed_ahead_of_it() {
    let mut stage = stage();
    stage.page = 4;
    let finished = run(
        &mut stage,
        "row, seen = self.row, []\nfor key in row:\n    seen.append(key)\n    if key == 1:\n        del row[2]\n        del row[8]\n        row[4.5] = 0\n        row[0.5] = 0\n        row[11] = 0\n\
         \n    if key == 9:\n        primitive('append', row, 'tail')\nreturn seen",
    );
    let seen = [0.0, 1.0, 3.0, 4.0, 4.5, 5.0, 6.0, 7.0, 9.0, 11.0, 12.0];
    let seen = seen.map(|at: f64| match at.fract() == 0.0 {
        true => int(at as i64),
        false => Value::Float(at),
    });
    answered(&finished.outcome, list(seen));
    // A map can be emptied while it is walked.
    let finished = run(
        &mut stage,
        "for key in self.row:\n    del self.row[key]\nreturn [len(self.row), list(self.row)]",
    );
    answered(&finished.outcome, list([int(0), list([])]));
    assert_eq!(finished.writes.len(), 10);
}

/// Merged iteration against a plain map: random changes between random ranges, pages of every size.
#[test]
fn walks_match_a_plain_map() {
    let mut stage = stage();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        ((seed >> 11) % below) as i64
    };
    for program in 0..300 {
        let stored: BTreeMap<i64, i64> = (0..random(60)).map(|_| (random(60) - 20, random(100))).collect();
        stage.entries.clear();
        let pairs: Vec<(Value, Value)> = stored.iter().map(|(k, v)| (int(*k), int(*v))).collect();
        stage.store(10, &pairs);
        stage.page = 1 + random(12) as usize;
        let mut model = stored;
        let mut saved = Vec::new();
        let mut body = "seen, here = [], []\n".to_owned();
        let mut expected = Vec::new();
        for _ in 0..40 {
            let (at, value) = (random(60) - 20, random(100));
            match random(9) {
                0 | 1 => {
                    let _ = writeln!(body, "self[{at}] = {value}");
                    model.insert(at, value);
                }
                2 => {
                    let _ = writeln!(body, "if {at} in self:\n    del self[{at}]");
                    model.remove(&at);
                }
                3 => {
                    let _ = writeln!(body, "primitive('add', self, {at}, {value})");
                    *model.entry(at).or_insert(0) += value;
                }
                // After a removal of the last key of a run the committer still counts it, so only without.
                4 if program % 2 == 0 && !body.contains("del ") && saved.is_empty() => {
                    let _ = writeln!(body, "primitive('append', self, {value})");
                    let next = model.last_key_value().map_or(0, |(last, _)| last + 1);
                    model.insert(next, value);
                }
                5 if program % 2 == 1 => {
                    body.push_str("here.append(primitive('savepoint'))\n");
                    saved.push(model.clone());
                }
                6 if !saved.is_empty() => {
                    body.push_str("primitive('rollback_to', here.pop())\n");
                    model = saved.pop().unwrap();
                }
                7 => {
                    body.push_str("seen.append(len(self))\n");
                    expected.push(int(model.len() as i64));
                }
                _ => {
                    let (from, to, limit) = (random(60) - 20, random(60) - 20, random(30));
                    let descending = if random(2) == 0 { "False" } else { "True" };
                    let _ = writeln!(
                        body,
                        "seen.append(list(primitive('items', self, {from}, {to}, {limit}, {descending})))"
                    );
                    let range = model.range(from..to.max(from)).map(|(k, v)| ints([*k, *v]));
                    let found: Vec<Value> = match descending {
                        "True" => range.rev().take(limit as usize).collect(),
                        _ => range.take(limit as usize).collect(),
                    };
                    expected.push(list(found));
                }
            }
        }
        body.push_str("return seen + [list(primitive('items', self))]");
        expected.push(list(model.iter().map(|(k, v)| ints([*k, *v]))));
        let finished = run(&mut stage, &body);
        match &finished.outcome {
            Outcome::Answered(value) => assert_eq!(*value, list(expected), "program {program}\n{body}"),
            other => panic!("{other:?} of program {program}\n{body}"),
        }
        // What is written brings the stored map to the same end.
        let after = stage.entries.entry(10).or_default();
        for write in finished.writes {
            match write {
                Write::PutEntry { key, value, .. } => {
                    after.insert(key, value);
                }
                Write::RemoveEntry { key, .. } => {
                    after.remove(&key);
                }
                other => panic!("{other:?}: everything was looked at"),
            }
        }
        let expected: BTreeMap<Key, Value> = model.iter().map(|(k, v)| (key(int(*k)), int(*v))).collect();
        assert_eq!(*after, expected, "program {program}\n{body}");
    }
}
