//! Examples are read, refused with the place, and written so that they read back.

use super::*;
use crate::id::ObjectId;
use crate::path::{Start, Step};
use crate::random::Random;

fn slot(object: Path, slot: &str) -> Place {
    Place {
        object,
        slot: slot.into(),
    }
}

fn way(start: Start, steps: &[Step]) -> Path {
    Path {
        start,
        steps: steps.to_vec(),
    }
}

fn step(name: &str) -> Step {
    Step::Slot(name.into())
}

#[test]
fn every_part_is_read() {
    let text = r#"gap=95 saw.on=true (10, "a", ["@lower"]) -> 100; gap=100 lamps[0].lit=false 1.score=3 #12.name="x" parents[1].top=null"#;
    let read = Example::read(text).unwrap();
    assert_eq!(read.given.len(), 2);
    assert_eq!(read.given[0].place, slot(Path::RECEIVER, "gap"));
    assert_eq!(
        read.given[1].place,
        slot(way(Start::Receiver, &[step("saw")]), "on")
    );
    assert_eq!(read.arguments.len(), 3);
    assert_eq!(read.expected, Expected::Answer(Value::Int(100)));
    let places: Vec<&Place> = read.after.iter().map(|held| &held.place).collect();
    assert_eq!(*places[0], slot(Path::RECEIVER, "gap"));
    assert_eq!(
        *places[1],
        slot(way(Start::Receiver, &[step("lamps"), Step::Item(0)]), "lit")
    );
    assert_eq!(*places[2], slot(way(Start::Argument(1), &[]), "score"));
    assert_eq!(*places[3], slot(way(Start::Object(ObjectId(12)), &[]), "name"));
    assert_eq!(read.after[4].value, Value::None);
    assert_eq!(read.to_string(), text, "that was the normal form");
}

#[test]
fn the_normal_form_has_one_shape() {
    let check = |text: &str, normal: &str| {
        assert_eq!(Example::read(text).unwrap().to_string(), normal, "{text}");
    };
    check("()->_", "() -> _");
    check("  ( -1 ) ->! ", "(-1) -> !");
    check(
        r#"self.a=[1,2] ( {"k":[1 ,2]} )->{"b":"ü"} ;a=5.0"#,
        r#"a=[1, 2] ({"k": [1, 2]}) -> {"b": "ü"}; a=5.0"#,
    );
    check("() -> null ;", "() -> null");
    check(r#"() -> "@self""#, r#"() -> "@self""#);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let check = |text: &str, expected: &str| {
        let told = Example::read(text).unwrap_err().to_string();
        assert!(told.contains(expected), "{text}: {told}");
    };
    check("", "at its end (character 1) `(`, the arguments");
    check("()", "at its end (character 3) `->` is expected");
    check("() ->", "`_` for any, or `!` for a failure");
    check("() -> error", "`!` for a failure, is expected, and \"error\"");
    check(
        "() -> 1 2",
        "at character 9 `;` or the end is expected, and \"2\" stands there",
    );
    check("x=1 -> 2", "at character 5 a slot's name");
    check("(1 -> 2", "at character 4 `,` or `)`");
    check("(1,) -> 2", "at character 4 a value in JSON");
    check(
        "(True) -> 2",
        "at character 2 a value in JSON (5, true, null, \"text\", [1, 2]) is expected, and \"True) -> 2\"",
    );
    check("() -> !; a=1", "what fails changes nothing");
    check("a[0]=1 () -> _", "a slot's name at the end of the path");
    check("0.a=1 () -> _", "an argument's number, counted from 1");
    check("__a=1 () -> _", "at character 1 a slot's name");
    check("#x.a=1 () -> _", "an object's id such as #12");
    check(r#"("@") -> 1"#, "\"@\" is no path");
    check(r#"([{"a": "@b c"}]) -> 1"#, "is no path");
    check(&format!("({}) -> 1", "[".repeat(400)), "a value");
    check("() -> _; ü=1", "at character 10 a slot's name");
    // Where names are somebody else's business, such a text is a text.
    assert!(Example::read_plainly(r#"("@") -> 1"#).is_ok());
}

#[test]
fn references_lead_and_doubled_signs_are_texts() {
    let value = Example::read(r#"(["@lower", "@@home", "a@b", {"k": "@1"}]) -> _"#).unwrap();
    let mut seen = Vec::new();
    let found = resolved(&value.arguments[0], &mut |path| {
        seen.push(path.to_string());
        Ok::<_, ()>(Value::Ref(ObjectId(7)))
    });
    let text = |text: &str| Value::Text(text.into());
    let map = Value::Map(vec![(text("k"), Value::Ref(ObjectId(7)))]);
    assert_eq!(
        found,
        Ok(Value::List(vec![
            Value::Ref(ObjectId(7)),
            text("@home"),
            text("a@b"),
            map
        ]))
    );
    assert_eq!(seen, ["lower", "1"]);
}

#[test]
fn what_checks_nothing_is_known() {
    let check =
        |text: &str, expected: bool| assert_eq!(Example::read(text).unwrap().checks(), expected, "{text}");
    check("() -> _", false);
    check("a=1 () -> _", false);
    check("() -> _; a=1", true);
    check("() -> null", true);
    check("() -> !", true);
}

#[test]
fn values_are_compared_as_a_person_would() {
    let map = |pairs: &[(&str, i64)]| {
        Value::Map(
            pairs
                .iter()
                .map(|(key, value)| (Value::Text((*key).into()), Value::Int(*value)))
                .collect(),
        )
    };
    assert!(same(&Value::Int(5), &Value::Float(5.0)));
    assert!(same(&Value::Float(0.1 + 0.2), &Value::Float(0.3)));
    assert!(same(&map(&[("a", 1), ("b", 2)]), &map(&[("b", 2), ("a", 1)])));
    assert!(!same(&map(&[("a", 1)]), &map(&[("a", 1), ("b", 2)])));
    assert!(!same(&Value::Bool(true), &Value::Int(1)));
    assert!(!same(&Value::Text("5".into()), &Value::Int(5)));
    assert!(!same(&Value::Float(0.3), &Value::Float(0.3001)));
    // What a difference leaves of 0, and what is merely small.
    assert!(same(&Value::Float(0.1 + 0.2 - 0.3), &Value::Int(0)));
    assert!(!same(&Value::Float(1e-10), &Value::Float(2e-10)));
    assert!(!same(&Value::Float(f64::INFINITY), &Value::Float(1.0)));
    assert!(!same(
        &Value::Float(f64::INFINITY),
        &Value::Float(f64::NEG_INFINITY)
    ));
    assert!(same(&Value::Float(f64::INFINITY), &Value::Float(f64::INFINITY)));
    assert!(!same(
        &Value::List(vec![Value::Int(1)]),
        &Value::List(vec![Value::Int(1), Value::Int(1)])
    ));
}

/// What is written reads back as the same example, whatever it holds.
#[test]
fn writing_and_reading_agree() {
    for seed in 1..=20_000 {
        let example = Maker(Random::new(seed)).example();
        let text = example.to_string();
        assert_eq!(Example::read(&text).as_ref(), Ok(&example), "seed {seed}: {text}");
        assert!(!text.contains('\n'), "seed {seed}: {text}");
    }
}

/// Makes examples; a failing seed can be run again.
struct Maker(Random);

impl Maker {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    fn example(&mut self) -> Example {
        let expected = match self.below(4) {
            0 => Expected::Any,
            1 => Expected::Failure,
            _ => Expected::Answer(self.value(0)),
        };
        let given = self.helds();
        let arguments = (0..self.below(4)).map(|_| self.value(0)).collect();
        let after = match expected {
            Expected::Failure => Vec::new(),
            _ => self.helds(),
        };
        Example {
            given,
            arguments,
            expected,
            after,
        }
    }

    fn helds(&mut self) -> Vec<Held> {
        (0..self.below(4))
            .map(|_| Held {
                place: Place {
                    object: self.path(),
                    slot: self.of(&["a", "self", "_x", "long_name_9", "parents"]).into(),
                },
                value: self.value(0),
            })
            .collect()
    }

    fn path(&mut self) -> Path {
        let start = match self.below(3) {
            0 => Start::Argument(self.below(99) as usize + 1),
            1 => Start::Object(ObjectId(self.below(1 << 30))),
            _ => Start::Receiver,
        };
        let steps = (0..self.below(4)).map(|_| match self.below(3) {
            0 => Step::Item(self.below(1000) as usize),
            _ => step(self.of(&["a", "self", "lower", "_", "B2"])),
        });
        let steps = steps.collect();
        Path { start, steps }
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.below(if depth > 3 { 7 } else { 9 }) {
            0 => Value::None,
            1 => Value::Bool(self.below(2) == 0),
            2 => Value::Int(self.below(u64::MAX) as i64 - (1 << 30)),
            3 => Value::Float(self.below(1 << 30) as f64 / 1024.0 - 1e5),
            4 => Value::Text(self.text()),
            5 => Value::Text(format!("@{}", self.path())),
            6 => Value::Ref(ObjectId(self.below(99))),
            7 => Value::List((0..self.below(4)).map(|_| self.value(depth + 1)).collect()),
            _ => {
                let mut pairs: Vec<(Value, Value)> = Vec::new();
                for _ in 0..self.below(4) {
                    let key = Value::Text(self.text());
                    if pairs.iter().all(|(known, _)| *known != key) {
                        pairs.push((key, self.value(depth + 1)));
                    }
                }
                Value::Map(pairs)
            }
        }
    }

    /// One that may look like anything of the notation.
    fn text(&mut self) -> String {
        let text: String = (0..self.below(5))
            .map(|_| {
                self.of(&[
                    "a",
                    "(",
                    ")",
                    "->",
                    ";",
                    "=",
                    " ",
                    "\n",
                    "\"",
                    "\\",
                    "@",
                    "ü",
                    "<|method|>",
                    ",",
                    "_",
                    "!",
                    "#",
                    "$ref",
                    "\u{0}",
                    "\t",
                ])
            })
            .collect();
        match text.strip_prefix('@') {
            // A text of one sign would be a path.
            Some(rest) => format!("@@{rest}"),
            None => text,
        }
    }
}
