//! Text that people write values, places and examples in, read from left to right; docs/wishes.md draws the notation.

use std::fmt;

use serde_json::{Deserializer, Value as Json};

use crate::id::ObjectId;
use crate::json::from_json;
use crate::object::is_slot_name;
use crate::path::{Path, Place, Start, Step};
use crate::value::Value;

/// How much of a text an error repeats.
const SHOWN_CHARS: usize = 24;

const VALUE: &str = "a value in JSON (5, true, null, \"text\", [1, 2])";

/// Where a text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NotationError {
    /// Counted from 1, in characters.
    pub character: usize,
    /// What should stand there.
    pub expected: String,
    /// What stands there, the beginning of it; empty at the end.
    pub found: String,
}

impl fmt::Display for NotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.character;
        match self.found.is_empty() {
            true => write!(f, "at its end (character {at}) {} is expected", self.expected),
            false => write!(
                f,
                "at character {at} {} is expected, and {:?} stands there",
                self.expected, self.found
            ),
        }
    }
}

/// What is not read yet. White space before anything is passed over.
#[derive(Clone)]
pub struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Reader<'a> {
        Reader {
            whole: text,
            rest: text,
        }
    }

    /// Whether nothing but white space is left.
    pub fn is_empty(&mut self) -> bool {
        self.pass_space();
        self.rest.is_empty()
    }

    /// Whether the mark stood next; it is read then.
    pub fn take(&mut self, mark: &str) -> bool {
        self.pass_space();
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    pub fn need(&mut self, mark: &str) -> Result<(), NotationError> {
        match self.take(mark) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{mark}`"))),
        }
    }

    /// The error that something else is expected here.
    pub fn expected(&mut self, what: &str) -> NotationError {
        self.pass_space();
        self.error(what.to_owned())
    }

    /// A name of letters, digits and `_`.
    pub fn name(&mut self) -> Result<String, NotationError> {
        self.pass_space();
        match self.run_of(|c| c.is_ascii_alphanumeric() || c == '_') {
            "" => Err(self.error("a name".to_owned())),
            name => Ok(name.to_owned()),
        }
    }

    /// A slot of an object: `SLOT`, or a path to the object, `.` and `SLOT`.
    pub fn place(&mut self) -> Result<Place, NotationError> {
        let begun = self.here();
        let mut object = self.path()?;
        match object.steps.pop() {
            Some(Step::Slot(slot)) => Ok(Place { object, slot }),
            _ => {
                self.rest = begun;
                Err(self.error("a slot's name at the end of the path".to_owned()))
            }
        }
    }

    /// The way to an object: its start and its steps.
    pub fn path(&mut self) -> Result<Path, NotationError> {
        self.pass_space();
        let mut steps = Vec::new();
        let start = match self.rest.as_bytes().first() {
            Some(b'#') => {
                let begun = self.rest;
                self.rest = &self.rest[1..];
                let digits = self.run_of(|c| c.is_ascii_digit());
                match digits.parse() {
                    Ok(id) => Start::Object(ObjectId(id)),
                    Err(_) => {
                        self.rest = begun;
                        return Err(self.error("an object's id such as #12".to_owned()));
                    }
                }
            }
            Some(digit) if digit.is_ascii_digit() => Start::Argument(self.number("an argument's number", 1)?),
            _ => match self.slot()? {
                own if own == "self" => Start::Receiver,
                slot => {
                    steps.push(Step::Slot(slot));
                    Start::Receiver
                }
            },
        };
        loop {
            if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                steps.push(Step::Slot(self.slot()?));
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                steps.push(Step::Item(self.number("an item's number", 0)?));
                self.need("]")?;
            } else {
                return Ok(Path { start, steps });
            }
        }
    }

    /// A value in its JSON form; what a text that begins with `@` means is up to the caller.
    pub fn value(&mut self) -> Result<Value, NotationError> {
        self.pass_space();
        // A word or a number ends at one of these; a text, a list and a map end by themselves.
        let whole = match self.rest.starts_with(['"', '[', '{']) {
            true => self.rest,
            false => self.rest.split([',', ')', ';', ' ']).next().unwrap_or_default(),
        };
        let mut stream = Deserializer::from_str(whole).into_iter::<Json>();
        let json = match stream.next() {
            Some(Ok(json)) => json,
            Some(Err(error)) if error.is_syntax() || error.is_eof() => {
                return Err(self.error(VALUE.to_owned()));
            }
            Some(Err(error)) => return Err(self.error(format!("a value in JSON ({error})"))),
            None => return Err(self.error(VALUE.to_owned())),
        };
        let value = from_json(&json).map_err(|error| self.error(format!("a value ({error})")))?;
        self.rest = &self.rest[stream.byte_offset()..];
        Ok(value)
    }

    fn slot(&mut self) -> Result<String, NotationError> {
        let begun = self.rest;
        let name = self.run_of(|c| c.is_ascii_alphanumeric() || c == '_');
        match is_slot_name(name) {
            true => Ok(name.to_owned()),
            false => {
                self.rest = begun;
                Err(self.error("a slot's name".to_owned()))
            }
        }
    }

    fn number(&mut self, what: &str, least: usize) -> Result<usize, NotationError> {
        let begun = self.rest;
        match self.run_of(|c| c.is_ascii_digit()).parse() {
            Ok(number) if number >= least => Ok(number),
            _ => {
                self.rest = begun;
                Err(self.error(format!("{what}, counted from {least}")))
            }
        }
    }

    fn run_of(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    fn here(&mut self) -> &'a str {
        self.pass_space();
        self.rest
    }

    fn pass_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn error(&self, expected: String) -> NotationError {
        let read = &self.whole[..self.whole.len() - self.rest.len()];
        NotationError {
            character: read.chars().count() + 1,
            expected,
            found: self.rest.chars().take(SHOWN_CHARS).collect(),
        }
    }
}
