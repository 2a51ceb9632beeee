//! Objects and examples as text, as docs/dnu.md draws them.
//!
//! ```text
//! object   NAME [< PARENT[, PARENT…]]: [SLOT=VALUE …]
//! example  [[NAME.]SLOT=VALUE …] ([VALUE, …]) -> ANSWER [; [NAME.]SLOT=VALUE …]
//! ```
//!
//! A VALUE is JSON in the form of docs/protocol.md; a text that begins with `@` is the task's object of that name.

use serde_json::{Deserializer, Value as Json};
use shared::json::from_json;
use shared::value::Value;

/// One object of a task, made anew for every example.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    pub name: String,
    /// Objects of the task or names of the image; never empty.
    pub parents: Vec<String>,
    pub slots: Vec<(String, Value)>,
}

/// A slot of an object of the task and what it holds. Without an object the receiver is meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub object: Option<String>,
    pub slot: String,
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

#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub given: Vec<Held>,
    pub arguments: Vec<Value>,
    pub expected: Expected,
    /// Slots that hold something else afterwards than before; all others hold what they held.
    pub after: Vec<Held>,
}

/// Reads an object.
pub fn drawing(text: &str) -> Result<Drawing, String> {
    let mut rest = Rest(text);
    let name = rest.name()?;
    let mut parents = Vec::new();
    if rest.take('<') {
        parents.push(rest.name()?);
        while rest.take(',') {
            parents.push(rest.name()?);
        }
    }
    if parents.is_empty() {
        parents.push("traits".into());
    }
    rest.need(':')?;
    let mut slots = Vec::new();
    while !rest.is_empty() {
        let held = rest.held()?;
        if held.object.is_some() {
            return Err(format!("an object has slots of its own alone: {:?}", held.slot));
        }
        slots.push((held.slot, held.value));
    }
    Ok(Drawing { name, parents, slots })
}

/// Reads an example.
pub fn example(text: &str) -> Result<Example, String> {
    let mut rest = Rest(text);
    let mut given = Vec::new();
    while !rest.take('(') {
        given.push(rest.held()?);
    }
    let mut arguments = Vec::new();
    while !rest.take(')') {
        arguments.push(rest.value()?);
        rest.take(',');
    }
    rest.need('-')?;
    rest.need('>')?;
    let expected = if rest.take('_') {
        Expected::Any
    } else if rest.take('!') {
        Expected::Failure
    } else {
        Expected::Answer(rest.value()?)
    };
    let mut after = Vec::new();
    if rest.take(';') {
        while !rest.is_empty() {
            after.push(rest.held()?);
        }
    }
    match rest.is_empty() {
        true => Ok(Example {
            given,
            arguments,
            expected,
            after,
        }),
        false => Err(format!(
            "nothing may stand after the answer but `;`: {:?}",
            rest.0
        )),
    }
}

/// What is not read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn is_empty(&mut self) -> bool {
        self.0 = self.0.trim_start();
        self.0.is_empty()
    }

    fn take(&mut self, mark: char) -> bool {
        self.0 = self.0.trim_start();
        match self.0.strip_prefix(mark) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, mark: char) -> Result<(), String> {
        match self.take(mark) {
            true => Ok(()),
            false => Err(format!("{mark:?} is wanted before {:?}", self.0)),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        self.0 = self.0.trim_start();
        let end = self
            .0
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        if name.is_empty() {
            return Err(format!("a name is wanted before {rest:?}"));
        }
        self.0 = rest;
        Ok(name.to_owned())
    }

    fn held(&mut self) -> Result<Held, String> {
        let first = self.name()?;
        let (object, slot) = match self.take('.') {
            true => (Some(first), self.name()?),
            false => (None, first),
        };
        self.need('=')?;
        let value = self.value()?;
        Ok(Held { object, slot, value })
    }

    fn value(&mut self) -> Result<Value, String> {
        self.0 = self.0.trim_start();
        // A word or a number ends at one of these; a text, a list and a map end by themselves.
        let whole = match self.0.starts_with(['"', '[', '{']) {
            true => self.0,
            false => self.0.split([',', ')', ';', ' ']).next().unwrap_or_default(),
        };
        let mut stream = Deserializer::from_str(whole).into_iter::<Json>();
        let json = match stream.next() {
            Some(Ok(json)) => json,
            Some(Err(error)) => return Err(format!("no JSON at {:?}: {error}", self.0)),
            None => return Err(format!("a value is wanted at {:?}", self.0)),
        };
        self.0 = &self.0[stream.byte_offset()..];
        from_json(&json).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(object: Option<&str>, slot: &str, value: Value) -> Held {
        Held {
            object: object.map(str::to_owned),
            slot: slot.into(),
            value,
        }
    }

    #[test]
    fn objects_are_read() {
        let read =
            drawing(r#"pump < machine, counter: gap=4 label="a: (b) -> c" parts=["@saw", 1]"#).unwrap();
        assert_eq!(
            (read.name.as_str(), read.parents),
            ("pump", vec!["machine".to_owned(), "counter".into()])
        );
        assert_eq!(read.slots[0], ("gap".into(), Value::Int(4)));
        assert_eq!(read.slots[1].1, Value::Text("a: (b) -> c".into()));
        assert_eq!(drawing("bare:").unwrap().parents, ["traits"]);
        for bad in ["", "a", "a < : x=1", "a: x", "a: x=", "a: x=y", "a: b.c=1"] {
            assert!(drawing(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn examples_are_read() {
        let read = example(r#"gap=95 saw.on=true (10, "a") -> 100; gap=100 saw.on=false"#).unwrap();
        assert_eq!(
            read.given,
            [
                held(None, "gap", Value::Int(95)),
                held(Some("saw"), "on", Value::Bool(true))
            ]
        );
        assert_eq!(read.arguments, [Value::Int(10), Value::Text("a".into())]);
        assert_eq!(read.expected, Expected::Answer(Value::Int(100)));
        assert_eq!(read.after.len(), 2);
        assert_eq!(example("() -> _").unwrap().expected, Expected::Any);
        assert_eq!(example("(-1) -> !").unwrap().expected, Expected::Failure);
        assert_eq!(
            example("() -> null").unwrap().expected,
            Expected::Answer(Value::None)
        );
        for bad in ["", "()", "() ->", "() -> 1 2", "x=1 -> 2", "(1 -> 2"] {
            assert!(example(bad).is_err(), "{bad}");
        }
    }
}
