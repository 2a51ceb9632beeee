//! What a wish demands of a candidate: each example on a copy of its own, and what came of it beside what was wanted (docs/wishes.md).

use std::collections::HashSet;
use std::time::Instant;

use shared::activation::{Finished, Outcome, Write};
use shared::bridge::Fault;
use shared::example::{Example, Expected, resolved, same, text_of};
use shared::id::ObjectId;
use shared::lookup::lookup;
use shared::path::{Path, Place, Start, Step};
use shared::reason;
use shared::value::Value;

use super::{Cycle, message};
use crate::image::draft::Change;
use crate::image::record::Mission;
use crate::kernel::commit_fault;
use crate::overlay::{Overlay, World};
use crate::send::check_declared;
use crate::workers::{Activation, Bench};

/// A flaw is one line of at most so many characters, and a value in it of so many.
const FLAW_CHARS: usize = 200;
const VALUE_CHARS: usize = 60;

/// Why a candidate does not pass.
pub enum Unmet {
    /// It does something else than an example says.
    Flaw(String),
    /// The example itself makes no sense on the objects of now.
    Senseless(String),
}

/// One example, ready to be sent.
struct Scene {
    /// What the example gives, in front of the thought's own overlay.
    overlay: Overlay,
    arguments: Vec<Value>,
}

impl Cycle<'_> {
    /// Tries a candidate, which stands in the overlay, by every example in turn; answers how many it met and what it failed in.
    pub(super) async fn try_examples(
        &self,
        bench: &mut Bench<'_>,
        overlay: &Overlay,
        mission: &Mission,
        examples: &[Example],
    ) -> (usize, Option<Unmet>) {
        let begun = Instant::now();
        for (at, example) in examples.iter().enumerate() {
            let numbered = |what: String| short(&format!("example {}: {what}", at + 1), FLAW_CHARS);
            let scene = match self.scene(overlay, mission, example) {
                Ok(scene) => scene,
                Err(what) => return (at, Some(Unmet::Senseless(numbered(what)))),
            };
            let activation = Activation {
                arguments: scene.arguments.clone(),
                // All of them together may take as long as one message.
                deadline: self.kernel.workers.deadline().saturating_sub(begun.elapsed()),
                ..self.message_activation(mission, shared::activation::Mode::Trial)
            };
            let came = self.tried(bench, &scene.overlay, mission, &activation).await;
            match self.compare(&scene, mission, example, came) {
                Ok(None) => {}
                Ok(Some(flaw)) => return (at, Some(Unmet::Flaw(numbered(flaw)))),
                Err(what) => return (at, Some(Unmet::Senseless(numbered(what)))),
            }
        }
        (examples.len(), None)
    }

    /// Runs a message in the overlay and holds what it wrote to the rules of every send.
    pub(super) async fn tried(
        &self,
        bench: &mut Bench<'_>,
        overlay: &Overlay,
        mission: &Mission,
        activation: &Activation,
    ) -> Result<Finished, Fault> {
        let world = World::over(&self.kernel.image.state, overlay);
        let way = world.way(activation.receiver, &activation.selector);
        let finished = bench.run(world, &way.chain, activation).await?;
        check_declared(&message(mission), finished.declared, &finished.writes)?;
        let changes: Vec<Change> = finished.writes.iter().cloned().map(Change::from).collect();
        self.kernel.keep_covenants(Some(overlay), &changes)?;
        Ok(finished)
    }

    /// Puts what an example gives in front of everything.
    fn scene(&self, overlay: &Overlay, mission: &Mission, example: &Example) -> Result<Scene, String> {
        let wanted = mission.arguments.len();
        if example.arguments.len() != wanted {
            return Err(format!(
                "it has {} arguments, and the message has {wanted}",
                example.arguments.len()
            ));
        }
        let state = &self.kernel.image.state;
        let before = World::over(state, overlay);
        // A number among the arguments is what the message that was missed brings.
        let arguments = example
            .arguments
            .iter()
            .map(|value| {
                resolved(value, &mut |path| {
                    lead(before, mission.receiver, &mission.arguments, path)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut puts = Vec::new();
        for held in &example.given {
            let object = object_at(before, mission.receiver, &arguments, &held.place.object)?;
            let slot = held.place.slot.clone();
            if object == mission.receiver && slot == mission.selector {
                return Err(format!("it gives {slot}, which is the message itself"));
            }
            puts.push(Change::Put {
                object,
                slot,
                value: resolved(&held.value, &mut |path| {
                    lead(before, mission.receiver, &arguments, path)
                })?,
            });
        }
        let mut overlay = overlay.clone();
        overlay
            .apply(state, puts)
            .map_err(|error| format!("what it gives is refused: {error}"))?;
        Ok(Scene { overlay, arguments })
    }

    /// What is not as the example says; an error where the example says what cannot be.
    fn compare(
        &self,
        scene: &Scene,
        mission: &Mission,
        example: &Example,
        came: Result<Finished, Fault>,
    ) -> Result<Option<String>, String> {
        let state = &self.kernel.image.state;
        let before = World::over(state, &scene.overlay);
        let value = |value: &Value| {
            resolved(value, &mut |path| {
                lead(before, mission.receiver, &scene.arguments, path)
            })
        };
        let wanted = match &example.expected {
            Expected::Answer(wanted) => Some(value(wanted)?),
            Expected::Any | Expected::Failure => None,
        };
        let is_failure = example.expected == Expected::Failure;
        let finished = match came {
            Ok(finished) => finished,
            Err(fault) if is_failure && is_by_the_method(&fault) => return Ok(None),
            Err(fault) => {
                let told = told_of(&fault, mission);
                return Ok(Some(match (&wanted, is_raised(&fault)) {
                    (Some(wanted), true) => format!("{told}, and should answer {}", shown(wanted)),
                    (None, true) if !is_failure => format!("{told}, and should answer"),
                    _ => told,
                }));
            }
        };
        let answer = match &finished.outcome {
            Outcome::Answered(answer) => answer,
            // Both are faults by now.
            Outcome::Missed { .. } | Outcome::Raised(_) => &Value::None,
        };
        if is_failure {
            return Ok(Some(format!("answers {}, and should fail", shown(answer))));
        }
        if let Some(wanted) = wanted.filter(|wanted| !same(wanted, answer)) {
            return Ok(Some(format!("answers {}, not {}", shown(answer), shown(&wanted))));
        }
        let mut overlay = scene.overlay.clone();
        let changes = finished.writes.iter().cloned().map(Change::from).collect();
        overlay
            .apply(state, changes)
            .map_err(|error| commit_fault(error).message)?;
        let after = World::over(state, &overlay);
        let mut named = HashSet::new();
        for held in &example.after {
            let object = object_at(before, mission.receiver, &scene.arguments, &held.place.object)?;
            let found = seen(after, object, &held.place.slot);
            let wanted = value(&held.value)?;
            if let Some(flaw) = differs(&held.place.to_string(), found.as_ref(), Some(&wanted)) {
                return Ok(Some(flaw));
            }
            named.insert((object, held.place.slot.clone()));
        }
        let made = created(&finished.writes);
        for write in &finished.writes {
            let (Write::Put { object, slot, .. } | Write::Remove { object, slot }) = write else {
                continue;
            };
            if made.contains(object) || named.contains(&(*object, slot.clone())) {
                continue;
            }
            let (was, is) = (seen(before, *object, slot), seen(after, *object, slot));
            let place = self.place_of(before, mission, scene, *object, slot);
            if let Some(flaw) = differs(&place, is.as_ref(), was.as_ref()) {
                return Ok(Some(flaw));
            }
        }
        Ok(None)
    }

    /// A slot as the example would name it: by the receiver, an argument, what a slot of the receiver refers to; else by the object's id.
    fn place_of(
        &self,
        world: World<'_>,
        mission: &Mission,
        scene: &Scene,
        object: ObjectId,
        slot: &str,
    ) -> String {
        let mut path = Path::RECEIVER;
        if object != mission.receiver {
            let is_it = |value: &Value| *value == Value::Ref(object);
            let argument = scene.arguments.iter().position(is_it);
            let held = world.object(mission.receiver).and_then(|(receiver, _)| {
                receiver.slots.iter().find_map(|slot| match &slot.value {
                    Value::List(items) => items
                        .iter()
                        .position(is_it)
                        .map(|at| vec![Step::Slot(slot.name.clone()), Step::Item(at)]),
                    value => is_it(value).then(|| vec![Step::Slot(slot.name.clone())]),
                })
            });
            match (argument, held) {
                (_, Some(steps)) => path.steps = steps,
                (Some(at), None) => path.start = Start::Argument(at + 1),
                (None, None) => path.start = Start::Object(object),
            }
        }
        let place = Place {
            object: path,
            slot: slot.to_owned(),
        };
        place.to_string()
    }
}

/// The object that a path leads to.
fn object_at(
    world: World<'_>,
    receiver: ObjectId,
    arguments: &[Value],
    path: &Path,
) -> Result<ObjectId, String> {
    match lead(world, receiver, arguments, path)? {
        Value::Ref(id) => Ok(id),
        other => Err(format!("{path} is a {}, not an object", other.kind())),
    }
}

/// Follows a path to what is there.
fn lead(world: World<'_>, receiver: ObjectId, arguments: &[Value], path: &Path) -> Result<Value, String> {
    let mut value = match path.start {
        Start::Receiver => Value::Ref(receiver),
        Start::Argument(number) => match arguments.get(number - 1) {
            Some(argument) => argument.clone(),
            None => return Err(format!("{path}: the message has {} arguments", arguments.len())),
        },
        Start::Object(id) => match world.object(id) {
            Some(_) => Value::Ref(id),
            None => return Err(format!("{path}: there is no object {id}")),
        },
    };
    for step in &path.steps {
        value = match (step, &value) {
            (Step::Slot(slot), Value::Ref(id)) => match seen(world, *id, slot) {
                Some(next) => next,
                None => return Err(format!("{path}: {id} has no slot {slot}")),
            },
            (Step::Item(at), Value::List(items)) => match items.get(*at) {
                Some(item) => item.clone(),
                None => return Err(format!("{path}: a list of {} items has no [{at}]", items.len())),
            },
            (Step::Slot(slot), other) => {
                return Err(format!("{path}: a {} has no slot {slot}", other.kind()));
            }
            (Step::Item(at), other) => return Err(format!("{path}: a {} has no [{at}]", other.kind())),
        };
    }
    Ok(value)
}

/// The objects that some writes make.
pub fn created(writes: &[Write]) -> HashSet<ObjectId> {
    let creations = writes
        .iter()
        .filter(|write| matches!(write, Write::Create { .. }));
    creations.map(Write::object).collect()
}

/// What a slot of an object holds, inherited or not.
pub fn seen(world: World<'_>, object: ObjectId, slot: &str) -> Option<Value> {
    world.at_once(|reader| {
        let Ok(found) = lookup(reader, object, slot);
        found.map(|found| found.value)
    })
}

fn differs(place: &str, is: Option<&Value>, wanted: Option<&Value>) -> Option<String> {
    match (is, wanted) {
        (Some(is), Some(wanted)) if same(wanted, is) => None,
        (None, None) => None,
        (Some(is), Some(wanted)) => Some(format!("{place} is {}, not {}", shown(is), shown(wanted))),
        (None, Some(wanted)) => Some(format!("{place} is gone, and should be {}", shown(wanted))),
        (Some(is), None) => Some(format!("{place} is {}, and should not be there", shown(is))),
    }
}

/// A failure that the method, or a rule for its data, wanted.
fn is_by_the_method(fault: &Fault) -> bool {
    match fault.reason.as_str() {
        reason::METHOD_RAISED => !fault.message.contains(" raised MessageNotUnderstood: "),
        reason::DOOMED | reason::COVENANT_BROKEN => true,
        _ => false,
    }
}

fn is_raised(fault: &Fault) -> bool {
    [reason::METHOD_RAISED, reason::DOOMED].contains(&fault.reason.as_str())
}

/// A fault in a line, without what everybody knows of it.
pub fn told_of(fault: &Fault, mission: &Mission) -> String {
    let line = fault.message.lines().next().unwrap_or_default();
    let name = format!("{}.{} ", mission.receiver, mission.selector);
    let told = match line.strip_prefix(&name) {
        Some(rest) => match (fault.reason.as_str(), rest.strip_prefix("raised ")) {
            (_, Some(raised)) => format!("raises {raised}"),
            (reason::UNDECLARED_WRITE, None) => undeclared(rest, mission),
            _ => rest.to_owned(),
        },
        None => line.to_owned(),
    };
    short(&told, FLAW_CHARS)
}

/// `changed #12.gap and never declared it …` in the words of a flaw.
fn undeclared(rest: &str, mission: &Mission) -> String {
    let place = rest
        .strip_prefix("changed ")
        .and_then(|rest| rest.split_once(" and never"))
        .map_or(rest, |(place, _)| place);
    let own = format!("{}.", mission.receiver);
    let place = place.strip_prefix(&own).unwrap_or(place);
    format!("{place} changes without self._p_changed = True")
}

fn shown(value: &Value) -> String {
    short(&text_of(value), VALUE_CHARS)
}

fn short(text: &str, chars: usize) -> String {
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    match line.char_indices().nth(chars) {
        None => line.to_owned(),
        Some(_) => line.chars().take(chars - 1).chain(['…']).collect(),
    }
}
