//! The text of a grammar of Python, from `python.lark`: narrowed to one message, or wide.

use std::fmt::Write;

use shared::inference::{ANY_SLOT, MethodGrammar};

const PYTHON: &str = include_str!("python.lark");
/// As deep as the guard lets blocks be.
const DEPTHS: u32 = 12;
const MAX_SLOTS: usize = 4096;
const MAX_NAME_BYTES: usize = 100;
/// As many parameters as a method of the guard's can have with reason.
const MAX_ARGUMENTS: u32 = 64;

/// The grammar of a method, or what is wrong with the wish. `is_special` tells whether a text is a token of its own.
pub fn method(wish: &MethodGrammar, is_special: impl Fn(&str) -> bool) -> Result<String, String> {
    let MethodGrammar {
        selector,
        arguments,
        slots,
        refusal,
    } = wish;
    if !is_name(selector) {
        return Err(format!(
            "the selector {selector:?} is not a name that a method can have"
        ));
    }
    if *arguments > MAX_ARGUMENTS {
        return Err(format!(
            "the message has {arguments} arguments, {MAX_ARGUMENTS} at most"
        ));
    }
    if slots.len() > MAX_SLOTS {
        return Err(format!("there are {} slots, {MAX_SLOTS} at most", slots.len()));
    }
    let mut text = form("narrow");
    let _ = writeln!(text, "SELECTOR: {selector:?}");
    // A slot that is no name cannot be written as `self.name`: it is left out.
    let names: Vec<String> = slots
        .iter()
        .filter(|slot| is_name(slot))
        .map(|slot| format!("{slot:?}"))
        .collect();
    // Without slots a name that is none: a rule cannot be empty.
    let names = if names.is_empty() {
        "\"object_id\"".into()
    } else {
        names.join(" | ")
    };
    let names = match slots.iter().any(|slot| slot == ANY_SLOT) {
        true => "/[a-zA-Z][a-zA-Z0-9_]*/".into(),
        false => names,
    };
    let _ = writeln!(text, "SLOT: {names}");
    let _ = writeln!(text, "parameters: {}", parameters(*arguments));
    let refusal = match refusal {
        Some(words) if words.starts_with('<') && words.ends_with('>') && is_special(words) => {
            format!("{words} REFUSAL")
        }
        Some(words) if !words.is_empty() => format!("{} REFUSAL", literal(words)),
        _ => "method".into(),
    };
    let _ = writeln!(text, "refusal: {refusal}\nREFUSAL: CHARACTER{{0,200}}");
    Ok(text)
}

/// The grammar of any function: what the standard library is held to.
#[cfg(test)]
pub fn wide() -> String {
    form("wide")
}

/// The lines of one form, those of each depth repeated.
fn form(wanted: &str) -> String {
    let lines: Vec<&str> = PYTHON.lines().filter(|line| belongs(line, wanted)).collect();
    let at = |mark: &str| lines.iter().position(|line| *line == mark).unwrap_or(lines.len());
    let (from, to) = (at("// each depth"), at("// end"));
    let mut text = String::with_capacity(64 << 10);
    let mut write = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    lines[..from].iter().for_each(|line| write(line));
    for depth in 1..=DEPTHS {
        for line in &lines[from..to] {
            if depth < DEPTHS || !line.contains("{e}") {
                write(
                    &line
                        .replace("{d}", &depth.to_string())
                        .replace("{e}", &(depth + 1).to_string()),
                );
            }
        }
    }
    lines[to..].iter().for_each(|line| write(line));
    text
}

fn belongs(line: &str, wanted: &str) -> bool {
    let words = line.rsplit_once("// ").map_or("", |(_, words)| words);
    let mut words = words.split(' ').filter(|word| matches!(*word, "wide" | "narrow"));
    words.next().is_none_or(|word| word == wanted)
}

/// `self`, then a parameter for each argument, of which the last may have defaults, and more with defaults.
fn parameters(arguments: u32) -> String {
    let plain = " \", \" plain";
    let of = |count: u32| format!("\"self\"{} more_parameters", plain.repeat(count as usize));
    let mut text = of(arguments);
    for count in 0..arguments {
        let defaults = " \", \" default".repeat((arguments - count) as usize);
        let _ = write!(
            text,
            " | \"self\"{}{defaults} more_parameters",
            plain.repeat(count as usize)
        );
    }
    text + "\nmore_parameters: \"\" | more_parameters \", \" default"
}

/// A name that may stand in generated code; the system's own selectors may begin with an underscore.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && text.len() <= MAX_NAME_BYTES
        && !KEYWORDS.contains(&text)
}

const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// A text as a string of Lark's.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
