//! Python objects as values of the image; what cannot be one is refused with its place and a way out (M10).
//!
//! Only exact builtin types pass, so no code of the object itself runs here.

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDateTime, PyDelta, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString,
    PyTuple,
};
use shared::tokens::is_canonical_big;
use shared::value::{MAX_DEPTH, Value};

use crate::blob::Blob;
use crate::proxy::{Method, Proxy};
use crate::time;
use crate::unanswered::Unanswered;

/// Largest value of one slot.
pub const MAX_VALUE_BYTES: usize = 4 << 20;
/// Largest sum of all values that a run writes, with its answer.
pub const MAX_RUN_BYTES: usize = 15 << 20;

/// Why a Python object is not a value.
#[derive(Debug)]
pub struct Refusal {
    /// Steps from the whole to the part, innermost first: `['x']`, `[3]`.
    steps: Vec<String>,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    /// A sentence that follows the place: "is a function; …".
    NotPersistent(String),
    /// A slot that was read without being there.
    NoSlot(String),
}

/// Why a value as a whole is refused: a kind for [`shared::activation::Raised`] and a sentence.
#[derive(Debug)]
pub struct NotAValue {
    pub kind: &'static str,
    pub message: String,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Refusal {
        Refusal {
            steps: Vec::new(),
            reason: Reason::NotPersistent(message.into()),
        }
    }

    fn inside(mut self, step: String) -> Refusal {
        self.steps.push(step);
        self
    }

    /// The refusal of what stands at `place`, such as `#12.items` or `the answer`.
    fn at(self, place: &str) -> NotAValue {
        match self.reason {
            Reason::NoSlot(message) => NotAValue {
                kind: "AttributeError",
                message,
            },
            Reason::NotPersistent(message) => {
                let steps: String = self.steps.into_iter().rev().collect();
                NotAValue {
                    kind: "NotPersistent",
                    message: format!("{place}{steps} {message}"),
                }
            }
        }
    }
}

/// The value that `object` is. `place` begins the message of a refusal.
pub fn encode(object: &Bound<'_, PyAny>, place: &str) -> Result<Value, NotAValue> {
    let mut left = MAX_VALUE_BYTES;
    node(object, &mut Vec::new(), &mut left).map_err(|refusal| refusal.at(place))
}

/// Equality of the bytes: a NaN equals itself, `1`, `True` and `1.0` differ, order of a map counts.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
        }
        _ => a == b,
    }
}

/// `open` holds the containers around this node, so that a cycle is told from mere depth.
fn node(object: &Bound<'_, PyAny>, open: &mut Vec<usize>, left: &mut usize) -> Result<Value, Refusal> {
    let value = if object.is_none() {
        Value::None
    } else if let Ok(b) = object.cast_exact::<PyBool>() {
        Value::Bool(b.is_true())
    } else if let Ok(i) = object.cast_exact::<PyInt>() {
        integer(i)?
    } else if let Ok(f) = object.cast_exact::<PyFloat>() {
        Value::Float(f.value())
    } else if let Ok(text) = object.cast_exact::<PyString>() {
        let text = text.to_str().map_err(|_| {
            Refusal::new("is text with half of a surrogate pair; remove what is not a character")
        })?;
        reserve(left, text.len())?;
        Value::Text(text.to_owned())
    } else if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        reserve(left, bytes.as_bytes().len())?;
        Value::Bytes(bytes.as_bytes().to_owned())
    } else if let Ok(proxy) = object.cast_exact::<Proxy>() {
        Value::Ref(proxy.get().id)
    } else if let Ok(list) = object.cast_exact::<PyList>() {
        enter(object, open)?;
        let items = items(list.iter(), open, left)?;
        open.pop();
        Value::List(items)
    } else if let Ok(tuple) = object.cast_exact::<PyTuple>() {
        enter(object, open)?;
        let items = items(tuple.iter(), open, left)?;
        open.pop();
        Value::List(items)
    } else if let Ok(map) = object.cast_exact::<PyDict>() {
        enter(object, open)?;
        let pairs = pairs(map, open, left)?;
        open.pop();
        Value::Map(pairs)
    } else if let Ok(moment) = object.cast_exact::<PyDateTime>() {
        Value::Time(time::encode(moment).map_err(Refusal::new)?)
    } else if let Ok(blob) = object.cast_exact::<Blob>() {
        Value::Blob(blob.get().reference)
    } else if let Ok(unanswered) = object.cast_exact::<Unanswered>() {
        return Err(Refusal {
            steps: Vec::new(),
            reason: Reason::NoSlot(unanswered.get().message()),
        });
    } else {
        return Err(Refusal::new(foreign(object)));
    };
    if !matches!(
        value,
        Value::Text(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)
    ) {
        reserve(left, value.frame_bytes().saturating_sub(6))?;
    }
    Ok(value)
}

fn items<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    open: &mut Vec<usize>,
    left: &mut usize,
) -> Result<Vec<Value>, Refusal> {
    items
        .enumerate()
        .map(|(at, item)| node(&item, open, left).map_err(|refusal| refusal.inside(format!("[{at}]"))))
        .collect()
}

fn pairs(
    map: &Bound<'_, PyDict>,
    open: &mut Vec<usize>,
    left: &mut usize,
) -> Result<Vec<(Value, Value)>, Refusal> {
    let mut pairs = Vec::with_capacity(map.len());
    for (key, item) in map.iter() {
        let key = node(&key, open, left)?;
        if !key.is_scalar() {
            return Err(Refusal::new(
                "has a key that is not a scalar; use text, a number or an object as key",
            ));
        }
        if matches!(key, Value::Float(f) if f.is_nan()) {
            return Err(Refusal::new("has NaN as a key, which equals nothing; use text"));
        }
        let item = node(&item, open, left).map_err(|refusal| refusal.inside(step(&key)))?;
        pairs.push((key, item));
    }
    Ok(pairs)
}

fn integer(object: &Bound<'_, PyInt>) -> Result<Value, Refusal> {
    if let Ok(i) = object.extract::<i64>() {
        return Ok(Value::Int(i));
    }
    // An exact int: `str` is CPython's own and has its bound of 4,300 digits.
    match object.str().map(|text| text.to_string()) {
        Ok(digits) if is_canonical_big(&digits) => Ok(Value::Big(digits)),
        _ => Err(Refusal::new(
            "is an int of more than 4300 digits; keep it as text or as a float",
        )),
    }
}

fn enter(object: &Bound<'_, PyAny>, open: &mut Vec<usize>) -> Result<(), Refusal> {
    let identity = object.as_ptr() as usize;
    if open.contains(&identity) {
        return Err(Refusal::new(
            "contains itself; refer to an object of the image instead",
        ));
    }
    if open.len() >= MAX_DEPTH {
        return Err(Refusal::new(format!(
            "is nested deeper than {MAX_DEPTH} levels; put the inner part into an object of its own"
        )));
    }
    open.push(identity);
    Ok(())
}

fn reserve(left: &mut usize, bytes: usize) -> Result<(), Refusal> {
    match left.checked_sub(bytes + 6) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => Err(Refusal::new(format!(
            "makes the value larger than {} MiB; spread it over several objects",
            MAX_VALUE_BYTES >> 20
        ))),
    }
}

/// How errors name a part by its key.
pub fn step(key: &Value) -> String {
    match key {
        Value::Text(text) if text.len() <= 40 => format!("['{text}']"),
        Value::Int(i) => format!("[{i}]"),
        Value::Ref(id) => format!("[{id}]"),
        other => format!("[a {} key]", other.kind()),
    }
}

fn foreign(object: &Bound<'_, PyAny>) -> String {
    const KEEPS: &str = "a slot keeps None, bool, int, float, str, bytes, times, list, dict and objects";
    if object.is_exact_instance_of::<PySet>() || object.is_exact_instance_of::<PyFrozenSet>() {
        return format!("is a set; {KEEPS}: use sorted(…) or list(…)");
    }
    if object.is_exact_instance_of::<PyDelta>() {
        return format!("is a time span; {KEEPS}: keep its seconds, span.total_seconds()");
    }
    if let Ok(method) = object.cast_exact::<Method>() {
        return format!(
            "is the method {}; call it, or keep its selector as text",
            method.get().label()
        );
    }
    let name = object
        .get_type()
        .name()
        .map_or_else(|_| "object".to_owned(), |name| name.to_string());
    let what = match name.as_str() {
        "function" | "builtin_function_or_method" | "method" => "a function".to_owned(),
        "entries" => return format!("is a range of entries; {KEEPS}: use list(…)"),
        "generator" => return format!("is a generator; {KEEPS}: use list(…)"),
        "map" | "filter" | "zip" | "range" | "enumerate" | "reversed" | "dict_keys" | "dict_values"
        | "dict_items" => return format!("is a {name}; {KEEPS}: use list(…)"),
        _ => format!("of the Python type {name}"),
    };
    format!("is {what}; {KEEPS}: keep plain data")
}
