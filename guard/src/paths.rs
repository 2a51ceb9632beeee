//! Every path from a change to a normal end must declare it (the persistence covenant).
//!
//! An abstract run of the body: a [`State`] says for one point of the program which change may be undeclared there and how
//! near to persistent state each name may be. States are joined where paths meet; loops run until nothing is new. An end by
//! `raise` aborts the transaction and needs no declaration. Exceptions may leave any statement, before or after its effect.

use std::collections::{BTreeSet, HashMap};

use ruff_python_ast::{
    ExceptHandler, Expr, Number, Stmt, StmtFor, StmtFunctionDef, StmtIf, StmtTry, StmtWhile,
};
use ruff_text_size::{Ranged, TextRange};

use crate::names;
use crate::reach::Reach;
use crate::rule::{Report, Rule};
use crate::scope;
use crate::statements::is_marker;

/// Statements and expressions that one analysis evaluates at most.
const MAX_STEPS: usize = 300_000;
/// Rounds of a loop before every name is taken to be persistent, which is where it would end at worst.
const MAX_ROUNDS: usize = 4;

/// Checks the covenant for the whole method.
pub(crate) fn check(function: &StmtFunctionDef, report: &mut Report<'_>) {
    let mut paths = Paths {
        report,
        bound: scope::bound_anywhere(&function.parameters, &function.body),
        ids: HashMap::new(),
        groups: Vec::new(),
        places: Vec::new(),
        frames: Vec::new(),
        leaked: Vec::new(),
        comprehensions: 0,
        deferred: 0,
        steps: 0,
        marker: None,
    };
    let mut state = State::start();
    for parameter in function.parameters.iter() {
        let id = paths.id(parameter.name().as_str());
        state.set(id, Reach::PERSISTENT);
    }
    // A builtin's name that only an inner scope binds is still the builtin out here, and that is no local value.
    let own = scope::locals(Some(&function.parameters), &function.body);
    let inner: Vec<&str> = paths
        .bound
        .iter()
        .copied()
        .filter(|name| !own.contains(name))
        .collect();
    for name in inner.into_iter().filter(|name| names::is_builtin(name)) {
        let id = paths.id(name);
        state.set(id, Reach::PERSISTENT);
    }
    let end = paths.block(&function.body, state);
    if let Some(state) = end {
        paths.leave(&state, None);
    }
    if paths.steps >= MAX_STEPS {
        let message = "too many paths to follow: nest fewer loops, try blocks and comprehensions";
        paths
            .report
            .refuse(Rule::TooComplex, function.start().to_usize(), message);
    }
    if let (Some(offset), true) = (paths.marker, paths.places.is_empty()) {
        let message = "nothing is changed here: `self._p_changed = True` is not needed";
        paths.report.warn(Rule::UnneededMarker, offset, message);
    }
}

/// The analysis of one method.
pub(crate) struct Paths<'r, 's, 'a> {
    pub(crate) report: &'r mut Report<'s>,
    /// Every name that the method binds in some scope: such a name is never taken for a builtin.
    bound: BTreeSet<&'a str>,
    ids: HashMap<String, usize>,
    /// Names that may be the same value share a group (union-find by parent).
    groups: Vec<usize>,
    /// Where changes stand: byte offset and text of the target.
    places: Vec<(usize, String)>,
    frames: Vec<Frame>,
    /// Names that a walrus inside a comprehension has bound.
    pub(crate) leaked: Vec<usize>,
    pub(crate) comprehensions: usize,
    /// How many lambdas, nested functions and generators are around: changes there are refused.
    pub(crate) deferred: usize,
    steps: usize,
    marker: Option<usize>,
}

/// What may hold at one point of the program. `None` instead of a state: the point is not reached.
#[derive(Clone, PartialEq)]
pub(crate) struct State {
    /// A change that may be undeclared here, by its place.
    pending: Option<usize>,
    /// The reach of each name by its id; names beyond the end are unbound yet.
    reaches: Vec<Reach>,
}

/// What catches a jump.
enum Frame {
    Loop {
        breaks: Option<State>,
        continues: Option<State>,
    },
    Handlers {
        raised: Option<State>,
    },
    Finally {
        raised: Option<State>,
        breaks: Option<State>,
        continues: Option<State>,
        returns: Option<(State, usize)>,
    },
}

impl State {
    fn start() -> State {
        State {
            pending: None,
            reaches: Vec::new(),
        }
    }

    pub(crate) fn get(&self, id: usize) -> Reach {
        self.reaches.get(id).copied().unwrap_or(Reach::PLAIN)
    }

    pub(crate) fn set(&mut self, id: usize, reach: Reach) {
        if self.reaches.len() <= id {
            self.reaches.resize(id + 1, Reach::PLAIN);
        }
        self.reaches[id] = reach;
    }

    pub(crate) fn changed(&mut self, place: usize) {
        self.pending = Some(place);
    }

    /// The same point at an unknown later time: every name may be persistent.
    pub(crate) fn anything(&self) -> State {
        let later = self.reaches.len().max(1024);
        State {
            pending: None,
            reaches: vec![Reach::PERSISTENT; later],
        }
    }

    fn join(&mut self, other: &State) {
        self.pending = match (self.pending, other.pending) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        for id in 0..self.reaches.len().max(other.reaches.len()) {
            let reach = self.get(id).or(other.get(id));
            self.set(id, reach);
        }
    }
}

fn merge(into: &mut Option<State>, other: Option<&State>) {
    match (into.as_mut(), other) {
        (Some(state), Some(other)) => state.join(other),
        (None, Some(other)) => *into = Some(other.clone()),
        (_, None) => {}
    }
}

impl<'a> Paths<'_, '_, 'a> {
    pub(crate) fn step(&mut self) -> bool {
        self.steps += 1;
        self.steps < MAX_STEPS
    }

    pub(crate) fn is_bound(&self, name: &str) -> bool {
        self.bound.contains(name)
    }

    pub(crate) fn id(&mut self, name: &str) -> usize {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.groups.len();
        self.ids.insert(name.to_owned(), id);
        self.groups.push(id);
        id
    }

    /// The name and the names of the value may be one value from now on.
    pub(crate) fn alias(&mut self, id: usize, value: &Expr) {
        match value {
            Expr::Name(name) if self.is_bound(name.id.as_str()) => {
                let other = self.id(name.id.as_str());
                let (one, two) = (self.group(id), self.group(other));
                self.groups[one] = two;
            }
            Expr::Named(named) => {
                self.alias(id, &named.target);
                self.alias(id, &named.value);
            }
            Expr::If(conditional) => {
                self.alias(id, &conditional.body);
                self.alias(id, &conditional.orelse);
            }
            Expr::BoolOp(bool_op) => bool_op.values.iter().for_each(|value| self.alias(id, value)),
            _ => {}
        }
    }

    pub(crate) fn aliases_of(&self, id: usize) -> Vec<usize> {
        let group = self.group(id);
        (0..self.groups.len())
            .filter(|other| self.group(*other) == group)
            .collect()
    }

    fn group(&self, mut id: usize) -> usize {
        while self.groups[id] != id {
            id = self.groups[id];
        }
        id
    }

    /// The number of a change; the same place has the same number in every round of a loop.
    pub(crate) fn place(&mut self, offset: usize, what: String) -> usize {
        if let Some(known) = self
            .places
            .iter()
            .position(|place| place.0 == offset && place.1 == what)
        {
            return known;
        }
        self.places.push((offset, what));
        self.places.len() - 1
    }

    /// The first words of a piece of source, for a message.
    pub(crate) fn text(&self, range: TextRange) -> String {
        let text = self
            .report
            .source
            .get(range.start().to_usize()..range.end().to_usize())
            .unwrap_or("");
        let line = text.lines().next().unwrap_or("");
        if line.chars().count() > 60 {
            line.chars().take(57).chain("...".chars()).collect()
        } else {
            line.to_owned()
        }
    }

    fn block(&mut self, body: &'a [Stmt], state: State) -> Option<State> {
        body.iter()
            .try_fold(state, |state, statement| self.statement(statement, state))
    }

    fn maybe(&mut self, body: &'a [Stmt], state: Option<State>) -> Option<State> {
        state.and_then(|state| self.block(body, state))
    }

    fn statement(&mut self, statement: &'a Stmt, mut state: State) -> Option<State> {
        if !self.step() {
            return None;
        }
        self.may_raise(&state);
        match statement {
            Stmt::If(conditional) => return self.conditional(conditional, state),
            Stmt::While(repeat) => return self.repeat(repeat, state),
            Stmt::For(each) => return self.each(each, state),
            Stmt::Try(attempt) => return self.attempt(attempt, state),
            Stmt::Return(end) => {
                if let Some(value) = &end.value {
                    self.value(value, &mut state);
                    self.may_raise(&state);
                }
                self.leave(&state, Some(statement.start().to_usize()));
                return None;
            }
            Stmt::Raise(raise) => {
                for value in [&raise.exc, &raise.cause].into_iter().flatten() {
                    self.value(value, &mut state);
                }
                self.may_raise(&state);
                return None;
            }
            Stmt::Break(_) => {
                self.jump(&state, true);
                return None;
            }
            Stmt::Continue(_) => {
                self.jump(&state, false);
                return None;
            }
            _ if is_marker(statement) => {
                if self.deferred == 0 {
                    self.marker = self.marker.or(Some(statement.start().to_usize()));
                    state.pending = None;
                }
            }
            Stmt::Assign(assign) => {
                let found = self.value(&assign.value, &mut state);
                for target in &assign.targets {
                    self.assign(target, Some(&assign.value), found, &mut state);
                }
            }
            Stmt::AugAssign(assign) => self.augment(assign, &mut state),
            Stmt::AnnAssign(assign) => match &assign.value {
                Some(value) => {
                    let found = self.value(value, &mut state);
                    self.assign(&assign.target, Some(value), found, &mut state);
                }
                None => {
                    if !assign.target.is_name_expr() {
                        self.value(&assign.target, &mut state);
                    }
                }
            },
            Stmt::Delete(delete) => {
                delete
                    .targets
                    .iter()
                    .for_each(|target| self.delete(target, &mut state));
            }
            Stmt::Assert(assert) => {
                self.value(&assert.test, &mut state);
                // The message is evaluated only on the way to an abort.
                if let Some(message) = &assert.msg {
                    let mut failing = state.clone();
                    self.value(message, &mut failing);
                    self.may_raise(&failing);
                }
            }
            Stmt::Expr(line) => {
                self.value(&line.value, &mut state);
            }
            Stmt::FunctionDef(function) => self.nested(function, &mut state),
            Stmt::Pass(_) => {}
            // Denied by the allowlist, so the verdict does not depend on what they do.
            Stmt::ClassDef(_) | Stmt::TypeAlias(_) | Stmt::With(_) | Stmt::Match(_) | Stmt::Import(_) => {}
            Stmt::ImportFrom(_) | Stmt::Global(_) | Stmt::Nonlocal(_) | Stmt::IpyEscapeCommand(_) => {}
        }
        self.may_raise(&state);
        Some(state)
    }

    fn conditional(&mut self, conditional: &'a StmtIf, mut state: State) -> Option<State> {
        self.value(&conditional.test, &mut state);
        self.may_raise(&state);
        let mut end = self.block(&conditional.body, state.clone());
        let mut otherwise = Some(state);
        for clause in &conditional.elif_else_clauses {
            let Some(mut state) = otherwise.take() else { break };
            if let Some(test) = &clause.test {
                self.value(test, &mut state);
                self.may_raise(&state);
                otherwise = Some(state.clone());
            }
            let taken = self.block(&clause.body, state);
            merge(&mut end, taken.as_ref());
        }
        merge(&mut end, otherwise.as_ref());
        end
    }

    fn repeat(&mut self, repeat: &'a StmtWhile, state: State) -> Option<State> {
        let forever = is_always_true(&repeat.test);
        let (exit, breaks) = self.rounds(state, |paths, state| {
            paths.value(&repeat.test, state);
            paths.may_raise(state);
            let exit = (!forever).then(|| state.clone());
            (exit, paths.block(&repeat.body, state.clone()))
        });
        let mut end = self.maybe(&repeat.orelse, exit);
        merge(&mut end, breaks.as_ref());
        end
    }

    fn each(&mut self, each: &'a StmtFor, mut state: State) -> Option<State> {
        let found = self.value(&each.iter, &mut state).inside();
        self.may_raise(&state);
        let (exit, breaks) = self.rounds(state, |paths, state| {
            let exit = state.clone();
            // What is iterated may have been tainted in the round before, as in `for x in xs: xs.append(self)`.
            let again = paths.reach_again(&each.iter, state).inside();
            paths.assign(&each.target, None, found.or(again), state);
            paths.may_raise(state);
            (Some(exit), paths.block(&each.body, state.clone()))
        });
        let mut end = self.maybe(&each.orelse, exit);
        merge(&mut end, breaks.as_ref());
        end
    }

    /// The present reach of what a loop iterates over, when it is a name; evaluating it again would run its changes again.
    fn reach_again(&mut self, iterated: &'a Expr, state: &mut State) -> Reach {
        match iterated {
            Expr::Name(_) => self.value(iterated, state),
            _ => Reach::PLAIN,
        }
    }

    /// Runs the rounds of a loop until nothing is new. Answers the state at the regular exit and the one after breaks.
    fn rounds(
        &mut self,
        entry: State,
        mut round: impl FnMut(&mut Self, &mut State) -> (Option<State>, Option<State>),
    ) -> (Option<State>, Option<State>) {
        let mut head = entry;
        let mut breaks = None;
        for count in 1.. {
            self.frames.push(Frame::Loop {
                breaks: None,
                continues: None,
            });
            let (exit, end) = round(self, &mut head.clone());
            if let Some(Frame::Loop {
                breaks: broken,
                continues,
            }) = self.frames.pop()
            {
                merge(&mut breaks, broken.as_ref());
                let mut next = head.clone();
                for again in [end, continues].iter().flatten() {
                    next.join(again);
                }
                if count >= MAX_ROUNDS && next != head {
                    next.reaches = next.anything().reaches;
                }
                if next != head && self.steps < MAX_STEPS {
                    head = next;
                    continue;
                }
            }
            return (exit, breaks);
        }
        (None, breaks)
    }

    fn attempt(&mut self, attempt: &'a StmtTry, state: State) -> Option<State> {
        let has_finally = !attempt.finalbody.is_empty();
        if has_finally {
            self.frames.push(Frame::Finally {
                raised: None,
                breaks: None,
                continues: None,
                returns: None,
            });
        }
        self.frames.push(Frame::Handlers { raised: None });
        self.may_raise(&state);
        let body = self.block(&attempt.body, state);
        let raised = match self.frames.pop() {
            Some(Frame::Handlers { raised }) => raised,
            _ => None,
        };
        let mut end = self.maybe(&attempt.orelse, body);
        for handler in &attempt.handlers {
            let ExceptHandler::ExceptHandler(handler) = handler;
            let Some(mut state) = raised.clone() else { continue };
            if let Some(kind) = &handler.type_ {
                self.value(kind, &mut state);
            }
            if let Some(name) = &handler.name {
                let id = self.id(name.as_str());
                state.set(id, Reach::PERSISTENT);
            }
            let caught = self.block(&handler.body, state);
            merge(&mut end, caught.as_ref());
        }
        if !has_finally {
            return end;
        }
        let Some(Frame::Finally {
            raised,
            breaks,
            continues,
            returns,
        }) = self.frames.pop()
        else {
            return end;
        };
        let last = &attempt.finalbody;
        if let Some(state) = self.maybe(last, raised) {
            self.may_raise(&state);
        }
        if let Some(state) = self.maybe(last, breaks) {
            self.jump(&state, true);
        }
        if let Some(state) = self.maybe(last, continues) {
            self.jump(&state, false);
        }
        if let Some((state, offset)) = returns
            && let Some(state) = self.block(last, state)
        {
            self.leave(&state, Some(offset));
        }
        self.maybe(last, end)
    }

    /// A nested function: analysed for an unknown later time; its own names begin fresh, everything else may be persistent.
    fn nested(&mut self, function: &'a StmtFunctionDef, state: &mut State) {
        let id = self.id(function.name.as_str());
        state.set(id, Reach::PERSISTENT);
        let mut later = state.anything();
        for name in scope::locals(None, &function.body) {
            let id = self.id(name);
            later.set(id, Reach::PLAIN);
        }
        for parameter in function.parameters.iter() {
            let id = self.id(parameter.name().as_str());
            later.set(id, Reach::PERSISTENT);
        }
        let frames = std::mem::take(&mut self.frames);
        let comprehensions = std::mem::take(&mut self.comprehensions);
        self.deferred += 1;
        self.block(&function.body, later);
        self.deferred -= 1;
        self.comprehensions = comprehensions;
        self.frames = frames;
    }

    /// An exception may leave here: to every handler up to the nearest `finally`.
    fn may_raise(&mut self, state: &State) {
        for frame in self.frames.iter_mut().rev() {
            match frame {
                Frame::Loop { .. } => {}
                Frame::Handlers { raised } => merge(raised, Some(state)),
                Frame::Finally { raised, .. } => {
                    merge(raised, Some(state));
                    return;
                }
            }
        }
    }

    /// `break` or `continue`: to the nearest loop, through the nearest `finally`.
    fn jump(&mut self, state: &State, is_break: bool) {
        for frame in self.frames.iter_mut().rev() {
            match frame {
                Frame::Handlers { .. } => {}
                Frame::Loop { breaks, continues }
                | Frame::Finally {
                    breaks, continues, ..
                } => {
                    merge(if is_break { breaks } else { continues }, Some(state));
                    return;
                }
            }
        }
    }

    /// A normal end, at a `return` or after the last line: through the nearest `finally`, or out.
    fn leave(&mut self, state: &State, offset: Option<usize>) {
        for frame in self.frames.iter_mut().rev() {
            if let Frame::Finally { returns, .. } = frame {
                match returns {
                    Some((known, _)) => known.join(state),
                    None => *returns = Some((state.clone(), offset.unwrap_or(0))),
                }
                return;
            }
        }
        let Some((place, what)) = state.pending.and_then(|place| self.places.get(place)) else {
            return;
        };
        let end = match offset {
            Some(offset) => format!("the return on line {}", self.report.line_at(offset)),
            None => "the end of the method".to_owned(),
        };
        let message = format!(
            "`{what}` is changed, and {end} is reached without `self._p_changed = True`: write it after the last change on every path"
        );
        let place = *place;
        self.report.refuse(Rule::UndeclaredChange, place, message);
    }
}

fn is_always_true(test: &Expr) -> bool {
    match test {
        Expr::BooleanLiteral(literal) => literal.value,
        Expr::NumberLiteral(number) => matches!(&number.value, Number::Int(int) if int.as_u64() == Some(1)),
        _ => false,
    }
}
