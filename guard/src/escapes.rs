//! Where values go: what becomes part of persistent state, and what goes into a value made here.

use ruff_python_ast::{Comprehension, Expr, ExprCall};

use crate::paths::{Paths, State};
use crate::reach::Reach;
use crate::writes::elements_of_display;

impl<'a> Paths<'_, '_, 'a> {
    /// The value becomes part of persistent state: what was fresh is no more.
    pub(crate) fn escape(&mut self, value: &'a Expr, state: &mut State) {
        match value {
            Expr::Name(name) => {
                let id = self.id(name.id.as_str());
                for other in self.aliases_of(id) {
                    if state.get(other) != Reach::PLAIN {
                        state.set(other, Reach::PERSISTENT);
                    }
                }
            }
            Expr::List(_) | Expr::Tuple(_) | Expr::Set(_) => {
                elements_of_display(value)
                    .iter()
                    .for_each(|element| self.escape(element, state));
            }
            Expr::Dict(dict) => dict.items.iter().for_each(|item| self.escape(&item.value, state)),
            Expr::Starred(starred) => self.escape(&starred.value, state),
            Expr::Named(named) => {
                self.escape(&named.target, state);
                self.escape(&named.value, state);
            }
            Expr::If(conditional) => {
                self.escape(&conditional.body, state);
                self.escape(&conditional.orelse, state);
            }
            Expr::BoolOp(bool_op) => bool_op.values.iter().for_each(|value| self.escape(value, state)),
            _ => self.escape_contents(value, state),
        }
    }

    /// A copy or an item of the value becomes part of persistent state: the value stays local, what is in it does not.
    pub(crate) fn escape_contents(&mut self, value: &'a Expr, state: &mut State) {
        match value {
            Expr::Name(_) => self.taint(value, Reach::HOLDS, state),
            Expr::BinOp(binary) => {
                self.escape_contents(&binary.left, state);
                self.escape_contents(&binary.right, state);
            }
            Expr::Subscript(subscript) => self.escape_contents(&subscript.value, state),
            Expr::Attribute(attribute) => self.escape_contents(&attribute.value, state),
            Expr::Starred(starred) => self.escape_contents(&starred.value, state),
            Expr::Call(call) => {
                self.escape_contents(&call.func, state);
                for argument in &call.arguments.args {
                    self.escape_contents(argument, state);
                }
            }
            Expr::ListComp(comp) => self.escape_sources(&comp.generators, state),
            Expr::SetComp(comp) => self.escape_sources(&comp.generators, state),
            Expr::DictComp(comp) => self.escape_sources(&comp.generators, state),
            Expr::Generator(generator) => self.escape_sources(&generator.generators, state),
            _ => {}
        }
    }

    pub(crate) fn escape_arguments(&mut self, call: &'a ExprCall, state: &mut State) {
        for argument in &call.arguments.args {
            self.escape(argument, state);
        }
        for keyword in &call.arguments.keywords {
            self.escape(&keyword.value, state);
        }
    }

    fn escape_sources(&mut self, generators: &'a [Comprehension], state: &mut State) {
        for generator in generators {
            self.escape_contents(&generator.iter, state);
        }
    }

    /// Something of this reach went into a value made here: all names of it hold it now.
    pub(crate) fn taint(&mut self, base: &'a Expr, reach: Reach, state: &mut State) {
        match base {
            Expr::Name(name) => {
                let id = self.id(name.id.as_str());
                for other in self.aliases_of(id) {
                    if state.get(other) != Reach::PLAIN {
                        let held = state.get(other).or(reach);
                        state.set(other, held);
                    }
                }
            }
            Expr::Attribute(attribute) => self.taint(&attribute.value, reach.wrapped(), state),
            Expr::Subscript(subscript) => self.taint(&subscript.value, reach.wrapped(), state),
            Expr::Call(call) => self.taint(&call.func, reach, state),
            Expr::Named(named) => {
                self.taint(&named.target, reach, state);
                self.taint(&named.value, reach, state);
            }
            Expr::If(conditional) => {
                self.taint(&conditional.body, reach, state);
                self.taint(&conditional.orelse, reach, state);
            }
            Expr::BoolOp(bool_op) => bool_op
                .values
                .iter()
                .for_each(|value| self.taint(value, reach, state)),
            _ => {}
        }
    }
}
