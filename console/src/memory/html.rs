//! HTML: the text of its blocks, with their bytes in the file; scripts and styles are left out.

use std::fs::File;
use std::io::Read;

use html5gum::{DefaultEmitter, Span, Token, Tokenizer};
use shared::bridge::{Passage, PassageKind};

use super::lines::Looked;

/// A page is read as a whole, up to so many bytes.
const MOST: u64 = 64 << 20;
/// Elements whose text nobody reads.
const SILENT: [&[u8]; 7] = [
    b"script",
    b"style",
    b"noscript",
    b"template",
    b"svg",
    b"math",
    b"iframe",
];
/// Elements that stand within a line; all others end a block.
const INLINE: [&[u8]; 30] = [
    b"a", b"abbr", b"acronym", b"b", b"bdi", b"bdo", b"big", b"cite", b"code", b"data", b"del", b"dfn",
    b"em", b"font", b"i", b"ins", b"kbd", b"label", b"mark", b"q", b"s", b"samp", b"small", b"span",
    b"strong", b"sub", b"sup", b"time", b"u", b"var",
];

/// The passages of a page.
pub fn passages(file: File, looked: &Looked) -> Result<Vec<Passage>, String> {
    let mut bytes = Vec::new();
    file.take(MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > MOST {
        return Err(format!("a page of HTML may have {} MiB", MOST >> 20));
    }
    match looked {
        Looked::Text(encoding) if *encoding != encoding_rs::UTF_8 => {
            let (text, _) = encoding.decode_with_bom_removal(&bytes);
            // Bytes are those of the text as it is read.
            Ok(blocks(&text))
        }
        _ => Ok(blocks(&String::from_utf8_lossy(&bytes))),
    }
}

fn blocks(page: &str) -> Vec<Passage> {
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    emitter.naively_switch_states(true);
    let mut blocks = Blocks::default();
    for token in Tokenizer::new_with_emitter(page, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => blocks.open(&tag.name, tag.self_closing),
            Token::EndTag(tag) => blocks.close(&tag.name),
            Token::String(text) => blocks.text(&String::from_utf8_lossy(&text.value), text.span),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    blocks.end();
    blocks.found
}

#[derive(Default)]
struct Blocks {
    found: Vec<Passage>,
    text: String,
    begin: usize,
    until: usize,
    /// How deep inside of an element whose text nobody reads, and which.
    silent: usize,
    silenced_by: Vec<u8>,
    is_heading: bool,
}

impl Blocks {
    fn open(&mut self, name: &[u8], is_closed: bool) {
        if self.silent > 0 {
            self.silent += usize::from(name == self.silenced_by && !is_closed);
            return;
        }
        if SILENT.contains(&name) && !is_closed {
            self.silent = 1;
            self.silenced_by = name.to_vec();
            return;
        }
        match INLINE.contains(&name) {
            true => {}
            false if name == b"br" => self.text.push(' '),
            false => {
                self.end();
                self.is_heading = matches!(name, [b'h', b'1'..=b'6'] | b"title");
            }
        }
    }

    fn close(&mut self, name: &[u8]) {
        if self.silent > 0 {
            self.silent -= usize::from(name == self.silenced_by);
        } else if !INLINE.contains(&name) {
            self.end();
        }
    }

    fn text(&mut self, text: &str, span: Span<usize>) {
        if self.silent > 0 {
            return;
        }
        if self.text.trim().is_empty() {
            self.text.clear();
            self.begin = span.start;
        }
        self.until = span.end;
        self.text.push_str(text);
    }

    fn end(&mut self) {
        let words: Vec<&str> = self.text.split_whitespace().collect();
        let kind = match self.is_heading {
            true => PassageKind::Heading,
            false => PassageKind::Prose,
        };
        if !words.is_empty() {
            self.found.push(Passage {
                begin: self.begin as u64,
                end: self.until as u64,
                text: words.join(" "),
                kind,
                is_verbatim: false,
                at: None,
            });
            self.is_heading = false;
        }
        self.text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_and_scripts_are_not() {
        let page = "<!doctype html><html><head><title>A &amp; B</title><style>p { }</style></head><body><h1>One</h1>\
                    <p>first <b>bold</b>\n text</p><script>var x = '<p>no</p>';</script><ul><li>a<li>b</ul></body>";
        let found = blocks(page);
        let told: Vec<(&str, PassageKind)> = found
            .iter()
            .map(|passage| (passage.text.as_str(), passage.kind))
            .collect();
        assert_eq!(
            told,
            [
                ("A & B", PassageKind::Heading),
                ("One", PassageKind::Heading),
                ("first bold text", PassageKind::Prose),
                ("a", PassageKind::Prose),
                ("b", PassageKind::Prose),
            ]
        );
        let first = &found[2];
        let own = &page[first.begin as usize..first.end as usize];
        assert!(own.starts_with("first") && own.ends_with("text"), "{own:?}");
        assert!(blocks("<p>never closed <script>").len() == 1);
    }
}
