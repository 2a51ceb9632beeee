//! The allowlist of statements and of every field of theirs.
//!
//! Every node is taken apart without `..`, so that a field that a newer parser adds does not compile until it is judged.

use std::collections::BTreeSet;

use ruff_python_ast::{
    ElifElseClause, ExceptHandler, ExceptHandlerExceptHandler, Expr, Identifier, Parameter,
    ParameterWithDefault, Parameters, Stmt, StmtAnnAssign, StmtAssert, StmtAssign, StmtAugAssign, StmtDelete,
    StmtExpr, StmtFor, StmtFunctionDef, StmtIf, StmtRaise, StmtReturn, StmtTry, StmtWhile,
};
use ruff_text_size::Ranged;

use crate::names::{self, MARKER};
use crate::rule::{Report, Rule};
use crate::scope;

/// CPython compiles at most 20 nested loops and try blocks; a try counts several times.
const MAX_BLOCK_WEIGHT: usize = 18;
/// More names than this in one method are refused.
const MAX_NAMES: usize = 256;
/// The longest name.
const MAX_NAME_BYTES: usize = 100;

/// Checks the head of the method: name, parameters, annotations, no decorators.
pub(crate) fn definition(function: &StmtFunctionDef, report: &mut Report<'_>) {
    let mut check = Check::new(function, report);
    check.head(function);
    match function.parameters.args.first() {
        Some(first) if first.name() == "self" && first.default.is_none() => {}
        _ => {
            let message = "the first parameter is the receiver: write `self`";
            check.refuse(Rule::MissingSelf, function.parameters.start().to_usize(), message);
        }
    }
}

/// Checks the body of the method, at any depth.
pub(crate) fn check(function: &StmtFunctionDef, report: &mut Report<'_>) {
    if scope::bound_anywhere(&function.parameters, &function.body).len() > MAX_NAMES {
        let message = format!("more than {MAX_NAMES} names in one method: split it");
        report.refuse(Rule::TooComplex, 0, message);
        return;
    }
    Check::new(function, report).body(&function.body);
}

/// The walk through one method.
pub(crate) struct Check<'r, 's, 'a> {
    report: &'r mut Report<'s>,
    /// The selector, to recognise a bare call of the method itself.
    pub(crate) selector: &'a str,
    /// The scopes that enclose the current node, outermost first.
    pub(crate) scopes: Vec<BTreeSet<&'a str>>,
    /// Names bound by `except … as`, anywhere.
    pub(crate) caught: BTreeSet<&'a str>,
    /// The targets of the comprehensions around the current node.
    pub(crate) iterated: Vec<&'a str>,
    /// How many functions enclose the current node, besides the method itself.
    pub(crate) nesting: usize,
    loops: usize,
    weight: usize,
}

impl<'r, 's, 'a> Check<'r, 's, 'a> {
    fn new(function: &'a StmtFunctionDef, report: &'r mut Report<'s>) -> Check<'r, 's, 'a> {
        Check {
            report,
            selector: function.name.as_str(),
            scopes: vec![scope::locals(Some(&function.parameters), &function.body)],
            caught: BTreeSet::new(),
            iterated: Vec::new(),
            nesting: 0,
            loops: 0,
            weight: 0,
        }
    }

    pub(crate) fn refuse(&mut self, rule: Rule, offset: usize, message: impl Into<String>) {
        self.report.refuse(rule, offset, message);
    }

    /// What a function may have besides its body.
    fn head(&mut self, function: &'a StmtFunctionDef) {
        let StmtFunctionDef {
            node_index: _,
            range: _,
            is_async,
            decorator_list,
            name,
            type_params,
            parameters,
            returns,
            body: _,
        } = function;
        let offset = function.start().to_usize();
        if *is_async {
            self.refuse(
                Rule::DeniedDefinition,
                offset,
                "a method is a plain `def`, not async",
            );
        }
        if !decorator_list.is_empty() {
            self.refuse(
                Rule::DeniedDefinition,
                offset,
                "a method has no decorators: remove them",
            );
        }
        if type_params.is_some() {
            self.refuse(
                Rule::DeniedDefinition,
                offset,
                "a method has no type parameters: remove them",
            );
        }
        self.bind(name.as_str(), name.start().to_usize());
        self.parameters(parameters);
        if let Some(returns) = returns {
            self.annotation(returns);
        }
    }

    pub(crate) fn parameters(&mut self, parameters: &'a Parameters) {
        let Parameters {
            node_index: _,
            range: _,
            posonlyargs,
            args,
            vararg,
            kwonlyargs,
            kwarg,
        } = parameters;
        if !posonlyargs.is_empty() || vararg.is_some() || !kwonlyargs.is_empty() || kwarg.is_some() {
            let message = "only plain parameters: no `*`, `**` or `/`; pass a list or a dict";
            self.refuse(Rule::Parameters, parameters.start().to_usize(), message);
        }
        let mut seen = BTreeSet::new();
        for parameter in args {
            let ParameterWithDefault {
                node_index: _,
                range: _,
                parameter,
                default,
            } = parameter;
            let Parameter {
                node_index: _,
                range: _,
                name,
                annotation,
            } = parameter;
            let offset = name.start().to_usize();
            if !seen.insert(name.as_str()) {
                self.refuse(Rule::Syntax, offset, format!("the parameter {name} stands twice"));
            }
            // The receiver of the method itself is the only parameter of this name.
            if name != "self" || self.nesting > 0 {
                self.bind(name.as_str(), offset);
            }
            if name == "_" {
                self.refuse(Rule::PrivateName, offset, "a parameter has a name: replace `_`");
            }
            if let Some(annotation) = annotation {
                self.annotation(annotation);
            }
            if let Some(default) = default
                && !is_constant(default)
            {
                let message =
                    "a default is a number, a string, True, False or None; make lists and dicts in the body";
                self.refuse(Rule::DefaultValue, default.start().to_usize(), message);
            }
        }
    }

    /// A name that the method binds.
    pub(crate) fn bind(&mut self, name: &str, offset: usize) {
        if name == "self" {
            self.refuse(
                Rule::SelfRebound,
                offset,
                "`self` stays the receiver: use another name",
            );
        } else if names::is_module(name) {
            let message = format!("`{name}` stays the module: use another name");
            self.refuse(Rule::ModuleAttribute, offset, message);
        } else if name == "_" {
            // The customary name for what is not needed.
        } else if names::is_private(name) {
            let message = format!(
                "names do not begin with an underscore: write {}",
                name.trim_start_matches('_')
            );
            self.refuse(Rule::PrivateName, offset, message);
        }
        if name.len() > MAX_NAME_BYTES {
            self.refuse(
                Rule::TooLong,
                offset,
                format!("a name has at most {MAX_NAME_BYTES} letters"),
            );
        }
    }

    fn identifier(&mut self, name: &Identifier) {
        self.bind(name.as_str(), name.start().to_usize());
    }

    /// Only plain builtin types, `None`, `|`, subscripts and strings: some annotations are evaluated.
    fn annotation(&mut self, annotation: &Expr) {
        let plain = match annotation {
            Expr::Name(name) => names::is_type(name.id.as_str()) && !self.is_bound(name.id.as_str()),
            Expr::NoneLiteral(_) | Expr::StringLiteral(_) => true,
            Expr::Subscript(subscript) => {
                self.annotation(&subscript.value);
                self.annotation(&subscript.slice);
                // `"list"[int]` and `None[int]` fail when they are evaluated.
                subscript.value.is_name_expr()
            }
            Expr::Tuple(tuple) => {
                tuple.elts.iter().for_each(|element| self.annotation(element));
                true
            }
            Expr::BinOp(binary) => {
                self.annotation(&binary.left);
                self.annotation(&binary.right);
                binary.op == ruff_python_ast::Operator::BitOr
            }
            _ => false,
        };
        if !plain {
            let message =
                "annotate with int, float, str, bool, list, dict, tuple, set, bytes or None, or not at all";
            self.refuse(Rule::Annotation, annotation.start().to_usize(), message);
        }
    }

    fn body(&mut self, body: &'a [Stmt]) {
        for (position, statement) in body.iter().enumerate() {
            self.statement(statement, position == 0);
        }
    }

    fn statement(&mut self, statement: &'a Stmt, is_first: bool) {
        let offset = statement.start().to_usize();
        match statement {
            Stmt::FunctionDef(function) => self.nested(function),
            Stmt::Return(StmtReturn {
                node_index: _,
                range: _,
                value,
            }) => {
                value.iter().for_each(|value| self.value(value));
            }
            Stmt::Delete(StmtDelete {
                node_index: _,
                range: _,
                targets,
            }) => {
                targets.iter().for_each(|target| self.target(target));
            }
            Stmt::Assign(StmtAssign {
                node_index: _,
                range: _,
                targets,
                value,
            }) => {
                self.value(value);
                if !(self.nesting == 0 && is_marker(statement)) {
                    targets.iter().for_each(|target| self.target(target));
                }
            }
            Stmt::AugAssign(StmtAugAssign {
                node_index: _,
                range: _,
                target,
                op: _,
                value,
            }) => {
                self.value(value);
                self.target(target);
            }
            Stmt::AnnAssign(StmtAnnAssign {
                node_index: _,
                range: _,
                target,
                annotation,
                value,
                simple: _,
            }) => {
                self.annotation(annotation);
                value.iter().for_each(|value| self.value(value));
                self.target(target);
            }
            Stmt::For(StmtFor {
                node_index: _,
                range: _,
                is_async,
                target,
                iter,
                body,
                orelse,
            }) => {
                if *is_async {
                    self.refuse(Rule::DeniedStatement, offset, "loops are plain `for`, not async");
                }
                self.value(iter);
                self.target(target);
                self.looped(body);
                self.body(orelse);
            }
            Stmt::While(StmtWhile {
                node_index: _,
                range: _,
                test,
                body,
                orelse,
            }) => {
                self.value(test);
                self.looped(body);
                self.body(orelse);
            }
            Stmt::If(StmtIf {
                node_index: _,
                range: _,
                test,
                body,
                elif_else_clauses,
            }) => {
                self.value(test);
                self.body(body);
                for ElifElseClause {
                    node_index: _,
                    range: _,
                    test,
                    body,
                } in elif_else_clauses
                {
                    test.iter().for_each(|test| self.value(test));
                    self.body(body);
                }
            }
            Stmt::Raise(StmtRaise {
                node_index: _,
                range: _,
                exc,
                cause,
            }) => {
                exc.iter().for_each(|exception| self.value(exception));
                cause.iter().for_each(|cause| self.value(cause));
            }
            Stmt::Try(attempt) => self.attempt(attempt),
            Stmt::Assert(StmtAssert {
                node_index: _,
                range: _,
                test,
                msg,
            }) => {
                self.value(test);
                msg.iter().for_each(|message| self.value(message));
            }
            Stmt::Expr(StmtExpr {
                node_index: _,
                range: _,
                value,
            }) => {
                self.effect(value, is_first);
            }
            Stmt::Pass(_) => {}
            Stmt::Break(_) | Stmt::Continue(_) => {
                if self.loops == 0 {
                    self.refuse(Rule::Syntax, offset, "break and continue stand inside a loop");
                }
            }
            Stmt::ClassDef(_) => self.deny(offset, "there are no classes: clone a prototype"),
            Stmt::TypeAlias(_) => self.deny(offset, "no type statements"),
            Stmt::With(_) => self.deny(offset, "no `with`: a method holds no resources"),
            Stmt::Match(_) => self.deny(offset, "no `match`: write if and elif"),
            Stmt::Import(_) | Stmt::ImportFrom(_) => {
                self.deny(offset, "no imports: builtins, math and datetime are there")
            }
            Stmt::Global(_) => self.deny(offset, "no `global`: state lives in slots of self"),
            Stmt::Nonlocal(_) => self.deny(offset, "no `nonlocal`: return the value instead"),
            Stmt::IpyEscapeCommand(_) => self.deny(offset, "this is not Python"),
        }
    }

    fn deny(&mut self, offset: usize, message: &str) {
        self.refuse(Rule::DeniedStatement, offset, message);
    }

    /// A bare expression must be able to do something; a docstring may open the body.
    fn effect(&mut self, value: &'a Expr, is_first: bool) {
        match value {
            Expr::StringLiteral(_) if is_first => {}
            Expr::Call(_) | Expr::Named(_) | Expr::If(_) | Expr::BoolOp(_) => {}
            Expr::ListComp(_) | Expr::SetComp(_) | Expr::DictComp(_) => {}
            _ => {
                let message = "this line does nothing: assign it, return it or remove it";
                self.refuse(Rule::NoEffect, value.start().to_usize(), message);
            }
        }
        self.value(value);
    }

    fn nested(&mut self, function: &'a StmtFunctionDef) {
        self.nesting += 1;
        self.head(function);
        let (loops, weight) = (std::mem::take(&mut self.loops), std::mem::take(&mut self.weight));
        self.scopes
            .push(scope::locals(Some(&function.parameters), &function.body));
        self.body(&function.body);
        self.scopes.pop();
        (self.loops, self.weight) = (loops, weight);
        self.nesting -= 1;
    }

    fn looped(&mut self, body: &'a [Stmt]) {
        self.loops += 1;
        self.weighed(1, |check| check.body(body));
        self.loops -= 1;
    }

    fn attempt(&mut self, attempt: &'a StmtTry) {
        let StmtTry {
            node_index: _,
            range: _,
            body,
            handlers,
            orelse,
            finalbody,
            is_star,
        } = attempt;
        if *is_star {
            self.refuse(
                Rule::DeniedStatement,
                attempt.start().to_usize(),
                "no `except*`: write `except`",
            );
        }
        self.weighed(4, |check| {
            check.body(body);
            for handler in handlers {
                let ExceptHandler::ExceptHandler(inner) = handler;
                let ExceptHandlerExceptHandler {
                    node_index: _,
                    range: _,
                    type_,
                    name,
                    body,
                } = inner;
                match type_ {
                    Some(kind) => check.value(kind),
                    None => {
                        let message =
                            "a bare `except:` also swallows the end of the budget: write `except Exception:`";
                        check.refuse(Rule::DeniedStatement, handler.start().to_usize(), message);
                    }
                }
                if let Some(name) = name {
                    check.identifier(name);
                    check.caught.insert(name.as_str());
                }
                check.body(body);
            }
            check.body(orelse);
            check.body(finalbody);
        });
    }

    fn weighed(&mut self, weight: usize, walk: impl FnOnce(&mut Self)) {
        self.weight += weight;
        if self.weight > MAX_BLOCK_WEIGHT {
            self.refuse(
                Rule::TooDeep,
                0,
                "loops and try blocks nest too deep: split the method",
            );
        } else {
            walk(self);
        }
        self.weight -= weight;
    }
}

/// The one legal form of the declaration: the statement `self._p_changed = True`.
pub(crate) fn is_marker(statement: &Stmt) -> bool {
    let Stmt::Assign(assign) = statement else {
        return false;
    };
    let [Expr::Attribute(target)] = assign.targets.as_slice() else {
        return false;
    };
    target.attr.as_str() == MARKER
        && matches!(&*target.value, Expr::Name(name) if name.id == "self")
        && matches!(&*assign.value, Expr::BooleanLiteral(literal) if literal.value)
}

/// Numbers with or without a minus, strings, bytes, True, False, None.
fn is_constant(value: &Expr) -> bool {
    match value {
        Expr::NumberLiteral(number) => !number.value.is_complex(),
        Expr::UnaryOp(unary) => {
            unary.op == ruff_python_ast::UnaryOp::USub && unary.operand.is_number_literal_expr()
        }
        Expr::StringLiteral(_) | Expr::BytesLiteral(_) | Expr::BooleanLiteral(_) | Expr::NoneLiteral(_) => {
            true
        }
        _ => false,
    }
}
