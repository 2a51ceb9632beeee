//! A task's objects in the real image: made anew for every example, sent to, and looked at afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use shared::bridge::{Answer, Call, Fault, WishText};
use shared::example::{Example, Expected, Held, same};
use shared::id::{ObjectId, ThoughtId, TransactionId};
use shared::json::to_json;
use shared::object::PARENTS;
use shared::reason;
use shared::value::Value;

use super::home::{BenchHome, unexpected};
use super::notation::{Drawing, name_in, named, refers};
use super::task::Task;
use crate::failure::Failure;

/// What is wished for is no data of the task.
const WISHES: &str = "wishes";

/// A fresh copy of a task's objects.
pub struct World<'a> {
    task: &'a Task,
    ids: BTreeMap<String, ObjectId>,
    /// What each object holds before the message, data slots alone.
    before: BTreeMap<(String, String), Value>,
    /// The newest transaction when it was made.
    made: TransactionId,
}

/// What a send came to.
pub struct Sent {
    pub outcome: Result<Value, Fault>,
    pub thought: Option<ThoughtId>,
    /// What it wrote of the task's objects: `SLOT` or `OBJECT.SLOT`; foreign objects by their id. Its own method is not in it.
    pub writes: BTreeSet<String>,
    pub elapsed: Duration,
}

/// How a send differs from what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It was to be answered.
    Raised,
    /// It was to fail.
    NotRaised,
    Answer,
    /// A slot holds something else than it should.
    State,
    /// What it should not have written at all.
    Writes,
}

impl<'a> World<'a> {
    /// The objects as an example wants them.
    pub fn make(home: &mut BenchHome, task: &'a Task, given: &[Held]) -> Result<World<'a>, Failure> {
        let mut world = World {
            task,
            ids: BTreeMap::new(),
            before: BTreeMap::new(),
            made: TransactionId(0),
        };
        let mut left: Vec<&Drawing> = task.objects.iter().collect();
        while !left.is_empty() {
            let is_known = |name: &String| {
                world.ids.contains_key(name) || !task.objects.iter().any(|object| object.name == *name)
            };
            let Some(at) = left.iter().position(|object| object.parents.iter().all(is_known)) else {
                return Err(Failure::usage(format!(
                    "{}: its objects are their own parents",
                    task.id
                )));
            };
            let object = left.remove(at);
            world.make_one(home, object, given)?;
        }
        for object in &task.objects {
            world.join(home, object, given)?;
        }
        for method in &task.methods {
            if !task.is_bound(&method.on) || !home.knows(&task.id) {
                world.define(home, &method.on, &method.source)?;
            }
        }
        Ok(world)
    }

    /// Gives an object of the task a method; the guard looks at it.
    pub fn define(&mut self, home: &mut BenchHome, object: &str, source: &str) -> Result<(), Failure> {
        self.change(
            home,
            Call::Define {
                object: self.id(object).to_string(),
                source: source.to_owned(),
            },
        )
    }

    /// Says what is wanted of the message, as a user would.
    pub fn wish(&mut self, home: &mut BenchHome, wish: WishText) -> Result<(), Failure> {
        self.change(
            home,
            Call::Wish {
                object: self.receiver().to_string(),
                selector: self.task.selector.clone(),
                wish: Some(wish),
            },
        )
    }

    fn change(&mut self, home: &mut BenchHome, call: Call) -> Result<(), Failure> {
        match home.ask(call)? {
            Answer::Changed { transaction, .. } => {
                self.made = transaction;
                Ok(())
            }
            _ => Err(unexpected("a change")),
        }
    }

    pub fn receiver(&self) -> ObjectId {
        self.id(&self.task.receiver().name)
    }

    /// Sends the task's message, and looks at what it did.
    pub fn send(&self, home: &mut BenchHome, example: &Example) -> Result<Sent, Failure> {
        let call = Call::Send {
            receiver: self.receiver().to_string(),
            selector: self.task.selector.clone(),
            arguments: example
                .arguments
                .iter()
                .map(|value| self.resolved(value))
                .collect(),
            deadline_ms: Some(self.task.budget.seconds * 1_000 + 5_000),
        };
        let begun = Instant::now();
        let answered = home.call(call)?;
        let elapsed = begun.elapsed();
        let (outcome, thought, transaction) = match answered {
            Ok(Answer::Sent {
                result,
                transaction,
                thought,
            }) => (Ok(result), thought, transaction),
            Ok(_) => return Err(unexpected("send")),
            Err(fault) => {
                let thought = fault.thought;
                (Err(fault), thought, TransactionId(0))
            }
        };
        let writes = match transaction > self.made {
            true => self.writes(home, transaction)?,
            false => BTreeSet::new(),
        };
        Ok(Sent {
            outcome,
            thought,
            writes,
            elapsed,
        })
    }

    /// How the send and the objects after it differ from the example, if they do.
    pub fn judge(
        &self,
        home: &mut BenchHome,
        example: &Example,
        sent: &Sent,
    ) -> Result<Option<Wrong>, Failure> {
        let wrong = match (&example.expected, &sent.outcome) {
            (Expected::Failure, Ok(_)) => Some(Wrong::NotRaised),
            (Expected::Failure, Err(fault)) if !is_refusal_of_a_method(fault) => Some(Wrong::Raised),
            (Expected::Answer(_) | Expected::Any, Err(_)) => Some(Wrong::Raised),
            (Expected::Answer(value), Ok(answer)) if !same(&self.resolved(value), answer) => {
                Some(Wrong::Answer)
            }
            _ => None,
        };
        if wrong.is_some() {
            return Ok(wrong);
        }
        if sent.writes.iter().any(|write| !self.task.writes.contains(write)) {
            return Ok(Some(Wrong::Writes));
        }
        let mut expected = self.before.clone();
        for held in &example.after {
            expected.insert(self.place(held), self.resolved(&held.value));
        }
        Ok(match self.is_as(home, &expected)? {
            true => None,
            false => Some(Wrong::State),
        })
    }

    /// Whether the task's objects hold exactly this.
    fn is_as(
        &self,
        home: &mut BenchHome,
        expected: &BTreeMap<(String, String), Value>,
    ) -> Result<bool, Failure> {
        let mut found = BTreeMap::new();
        for (name, id) in &self.ids {
            if self.task.is_bound(name) {
                continue;
            }
            for slot in home.inspect(&id.to_string())?.slots {
                if !matches!(slot.value, Value::Method(_)) && ![PARENTS, WISHES].contains(&slot.name.as_str())
                {
                    found.insert((name.clone(), slot.name), slot.value);
                }
            }
        }
        Ok(found.len() == expected.len()
            && found
                .iter()
                .all(|(place, value)| expected.get(place).is_some_and(|wanted| same(wanted, value))))
    }

    fn make_one(&mut self, home: &mut BenchHome, object: &Drawing, given: &[Held]) -> Result<(), Failure> {
        let is_bound = self.task.is_bound(&object.name);
        if is_bound && home.knows(&self.task.id) {
            let id = home.inspect(&object.name)?.id;
            self.ids.insert(object.name.clone(), id);
            return Ok(());
        }
        let slots: Vec<(String, Value)> = self
            .slots(object, given)
            .into_iter()
            .filter(|(_, value)| !refers(value))
            .collect();
        let call = Call::New {
            parent: self.named(&object.parents[0]),
            slots,
            name: is_bound.then(|| object.name.clone()),
        };
        match home.ask(call)? {
            Answer::Created {
                object: id,
                transaction,
            } => {
                self.ids.insert(object.name.clone(), id);
                self.made = transaction;
                Ok(())
            }
            _ => Err(unexpected("new")),
        }
    }

    /// What needs the other objects: further parents, and slots that refer to them.
    fn join(&mut self, home: &mut BenchHome, object: &Drawing, given: &[Held]) -> Result<(), Failure> {
        if self.task.is_bound(&object.name) {
            return Ok(());
        }
        let id = self.id(&object.name).to_string();
        let slots = self.slots(object, given);
        let mut sets: Vec<(String, Value)> =
            slots.iter().filter(|(_, value)| refers(value)).cloned().collect();
        if object.parents.len() > 1 {
            let mut parents = Vec::new();
            for parent in &object.parents {
                let parent = match self.ids.get(parent) {
                    Some(id) => *id,
                    None => home.inspect(parent)?.id,
                };
                parents.push(Value::Ref(parent));
            }
            sets.push((PARENTS.into(), Value::List(parents)));
        }
        for (slot, value) in sets {
            let call = Call::Set {
                object: id.clone(),
                slot,
                value: self.resolved(&value),
            };
            self.change(home, call)?;
        }
        for (slot, value) in slots {
            let place = (object.name.clone(), slot);
            let value = self.resolved(&value);
            self.before.insert(place, value);
        }
        Ok(())
    }

    /// An example on fresh objects that have this method.
    pub fn tried(
        home: &mut BenchHome,
        task: &Task,
        source: &str,
        example: &Example,
    ) -> Result<(Sent, Option<Wrong>), Failure> {
        let mut world = World::make(home, task, &example.given)?;
        world.define(home, &task.receiver().name, source)?;
        let sent = world.send(home, example)?;
        let wrong = world.judge(home, example, &sent)?;
        Ok((sent, wrong))
    }

    /// The object's slots with what the example gives.
    fn slots(&self, object: &Drawing, given: &[Held]) -> Vec<(String, Value)> {
        let mut slots = object.slots.clone();
        for held in given {
            if self.place(held).0 != object.name {
                continue;
            }
            match slots.iter_mut().find(|(name, _)| *name == held.place.slot) {
                Some((_, value)) => *value = held.value.clone(),
                None => slots.push((held.place.slot.clone(), held.value.clone())),
            }
        }
        slots
    }

    fn place(&self, held: &Held) -> (String, String) {
        // Checked when the task was read.
        let object = named(held).ok().flatten();
        let object = object.unwrap_or(&self.task.receiver().name);
        (object.to_owned(), held.place.slot.clone())
    }

    /// As the kernel finds it.
    fn named(&self, name: &str) -> String {
        match self.ids.get(name) {
            Some(id) => id.to_string(),
            None => name.to_owned(),
        }
    }

    pub fn id(&self, name: &str) -> ObjectId {
        self.ids.get(name).copied().unwrap_or(ObjectId(0))
    }

    /// The value with the task's objects in the place of their names.
    fn resolved(&self, value: &Value) -> Value {
        match value {
            Value::Text(_) => match name_in(value).and_then(|name| self.ids.get(name)) {
                Some(id) => Value::Ref(*id),
                None => value.clone(),
            },
            Value::List(items) => Value::List(items.iter().map(|item| self.resolved(item)).collect()),
            Value::Map(pairs) => Value::Map(
                pairs
                    .iter()
                    .map(|(key, item)| (key.clone(), self.resolved(item)))
                    .collect(),
            ),
            _ => value.clone(),
        }
    }

    /// What a transaction changed, as the log has it.
    fn writes(&self, home: &mut BenchHome, transaction: TransactionId) -> Result<BTreeSet<String>, Failure> {
        let call = Call::Log {
            from: Some(transaction.to_string()),
            limit: 1,
        };
        let Answer::Log(views) = home.ask(call)? else {
            return Err(unexpected("log"));
        };
        let receiver = self.receiver();
        let names: BTreeMap<ObjectId, &str> =
            self.ids.iter().map(|(name, id)| (*id, name.as_str())).collect();
        let mut writes = BTreeSet::new();
        for change in views.iter().flat_map(|view| &view.changes) {
            let slot = match (&change.slot, &change.key) {
                (Some(slot), _) => slot.clone(),
                (None, Some(key)) => format!("[{}]", to_json(key)),
                (None, None) => continue,
            };
            let is_method = matches!(change.value, Some(Value::Method(_)));
            if change.is_new || (is_method && slot == self.task.selector) {
                continue;
            }
            writes.insert(match names.get(&change.object) {
                Some(_) if change.object == receiver => slot,
                Some(name) => format!("{name}.{slot}"),
                None => format!("{}.{slot}", change.object),
            });
        }
        Ok(writes)
    }
}

/// Whether the method itself, or a rule of the image, would not: that nobody understands a message is no such thing.
fn is_refusal_of_a_method(fault: &Fault) -> bool {
    [
        reason::METHOD_RAISED,
        reason::COVENANT_BROKEN,
        reason::DOOMED,
        reason::WRITE_REFUSED,
    ]
    .contains(&fault.reason.as_str())
}
