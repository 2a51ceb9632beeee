//! What a candidate does where no example looks: the message again, each time with one other value. Candidates that do the same in all of that
//! are one answer to the wish, whatever their texts (docs/wishes.md, "Agreement").

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use shared::activation::{Finished, Mode, Outcome, Write};
use shared::bridge::Fault;
use shared::example::text_of;
use shared::id::ObjectId;
use shared::object::is_slot_name;
use shared::value::Value;

use super::Cycle;
use super::examples::{created, seen};
use crate::image::draft::Change;
use crate::image::record::Mission;
use crate::overlay::{Overlay, World};
use crate::wish::WISHES;
use crate::workers::{Activation, Bench};

/// A candidate is probed so often at most.
const MOST_PROBES: usize = 40;
/// Slots of one object that are varied at most.
const MOST_SLOTS: usize = 12;
/// Slots that are the image's own business.
const NOT_DATA: [&str; 4] = [WISHES, "parents", "comment", "view_record"];

/// The message once more, with one other value.
#[derive(Clone)]
struct Probe {
    arguments: Vec<Value>,
    /// What stands in a slot instead.
    given: Option<(ObjectId, String, Value)>,
}

impl Cycle<'_> {
    /// A digest of what the candidate does in all probes, which stands in the overlay: equal for equal behaviour.
    pub(super) async fn behaviour(
        &self,
        bench: &mut Bench<'_>,
        overlay: &Overlay,
        mission: &Mission,
    ) -> String {
        let begun = Instant::now();
        let state = &self.kernel.image.state;
        let mut hasher = blake3::Hasher::new();
        for probe in probes(World::over(state, overlay), mission) {
            let mut scene = overlay.clone();
            if let Some((object, slot, value)) = probe.given {
                let put = Change::Put { object, slot, value };
                if scene.apply(state, vec![put]).is_err() {
                    continue;
                }
            }
            // All of them together may take as long as one message; after that none is better than another.
            let left = self.kernel.workers.deadline().saturating_sub(begun.elapsed());
            let came = match left.is_zero() {
                true => "late".to_owned(),
                false => {
                    let activation = Activation {
                        arguments: probe.arguments,
                        deadline: left,
                        ..self.message_activation(mission, Mode::Trial)
                    };
                    let came = self.tried(bench, &scene, mission, &activation).await;
                    self.told_of_probe(&scene, came)
                }
            };
            hasher.update(came.as_bytes());
            hasher.update(b"\n");
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    /// What came of a probe, without what two right methods may differ in: words of errors, ids of new objects, the last digits of fractions.
    fn told_of_probe(&self, scene: &Overlay, came: Result<Finished, Fault>) -> String {
        let Ok(finished) = came else {
            return "fails".to_owned();
        };
        let made = created(&finished.writes);
        let state = &self.kernel.image.state;
        let before = World::over(state, scene);
        let mut lines = BTreeSet::new();
        for write in &finished.writes {
            match write {
                Write::Create { slots, .. } => {
                    let slots: Vec<String> = slots
                        .iter()
                        .map(|(name, value)| format!("{name}={}", plain(value, &made)))
                        .collect();
                    lines.insert(format!("new {}", slots.join(" ")));
                }
                Write::Put { object, slot, value } => {
                    let (was, is) = (seen(before, *object, slot), plain(value, &made));
                    if was.map(|was| plain(&was, &made)).as_ref() != Some(&is) {
                        let object = plain(&Value::Ref(*object), &made);
                        lines.insert(format!("{object}.{slot}={is}"));
                    }
                }
                other => {
                    lines.insert(format!("{other:?}"));
                }
            }
        }
        if let Outcome::Answered(answer) = &finished.outcome {
            lines.insert(format!("answers {}", plain(answer, &made)));
        }
        lines.into_iter().collect::<Vec<_>>().join("; ")
    }
}

/// The probes of a message: its arguments varied, then the receiver's data, then that of the objects next to it.
fn probes(world: World<'_>, mission: &Mission) -> Vec<Probe> {
    let own = data_of(world, mission.receiver);
    let mut found = Vec::new();
    for (at, argument) in mission.arguments.iter().enumerate() {
        let mut values = others(argument);
        values.extend(own.iter().flat_map(|(_, held)| meeting(argument, held)));
        for value in values {
            let mut arguments = mission.arguments.clone();
            arguments[at] = value;
            found.push(Probe {
                arguments,
                given: None,
            });
        }
    }
    let mut vary = |object: ObjectId, data: &[(String, Value)], most: usize| {
        for (slot, held) in data {
            let twins = data
                .iter()
                .filter(|(name, value)| name != slot && value.kind() == held.kind())
                .map(|(_, value)| value.clone());
            for value in others(held).into_iter().chain(twins.take(1)).take(most) {
                found.push(Probe {
                    arguments: mission.arguments.clone(),
                    given: Some((object, slot.clone(), value)),
                });
            }
        }
    };
    vary(mission.receiver, &own, 4);
    let mut next = Vec::new();
    let held = own.iter().map(|(_, value)| value).chain(&mission.arguments);
    held.for_each(|value| value.each_reference(&mut |object| next.push(object)));
    let mut known = HashSet::from([mission.receiver]);
    for object in next.into_iter().filter(|object| known.insert(*object)).take(4) {
        vary(object, &data_of(world, object), 1);
    }
    found.truncate(MOST_PROBES);
    found
}

/// The data slots that an object has or inherits, by name.
fn data_of(world: World<'_>, object: ObjectId) -> Vec<(String, Value)> {
    let chain = world.look_up(object, "").chain;
    let mut found: Vec<(String, Value)> = Vec::new();
    for (holder, _) in chain.into_iter().filter_map(|id| world.object(id)) {
        for slot in &holder.slots {
            let is_data = !matches!(slot.value, Value::Method(_)) && !NOT_DATA.contains(&slot.name.as_str());
            if is_data && is_slot_name(&slot.name) && found.iter().all(|(name, _)| *name != slot.name) {
                found.push((slot.name.clone(), slot.value.clone()));
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.truncate(MOST_SLOTS);
    found
}

/// Other values of the kind: the edges that methods of it differ at.
fn others(value: &Value) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.to_owned());
    let made = match value {
        Value::Bool(held) => vec![Value::Bool(!held)],
        Value::Int(held) => [held.saturating_add(1), 0, -1, held.saturating_mul(3)]
            .map(Value::Int)
            .to_vec(),
        Value::Float(held) => [held + 1.25, 0.0, -1.5].map(Value::Float).to_vec(),
        Value::Text(held) => vec![
            text(""),
            Value::Text(format!("{held} more")),
            Value::Text(held.to_uppercase()),
            text("a, b"),
        ],
        Value::List(items) => {
            let mut turned = items.clone();
            turned.reverse();
            let twice = items.iter().chain(items.first()).cloned().collect();
            vec![
                Value::List(Vec::new()),
                Value::List(twice),
                Value::List(turned),
                Value::List(items.iter().skip(1).cloned().collect()),
            ]
        }
        Value::Map(pairs) => {
            let mut turned = pairs.clone();
            turned.reverse();
            vec![
                Value::Map(Vec::new()),
                Value::Map(pairs.iter().skip(1).cloned().collect()),
                Value::Map(turned),
            ]
        }
        _ => Vec::new(),
    };
    made.into_iter().filter(|made| made != value).collect()
}

/// Values for an argument that meet what a slot holds: as much, one more, what is in it.
fn meeting(argument: &Value, held: &Value) -> Vec<Value> {
    match (argument, held) {
        (Value::Int(_), Value::Int(number)) => vec![held.clone(), Value::Int(number.saturating_add(1))],
        (Value::Int(_) | Value::Float(_), Value::Float(_)) | (Value::Text(_), Value::Text(_)) => {
            vec![held.clone()]
        }
        (argument, Value::List(items)) => items
            .iter()
            .filter(|item| item.kind() == argument.kind())
            .take(1)
            .cloned()
            .collect(),
        (argument, Value::Map(pairs)) => pairs
            .iter()
            .map(|(key, _)| key)
            .filter(|key| key.kind() == argument.kind())
            .take(1)
            .cloned()
            .collect(),
        _ => Vec::new(),
    }
}

/// A value in words that are the same for what is the same to a person: 5 is 5.0, fractions up to their ninth digit, maps in any order.
fn plain(value: &Value, made: &HashSet<ObjectId>) -> String {
    match value {
        Value::Float(held) if held.fract() == 0.0 && held.abs() < 1e15 => format!("{held:.0}"),
        Value::Float(held) => format!("{held:.8e}"),
        Value::Ref(object) if made.contains(object) => "new".to_owned(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| plain(item, made)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(pairs) => {
            let mut pairs: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!("{}: {}", plain(key, made), plain(value, made)))
                .collect();
            pairs.sort_unstable();
            format!("{{{}}}", pairs.join(", "))
        }
        other => text_of(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varied_value_is_another_of_its_kind() {
        let values = [
            Value::Int(0),
            Value::Int(i64::MAX),
            Value::Float(0.0),
            Value::Bool(true),
            Value::Text(String::new()),
            Value::List(vec![Value::Int(1)]),
            Value::Map(vec![(Value::Int(1), Value::None)]),
        ];
        for value in values {
            let made = others(&value);
            assert!(!made.is_empty(), "{value:?}");
            for other in made {
                assert_eq!(other.kind(), value.kind());
                assert_ne!(other, value);
            }
        }
        assert!(others(&Value::None).is_empty());
    }

    #[test]
    fn an_argument_meets_what_is_there() {
        let words = Value::List(vec![Value::Int(3), Value::Text("b".into())]);
        assert_eq!(
            meeting(&Value::Text("a".into()), &words),
            [Value::Text("b".into())]
        );
        assert_eq!(
            meeting(&Value::Int(1), &Value::Int(9)),
            [Value::Int(9), Value::Int(10)]
        );
        assert!(meeting(&Value::Bool(true), &Value::Int(9)).is_empty());
    }

    #[test]
    fn what_is_the_same_to_a_person_is_written_the_same() {
        let made = HashSet::from([ObjectId(7)]);
        let pairs = |one: f64, other: i64| {
            Value::Map(vec![
                (Value::Text("a".into()), Value::Float(one)),
                (Value::Text("b".into()), Value::Int(other)),
            ])
        };
        let Value::Map(mut turned) = pairs(0.3, 5) else {
            unreachable!()
        };
        turned.reverse();
        assert_eq!(
            plain(&pairs(0.1 + 0.2, 5), &made),
            plain(&Value::Map(turned), &made)
        );
        assert_eq!(plain(&Value::Float(5.0), &made), plain(&Value::Int(5), &made));
        assert_ne!(plain(&Value::Float(5.1), &made), plain(&Value::Int(5), &made));
        assert_eq!(plain(&Value::Ref(ObjectId(7)), &made), "new");
    }
}
