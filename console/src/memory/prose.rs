//! Plain text and Markdown: paragraphs, headings, fenced code.

use shared::bridge::{Passage, PassageKind};

use super::lines::{Line, Lines};

/// A paragraph is handed on in pieces of so many bytes.
const MOST: usize = 16 << 10;

/// Lines that belong together, as they gather.
#[derive(Default)]
pub struct Gathered {
    text: String,
    begin: u64,
    end: u64,
    is_changed: bool,
}

impl Gathered {
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    pub fn push(&mut self, line: &Line) {
        if self.text.is_empty() {
            self.begin = line.begin;
            self.is_changed = false;
        }
        self.end = line.end;
        self.is_changed |= !line.is_verbatim;
        self.text.push_str(&line.text);
    }

    /// What has gathered, as a passage; `None` for nothing but space.
    pub fn take(&mut self, kind: PassageKind) -> Option<Passage> {
        let text = std::mem::take(&mut self.text);
        (!text.trim().is_empty()).then_some(Passage {
            begin: self.begin,
            end: self.end,
            text,
            kind,
            is_verbatim: !self.is_changed,
            at: None,
        })
    }
}

/// Paragraphs, one after the other.
pub struct Prose {
    lines: Lines,
    is_markdown: bool,
    gathered: Gathered,
    /// Inside of a fence: what ends it.
    fence: Option<String>,
    /// Found while something else had to be handed on first.
    next: Option<Passage>,
}

impl Prose {
    pub fn of(lines: Lines, is_markdown: bool) -> Prose {
        Prose {
            lines,
            is_markdown,
            gathered: Gathered::default(),
            fence: None,
            next: None,
        }
    }

    pub fn next(&mut self) -> Result<Option<Passage>, String> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        while let Some(line) = self.lines.next()? {
            if let Some(passage) = self.take(&line) {
                return Ok(Some(passage));
            }
        }
        Ok(self.close())
    }

    fn close(&mut self) -> Option<Passage> {
        let kind = match self.fence {
            Some(_) => PassageKind::Code,
            None => PassageKind::Prose,
        };
        self.gathered.take(kind)
    }

    fn take(&mut self, line: &Line) -> Option<Passage> {
        if self.is_markdown {
            let start = line.text.trim_start();
            if let Some(fence) = &self.fence {
                let is_end = start.starts_with(fence.as_str());
                if is_end {
                    let passage = self.close();
                    self.fence = None;
                    return passage;
                }
                self.gathered.push(line);
                return (self.gathered.bytes() > MOST).then(|| self.close()).flatten();
            }
            if let Some(fence) = ["```", "~~~"].into_iter().find(|fence| start.starts_with(fence)) {
                let passage = self.close();
                self.fence = Some(fence.to_owned());
                return passage;
            }
            if is_heading(start) {
                let passage = self.close();
                self.gathered.push(line);
                let heading = self.gathered.take(PassageKind::Heading);
                if passage.is_some() {
                    self.next = heading;
                    return passage;
                }
                return heading;
            }
        }
        if line.is_blank() {
            return self.close();
        }
        self.gathered.push(line);
        (self.gathered.bytes() > MOST).then(|| self.close()).flatten()
    }
}

fn is_heading(line: &str) -> bool {
    let marks = line.bytes().take_while(|byte| *byte == b'#').count();
    (1..=6).contains(&marks) && line[marks..].starts_with(' ')
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    pub fn passages(text: &'static str, is_markdown: bool) -> Vec<Passage> {
        let lines = Lines::reading(Box::new(Cursor::new(text)), encoding_rs::UTF_8);
        let mut prose = Prose::of(lines, is_markdown);
        let mut found = Vec::new();
        while let Some(passage) = prose.next().unwrap() {
            let own = &text[passage.begin as usize..passage.end as usize];
            assert_eq!(own, passage.text);
            found.push(passage);
        }
        found
    }

    #[test]
    fn markdown_has_headings_and_fences() {
        let text = "Before\n# One\nfirst\nline\n\nsecond\n```rust\nfn a() {}\n\nfn b() {}\n```\nafter\n";
        let found = passages(text, true);
        let told: Vec<(&str, PassageKind)> = found
            .iter()
            .map(|passage| (passage.text.trim(), passage.kind))
            .collect();
        assert_eq!(
            told,
            [
                ("Before", PassageKind::Prose),
                ("# One", PassageKind::Heading),
                ("first\nline", PassageKind::Prose),
                ("second", PassageKind::Prose),
                ("fn a() {}\n\nfn b() {}", PassageKind::Code),
                ("after", PassageKind::Prose),
            ]
        );
        assert_eq!(passages(text, false).len(), 3);
    }
}
