//! The check of a view, and the one transaction that keeps it.

use std::time::Instant;

use shared::bridge::Fault;
use shared::id::ObjectId;
use shared::value::Value;

use super::directive::broken_mind;
use super::{Attempt, Cycle, Step};
use crate::image::draft::Change;
use crate::kernel::commit_fault;
use crate::mind::aim::Aim;
use crate::overlay::World;
use crate::views::markup::{check_page, check_picture};
use crate::views::{HTML, OF, RECORD, SEEN, SVG, seen};

/// A page and a picture that passed the check.
#[derive(Clone, PartialEq, Eq)]
pub struct Drawing {
    html: String,
    svg: String,
}

impl Cycle<'_> {
    /// Whether page and picture may be kept; the state is told why not.
    pub(super) fn check_view(&self, attempt: &mut Attempt, directive: &Value) -> Result<Value, Fault> {
        let begun = Instant::now();
        let text = |key: &str| {
            directive
                .member_text(key)
                .ok_or_else(|| broken_mind(&format!("a check_view directive lacks its {key}")))
        };
        let drawing = Drawing {
            html: text("html")?,
            svg: text("svg")?,
        };
        let checked = check_page(&drawing.html).and_then(|()| check_picture(&drawing.svg));
        let message = match &checked {
            Ok(()) => format!(
                "view: {} bytes of HTML, {} of SVG",
                drawing.html.len(),
                drawing.svg.len()
            ),
            Err(error) => format!("view: {error}"),
        };
        self.verdict(attempt, checked.is_ok(), &message, begun);
        attempt.drawn = checked.is_ok().then_some(drawing);
        Ok(Value::record([
            ("ok", Value::Bool(checked.is_ok())),
            ("message", Value::Text(message)),
        ]))
    }

    /// View and cycle in one transaction: the receiver's record refers to an object that holds just what was checked.
    pub(super) async fn keep(&self, attempt: &mut Attempt, directive: &Value) -> Result<Step, Fault> {
        let mission = self.lock().clone();
        if !Aim::of(&mission).is_view() {
            return Err(broken_mind(
                "a state asked to keep a view in a mission that is not for one",
            ));
        }
        if !self.is_at_end(attempt) {
            return Err(broken_mind(&format!(
                "the state {} asked to keep a view before the end of its workflow",
                attempt.state_name()
            )));
        }
        let Some(Value::Ref(view)) = directive.member("view") else {
            return Err(broken_mind("a keep directive names no view"));
        };
        self.check_kept(attempt, mission.receiver, *view)?;
        let world = World::over(&self.kernel.image.state, &attempt.overlay);
        // By this it is known whether the view is still current.
        let put = Change::Put {
            object: *view,
            slot: SEEN.into(),
            value: Value::Text(seen(world, mission.receiver)),
        };
        attempt
            .overlay
            .apply(&self.kernel.image.state, vec![put])
            .map_err(commit_fault)?;
        let changes = attempt.overlay.changes.clone();
        let reads = self.kernel.keep_covenants(None, &changes)?;
        attempt.overlay.reads.extend(reads);
        let shown = World::over(&self.kernel.image.state, &attempt.overlay).object(*view);
        let part = |name: &str| {
            let slot = shown.as_ref().and_then(|(view, _)| view.slot(name));
            slot.map_or(serde_json::Value::Null, |slot| shared::json::to_json(&slot.value))
        };
        let plan = serde_json::json!({ "structure": part("structure"), "layout": part("layout") });
        let place = format!("{}.{RECORD}", mission.receiver);
        self.commit(attempt, plan.to_string(), None, &place).await
    }

    fn check_kept(&self, attempt: &Attempt, receiver: ObjectId, view: ObjectId) -> Result<(), Fault> {
        let world = World::over(&self.kernel.image.state, &attempt.overlay);
        let slot = |object: ObjectId, name: &str| {
            let (object, _) = world.object(object)?;
            object.slot(name).map(|slot| slot.value.clone())
        };
        if slot(receiver, RECORD) != Some(Value::Ref(view)) || slot(view, OF) != Some(Value::Ref(receiver)) {
            return Err(broken_mind(
                "a state asked to keep a view that is not the receiver's",
            ));
        }
        let text = |name: &str| match slot(view, name) {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        };
        let held = Drawing {
            html: text(HTML),
            svg: text(SVG),
        };
        match attempt.drawn.as_ref() == Some(&held) {
            true => Ok(()),
            false => Err(broken_mind(
                "a state asked to keep a view that did not pass the check",
            )),
        }
    }
}
