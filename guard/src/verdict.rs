//! The one door: a source and an expectation go in, a verdict comes out.

use std::thread;

use ruff_python_ast::token::TokenKind;
use ruff_python_ast::{Mod, PythonVersion, Stmt, StmtFunctionDef};
use ruff_python_parser::{Mode, ParseOptions, Parsed, parse_unchecked};
use ruff_text_size::Ranged;

use crate::bombs;
use crate::bounds;
use crate::names;
use crate::paths;
use crate::rule::{Finding, Report, Rule};
use crate::signature::Signature;
use crate::statements;

/// The stack of the checking thread. Trees are at most a few hundred nodes deep; this leaves a wide margin for debug builds.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// What the caller already knows of the method. The default expects nothing in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    selector: Option<String>,
    arguments: Option<usize>,
    allowed: Vec<String>,
}

impl Expectation {
    /// Any selector, any number of arguments.
    pub fn any() -> Expectation {
        Expectation::default()
    }

    /// The message that the method must understand: its selector and how many arguments come after `self`.
    pub fn message(selector: impl Into<String>, arguments: usize) -> Expectation {
        Expectation {
            selector: Some(selector.into()),
            arguments: Some(arguments),
            allowed: Vec::new(),
        }
    }

    /// This selector, any number of arguments.
    pub fn selector(selector: impl Into<String>) -> Expectation {
        Expectation {
            selector: Some(selector.into()),
            arguments: None,
            allowed: Vec::new(),
        }
    }

    /// The same where methods may use what each `module.name` says, beside the guard's own tables: packages that were installed for them.
    pub fn allowing(self, names: &[String]) -> Expectation {
        Expectation {
            allowed: names.to_vec(),
            ..self
        }
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why the method is refused, in the order of the checks; empty when it may go on to its trial. At most 40 are kept.
    pub findings: Vec<Finding>,
    /// What is odd but harmless. Never a reason for a refusal.
    pub warnings: Vec<Finding>,
    /// Selector and parameters, once the source is one `def`; present for refused methods too.
    pub signature: Option<Signature>,
}

impl Verdict {
    /// Whether nothing was found against the method.
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Checks one method. Never panics, never runs any of it, and ends in bounded time on every input.
pub fn check(source: &str, expected: &Expectation) -> Verdict {
    let judged = apart(source, |source| {
        names::allow(&expected.allowed);
        judge(source, expected)
    });
    judged.unwrap_or_else(|| Verdict {
        findings: vec![Finding {
            rule: Rule::Internal,
            line: 1,
            message: "the guard could not read this method; write it more simply".to_owned(),
        }],
        warnings: Vec::new(),
        signature: None,
    })
}

/// [`check`] for bytes that may not be UTF-8: those that are not are refused as `forbidden_character`.
pub fn check_bytes(source: &[u8], expected: &Expectation) -> Verdict {
    match std::str::from_utf8(source) {
        Ok(text) => check(text, expected),
        Err(error) => {
            let before = &source[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            let message = "the source is not UTF-8".to_owned();
            let findings = vec![Finding {
                rule: Rule::ForbiddenCharacter,
                line,
                message,
            }];
            Verdict {
                findings,
                warnings: Vec::new(),
                signature: None,
            }
        }
    }
}

pub(crate) fn signature_of(source: &str) -> Option<Signature> {
    apart(source, |source| {
        let mut report = Report::new(source);
        if !bounds::hold(&mut report) {
            return None;
        }
        let parsed = parse(source);
        let function = only_method(&parsed, &mut report)?;
        statements::definition(function, &mut report);
        report.findings.is_empty().then(|| Signature::of(function))
    })
    .flatten()
}

/// Runs the work on a thread with a known stack. `None` when it panicked or no thread could be had.
fn apart<T: Send>(source: &str, work: impl FnOnce(&str) -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("guard".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || work(source))
            .ok()?
            .join()
            .ok()
    })
}

fn judge(source: &str, expected: &Expectation) -> Verdict {
    let mut report = Report::new(source);
    let mut signature = None;
    if bounds::hold(&mut report) {
        let parsed = parse(source);
        ascii_names(&parsed, &mut report);
        if let Some(function) = only_method(&parsed, &mut report) {
            statements::definition(function, &mut report);
            let found = Signature::of(function);
            meets(&found, expected, function, &mut report);
            signature = Some(found);
            statements::check(function, &mut report);
            paths::check(function, &mut report);
            bombs::check(function, &mut report);
        }
    }
    Verdict {
        findings: report.findings,
        warnings: report.warnings,
        signature,
    }
}

fn parse(source: &str) -> Parsed<Mod> {
    parse_unchecked(
        source,
        ParseOptions::from(Mode::Module).with_target_version(PythonVersion::PY311),
    )
}

/// Python normalises names (NFKC), so that `ｅval` is `eval`: names are ASCII here.
fn ascii_names(parsed: &Parsed<Mod>, report: &mut Report<'_>) {
    for token in parsed.tokens() {
        let range = token.range();
        let text = report
            .source
            .get(range.start().to_usize()..range.end().to_usize())
            .unwrap_or("");
        if token.kind() == TokenKind::Name && !text.is_ascii() {
            let message = format!("the name {text} is not ASCII: write it with the letters a to z");
            report.refuse(Rule::NonAsciiName, range.start().to_usize(), message);
        }
    }
}

/// The one function of the source; refuses everything else.
fn only_method<'a>(parsed: &'a Parsed<Mod>, report: &mut Report<'_>) -> Option<&'a StmtFunctionDef> {
    for error in parsed.errors() {
        report.refuse(
            Rule::Syntax,
            error.location.start().to_usize(),
            format!("{}", error.error),
        );
    }
    for error in parsed.unsupported_syntax_errors() {
        let message = format!("Python 3.11 does not know this: {error}");
        report.refuse(Rule::Syntax, error.range.start().to_usize(), message);
    }
    if !report.findings.is_empty() {
        return None;
    }
    let Mod::Module(module) = parsed.syntax() else {
        report.refuse(Rule::Internal, 0, "the parser returned no module");
        return None;
    };
    match module.body.as_slice() {
        [Stmt::FunctionDef(function)] => Some(function),
        [] => {
            report.refuse(
                Rule::NotOneMethod,
                0,
                "there is no method: write one `def name(self):`",
            );
            None
        }
        [first, rest @ ..] => {
            let odd = if first.is_function_def_stmt() {
                rest.first().unwrap_or(first)
            } else {
                first
            };
            let message = "only one `def` may stand at the top; put everything inside it";
            report.refuse(Rule::NotOneMethod, odd.start().to_usize(), message);
            None
        }
    }
}

fn meets(found: &Signature, expected: &Expectation, function: &StmtFunctionDef, report: &mut Report<'_>) {
    let offset = function.start().to_usize();
    if let Some(selector) = &expected.selector
        && *selector != found.name
    {
        let message = format!(
            "the message is {selector}, the method is {}: write `def {selector}(self, …)`",
            found.name
        );
        report.refuse(Rule::SelectorMismatch, offset, message);
    }
    if let Some(arguments) = expected.arguments
        && !found.accepts(arguments)
    {
        let message = format!(
            "the message brings {arguments} arguments; the method takes {} to {} after self",
            found.required,
            found.parameters.len()
        );
        report.refuse(Rule::ArityMismatch, offset, message);
    }
}
