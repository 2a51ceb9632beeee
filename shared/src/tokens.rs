//! The bytes of a [`Value`]: its nodes in pre-order, a sequence of tokens.
//!
//! A recursive encoding would let 16 MiB of nested list tags overflow a reader's stack. Here nesting is data: the reader
//! keeps an explicit depth and refuses more than [`MAX_DEPTH`].

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::ObjectId;
use crate::time;
use crate::value::{BlobRef, MAX_DEPTH, Value};

/// One node; `List` and `Map` are followed by their items (a map by key, value, key, value …).
#[derive(Deserialize)]
enum Token {
    None,
    Bool(bool),
    Int(i64),
    Big(String),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Ref(ObjectId),
    Method(String),
    List(u32),
    Map(u32),
    Time(i64),
    Blob(BlobRef),
}

/// The same variants in the same order, borrowed, for writing.
#[derive(Serialize)]
enum TokenRef<'a> {
    None,
    Bool(bool),
    Int(i64),
    Big(&'a str),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Ref(ObjectId),
    Method(&'a str),
    List(u32),
    Map(u32),
    Time(i64),
    Blob(BlobRef),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(count(self)))?;
        write(self, &mut sequence)?;
        sequence.end()
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(pairs) => 1 + pairs.iter().map(|(k, v)| count(k) + count(v)).sum::<usize>(),
        _ => 1,
    }
}

fn write<S: SerializeSeq>(value: &Value, out: &mut S) -> Result<(), S::Error> {
    match value {
        Value::None => out.serialize_element(&TokenRef::None),
        Value::Bool(b) => out.serialize_element(&TokenRef::Bool(*b)),
        Value::Int(i) => out.serialize_element(&TokenRef::Int(*i)),
        Value::Big(digits) => out.serialize_element(&TokenRef::Big(digits)),
        Value::Float(f) => out.serialize_element(&TokenRef::Float(*f)),
        Value::Text(text) => out.serialize_element(&TokenRef::Text(text)),
        Value::Bytes(bytes) => out.serialize_element(&TokenRef::Bytes(bytes)),
        Value::Ref(id) => out.serialize_element(&TokenRef::Ref(*id)),
        Value::Method(source) => out.serialize_element(&TokenRef::Method(source)),
        Value::Time(us) => out.serialize_element(&TokenRef::Time(*us)),
        Value::Blob(blob) => out.serialize_element(&TokenRef::Blob(*blob)),
        Value::List(items) => {
            out.serialize_element(&TokenRef::List(items.len() as u32))?;
            items.iter().try_for_each(|item| write(item, out))
        }
        Value::Map(pairs) => {
            out.serialize_element(&TokenRef::Map(pairs.len() as u32))?;
            pairs.iter().try_for_each(|(key, value)| {
                write(key, out)?;
                write(value, out)
            })
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TokenVisitor)
    }
}

struct TokenVisitor;

impl<'de> Visitor<'de> for TokenVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value as a sequence of tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut tokens: A) -> Result<Value, A::Error> {
        let value = read(&mut tokens, 0)?;
        match tokens.next_element::<Token>()? {
            None => Ok(value),
            Some(_) => Err(A::Error::custom("tokens after the end of the value")),
        }
    }
}

fn read<'de, A: SeqAccess<'de>>(tokens: &mut A, depth: usize) -> Result<Value, A::Error> {
    if depth > MAX_DEPTH {
        return Err(A::Error::custom(format!(
            "a value nested deeper than {MAX_DEPTH}"
        )));
    }
    let token = tokens
        .next_element()?
        .ok_or_else(|| A::Error::custom("a value that ends early"))?;
    Ok(match token {
        Token::None => Value::None,
        Token::Bool(b) => Value::Bool(b),
        Token::Int(i) => Value::Int(i),
        Token::Big(digits) if is_canonical_big(&digits) => Value::Big(digits),
        Token::Big(_) => return Err(A::Error::custom("a large integer that is not canonical decimal")),
        Token::Float(f) => Value::Float(f),
        Token::Text(text) => Value::Text(text),
        Token::Bytes(bytes) => Value::Bytes(bytes),
        Token::Ref(id) => Value::Ref(id),
        Token::Method(source) => Value::Method(source),
        Token::Time(us) if time::RANGE_US.contains(&us) => Value::Time(us),
        Token::Time(_) => return Err(A::Error::custom("a time outside of the years 1 to 9999")),
        Token::Blob(blob) => Value::Blob(blob),
        Token::List(length) => {
            let mut items = Vec::with_capacity(bounded(length, tokens));
            for _ in 0..length {
                items.push(read(tokens, depth + 1)?);
            }
            Value::List(items)
        }
        Token::Map(length) => {
            let mut pairs = Vec::with_capacity(bounded(length, tokens));
            for _ in 0..length {
                let key = read(tokens, depth + 1)?;
                if !key.is_scalar() {
                    return Err(A::Error::custom("a map key that is not a scalar"));
                }
                pairs.push((key, read(tokens, depth + 1)?));
            }
            Value::Map(pairs)
        }
    })
}

/// A claimed length reserves no more than the tokens that are left.
fn bounded<'de, A: SeqAccess<'de>>(length: u32, tokens: &A) -> usize {
    (length as usize).min(tokens.size_hint().unwrap_or(0)).min(4096)
}

/// Decimal digits with an optional `-`, no leading zero, outside `i64`, at most 4,300 digits (CPython's own bound).
pub fn is_canonical_big(digits: &str) -> bool {
    let magnitude = digits.strip_prefix('-').unwrap_or(digits);
    (19..=4300).contains(&magnitude.len())
        && magnitude.bytes().all(|b| b.is_ascii_digit())
        && !magnitude.starts_with('0')
        && digits.parse::<i64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(value: Value) {
        let bytes = postcard::to_allocvec(&value).unwrap();
        assert_eq!(postcard::from_bytes::<Value>(&bytes).unwrap(), value);
    }

    #[test]
    fn values_come_back_as_they_went() {
        round(Value::None);
        round(Value::Int(i64::MIN));
        round(Value::Big("-170141183460469231731687303715884105728".into()));
        round(Value::List(vec![
            Value::Map(vec![(
                Value::Text("a".into()),
                Value::List(vec![Value::Float(1.5), Value::Bool(true)]),
            )]),
            Value::Ref(ObjectId(7)),
            Value::Bytes(vec![0, 255]),
            Value::Method("def f(self):\n    return 1\n".into()),
            Value::Time(-1),
            Value::Blob(BlobRef {
                digest: [7; 32],
                bytes: u64::MAX,
            }),
        ]));
        round(Value::Time(*time::RANGE_US.end()));
    }

    /// Logs are read by later kernels: a token keeps its number for ever, new ones come last.
    #[test]
    fn tokens_keep_their_numbers() {
        let number = |value: Value| postcard::to_allocvec(&value).unwrap()[1];
        assert_eq!(number(Value::None), 0);
        assert_eq!(number(Value::Method(String::new())), 8);
        assert_eq!(number(Value::Map(Vec::new())), 10);
        assert_eq!(number(Value::Time(0)), 11);
        let blob = BlobRef {
            digest: [0; 32],
            bytes: 0,
        };
        assert_eq!(number(Value::Blob(blob)), 12);
    }

    #[test]
    fn a_time_that_no_calendar_has_is_refused() {
        let bytes = postcard::to_allocvec(&Value::Time(time::RANGE_US.end() + 1)).unwrap();
        assert!(postcard::from_bytes::<Value>(&bytes).is_err());
    }

    /// 16 MiB of nested lists once meant a recursive reader and a dead kernel.
    #[test]
    fn deep_nesting_is_refused_without_recursion() {
        let mut bytes = vec![0xFF, 0xFF, 0xFF, 0x07];
        for _ in 0..1_000_000 {
            bytes.extend([9, 1]);
        }
        let error = postcard::from_bytes::<Value>(&bytes).unwrap_err();
        assert!(!format!("{error}").is_empty());
    }

    #[test]
    fn a_big_integer_must_be_canonical() {
        for bad in ["12", "007", "-0", "1e30", "9223372036854775807"] {
            assert!(!is_canonical_big(bad), "{bad}");
        }
        assert!(is_canonical_big("9223372036854775808"));
    }
}
