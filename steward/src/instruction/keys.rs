//! The keys of one JSON object, taken out one by one; what is left in the end is unknown.

use serde_json::{Map, Value};

use super::Refusal;

pub struct Keys {
    /// What the object is called in messages, such as `target`; empty for the outermost.
    name: String,
    map: Map<String, Value>,
}

impl Keys {
    pub fn new(name: &str, map: Map<String, Value>) -> Keys {
        Keys {
            name: name.to_owned(),
            map,
        }
    }

    /// The keys of a value that must be an object.
    pub fn of(name: &str, value: Value) -> Result<Keys, Refusal> {
        match value {
            Value::Object(map) => Ok(Keys::new(name, map)),
            _ => Err(bad(name, "an object")),
        }
    }

    pub fn required<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str, Value) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let path = self.path(key);
        self.optional(key, read)?
            .ok_or_else(|| Refusal::new("missing_key", format!("{path} is missing")))
    }

    pub fn optional<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str, Value) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let path = self.path(key);
        self.map.remove(key).map(|value| read(&path, value)).transpose()
    }

    /// Fails with the first key that nobody asked for.
    pub fn nothing_left(&self) -> Result<(), Refusal> {
        match self.map.keys().next() {
            Some(key) => {
                let key: String = self.path(key).chars().take(64).collect();
                Err(Refusal::new(
                    "unknown_key",
                    format!("{key} is no key of an instruction"),
                ))
            }
            None => Ok(()),
        }
    }

    /// A key as messages name it.
    pub fn path(&self, key: &str) -> String {
        match self.name.as_str() {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }
}

pub fn bad(key: &str, expected: &str) -> Refusal {
    Refusal::new("bad_value", format!("{key} is not what it must be: {expected}"))
}

pub fn text(key: &str, value: Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(bad(key, "text")),
    }
}

pub fn truth(key: &str, value: Value) -> Result<bool, Refusal> {
    match value {
        Value::Bool(truth) => Ok(truth),
        _ => Err(bad(key, "true or false")),
    }
}

pub fn list(key: &str, value: Value) -> Result<Vec<Value>, Refusal> {
    match value {
        Value::Array(list) => Ok(list),
        _ => Err(bad(key, "a list")),
    }
}

pub fn whole(key: &str, value: Value) -> Result<u64, Refusal> {
    match value.as_u64() {
        Some(number) if i64::try_from(number).is_ok() => Ok(number),
        _ => Err(bad(key, "an integer from 0 to 2^63-1")),
    }
}

pub fn between(key: &str, value: Value, low: u64, high: u64) -> Result<u64, Refusal> {
    match value.as_u64() {
        Some(number) if (low..=high).contains(&number) => Ok(number),
        _ => Err(bad(key, &format!("an integer from {low} to {high}"))),
    }
}
