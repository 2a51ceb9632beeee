//! What stands on the command line for a value or a source: JSON, `@FILE`, `-`, a path. Everything is bounded.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value as Json;
use shared::json::from_json;
use shared::object::is_slot_name;
use shared::value::Value;

use crate::failure::Failure;

/// Largest value or source that is read; what one frame can carry.
const MAX_BYTES: u64 = 16 << 20;
/// How much of a bad argument an error repeats.
const SHOWN_CHARS: usize = 60;

/// The value that an argument means.
pub fn value(text: &str) -> Result<Value, Failure> {
    match text.strip_prefix('@') {
        _ if text == "-" => parse(&read_standard_input()?),
        Some(path) => parse(&read_file(Path::new(path))?),
        None => parse(text),
    }
}

/// The slot and value that `SLOT=JSON` means.
pub fn slot(text: &str) -> Result<(String, Value), Failure> {
    let (name, json) = text.split_once('=').ok_or_else(|| {
        Failure::usage(format!(
            "{} has no '='; a slot is written SLOT=JSON, such as balance=0",
            shown(text)
        ))
    })?;
    if !is_slot_name(name) {
        return Err(Failure::usage(format!(
            "{} cannot name a slot; use ASCII letters, digits and '_', not beginning with a digit or '__'",
            shown(name)
        )));
    }
    Ok((name.to_owned(), value(json)?))
}

/// The Python source in a file, or in standard input for `-`.
pub fn source(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        read_standard_input()?
    } else {
        read_file(path)?
    };
    match text.contains('\0') {
        true => Err(Failure::usage(format!(
            "{} holds a zero byte: it is not Python source",
            path.display()
        ))),
        false => Ok(text),
    }
}

/// The value of one JSON document.
pub fn parse(text: &str) -> Result<Value, Failure> {
    if text.len() as u64 > MAX_BYTES {
        return Err(too_large("an argument"));
    }
    let json: Json = serde_json::from_str(text).map_err(|error| not_json(text, &error))?;
    of_document(&json, text)
}

/// The value of a parsed document; `text` is what it was read from, for the error.
pub fn of_document(json: &Json, text: &str) -> Result<Value, Failure> {
    from_json(json).map_err(|error| Failure::usage(format!("{} cannot be a value: {error}", shown(text))))
}

/// Why a text is not JSON, with the hint that helps most people.
pub fn not_json(text: &str, error: &serde_json::Error) -> Failure {
    let shown = shown(text);
    let said = error.to_string();
    if said.contains("recursion limit") {
        return Failure::usage(format!(
            "{shown} is nested deeper than {} levels",
            shared::value::MAX_DEPTH
        ));
    }
    let bare = !text.is_empty()
        && text.chars().count() <= SHOWN_CHARS
        && !text.contains(['"', '\'', '\\', '{', '[', '\n'])
        && text.parse::<f64>().is_err();
    match bare {
        true => Failure::usage(format!("{shown} is not JSON; text needs quotes: '\"{text}\"'")),
        false => Failure::usage(format!("{shown} is not JSON: {said}")),
    }
}

/// The text of a file of bounded size.
pub fn read_file(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!(
            "{} is a folder; name a file",
            path.display()
        )));
    }
    let file = File::open(path).map_err(failed)?;
    read(file, &path.display().to_string())
}

fn read_standard_input() -> Result<String, Failure> {
    read(io::stdin().lock(), "standard input")
}

fn read(from: impl Read, what: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("cannot read {what}: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large(what));
    }
    String::from_utf8(bytes).map_err(|error| {
        Failure::usage(format!(
            "{what} is not UTF-8 text (byte {})",
            error.utf8_error().valid_up_to()
        ))
    })
}

fn too_large(what: &str) -> Failure {
    Failure::too_large(format!(
        "{what} is larger than the {MAX_BYTES} bytes (16 MiB) that are allowed"
    ))
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        None => format!("'{text}'"),
        Some((cut, _)) => format!("'{}…' ({} bytes)", &text[..cut], text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(result: Result<Value, Failure>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn json_is_a_value_and_bare_words_get_a_hint() {
        assert_eq!(
            value("[1,\"a\"]").unwrap(),
            Value::List(vec![Value::Int(1), Value::Text("a".into())])
        );
        assert_eq!(
            refusal(value("abc")),
            "'abc' is not JSON; text needs quotes: '\"abc\"'"
        );
        assert!(refusal(value("{\"a\":}")).contains("is not JSON: "));
        assert!(!refusal(value("")).contains("quotes"));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        for depth in [100, 10_000, 1_000_000] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert!(refusal(value(&text)).contains("nested deeper than 64"), "{depth}");
        }
    }

    #[test]
    fn files_are_bounded_and_must_be_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let at = |path: &Path| format!("@{}", path.display());
        std::fs::write(&path, "{\"a\":1}\n").unwrap();
        assert_eq!(value(&at(&path)).unwrap(), parse("{\"a\":1}").unwrap());
        std::fs::write(&path, [0xFF, 0xFE]).unwrap();
        assert!(refusal(value(&at(&path))).contains("not UTF-8"));
        File::create(&path).unwrap().set_len(100 << 20).unwrap();
        let failure = value(&at(&path)).unwrap_err();
        assert_eq!(failure.document()["reason"], "too_large");
        assert!(refusal(value(&at(folder.path()))).contains("is a folder"));
        assert!(
            source(&folder.path().join("none"))
                .unwrap_err()
                .to_string()
                .contains("cannot read")
        );
    }

    #[test]
    fn slots_are_named_and_valued() {
        assert_eq!(
            slot("a=\"x=y\"").unwrap(),
            ("a".into(), Value::Text("x=y".into()))
        );
        for bad in ["a", "1a=1", "__a=1", "=1", "a=x"] {
            assert!(slot(bad).is_err(), "{bad}");
        }
    }
}
