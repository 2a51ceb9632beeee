//! What is told of a task: its intent and visible examples as a wish on the receiver (docs/wishes.md), in paths that lead from the
//! receiver or the arguments in the place of the task's own names.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use shared::bridge::WishText;
use shared::example::{Example, Expected, Held};
use shared::object::PARENTS;
use shared::path::{Path, Place, Start, Step};
use shared::value::Value;

use super::home::{BenchHome, Telling};
use super::notation::{Drawing, name_in, named, refers};
use super::task::Task;
use super::world::World;
use crate::failure::Failure;

/// Tells what the home's thoughts may know of the task.
pub fn tell(home: &mut BenchHome, world: &mut World<'_>, task: &Task) -> Result<(), Failure> {
    let wish = match home.telling {
        Telling::Nothing => return Ok(()),
        Telling::Intent => WishText::default(),
        // What is to be refused has `-> !` for the very message that is sent; it would be refused for that.
        Telling::All if !task.is_solvable() => WishText::default(),
        Telling::All => WishText {
            examples: examples(task, world),
            ..WishText::default()
        },
    };
    let intent = Some(task.intent.clone());
    world.wish(home, WishText { intent, ..wish })
}

fn examples(task: &Task, world: &World<'_>) -> Vec<String> {
    let first = &task.visible[0];
    let ways = Ways {
        task,
        world,
        brought: &first.arguments,
        from_receiver: from_receiver(task, first),
    };
    task.visible
        .iter()
        .map(|example| ways.told(example).to_string())
        .collect()
}

/// How the task's objects are reached.
struct Ways<'a> {
    task: &'a Task,
    world: &'a World<'a>,
    /// What the message in hand has for arguments.
    brought: &'a [Value],
    from_receiver: BTreeMap<String, Path>,
}

impl Ways<'_> {
    fn told(&self, example: &Example) -> Example {
        let own = &example.arguments;
        // Only the message in hand has arguments before the example has its own.
        let argument =
            |(at, value): (usize, &Value)| match value == &self.brought[at] && name_in(value).is_some() {
                true => Value::Text(format!("@{}", at + 1)),
                false => self.value(value, &[]),
            };
        Example {
            given: self.helds(&self.before(example), own),
            arguments: own.iter().enumerate().map(argument).collect(),
            expected: match &example.expected {
                Expected::Answer(value) => Expected::Answer(self.value(value, own)),
                other => other.clone(),
            },
            after: self.helds(&example.after, own),
        }
    }

    /// Everything that the task's objects hold before the example, references left out: an example that somebody writes down holds by itself.
    fn before(&self, example: &Example) -> Vec<Held> {
        let receiver = &self.task.receiver().name;
        let mut helds = Vec::new();
        for object in &self.task.objects {
            let name = (object.name != *receiver).then(|| Step::Slot(object.name.clone()));
            let place = |slot: &str| Place {
                object: Path {
                    start: Start::Receiver,
                    steps: name.iter().cloned().collect(),
                },
                slot: slot.to_owned(),
            };
            let drawn = object.slots.iter().filter(|(_, value)| !refers(value));
            let drawn = drawn.filter(|_| !self.task.is_bound(&object.name));
            helds.extend(drawn.map(|(slot, value)| Held {
                place: place(slot),
                value: value.clone(),
            }));
        }
        for held in &example.given {
            match helds
                .iter_mut()
                .find(|known: &&mut Held| known.place == held.place)
            {
                Some(known) => known.value = held.value.clone(),
                None => helds.push(held.clone()),
            }
        }
        helds
    }

    fn helds(&self, helds: &[Held], arguments: &[Value]) -> Vec<Held> {
        let told = |held: &Held| Held {
            place: Place {
                object: match named(held).ok().flatten() {
                    Some(name) => self.path(name, arguments),
                    None => Path::RECEIVER,
                },
                slot: held.place.slot.clone(),
            },
            value: self.value(&held.value, arguments),
        };
        helds.iter().map(told).collect()
    }

    fn path(&self, name: &str, arguments: &[Value]) -> Path {
        let argument = arguments.iter().position(|value| name_in(value) == Some(name));
        let start = match (self.from_receiver.get(name), argument) {
            (Some(path), _) => return path.clone(),
            (None, Some(at)) => Start::Argument(at + 1),
            (None, None) => Start::Object(self.world.id(name)),
        };
        Path {
            start,
            steps: Vec::new(),
        }
    }

    /// A text of the task that is no name keeps its sign.
    fn value(&self, value: &Value, arguments: &[Value]) -> Value {
        match value {
            Value::Text(text) => match name_in(value).filter(|name| self.is_object(name)) {
                Some(name) => Value::Text(format!("@{}", self.path(name, arguments))),
                None if text.starts_with('@') => Value::Text(format!("@{text}")),
                None => value.clone(),
            },
            Value::List(items) => Value::List(items.iter().map(|item| self.value(item, arguments)).collect()),
            Value::Map(pairs) => Value::Map(
                pairs
                    .iter()
                    .map(|(key, item)| (key.clone(), self.value(item, arguments)))
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    fn is_object(&self, name: &str) -> bool {
        self.task.objects.iter().any(|object| object.name == name)
    }
}

/// The shortest way from the receiver to each object, along slots as they are when the message is sent.
fn from_receiver(task: &Task, first: &Example) -> BTreeMap<String, Path> {
    let mut ways = BTreeMap::from([(task.receiver().name.clone(), Path::RECEIVER)]);
    let mut next = VecDeque::from([task.receiver()]);
    while let Some(object) = next.pop_front() {
        let here = ways[&object.name].clone();
        for (name, steps) in links(object, first, &task.receiver().name) {
            let Some(found) = task.objects.iter().find(|object| object.name == name) else {
                continue;
            };
            if let Entry::Vacant(free) = ways.entry(name) {
                let mut path = here.clone();
                path.steps.extend(steps);
                free.insert(path);
                next.push_back(found);
            }
        }
    }
    ways
}

/// What an object refers to, slots before parents.
fn links(object: &Drawing, first: &Example, receiver: &str) -> Vec<(String, Vec<Step>)> {
    let is_of = |held: &&Held| named(held).ok().flatten().unwrap_or(receiver) == object.name;
    let mut slots: BTreeMap<&str, &Value> = object
        .slots
        .iter()
        .map(|(slot, value)| (slot.as_str(), value))
        .collect();
    slots.extend(
        first
            .given
            .iter()
            .filter(is_of)
            .map(|held| (held.place.slot.as_str(), &held.value)),
    );
    let step = |slot: &str| Step::Slot(slot.to_owned());
    let mut links = Vec::new();
    for (slot, value) in slots {
        match value {
            Value::List(items) => links.extend(items.iter().enumerate().filter_map(|(at, item)| {
                let name = name_in(item)?.to_owned();
                Some((name, vec![step(slot), Step::Item(at)]))
            })),
            value => links.extend(name_in(value).map(|name| (name.to_owned(), vec![step(slot)]))),
        }
    }
    let parents = object.parents.iter().enumerate();
    links.extend(parents.map(|(at, name)| (name.clone(), vec![step(PARENTS), Step::Item(at)])));
    links
}
