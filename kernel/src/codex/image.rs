//! The codex as slots of the image: read out, and brought in as one transaction.

use std::collections::BTreeSet;

use shared::bridge::{Answer, Fault};
use shared::id::{ObjectId, TransactionId};
use shared::object::{ObjectImage, PARENTS};
use shared::reason;
use shared::value::Value;

use super::covenants::Compiled;
use super::file::{Codex, Covenant, Dynamic, FORMAT, Persona, Pillar};
use crate::edit::Edit;
use crate::image::draft::{Change, Draft};
use crate::kernel::Kernel;
use crate::names::resolve;
use crate::overlay::World;
use crate::reporter::Reporter;

type Slots = Vec<(String, Value)>;

/// The codex of a new image.
pub const SEED: &str = include_str!("../../genesis/codex.toml");

/// What the awakening puts into its objects: of each name, more slots.
pub fn seeded() -> Result<Vec<(String, Slots)>, String> {
    let codex = Codex::read(SEED)?;
    let mut slots: Vec<(String, Slots)> = codex
        .personas
        .iter()
        .map(|persona| (format!("personas.{}", persona.name), persona_slots(persona)))
        .collect();
    slots.push((
        "orchestrator".into(),
        vec![("dynamics".into(), dynamics(&codex.dynamics))],
    ));
    slots.push((
        "personas.alfred".into(),
        vec![("covenants".into(), covenants(&codex.covenants))],
    ));
    Ok(slots)
}

/// The slots of a persona but its parents.
fn persona_slots(persona: &Persona) -> Slots {
    let text = |text: &str| Value::Text(text.to_owned());
    let pillars = persona
        .pillars
        .iter()
        .map(|pillar| Value::record([("name", text(&pillar.name)), ("prompt", text(&pillar.prompt))]));
    let mut slots = vec![
        ("persona".to_owned(), Value::Text(persona.name.to_uppercase())),
        ("title".into(), text(&persona.title)),
        ("mission".into(), text(&persona.mission)),
        ("voice".into(), text(&persona.voice)),
        (
            "adapter".into(),
            persona.adapter.as_deref().map_or(Value::None, text),
        ),
        ("pillars".into(), Value::List(pillars.collect())),
    ];
    slots.extend(persona.pillars.iter().map(|pillar| {
        let selector = facet(&pillar.name);
        let source = format!(
            "def {selector}(self, question):\n    return self.consult(\"{}\", question)\n",
            pillar.name
        );
        (selector, Value::Method(source))
    }));
    slots
}

/// The selector of a pillar.
fn facet(pillar: &str) -> String {
    format!("invoke_{pillar}_facet")
}

fn dynamics(rows: &[Dynamic]) -> Value {
    let texts = |texts: &[String]| Value::List(texts.iter().cloned().map(Value::Text).collect());
    let row = |row: &Dynamic| {
        Value::record([
            ("archetype", Value::Text(row.archetype.clone())),
            ("lead", Value::Text(row.lead.clone())),
            ("facets", texts(&row.facets)),
            ("on_demand", texts(&row.on_demand)),
            ("weaver", Value::Text(row.weaver.clone())),
            ("auditor", Value::Text(row.auditor.clone())),
        ])
    };
    Value::List(rows.iter().map(row).collect())
}

fn covenants(covenants: &[Covenant]) -> Value {
    let one = |covenant: &Covenant| {
        Value::record([
            ("name", Value::Text(covenant.name.clone())),
            (
                "binds",
                Value::List(covenant.binds.iter().cloned().map(Value::Text).collect()),
            ),
            ("schema", Value::Text(covenant.schema.clone())),
        ])
    };
    Value::List(covenants.iter().map(one).collect())
}

impl Kernel {
    /// The codex that the image holds, as a file.
    pub fn codex(&self) -> Result<Answer, Fault> {
        let world = self.world();
        let codex = read(world).map_err(unreadable)?;
        let text = codex.write().map_err(|what| Fault::new(reason::INTERNAL, what))?;
        Ok(Answer::Codex { text })
    }

    /// What a file would change, or the change; the answer names it.
    pub fn codex_edit(
        &self,
        author: &str,
        text: &str,
        reporter: &Reporter,
    ) -> Result<(Vec<String>, Edit), Fault> {
        let codex = Codex::read(text)
            .map_err(|what| Fault::new(reason::BAD_ARGUMENT, format!("this is no codex: {what}")))?;
        let world = self.world();
        let object = |name: &str| {
            let id = resolve(world, name)?;
            let (object, _) = world
                .object(id)
                .ok_or_else(|| Fault::new(reason::NO_OBJECT, format!("{name} does not exist")))?;
            Ok::<_, Fault>((id, object))
        };
        let mut edit = Comparison::default();
        let (personas_id, personas) = object("personas")?;
        for persona in &codex.personas {
            let place = format!("personas.{}", persona.name);
            let wanted = persona_slots(persona);
            match personas.slot(&persona.name).map(|slot| &slot.value) {
                Some(Value::Ref(id)) => {
                    let (held, _) = world
                        .object(*id)
                        .ok_or_else(|| Fault::new(reason::NO_OBJECT, format!("{id} does not exist")))?;
                    edit.slots(&place, *id, &held, wanted);
                    for gone in facets_of(&held)
                        .difference(&persona.pillars.iter().map(|pillar| facet(&pillar.name)).collect())
                    {
                        edit.remove(&place, *id, gone);
                    }
                }
                _ => {
                    let id = self.image.state.allocate();
                    let (pllm, traits) = (resolve(world, "pllm")?, resolve(world, "traits")?);
                    let mut slots = vec![(
                        PARENTS.to_owned(),
                        Value::List(vec![Value::Ref(pllm), Value::Ref(traits)]),
                    )];
                    slots.extend(wanted);
                    edit.told.push(format!("{place} is new"));
                    edit.changes.push(Change::Create { object: id, slots });
                    edit.changes.push(Change::Put {
                        object: personas_id,
                        slot: persona.name.clone(),
                        value: Value::Ref(id),
                    });
                }
            }
        }
        for slot in &personas.slots {
            let is_persona = slot.name != PARENTS && matches!(slot.value, Value::Ref(_));
            if is_persona && !codex.personas.iter().any(|persona| persona.name == slot.name) {
                edit.remove("personas", personas_id, &slot.name);
            }
        }
        let (orchestrator_id, orchestrator) = object("orchestrator")?;
        edit.slots(
            "orchestrator",
            orchestrator_id,
            &orchestrator,
            vec![("dynamics".into(), dynamics(&codex.dynamics))],
        );
        if let Some(Value::Ref(alfred)) = personas.slot("alfred").map(|slot| &slot.value)
            && let Some((held, _)) = world.object(*alfred)
        {
            let compiled = Compiled::of(world, &codex.covenants)
                .map_err(|what| Fault::new(reason::BAD_ARGUMENT, format!("this is no codex: {what}")))?;
            let broken = compiled.broken_now(world, self.image.state.next_object(), reporter);
            if let Some(first) = broken.first() {
                return Err(Fault::new(
                    reason::COVENANT_BROKEN,
                    format!(
                        "{} values of the image break the covenants of this file; the first: {first}; mend them, or the covenant",
                        broken.len()
                    ),
                ));
            }
            edit.slots(
                "personas.alfred",
                *alfred,
                &held,
                vec![("covenants".into(), covenants(&codex.covenants))],
            );
        }
        let mut draft = Draft::new(author);
        draft.changes = edit.changes;
        let answer = Answer::CodexImported {
            changes: edit.told.clone(),
            transaction: Some(TransactionId(0)),
        };
        Ok((edit.told, (draft, answer)))
    }
}

/// What an import changes, and its words.
#[derive(Default)]
struct Comparison {
    changes: Vec<Change>,
    told: Vec<String>,
}

impl Comparison {
    fn slots(&mut self, place: &str, id: ObjectId, held: &ObjectImage, wanted: Vec<(String, Value)>) {
        for (slot, value) in wanted {
            let now = held.slot(&slot).map(|slot| &slot.value);
            if now == Some(&value) {
                continue;
            }
            self.told.push(match now {
                Some(_) => format!("{place}.{slot} changes"),
                None => format!("{place}.{slot} is new"),
            });
            self.changes.push(Change::Put {
                object: id,
                slot,
                value,
            });
        }
    }

    fn remove(&mut self, place: &str, id: ObjectId, slot: &str) {
        self.told.push(format!("{place}.{slot} goes"));
        self.changes.push(Change::Remove {
            object: id,
            slot: slot.to_owned(),
        });
    }
}

/// The selectors of the pillars that an object has now.
fn facets_of(held: &ObjectImage) -> BTreeSet<String> {
    let pillars = held.slot("pillars").map(|slot| &slot.value);
    let names = items(pillars).filter_map(|pillar| pillar.member_text("name"));
    names
        .map(|name| facet(&name))
        .filter(|selector| held.slot(selector).is_some())
        .collect()
}

fn read(world: World<'_>) -> Result<Codex, String> {
    let object = |name: &str| {
        let id = resolve(world, name).map_err(|fault| fault.message)?;
        world
            .object(id)
            .map(|(object, _)| object)
            .ok_or_else(|| format!("{name} does not exist"))
    };
    let needed = |value: &Value, key: &str, place: &str| {
        value
            .member_text(key)
            .ok_or_else(|| format!("{place} holds an entry without {key}"))
    };
    let list = |value: &Value, key: &str| {
        items(value.member(key))
            .filter_map(|item| item.as_text().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let mut personas = Vec::new();
    for slot in &object("personas")?.slots {
        let Value::Ref(id) = slot.value else { continue };
        if slot.name == PARENTS {
            continue;
        }
        let place = format!("personas.{}", slot.name);
        let (held, _) = world
            .object(id)
            .ok_or_else(|| format!("{place} does not exist"))?;
        let own = |name: &str| {
            held.slot(name)
                .and_then(|slot| slot.value.as_text().map(str::to_owned))
        };
        let mut pillars = Vec::new();
        for pillar in items(held.slot("pillars").map(|slot| &slot.value)) {
            pillars.push(Pillar {
                name: needed(pillar, "name", &place)?,
                prompt: needed(pillar, "prompt", &place)?,
            });
        }
        personas.push(Persona {
            name: slot.name.clone(),
            title: own("title").unwrap_or_default(),
            mission: own("mission").unwrap_or_default(),
            voice: own("voice").unwrap_or_default(),
            adapter: own("adapter"),
            pillars,
        });
    }
    let orchestrator = object("orchestrator")?;
    let mut dynamics = Vec::new();
    for row in items(orchestrator.slot("dynamics").map(|slot| &slot.value)) {
        let place = "orchestrator.dynamics";
        dynamics.push(Dynamic {
            archetype: needed(row, "archetype", place)?,
            lead: needed(row, "lead", place)?,
            facets: list(row, "facets"),
            on_demand: list(row, "on_demand"),
            weaver: needed(row, "weaver", place)?,
            auditor: needed(row, "auditor", place)?,
        });
    }
    let alfred = object("personas.alfred").ok();
    let slot = alfred.as_ref().and_then(|alfred| alfred.slot("covenants"));
    Ok(Codex {
        format: FORMAT,
        personas,
        dynamics,
        covenants: covenants_in(slot.map(|slot| &slot.value))?,
    })
}

/// The covenants in a slot's value.
pub fn covenants_in(value: Option<&Value>) -> Result<Vec<Covenant>, String> {
    let place = "personas.alfred.covenants";
    let mut found = Vec::new();
    for one in items(value) {
        let needed = |key: &str| {
            one.member_text(key)
                .ok_or_else(|| format!("{place} holds an entry without {key}"))
        };
        found.push(Covenant {
            name: needed("name")?,
            binds: items(one.member("binds"))
                .filter_map(|bind| bind.as_text().map(str::to_owned))
                .collect(),
            schema: needed("schema")?,
        });
    }
    Ok(found)
}

fn unreadable(what: String) -> Fault {
    Fault::new(
        reason::BAD_ARGUMENT,
        format!("the image's codex cannot be written as a file: {what}"),
    )
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    let items: &[Value] = match value {
        Some(Value::List(items)) => items,
        _ => &[],
    };
    items.iter()
}
