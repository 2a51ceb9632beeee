//! What a slot can hold.

use serde::{Deserialize, Serialize};

use crate::id::ObjectId;

/// Deepest nesting of lists and maps that a value may have; a bound so that no peer can overflow a stack.
pub const MAX_DEPTH: usize = 64;

/// A content that the image keeps as a file of its own: its BLAKE3 hash and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    pub digest: [u8; 32],
    pub bytes: u64,
}

/// A value of the image. What belongs to one process (a handle, a socket, a lock) has no variant, so it cannot enter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer outside `i64`: canonical decimal digits with an optional leading `-`.
    Big(String),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Ref(ObjectId),
    /// Python source of a method; the slot's name is its selector.
    Method(String),
    List(Vec<Value>),
    /// Keys are scalars and distinct; order is kept.
    Map(Vec<(Value, Value)>),
    /// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted; within [`crate::time::RANGE_US`].
    Time(i64),
    Blob(BlobRef),
}

impl Value {
    /// The word for this value's kind, as prompts, errors and the console say it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "none",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Big(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Ref(_) => "ref",
            Value::Method(_) => "method",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Time(_) => "time",
            Value::Blob(_) => "blob",
        }
    }

    /// The kind with the element kind of a homogeneous list of scalars: `list[int]`.
    pub fn detailed_kind(&self) -> String {
        let Value::List(items) = self else {
            return self.kind().to_owned();
        };
        let Some(first) = items.first().map(Value::kind) else {
            return "list".to_owned();
        };
        match first {
            "bool" | "int" | "float" | "text" if items.iter().all(|item| item.kind() == first) => {
                format!("list[{first}]")
            }
            _ => "list".to_owned(),
        }
    }

    /// True for what may be a map's key.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Value::List(_) | Value::Map(_) | Value::Method(_))
    }

    /// Visits every object this value refers to, in order.
    pub fn each_reference(&self, visit: &mut impl FnMut(ObjectId)) {
        match self {
            Value::Ref(id) => visit(*id),
            Value::List(items) => items.iter().for_each(|item| item.each_reference(visit)),
            Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
                key.each_reference(visit);
                value.each_reference(visit);
            }),
            _ => {}
        }
    }

    /// Visits every blob this value names, in order.
    pub fn each_blob(&self, visit: &mut impl FnMut(&BlobRef)) {
        match self {
            Value::Blob(blob) => visit(blob),
            Value::List(items) => items.iter().for_each(|item| item.each_blob(visit)),
            Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
                key.each_blob(visit);
                value.each_blob(visit);
            }),
            _ => {}
        }
    }

    /// The sum of two numbers: an integer of 64 bits or a fraction. `None` where one is no such number, or the sum of two
    /// integers does not fit.
    pub fn plus(&self, amount: &Value) -> Option<Value> {
        match (self, amount) {
            (Value::Int(a), Value::Int(b)) => a.checked_add(*b).map(Value::Int),
            (Value::Int(a), Value::Float(b)) => Some(Value::Float(*a as f64 + b)),
            (Value::Float(a), Value::Int(b)) => Some(Value::Float(a + *b as f64)),
            (Value::Float(a), Value::Float(b)) => Some(Value::Float(a + b)),
            _ => None,
        }
    }

    /// Bytes that it takes in a frame, at most.
    pub fn frame_bytes(&self) -> usize {
        match self {
            Value::Int(i) | Value::Time(i) => 1 + varint((i << 1 ^ i >> 63) as u64),
            Value::Float(_) => 9,
            Value::Text(text) | Value::Big(text) | Value::Method(text) => 6 + text.len(),
            Value::Bytes(bytes) => 6 + bytes.len(),
            Value::Ref(id) => 1 + varint(id.0),
            Value::List(items) => 6 + items.iter().map(Value::frame_bytes).sum::<usize>(),
            Value::Map(pairs) => {
                6 + pairs
                    .iter()
                    .map(|(key, item)| key.frame_bytes() + item.frame_bytes())
                    .sum::<usize>()
            }
            Value::Blob(blob) => 33 + varint(blob.bytes),
            Value::None | Value::Bool(_) => 2,
        }
    }

    /// A map with texts as keys.
    pub fn record<const N: usize>(pairs: [(&str, Value); N]) -> Value {
        let pairs = pairs.into_iter();
        Value::Map(
            pairs
                .map(|(key, value)| (Value::Text(key.to_owned()), value))
                .collect(),
        )
    }

    /// What a map has under this text.
    pub fn member(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(pairs) => pairs
                .iter()
                .find(|(name, _)| name.as_text() == Some(key))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The same, if it is text.
    pub fn member_text(&self, key: &str) -> Option<String> {
        self.member(key).and_then(Value::as_text).map(str::to_owned)
    }

    /// Text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn varint(mut n: u64) -> usize {
    let mut bytes = 1;
    while n >= 0x80 {
        n >>= 7;
        bytes += 1;
    }
    bytes
}
