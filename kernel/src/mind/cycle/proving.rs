//! Guard and trial: what a candidate must pass before it can be installed.

use std::collections::HashSet;
use std::time::Instant;

use shared::activation::{Mode, Outcome};
use shared::bridge::Finding;
use shared::value::Value;

use super::directive::failure;
use super::{Attempt, Cycle, message, narrow, put_method};
use crate::image::draft::Change;
use crate::image::record::Mission;
use crate::kernel::{commit_fault, findings};
use crate::overlay::World;
use crate::send::check_declared;

impl Cycle<'_> {
    pub(super) fn guard(&self, attempt: &Attempt, source: &str) -> Value {
        let begun = Instant::now();
        let found = self.judge(source);
        let is_ok = found.is_empty();
        let words: Vec<String> = found
            .iter()
            .map(|f| format!("line {}: {}", f.line, f.message))
            .collect();
        let told = format!("guard: {}", words.join("; "));
        self.verdict(attempt, is_ok, &told, begun);
        let found = found
            .into_iter()
            .map(|finding| {
                Value::record([
                    ("rule", Value::Text(finding.rule)),
                    ("line", Value::Int(i64::from(finding.line))),
                    ("message", Value::Text(finding.message)),
                ])
            })
            .collect();
        Value::record([("ok", Value::Bool(is_ok)), ("findings", Value::List(found))])
    }

    /// Names of slots that the receiver has or inherits, and the selector itself.
    pub(super) fn visible_slots(&self, mission: &Mission) -> HashSet<String> {
        let world = World {
            state: &self.kernel.image.state,
            overlay: None,
        };
        let chain = world.look_up(mission.receiver, &mission.selector).chain;
        let mut visible = HashSet::from([mission.selector.clone()]);
        for (object, _) in chain.into_iter().filter_map(|id| world.object(id)) {
            visible.extend(object.slots.iter().map(|slot| slot.name.clone()));
        }
        visible
    }

    /// The guard's findings, and names of slots that the receiver does not have.
    pub(super) fn judge(&self, source: &str) -> Vec<Finding> {
        let mission = self.lock().clone();
        let expected = guard::Expectation::message(&mission.selector, mission.arguments.len())
            .allowing(&self.kernel.workers.allowed());
        let mut found = findings(&guard::check(source, &expected));
        if narrow::is_wanted(self.kernel) {
            found.extend(narrow::unknown_slots(source, &self.visible_slots(&mission)));
        }
        found
    }

    /// Runs the candidate in a fresh jailed process on a copy (M14).
    pub(super) async fn trial(&self, attempt: &mut Attempt, source: String) -> Value {
        let mission = self.lock().clone();
        let begun = Instant::now();
        let is_guarded = self.judge(&source).is_empty();
        let mut copy = attempt.overlay.clone();
        let placed = copy.apply(&self.kernel.image.state, vec![put_method(&mission, &source)]);
        let activation = self.message_activation(&mission, Mode::Trial);
        let tried = match placed.map_err(commit_fault) {
            Ok(()) => self.run_in_overlay(&copy, &activation).await,
            Err(fault) => Err(fault),
        };
        let tried = tried.and_then(|finished| {
            check_declared(&message(&mission), finished.declared, &finished.writes)?;
            let changes: Vec<Change> = finished.writes.iter().cloned().map(Change::from).collect();
            self.kernel.keep_covenants(Some(&copy), &changes)?;
            Ok(finished)
        });
        match tried {
            Ok(finished) => {
                let writes: Vec<Value> = finished
                    .writes
                    .iter()
                    .map(|write| Value::Text(format!("{}", write.object())))
                    .collect();
                self.verdict(attempt, true, &format!("trial: {} writes", writes.len()), begun);
                if is_guarded {
                    attempt.proven = Some(source);
                }
                let result = match finished.outcome {
                    Outcome::Answered(value) => value,
                    Outcome::Missed { .. } | Outcome::Raised(_) => Value::None,
                };
                Value::record([
                    ("ok", Value::Bool(true)),
                    ("result", result),
                    ("writes", Value::List(writes)),
                    ("declared", Value::Bool(finished.declared)),
                ])
            }
            Err(fault) => {
                self.verdict(attempt, false, &format!("trial: {}", fault.message), begun);
                failure(&fault)
            }
        }
    }
}
