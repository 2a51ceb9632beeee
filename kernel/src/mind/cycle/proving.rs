//! Guard and trial: what a candidate must pass before it can be installed.

use std::collections::HashSet;
use std::time::Instant;

use shared::activation::{Finished, Mode, Outcome};
use shared::bridge::{Fault, Finding};
use shared::example::Example;
use shared::value::Value;

use super::examples::{Unmet, told_of};
use super::{Attempt, Cycle, narrow, put_method};
use crate::image::record::Mission;
use crate::kernel::{commit_fault, findings};
use crate::overlay::World;

impl Cycle<'_> {
    pub(super) fn guard(&self, attempt: &Attempt, source: &str) -> Value {
        let begun = Instant::now();
        self.lock().artifact = source.to_owned();
        let found = self.judge(source);
        let is_ok = found.is_empty();
        let words: Vec<String> = found
            .iter()
            .map(|f| format!("line {}: {}", f.line, f.message))
            .collect();
        let told = match words.is_empty() {
            true => "guard: nothing to object to".to_owned(),
            false => format!("guard: {}", words.join("; ")),
        };
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

    /// Runs the candidate in a fresh jailed process on copies (M14): the message that was missed, then every example of the wish; one that
    /// passes at last with other values, if that is asked for.
    pub(super) async fn trial(&self, attempt: &mut Attempt, source: String, is_probed: bool) -> Value {
        let mission = self.lock().clone();
        let begun = Instant::now();
        let is_guarded = self.judge(&source).is_empty();
        let examples = attempt
            .wish
            .as_ref()
            .map_or_else(Vec::new, |wish| wish.examples.clone());
        let Tried {
            message,
            met,
            unmet,
            behaviour,
        } = self
            .try_all(attempt, &mission, &source, &examples, is_probed)
            .await;
        match (message, unmet) {
            (Ok(finished), None) => {
                let writes: Vec<Value> = finished
                    .writes
                    .iter()
                    .map(|write| Value::Text(format!("{}", write.object())))
                    .collect();
                let told = match examples.len() {
                    0 => format!("trial: {} writes", writes.len()),
                    count => format!("trial: {} writes, {count} examples met", writes.len()),
                };
                self.verdict(attempt, true, &told, begun);
                if is_guarded {
                    attempt.proven.push(source);
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
                    ("met", Value::Int(met as i64)),
                    ("behaviour", behaviour.map_or(Value::None, Value::Text)),
                ])
            }
            (Ok(_), Some(unmet)) => {
                let (word, flaw) = match unmet {
                    Unmet::Flaw(flaw) => ("example_failed", flaw),
                    Unmet::Senseless(what) => ("bad_example", what),
                };
                self.verdict(attempt, false, &format!("trial: {flaw}"), begun);
                refusal(word, &flaw, &flaw, met)
            }
            (Err(fault), _) => {
                self.verdict(attempt, false, &format!("trial: {}", fault.message), begun);
                refusal(&fault.reason, &fault.message, &told_of(&fault, &mission), met)
            }
        }
    }

    /// The message, the examples and, where they are met, the probes, in one process.
    async fn try_all(
        &self,
        attempt: &Attempt,
        mission: &Mission,
        source: &str,
        examples: &[Example],
        is_probed: bool,
    ) -> Tried {
        let mut copy = attempt.overlay.clone();
        let placed = copy.apply(&self.kernel.image.state, vec![put_method(mission, source)]);
        let bench = match placed.map_err(commit_fault) {
            Ok(()) => self.kernel.workers.bench(Mode::Trial).await,
            Err(fault) => Err(fault),
        };
        let mut bench = match bench {
            Ok(bench) => bench,
            Err(fault) => return Tried::failed(fault),
        };
        let activation = self.message_activation(mission, Mode::Trial);
        let finished = match self.tried(&mut bench, &copy, mission, &activation).await {
            Ok(finished) => finished,
            Err(fault) => return Tried::failed(fault),
        };
        let (met, unmet) = self.try_examples(&mut bench, &copy, mission, examples).await;
        let behaviour = match is_probed && unmet.is_none() {
            true => Some(self.behaviour(&mut bench, &copy, mission).await),
            false => None,
        };
        Tried {
            message: Ok(finished),
            met,
            unmet,
            behaviour,
        }
    }
}

/// What a trial came to.
struct Tried {
    message: Result<Finished, Fault>,
    /// How many examples were met, and what was not.
    met: usize,
    unmet: Option<Unmet>,
    /// A digest of what it does with other values.
    behaviour: Option<String>,
}

impl Tried {
    fn failed(fault: Fault) -> Tried {
        Tried {
            message: Err(fault),
            met: 0,
            unmet: None,
            behaviour: None,
        }
    }
}

/// What a state is told of a candidate that did not pass; `flaw` is for the next one.
fn refusal(word: &str, message: &str, flaw: &str, met: usize) -> Value {
    Value::record([
        ("ok", Value::Bool(false)),
        ("reason", Value::Text(word.to_owned())),
        ("message", Value::Text(message.to_owned())),
        ("flaw", Value::Text(flaw.to_owned())),
        ("met", Value::Int(met as i64)),
    ])
}
