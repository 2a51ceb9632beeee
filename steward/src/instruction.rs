//! An upgrade instruction as `docs/channel.md` draws it: bytes judged into [`Instruction`], or a refusal that says why.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Largest instruction.
pub const LARGEST_BYTES: usize = 65_536;

/// A well-formed instruction of form 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub id: String,
    pub sequence: Option<u64>,
    pub target: Target,
    pub expires_unix: Option<u64>,
}

/// The program that is to become the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Absolute.
    pub path: PathBuf,
    pub digest: Digest,
}

/// 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    Blake3(String),
    Sha256(String),
}

/// Why an instruction is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable word of `docs/channel.md`.
    pub reason: &'static str,
    pub message: String,
    /// The instruction's id, when it could be read.
    pub id: Option<String>,
}

impl Refusal {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            reason,
            message: message.into(),
            id: None,
        }
    }
}

impl Instruction {
    /// Judges the form alone: not time, not history.
    pub fn parse(bytes: &[u8]) -> Result<Instruction, Refusal> {
        if bytes.len() > LARGEST_BYTES {
            return Err(Refusal::new(
                "too_large",
                format!("the file is larger than {LARGEST_BYTES} bytes"),
            ));
        }
        let Strict(document) = serde_json::from_slice(bytes).map_err(|error| {
            let text = error.to_string();
            let reason = if text.starts_with(DUPLICATE) {
                "duplicate_key"
            } else {
                "malformed"
            };
            let whole = if error.is_eof() {
                "; is the file written to its end?"
            } else {
                ""
            };
            Refusal::new(reason, format!("{text}{whole}"))
        })?;
        let Value::Object(mut keys) = document else {
            return Err(Refusal::new(
                "malformed",
                "the file holds JSON, but not an object",
            ));
        };
        let id = keys
            .get("id")
            .and_then(Value::as_str)
            .filter(|id| is_id(id))
            .map(str::to_owned);
        Instruction::check(&mut keys).map_err(|refusal| Refusal { id, ..refusal })
    }

    fn check(keys: &mut Map<String, Value>) -> Result<Instruction, Refusal> {
        match whole("schema", required(keys, "", "schema")?)? {
            1 => {}
            other => {
                let message = format!("schema is {other}; this steward knows 1");
                return Err(Refusal::new("unsupported_schema", message));
            }
        }
        let id = text("id", required(keys, "", "id")?)?;
        if !is_id(&id) {
            return Err(bad("id", "1 to 64 of the characters A-Z a-z 0-9 . _ -"));
        }
        let sequence = keys
            .remove("sequence")
            .map(|value| whole("sequence", value))
            .transpose()?;
        let expires_unix = keys
            .remove("expires")
            .map(|value| whole("expires", value))
            .transpose()?;
        let Value::Object(mut target) = required(keys, "", "target")? else {
            return Err(bad("target", "an object"));
        };
        nothing_left(keys, "")?;
        let target = Target::check(&mut target)?;
        Ok(Instruction {
            id,
            sequence,
            target,
            expires_unix,
        })
    }
}

impl Target {
    fn check(keys: &mut Map<String, Value>) -> Result<Target, Refusal> {
        let kind = text("target.kind", required(keys, "target.", "kind")?)?;
        if kind != "kernel" {
            let message = format!("target.kind is {kind:?}; this steward can replace the kernel only");
            return Err(Refusal::new("unsupported_target", message));
        }
        let path = PathBuf::from(text("target.path", required(keys, "target.", "path")?)?);
        if !path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(bad("target.path", "an absolute path"));
        }
        let digest = match (keys.remove("blake3"), keys.remove("sha256")) {
            (Some(value), None) => Digest::Blake3(hexadecimal("target.blake3", value)?),
            (None, Some(value)) => Digest::Sha256(hexadecimal("target.sha256", value)?),
            (None, None) => {
                return Err(Refusal::new(
                    "missing_key",
                    "target.blake3 or target.sha256 is missing",
                ));
            }
            (Some(_), Some(_)) => return Err(bad("target", "of blake3 and sha256 exactly one")),
        };
        nothing_left(keys, "target.")?;
        Ok(Target { path, digest })
    }
}

fn is_id(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(known)
}

fn required(keys: &mut Map<String, Value>, within: &str, key: &str) -> Result<Value, Refusal> {
    keys.remove(key)
        .ok_or_else(|| Refusal::new("missing_key", format!("{within}{key} is missing")))
}

fn nothing_left(keys: &Map<String, Value>, within: &str) -> Result<(), Refusal> {
    match keys.keys().next() {
        Some(key) => {
            let key: String = key.chars().take(64).collect();
            Err(Refusal::new(
                "unknown_key",
                format!("{within}{key} is no key of an instruction"),
            ))
        }
        None => Ok(()),
    }
}

fn bad(key: &str, expected: &str) -> Refusal {
    Refusal::new("bad_value", format!("{key} is not what it must be: {expected}"))
}

fn text(key: &str, value: Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(bad(key, "text")),
    }
}

fn whole(key: &str, value: Value) -> Result<u64, Refusal> {
    match value.as_u64() {
        Some(number) if i64::try_from(number).is_ok() => Ok(number),
        _ => Err(bad(key, "an integer from 0 to 2^63-1")),
    }
}

fn hexadecimal(key: &str, value: Value) -> Result<String, Refusal> {
    let digits = text(key, value)?;
    match digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(digits.to_ascii_lowercase()),
        false => Err(bad(key, "64 hexadecimal digits")),
    }
}

/// What the message of a refused second key begins with.
const DUPLICATE: &str = "a key stands twice";

/// JSON in which no key stands twice in one object, at any depth.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("{DUPLICATE}: {key}")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    /// The text with `H` for a digest; `expected` is the reason, or empty for a good instruction.
    fn check(text: &str, expected: &str) {
        let text = text.replace('H', HEX);
        match Instruction::parse(text.as_bytes()) {
            Ok(_) => assert_eq!("", expected, "{text}"),
            Err(refusal) => assert_eq!(refusal.reason, expected, "{text}: {}", refusal.message),
        }
    }

    #[test]
    fn a_good_instruction_is_read() {
        let text = format!(
            r#" {{"schema":1,"id":"a.B_c-9","sequence":7,"expires":99,
                 "target":{{"kind":"kernel","path":"/opt/kernel","sha256":"{}"}}}} "#,
            HEX.to_uppercase()
        );
        let expected = Instruction {
            id: "a.B_c-9".into(),
            sequence: Some(7),
            target: Target {
                path: "/opt/kernel".into(),
                digest: Digest::Sha256(HEX.into()),
            },
            expires_unix: Some(99),
        };
        assert_eq!(Instruction::parse(text.as_bytes()), Ok(expected));
        check(
            r#"{"schema":1,"id":"a","target":{"kind":"kernel","path":"/k","blake3":"H"}}"#,
            "",
        );
    }

    #[test]
    fn bad_forms_are_refused_with_their_reason() {
        let target = r#"{"kind":"kernel","path":"/k","blake3":"H"}"#;
        for (text, reason) in [
            ("", "malformed"),
            ("   ", "malformed"),
            ("\u{feff}{}", "malformed"),
            ("null", "malformed"),
            ("[]", "malformed"),
            ("\"text\"", "malformed"),
            ("{", "malformed"),
            (r#"{"schema":1,"id":"a","target":{"kind":"ker"#, "malformed"),
            (r#"{"schema":1,"id":"a","target":TARGET"#, "malformed"),
            (r#"{"schema":1,"id":"a","target":TARGET}}"#, "malformed"),
            (r#"{"schema":1,"id":"a","target":TARGET}{}"#, "malformed"),
            (r#"{"schema":1,"id":"a","target":TARGET,}"#, "malformed"),
            (r#"{'schema':1}"#, "malformed"),
            (r#"{"schema":NaN}"#, "malformed"),
            (r#"{}"#, "missing_key"),
            (r#"{"schema":1,"target":TARGET}"#, "missing_key"),
            (r#"{"schema":1,"id":"a"}"#, "missing_key"),
            (r#"{"id":"a","target":TARGET}"#, "missing_key"),
            (r#"{"schema":2,"id":"a","target":TARGET}"#, "unsupported_schema"),
            (r#"{"schema":"1","id":"a","target":TARGET}"#, "bad_value"),
            (r#"{"schema":1.0,"id":"a","target":TARGET}"#, "bad_value"),
            (r#"{"schema":true,"id":"a","target":TARGET}"#, "bad_value"),
            (r#"{"schema":1,"id":"","target":TARGET}"#, "bad_value"),
            (r#"{"schema":1,"id":"a/b","target":TARGET}"#, "bad_value"),
            (r#"{"schema":1,"id":"a b","target":TARGET}"#, "bad_value"),
            (r#"{"schema":1,"id":"é","target":TARGET}"#, "bad_value"),
            (r#"{"schema":1,"id":7,"target":TARGET}"#, "bad_value"),
            (r#"{"schema":1,"id":null,"target":TARGET}"#, "bad_value"),
            (
                r#"{"schema":1,"id":"a","sequence":-1,"target":TARGET}"#,
                "bad_value",
            ),
            (
                r#"{"schema":1,"id":"a","sequence":9223372036854775808,"target":TARGET}"#,
                "bad_value",
            ),
            (
                r#"{"schema":1,"id":"a","sequence":1e3,"target":TARGET}"#,
                "bad_value",
            ),
            (
                r#"{"schema":1,"id":"a","expires":"tomorrow","target":TARGET}"#,
                "bad_value",
            ),
            (r#"{"schema":1,"id":"a","target":[]}"#, "bad_value"),
            (
                r#"{"schema":1,"id":"a","target":TARGET,"steps":[]}"#,
                "unknown_key",
            ),
            (
                r#"{"schema":1,"id":"a","id":"a","target":TARGET}"#,
                "duplicate_key",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"kernel","kind":"kernel"}}"#,
                "duplicate_key",
            ),
            (
                r#"{"schema":1,"id":"a","x":[{"y":1,"y":1}],"target":TARGET}"#,
                "duplicate_key",
            ),
            (r#"{"schema":1,"id":"a","target":{}}"#, "missing_key"),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"model","path":"/k","blake3":"H"}}"#,
                "unsupported_target",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"","path":"/k","blake3":"H"}}"#,
                "unsupported_target",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"kernel","blake3":"H"}}"#,
                "missing_key",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"kernel","path":"/k"}}"#,
                "missing_key",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"kernel","path":"k","blake3":"H"}}"#,
                "bad_value",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"kernel","path":"","blake3":"H"}}"#,
                "bad_value",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"kernel","path":"/k\u0000","blake3":"H"}}"#,
                "bad_value",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"kernel","path":"/k","blake3":"HH"}}"#,
                "bad_value",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"kernel","path":"/k","blake3":"xyz"}}"#,
                "bad_value",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"kernel","path":"/k","blake3":"H","sha256":"H"}}"#,
                "bad_value",
            ),
            (
                r#"{"schema":1,"id":"a","target":{"kind":"kernel","path":"/k","blake3":"H","mode":7}}"#,
                "unknown_key",
            ),
        ] {
            check(&text.replace("TARGET", target), reason);
        }
    }

    #[test]
    fn bytes_that_are_no_text_and_text_without_end_are_refused() {
        let refused = |bytes: &[u8]| Instruction::parse(bytes).unwrap_err();
        assert_eq!(refused(&[0xFF, 0xFE, 0x00]).reason, "malformed");
        assert_eq!(refused(&[b'x'; LARGEST_BYTES + 1]).reason, "too_large");
        assert_eq!(refused("[".repeat(60_000).as_bytes()).reason, "malformed");
        assert!(refused(br#"{"schema":1"#).message.contains("written to its end"));
        assert_eq!(
            refused(br#"{"schema":9,"id":"known"}"#).id.as_deref(),
            Some("known")
        );
    }
}
