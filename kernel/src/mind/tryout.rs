//! A mission that is only tried out: thought about by one workflow, and nothing of it kept (`docs/mind.md`).

use std::sync::{Arc, Mutex};
use std::time::Instant;

use shared::bridge::{Answer, Fault, TriedView, TryMission};
use shared::reason;
use shared::value::Value;
use tokio::sync::broadcast;

use super::aim::{Aim, view_selector};
use super::audit::event::{BriefHash, Event};
use super::budget::{Budget, Spent};
use super::cycle::Thinking;
use super::mission::lock;
use crate::image::record::Mission;
use crate::kernel::{Asker, Kernel};
use crate::names::name_of;
use crate::send::Message;

impl Kernel {
    /// Thinks about a mission by one workflow, keeps nothing of it, and tells what came of it and what it cost.
    pub async fn try_out(
        self: &Arc<Self>,
        asker: Asker,
        workflow: String,
        mission: TryMission,
    ) -> Result<Answer, Fault> {
        let message = self.wanted(mission)?;
        let receiver = message.receiver;
        let mission = Arc::new(Mutex::new(Mission::open(
            self.mind.number(),
            receiver,
            message.selector,
            message.arguments,
        )));
        let spent = Spent::new(Budget::of(self));
        let id = lock(&mission).id;
        let _thinking = self.requests.think();
        let _pass = self.mind.enter(id, spent.budget.at_once).await;
        let begun = Instant::now();
        let thinking = Thinking {
            mission: &mission,
            brief: &BriefHash::default(),
            events: &asker.events.unwrap_or_else(|| broadcast::channel(1).0),
            spent: &spent,
            author: &asker.author,
            begun,
            resend: false,
            tried: Some(&workflow),
        };
        let ended = self.rounds(&thinking).await;
        let mission = lock(&mission).clone();
        let tried = TriedView {
            receiver,
            name: name_of(self.world(), receiver),
            outcome: if ended.is_ok() { "complete" } else { "failed" }.into(),
            message: ended.err().map_or(String::new(), |fault| fault.message),
            rounds: mission.rounds,
            model_calls: mission.model_calls,
            tokens: spent.tokens(),
            elapsed_ms: begun.elapsed().as_millis() as u64,
            selector: mission.selector.clone(),
            artifact: mission.artifact.clone(),
            workflow,
        };
        let mut event = Event::now("WORKFLOW_TRIED");
        event.receiver = receiver.to_string();
        event.selector = mission.selector;
        event.active_persona = "orchestrator".into();
        event.final_outcome = Some(tried.outcome.clone());
        event.validation_result = Some(format!("workflow {}, nothing kept", tried.workflow));
        event.tokens = Some(tried.tokens);
        event.duration_ms = Some(tried.elapsed_ms);
        self.mind.audit.write(event);
        Ok(Answer::Tried(Box::new(tried)))
    }

    /// What the mission is about; a view is thought about anew.
    fn wanted(&self, mission: TryMission) -> Result<Message, Fault> {
        let message = match mission {
            TryMission::Past(id) => {
                let past = self.mind.live(id).or_else(|| self.image.state.mission(id));
                let past = past.ok_or_else(|| {
                    Fault::new(
                        reason::NO_THOUGHT,
                        format!("there is no thought {id}; `batos thoughts` lists them"),
                    )
                })?;
                let is_view = Aim::of(&past).is_view();
                let arguments = if is_view {
                    vec![Value::Bool(true)]
                } else {
                    past.arguments
                };
                Message {
                    receiver: past.receiver,
                    selector: past.selector,
                    arguments,
                }
            }
            TryMission::Message {
                receiver,
                selector,
                arguments,
            } => self.message(self.world(), &receiver, selector, arguments)?,
            TryMission::View { object } => Message {
                receiver: self.resolve(&object)?,
                selector: view_selector(None),
                arguments: vec![Value::Bool(true)],
            },
        };
        if self.image.state.object(message.receiver).is_none() {
            return Err(Fault::new(
                reason::NO_OBJECT,
                format!(
                    "{}, which that thought was about, does not exist any more",
                    message.receiver
                ),
            ));
        }
        Ok(message)
    }
}
