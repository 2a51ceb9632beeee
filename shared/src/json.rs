//! The JSON form of a [`Value`], the same on the command line, in JSON-RPC and in documents.
//!
//! `null`, booleans, numbers, strings, arrays and objects are themselves. What JSON lacks is an object with one key:
//! `{"$ref":"#12"}`, `{"$bytes":"<hex>"}`, `{"$method":"def …"}`, `{"$int":"<digits>"}` (beyond 64 bits),
//! `{"$float":"nan"|"inf"|"-inf"}`, `{"$time":"2026-11-21T01:22:10.123456Z"}`, and `{"$map":[[key,value],…]}` for a map
//! whose keys are not all text, or that would read as one of these. `{"$blob":"<64 hex>","bytes":N}` has two keys.

use serde_json::{Map, Number, Value as Json, json};

use crate::id::ObjectId;
use crate::time;
use crate::tokens::is_canonical_big;
use crate::value::{BlobRef, MAX_DEPTH, Value};

/// Why a JSON document is not a value; says where.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum JsonError {
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("{0} is not a number a slot can hold")]
    Number(String),
    #[error("{{\"{0}\": …}} does not have the form that {0} needs")]
    Form(String),
}

/// The value as a JSON document.
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => json!(i),
        Value::Big(digits) => json!({ "$int": digits }),
        Value::Float(f) => match Number::from_f64(*f) {
            Some(number) => Json::Number(number),
            None if f.is_nan() => json!({ "$float": "nan" }),
            None if *f > 0.0 => json!({ "$float": "inf" }),
            None => json!({ "$float": "-inf" }),
        },
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!({ "$bytes": to_hex(bytes) }),
        Value::Ref(id) => json!({ "$ref": id.to_string() }),
        Value::Method(source) => json!({ "$method": source }),
        Value::Time(us) => json!({ "$time": time::to_text(*us) }),
        Value::Blob(blob) => json!({ "$blob": to_hex(&blob.digest), "bytes": blob.bytes }),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(pairs) if is_plain(pairs) => Json::Object(
            pairs
                .iter()
                .map(|(key, value)| (key.as_text().unwrap_or("").to_owned(), to_json(value)))
                .collect(),
        ),
        Value::Map(pairs) => {
            let pairs: Vec<Json> = pairs
                .iter()
                .map(|(k, v)| json!([to_json(k), to_json(v)]))
                .collect();
            json!({ "$map": pairs })
        }
    }
}

fn is_plain(pairs: &[(Value, Value)]) -> bool {
    let texts = pairs.iter().all(|(key, _)| key.as_text().is_some());
    let tagged = match pairs {
        [(key, _)] => key.as_text().is_some_and(|key| key.starts_with('$')),
        [(a, _), (b, _)] => is_blob_form([a, b].map(|key| key.as_text().unwrap_or(""))),
        _ => false,
    };
    texts && !tagged
}

fn is_blob_form(keys: [&str; 2]) -> bool {
    matches!(keys, ["$blob", "bytes"] | ["bytes", "$blob"])
}

/// The value that a JSON document means.
pub fn from_json(json: &Json) -> Result<Value, JsonError> {
    read(json, 0)
}

fn read(json: &Json, depth: usize) -> Result<Value, JsonError> {
    if depth > MAX_DEPTH {
        return Err(JsonError::TooDeep);
    }
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(i), _, _) => Value::Int(i),
            (None, Some(u), _) => Value::Big(u.to_string()),
            (None, None, Some(f)) => Value::Float(f),
            _ => return Err(JsonError::Number(number.to_string())),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(
            items
                .iter()
                .map(|item| read(item, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Json::Object(members) => read_object(members, depth)?,
    })
}

fn read_object(members: &Map<String, Json>, depth: usize) -> Result<Value, JsonError> {
    if let (1, Some((key, inner))) = (members.len(), members.iter().next())
        && key.starts_with('$')
    {
        return read_tagged(key, inner, depth);
    }
    if let (2, Some(digest), Some(bytes)) = (members.len(), members.get("$blob"), members.get("bytes")) {
        return read_blob(digest, bytes);
    }
    let pairs = members
        .iter()
        .map(|(key, value)| Ok((Value::Text(key.clone()), read(value, depth + 1)?)))
        .collect::<Result<_, JsonError>>()?;
    Ok(Value::Map(pairs))
}

fn read_tagged(key: &str, inner: &Json, depth: usize) -> Result<Value, JsonError> {
    let form = || JsonError::Form(key.to_owned());
    let text = || inner.as_str().ok_or_else(form);
    Ok(match key {
        "$ref" => Value::Ref(text()?.parse::<ObjectId>().map_err(|()| form())?),
        "$bytes" => Value::Bytes(from_hex(text()?).ok_or_else(form)?),
        "$method" => Value::Method(text()?.to_owned()),
        "$int" if is_canonical_big(text()?) => Value::Big(text()?.to_owned()),
        "$int" => Value::Int(text()?.parse().map_err(|_| form())?),
        "$float" => Value::Float(match text()? {
            "nan" => f64::NAN,
            "inf" => f64::INFINITY,
            "-inf" => f64::NEG_INFINITY,
            _ => return Err(form()),
        }),
        "$time" => Value::Time(time::from_text(text()?).ok_or_else(form)?),
        "$map" => {
            let mut pairs: Vec<(Value, Value)> = Vec::new();
            for pair in inner.as_array().ok_or_else(form)? {
                let [key, value] = pair.as_array().map(Vec::as_slice).ok_or_else(form)? else {
                    return Err(form());
                };
                let key = read(key, depth + 1)?;
                if !key.is_scalar() || pairs.iter().any(|(known, _)| *known == key) {
                    return Err(form());
                }
                pairs.push((key, read(value, depth + 1)?));
            }
            Value::Map(pairs)
        }
        _ => return Err(form()),
    })
}

fn read_blob(digest: &Json, bytes: &Json) -> Result<Value, JsonError> {
    let digest = digest.as_str().and_then(from_hex);
    match (digest.map(<[u8; 32]>::try_from), bytes.as_u64()) {
        (Some(Ok(digest)), Some(bytes)) => Ok(Value::Blob(BlobRef { digest, bytes })),
        _ => Err(JsonError::Form("$blob".to_owned())),
    }
}

/// Two lower-case digits a byte.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits tell; `None` for all else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_json() {
        let value = Value::Map(vec![
            (Value::Int(1), Value::Bytes(vec![1, 0xAB])),
            (
                Value::Text("x".into()),
                Value::List(vec![Value::Ref(ObjectId(3)), Value::Float(f64::INFINITY)]),
            ),
            (
                Value::None,
                Value::Map(vec![(
                    Value::Text("$ref".into()),
                    Value::Big("99999999999999999999".into()),
                )]),
            ),
        ]);
        assert_eq!(from_json(&to_json(&value)), Ok(value));
    }

    #[test]
    fn times_and_blobs_have_their_forms() {
        let blob = Value::Blob(BlobRef {
            digest: [0xAB; 32],
            bytes: 5,
        });
        let time = Value::Time(1_795_224_130_123_456);
        assert_eq!(to_json(&time), json!({ "$time": "2026-11-21T01:22:10.123456Z" }));
        assert_eq!(to_json(&blob), json!({ "$blob": "ab".repeat(32), "bytes": 5 }));
        for value in [time, blob] {
            assert_eq!(from_json(&to_json(&value)), Ok(value));
        }
        for lookalike in [["$blob", "bytes"], ["bytes", "$blob"], ["$blob", "other"]] {
            let pairs = lookalike.map(|key| (Value::Text(key.into()), Value::Int(1)));
            let map = Value::Map(pairs.into());
            assert_eq!(from_json(&to_json(&map)), Ok(map));
        }
    }

    #[test]
    fn wrong_tags_are_named() {
        assert_eq!(
            from_json(&json!({ "$ref": "12" })),
            Err(JsonError::Form("$ref".into()))
        );
        assert_eq!(
            from_json(&json!({ "$what": 1 })),
            Err(JsonError::Form("$what".into()))
        );
        assert_eq!(
            from_json(&json!({ "$bytes": "0" })),
            Err(JsonError::Form("$bytes".into()))
        );
        for (tag, wrong) in [
            ("$time", json!({ "$time": "2026-11-21" })),
            ("$time", json!({ "$time": 5 })),
            ("$blob", json!({ "$blob": "ab" })),
            ("$blob", json!({ "$blob": "ab", "bytes": 1 })),
            ("$blob", json!({ "$blob": "ab".repeat(32), "bytes": -1 })),
        ] {
            assert_eq!(from_json(&wrong), Err(JsonError::Form(tag.into())), "{wrong}");
        }
    }
}
