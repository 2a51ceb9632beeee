//! An example of a message: what is there, what is sent, what comes of it; docs/wishes.md draws its text.
//!
//! ```text
//! example  [PATH=VALUE …] ([VALUE, …]) -> ANSWER [; PATH=VALUE …]
//! ```
//!
//! `Display` writes the normal form, which reads back as the same example.

use std::fmt;
use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::json::to_json;
use crate::notation::{NotationError, Reader};
use crate::path::{Path, Place};
use crate::value::Value;

#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub given: Vec<Held>,
    pub arguments: Vec<Value>,
    pub expected: Expected,
    /// Slots that hold something else afterwards than before; all others hold what they held.
    pub after: Vec<Held>,
}

/// A slot and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Answer(Value),
    /// Only what the slots hold afterwards counts.
    Any,
    /// The send must fail and change nothing.
    Failure,
}

impl Example {
    /// Reads one; its references are not followed.
    pub fn read(text: &str) -> Result<Example, NotationError> {
        Example::read_with(text, &value)
    }

    /// Reads one in which a text that begins with `@` may be anything: whoever asks knows what its names are.
    pub fn read_plainly(text: &str) -> Result<Example, NotationError> {
        Example::read_with(text, &|reader| reader.value())
    }

    fn read_with(text: &str, value: &ReadValue) -> Result<Example, NotationError> {
        let held = |reader: &mut Reader<'_>| {
            let place = reader.place()?;
            reader.need("=")?;
            let value = value(reader)?;
            Ok(Held { place, value })
        };
        let mut reader = Reader::new(text);
        let mut given = Vec::new();
        while !reader.take("(") {
            if reader.is_empty() {
                return Err(reader.expected("`(`, the arguments and `)`"));
            }
            given.push(held(&mut reader)?);
        }
        let mut arguments = Vec::new();
        if !reader.take(")") {
            loop {
                arguments.push(value(&mut reader)?);
                if reader.take(")") {
                    break;
                }
                if !reader.take(",") {
                    return Err(reader.expected("`,` or `)`"));
                }
            }
        }
        reader.need("->")?;
        let expected = if reader.take("_") {
            Expected::Any
        } else if reader.take("!") {
            Expected::Failure
        } else {
            let mut before = reader.clone();
            let answer = reader.value().map_err(|_| {
                before.expected(
                    "the answer in JSON (5, true, null, \"text\", [1, 2]), `_` for any, or `!` for a failure,",
                )
            })?;
            Expected::Answer(referring(answer, &mut before)?)
        };
        let mut after = Vec::new();
        if expected != Expected::Failure && reader.take(";") {
            while !reader.is_empty() {
                after.push(held(&mut reader)?);
            }
        }
        match (reader.is_empty(), &expected) {
            (true, _) => Ok(Example {
                given,
                arguments,
                expected,
                after,
            }),
            (false, Expected::Failure) => Err(reader.expected("the end, since what fails changes nothing,")),
            (false, _) => Err(reader.expected("`;` or the end")),
        }
    }

    /// Whether a method can fail it by more than not running.
    pub fn checks(&self) -> bool {
        self.expected != Expected::Any || !self.after.is_empty()
    }
}

type ReadValue = dyn Fn(&mut Reader<'_>) -> Result<Value, NotationError>;

/// A value whose references can be read.
fn value(reader: &mut Reader<'_>) -> Result<Value, NotationError> {
    let mut before = reader.clone();
    referring(reader.value()?, &mut before)
}

/// The value, if its references can be read; a failure points at where it began.
fn referring(value: Value, before: &mut Reader<'_>) -> Result<Value, NotationError> {
    match bad_reference(&value) {
        None => Ok(value),
        Some((text, error)) => Err(before.expected(&format!(
            "a value; its {text:?} is no path ({error}; a text that begins with @ has two of them)"
        ))),
    }
}

/// The first text that begins with one `@` and is no path.
fn bad_reference(value: &Value) -> Option<(String, NotationError)> {
    match value {
        Value::Text(text) => match reference(text)? {
            Ok(_) => None,
            Err(error) => Some((text.clone(), error)),
        },
        Value::List(items) => items.iter().find_map(bad_reference),
        Value::Map(pairs) => pairs.iter().find_map(|(_, item)| bad_reference(item)),
        _ => None,
    }
}

/// The path that a text of an example means; `None` for what is a text.
pub fn reference(text: &str) -> Option<Result<Path, NotationError>> {
    let path = text.strip_prefix('@').filter(|rest| !rest.starts_with('@'))?;
    Some(Path::read(path))
}

/// The value with objects in the place of its references; `lead` follows a path. Keys of maps are what they are.
pub fn resolved<E>(value: &Value, lead: &mut impl FnMut(&Path) -> Result<Value, E>) -> Result<Value, E> {
    Ok(match value {
        Value::Text(text) => match reference(text) {
            Some(Ok(path)) => lead(&path)?,
            _ => Value::Text(text.strip_prefix('@').unwrap_or(text).to_owned()),
        },
        Value::List(items) => Value::List(
            items
                .iter()
                .map(|item| resolved(item, lead))
                .collect::<Result<_, E>>()?,
        ),
        Value::Map(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(key, item)| Ok((key.clone(), resolved(item, lead)?)));
            Value::Map(pairs.collect::<Result<_, E>>()?)
        }
        other => other.clone(),
    })
}

/// Equal to a person: 5 is 5.0, fractions up to rounding ([`near`]), maps in any order.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => near(*a as f64, *b),
        (Value::Float(a), Value::Float(b)) => near(*a, *b) || (a.is_nan() && b.is_nan()),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            let in_b = |key: &Value| b.iter().find(|(other, _)| same(key, other));
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| in_b(key).is_some_and(|(_, other)| same(value, other)))
        }
        _ => a == b,
    }
}

/// Within 1e-9 of the larger, or within 1e-12: what a difference leaves of 0 has no larger to be measured by.
/// An infinity is near nothing but itself.
fn near(a: f64, b: f64) -> bool {
    a == b || (a.is_finite() && b.is_finite() && (a - b).abs() <= (1e-9 * a.abs().max(b.abs())).max(1e-12))
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for held in &self.given {
            write!(f, "{held} ")?;
        }
        let arguments: Vec<String> = self.arguments.iter().map(text_of).collect();
        write!(f, "({}) -> ", arguments.join(", "))?;
        match &self.expected {
            Expected::Answer(value) => f.write_str(&text_of(value))?,
            Expected::Any => f.write_str("_")?,
            Expected::Failure => f.write_str("!")?,
        }
        if !self.after.is_empty() {
            f.write_str(";")?;
        }
        self.after.iter().try_for_each(|held| write!(f, " {held}"))
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.place, text_of(&self.value))
    }
}

/// A value as examples have it: JSON with a space after `,` and `:`.
pub fn text_of(value: &Value) -> String {
    let mut bytes = Vec::new();
    // Neither a value's JSON nor memory can fail to be written.
    let _ = to_json(value).serialize(&mut Serializer::with_formatter(&mut bytes, Spaced));
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        separate(writer, first)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        separate(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

fn separate<W: ?Sized + io::Write>(writer: &mut W, first: bool) -> io::Result<()> {
    match first {
        true => Ok(()),
        false => writer.write_all(b", "),
    }
}

#[cfg(test)]
#[path = "example_tests.rs"]
mod tests;
