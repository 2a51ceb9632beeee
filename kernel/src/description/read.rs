//! From text to an object.

use guard::{Limits, nests_within};
use ruff_python_ast::{Arguments, Expr, ExprCall, Number, Stmt, UnaryOp};
use ruff_text_size::Ranged;
use shared::id::ObjectId;
use shared::json::from_hex;
use shared::key::Key;
use shared::object::is_slot_name;
use shared::time;
use shared::tokens::is_canonical_big;
use shared::value::{BlobRef, MAX_DEPTH, Value};

use super::Description;

/// A list in a list takes a bracket, a map in a map two; calls and their parentheses come on top.
const LIMITS: Limits = Limits {
    brackets: 2 * MAX_DEPTH + 8,
    expression: 1_000,
    blocks: 90,
    elifs: 1_000,
};

/// The object that a file describes; nothing of it is executed. `names` says which object a `ref("…")` means.
pub fn read(source: &str, names: &dyn Fn(&str) -> Result<ObjectId, String>) -> Result<Description, String> {
    nests_within(source, LIMITS)?;
    let module = ruff_python_parser::parse_module(source)
        .map_err(|error| {
            format!(
                "line {}: {}",
                line(source, error.location.start().into()),
                error.error
            )
        })?
        .into_syntax();
    let mut reading = Reading {
        source,
        names,
        description: Description::default(),
    };
    for statement in &module.body {
        reading
            .statement(statement)
            .map_err(|what| format!("line {}: {what}", line(source, statement.start().into())))?;
    }
    Ok(reading.description)
}

struct Reading<'a> {
    source: &'a str,
    names: &'a dyn Fn(&str) -> Result<ObjectId, String>,
    description: Description,
}

impl Reading<'_> {
    fn statement(&mut self, statement: &Stmt) -> Result<(), String> {
        match statement {
            Stmt::Expr(doc) => match &*doc.value {
                Expr::StringLiteral(text) if self.description.slots.is_empty() => {
                    let text = text.value.to_str().trim_end().to_owned();
                    self.slot("comment", Value::Text(text))
                }
                Expr::Call(call) => self.call_statement(call),
                _ => Err(EXPECTED.into()),
            },
            Stmt::Assign(assign) => {
                let [Expr::Name(target)] = assign.targets.as_slice() else {
                    return Err("an assignment must have one name on its left".into());
                };
                let value = self.literal(&assign.value, 0)?;
                self.slot(target.id.as_str(), value)
            }
            Stmt::FunctionDef(function) => {
                let text = &self.source[function.range()];
                self.slot(function.name.as_str(), Value::Method(format!("{text}\n")))
            }
            _ => Err(EXPECTED.into()),
        }
    }

    fn call_statement(&mut self, call: &ExprCall) -> Result<(), String> {
        match (function(call), arguments(&call.arguments)?) {
            (Some("slot"), [Expr::StringLiteral(name), value]) => {
                let value = self.literal(value, 0)?;
                self.slot(name.value.to_str(), value)
            }
            (Some("entry"), [key, value]) => {
                let key = Key::of(&self.literal(key, 0)?).map_err(|error| error.to_string())?;
                let value = self.literal(value, 0)?;
                if let Some((last, _)) = self.description.entries.last()
                    && *last >= key
                    && self.description.entries.iter().any(|(known, _)| *known == key)
                {
                    return Err("the same key stands here twice".into());
                }
                self.description.entries.push((key, value));
                Ok(())
            }
            _ => Err(EXPECTED.into()),
        }
    }

    fn slot(&mut self, name: &str, value: Value) -> Result<(), String> {
        if !is_slot_name(name) {
            return Err(format!("{name:?} cannot name a slot"));
        }
        if self.description.slots.iter().any(|(known, _)| known == name) {
            return Err(format!("slot {name} stands here twice"));
        }
        self.description.slots.push((name.to_owned(), value));
        Ok(())
    }

    fn literal(&self, expression: &Expr, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("a value nested deeper than {MAX_DEPTH}"));
        }
        Ok(match expression {
            Expr::NoneLiteral(_) => Value::None,
            Expr::BooleanLiteral(bool) => Value::Bool(bool.value),
            Expr::StringLiteral(text) => Value::Text(text.value.to_str().to_owned()),
            Expr::BytesLiteral(bytes) => Value::Bytes(bytes.value.bytes().collect()),
            Expr::NumberLiteral(number) => match &number.value {
                Number::Int(int) => match int.as_i64() {
                    Some(int) => Value::Int(int),
                    None => big(int.to_string())?,
                },
                Number::Float(float) => Value::Float(*float),
                Number::Complex { .. } => return Err("a complex number".into()),
            },
            Expr::UnaryOp(unary) if unary.op == UnaryOp::USub => {
                let Expr::NumberLiteral(_) = &*unary.operand else {
                    return Err("a minus before what is no number".into());
                };
                match self.literal(&unary.operand, depth)? {
                    Value::Int(int) => Value::Int(-int),
                    Value::Float(float) => Value::Float(-float),
                    Value::Big(digits) => big(format!("-{digits}"))?,
                    _ => return Err("a minus before what is no number".into()),
                }
            }
            Expr::List(list) => Value::List(
                list.elts
                    .iter()
                    .map(|item| self.literal(item, depth + 1))
                    .collect::<Result<_, _>>()?,
            ),
            Expr::Dict(map) => {
                let mut pairs = Vec::with_capacity(map.items.len());
                for item in &map.items {
                    let key = item.key.as_ref().ok_or("a ** in a map")?;
                    let key = self.literal(key, depth + 1)?;
                    if !key.is_scalar() {
                        return Err(format!("a key that is a {}, and no scalar", key.kind()));
                    }
                    pairs.push((key, self.literal(&item.value, depth + 1)?));
                }
                Value::Map(pairs)
            }
            Expr::Call(call) => self.call(call)?,
            _ => return Err("no literal".into()),
        })
    }

    fn call(&self, call: &ExprCall) -> Result<Value, String> {
        let wrong = |form: &str| format!("this is not {form}");
        Ok(match (function(call), arguments(&call.arguments)?) {
            (Some("ref"), [Expr::StringLiteral(name)]) => Value::Ref((self.names)(name.value.to_str())?),
            (Some("time"), [Expr::StringLiteral(text)]) => time::from_text(text.value.to_str())
                .map(Value::Time)
                .ok_or_else(|| wrong("time(\"2026-11-21T01:22:10.123456Z\")"))?,
            (Some("blob"), [Expr::StringLiteral(digest), Expr::NumberLiteral(bytes)]) => {
                let digest = from_hex(digest.value.to_str()).and_then(|digest| digest.try_into().ok());
                let bytes = match &bytes.value {
                    Number::Int(int) => int.as_u64(),
                    _ => None,
                };
                match (digest, bytes) {
                    (Some(digest), Some(bytes)) => Value::Blob(BlobRef { digest, bytes }),
                    _ => return Err(wrong("blob(\"<64 hexadecimal digits>\", bytes)")),
                }
            }
            (Some("float"), [Expr::StringLiteral(text)]) => Value::Float(match text.value.to_str() {
                "nan" => f64::NAN,
                "inf" => f64::INFINITY,
                "-inf" => f64::NEG_INFINITY,
                _ => return Err(wrong("float(\"nan\"), float(\"inf\") or float(\"-inf\")")),
            }),
            (Some("float_bits"), [Expr::StringLiteral(text)]) => {
                let bits = from_hex(text.value.to_str()).and_then(|bits| <[u8; 8]>::try_from(bits).ok());
                let bits = bits.ok_or_else(|| wrong("float_bits(\"<16 hexadecimal digits>\")"))?;
                Value::Float(f64::from_bits(u64::from_be_bytes(bits)))
            }
            (Some("method"), [Expr::StringLiteral(source)]) => {
                Value::Method(source.value.to_str().to_owned())
            }
            _ => {
                return Err(
                    "the calls are ref, time, blob, float, float_bits and method, of literals".into(),
                );
            }
        })
    }
}

const EXPECTED: &str =
    "an object is described by assignments of literals, defs, slot(\"name\", value) and entry(key, value)";

fn function(call: &ExprCall) -> Option<&str> {
    match &*call.func {
        Expr::Name(name) => Some(name.id.as_str()),
        _ => None,
    }
}

fn arguments(arguments: &Arguments) -> Result<&[Expr], String> {
    match arguments.keywords.is_empty() {
        true => Ok(&arguments.args),
        false => Err("these calls take no keywords".into()),
    }
}

/// An integer by its decimal digits, of any length that a value has.
fn big(digits: String) -> Result<Value, String> {
    match digits.parse::<i64>() {
        Ok(int) => Ok(Value::Int(int)),
        Err(_) if is_canonical_big(&digits) => Ok(Value::Big(digits)),
        Err(_) => Err("an integer beyond 4300 digits, or a large one that is not decimal".into()),
    }
}

/// The line of an offset, counted from 1.
fn line(source: &str, offset: usize) -> usize {
    let before = source.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}
