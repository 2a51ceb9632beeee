//! From an object to text.

use std::fmt::Write as _;

use shared::id::ObjectId;
use shared::json::to_hex;
use shared::time;
use shared::value::Value;

use super::{Description, read};

/// A list, a map or a text whose one-line form is longer is spread over lines.
const LINE_CHARS: usize = 100;

/// How the file names an object.
type Names<'a> = dyn Fn(ObjectId) -> String + 'a;

/// The file that describes an object; [`read()`] makes just the same of it, when it understands the names.
pub fn write(description: &Description, names: &Names<'_>) -> String {
    let mut out = String::new();
    let mut after_def = false;
    for (at, (name, value)) in description.slots.iter().enumerate() {
        let text = slot(name, value, at == 0, names);
        let is_def = matches!(value, Value::Method(_)) && text.starts_with("def ");
        if at > 0 && (is_def || after_def) {
            out.push_str("\n\n");
        }
        out.push_str(&text);
        after_def = is_def;
    }
    for (at, (key, value)) in description.entries.iter().enumerate() {
        if at == 0 && !out.is_empty() {
            out.push_str(if after_def { "\n\n" } else { "\n" });
        }
        // The bytes of a key are those of a value, unless they came from a damaged file.
        let key = literal(&key.value().unwrap_or(Value::None), 0, names);
        let _ = writeln!(out, "entry({key}, {})", literal(value, 0, names));
    }
    out
}

/// The statement of a slot.
fn slot(name: &str, value: &Value, is_first: bool, names: &Names<'_>) -> String {
    if let (true, "comment", Value::Text(text)) = (is_first, name, value)
        && text.trim_end() == text
    {
        return format!("{}\n", docstring(text));
    }
    let plain = match value {
        Value::Method(source) => source.clone(),
        value => format!("{name} = {}\n", literal(value, 0, names)),
    };
    // A name can be a keyword, and a source can be more, less or other than one def: then a call tells it.
    let nobody = |_: &str| Ok(ObjectId(0));
    let is_read = read(&plain, &nobody).is_ok_and(|read| match (&read.slots[..], value) {
        ([(found, Value::Method(text))], Value::Method(source)) => found == name && text == source,
        ([(found, _)], value) => found == name && !matches!(value, Value::Method(_)),
        _ => false,
    });
    match (is_read, value) {
        (true, _) => plain,
        (false, Value::Method(source)) if read(&format!("{name} = None\n"), &nobody).is_ok() => {
            format!("{name} = method({})\n", text(source, 0))
        }
        (false, value) => format!("slot({}, {})\n", quoted(name), literal(value, 0, names)),
    }
}

fn literal(value: &Value, indent: usize, names: &Names<'_>) -> String {
    match value {
        Value::List(items) => {
            let items = items.iter().map(|item| literal(item, indent + 4, names));
            spread('[', &items.collect::<Vec<_>>(), ']', indent)
        }
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| {
                let (key, value) = (literal(key, indent + 4, names), literal(value, indent + 4, names));
                format!("{key}: {value}")
            });
            spread('{', &pairs.collect::<Vec<_>>(), '}', indent)
        }
        Value::None => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Int(int) => int.to_string(),
        Value::Big(digits) => digits.clone(),
        Value::Float(float) => number(*float),
        Value::Text(text) => self::text(text, indent),
        Value::Bytes(bytes) => in_bytes(bytes),
        Value::Ref(id) => format!("ref({})", quoted(&names(*id))),
        Value::Method(source) => format!("method({})", text(source, indent)),
        Value::Time(us) => format!("time({})", quoted(&time::to_text(*us))),
        Value::Blob(blob) => format!("blob({}, {})", quoted(&to_hex(&blob.digest)), blob.bytes),
    }
}

/// In one line, or an item a line.
fn spread(open: char, items: &[String], close: char, indent: usize) -> String {
    let flat = format!("{open}{}{close}", items.join(", "));
    if flat.chars().count() + indent <= LINE_CHARS && !flat.contains('\n') || items.is_empty() {
        return flat;
    }
    let pad = " ".repeat(indent + 4);
    let lines: String = items.iter().map(|item| format!("{pad}{item},\n")).collect();
    format!("{open}\n{lines}{}{close}", " ".repeat(indent))
}

/// The shortest digits that are this number.
fn number(float: f64) -> String {
    const PLAIN_NAN: u64 = 0x7ff8_0000_0000_0000;
    if float.is_finite() {
        return format!("{float:?}");
    }
    match float.to_bits() {
        PLAIN_NAN => "float(\"nan\")".into(),
        _ if float == f64::INFINITY => "float(\"inf\")".into(),
        _ if float == f64::NEG_INFINITY => "float(\"-inf\")".into(),
        bits => format!("float_bits({})", quoted(&to_hex(&bits.to_be_bytes()))),
    }
}

/// A text of several lines stands line by line.
fn text(text: &str, indent: usize) -> String {
    let is_one = !text.trim_end_matches('\n').contains('\n');
    if is_one || text.len() + indent <= LINE_CHARS / 2 {
        return quoted(text);
    }
    let pad = " ".repeat(indent + 4);
    let lines: String = text
        .split_inclusive('\n')
        .map(|line| format!("{pad}{}\n", quoted(line)))
        .collect();
    format!("(\n{lines}{})", " ".repeat(indent))
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            other => escape(other, &mut out),
        }
    }
    out.push('"');
    out
}

/// The first slot `comment`; what ends the quotes is escaped.
fn docstring(text: &str) -> String {
    let mut out = String::from("\"\"\"");
    let mut quotes = 0;
    for (at, character) in text.char_indices() {
        quotes = if character == '"' { quotes + 1 } else { 0 };
        match character {
            '"' if quotes == 3 || at + 1 == text.len() => {
                out.push_str("\\\"");
                quotes = 0;
            }
            '"' | '\n' => out.push(character),
            other => escape(other, &mut out),
        }
    }
    out.push_str("\"\"\"");
    out
}

/// A character that could be lost, or that reads otherwise than it is, as an escape.
fn escape(character: char, out: &mut String) {
    let is_unseen = character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    let code = u32::from(character);
    match character {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ if !is_unseen => out.push(character),
        _ if code < 0x100 => drop(write!(out, "\\x{code:02x}")),
        _ if code < 0x10000 => drop(write!(out, "\\u{code:04x}")),
        _ => drop(write!(out, "\\U{code:08x}")),
    }
}

fn in_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("b\"");
    for byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(*byte)),
            other => drop(write!(out, "\\x{other:02x}")),
        }
    }
    out.push('"');
    out
}
