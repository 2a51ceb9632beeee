//! Deep clones: a copy of a part of the image (M3).
//!
//! The copied part is the object and all that it reaches by references in its slots, through any number of objects, where
//! - references in `parents` are not followed: what is delegated to stays shared,
//! - an object that stands in the lobby (some slot of the lobby refers to it), and the lobby itself, is shared and not looked
//!   into, unless it is the very object that is cloned.
//!
//! Every reference from one object of the part to another, in `parents` too, leads to the copy in the clone: what was shared
//! or cyclic inside is so again. All other references lead where they led.

use std::collections::HashSet;

use indexmap::IndexMap;
use pyo3::prelude::*;
use rustc_hash::{FxBuildHasher, FxHashMap};
use shared::id::ObjectId;
use shared::value::Value;

use super::{NameId, Run, raise};
use crate::encode::{MAX_RUN_BYTES, NotAValue};

type Part = IndexMap<ObjectId, Vec<(NameId, Value)>, FxBuildHasher>;

impl Run {
    /// Copies the part that begins at `root`; the copy of `root`.
    pub fn deep_clone(&mut self, py: Python<'_>, root: ObjectId) -> PyResult<ObjectId> {
        self.require(root)?;
        let part = self.part(py, root)?;
        let copies: FxHashMap<ObjectId, ObjectId> = part
            .keys()
            .map(|original| (*original, self.peer.allocate()))
            .collect();
        for (original, mut slots) in part {
            slots.iter_mut().for_each(|(_, value)| redirect(value, &copies));
            self.create_as(copies[&original], slots);
        }
        Ok(copies[&root])
    }

    /// The objects to copy, `root` first, nearer ones before farther ones.
    fn part(&mut self, py: Python<'_>, root: ObjectId) -> PyResult<Part> {
        let mut met = self.standing_in_the_lobby(py)?;
        met.insert(root);
        let mut part = Part::default();
        let mut left = MAX_RUN_BYTES;
        let mut level = vec![root];
        while !level.is_empty() {
            let cold: Vec<ObjectId> = level.iter().copied().filter(|id| !self.is_created(*id)).collect();
            self.world.fetch(&cold, &mut self.peer);
            let mut next = Vec::new();
            for id in level {
                // A reference may lead to what does not exist.
                if !self.exists(id) {
                    continue;
                }
                let slots = self.own_slots(py, id)?;
                for (name, value) in &slots {
                    left = left
                        .checked_sub(value.frame_bytes())
                        .ok_or_else(|| raise(too_large(root)))?;
                    if *name != NameId::PARENTS {
                        value.each_reference(&mut |id| {
                            if met.insert(id) {
                                next.push(id);
                            }
                        });
                    }
                }
                part.insert(id, slots);
            }
            level = next;
        }
        Ok(part)
    }

    fn standing_in_the_lobby(&mut self, py: Python<'_>) -> PyResult<HashSet<ObjectId>> {
        let mut standing = HashSet::from([ObjectId::LOBBY]);
        for (_, value) in self.own_slots(py, ObjectId::LOBBY)? {
            value.each_reference(&mut |id| {
                standing.insert(id);
            });
        }
        Ok(standing)
    }
}

/// Makes references to originals lead to their copies.
fn redirect(value: &mut Value, copies: &FxHashMap<ObjectId, ObjectId>) {
    match value {
        Value::Ref(id) => *id = copies.get(id).copied().unwrap_or(*id),
        Value::List(items) => items.iter_mut().for_each(|item| redirect(item, copies)),
        Value::Map(pairs) => pairs.iter_mut().for_each(|(key, item)| {
            redirect(key, copies);
            redirect(item, copies);
        }),
        _ => {}
    }
}

fn too_large(root: ObjectId) -> NotAValue {
    NotAValue {
        kind: "NotPersistent",
        message: format!(
            "the deep clone of {root} is larger than {} MiB; clone its parts in several messages",
            MAX_RUN_BYTES >> 20
        ),
    }
}
