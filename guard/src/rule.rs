//! The rules, by their stable words, and the list in which findings are collected.

use std::fmt;

/// Findings kept for one source; a method with more is refused all the same.
const MAX_FINDINGS: usize = 40;

/// Why a method is refused. The words of [`Rule::word`] are stable: audit records and prompts may quote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// `too_long`: more bytes, lines or digits than a method may have.
    TooLong,
    /// `too_deep`: brackets, blocks or one expression nest deeper than the bound.
    TooDeep,
    /// `too_complex`: more names or more paths than the analysis follows.
    TooComplex,
    /// `forbidden_character`: NUL, control, bidirectional or invisible characters, tabs, a lone carriage return, not UTF-8.
    ForbiddenCharacter,
    /// `encoding_cookie`: a comment that changes how the bytes are decoded.
    EncodingCookie,
    /// `non_ascii_name`: a name that Python would normalise into another one.
    NonAsciiName,
    /// `syntax`: not Python 3.11.
    Syntax,
    /// `not_one_method`: anything but exactly one plain `def` at the top.
    NotOneMethod,
    /// `denied_definition`: async, decorators, type parameters.
    DeniedDefinition,
    /// `selector_mismatch`: the method has another name than the message.
    SelectorMismatch,
    /// `missing_self`: the first parameter is not `self`.
    MissingSelf,
    /// `parameters`: `*args`, `**kwargs`, `/` or keyword-only parameters.
    Parameters,
    /// `arity_mismatch`: the message's number of arguments does not fit.
    ArityMismatch,
    /// `default_value`: a default that is not a constant.
    DefaultValue,
    /// `annotation`: an annotation that is not made of the plain builtin types.
    Annotation,
    /// `denied_statement`: a statement outside the allowlist.
    DeniedStatement,
    /// `denied_expression`: an expression outside the allowlist.
    DeniedExpression,
    /// `no_effect`: a bare expression that does nothing.
    NoEffect,
    /// `denied_name`: a name that is neither local nor an allowed builtin.
    DeniedName,
    /// `private_name`: a name with a leading underscore.
    PrivateName,
    /// `introspection`: an attribute that leads into frames, code or types.
    Introspection,
    /// `module_attribute`: a `module.attribute` or `type.attribute` pair outside the table.
    ModuleAttribute,
    /// `string_format`: `format` and `format_map`, which walk attributes by text.
    StringFormat,
    /// `format_spec`: a format specification that is unbounded or computed.
    FormatSpec,
    /// `star_keywords`: `**` in a call.
    StarKeywords,
    /// `detached_mutator`: `xs.append` taken as a value instead of called.
    DetachedMutator,
    /// `self_rebound`: `self` bound to something else.
    SelfRebound,
    /// `bad_marker`: `_p_changed` in any other form than the statement `self._p_changed = True`.
    BadMarker,
    /// `undeclared_change`: a path from a change of state to a normal end without the declaration.
    UndeclaredChange,
    /// `deferred_change`: a change inside a lambda, nested function or generator, which may run at any time.
    DeferredChange,
    /// `endless`: a loop without a way out.
    Endless,
    /// `too_large`: a size that stands in the source and that no method can hold.
    TooLarge,
    /// `internal`: the guard itself failed; nothing is said about the method, so it is refused.
    Internal,
    /// `unneeded_marker`, a warning only: the declaration without any change.
    UnneededMarker,
}

impl Rule {
    /// Every rule, in the order of the checks.
    pub const ALL: [Rule; 34] = [
        Rule::TooLong,
        Rule::TooDeep,
        Rule::TooComplex,
        Rule::ForbiddenCharacter,
        Rule::EncodingCookie,
        Rule::NonAsciiName,
        Rule::Syntax,
        Rule::NotOneMethod,
        Rule::DeniedDefinition,
        Rule::SelectorMismatch,
        Rule::MissingSelf,
        Rule::Parameters,
        Rule::ArityMismatch,
        Rule::DefaultValue,
        Rule::Annotation,
        Rule::DeniedStatement,
        Rule::DeniedExpression,
        Rule::NoEffect,
        Rule::DeniedName,
        Rule::PrivateName,
        Rule::Introspection,
        Rule::ModuleAttribute,
        Rule::StringFormat,
        Rule::FormatSpec,
        Rule::StarKeywords,
        Rule::DetachedMutator,
        Rule::SelfRebound,
        Rule::BadMarker,
        Rule::UndeclaredChange,
        Rule::DeferredChange,
        Rule::Endless,
        Rule::TooLarge,
        Rule::Internal,
        Rule::UnneededMarker,
    ];

    /// The stable word of the rule.
    pub fn word(self) -> &'static str {
        match self {
            Rule::TooLong => "too_long",
            Rule::TooDeep => "too_deep",
            Rule::TooComplex => "too_complex",
            Rule::ForbiddenCharacter => "forbidden_character",
            Rule::EncodingCookie => "encoding_cookie",
            Rule::NonAsciiName => "non_ascii_name",
            Rule::Syntax => "syntax",
            Rule::NotOneMethod => "not_one_method",
            Rule::DeniedDefinition => "denied_definition",
            Rule::SelectorMismatch => "selector_mismatch",
            Rule::MissingSelf => "missing_self",
            Rule::Parameters => "parameters",
            Rule::ArityMismatch => "arity_mismatch",
            Rule::DefaultValue => "default_value",
            Rule::Annotation => "annotation",
            Rule::DeniedStatement => "denied_statement",
            Rule::DeniedExpression => "denied_expression",
            Rule::NoEffect => "no_effect",
            Rule::DeniedName => "denied_name",
            Rule::PrivateName => "private_name",
            Rule::Introspection => "introspection",
            Rule::ModuleAttribute => "module_attribute",
            Rule::StringFormat => "string_format",
            Rule::FormatSpec => "format_spec",
            Rule::StarKeywords => "star_keywords",
            Rule::DetachedMutator => "detached_mutator",
            Rule::SelfRebound => "self_rebound",
            Rule::BadMarker => "bad_marker",
            Rule::UndeclaredChange => "undeclared_change",
            Rule::DeferredChange => "deferred_change",
            Rule::Endless => "endless",
            Rule::TooLarge => "too_large",
            Rule::Internal => "internal",
            Rule::UnneededMarker => "unneeded_marker",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// One reason for a refusal: what is wrong, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule refuses.
    pub rule: Rule,
    /// The line of the source, counted from 1.
    pub line: usize,
    /// One sentence or two for the author, who may be a language model.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}: {}", self.line, self.rule, self.message)
    }
}

/// Collects findings for one source; turns byte offsets into lines.
pub(crate) struct Report<'s> {
    pub(crate) source: &'s str,
    line_starts: Vec<usize>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) warnings: Vec<Finding>,
}

impl<'s> Report<'s> {
    pub(crate) fn new(source: &'s str) -> Report<'s> {
        let line_starts = std::iter::once(0)
            .chain(source.match_indices('\n').map(|(offset, _)| offset + 1))
            .collect();
        Report {
            source,
            line_starts,
            findings: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The line, from 1, that holds the byte.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).max(1)
    }

    /// Adds a finding once; a second one with the same rule, line and message is dropped.
    pub(crate) fn refuse(&mut self, rule: Rule, offset: usize, message: impl Into<String>) {
        let finding = Finding {
            rule,
            line: self.line_at(offset),
            message: message.into(),
        };
        if self.findings.len() < MAX_FINDINGS && !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    pub(crate) fn warn(&mut self, rule: Rule, offset: usize, message: impl Into<String>) {
        let line = self.line_at(offset);
        self.warnings.push(Finding {
            rule,
            line,
            message: message.into(),
        });
    }
}
