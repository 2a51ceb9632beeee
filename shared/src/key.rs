//! Keys of an object's entries: values encoded so that bytes sort as keys do. Drawn in `docs/image-format.md`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ObjectId;
use crate::value::Value;

/// The longest encoded key, so that object id and key fit into one key of LMDB.
pub const MAX_KEY_BYTES: usize = 480;

const NUMBER: u8 = 0x10;
const TIME: u8 = 0x18;
const TEXT: u8 = 0x20;
const BYTES: u8 = 0x28;
const REFERENCE: u8 = 0x30;
const LIST: u8 = 0x38;
const END: u8 = 0x00;
const ESCAPED: u8 = 0xff;
const SIGN: u64 = 1 << 63;

/// An encoded key. Keys compare as their bytes do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(Vec<u8>);

/// Why a value cannot be a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a {0} cannot be a key; numbers, text, bytes, times, references and lists of them can")]
    Kind(&'static str),
    #[error("a number that is not finite, or an integer beyond 64 bits, cannot be a key")]
    Number,
    #[error("a key of {0} encoded bytes is longer than {MAX_KEY_BYTES}")]
    TooLong(usize),
}

impl Key {
    /// The key that a value is.
    pub fn of(value: &Value) -> Result<Key, KeyError> {
        let mut bytes = Vec::with_capacity(24);
        write(value, &mut bytes)?;
        Key::bounded(bytes)
    }

    /// Where texts that begin with `prefix` begin and end: from the first key to before the second.
    pub fn text_prefix(prefix: &str) -> Result<(Key, Key), KeyError> {
        let mut from = vec![TEXT];
        escape(prefix.as_bytes(), &mut from);
        let mut to = from.clone();
        // UTF-8 holds no byte ff, so this is beyond every text with the prefix.
        to.push(0xff);
        Ok((Key::bounded(from)?, Key::bounded(to)?))
    }

    /// Where the keys lie among which an append looks for the last: from the first key to before the second.
    pub fn integers() -> (Key, Key) {
        let bound = |int: i64| {
            let mut bytes = Vec::with_capacity(18);
            number(int as f64, int, 0, &mut bytes);
            Key(bytes)
        };
        (bound(i64::MIN), bound(i64::MAX).after())
    }

    /// The key of the integer after the last key of [`Key::integers`], or of 0 when there is none. `None` when no integer is
    /// left.
    pub fn next_integer(last: Option<&Key>) -> Option<Key> {
        let next = match last.and_then(Key::value) {
            Some(Value::Int(last)) => last.checked_add(1)?,
            Some(Value::Float(last)) => last.ceil() as i64,
            _ => 0,
        };
        Key::of(&Value::Int(next)).ok()
    }

    /// Whether these bytes are the encoding of some value, not longer than a key may be.
    pub fn is_whole(&self) -> bool {
        self.0.len() <= MAX_KEY_BYTES && self.value().is_some()
    }

    /// Before every key.
    pub fn first() -> Key {
        Key(Vec::new())
    }

    /// After every key.
    pub fn last() -> Key {
        Key(vec![0xff])
    }

    /// The key just after this one, for scans that begin behind it. It is the key of no value.
    pub fn after(&self) -> Key {
        let mut bytes = self.0.clone();
        bytes.push(0);
        Key(bytes)
    }

    /// Bytes that came from another process or from disk; only their length is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Key, KeyError> {
        Key::bounded(bytes.to_vec())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value that this key is; `None` when the bytes are no key.
    pub fn value(&self) -> Option<Value> {
        let mut rest = &self.0[..];
        let value = read(&mut rest)?;
        rest.is_empty().then_some(value)
    }

    fn bounded(bytes: Vec<u8>) -> Result<Key, KeyError> {
        match bytes.len() {
            length if length > MAX_KEY_BYTES => Err(KeyError::TooLong(length)),
            _ => Ok(Key(bytes)),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Some(value) => write!(f, "Key({value:?})"),
            None => write!(f, "Key({:02x?})", self.0),
        }
    }
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), KeyError> {
    match value {
        Value::Int(int) => number(*int as f64, *int, 0, out),
        Value::Float(float) => match whole(*float) {
            Some(int) => number(int as f64, int, 0, out),
            None if float.is_finite() => number(*float, 0, 1, out),
            None => return Err(KeyError::Number),
        },
        Value::Big(_) => return Err(KeyError::Number),
        Value::Time(microseconds) => {
            out.push(TIME);
            out.extend((*microseconds as u64 ^ SIGN).to_be_bytes());
        }
        Value::Text(text) => {
            out.push(TEXT);
            escape(text.as_bytes(), out);
            out.extend([END, END]);
        }
        Value::Bytes(bytes) => {
            out.push(BYTES);
            escape(bytes, out);
            out.extend([END, END]);
        }
        Value::Ref(id) => {
            out.push(REFERENCE);
            out.extend(id.0.to_be_bytes());
        }
        Value::List(items) => {
            out.push(LIST);
            items.iter().try_for_each(|item| write(item, out))?;
            out.push(END);
        }
        other => return Err(KeyError::Kind(other.kind())),
    }
    Ok(())
}

/// The integer that a fraction is, if it is one.
fn whole(float: f64) -> Option<i64> {
    let is_whole = float.fract() == 0.0 && (-9.2e18..9.2e18).contains(&float);
    is_whole.then_some(float as i64)
}

fn number(near: f64, exact: i64, kind: u8, out: &mut Vec<u8>) {
    let bits = near.to_bits();
    // The usual order-preserving form: all bits flipped below zero, else the sign.
    let ordered = if bits & SIGN == 0 { bits | SIGN } else { !bits };
    out.push(NUMBER);
    out.extend(ordered.to_be_bytes());
    out.extend((exact as u64 ^ SIGN).to_be_bytes());
    out.push(kind);
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == END {
            out.push(ESCAPED);
        }
    }
}

fn read(rest: &mut &[u8]) -> Option<Value> {
    match take::<1>(rest)?[0] {
        NUMBER => {
            let ordered = u64::from_be_bytes(take(rest)?);
            let exact = (u64::from_be_bytes(take(rest)?) ^ SIGN) as i64;
            match take::<1>(rest)?[0] {
                0 => Some(Value::Int(exact)),
                1 => Some(Value::Float(f64::from_bits(if ordered & SIGN == 0 {
                    !ordered
                } else {
                    ordered ^ SIGN
                }))),
                _ => None,
            }
        }
        TIME => Some(Value::Time((u64::from_be_bytes(take(rest)?) ^ SIGN) as i64)),
        TEXT => String::from_utf8(unescape(rest)?).ok().map(Value::Text),
        BYTES => unescape(rest).map(Value::Bytes),
        REFERENCE => Some(Value::Ref(ObjectId(u64::from_be_bytes(take(rest)?)))),
        LIST => {
            let mut items = Vec::new();
            while *rest.first()? != END {
                items.push(read(rest)?);
            }
            take::<1>(rest)?;
            Some(Value::List(items))
        }
        _ => None,
    }
}

fn unescape(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        match take::<1>(rest)?[0] {
            END if *rest.first()? == ESCAPED => {
                take::<1>(rest)?;
                out.push(END);
            }
            END => {
                take::<1>(rest)?;
                return Some(out);
            }
            byte => out.push(byte),
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    /// Each value is smaller than the next, encoded too, and comes back as it was.
    #[test]
    fn bytes_sort_as_values_do_and_come_back() {
        let ordered = [
            Value::Int(i64::MIN),
            Value::Float(-1.5),
            Value::Int(-1),
            Value::Int(0),
            Value::Float(1e-300),
            Value::Float(0.5),
            Value::Int(1),
            Value::Int((1 << 53) + 1),
            Value::Int((1 << 53) + 2),
            Value::Int(i64::MAX),
            Value::Float(1e300),
            Value::Time(-5),
            Value::Time(7),
            text(""),
            text("\0"),
            text("\0a"),
            text("a"),
            text("a\0b"),
            text("ab"),
            text("é"),
            Value::Bytes(vec![]),
            Value::Bytes(vec![0, 0xff]),
            Value::Bytes(vec![1]),
            Value::Ref(ObjectId(1)),
            Value::Ref(ObjectId(256)),
            Value::List(vec![]),
            Value::List(vec![text("a")]),
            Value::List(vec![text("a"), Value::Int(1)]),
            Value::List(vec![text("ab")]),
        ];
        let keys: Vec<Key> = ordered.iter().map(|value| Key::of(value).unwrap()).collect();
        for pair in keys.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        for (key, value) in keys.iter().zip(&ordered) {
            assert_eq!(key.value().as_ref(), Some(value));
            assert!(*key < key.after() && Key::first() < *key && *key < Key::last());
        }
    }

    #[test]
    fn a_whole_fraction_is_its_integer() {
        assert_eq!(Key::of(&Value::Float(3.0)), Key::of(&Value::Int(3)));
        assert_eq!(Key::of(&Value::Float(-0.0)), Key::of(&Value::Int(0)));
    }

    #[test]
    fn what_cannot_be_a_key_says_so() {
        assert_eq!(Key::of(&Value::Float(f64::NAN)), Err(KeyError::Number));
        assert_eq!(Key::of(&Value::None), Err(KeyError::Kind("none")));
        assert!(matches!(
            Key::of(&text(&"x".repeat(500))),
            Err(KeyError::TooLong(_))
        ));
        assert_eq!(Key(vec![NUMBER, 1]).value(), None);
        assert_eq!(Key(vec![TEXT, b'a']).value(), None);
    }

    #[test]
    fn the_next_integer_comes_after_the_last() {
        let (from, to) = Key::integers();
        for (last, next) in [
            (Some(Value::Int(-3)), Some(-2)),
            (Some(Value::Float(2.5)), Some(3)),
            (Some(Value::Int(i64::MAX)), None),
            (None, Some(0)),
        ] {
            let last = last.map(|last| Key::of(&last).unwrap());
            assert!(last.as_ref().is_none_or(|last| from <= *last && *last < to));
            let next = next.map(|next| Key::of(&Value::Int(next)).unwrap());
            assert_eq!(Key::next_integer(last.as_ref()), next, "{last:?}");
        }
        for outside in [Value::Float(1e300), Value::Float(-1e300), text("")] {
            let key = Key::of(&outside).unwrap();
            assert!(key < from || to <= key, "{outside:?}");
        }
    }

    #[test]
    fn a_prefix_covers_just_its_texts() {
        let (from, to) = Key::text_prefix("ab").unwrap();
        for (sample, inside) in [
            ("ab", true),
            ("abz", true),
            ("ab\u{10ffff}", true),
            ("aa", false),
            ("ac", false),
            ("", false),
        ] {
            let key = Key::of(&text(sample)).unwrap();
            assert_eq!(from <= key && key < to, inside, "{sample:?}");
        }
    }
}
