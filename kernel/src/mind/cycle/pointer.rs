//! The cycle's pointer (M21): which state works now, and that it moves only along the workflow's table.

use shared::bridge::Fault;
use shared::id::ObjectId;
use shared::object::PARENTS;
use shared::value::Value;

use super::directive::{broken_mind, list};
use super::{Attempt, Cycle};
use crate::names::name_of;
use crate::overlay::World;

/// Where the pointer stands.
pub struct Pointer {
    state: ObjectId,
    /// The state's own word for itself.
    pub name: String,
}

impl Cycle<'_> {
    /// Looks where the pointer is, refuses a move that is not declared, and tells of one that is.
    pub(super) fn follow_pointer(&self, attempt: &mut Attempt) -> Result<(), Fault> {
        let world = World::over(&self.kernel.image.state, &attempt.overlay);
        let slot = |id: ObjectId, name: &str| world.look_up(id, name).found.map(|found| found.value);
        let Some(Value::Ref(state)) = slot(attempt.cycle, "synthesis_state") else {
            return Err(broken_mind("the cycle's synthesis_state is no state"));
        };
        if attempt
            .pointer
            .as_ref()
            .is_some_and(|pointer| pointer.state == state)
        {
            return Ok(());
        }
        let name = match slot(state, "state_name") {
            Some(Value::Text(name)) => name,
            _ => state.to_string(),
        };
        if let Some(before) = &attempt.pointer {
            self.check_move(world, attempt.cycle, before, state, &name)?;
        }
        let thinker = slot(attempt.cycle, "thinker").filter(|thinker| matches!(thinker, Value::Ref(_)));
        let persona = match thinker.or_else(|| slot(state, "persona")) {
            Some(Value::Ref(persona)) => match slot(persona, "persona") {
                Some(Value::Text(name)) => name,
                _ => persona.to_string(),
            },
            _ => "orchestrator".into(),
        };
        attempt.persona = persona;
        let moved = Pointer {
            state,
            name: name.clone(),
        };
        let before = attempt.pointer.replace(moved).map_or(String::new(), |p| p.name);
        self.tell("STATE_TRANSITION", &name, &before);
        self.audit_in(attempt, "STATE_TRANSITION", |event| {
            event.current_state = before;
            event.transition_to = Some(name);
        });
        Ok(())
    }

    fn check_move(
        &self,
        world: World<'_>,
        cycle: ObjectId,
        before: &Pointer,
        to: ObjectId,
        to_name: &str,
    ) -> Result<(), Fault> {
        let row = Row::of(world, cycle, before);
        let whose = row.workflow.map_or_else(
            || before.name.clone(),
            |workflow| format!("the workflow {}", name_of(world, workflow)),
        );
        let fault = |what: String| {
            Err(broken_mind(&format!(
                "undeclared transition from {} to {to_name}: {what}",
                before.name
            )))
        };
        if !row.next.iter().any(|next| next == to_name) {
            return fault(format!(
                "{whose} declares {}",
                match row.next.is_empty() {
                    true => "none".to_owned(),
                    false => row.next.join(", "),
                }
            ));
        }
        if row
            .states
            .is_some_and(|states| !matches!(states.member(to_name), Some(Value::Ref(state)) if *state == to))
        {
            return fault(format!("{to} is not what {whose} calls {to_name}"));
        }
        let is_first = match world
            .object(cycle)
            .and_then(|(object, _)| object.slot(PARENTS).map(|slot| slot.value.clone()))
        {
            Some(Value::List(parents)) => parents.first() == Some(&Value::Ref(to)),
            _ => false,
        };
        match is_first {
            true => Ok(()),
            false => fault("the state is not the cycle's first parent".into()),
        }
    }

    /// Whether the workflow ends here: the only place from which anything is installed.
    pub(super) fn is_at_end(&self, attempt: &Attempt) -> bool {
        let world = World::over(&self.kernel.image.state, &attempt.overlay);
        let row = attempt
            .pointer
            .as_ref()
            .map(|pointer| Row::of(world, attempt.cycle, pointer));
        row.is_some_and(|row| row.next.is_empty())
    }
}

/// What may follow a state.
struct Row {
    workflow: Option<ObjectId>,
    next: Vec<String>,
    /// Which object stands for a name.
    states: Option<Value>,
}

impl Row {
    fn of(world: World<'_>, cycle: ObjectId, pointer: &Pointer) -> Row {
        let slot = |id: ObjectId, name: &str| world.look_up(id, name).found.map(|found| found.value);
        let texts = |items: &[Value]| {
            items
                .iter()
                .filter_map(|item| item.as_text().map(str::to_owned))
                .collect()
        };
        match slot(cycle, "workflow") {
            Some(Value::Ref(workflow)) => {
                let table = slot(workflow, "transitions").unwrap_or(Value::None);
                Row {
                    workflow: Some(workflow),
                    next: list(&table, &pointer.name).map(texts).unwrap_or_default(),
                    states: Some(slot(workflow, "states").unwrap_or(Value::None)),
                }
            }
            // An image from before workflows: each state has its own row.
            _ => Row {
                workflow: None,
                next: match slot(pointer.state, "transitions") {
                    Some(Value::List(items)) => texts(&items),
                    _ => Vec::new(),
                },
                states: None,
            },
        }
    }
}
