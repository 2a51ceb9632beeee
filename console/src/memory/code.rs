//! Source code by definitions: what begins at the margin with a word that defines, its comments and decorators before it.

use shared::bridge::{Passage, PassageKind};

use super::lines::{Line, Lines};
use super::prose::Gathered;

/// A definition is handed on in pieces of so many bytes.
const MOST: usize = 32 << 10;

/// The first words of definitions, in the languages that are common.
const WORDS: [&str; 45] = [
    "abstract",
    "async",
    "class",
    "const",
    "data",
    "def",
    "defmodule",
    "enum",
    "export",
    "extern",
    "final",
    "fn",
    "func",
    "function",
    "impl",
    "inline",
    "interface",
    "let",
    "local",
    "macro_rules!",
    "mod",
    "module",
    "namespace",
    "object",
    "open",
    "package",
    "private",
    "proc",
    "protected",
    "protocol",
    "pub",
    "public",
    "record",
    "sealed",
    "static",
    "struct",
    "sub",
    "template",
    "trait",
    "type",
    "typedef",
    "union",
    "unsafe",
    "var",
    "void",
];

/// Endings of files of source code.
pub const ENDINGS: [&str; 38] = [
    "rs", "py", "pyi", "js", "mjs", "cjs", "ts", "jsx", "tsx", "java", "kt", "kts", "scala", "c", "h", "cc",
    "cpp", "cxx", "hpp", "hh", "cs", "go", "rb", "php", "swift", "m", "mm", "sh", "bash", "lua", "pl", "pm",
    "ex", "exs", "zig", "jl", "sql", "hs",
];

/// Definitions, one after the other.
pub struct Code {
    lines: Lines,
    gathered: Gathered,
    /// Comments and decorators that belong to what comes next.
    before: Vec<Line>,
    has_definition: bool,
}

impl Code {
    pub fn of(lines: Lines) -> Code {
        Code {
            lines,
            gathered: Gathered::default(),
            before: Vec::new(),
            has_definition: false,
        }
    }

    pub fn next(&mut self) -> Result<Option<Passage>, String> {
        while let Some(line) = self.lines.next()? {
            if let Some(passage) = self.take(line) {
                return Ok(Some(passage));
            }
        }
        self.settle();
        Ok(self.gathered.take(PassageKind::Code))
    }

    fn take(&mut self, line: Line) -> Option<Passage> {
        if begins(&line.text) {
            let passage = match self.has_definition || self.gathered.bytes() > MOST / 8 {
                true => self.gathered.take(PassageKind::Code),
                false => None,
            };
            self.settle();
            self.gathered.push(&line);
            self.has_definition = true;
            return passage;
        }
        if leads(&line.text) {
            self.before.push(line);
            return match self.before.iter().map(|line| line.text.len()).sum::<usize>() > MOST {
                true => {
                    self.settle();
                    self.gathered.take(PassageKind::Code)
                }
                false => None,
            };
        }
        self.settle();
        self.gathered.push(&line);
        (self.gathered.bytes() > MOST)
            .then(|| self.gathered.take(PassageKind::Code))
            .flatten()
    }

    /// What came before belongs to what has gathered.
    fn settle(&mut self) {
        for line in std::mem::take(&mut self.before) {
            self.gathered.push(&line);
        }
    }
}

fn begins(line: &str) -> bool {
    let Some(first) = line.split([' ', '\t', '(', '<', '{', ':', '\n']).next() else {
        return false;
    };
    !first.is_empty() && WORDS.contains(&first)
}

/// A comment, a decorator or an attribute at the margin.
fn leads(line: &str) -> bool {
    ["//", "/*", " *", "*/", "# ", "##", "#!", "#[", "@", "--", ";;"]
        .iter()
        .any(|mark| line.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn definitions_come_with_what_leads_to_them() {
        let text = "import os\n\n# A helper.\n@cached\ndef one(x):\n    def inner():\n        pass\n    return x\n\n\nclass Two:\n    def method(self):\n        pass\n";
        let lines = Lines::reading(Box::new(Cursor::new(text)), encoding_rs::UTF_8);
        let mut code = Code::of(lines);
        let mut found = Vec::new();
        while let Some(passage) = code.next().unwrap() {
            assert_eq!(&text[passage.begin as usize..passage.end as usize], passage.text);
            found.push(passage.text);
        }
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].contains("# A helper.\n@cached\ndef one") && found[0].contains("return x"));
        assert!(found[1].starts_with("class Two:") && found[1].contains("method"));
    }
}
