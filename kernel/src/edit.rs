//! What a person's hand does to the image: look, make, set, define.

use shared::activation::{Read, ReadSlot, ScanOrder};
use shared::bridge::{Answer, Fault, ObjectView};
use shared::id::{ObjectId, TransactionId};
use shared::key::Key;
use shared::object::{PARENTS, is_slot_name};
use shared::reason;
use shared::value::Value;

use crate::image::draft::Change;
use crate::image::draft::{CommitError, Draft};
use crate::kernel::{Asker, Kernel, commit_fault, findings};
use crate::names::{known_name, name_of, resolve};
use crate::overlay::World;
use crate::send::with_transaction;

/// So many entries are shown of an object.
pub const SHOWN_ENTRIES: usize = 8;

/// What an edit comes to before it is committed, and its answer then.
pub type Edit = (Draft, Answer);

/// An object as `inspect` shows it.
pub fn inspected(world: World<'_>, object: &str) -> Result<Answer, Fault> {
    let id = resolve(world, object)?;
    let (image, _) = world
        .object(id)
        .ok_or_else(|| Fault::new(reason::NO_OBJECT, format!("{id} does not exist")))?;
    let chain = world.look_up(id, PARENTS).chain;
    let mut unused = Vec::new();
    let entries = world.count(id, &mut unused);
    let order = ScanOrder::Ascending;
    let (first, _) = world.scan(id, Key::first(), Key::last(), SHOWN_ENTRIES, order, &mut unused);
    Ok(Answer::Object(ObjectView {
        object: (*image).clone(),
        name: known_name(world, id),
        chain: chain
            .into_iter()
            .skip(1)
            .map(|parent| name_of(world, parent))
            .collect(),
        entries,
        first_entries: first
            .into_iter()
            .filter_map(|(key, value)| Some((key.value()?, value)))
            .collect(),
    }))
}

impl Kernel {
    pub fn inspect(&self, world: World<'_>, object: &str) -> Result<Answer, Fault> {
        inspected(world, object)
    }

    /// A new object that delegates to `parent`; named in the lobby when a name is given.
    pub fn made(
        &self,
        world: World<'_>,
        author: &str,
        parent: &str,
        slots: Vec<(String, Value)>,
        name: Option<String>,
    ) -> Result<Edit, Fault> {
        let parent = resolve(world, parent)?;
        let object = self.image.state.allocate();
        let mut all = vec![(PARENTS.to_owned(), Value::List(vec![Value::Ref(parent)]))];
        for (slot, value) in slots {
            check_slot(&slot)?;
            check_value(world, &slot, &value)?;
            self.pass_methods(&value, Some(&slot))?;
            if slot == PARENTS {
                return Err(Fault::new(
                    reason::BAD_ARGUMENT,
                    "the parent is named before the slots; set parents later",
                ));
            }
            if all.iter().any(|(known, _)| *known == slot) {
                return Err(Fault::new(
                    reason::BAD_ARGUMENT,
                    format!("slot {slot} is given twice"),
                ));
            }
            all.push((slot, value));
        }
        let mut draft = Draft::new(author);
        draft.changes.push(Change::Create { object, slots: all });
        if let Some(name) = name {
            name_in_lobby(world, &mut draft, name, object)?;
        }
        let transaction = TransactionId(0);
        Ok((draft, Answer::Created { object, transaction }))
    }

    pub fn set(
        &self,
        world: World<'_>,
        author: &str,
        object: &str,
        slot: String,
        value: Value,
    ) -> Result<Edit, Fault> {
        let object = resolve(world, object)?;
        check_slot(&slot)?;
        if let Value::Method(source) = value {
            return self.installed(author, object, Some(&slot), source);
        }
        check_value(world, &slot, &value)?;
        self.pass_methods(&value, None)?;
        Ok(put(author, object, slot, value))
    }

    /// Installs a method from a person's hand; its name is the selector.
    pub fn defined(
        &self,
        world: World<'_>,
        author: &str,
        object: &str,
        source: String,
    ) -> Result<Edit, Fault> {
        let object = resolve(world, object)?;
        self.installed(author, object, None, source)
    }

    /// Commits an edit of the image.
    pub async fn edit(&self, asker: &Asker, edit: Result<Edit, Fault>) -> Result<Answer, Fault> {
        let (draft, answer) = edit?;
        self.commit_edit(asker, draft, answer).await
    }

    /// Every method that a person brings goes by the guard, whatever the call.
    fn pass_guard(&self, source: &str, expected: &guard::Expectation) -> Result<(), Fault> {
        let expected = expected.clone().allowing(&self.workers.allowed());
        let verdict = guard::check(source, &expected);
        if verdict.is_ok() || self.install_refused {
            return Ok(());
        }
        let findings = findings(&verdict);
        let first = findings
            .first()
            .map_or(String::new(), |f| format!(": line {}: {}", f.line, f.message));
        let mut fault = Fault::new(
            reason::GUARD_REFUSED,
            format!("the guard refused the method{first}"),
        );
        fault.findings = findings;
        Err(fault)
    }

    /// The same for every method in a value, however deep; one that is a slot of its own must have its name.
    fn pass_methods(&self, value: &Value, slot: Option<&str>) -> Result<(), Fault> {
        match value {
            Value::Method(source) => {
                let expected = slot.map_or_else(guard::Expectation::any, guard::Expectation::selector);
                self.pass_guard(source, &expected)
            }
            Value::List(items) => items.iter().try_for_each(|item| self.pass_methods(item, None)),
            Value::Map(pairs) => pairs
                .iter()
                .flat_map(|(key, value)| [key, value])
                .try_for_each(|item| self.pass_methods(item, None)),
            _ => Ok(()),
        }
    }

    fn installed(
        &self,
        author: &str,
        object: ObjectId,
        slot: Option<&str>,
        source: String,
    ) -> Result<Edit, Fault> {
        let expected = slot.map_or_else(guard::Expectation::any, guard::Expectation::selector);
        self.pass_guard(&source, &expected)?;
        let selector = guard::signature(&source)
            .map(|signature| signature.name)
            .or_else(|| slot.map(str::to_owned))
            .or_else(|| first_def(&source))
            .ok_or_else(|| {
                Fault::new(
                    reason::BAD_ARGUMENT,
                    "the source holds no `def`, so it has no selector",
                )
            })?;
        check_slot(&selector)?;
        Ok(put(author, object, selector, Value::Method(source)))
    }

    pub async fn commit_edit(
        &self,
        asker: &Asker,
        mut draft: Draft,
        answer: Answer,
    ) -> Result<Answer, Fault> {
        draft.reads.extend(self.keep_covenants(None, &draft.changes)?);
        draft.reply = asker.request.map(|request| (request, answer.clone()));
        match self.image.committer.commit(draft).await {
            Ok(committed) => Ok(committed
                .answer
                .unwrap_or_else(|| with_transaction(answer, committed.transaction))),
            Err(CommitError::Repeated(answer)) => Ok(*answer),
            Err(error) => Err(commit_fault(error)),
        }
    }
}

/// Adds to a draft that an object gets a name in the lobby, which must be free.
pub fn name_in_lobby(
    world: World<'_>,
    draft: &mut Draft,
    name: String,
    object: ObjectId,
) -> Result<(), Fault> {
    check_slot(&name)?;
    let lobby = world.object(ObjectId::LOBBY);
    let taken = lobby.and_then(|(lobby, _)| lobby.slot(&name).map(|slot| slot.value.clone()));
    if let Some(taken) = taken {
        return Err(Fault::new(
            reason::BAD_ARGUMENT,
            format!(
                "the lobby has a slot {name} already ({}); choose another name",
                describe(&taken)
            ),
        ));
    }
    draft.reads.push(Read {
        object: ObjectId::LOBBY,
        slot: ReadSlot::Named(name.clone(), None),
    });
    draft.changes.push(Change::Put {
        object: ObjectId::LOBBY,
        slot: name,
        value: Value::Ref(object),
    });
    Ok(())
}

fn put(author: &str, object: ObjectId, slot: String, value: Value) -> Edit {
    let mut draft = Draft::new(author);
    draft.changes.push(Change::Put {
        object,
        slot: slot.clone(),
        value,
    });
    let answer = Answer::Changed {
        object,
        slot,
        transaction: TransactionId(0),
    };
    (draft, answer)
}

fn check_value(world: World<'_>, slot: &str, value: &Value) -> Result<(), Fault> {
    let mut missing = None;
    value.each_reference(&mut |id| {
        if world.object(id).is_none() {
            missing = Some(id);
        }
    });
    match missing {
        Some(id) => Err(Fault::new(
            reason::NO_OBJECT,
            format!("the value for {slot} refers to {id}, which does not exist"),
        )),
        None => Ok(()),
    }
}

fn check_slot(name: &str) -> Result<(), Fault> {
    if name == crate::image::memory::TEXT {
        return Err(Fault::new(
            reason::BAD_ARGUMENT,
            format!("{name} is the text of a chunk, and only the memory makes one: `batos memory add`"),
        ));
    }
    if is_slot_name(name) {
        return Ok(());
    }
    let short: String = name.chars().take(60).collect();
    Err(Fault::new(
        reason::BAD_ARGUMENT,
        format!(
            "{short:?} cannot name a slot: letters, digits and _, not beginning with a digit or __, at most 128 bytes"
        ),
    ))
}

/// The name after the first `def`, for sources that the guard cannot read but a test installs all the same.
fn first_def(source: &str) -> Option<String> {
    let rest = source.split("def ").nth(1)?;
    let name: String = rest
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Ref(id) => id.to_string(),
        other => format!("a {}", other.kind()),
    }
}
