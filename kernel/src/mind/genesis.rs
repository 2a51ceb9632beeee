//! The Prototypal Awakening: the primordial objects, described by `kernel/genesis/`, made in one transaction.
//!
//! One legal Python file per object, a [`crate::description`] that is never executed; `ref("name")` refers to another file's
//! object. The manifest's order fixes the ids.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use shared::id::ObjectId;
use shared::value::Value;

use super::renewal;
use crate::codex;
use crate::description;
use crate::image::draft::Change;

/// Name and source of every primordial object, in id order from `#1`.
const MANIFEST: [(&str, &str); 47] = [
    ("lobby", include_str!("../../genesis/lobby.py")),
    ("traits", include_str!("../../genesis/traits.py")),
    ("pllm", include_str!("../../genesis/pllm.py")),
    ("genesis", include_str!("../../genesis/genesis.py")),
    ("orchestrator", include_str!("../../genesis/orchestrator.py")),
    ("memory_manager", include_str!("../../genesis/memory_manager.py")),
    (
        "knowledge_catalog",
        include_str!("../../genesis/knowledge_catalog.py"),
    ),
    ("covenant", include_str!("../../genesis/covenant.py")),
    ("cycle", include_str!("../../genesis/cycle.py")),
    ("states", include_str!("../../genesis/states.py")),
    ("states.idle", include_str!("../../genesis/states/idle.py")),
    (
        "states.decomposing",
        include_str!("../../genesis/states/decomposing.py"),
    ),
    (
        "states.delegating",
        include_str!("../../genesis/states/delegating.py"),
    ),
    (
        "states.synthesizing",
        include_str!("../../genesis/states/synthesizing.py"),
    ),
    (
        "states.validating",
        include_str!("../../genesis/states/validating.py"),
    ),
    (
        "states.complete",
        include_str!("../../genesis/states/complete.py"),
    ),
    ("states.failed", include_str!("../../genesis/states/failed.py")),
    ("personas", include_str!("../../genesis/personas.py")),
    ("personas.robin", include_str!("../../genesis/personas/robin.py")),
    ("personas.brick", include_str!("../../genesis/personas/brick.py")),
    ("personas.babs", include_str!("../../genesis/personas/babs.py")),
    (
        "personas.alfred",
        include_str!("../../genesis/personas/alfred.py"),
    ),
    ("ordered_map", include_str!("../../genesis/ordered_map.py")),
    ("counter", include_str!("../../genesis/counter.py")),
    ("queue", include_str!("../../genesis/queue.py")),
    ("bag", include_str!("../../genesis/bag.py")),
    (
        "covenant.conversation",
        include_str!("../../genesis/covenant/conversation.py"),
    ),
    ("workflows", include_str!("../../genesis/workflows.py")),
    ("workflows.full", include_str!("../../genesis/workflows/full.py")),
    (
        "workflows.short",
        include_str!("../../genesis/workflows/short.py"),
    ),
    ("workflows.view", include_str!("../../genesis/workflows/view.py")),
    (
        "workflows.view_plain",
        include_str!("../../genesis/workflows/view_plain.py"),
    ),
    ("covenant.view", include_str!("../../genesis/covenant/view.py")),
    (
        "states.gathering",
        include_str!("../../genesis/states/gathering.py"),
    ),
    (
        "states.structuring",
        include_str!("../../genesis/states/structuring.py"),
    ),
    (
        "states.arranging",
        include_str!("../../genesis/states/arranging.py"),
    ),
    (
        "states.deriving",
        include_str!("../../genesis/states/deriving.py"),
    ),
    (
        "states.assembling",
        include_str!("../../genesis/states/assembling.py"),
    ),
    ("states.shown", include_str!("../../genesis/states/shown.py")),
    ("views", include_str!("../../genesis/views.py")),
    ("views.page", include_str!("../../genesis/views/page.py")),
    ("views.picture", include_str!("../../genesis/views/picture.py")),
    ("views.chart", include_str!("../../genesis/views/chart.py")),
    ("views.view", include_str!("../../genesis/views/view.py")),
    ("awakening", include_str!("../../genesis/awakening.py")),
    (
        "covenant.adapted",
        include_str!("../../genesis/covenant/adapted.py"),
    ),
    (
        "workflows.adapted",
        include_str!("../../genesis/workflows/adapted.py"),
    ),
];

/// A genesis file that does not describe an object.
#[derive(Debug, thiserror::Error)]
#[error("genesis/{file}: {what}")]
pub struct GenesisError {
    file: String,
    what: String,
}

/// An object of the manifest, described for an image.
pub struct Primordial {
    pub name: &'static str,
    pub slots: Vec<(String, Value)>,
}

/// The changes that make every primordial object.
pub fn awakening() -> Result<Vec<Change>, GenesisError> {
    let objects: BTreeMap<String, ObjectId> = names()
        .enumerate()
        .map(|(index, name)| (name.to_owned(), ObjectId(index as u64 + 1)))
        .collect();
    let mut described = primordial(&objects)?;
    let record = renewal::record_of(&objects, &described);
    let own = described.iter_mut().find(|object| object.name == renewal::RECORD);
    if let Some(own) = own {
        put(&mut own.slots, record);
    }
    Ok(described
        .into_iter()
        .map(|Primordial { name, slots }| Change::Create {
            object: objects[name],
            slots,
        })
        .collect())
}

/// The names of the manifest, in its order.
pub fn names() -> impl Iterator<Item = &'static str> {
    MANIFEST.iter().map(|(name, _)| *name)
}

/// Stands for all that this program's genesis says, in hexadecimal.
pub fn digest() -> &'static str {
    &DIGEST
}

/// Made in the first use: a kernel that takes over has used it before its clients wait.
static DIGEST: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for text in MANIFEST.iter().flat_map(|(name, source)| [*name, *source]) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(codex::SEED.as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
});

/// Every object of the manifest, where these are its objects.
pub fn primordial(objects: &BTreeMap<String, ObjectId>) -> Result<Vec<Primordial>, GenesisError> {
    let seeded = codex::seeded().map_err(|what| GenesisError {
        file: "codex".into(),
        what,
    })?;
    if let Some((unknown, _)) = seeded.iter().find(|(name, _)| !objects.contains_key(name)) {
        return Err(GenesisError {
            file: "codex".into(),
            what: format!("there is no object {unknown}"),
        });
    }
    let describe = |(name, source): &(&'static str, &'static str)| {
        let mut slots = read(name, source, objects)?;
        for (_, more) in seeded.iter().filter(|(object, _)| object == name) {
            // The codex says more of an object that its file describes.
            put(&mut slots, more.clone());
        }
        Ok(Primordial { name, slots })
    };
    MANIFEST.iter().map(describe).collect()
}

/// One of them, where these are those that it refers to.
pub fn described(
    name: &str,
    objects: &BTreeMap<String, ObjectId>,
) -> Result<Vec<(String, Value)>, GenesisError> {
    match MANIFEST.iter().find(|(known, _)| *known == name) {
        Some((_, source)) => read(name, source, objects),
        None => Err(GenesisError {
            file: name.to_owned(),
            what: "there is no such file".into(),
        }),
    }
}

/// What a file says of its object.
fn read(
    name: &str,
    source: &str,
    objects: &BTreeMap<String, ObjectId>,
) -> Result<Vec<(String, Value)>, GenesisError> {
    let find = |name: &str| {
        let id = objects.get(name).copied();
        id.ok_or_else(|| format!("there is no object {name}"))
    };
    match description::read(source, &find) {
        Ok(description) => Ok(description.slots),
        Err(what) => Err(GenesisError {
            file: name.to_owned(),
            what,
        }),
    }
}

/// Puts slots in the place of those that have their names.
fn put(slots: &mut Vec<(String, Value)>, more: Vec<(String, Value)>) {
    slots.retain(|(known, _)| !more.iter().any(|(slot, _)| slot == known));
    slots.extend(more);
}

/// How many ids the awakening takes.
pub const OBJECTS: u64 = MANIFEST.len() as u64;
/// `personas.alfred`, who keeps the covenants.
pub const ALFRED: ObjectId = ObjectId(22);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_describes_its_object() {
        let changes = awakening().unwrap();
        assert_eq!(changes.len() as u64, OBJECTS);
        assert_eq!(MANIFEST[ALFRED.0 as usize - 1].0, "personas.alfred");
        for change in changes {
            let Change::Create { slots, object } = change else {
                panic!("not a creation")
            };
            assert!(
                slots.iter().any(|(name, _)| name == "comment"),
                "{object} has no comment"
            );
            for (name, value) in slots {
                if let Value::Method(source) = value {
                    assert!(source.starts_with(&format!("def {name}(self")), "{source}");
                }
            }
        }
    }
}
