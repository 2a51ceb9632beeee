//! The guard's verdict once more, in the jail, on the very tree that CPython is about to compile.
//!
//! The kernel's guard reads a candidate with another parser. Should the two ever understand a source differently, what counts is this tree:
//! a candidate's first run does not begin when a node, a name or an attribute in it is not allowed. What takes more than a tree to see
//! (declared changes, bounds) stays with the guard.

use std::collections::HashSet;

use pyo3::exceptions::PySyntaxError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use vocabulary::{EXCEPTIONS, FUNCTIONS, MARKER, MODULES, PRIVATE_SELECTORS};

use crate::globals;

/// Kinds of nodes that a method may consist of.
const NODES: &[&str] = &[
    "Module",
    "FunctionDef",
    "arguments",
    "arg",
    "Return",
    "Delete",
    "Assign",
    "AugAssign",
    "AnnAssign",
    "For",
    "While",
    "If",
    "Raise",
    "Try",
    "ExceptHandler",
    "Assert",
    "Expr",
    "Pass",
    "Break",
    "Continue",
    "BoolOp",
    "NamedExpr",
    "BinOp",
    "UnaryOp",
    "Lambda",
    "IfExp",
    "Dict",
    "Set",
    "ListComp",
    "SetComp",
    "DictComp",
    "GeneratorExp",
    "comprehension",
    "Compare",
    "Call",
    "keyword",
    "FormattedValue",
    "JoinedStr",
    "Constant",
    "Attribute",
    "Subscript",
    "Starred",
    "Name",
    "List",
    "Tuple",
    "Slice",
    "Load",
    "Store",
    "Del",
    "And",
    "Or",
    "Not",
    "Invert",
    "UAdd",
    "USub",
    "Add",
    "Sub",
    "Mult",
    "MatMult",
    "Div",
    "Mod",
    "Pow",
    "LShift",
    "RShift",
    "BitOr",
    "BitXor",
    "BitAnd",
    "FloorDiv",
    "Eq",
    "NotEq",
    "Lt",
    "LtE",
    "Gt",
    "GtE",
    "Is",
    "IsNot",
    "In",
    "NotIn",
];

/// Beginnings of attributes that lead into frames, code and tracebacks.
const INNER: &[&str] = &["ag_", "co_", "cr_", "f_", "func_", "gi_", "im_", "tb_"];
/// Whole attributes that lead there, or that walk attributes by a text.
const INNER_NAMES: &[&str] = &["add_note", "mro", "with_traceback", "format_map"];

/// Fails, as a syntax error, with the first thing of a tree that no candidate may have.
pub fn judge(tree: &Bound<'_, PyAny>) -> PyResult<()> {
    let mut names = Names::default();
    let mut open = vec![tree.clone()];
    while let Some(node) = open.pop() {
        let kind = node.get_type().name()?.to_string();
        if !NODES.contains(&kind.as_str()) {
            return refuse(&node, &format!("a method has no {kind}"));
        }
        names.look(&node, &kind)?;
        for field in node.getattr("_fields")?.try_iter()? {
            let field = field?.cast_into::<PyString>()?;
            let Ok(value) = node.getattr(&field) else {
                continue;
            };
            match value.cast::<PyList>() {
                Ok(items) => open.extend(items.iter().filter(is_node)),
                Err(_) if is_node(&value) => open.push(value),
                Err(_) => {}
            }
        }
    }
    names.judge(tree)
}

#[derive(Default)]
struct Names {
    bound: HashSet<String>,
    read: HashSet<String>,
}

impl Names {
    fn look(&mut self, node: &Bound<'_, PyAny>, kind: &str) -> PyResult<()> {
        let text = |field: &str| -> PyResult<Option<String>> { node.getattr(field)?.extract() };
        let (name, is_read) = match kind {
            "Name" => (text("id")?, node.getattr("ctx")?.get_type().name()? == "Load"),
            "FunctionDef" | "ExceptHandler" => (text("name")?, false),
            "arg" => (text("arg")?, false),
            "Attribute" => {
                let attribute = text("attr")?.unwrap_or_default();
                let is_inner = INNER.iter().any(|begin| attribute.starts_with(begin));
                // `f_` and its kin are free as names of slots of self, as the guard has it.
                if is_private(&attribute)
                    || INNER_NAMES.contains(&attribute.as_str())
                    || is_inner && !is_of_self(node)?
                {
                    return refuse(node, &format!("no method says .{attribute}"));
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        let Some(name) = name else {
            return Ok(());
        };
        if is_private(&name) {
            return refuse(node, &format!("{name} begins with an underscore"));
        }
        match is_read {
            true => self.read.insert(name),
            false => self.bound.insert(name),
        };
        Ok(())
    }

    fn judge(&self, tree: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut unknown: Vec<&String> = self
            .read
            .iter()
            .filter(|name| !self.bound.contains(*name) && !is_known(name))
            .filter(|name| !globals::is_package(tree.py(), name))
            .collect();
        unknown.sort_unstable();
        match unknown.first() {
            Some(name) => refuse(tree, &format!("the name {name} is not there")),
            None => Ok(()),
        }
    }
}

fn is_private(name: &str) -> bool {
    name.starts_with('_') && name != MARKER && !PRIVATE_SELECTORS.contains(&name)
}

/// What a method may name without binding it.
fn is_known(name: &str) -> bool {
    [FUNCTIONS, EXCEPTIONS, MODULES]
        .iter()
        .any(|names| names.contains(&name))
}

fn is_node(value: &Bound<'_, PyAny>) -> bool {
    value.hasattr("_fields").unwrap_or(false)
}

fn is_of_self(attribute: &Bound<'_, PyAny>) -> PyResult<bool> {
    let value = attribute.getattr("value")?;
    Ok(value.get_type().name()? == "Name" && value.getattr("id")?.extract::<String>()? == "self")
}

fn refuse(node: &Bound<'_, PyAny>, what: &str) -> PyResult<()> {
    let line: usize = node
        .getattr("lineno")
        .and_then(|line| line.extract())
        .unwrap_or(1);
    Err(PySyntaxError::new_err(format!(
        "refused in the jail, line {line}: {what}"
    )))
}
