//! Objects as text, as docs/dnu.md draws them; examples are those of wishes (docs/wishes.md), whose paths are names of objects here.
//!
//! ```text
//! object   NAME [< PARENT[, PARENT…]]: [SLOT=VALUE …]
//! ```
//!
//! A text that begins with `@` is the task's object of that name.

use shared::example::{Example, Held};
use shared::notation::Reader;
use shared::path::{Path, Start, Step};
use shared::value::Value;

/// One object of a task, made anew for every example.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    pub name: String,
    /// Objects of the task or names of the image; never empty.
    pub parents: Vec<String>,
    pub slots: Vec<(String, Value)>,
}

/// Reads an object.
pub fn drawing(text: &str) -> Result<Drawing, String> {
    let told = |error: shared::notation::NotationError| error.to_string();
    let mut rest = Reader::new(text);
    let name = rest.name().map_err(told)?;
    let mut parents = Vec::new();
    if rest.take("<") {
        parents.push(rest.name().map_err(told)?);
        while rest.take(",") {
            parents.push(rest.name().map_err(told)?);
        }
    }
    if parents.is_empty() {
        parents.push("traits".into());
    }
    rest.need(":").map_err(told)?;
    let mut slots = Vec::new();
    while !rest.is_empty() {
        let place = rest.place().map_err(told)?;
        if place.object != Path::RECEIVER {
            return Err(format!("an object has slots of its own alone: {place}"));
        }
        rest.need("=").map_err(told)?;
        slots.push((place.slot, rest.value().map_err(told)?));
    }
    Ok(Drawing { name, parents, slots })
}

/// Reads an example.
pub fn example(text: &str) -> Result<Example, String> {
    let example = Example::read_plainly(text).map_err(|error| error.to_string())?;
    for held in example.given.iter().chain(&example.after) {
        named(held)?;
    }
    Ok(example)
}

/// The name of the object that a text stands for.
pub fn name_in(value: &Value) -> Option<&str> {
    value.as_text()?.strip_prefix('@')
}

/// Whether an object of the task is named anywhere in it.
pub fn refers(value: &Value) -> bool {
    match value {
        Value::List(items) => items.iter().any(refers),
        Value::Map(pairs) => pairs.iter().any(|(_, item)| refers(item)),
        value => name_in(value).is_some(),
    }
}

/// The name of the object whose slot is meant; `None` is the receiver.
pub fn named(held: &Held) -> Result<Option<&str>, String> {
    let path = &held.place.object;
    match (&path.start, &path.steps[..]) {
        (Start::Receiver, []) => Ok(None),
        (Start::Receiver, [Step::Slot(name)]) => Ok(Some(name)),
        _ => Err(format!("{}: a task's objects have names alone", held.place)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn examples_name_objects() {
        let read = example(r#"gap=95 saw.on=true (10, "@x") -> 100; gap=100 saw.on=false"#).unwrap();
        assert_eq!(named(&read.given[0]), Ok(None));
        assert_eq!(named(&read.given[1]), Ok(Some("saw")));
        for bad in [
            "() ->",
            "saw.blade.on=1 () -> _",
            "#3.a=1 () -> _",
            "() -> _; 1.a=2",
        ] {
            assert!(example(bad).is_err(), "{bad}");
        }
    }
}
