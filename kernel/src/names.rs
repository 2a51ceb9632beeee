//! How people name objects: `#12`, a path from the lobby (`personas.brick`), or a name of the lobby.

use std::collections::HashMap;

use shared::bridge::Fault;
use shared::id::ObjectId;
use shared::lookup::lookup;
use shared::object::{ObjectImage, PARENTS};
use shared::reason;
use shared::value::Value;

use crate::image::state::State;
use crate::overlay::World;

/// The object that a name means.
pub fn resolve(world: World<'_>, name: &str) -> Result<ObjectId, Fault> {
    let unknown = |what: String| Err(Fault::new(reason::NO_OBJECT, what));
    if name.starts_with('#') {
        return match name.parse::<ObjectId>() {
            Ok(id) if world.object(id).is_some() => Ok(id),
            Ok(id) => unknown(format!("there is no object {id} in this image")),
            Err(()) => unknown(format!("{} is not an object id; ids look like #12", quoted(name))),
        };
    }
    world.at_once(|reader| {
        let mut object = ObjectId::LOBBY;
        let mut path = String::from("the lobby");
        for segment in name.split('.') {
            let Ok(found) = lookup(reader, object, segment);
            match found.map(|found| found.value) {
                Some(Value::Ref(next)) => object = next,
                Some(other) => {
                    return unknown(format!("{} of {path} is a {}, not an object", quoted(segment), other.kind()));
                }
                None => {
                    return unknown(format!(
                        "there is no {} in {path}; objects are named #12, by a name (`batos inspect lobby` lists them) or a path such as personas.brick",
                        quoted(segment)
                    ));
                }
            }
            path = segment.to_owned();
        }
        if reader.object(object).is_none() {
            return unknown(format!("{} refers to {object}, which does not exist", quoted(name)));
        }
        Ok(object)
    })
}

/// What people call the object: its name or one-step path in the lobby, else its id.
pub fn name_of(world: World<'_>, id: ObjectId) -> String {
    known_name(world, id).unwrap_or_else(|| id.to_string())
}

/// What people call the objects of the lobby, and of its folders: what [`known_name`] says of each.
pub fn known_names(state: &State) -> HashMap<ObjectId, String> {
    let mut names = HashMap::new();
    let Some(lobby) = state.object(ObjectId::LOBBY) else {
        return names;
    };
    let mut add = |image: &ObjectImage, prefix: &str| {
        for slot in image.slots.iter().filter(|slot| slot.name != PARENTS) {
            if let Value::Ref(id) = slot.value {
                names
                    .entry(id)
                    .or_insert_with(|| format!("{prefix}{}", slot.name));
            }
        }
    };
    add(&lobby, "");
    for folder in FOLDERS {
        if let Some(Value::Ref(inner)) = lobby.slot(folder).map(|slot| &slot.value)
            && let Some(inner) = state.object(*inner)
        {
            add(&inner, &format!("{folder}."));
        }
    }
    names
}

/// Its name or one-step path in the lobby.
pub fn known_name(world: World<'_>, id: ObjectId) -> Option<String> {
    let object = |id| world.object(id).map(|(object, _)| object);
    let lobby = object(ObjectId::LOBBY)?;
    let named = |slots: &[shared::object::SlotImage]| {
        slots
            .iter()
            .find(|slot| slot.value == Value::Ref(id) && slot.name != PARENTS)
            .map(|slot| slot.name.clone())
    };
    if let Some(name) = named(&lobby.slots) {
        return Some(name);
    }
    FOLDERS.iter().find_map(|folder| {
        let Some(Value::Ref(inner)) = lobby.slot(folder).map(|slot| &slot.value) else {
            return None;
        };
        let inner = object(*inner)?;
        named(&inner.slots).map(|name| format!("{folder}.{name}"))
    })
}

/// Objects of the lobby that only hold other objects.
const FOLDERS: [&str; 4] = ["states", "personas", "workflows", "views"];

/// A name in quotes, shortened.
fn quoted(name: &str) -> String {
    let short: String = name.chars().take(60).collect();
    if short.len() < name.len() {
        format!("{short:?}…")
    } else {
        format!("{short:?}")
    }
}
