//! Which names a function binds, as CPython's symbol table decides it.

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{ExceptHandler, Expr, ExprContext, Parameters, Stmt};

/// The names that are local to a function with these parameters and this body.
///
/// Included: parameters, targets of assignments, loops, `except … as`, `del`, nested functions, walrus targets (those inside
/// comprehensions too). Not included: targets of comprehensions, which are local to the comprehension, and anything inside
/// nested functions and lambdas.
pub(crate) fn locals<'a>(parameters: Option<&'a Parameters>, body: &'a [Stmt]) -> BTreeSet<&'a str> {
    let mut bindings = Bindings {
        names: parameter_names(parameters),
        everywhere: false,
    };
    bindings.visit_body(body);
    bindings.names
}

/// The names that a lambda binds: parameters and walrus targets.
pub(crate) fn lambda_locals<'a>(parameters: Option<&'a Parameters>, body: &'a Expr) -> BTreeSet<&'a str> {
    let mut bindings = Bindings {
        names: parameter_names(parameters),
        everywhere: false,
    };
    bindings.visit_expr(body);
    bindings.names
}

/// The names that an assignment target binds.
pub(crate) fn target_names(target: &Expr) -> BTreeSet<&str> {
    let mut bindings = Bindings {
        names: BTreeSet::new(),
        everywhere: true,
    };
    bindings.visit_expr(target);
    bindings.names
}

/// Every name bound anywhere in the method, in whatever scope.
pub(crate) fn bound_anywhere<'a>(parameters: &'a Parameters, body: &'a [Stmt]) -> BTreeSet<&'a str> {
    let mut bindings = Bindings {
        names: parameter_names(Some(parameters)),
        everywhere: true,
    };
    bindings.visit_body(body);
    bindings.names
}

fn parameter_names(parameters: Option<&Parameters>) -> BTreeSet<&str> {
    parameters
        .into_iter()
        .flat_map(|all| all.iter())
        .map(|parameter| parameter.name().as_str())
        .collect()
}

struct Bindings<'a> {
    names: BTreeSet<&'a str>,
    /// Whether scopes inside the function count too.
    everywhere: bool,
}

impl<'a> Visitor<'a> for Bindings<'a> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(function) => {
                self.names.insert(function.name.as_str());
                if self.everywhere {
                    self.names.extend(parameter_names(Some(&function.parameters)));
                    self.visit_body(&function.body);
                }
            }
            Stmt::ClassDef(definition) => {
                self.names.insert(definition.name.as_str());
            }
            _ => visitor::walk_stmt(self, statement),
        }
    }

    fn visit_except_handler(&mut self, handler: &'a ExceptHandler) {
        let ExceptHandler::ExceptHandler(inner) = handler;
        self.names.extend(inner.name.as_ref().map(|name| name.as_str()));
        visitor::walk_except_handler(self, handler);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Name(name) if !matches!(name.ctx, ExprContext::Load) => {
                self.names.insert(name.id.as_str());
            }
            Expr::Lambda(lambda) => {
                if self.everywhere {
                    self.names.extend(parameter_names(lambda.parameters.as_deref()));
                    self.visit_expr(&lambda.body);
                }
            }
            _ => visitor::walk_expr(self, expression),
        }
    }

    fn visit_comprehension(&mut self, comprehension: &'a ruff_python_ast::Comprehension) {
        if self.everywhere {
            self.visit_expr(&comprehension.target);
        }
        self.visit_expr(&comprehension.iter);
        for condition in &comprehension.ifs {
            self.visit_expr(condition);
        }
    }
}
