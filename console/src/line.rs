//! One line of the console: `account deposit 25` is a send; the words that `batos` knows are commands, a few of them the console's own.

use clap::CommandFactory as _;
use serde_json::Value as Json;
use shared::bridge::Call;
use shared::id::ThoughtId;
use shared::object::is_slot_name;
use shared::value::Value;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::literal;

/// Words that the console itself understands when a line begins with them; the other commands of `batos` are programs to it.
pub const OWN: [&str; 15] = [
    "branch", "cancel", "define", "exit", "guard", "help", "inspect", "missions", "new", "quit", "send",
    "set", "status", "thoughts", "why",
];

pub const HELP: &str = "\
RECEIVER SELECTOR [JSON…]        send a message:  genesis display_yourself
                                                  account rename \"savings\"
OBJECT                           the same as inspect OBJECT
inspect OBJECT                   slots, parents, delegation chain
new PARENT [SLOT=JSON…] [--name NAME]   make an object
set OBJECT SLOT JSON             give a slot a value
define OBJECT [FILE]             install a method; without FILE, type it and end by an empty line
guard [FILE]                     what the guard thinks of it; installs nothing
branch new|show|commit|drop NAME, branch list   a what-if, to be committed or thrown away
branch use NAME|main             what follows is said in the branch, or in the image again
thoughts [NUMBER]                what the system has thought
missions   cancel NUMBER         what it thinks about now; end that
why OBJECT SELECTOR              how a method came to be
wish OBJECT [SELECTOR …]         what a method is to do, in words and examples; `help wish` explains them
history OBJECT [SLOT]   log   diff MOMENT MOMENT   undo TRANSACTION   inspect OBJECT --at MOMENT
verify   pack   backup DIR   blob put|get   codex   adapter   memory   upgrade: every command of `batos`, with its options;
                                 `help commands` lists them, `help COMMAND` explains one
send RECEIVER SELECTOR [JSON…]   for receivers that are called like a command
status   help   quit             Ctrl-C leaves a wait (the thought goes on), Ctrl-D quits
Objects: #12, personas.brick, genesis. Text needs its quotes: \"abc\". @FILE reads JSON from a file.";

/// What a line asks for.
#[derive(Debug)]
pub enum Line {
    Empty,
    Help,
    Quit,
    Status,
    Call(Call),
    /// A command line of `batos` without its first word.
    Program(Vec<String>),
    /// What follows is said in this branch; `None` is the image itself.
    Enter(Option<String>),
    /// `None` means that the source is typed below.
    Define {
        object: String,
        file: Option<String>,
    },
    Guard {
        file: Option<String>,
    },
}

/// Reads a line.
pub fn parse(line: &str) -> Result<Line, Failure> {
    let (first, rest) = word(line);
    let has_options = rest.split_whitespace().any(|word| word.starts_with("--"));
    match first {
        "" => Ok(Line::Empty),
        "help" | "?" => match rest {
            "" => Ok(Line::Help),
            "commands" => Ok(Line::Program(vec!["help".to_owned()])),
            command => program("help", command),
        },
        "console" => Err(Failure::usage("this is the console")),
        "inspect" | "status" | "thoughts" if has_options => program(first, rest),
        "quit" | "exit" => alone(rest, Line::Quit),
        "status" => alone(rest, Line::Status),
        "thoughts" => thoughts(rest),
        "missions" => alone(rest, Line::Call(Call::Missions)),
        "cancel" => match number(rest)? {
            Some(id) => Ok(Line::Call(Call::Cancel { id })),
            None => Err(Failure::usage("cancel NUMBER; `missions` lists them")),
        },
        "why" => {
            let (object, rest) = word(rest);
            let (selector, surplus) = word(rest);
            needed(selector, "why OBJECT SELECTOR")?;
            let (object, selector) = (object.to_owned(), selector.to_owned());
            alone(surplus, Line::Call(Call::Why { object, selector }))
        }
        "branch" => branch(rest),
        "inspect" => inspect(rest),
        "set" => set(rest),
        "new" => new(rest),
        "define" => {
            let (object, file) = word(rest);
            needed(object, "define OBJECT [FILE]")?;
            Ok(Line::Define {
                object: object.to_owned(),
                file: optional(file),
            })
        }
        "guard" => Ok(Line::Guard { file: optional(rest) }),
        "send" => {
            let (receiver, rest) = word(rest);
            let (selector, _) = word(rest);
            needed(selector, "send RECEIVER SELECTOR [JSON…]")?;
            send(receiver, rest)
        }
        command if is_program(command) => program(command, rest),
        object if rest.is_empty() => Ok(Line::Call(Call::Inspect {
            object: object.to_owned(),
        })),
        receiver => send(receiver, rest),
    }
}

/// Whether `batos` has a command of this name.
fn is_program(word: &str) -> bool {
    programs().iter().any(|name| name == word)
}

/// The commands of `batos` that the console has no form of its own for.
pub fn programs() -> Vec<String> {
    let names = Arguments::command();
    let names = names
        .get_subcommands()
        .map(|command| command.get_name().to_owned());
    names
        .filter(|name| !OWN.contains(&name.as_str()) && name != "console")
        .collect()
}

fn program(command: &str, rest: &str) -> Result<Line, Failure> {
    let mut words = vec![command.to_owned()];
    words.extend(quoted_words(rest)?);
    Ok(Line::Program(words))
}

/// Words as a shell would divide them; `#12` needs no quotes here.
fn quoted_words(mut text: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    while !text.trim_start().is_empty() {
        text = text.trim_start();
        let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'));
        let (found, rest) = match quote {
            Some(quote) => text[1..]
                .split_once(quote)
                .ok_or_else(|| Failure::usage(format!("a {quote} is missing at the end of {text}")))?,
            None => word(text),
        };
        words.push(found.to_owned());
        text = rest;
    }
    Ok(words)
}

fn send(receiver: &str, rest: &str) -> Result<Line, Failure> {
    let (selector, rest) = word(rest);
    Ok(Line::Call(Call::Send {
        receiver: receiver.to_owned(),
        selector: selector.to_owned(),
        arguments: values(rest)?,
        deadline_ms: None,
    }))
}

fn thoughts(rest: &str) -> Result<Line, Failure> {
    Ok(Line::Call(Call::Thoughts { id: number(rest)? }))
}

/// A thought's number, or nothing.
fn number(rest: &str) -> Result<Option<ThoughtId>, Failure> {
    match rest {
        "" => Ok(None),
        number => number.parse().map(|id| Some(ThoughtId(id))).map_err(|_| {
            Failure::usage(format!(
                "'{number}' is not the number of a thought; `thoughts` lists them"
            ))
        }),
    }
}

fn branch(rest: &str) -> Result<Line, Failure> {
    let form = "branch new|show|commit|drop|use NAME, or branch list";
    let (what, rest) = word(rest);
    if what == "list" {
        return alone(rest, Line::Call(Call::BranchList));
    }
    let (name, surplus) = word(rest);
    needed(name, form)?;
    let name = name.to_owned();
    let line = match what {
        "new" => Line::Call(Call::BranchNew { name }),
        "show" | "diff" => Line::Call(Call::BranchShow { name }),
        "commit" => Line::Call(Call::BranchCommit { name }),
        "drop" => Line::Call(Call::BranchDrop { name }),
        "use" => Line::Enter(Some(name).filter(|name| name != "main")),
        _ => return Err(Failure::usage(format!("'branch {what}' is no command: {form}"))),
    };
    alone(surplus, line)
}

fn inspect(rest: &str) -> Result<Line, Failure> {
    let (object, surplus) = word(rest);
    needed(object, "inspect OBJECT")?;
    alone(
        surplus,
        Line::Call(Call::Inspect {
            object: object.to_owned(),
        }),
    )
}

fn set(rest: &str) -> Result<Line, Failure> {
    let (object, rest) = word(rest);
    let (slot, rest) = word(rest);
    needed(rest, "set OBJECT SLOT JSON")?;
    let (value, surplus) = next_value(rest)?;
    alone(
        surplus,
        Line::Call(Call::Set {
            object: object.to_owned(),
            slot: slot.to_owned(),
            value,
        }),
    )
}

fn new(rest: &str) -> Result<Line, Failure> {
    let form = "new PARENT [SLOT=JSON…] [--name NAME]";
    let (parent, mut rest) = word(rest);
    needed(parent, form)?;
    let (mut slots, mut name): (Vec<(String, Value)>, _) = (Vec::new(), None);
    while !rest.is_empty() {
        if let ("--name", after) = word(rest) {
            let (given, after) = word(after);
            needed(given, form)?;
            (name, rest) = (Some(given.to_owned()), after);
            continue;
        }
        let (slot, after) = rest
            .split_once('=')
            .filter(|(slot, _)| is_slot_name(slot))
            .ok_or_else(|| {
                Failure::usage(format!("'{}' is not SLOT=JSON, such as balance=0", word(rest).0))
            })?;
        if slots.iter().any(|(known, _)| known == slot) {
            return Err(Failure::usage(format!("the slot {slot} is given twice")));
        }
        let (value, after) = next_value(after)?;
        slots.push((slot.to_owned(), value));
        rest = after;
    }
    Ok(Line::Call(Call::New {
        parent: parent.to_owned(),
        slots,
        name,
    }))
}

/// All values that a text holds, one after the other.
fn values(mut text: &str) -> Result<Vec<Value>, Failure> {
    let mut values = Vec::new();
    while !text.is_empty() {
        let (value, rest) = next_value(text)?;
        values.push(value);
        text = rest;
    }
    Ok(values)
}

/// The first value of a text and what follows it.
fn next_value(text: &str) -> Result<(Value, &str), Failure> {
    if text.starts_with('@') {
        let (file, rest) = word(text);
        return Ok((literal::value(file)?, rest));
    }
    // As it would be quoted for a shell.
    if let Some((quoted, rest)) = text.strip_prefix('\'').and_then(|text| text.split_once('\'')) {
        return Ok((
            literal::value(quoted).map_err(Failure::for_console)?,
            rest.trim_start(),
        ));
    }
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Json>();
    match documents.next() {
        Some(Ok(json)) => {
            let (shown, rest) = text.split_at(documents.byte_offset());
            Ok((literal::of_document(&json, shown)?, rest.trim_start()))
        }
        Some(Err(error)) => {
            let shown = if text.starts_with(['"', '[', '{']) {
                text
            } else {
                word(text).0
            };
            Err(literal::not_json(shown, &error).for_console())
        }
        None => Err(Failure::usage("a JSON value is missing")),
    }
}

/// The first word, and the rest without the space between.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

fn optional(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn needed(text: &str, form: &str) -> Result<(), Failure> {
    match text.is_empty() {
        true => Err(Failure::usage(format!("something is missing: {form}"))),
        false => Ok(()),
    }
}

fn alone(rest: &str, line: Line) -> Result<Line, Failure> {
    match rest.is_empty() {
        true => Ok(line),
        false => Err(Failure::usage(format!(
            "'{rest}' is too much; `help` shows the forms"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let found = match parse(line) {
            Ok(Line::Call(call)) => format!("{call:?}"),
            Ok(other) => format!("{other:?}"),
            Err(failure) => format!("{failure}"),
        };
        assert!(found.contains(expected), "{line}: {found}");
    }

    #[test]
    fn lines_mean_what_they_say() {
        check("", "Empty");
        check(
            "  genesis display_yourself ",
            r#"Send { receiver: "genesis", selector: "display_yourself", arguments: []"#,
        );
        check(
            r#"a b 25 "x y" [1, 2] -3"#,
            r#"[Int(25), Text("x y"), List([Int(1), Int(2)]), Int(-3)]"#,
        );
        check("send help me", r#"receiver: "help", selector: "me""#);
        check("#12", r##"Inspect { object: "#12" }"##);
        check(
            "inspect personas.brick",
            r#"Inspect { object: "personas.brick" }"#,
        );
        check(r#"set a b {"c": 1}"#, r#"slot: "b", value: Map("#);
        check(
            r#"new traits a=1 b="x y" --name n c=[]"#,
            r#"slots: [("a", Int(1)), ("b", Text("x y")), ("c", List([]))], name: Some("n")"#,
        );
        check("thoughts 3", "id: Some(ThoughtId(3))");
        check("branch list", "BranchList");
        check("branch commit b", r#"BranchCommit { name: "b" }"#);
        check("branch use b", r#"Enter(Some("b"))"#);
        check("branch use main", "Enter(None)");
        check("define a", "file: None");
        check(r#"account rename '"savings"' 2"#, r#"[Text("savings"), Int(2)]"#);
        check(
            r##"history #12 "a slot" --limit 3"##,
            r##"Program(["history", "#12", "a slot", "--limit", "3"])"##,
        );
        check(
            "inspect a --at -10m",
            r#"Program(["inspect", "a", "--at", "-10m"])"#,
        );
        check("help undo", r#"Program(["help", "undo"])"#);
        check("send log write", r#"receiver: "log""#);
    }

    #[test]
    fn mistakes_are_explained() {
        check("a b abc", "'abc' is not JSON; text needs quotes: \"abc\"");
        check("new traits 1=2", "not SLOT=JSON");
        check("new traits a=1 a=2", "given twice");
        check("set a b", "something is missing");
        check("quit now", "too much");
        check("branch", "something is missing");
        check("branch fly b", "no command");
        check("thoughts x", "not the number");
        check("export 'a -o b", "a ' is missing");
        check("console", "this is the console");
        check(&format!("a b {}", "[".repeat(100_000)), "nested deeper");
    }
}
