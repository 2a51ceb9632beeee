//! The allowlist of expressions and of every field of theirs, and the use of names and attributes.

use std::collections::BTreeSet;

use ruff_python_ast::{
    Arguments, Comprehension, Expr, ExprAttribute, ExprBinOp, ExprBoolOp, ExprCall, ExprCompare, ExprDict,
    ExprDictComp, ExprGenerator, ExprIf, ExprLambda, ExprList, ExprListComp, ExprNamed, ExprSet, ExprSetComp,
    ExprSlice, ExprStarred, ExprSubscript, ExprTuple, ExprUnaryOp, FStringPart, InterpolatedElement,
    InterpolatedStringElement, Keyword,
};
use ruff_text_size::Ranged;

use crate::names::{self, MARKER};
use crate::rule::Rule;
use crate::scope;
use crate::statements::Check;

/// The longest number literal, in characters: CPython refuses to read very long ones.
const MAX_NUMBER_BYTES: u32 = 100;
/// The most digits in a row of a format specification: widths and precisions stay below a thousand.
const MAX_SPEC_DIGITS: usize = 3;
/// The longest format specification.
const MAX_SPEC_BYTES: usize = 20;

impl<'a> Check<'_, '_, 'a> {
    /// An expression that is read.
    pub(crate) fn value(&mut self, expression: &'a Expr) {
        let offset = expression.start().to_usize();
        match expression {
            Expr::BoolOp(ExprBoolOp {
                node_index: _,
                range: _,
                op: _,
                values,
            }) => self.values(values),
            Expr::Named(named) => self.named(named),
            Expr::BinOp(ExprBinOp {
                node_index: _,
                range: _,
                left,
                op: _,
                right,
            }) => {
                self.value(left);
                self.value(right);
            }
            Expr::UnaryOp(ExprUnaryOp {
                node_index: _,
                range: _,
                op: _,
                operand,
            }) => self.value(operand),
            Expr::Lambda(lambda) => self.lambda(lambda),
            Expr::If(ExprIf {
                node_index: _,
                range: _,
                test,
                body,
                orelse,
            }) => {
                self.value(test);
                self.value(body);
                self.value(orelse);
            }
            Expr::Dict(ExprDict {
                node_index: _,
                range: _,
                items,
            }) => {
                for item in items {
                    item.key.iter().for_each(|key| self.value(key));
                    self.value(&item.value);
                }
            }
            Expr::Set(ExprSet {
                node_index: _,
                range: _,
                elts,
            }) => self.elements(elts),
            Expr::List(ExprList {
                node_index: _,
                range: _,
                elts,
                ctx: _,
            }) => self.elements(elts),
            Expr::Tuple(ExprTuple {
                node_index: _,
                range: _,
                elts,
                ctx: _,
                parenthesized: _,
            }) => self.elements(elts),
            Expr::ListComp(ExprListComp {
                node_index: _,
                range: _,
                elt,
                generators,
            })
            | Expr::SetComp(ExprSetComp {
                node_index: _,
                range: _,
                elt,
                generators,
            })
            | Expr::Generator(ExprGenerator {
                node_index: _,
                range: _,
                elt,
                generators,
                parenthesized: _,
            }) => {
                self.comprehension(generators, [Some(&**elt), None]);
            }
            Expr::DictComp(ExprDictComp {
                node_index: _,
                range: _,
                key,
                value,
                generators,
            }) => {
                self.comprehension(generators, [key.as_deref(), Some(&**value)]);
            }
            Expr::Compare(ExprCompare {
                node_index: _,
                range: _,
                left,
                ops: _,
                comparators,
            }) => {
                self.value(left);
                self.values(comparators);
            }
            Expr::Call(call) => self.call(call),
            Expr::FString(string) => {
                for part in string.value.iter() {
                    if let FStringPart::FString(part) = part {
                        part.elements
                            .iter()
                            .for_each(|element| self.interpolation(element));
                    }
                }
            }
            Expr::StringLiteral(_)
            | Expr::BytesLiteral(_)
            | Expr::BooleanLiteral(_)
            | Expr::NoneLiteral(_) => {}
            Expr::NumberLiteral(number) => {
                if number.value.is_complex() {
                    self.refuse(
                        Rule::DeniedExpression,
                        offset,
                        "no complex numbers: a slot can not hold them",
                    );
                }
                if number.range.len().to_u32() > MAX_NUMBER_BYTES {
                    let message = format!("a number has at most {MAX_NUMBER_BYTES} characters");
                    self.refuse(Rule::TooLong, offset, message);
                }
            }
            Expr::Attribute(attribute) => self.attribute(attribute, Use::Read),
            Expr::Subscript(ExprSubscript {
                node_index: _,
                range: _,
                value,
                slice,
                ctx: _,
            }) => {
                self.value(value);
                self.value(slice);
            }
            Expr::Slice(ExprSlice {
                node_index: _,
                range: _,
                lower,
                upper,
                step,
            }) => {
                [lower, upper, step]
                    .into_iter()
                    .flatten()
                    .for_each(|part| self.value(part));
            }
            Expr::Name(name) => self.name(name.id.as_str(), offset),
            Expr::Starred(_) => {
                self.refuse(
                    Rule::Syntax,
                    offset,
                    "a starred value stands inside a list, a tuple, a set or a call",
                );
            }
            Expr::Await(_) => {
                self.deny_value(offset, "no `await`: a message is answered before the next line")
            }
            Expr::Yield(_) | Expr::YieldFrom(_) => self.deny_value(offset, "no `yield`: return a list"),
            Expr::TString(_) => self.deny_value(offset, "no template strings: use an f-string"),
            Expr::EllipsisLiteral(_) => self.deny_value(offset, "`...` is a hole: write the whole method"),
            Expr::IpyEscapeCommand(_) => self.deny_value(offset, "this is not Python"),
        }
    }

    /// An expression that is assigned to or deleted.
    pub(crate) fn target(&mut self, target: &'a Expr) {
        let offset = target.start().to_usize();
        match target {
            Expr::Name(name) => self.bind(name.id.as_str(), offset),
            Expr::Attribute(attribute) => self.attribute(attribute, Use::Write),
            Expr::Subscript(subscript) => {
                self.value(&subscript.value);
                self.value(&subscript.slice);
            }
            Expr::List(ExprList { elts, .. }) | Expr::Tuple(ExprTuple { elts, .. }) => {
                let mut stars = 0;
                for element in elts {
                    match element {
                        Expr::Starred(ExprStarred {
                            node_index: _,
                            range: _,
                            value,
                            ctx,
                        }) => {
                            stars += 1;
                            if stars > 1 || matches!(ctx, ruff_python_ast::ExprContext::Del) {
                                self.refuse(
                                    Rule::Syntax,
                                    offset,
                                    "one starred name at most, and none in `del`",
                                );
                            }
                            self.target(value);
                        }
                        _ => self.target(element),
                    }
                }
            }
            _ => self.refuse(Rule::Syntax, offset, "this can not be assigned to"),
        }
    }

    /// Whether the name is bound in a scope around the current node.
    pub(crate) fn is_bound(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.contains(name))
    }

    fn deny_value(&mut self, offset: usize, message: &str) {
        self.refuse(Rule::DeniedExpression, offset, message);
    }

    fn values(&mut self, values: &'a [Expr]) {
        values.iter().for_each(|value| self.value(value));
    }

    /// Values among which starred ones may stand.
    fn elements(&mut self, elements: &'a [Expr]) {
        for element in elements {
            match element {
                Expr::Starred(ExprStarred {
                    node_index: _,
                    range: _,
                    value,
                    ctx: _,
                }) => self.value(value),
                _ => self.value(element),
            }
        }
    }

    fn named(&mut self, named: &'a ExprNamed) {
        let ExprNamed {
            node_index: _,
            range: _,
            target,
            value,
        } = named;
        if let Expr::Name(name) = &**target
            && self.iterated.contains(&name.id.as_str())
        {
            let message = "a walrus can not bind the variable of the comprehension around it";
            self.refuse(Rule::Syntax, named.start().to_usize(), message);
        }
        self.value(value);
        self.target(target);
    }

    fn lambda(&mut self, lambda: &'a ExprLambda) {
        let ExprLambda {
            node_index: _,
            range: _,
            parameters,
            body,
        } = lambda;
        self.nesting += 1;
        parameters
            .iter()
            .for_each(|parameters| self.parameters(parameters));
        self.scopes
            .push(scope::lambda_locals(parameters.as_deref(), body));
        let iterated = std::mem::take(&mut self.iterated);
        self.value(body);
        self.iterated = iterated;
        self.scopes.pop();
        self.nesting -= 1;
    }

    /// The first iterable is evaluated outside; everything else in the scope of the comprehension.
    fn comprehension(&mut self, generators: &'a [Comprehension], results: [Option<&'a Expr>; 2]) {
        let before = self.iterated.len();
        let names = generators
            .iter()
            .flat_map(|generator| scope::target_names(&generator.target))
            .collect();
        for (position, generator) in generators.iter().enumerate() {
            let Comprehension {
                node_index: _,
                range: _,
                target: _,
                iter,
                ifs: _,
                is_async,
            } = generator;
            if *is_async {
                self.deny_value(generator.start().to_usize(), "comprehensions are not async");
            }
            if has_walrus(iter) {
                let message = "no walrus in what a comprehension iterates over";
                self.refuse(Rule::Syntax, iter.start().to_usize(), message);
            }
            if position == 0 {
                self.value(iter);
            }
        }
        self.iterated.extend(&names);
        self.scopes.push(names);
        for (position, generator) in generators.iter().enumerate() {
            if position > 0 {
                self.value(&generator.iter);
            }
            self.target(&generator.target);
            self.values(&generator.ifs);
        }
        results
            .into_iter()
            .flatten()
            .for_each(|result| self.value(result));
        self.scopes.pop();
        self.iterated.truncate(before);
    }

    fn call(&mut self, call: &'a ExprCall) {
        let ExprCall {
            node_index: _,
            range_start: _,
            func,
            arguments,
        } = call;
        match &**func {
            Expr::Attribute(attribute) => self.attribute(attribute, Use::Call),
            callee => self.value(callee),
        }
        let Arguments {
            node_index: _,
            range: _,
            args,
            keywords,
        } = arguments;
        self.elements(args);
        let mut named: BTreeSet<&str> = BTreeSet::new();
        for Keyword {
            node_index: _,
            range: _,
            arg,
            value,
        } in keywords
        {
            let offset = value.start().to_usize();
            match arg {
                Some(name) if name.starts_with('_') => {
                    let message = format!("the argument name {name} begins with an underscore");
                    self.refuse(Rule::PrivateName, offset, message);
                }
                Some(name) if !named.insert(name.as_str()) => {
                    self.refuse(Rule::Syntax, offset, format!("the argument {name} stands twice"));
                }
                Some(_) => {}
                None => self.refuse(
                    Rule::StarKeywords,
                    offset,
                    "no `**` in a call: name the arguments",
                ),
            }
            self.value(value);
        }
    }

    fn name(&mut self, name: &str, offset: usize) {
        if names::is_private(name) && !(name == "_" && self.is_bound(name)) {
            self.refuse(
                Rule::PrivateName,
                offset,
                format!("the name {name} begins with an underscore"),
            );
        } else if self.is_bound(name) || names::is_builtin(name) {
            // A local, or in the table.
        } else if names::is_module(name) {
            let message = format!("`{name}` is a module: only its attributes are used, as in math.sqrt(x)");
            self.refuse(Rule::ModuleAttribute, offset, message);
        } else if name == self.selector {
            self.refuse(
                Rule::DeniedName,
                offset,
                format!("send the message to the receiver: self.{name}(…)"),
            );
        } else {
            let instead = names::instead_of(name);
            self.refuse(
                Rule::DeniedName,
                offset,
                format!("the name {name} is not there: {instead}"),
            );
        }
    }

    fn attribute(&mut self, attribute: &'a ExprAttribute, used: Use) {
        let ExprAttribute {
            node_index: _,
            range: _,
            value,
            attr,
            ctx: _,
        } = attribute;
        let offset = attr.start().to_usize();
        let name = attr.as_str();
        if name == MARKER {
            let message =
                "the declaration is the statement `self._p_changed = True`, in the method's own body";
            self.refuse(Rule::BadMarker, offset, message);
        } else if names::is_private(name) {
            self.refuse(
                Rule::PrivateName,
                offset,
                format!("the attribute {name} begins with an underscore"),
            );
        } else if names::is_introspection(name) {
            self.refuse(
                Rule::Introspection,
                offset,
                format!("the attribute {name} leads out of the method"),
            );
        } else if name == "format" || name == "format_map" {
            let message = "`format` walks attributes by text: use an f-string, such as f\"{name}: {count}\"";
            self.refuse(Rule::StringFormat, offset, message);
        } else if names::is_time_text(name) && !matches!(&**value, Expr::Name(base) if base.id == "self") {
            let message = format!(
                "{name} is not there: use isoformat() and fromisoformat(), or the parts, as in f\"{{time.year}}\""
            );
            self.refuse(Rule::ModuleAttribute, offset, message);
        }
        let Expr::Name(base) = &**value else {
            self.detached(attribute, used, false);
            return self.value(value);
        };
        let base = base.id.as_str();
        if self.is_bound(base) {
            if self.caught.contains(base) && name != "args" && used != Use::Write {
                let message = format!("of a caught exception only `args` and str({base}) are read");
                self.refuse(Rule::Introspection, offset, message);
            }
            self.detached(attribute, used, base == "self");
        } else if names::is_module(base) || names::is_builtin(base) {
            let known = if names::is_module(base) {
                names::is_module_attribute(base, name)
            } else {
                names::is_type_attribute(base, name)
            };
            if !known || used == Use::Write {
                let message = format!("{base}.{name} is not there");
                self.refuse(Rule::ModuleAttribute, offset, message);
            }
        } else {
            self.value(value);
        }
    }

    /// `push = xs.append` hides a later change from the reader; slots of self may bear such names.
    fn detached(&mut self, attribute: &ExprAttribute, used: Use, is_self: bool) {
        let name = attribute.attr.as_str();
        if used == Use::Read && !is_self && names::is_mutator(name) {
            let message = format!("call it where it stands: value.{name}(…); it is not passed around");
            self.refuse(Rule::DetachedMutator, attribute.attr.start().to_usize(), message);
        }
    }

    fn interpolation(&mut self, element: &'a InterpolatedStringElement) {
        let InterpolatedStringElement::Interpolation(field) = element else {
            return;
        };
        let InterpolatedElement {
            node_index: _,
            range: _,
            expression,
            debug_text: _,
            conversion: _,
            format_spec,
        } = field;
        self.value(expression);
        let Some(spec) = format_spec else { return };
        for element in spec.elements.iter() {
            match element {
                InterpolatedStringElement::Literal(text) => {
                    if !is_small_spec(&text.value) {
                        let message = "widths and precisions in a format have at most three digits";
                        self.refuse(Rule::FormatSpec, text.range.start().to_usize(), message);
                    }
                }
                InterpolatedStringElement::Interpolation(inner) => {
                    let message = "a format is written out, not computed: use text.rjust(width)";
                    self.refuse(Rule::FormatSpec, inner.range.start().to_usize(), message);
                    self.value(&inner.expression);
                }
            }
        }
    }
}

/// How an attribute is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Call,
    Write,
}

fn is_small_spec(spec: &str) -> bool {
    let longest = spec
        .split(|character: char| !character.is_ascii_digit())
        .map(str::len)
        .max()
        .unwrap_or(0);
    spec.len() <= MAX_SPEC_BYTES && longest <= MAX_SPEC_DIGITS
}

fn has_walrus(expression: &Expr) -> bool {
    ruff_python_ast::helpers::any_over_expr(expression, |inner| inner.is_named_expr())
}
