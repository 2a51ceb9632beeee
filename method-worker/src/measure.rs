//! The difference that a run made: each touched slot and entry before against after, never what the method says of itself.

use pyo3::prelude::*;
use shared::activation::Write;
use shared::id::ObjectId;
use shared::value::Value;

use crate::encode::{MAX_RUN_BYTES, NotAValue, encode, same};
use crate::run::entries::{Pending, place};
use crate::run::{Content, NameId, Run, check_parents};

/// The write set and the answer as values. The error refuses the whole run.
pub fn measure(
    py: Python<'_>,
    run: &mut Run,
    answer: &Bound<'_, PyAny>,
) -> Result<(Value, Vec<Write>), NotAValue> {
    let answer = encode(answer, "the answer")?;
    let mut left = MAX_RUN_BYTES;
    reserve(&mut left, answer.frame_bytes())?;
    run.settle(py)?;
    let mut writes = Vec::new();
    let ids: Vec<ObjectId> = run.changes.keys().copied().collect();
    for id in ids {
        let created = run.changes.get(&id).is_some_and(|changes| changes.created);
        let after = after(py, run, id)?;
        for (name, value) in &after {
            reserve(
                &mut left,
                32 + run.names.text(*name).len() + value.as_ref().map_or(0, Value::frame_bytes),
            )?;
        }
        if created {
            let slots = after
                .into_iter()
                .filter_map(|(name, value)| Some((run.names.text(name).to_string(), value?)))
                .collect();
            writes.push(Write::Create { object: id, slots });
            continue;
        }
        for (name, value) in after {
            let before = run.committed(id, name);
            let slot = run.names.text(name).to_string();
            match (before, value) {
                (Some(before), Some(value)) if same(&before, &value) => {}
                (_, Some(value)) => writes.push(Write::Put {
                    object: id,
                    slot,
                    value,
                }),
                (Some(_), None) => writes.push(Write::Remove { object: id, slot }),
                (None, None) => {}
            }
        }
    }
    entries(py, run, &mut left, &mut writes)?;
    Ok((answer, writes))
}

/// Changes of entries come after all objects that were made, in the order in which objects were touched and keys sort. What
/// was put without a look is written even if it was there already.
fn entries(py: Python<'_>, run: &Run, left: &mut usize, writes: &mut Vec<Write>) -> Result<(), NotAValue> {
    for (object, entries) in &run.entries {
        let object = *object;
        for (key, pending) in &entries.pending {
            let value = match pending {
                Pending::Added(amount) => {
                    reserve(left, 32 + key.bytes().len())?;
                    writes.push(Write::AddEntry {
                        object,
                        key: key.clone(),
                        amount: amount.clone(),
                    });
                    continue;
                }
                Pending::Is(Content::Removed) => None,
                Pending::Is(Content::Stored(value)) => Some(value.clone()),
                Pending::Is(Content::Held(held)) => Some(encode(held.bind(py), &place(object, key))?),
            };
            let key = key.clone();
            match (entries.read(&key), value) {
                (Some(Some(before)), Some(value)) if same(before, &value) => {}
                (Some(None), None) => {}
                (_, Some(value)) => {
                    reserve(left, 32 + key.bytes().len() + value.frame_bytes())?;
                    writes.push(Write::PutEntry { object, key, value });
                }
                (_, None) => {
                    reserve(left, 32 + key.bytes().len())?;
                    writes.push(Write::RemoveEntry { object, key });
                }
            }
        }
        for content in &entries.appended {
            let value = match content {
                Content::Removed => continue,
                Content::Stored(value) => value.clone(),
                Content::Held(held) => encode(held.bind(py), &format!("what is appended to {object}"))?,
            };
            reserve(left, 32 + value.frame_bytes())?;
            writes.push(Write::Append { object, value });
        }
    }
    Ok(())
}

fn after(py: Python<'_>, run: &Run, id: ObjectId) -> Result<Vec<(NameId, Option<Value>)>, NotAValue> {
    run.changes
        .get(&id)
        .iter()
        .flat_map(|changes| &changes.slots)
        .map(|(name, content)| {
            let value = match content {
                Content::Removed => None,
                Content::Stored(value) => Some(value.clone()),
                Content::Held(held) => {
                    Some(encode(held.bind(py), &format!("{id}.{}", run.names.text(*name)))?)
                }
            };
            if let Some(value) = &value
                && *name == NameId::PARENTS
            {
                check_parents(id, value)?;
            }
            Ok((*name, value))
        })
        .collect()
}

fn reserve(left: &mut usize, bytes: usize) -> Result<(), NotAValue> {
    match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => Err(NotAValue {
            kind: "NotPersistent",
            message: format!(
                "all that this message changes, with its answer, is larger than {} MiB; do it in several messages",
                MAX_RUN_BYTES >> 20
            ),
        }),
    }
}
