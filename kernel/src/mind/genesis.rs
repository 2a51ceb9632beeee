//! The Prototypal Awakening: the primordial objects, described by `kernel/genesis/`, made in one transaction.
//!
//! One legal Python file per object, described and never executed: an assignment of a literal is a data slot, `ref("name")`
//! refers to another file's object, a `def` is a method slot. The manifest's order fixes the ids.

use std::collections::HashMap;

use ruff_python_ast::{Expr, Number, Stmt, UnaryOp};
use ruff_text_size::Ranged;
use shared::id::ObjectId;
use shared::value::Value;

use crate::image::draft::Change;

/// Name and source of every primordial object, in id order from `#1`.
const MANIFEST: [(&str, &str); 26] = [
    ("lobby", include_str!("../../genesis/lobby.py")),
    ("traits", include_str!("../../genesis/traits.py")),
    ("pllm", include_str!("../../genesis/pllm.py")),
    ("genesis", include_str!("../../genesis/genesis.py")),
    ("orchestrator", include_str!("../../genesis/orchestrator.py")),
    ("memory_manager", include_str!("../../genesis/memory_manager.py")),
    (
        "knowledge_catalog",
        include_str!("../../genesis/knowledge_catalog.py"),
    ),
    ("covenant", include_str!("../../genesis/covenant.py")),
    ("cycle", include_str!("../../genesis/cycle.py")),
    ("states", include_str!("../../genesis/states.py")),
    ("states.idle", include_str!("../../genesis/states/idle.py")),
    (
        "states.decomposing",
        include_str!("../../genesis/states/decomposing.py"),
    ),
    (
        "states.delegating",
        include_str!("../../genesis/states/delegating.py"),
    ),
    (
        "states.synthesizing",
        include_str!("../../genesis/states/synthesizing.py"),
    ),
    (
        "states.validating",
        include_str!("../../genesis/states/validating.py"),
    ),
    (
        "states.complete",
        include_str!("../../genesis/states/complete.py"),
    ),
    ("states.failed", include_str!("../../genesis/states/failed.py")),
    ("personas", include_str!("../../genesis/personas.py")),
    ("personas.robin", include_str!("../../genesis/personas/robin.py")),
    ("personas.brick", include_str!("../../genesis/personas/brick.py")),
    ("personas.babs", include_str!("../../genesis/personas/babs.py")),
    (
        "personas.alfred",
        include_str!("../../genesis/personas/alfred.py"),
    ),
    ("ordered_map", include_str!("../../genesis/ordered_map.py")),
    ("counter", include_str!("../../genesis/counter.py")),
    ("queue", include_str!("../../genesis/queue.py")),
    ("bag", include_str!("../../genesis/bag.py")),
];

/// A genesis file that does not describe an object.
#[derive(Debug, thiserror::Error)]
#[error("genesis/{file}.py: {what}")]
pub struct GenesisError {
    file: String,
    what: String,
}

/// The changes that make every primordial object.
pub fn awakening() -> Result<Vec<Change>, GenesisError> {
    let names: HashMap<&str, ObjectId> = MANIFEST
        .iter()
        .enumerate()
        .map(|(index, (name, _))| (*name, ObjectId(index as u64 + 1)))
        .collect();
    MANIFEST
        .iter()
        .map(|(name, source)| {
            let error = |what: String| GenesisError {
                file: (*name).to_owned(),
                what,
            };
            let slots = slots(source, &names).map_err(error)?;
            Ok(Change::Create {
                object: names[name],
                slots,
            })
        })
        .collect()
}

/// How many ids the awakening takes.
pub const OBJECTS: u64 = MANIFEST.len() as u64;

fn slots(source: &str, names: &HashMap<&str, ObjectId>) -> Result<Vec<(String, Value)>, String> {
    let module = ruff_python_parser::parse_module(source)
        .map_err(|error| error.to_string())?
        .into_syntax();
    let mut slots = Vec::new();
    for statement in &module.body {
        match statement {
            Stmt::Expr(doc) if slots.is_empty() && doc.value.is_string_literal_expr() => {
                slots.push(("comment".to_owned(), literal(&doc.value, names)?));
            }
            Stmt::Assign(assign) => {
                let [Expr::Name(target)] = assign.targets.as_slice() else {
                    return Err("an assignment must have one name on its left".into());
                };
                slots.push((target.id.to_string(), literal(&assign.value, names)?));
            }
            Stmt::FunctionDef(function) => {
                let text = &source[function.range()];
                slots.push((function.name.to_string(), Value::Method(format!("{text}\n"))));
            }
            other => {
                return Err(format!(
                    "only assignments and defs describe an object, not {:?}",
                    other.range()
                ));
            }
        }
    }
    Ok(slots)
}

fn literal(expression: &Expr, names: &HashMap<&str, ObjectId>) -> Result<Value, String> {
    let each = |items: &[Expr]| {
        items
            .iter()
            .map(|item| literal(item, names))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match expression {
        Expr::NoneLiteral(_) => Value::None,
        Expr::BooleanLiteral(bool) => Value::Bool(bool.value),
        Expr::StringLiteral(text) => Value::Text(text.value.to_str().trim_end().to_owned()),
        Expr::NumberLiteral(number) => match &number.value {
            Number::Int(int) => Value::Int(int.as_i64().ok_or("an integer beyond 64 bits")?),
            Number::Float(float) => Value::Float(*float),
            Number::Complex { .. } => return Err("a complex number".into()),
        },
        Expr::UnaryOp(unary) if unary.op == UnaryOp::USub => match literal(&unary.operand, names)? {
            Value::Int(int) => Value::Int(-int),
            Value::Float(float) => Value::Float(-float),
            _ => return Err("a minus before what is no number".into()),
        },
        Expr::List(list) => Value::List(each(&list.elts)?),
        Expr::Dict(dict) => Value::Map(
            dict.items
                .iter()
                .map(|item| {
                    let key = item.key.as_ref().ok_or("a ** in a map")?;
                    Ok((literal(key, names)?, literal(&item.value, names)?))
                })
                .collect::<Result<_, String>>()?,
        ),
        Expr::Call(call) => match (&*call.func, &*call.arguments.args) {
            (Expr::Name(function), [Expr::StringLiteral(name)]) if function.id.as_str() == "ref" => {
                let name = name.value.to_str();
                Value::Ref(
                    *names
                        .get(name)
                        .ok_or_else(|| format!("there is no object {name}"))?,
                )
            }
            _ => return Err("the only call is ref(\"name\")".into()),
        },
        other => return Err(format!("no literal at {:?}", other.range())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_describes_its_object() {
        let changes = awakening().unwrap();
        assert_eq!(changes.len() as u64, OBJECTS);
        for change in changes {
            let Change::Create { slots, object } = change else {
                panic!("not a creation")
            };
            assert!(
                slots.iter().any(|(name, _)| name == "comment"),
                "{object} has no comment"
            );
            for (name, value) in slots {
                if let Value::Method(source) = value {
                    assert!(source.starts_with(&format!("def {name}(self")), "{source}");
                }
            }
        }
    }
}
