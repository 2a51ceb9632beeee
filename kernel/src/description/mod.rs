//! Objects as text: one legal Python file an object, described and never executed.
//!
//! ```python
//! """What the object is for: its slot `comment`, when that comes first."""
//! parents = [ref("traits")]
//! balance = 25
//! opened = time("2026-11-21T01:22:10.123456Z")
//!
//!
//! def deposit(self, amount):
//!     …
//!
//!
//! entry("2026-11", [25, ref("object_31")])
//! ```
//!
//! Statements stand in the order of the slots. An assignment of a literal is a data slot, a `def` a method slot, `entry(key,
//! value)` an entry. What Python has no literal for is a call: `ref("name")`, `time("…Z")`, `blob("<64 hex>", bytes)`,
//! `float("nan")`, `float_bits("<16 hex>")` for the other ones that are no number, `method("def …")` where a `def` cannot
//! stand, and `slot("name", value)` for a slot that is named by a keyword of Python.
//!
//! [`read()`] and [`write()`] are inverse: what is written is read as just the same.

mod read;
mod write;

pub use read::read;
pub use write::write;

use shared::id::ObjectId;
use shared::key::Key;
use shared::value::Value;

use crate::image::draft::Change;

/// An object without its id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// In slot order.
    pub slots: Vec<(String, Value)>,
    /// In key order when it was written here.
    pub entries: Vec<(Key, Value)>,
}

impl Description {
    /// What makes the object under this id.
    pub fn changes(self, object: ObjectId) -> impl Iterator<Item = Change> {
        let entries = self
            .entries
            .into_iter()
            .map(move |(key, value)| Change::PutEntry { object, key, value });
        let made = Change::Create {
            object,
            slots: self.slots,
        };
        std::iter::once(made).chain(entries)
    }
}

#[cfg(test)]
mod tests {
    use shared::value::BlobRef;

    use super::*;

    fn name(id: ObjectId) -> String {
        format!("object_{}", id.0)
    }

    fn id(name: &str) -> Result<ObjectId, String> {
        let number = name
            .strip_prefix("object_")
            .and_then(|number| number.parse().ok());
        number
            .map(ObjectId)
            .ok_or_else(|| format!("there is no object {name}"))
    }

    /// Written and read, bit by bit the same.
    fn check(description: &Description) -> String {
        let text = write(description, &name);
        let back = read(&text, &id).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let bytes = |description: &Description| {
            (
                postcard::to_allocvec(&description.slots).unwrap(),
                postcard::to_allocvec(&description.entries).unwrap(),
            )
        };
        assert!(
            bytes(&back) == bytes(description),
            "{description:?}\n{back:?}\n{text}"
        );
        text
    }

    fn of(slots: &[(&str, Value)]) -> Description {
        Description {
            slots: slots
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            entries: Vec::new(),
        }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    /// Every kind, with the corners of each.
    fn corners() -> Vec<Value> {
        let mut corners = vec![
            Value::None,
            Value::Bool(true),
            Value::Bool(false),
            Value::Ref(ObjectId(7)),
            Value::List(vec![]),
            Value::Map(vec![]),
            Value::Bytes(vec![]),
            Value::Bytes((0..=255).collect()),
            Value::Time(0),
            Value::Time(*shared::time::RANGE_US.start()),
            Value::Time(*shared::time::RANGE_US.end()),
            Value::Blob(BlobRef {
                digest: [0xab; 32],
                bytes: u64::MAX,
            }),
            Value::Method("def f(self):\n    return 1\n".into()),
            Value::Method("not Python at all \u{0}\"\"\"\\".into()),
        ];
        let ints = [0, 1, -1, i64::MAX, i64::MIN, i64::MIN + 1];
        corners.extend(ints.map(Value::Int));
        let bigs = [
            "9223372036854775808",
            "-9223372036854775809",
            "170141183460469231731687303715884105728",
        ];
        corners.extend(bigs.map(|digits| Value::Big(digits.into())));
        corners.push(Value::Big(format!("-{}", "9".repeat(4300))));
        let floats = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            1e300,
            1e16,
            5e-324,
            f64::MAX,
            f64::MIN,
            0.1,
            f64::NAN,
            -f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::from_bits(0x7ff8_0000_0000_0001),
            f64::from_bits(0x7ff0_0000_0000_0001),
        ];
        corners.extend(floats.map(Value::Float));
        let texts = [
            "",
            "a",
            " a ",
            "a\n",
            "\n",
            "a\nb",
            "a\r\nb\r",
            "\t\0\u{7f}\u{85}\u{2028}\u{200b}\u{202e}",
            "\"'\\",
            "\"\"\"",
            "\\n",
            "{x}",
            "é ü 漢 🦇",
            "\u{feff}",
            "#!",
            "\\u0041",
            "a\u{301}",
            "line one\nline \"two\"\n\\\n\nlast ",
        ];
        corners.extend(texts.map(text));
        corners.push(text(&"long ".repeat(100)));
        corners
    }

    #[test]
    fn every_value_comes_back_bit_by_bit() {
        for (at, value) in corners().into_iter().enumerate() {
            check(&of(&[("x", value.clone())]));
            check(&of(&[("comment", value.clone()), ("y", Value::Int(at as i64))]));
            check(&of(&[("y", Value::Int(1)), ("comment", value)]));
        }
        let all = Value::List(corners());
        check(&of(&[("x", all)]));
        let keyed = corners()
            .into_iter()
            .filter(Value::is_scalar)
            .map(|key| (key.clone(), Value::List(vec![key])));
        check(&of(&[("x", Value::Map(keyed.collect()))]));
    }

    #[test]
    fn nesting_comes_back_to_the_last_level() {
        let mut value = Value::Int(1);
        for level in 0..shared::value::MAX_DEPTH {
            value = match level % 3 {
                0 => Value::Map(vec![(text("k"), value), (Value::None, Value::List(vec![]))]),
                _ => Value::List(vec![value, text("a longer text so that lines are broken")]),
            };
        }
        check(&of(&[("deep", value)]));
    }

    #[test]
    fn slots_keep_their_order_and_any_name() {
        let method = Value::Method("def f(self):\n    return \"\"\"a\n\nb\"\"\"\n".into());
        let written = check(&of(&[
            ("zeta", Value::Int(1)),
            ("f", method.clone()),
            ("class", Value::Int(2)),
            ("None", Value::None),
            ("g", method),
            ("_", Value::Int(3)),
            ("match", Value::Int(4)),
            ("comment", text("not first")),
            ("parents", Value::List(vec![Value::Ref(ObjectId(2))])),
            ("entry", Value::Int(5)),
            ("ref", Value::Int(6)),
            ("if", Value::Method("def f(self):\n    pass\n".into())),
        ]));
        assert!(
            written.contains("\n\ndef f(self):\n    return \"\"\"a\n\nb\"\"\"\n"),
            "{written}"
        );
        assert!(written.contains("slot(\"class\", 2)"), "{written}");
    }

    /// A source with anything around its `def` is no less exact.
    #[test]
    fn methods_come_back_to_the_last_byte() {
        for source in [
            "def f(self):\n    return 1\n",
            "def f(self):\n    return 1",
            "def f(self):\n    return 1\n\n",
            "\ndef f(self):\n    return 1\n",
            "def f(self):\n    return 1\n# after\n",
            "# before\ndef f(self):\n    return 1\n",
            "def f(self):\r\n    return 1\r\n",
            "def f(self): return 1\n",
            "def f(self):\n\treturn 1  \n",
            "def g(self):\n    return 1\n",
            "def f(self):\n    return 1\n\n\ndef f(self):\n    return 2\n",
            "async def f(self):\n    pass\n",
            "@d\ndef f(self):\n    pass\n",
            "def f(self:\n",
            "",
        ] {
            check(&of(&[
                ("a", Value::Int(1)),
                ("f", Value::Method(source.into())),
                ("b", Value::Int(2)),
            ]));
        }
    }

    #[test]
    fn entries_come_back_with_their_keys() {
        let keys = [
            Value::Int(i64::MIN),
            Value::Float(-1.5),
            Value::Int(3),
            Value::Float(1e300),
            Value::Time(5),
            text("a\0b"),
            Value::Bytes(vec![0, 255]),
            Value::Ref(ObjectId(9)),
            Value::List(vec![text("a"), Value::List(vec![]), Value::Int(1)]),
        ];
        let entries = keys
            .iter()
            .map(|key| (Key::of(key).unwrap(), Value::List(vec![key.clone()])));
        let description = Description {
            entries: entries.collect(),
            ..of(&[("parents", Value::List(vec![]))])
        };
        check(&description);
        check(&Description::default());
    }

    #[test]
    fn what_describes_no_object_is_refused_with_its_line() {
        let deep = format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000));
        let minus = format!("x = {}1", "-".repeat(100_000));
        let too_deep = format!("x = {}{}", "[".repeat(66), "]".repeat(66));
        for (source, expected) in [
            ("x = 1\nimport os\n", "line 2"),
            ("x = open(\"/etc/passwd\")\n", "line 1: the calls are"),
            ("x = y = 1\n", "one name"),
            ("x = 1\nx = 2\n", "line 2: slot x stands here twice"),
            ("x = a\n", "no literal"),
            ("x = f\"{1}\"\n", "no literal"),
            ("x = ref(\"nobody\")\n", "there is no object nobody"),
            ("x = time(\"yesterday\")\n", "time"),
            ("x = blob(\"00\", 1)\n", "blob"),
            ("x = {[]: 1}\n", "scalar"),
            ("x = {**y}\n", "**"),
            ("x = 1j\n", "complex"),
            ("__x = 1\n", "cannot name a slot"),
            ("entry([None], 1)\n", "key"),
            (
                "entry(1, 1)\nentry(1.0, 2)\n",
                "line 2: the same key stands here twice",
            ),
            ("parents = [1\n", "closed"),
            (&deep, "nest"),
            (&too_deep, "deeper than 64"),
            (&minus, "links more"),
        ] {
            let error = read(source, &id).unwrap_err();
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
    }
}
