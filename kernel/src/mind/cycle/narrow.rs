//! Generated code may only name what exists: slots that the receiver can see, and nothing invented. The grammar that the model is held
//! to says so too; this is the check, whatever wrote the code.
//!
//! A trial finds a read of an absent slot, but an assignment makes one: `delete_all_files` would answer by making `files`.

use std::collections::HashSet;

use ruff_python_ast::visitor::{Visitor, walk_expr};
use ruff_python_ast::{Expr, Stmt};
use ruff_text_size::Ranged;
use shared::bridge::Finding;
use shared::value::Value;

use crate::kernel::Kernel;

/// The marker of the persistence covenant is no slot.
const MARKER: &str = "_p_changed";

/// Whether the image wants it so: `orchestrator.narrowing` is anything but false.
pub fn is_wanted(kernel: &Kernel) -> bool {
    let orchestrator = kernel
        .resolve("orchestrator")
        .ok()
        .and_then(|id| kernel.image.state.object(id));
    let slot = orchestrator.as_ref().and_then(|object| object.slot("narrowing"));
    slot.is_none_or(|slot| slot.value != Value::Bool(false))
}

/// Every `self.name` whose name is not visible. A source that does not parse has none; the guard refuses it.
pub fn unknown_slots(source: &str, visible: &HashSet<String>) -> Vec<Finding> {
    let Ok(module) = ruff_python_parser::parse_module(source) else {
        return Vec::new();
    };
    let mut search = Search {
        source,
        visible,
        found: Vec::new(),
    };
    for statement in &module.syntax().body {
        if let Stmt::FunctionDef(function) = statement {
            search.visit_body(&function.body);
        }
    }
    search.found
}

struct Search<'a> {
    source: &'a str,
    visible: &'a HashSet<String>,
    found: Vec<Finding>,
}

impl<'a> Visitor<'a> for Search<'_> {
    fn visit_expr(&mut self, expression: &'a Expr) {
        if let Expr::Attribute(attribute) = expression
            && let Expr::Name(name) = &*attribute.value
            && name.id.as_str() == "self"
            && attribute.attr.as_str() != MARKER
            && !self.visible.contains(attribute.attr.as_str())
        {
            let before = &self.source[..attribute.range().start().to_usize()];
            self.found.push(Finding {
                rule: "unknown_slot".into(),
                line: before.matches('\n').count() as u32 + 1,
                message: format!("the receiver has no slot {}; use one that it has", attribute.attr),
            });
        }
        walk_expr(self, expression);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[(&str, u32)]) {
        let visible = ["count", "object_id"].map(str::to_owned).into_iter().collect();
        let found = unknown_slots(source, &visible);
        let found: Vec<(String, u32)> = found.into_iter().map(|f| (f.message, f.line)).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((message, line), (name, at)) in found.iter().zip(expected) {
            assert!(message.contains(name), "{message}");
            assert_eq!(line, at);
        }
    }

    #[test]
    fn only_invented_names_are_found_wherever_they_stand() {
        check(
            "def f(self):\n    return self.count + len(self.object_id())\n",
            &[],
        );
        check(
            "def f(self):\n    self.files = []\n    self._p_changed = True\n",
            &[(" files;", 2)],
        );
        check(
            "def f(self):\n    return [x for x in self.rows if self.count and f\"{self.name}\"]\n",
            &[(" rows;", 2), (" name;", 2)],
        );
    }
}
