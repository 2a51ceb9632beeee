//! Bounds on the text, checked before any parser sees it.
//!
//! The depth of the syntax tree is bounded by counting tokens with the lexer, which does not recurse: within one logical
//! line, every operator, keyword, dot or opening bracket since the last comma of its own bracket can deepen the tree by one.

use ruff_python_ast::token::TokenKind;
use ruff_python_parser::{Mode, lexer};

use crate::rule::{Report, Rule};

/// The longest source, in bytes.
pub const MAX_SOURCE_BYTES: usize = 64 * 1024;
/// The most lines of one method.
pub const MAX_LINES: usize = 400;
/// How deep brackets may nest; f-strings and their fields count as brackets.
pub const MAX_BRACKET_DEPTH: usize = 24;
/// How deep blocks may nest, the body of the method being the first.
pub const MAX_BLOCK_DEPTH: usize = 12;
/// The most operators, dots, calls and keywords that may stand nested in one expression.
pub const MAX_EXPRESSION_DEPTH: usize = 120;
/// The most `elif` of one method: CPython nests each into the one before.
const MAX_ELIFS: usize = 80;
/// A lambda costs CPython's parser and symbol table this many times an operator.
const LAMBDA_WEIGHT: usize = 8;

/// How deep a text may nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub brackets: usize,
    /// Operators, dots, calls and keywords nested in one expression.
    pub expression: usize,
    pub blocks: usize,
    pub elifs: usize,
}

const OF_A_METHOD: Limits = Limits {
    brackets: MAX_BRACKET_DEPTH,
    expression: MAX_EXPRESSION_DEPTH,
    blocks: MAX_BLOCK_DEPTH,
    elifs: MAX_ELIFS,
};

/// Whether a text that is no method nests so shallowly that it can be parsed without fear for the stack; else why not.
pub fn nests_within(source: &str, limits: Limits) -> Result<(), String> {
    walk(source, limits).map_err(|(_, message)| message)
}

/// Checks size, characters and depth. False when the text must not be parsed; the report then says why.
pub(crate) fn hold(report: &mut Report<'_>) -> bool {
    size(report) && characters(report) && cookies(report) && depth(report)
}

fn size(report: &mut Report<'_>) -> bool {
    let source = report.source;
    if source.len() > MAX_SOURCE_BYTES {
        let message = format!(
            "the source has {} bytes; a method has at most {MAX_SOURCE_BYTES}: split it",
            source.len()
        );
        report.refuse(Rule::TooLong, 0, message);
        return false;
    }
    let lines = source.lines().count();
    if lines > MAX_LINES {
        let message = format!("the source has {lines} lines; a method has at most {MAX_LINES}: split it");
        report.refuse(Rule::TooLong, 0, message);
        return false;
    }
    true
}

fn characters(report: &mut Report<'_>) -> bool {
    let bytes = report.source.as_bytes();
    for (offset, character) in report.source.char_indices() {
        let lone_return = character == '\r' && bytes.get(offset + 1) != Some(&b'\n');
        if lone_return || is_forbidden(character) {
            let code = u32::from(character);
            let message = format!(
                "the character U+{code:04X} may not stand in a method: indent with spaces, and write others as \\u{code:04x} in a string"
            );
            report.refuse(Rule::ForbiddenCharacter, offset, message);
            return false;
        }
    }
    true
}

/// Control characters, and characters that make a text read otherwise than it runs (invisible, bidirectional, separators).
fn is_forbidden(character: char) -> bool {
    match character {
        '\n' | '\r' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => character.is_control(),
    }
}

/// PEP 263: a comment in the first two lines that matches `coding[:=]`.
fn cookies(report: &mut Report<'_>) -> bool {
    let mut offset = 0;
    for line in report.source.split('\n').take(2) {
        let comment = line.find('#').map(|at| &line[at..]).unwrap_or("");
        if comment.contains("coding:") || comment.contains("coding=") {
            report.refuse(
                Rule::EncodingCookie,
                offset,
                "a method is UTF-8: remove the coding comment",
            );
            return false;
        }
        offset += line.len() + 1;
    }
    true
}

fn depth(report: &mut Report<'_>) -> bool {
    match walk(report.source, OF_A_METHOD) {
        Ok(()) => true,
        Err((rule, message)) => {
            report.refuse(rule, 0, message);
            false
        }
    }
}

fn walk(source: &str, limits: Limits) -> Result<(), (Rule, String)> {
    let mut lexer = lexer::lex(source, Mode::Module);
    let mut levels = Levels::new(limits);
    // Tokens are never longer than nothing for ever: dedents end with the indents, so this bound is generous.
    for _ in 0..=source.len() * 2 + 16 {
        let kind = lexer.next_token();
        if kind == TokenKind::EndOfFile {
            return match levels.open.is_empty() {
                true => Ok(()),
                false => Err((Rule::Syntax, "a bracket or f-string is never closed".to_owned())),
            };
        }
        levels.take(kind)?;
    }
    Err((Rule::Internal, "the lexer did not end".to_owned()))
}

/// What may nest at the current token.
struct Levels {
    limits: Limits,
    /// For each open bracket: its kind, and the chain and hold of the bracket around it.
    open: Vec<(TokenKind, usize, usize)>,
    /// Links of the innermost bracket since its last comma.
    chain: usize,
    /// The part of the chain up to the last lambda; a comma may belong to its parameters and does not end it.
    held: usize,
    /// The sum over all open brackets: a bound on the depth of the expression.
    total: usize,
    blocks: usize,
    elifs: usize,
}

impl Levels {
    fn new(limits: Limits) -> Levels {
        Levels {
            limits,
            open: Vec::new(),
            chain: 0,
            held: 0,
            total: 0,
            blocks: 0,
            elifs: 0,
        }
    }

    fn take(&mut self, kind: TokenKind) -> Result<(), (Rule, String)> {
        use TokenKind as T;
        match kind {
            T::Lpar | T::Lsqb | T::Lbrace | T::FStringStart | T::TStringStart => {
                self.link(1);
                self.open.push((kind, self.chain, self.held));
                self.chain = 0;
                self.held = 0;
            }
            T::Rpar | T::Rsqb | T::Rbrace | T::FStringEnd | T::TStringEnd => self.close(kind)?,
            T::Comma => {
                self.total -= self.chain.saturating_sub(self.held);
                self.chain = self.chain.min(self.held);
            }
            T::Newline => {
                self.chain = 0;
                self.held = 0;
                self.total = 0;
                if !self.open.is_empty() {
                    return Err((Rule::Syntax, "a bracket is never closed".to_owned()));
                }
            }
            T::Indent => self.blocks += 1,
            T::Dedent => self.blocks = self.blocks.saturating_sub(1),
            T::Elif => self.elifs += 1,
            T::Lambda => {
                self.link(LAMBDA_WEIGHT);
                self.held = self.chain;
            }
            T::Name | T::Int | T::Float | T::Complex | T::String | T::FStringMiddle | T::TStringMiddle => {}
            T::Comment | T::NonLogicalNewline | T::True | T::False | T::None => {}
            T::Colon | T::Semi => {}
            _ => self.link(1),
        }
        self.judge()
    }

    fn link(&mut self, weight: usize) {
        self.chain += weight;
        self.total += weight;
    }

    fn close(&mut self, kind: TokenKind) -> Result<(), (Rule, String)> {
        use TokenKind as T;
        let fits = |opened: TokenKind| {
            matches!(
                (opened, kind),
                (T::Lpar, T::Rpar)
                    | (T::Lsqb, T::Rsqb)
                    | (T::Lbrace, T::Rbrace)
                    | (T::FStringStart, T::FStringEnd)
                    | (T::TStringStart, T::TStringEnd)
            )
        };
        match self.open.pop() {
            Some((opened, chain, held)) if fits(opened) => {
                self.total -= self.chain;
                self.chain = chain;
                self.held = held;
                Ok(())
            }
            _ => Err((Rule::Syntax, "a bracket is closed that was not opened".to_owned())),
        }
    }

    fn judge(&self) -> Result<(), (Rule, String)> {
        let Limits {
            brackets,
            expression,
            blocks,
            elifs,
        } = self.limits;
        let message = if self.open.len() > brackets {
            format!("brackets nest deeper than {brackets}: name the inner values first")
        } else if self.total > expression {
            format!("one expression links more than {expression} operators: split it into several lines")
        } else if self.blocks > blocks {
            format!("blocks nest deeper than {blocks}: return early or split the method")
        } else if self.elifs > elifs {
            format!("more than {elifs} elif: look the case up in a dict instead")
        } else {
            return Ok(());
        };
        Err((Rule::TooDeep, message))
    }
}
