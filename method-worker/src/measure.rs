//! The difference that a run made: each touched slot before against after, never what the method says of itself.

use pyo3::prelude::*;
use shared::activation::Write;
use shared::id::ObjectId;
use shared::value::Value;

use crate::encode::{MAX_RUN_BYTES, NotAValue, encode, same, size};
use crate::run::{Content, NameId, Run, check_parents};

/// The write set and the answer as values. The error refuses the whole run.
pub fn measure(
    py: Python<'_>,
    run: &mut Run,
    answer: &Bound<'_, PyAny>,
) -> Result<(Value, Vec<Write>), NotAValue> {
    let answer = encode(answer, "the answer")?;
    let mut left = MAX_RUN_BYTES;
    reserve(&mut left, size(&answer))?;
    run.settle(py)?;
    let mut writes = Vec::new();
    let ids: Vec<ObjectId> = run.changes.keys().copied().collect();
    for id in ids {
        let created = run.changes.get(&id).is_some_and(|changes| changes.created);
        let after = after(py, run, id)?;
        for (name, value) in &after {
            reserve(
                &mut left,
                32 + run.names.text(*name).len() + value.as_ref().map_or(0, size),
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
    Ok((answer, writes))
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
