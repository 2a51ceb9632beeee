//! What `batos view` answers: the view that an object has, or one that is made now.

use std::sync::Arc;
use std::time::Duration;

use shared::bridge::{Answer, Fault, ViewView};
use shared::id::{ObjectId, ThoughtId};
use shared::json::to_json;
use shared::object::{ObjectImage, PARENTS, is_slot_name};
use shared::reason;
use shared::value::Value;

use super::markup::{check_page, check_picture};
use super::{DRAWN_BY, ENTRIES, HTML, OF, RECORD, SEEN, SVG, WORKFLOW};
use crate::kernel::{Asker, Kernel};
use crate::mind::view_selector;
use crate::names::name_of;
use crate::overlay::World;
use crate::send::{DEADLINE, Message};

impl Kernel {
    /// The view of an object as it is now. `fresh` thinks anew where there is one; `workflow` is the only one that may be taken.
    pub async fn show_view(
        self: &Arc<Self>,
        asker: Asker,
        object: &str,
        fresh: bool,
        workflow: Option<String>,
        deadline_ms: Option<u64>,
    ) -> Result<Answer, Fault> {
        let receiver = self.resolve(object)?;
        if let Some(name) = workflow.as_ref().filter(|name| !is_slot_name(name)) {
            return Err(Fault::new(
                reason::BAD_ARGUMENT,
                format!("{name:?} names no workflow; `batos workflow list` lists them"),
            ));
        }
        if !fresh
            && let Some(kept) = self.kept(receiver)
            && kept.is_current
            && workflow.as_ref().is_none_or(|name| *name == kept.workflow)
        {
            return kept.answer(self, receiver, None);
        }
        let message = Message {
            receiver,
            selector: view_selector(workflow.as_deref()),
            arguments: vec![Value::Bool(fresh)],
        };
        let deadline = deadline_ms.map_or(DEADLINE, Duration::from_millis);
        let Ok(thought) = tokio::time::timeout(deadline, self.think(&asker, message, false)).await else {
            return Err(Fault::new(
                reason::DEADLINE,
                format!(
                    "no view within {} ms; the thought about it goes on",
                    deadline.as_millis()
                ),
            ));
        };
        let thought = thought?.thought;
        let kept = self.kept(receiver).ok_or_else(|| {
            Fault::new(
                reason::CONFLICT,
                "the view was made, and somebody took it away at once",
            )
        })?;
        kept.answer(self, receiver, thought)
    }

    /// What the image holds of a view of this very object.
    fn kept(&self, receiver: ObjectId) -> Option<Kept> {
        let state = &self.image.state;
        let held = state.held(receiver)?;
        let Value::Ref(record) = held.image.slot(RECORD)?.value else {
            return None;
        };
        let record = state.object(record)?;
        if record.slot(OF)?.value != Value::Ref(receiver) {
            return None;
        }
        let entries = match record.slot(ENTRIES).map(|slot| &slot.value) {
            Some(Value::Int(entries)) => *entries,
            _ => 0,
        };
        // When an entry changed is not told by the object.
        let has_entries = held.entries > 0 || entries > 0;
        let workflow = text(&record, WORKFLOW);
        Some(Kept {
            is_current: !has_entries && text(&record, SEEN) == seen(self.world(), receiver),
            workflow,
            record,
        })
    }
}

/// A view as the image holds it.
struct Kept {
    record: Arc<ObjectImage>,
    workflow: String,
    /// Nothing that it shows has changed since.
    is_current: bool,
}

impl Kept {
    /// Hands it out, if it is still what a view may be: anybody can set a slot.
    fn answer(
        self,
        kernel: &Kernel,
        receiver: ObjectId,
        thought: Option<ThoughtId>,
    ) -> Result<Answer, Fault> {
        let (html, svg) = (text(&self.record, HTML), text(&self.record, SVG));
        let name = name_of(kernel.world(), receiver);
        check_page(&html)
            .and_then(|()| check_picture(&svg))
            .map_err(|error| {
                Fault::new(
                    reason::VIEW_REFUSED,
                    format!(
                        "the view that {name} has is not safe to show: {error}; somebody changed {}: `batos view {name} --fresh` makes it anew",
                        self.record.id
                    ),
                )
            })?;
        let drawn_by = match self.record.slot(DRAWN_BY).map(|slot| &slot.value) {
            Some(Value::List(names)) => names
                .iter()
                .filter_map(|name| name.as_text().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        };
        Ok(Answer::View(Box::new(ViewView {
            object: receiver,
            name,
            record: self.record.id,
            transaction: self.record.version,
            workflow: self.workflow,
            drawn_by,
            thought,
            html,
            svg,
        })))
    }
}

/// A hash of the data slots that a view of an object can show, its own and those that it inherits.
pub fn seen(world: World<'_>, receiver: ObjectId) -> String {
    let mut hasher = blake3::Hasher::new();
    for id in world.look_up(receiver, PARENTS).chain {
        let Some((object, _)) = world.object(id) else {
            continue;
        };
        let data = object
            .slots
            .iter()
            .filter(|slot| slot.name != RECORD && !matches!(slot.value, Value::Method(_)));
        for slot in data {
            let line = format!("{id}.{} {}\n", slot.name, to_json(&slot.value));
            hasher.update(line.as_bytes());
        }
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn text(object: &ObjectImage, slot: &str) -> String {
    match object.slot(slot).map(|slot| &slot.value) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}
