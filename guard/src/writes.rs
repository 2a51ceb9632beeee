//! Every construct of Python that changes a value, at any depth of an expression, and the reach of what it answers.
//!
//! Counted as changes when the value reached is (or may be) persistent: assignment, augmented and annotated assignment and
//! deletion of attributes and items, targets of loops, unpacking, comprehensions; augmented assignment to another name of a
//! slot value; calls of the methods in the mutator table. A message to `self` is not a change here: its own method declares.

use ruff_python_ast::{
    Comprehension, Expr, ExprCall, ExprLambda, FStringPart, InterpolatedStringElement, Operator,
    StmtAugAssign,
};
use ruff_text_size::{Ranged, TextRange};

use crate::names;
use crate::paths::{Paths, State};
use crate::reach::{self, Reach};
use crate::rule::Rule;
use crate::scope;

impl<'a> Paths<'_, '_, 'a> {
    /// Evaluates an expression: records its changes in the state and answers the reach of its value.
    pub(crate) fn value(&mut self, expression: &'a Expr, state: &mut State) -> Reach {
        if !self.step() {
            return Reach::PERSISTENT;
        }
        match expression {
            Expr::Name(name) => self.name(name.id.as_str(), state),
            Expr::BoolOp(bool_op) => self.nearest(&bool_op.values, state),
            Expr::BinOp(binary) => {
                let left = self.value(&binary.left, state);
                let right = self.value(&binary.right, state);
                left.combined(right, binary.op == Operator::Mult)
            }
            Expr::UnaryOp(unary) => {
                self.value(&unary.operand, state);
                Reach::PLAIN
            }
            Expr::If(conditional) => {
                self.value(&conditional.test, state);
                let body = self.value(&conditional.body, state);
                body.or(self.value(&conditional.orelse, state))
            }
            Expr::Named(named) => {
                let found = self.value(&named.value, state);
                if let Expr::Name(name) = &*named.target {
                    self.walrus(name.id.as_str(), &named.value, found, state);
                }
                found
            }
            Expr::Compare(compare) => {
                self.value(&compare.left, state);
                self.nearest(&compare.comparators, state);
                Reach::PLAIN
            }
            Expr::List(list) => self.nearest(&list.elts, state).wrapped(),
            Expr::Tuple(tuple) => self.nearest(&tuple.elts, state).wrapped(),
            Expr::Set(set) => self.nearest(&set.elts, state).wrapped(),
            Expr::Dict(dict) => {
                let mut nearest = Reach::PLAIN;
                for item in &dict.items {
                    let value = match &item.key {
                        Some(key) => self.value(key, state).or(self.value(&item.value, state)),
                        None => self.value(&item.value, state).inside(),
                    };
                    nearest = nearest.or(value);
                }
                nearest.wrapped()
            }
            Expr::ListComp(comp) => self.comprehension(&comp.generators, [Some(&*comp.elt), None], state),
            Expr::SetComp(comp) => self.comprehension(&comp.generators, [Some(&*comp.elt), None], state),
            Expr::DictComp(comp) => {
                self.comprehension(&comp.generators, [comp.key.as_deref(), Some(&*comp.value)], state)
            }
            Expr::Generator(generator) => self.generator(&generator.generators, &generator.elt, state),
            Expr::Lambda(lambda) => self.lambda(lambda, state),
            Expr::Call(call) => self.call(call, state),
            Expr::Attribute(attribute) => self.value(&attribute.value, state).inside(),
            Expr::Subscript(subscript) => {
                let base = self.value(&subscript.value, state);
                self.value(&subscript.slice, state);
                if subscript.slice.is_slice_expr() {
                    base.copied()
                } else {
                    base.inside()
                }
            }
            Expr::Slice(slice) => {
                for part in [&slice.lower, &slice.upper, &slice.step].into_iter().flatten() {
                    self.value(part, state);
                }
                Reach::PLAIN
            }
            // Its elements come out, so that a display or a call around it wraps them.
            Expr::Starred(starred) => self.value(&starred.value, state).inside(),
            Expr::FString(string) => {
                for part in string.value.iter() {
                    if let FStringPart::FString(part) = part {
                        self.interpolations(part.elements.iter(), state);
                    }
                }
                Reach::PLAIN
            }
            Expr::StringLiteral(_) | Expr::BytesLiteral(_) | Expr::NumberLiteral(_) => Reach::PLAIN,
            Expr::BooleanLiteral(_) | Expr::NoneLiteral(_) | Expr::EllipsisLiteral(_) => Reach::PLAIN,
            // Denied elsewhere.
            Expr::Await(_)
            | Expr::Yield(_)
            | Expr::YieldFrom(_)
            | Expr::TString(_)
            | Expr::IpyEscapeCommand(_) => Reach::PERSISTENT,
        }
    }

    /// Assigns a value of this reach to a target; `from` is the expression that it came from, where there is one.
    pub(crate) fn assign(
        &mut self,
        target: &'a Expr,
        from: Option<&'a Expr>,
        found: Reach,
        state: &mut State,
    ) {
        match target {
            Expr::Name(name) => {
                let id = self.id(name.id.as_str());
                if let Some(from) = from {
                    self.alias(id, from);
                }
                state.set(id, found);
            }
            Expr::Tuple(_) | Expr::List(_) => {
                let elements = elements(target);
                let pairs = from
                    .map(elements_of_display)
                    .filter(|values| values.len() == elements.len());
                for (position, element) in elements.iter().enumerate() {
                    let value = pairs.and_then(|values| values.get(position));
                    match value {
                        Some(value) if !element.is_starred_expr() && !value.is_starred_expr() => {
                            let reach = self.value(value, state);
                            self.assign(element, Some(value), reach, state);
                        }
                        _ => self.assign(element, None, found.inside(), state),
                    }
                }
            }
            Expr::Starred(starred) => self.assign(&starred.value, None, found.wrapped(), state),
            Expr::Attribute(attribute) => {
                let base = self.value(&attribute.value, state);
                self.store(target, &attribute.value, base, from, found, state);
            }
            Expr::Subscript(subscript) => {
                let base = self.value(&subscript.value, state);
                self.value(&subscript.slice, state);
                self.store(target, &subscript.value, base, from, found, state);
            }
            _ => {}
        }
    }

    /// `target op= value`.
    pub(crate) fn augment(&mut self, statement: &'a StmtAugAssign, state: &mut State) {
        let added = self.value(&statement.value, state);
        let repeats = statement.op == Operator::Mult;
        let in_place = match statement.op {
            Operator::Add | Operator::Sub => !self.is_number(&statement.value),
            Operator::Mult | Operator::BitOr | Operator::BitAnd | Operator::BitXor => true,
            _ => false,
        };
        let Expr::Name(name) = &*statement.target else {
            // `pair[0] += [1]` changes what stands in a local pair; the pair itself is dealt with below.
            if in_place && self.value(&statement.target, state).is_persistent() {
                self.change(statement.target.range(), statement.range(), state);
            }
            return self.assign(&statement.target, Some(&statement.value), added, state);
        };
        let id = self.id(name.id.as_str());
        let current = state.get(id);
        if current.is_persistent() {
            if in_place {
                self.change(statement.target.range(), statement.range(), state);
                self.escape(&statement.value, state);
            }
        } else if current == Reach::PLAIN {
            state.set(id, current.combined(added, repeats));
        } else {
            self.taint(&statement.target, added.copied(), state);
        }
    }

    /// `del target`.
    pub(crate) fn delete(&mut self, target: &'a Expr, state: &mut State) {
        match target {
            Expr::Attribute(attribute) => {
                let base = self.value(&attribute.value, state);
                if base.is_persistent() {
                    self.change(target.range(), target.range(), state);
                }
            }
            Expr::Subscript(subscript) => {
                let base = self.value(&subscript.value, state);
                self.value(&subscript.slice, state);
                if base.is_persistent() {
                    self.change(target.range(), target.range(), state);
                }
            }
            Expr::Tuple(_) | Expr::List(_) => {
                elements(target)
                    .iter()
                    .for_each(|element| self.delete(element, state));
            }
            _ => {}
        }
    }

    fn name(&mut self, name: &str, state: &State) -> Reach {
        if self.is_bound(name) {
            let id = self.id(name);
            state.get(id)
        } else if names::is_module(name) {
            Reach::PLAIN
        } else {
            // A builtin as a value: `kind = list; kind.append(self.items, 1)` must be seen.
            Reach::PERSISTENT
        }
    }

    fn nearest(&mut self, values: &'a [Expr], state: &mut State) -> Reach {
        values.iter().fold(Reach::PLAIN, |nearest, value| {
            nearest.or(self.value(value, state))
        })
    }

    /// A walrus may or may not run, now or later: the name keeps what it had, and in a comprehension anything.
    fn walrus(&mut self, name: &str, value: &'a Expr, found: Reach, state: &mut State) {
        let id = self.id(name);
        self.alias(id, value);
        if self.comprehensions > 0 {
            self.leaked.push(id);
            state.set(id, Reach::PERSISTENT);
        } else {
            state.set(id, state.get(id).or(found));
        }
    }

    /// A value goes into an attribute or an item of a base.
    fn store(
        &mut self,
        target: &'a Expr,
        base: &'a Expr,
        base_reach: Reach,
        from: Option<&'a Expr>,
        found: Reach,
        state: &mut State,
    ) {
        if target
            .as_attribute_expr()
            .is_some_and(|attribute| attribute.attr.as_str() == names::MARKER)
        {
            // A marker in a bad form is refused as such.
        } else if base_reach.is_persistent() {
            self.change(target.range(), target.range(), state);
            if let Some(from) = from {
                self.escape(from, state);
            }
        } else {
            self.taint(base, found.wrapped(), state);
        }
    }

    fn call(&mut self, call: &'a ExprCall, state: &mut State) -> Reach {
        match &*call.func {
            Expr::Name(name) if !self.is_bound(name.id.as_str()) && names::is_builtin(name.id.as_str()) => {
                let reaches = self.arguments(call, state);
                let maps_plainly = matches!(call.arguments.args.first(), Some(Expr::Name(first))
                    if !self.is_bound(first.id.as_str()) && matches!(first.id.as_str(), "str" | "int" | "float" | "len" | "abs" | "repr" | "bool"));
                let stars = call.arguments.args.iter().any(Expr::is_starred_expr);
                let found = reach::of_builtin(name.id.as_str(), &reaches, maps_plainly);
                // With `*values` the count of arguments is unknown: max(*values) may look one step further.
                if stars {
                    found.or(reaches.iter().copied().fold(Reach::PLAIN, Reach::or).inside())
                } else {
                    found
                }
            }
            Expr::Attribute(attribute) => {
                let selector = attribute.attr.as_str();
                let base_name = attribute.value.as_name_expr().map(|name| name.id.as_str());
                if let Some(base) = base_name
                    && !self.is_bound(base)
                {
                    let reaches = self.arguments(call, state);
                    let nearest = reaches.into_iter().fold(Reach::PLAIN, Reach::or);
                    return if base == "dict" {
                        nearest.wrapped()
                    } else {
                        Reach::PLAIN
                    };
                }
                let base = self.value(&attribute.value, state);
                let reaches = self.arguments(call, state);
                // The first argument of these is a key: what is looked up by, not what is kept.
                let keys = usize::from(matches!(selector, "get" | "setdefault"));
                let nearest = reaches.iter().skip(keys).copied().fold(Reach::PLAIN, Reach::or);
                if names::is_mutator(selector) && base_name != Some("self") {
                    return self.mutate(call, &attribute.value, selector, base, nearest, state);
                }
                if reach::answers_text(selector) {
                    Reach::PLAIN
                } else if reach::answers_texts(selector) {
                    Reach::FRESH
                } else if selector == "copy" {
                    base.copied()
                } else if base.is_persistent() {
                    self.escape_arguments(call, state);
                    Reach::PERSISTENT
                } else {
                    match selector {
                        "items" => base.copied().wrapped(),
                        "keys" | "values" => base.copied(),
                        _ => base.inside().or(nearest),
                    }
                }
            }
            callee => {
                self.value(callee, state);
                self.arguments(call, state);
                self.escape_arguments(call, state);
                Reach::PERSISTENT
            }
        }
    }

    fn mutate(
        &mut self,
        call: &'a ExprCall,
        receiver: &'a Expr,
        selector: &str,
        base: Reach,
        argument: Reach,
        state: &mut State,
    ) -> Reach {
        if base.is_persistent() {
            self.change(call.func.range(), call.range(), state);
            self.escape_arguments(call, state);
            return Reach::PERSISTENT;
        }
        let held = match selector {
            "extend" | "update" => argument.inside().inside().wrapped(),
            _ => argument.wrapped(),
        };
        self.taint(receiver, held, state);
        match selector {
            "pop" | "setdefault" => base.inside().or(argument),
            "popitem" => base.copied(),
            _ => Reach::PLAIN,
        }
    }

    fn arguments(&mut self, call: &'a ExprCall, state: &mut State) -> Vec<Reach> {
        let mut reaches: Vec<Reach> = call
            .arguments
            .args
            .iter()
            .map(|argument| self.value(argument, state))
            .collect();
        for keyword in &call.arguments.keywords {
            let found = self.value(&keyword.value, state);
            // `key=` is a function, not data.
            if keyword.arg.as_ref().is_none_or(|name| name != "key") {
                reaches.push(found);
            }
        }
        reaches
    }

    /// A list, set or dict comprehension: runs at once. Twice, so that what one round leaves the next one sees.
    fn comprehension(
        &mut self,
        generators: &'a [Comprehension],
        results: [Option<&'a Expr>; 2],
        state: &mut State,
    ) -> Reach {
        let names: Vec<usize> = generators
            .iter()
            .flat_map(|generator| scope::target_names(&generator.target))
            .map(|name| self.id(name))
            .collect();
        let outside: Vec<Reach> = names.iter().map(|id| state.get(*id)).collect();
        self.comprehensions += 1;
        let mut nearest = Reach::PLAIN;
        for _ in 0..2 {
            for generator in generators {
                let found = self.value(&generator.iter, state).inside();
                self.assign(&generator.target, None, found, state);
                self.nearest(&generator.ifs, state);
            }
            for result in results.into_iter().flatten() {
                nearest = nearest.or(self.value(result, state));
            }
        }
        self.comprehensions -= 1;
        for (id, reach) in names.into_iter().zip(outside) {
            state.set(id, reach);
        }
        nearest.wrapped()
    }

    /// A generator runs when somebody asks it, perhaps after the declaration: it may change nothing.
    fn generator(&mut self, generators: &'a [Comprehension], element: &'a Expr, state: &mut State) -> Reach {
        let first = generators
            .first()
            .map(|generator| self.value(&generator.iter, state));
        let already = self.leaked.len();
        let mut later = state.anything();
        self.deferred += 1;
        self.comprehensions += 1;
        for (position, generator) in generators.iter().enumerate() {
            let found = match (position, first) {
                (0, Some(found)) => found,
                _ => self.value(&generator.iter, &mut later),
            };
            self.assign(&generator.target, None, found.inside(), &mut later);
            self.nearest(&generator.ifs, &mut later);
        }
        let found = self.value(element, &mut later);
        self.comprehensions -= 1;
        self.deferred -= 1;
        for id in self.leaked.split_off(already) {
            state.set(id, Reach::PERSISTENT);
        }
        found.wrapped()
    }

    fn lambda(&mut self, lambda: &'a ExprLambda, state: &State) -> Reach {
        let mut later = state.anything();
        self.deferred += 1;
        let comprehensions = std::mem::take(&mut self.comprehensions);
        self.value(&lambda.body, &mut later);
        self.comprehensions = comprehensions;
        self.deferred -= 1;
        Reach::PERSISTENT
    }

    fn interpolations(
        &mut self,
        elements: impl Iterator<Item = &'a InterpolatedStringElement>,
        state: &mut State,
    ) {
        for element in elements {
            let InterpolatedStringElement::Interpolation(field) = element else {
                continue;
            };
            self.value(&field.expression, state);
            if let Some(spec) = &field.format_spec {
                self.interpolations(spec.elements.iter(), state);
            }
        }
    }

    /// Certainly a number, so that `+=` can not extend a list in place.
    fn is_number(&self, value: &Expr) -> bool {
        match value {
            Expr::NumberLiteral(_) | Expr::BooleanLiteral(_) => true,
            Expr::UnaryOp(unary) => unary.operand.is_number_literal_expr(),
            Expr::Call(call) => match &*call.func {
                Expr::Name(name) => {
                    !self.is_bound(name.id.as_str())
                        && matches!(
                            name.id.as_str(),
                            "abs" | "float" | "int" | "len" | "ord" | "round"
                        )
                }
                _ => false,
            },
            Expr::BinOp(binary) => {
                // A number with a number; or a division, which only numbers know.
                matches!(binary.op, Operator::Div | Operator::FloorDiv | Operator::Pow)
                    || self.is_number(&binary.left) && self.is_number(&binary.right)
            }
            _ => false,
        }
    }

    /// A change of persistent state at this place.
    fn change(&mut self, target: TextRange, whole: TextRange, state: &mut State) {
        let offset = whole.start().to_usize();
        let what = self.text(target);
        if self.deferred > 0 {
            let message = format!(
                "`{what}` is changed inside a function, lambda or generator, which may run at any time: change it in the method's own body"
            );
            self.report.refuse(Rule::DeferredChange, offset, message);
        } else {
            state.changed(self.place(offset, what));
        }
    }
}

fn elements(target: &Expr) -> &[Expr] {
    match target {
        Expr::Tuple(tuple) => &tuple.elts,
        Expr::List(list) => &list.elts,
        _ => &[],
    }
}

pub(crate) fn elements_of_display(value: &Expr) -> &[Expr] {
    match value {
        Expr::Set(set) => &set.elts,
        _ => elements(value),
    }
}
