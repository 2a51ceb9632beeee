//! What a cycle tells: to the mission's own record, to who watches, and to the stream of consciousness.

use std::time::Instant;

use shared::bridge::ThoughtEvent;

use super::{Attempt, Cycle};
use crate::image::log::unix_ms;
use crate::mind::audit::event::Event;

impl Cycle<'_> {
    /// Tells what guard or trial found.
    pub(super) fn verdict(&self, attempt: &Attempt, is_ok: bool, told: &str, begun: Instant) {
        let kind = verdict_event(is_ok);
        self.tell(kind, attempt.state_name(), told);
        self.audit_in(attempt, kind, |event| {
            event.validation_result = Some(told.to_owned());
            event.duration_ms = Some(begun.elapsed().as_millis() as u64);
        });
    }

    /// Tells that another model thinks from now on, and what made the one before give up.
    pub fn tell_escalation(&self, server: &str) {
        let flaw = self.correction.as_ref().map_or("", |left| &left.flaw);
        let told = match flaw.lines().next().unwrap_or_default() {
            "" => server.to_owned(),
            flaw => format!("{server} is asked: {flaw}"),
        };
        self.tell("ESCALATED", "idle", &told);
        self.audit("ESCALATED", |event| {
            event.current_state = "idle".to_owned();
            event.active_persona = "orchestrator".to_owned();
            event.validation_result = Some(told.clone());
        });
    }

    /// Records an event in the mission and tells who watches.
    pub(super) fn tell(&self, kind: &str, state: &str, detail: &str) {
        let event = {
            let mut mission = self.lock();
            let event = ThoughtEvent {
                thought: mission.id,
                round: self.round,
                unix_ms: unix_ms(),
                kind: kind.to_owned(),
                state: state.to_owned(),
                detail: detail.to_owned(),
            };
            mission.events.push(event.clone());
            event
        };
        if self.thinking.tried.is_none() {
            self.kernel.mind.tell_followers(&event);
        }
        let _ = self.thinking.events.send(event);
    }

    pub(super) fn audit_in(&self, attempt: &Attempt, kind: &str, fill: impl FnOnce(&mut Event)) {
        self.audit(kind, |event| {
            event.current_state = attempt.state_name().to_owned();
            event.active_persona = attempt.persona.clone();
            fill(event);
        });
    }

    pub(super) fn audit(&self, kind: &str, fill: impl FnOnce(&mut Event)) {
        // A try-out is told as one event, at its end.
        if self.thinking.tried.is_some() {
            return;
        }
        let newest = self.kernel.image.state.standing().last;
        let mut event = Event::of(&self.lock(), self.thinking.brief, self.round, newest, kind);
        fill(&mut event);
        self.kernel.mind.audit.write(event);
    }
}

fn verdict_event(ok: bool) -> &'static str {
    if ok {
        "VALIDATION_SUCCESS"
    } else {
        "VALIDATION_FAILURE"
    }
}
