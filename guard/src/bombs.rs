//! What plainly never ends or never fits: loops without a way out, and sizes that stand in the source.
//!
//! The jail ends everything at its deadline and its memory; this is the early, explained refusal of what can be seen.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{
    Expr, ExprBinOp, ExprCall, Number, Operator, Stmt, StmtFunctionDef, StmtWhile, UnaryOp,
};
use ruff_text_size::Ranged;

use crate::rule::{Report, Rule};

/// Steps of one `range`.
const MOST_STEPS: i128 = 1_000_000_000;
/// Items, characters or bytes that one expression makes at once.
const MOST_ITEMS: i128 = 10_000_000;
/// Bits of a number that one expression makes at once.
const MOST_BITS: i128 = 1 << 20;
/// Methods of texts whose first argument is a width.
const WIDTHS: [&str; 4] = ["center", "ljust", "rjust", "zfill"];

pub(crate) fn check(function: &StmtFunctionDef, report: &mut Report<'_>) {
    let mut search = Search { report };
    search.visit_body(&function.body);
}

struct Search<'r, 's> {
    report: &'r mut Report<'s>,
}

impl<'a> Visitor<'a> for Search<'_, '_> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if let Stmt::While(block) = statement
            && always(&block.test)
            && !leaves(block)
        {
            let message = "this loop has no way out: give it a condition, a break or a return";
            self.report
                .refuse(Rule::Endless, statement.start().to_usize(), message);
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        let large = match expression {
            Expr::BinOp(operation) => large_operation(operation),
            Expr::Call(call) => large_call(call),
            _ => None,
        };
        if let Some(what) = large {
            let message = format!("{what}: no method can hold that");
            self.report
                .refuse(Rule::TooLarge, expression.start().to_usize(), message);
            return;
        }
        visitor::walk_expr(self, expression);
    }
}

fn always(test: &Expr) -> bool {
    match test {
        Expr::BooleanLiteral(literal) => literal.value,
        Expr::NumberLiteral(_) => folded(test).is_some_and(|value| value != 0),
        _ => false,
    }
}

/// Whether something in the loop ends it in plain sight. What merely could raise is no way out.
fn leaves(block: &StmtWhile) -> bool {
    let mut exits = Exits {
        depth: 0,
        found: false,
    };
    exits.visit_body(&block.body);
    exits.found
}

/// Looks for a break of this loop, or a return or raise at any depth.
struct Exits {
    /// Loops between the statement and the one that is judged.
    depth: usize,
    found: bool,
}

impl<'a> Visitor<'a> for Exits {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Return(_) | Stmt::Raise(_) | Stmt::Assert(_) => self.found = true,
            Stmt::Break(_) => self.found |= self.depth == 0,
            Stmt::FunctionDef(_) => {}
            Stmt::For(block) => {
                self.depth += 1;
                self.visit_body(&block.body);
                self.depth -= 1;
                self.visit_body(&block.orelse);
            }
            Stmt::While(block) => {
                self.depth += 1;
                self.visit_body(&block.body);
                self.depth -= 1;
                self.visit_body(&block.orelse);
            }
            _ => visitor::walk_stmt(self, statement),
        }
    }
}

fn large_operation(operation: &ExprBinOp) -> Option<&'static str> {
    let (left, right) = (&*operation.left, &*operation.right);
    match operation.op {
        Operator::Mult => {
            let repeats = |items: &Expr, times: &Expr| {
                let is_sequence = matches!(
                    items,
                    Expr::List(_)
                        | Expr::Tuple(_)
                        | Expr::StringLiteral(_)
                        | Expr::BytesLiteral(_)
                        | Expr::FString(_)
                );
                is_sequence && folded(times).is_some_and(|times| times >= MOST_ITEMS)
            };
            (repeats(left, right) || repeats(right, left)).then_some("a sequence repeated so often")
        }
        Operator::Pow => match (folded(left), folded(right)) {
            (Some(base), Some(exponent)) if base.abs() >= 2 => {
                let bits = i128::from(128 - base.unsigned_abs().leading_zeros()).saturating_mul(exponent);
                (bits > MOST_BITS).then_some("a number of so many digits")
            }
            _ => None,
        },
        Operator::LShift => folded(right)
            .is_some_and(|bits| bits > MOST_BITS)
            .then_some("a number of so many digits"),
        Operator::Mod => match left {
            Expr::StringLiteral(text) if has_wide_field(text.value.to_str()) => {
                Some("a text padded to such a width")
            }
            _ => None,
        },
        _ => None,
    }
}

fn large_call(call: &ExprCall) -> Option<&'static str> {
    let first = call.arguments.args.first();
    match &*call.func {
        Expr::Name(name) => match name.id.as_str() {
            "range" => call
                .arguments
                .args
                .iter()
                .any(|bound| folded(bound).is_some_and(|bound| bound.abs() >= MOST_STEPS))
                .then_some("a range of so many steps"),
            "bytes" | "bytearray" => {
                let size = first.and_then(folded)?;
                (size >= MOST_ITEMS * 10).then_some("so many bytes at once")
            }
            _ => None,
        },
        Expr::Attribute(attribute) if WIDTHS.contains(&attribute.attr.as_str()) => {
            let width = first.and_then(folded)?;
            (width >= MOST_ITEMS).then_some("a text padded to such a width")
        }
        _ => None,
    }
}

/// `%` fields of five digits or more.
fn has_wide_field(text: &str) -> bool {
    text.split('%').skip(1).any(|field| {
        let digits = field
            .trim_start_matches(['-', '+', ' ', '#', '0'])
            .chars()
            .take_while(char::is_ascii_digit)
            .count();
        digits >= 5
    })
}

/// The value of an integer expression of literals, held within bounds; none where it is no such.
fn folded(expression: &Expr) -> Option<i128> {
    match expression {
        Expr::NumberLiteral(number) => match &number.value {
            Number::Int(int) => Some(int.as_i64().map_or(i128::MAX, i128::from)),
            _ => None,
        },
        Expr::UnaryOp(unary) if unary.op == UnaryOp::USub => folded(&unary.operand)?.checked_neg(),
        Expr::BinOp(operation) => {
            let (left, right) = (folded(&operation.left)?, folded(&operation.right)?);
            Some(match operation.op {
                Operator::Add => left.saturating_add(right),
                Operator::Sub => left.saturating_sub(right),
                Operator::Mult => left.saturating_mul(right),
                Operator::Pow => left.saturating_pow(u32::try_from(right).ok()?.min(4096)),
                Operator::LShift if (0..100).contains(&right) => left.saturating_mul(1 << right),
                _ => return None,
            })
        }
        _ => None,
    }
}
