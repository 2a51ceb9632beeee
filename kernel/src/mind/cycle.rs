//! One cycle: the state objects in the image say what to do next; this file only does it.
//!
//! The kernel sends `_process_synthesis_(event, payload)` to the cycle object, whose `synthesis_state` slot (and first
//! parent) is a state. The state answers a directive, a map with the key `do`:
//!
//! | `do` | other keys | next event, its payload |
//! |---|---|---|
//! | `continue` | | `enter`, none |
//! | `infer` | `prompt`, `max_tokens`, `temperature`, `top_p`, `top_k`, `min_p`, `repetition_penalty`, `seed`, `deadline_s`, `grammar`, `refusal` | `inferred`, `{ok, text, finish, tokens, reason, message}` |
//! | `guard` | `source` | `guarded`, `{ok, findings: [{rule, line, message}]}` |
//! | `trial` | `source` | `tried`, `{ok, reason, message, result, writes, declared}` |
//! | `install` | `source` | the cycle ends: method, message and cycle commit in one transaction |
//! | `doom` | `reason`, `message`, `correct` | the cycle ends and leaves nothing |
//!
//! `grammar` is what the text must be (`docs/grammars.md`): `"method"` for the method that the message lacks, which may name the
//! receiver's slots alone, or a map with `json_schema` or `lark`. `refusal` is what may stand instead of a method.
//!
//! Everything before the end happens in an overlay that no other activation sees.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::activation::{Finished, Mode, Outcome};
use shared::bridge::{Answer, Fault, Finding, ThoughtEvent};
use shared::id::{ObjectId, TransactionId};
use shared::inference::{Generate, Grammar, MethodGrammar, Options};
use shared::reason;
use shared::value::Value;
use tokio::sync::broadcast;

use super::audit::event::Event;
use super::budget::Spent;
use super::model::Question;
use super::narrow;
use crate::image::draft::Change;
use crate::image::draft::{CommitError, Draft};
use crate::image::log::unix_ms;
use crate::image::record::{Mission, Stage};
use crate::kernel::{Kernel, commit_fault, findings};
use crate::names::name_of;
use crate::overlay::{Overlay, World};
use crate::send::{Message, check_declared, with_transaction};
use crate::workers::Activation;

/// A thought that takes more steps than this goes in circles.
const MAX_STEPS: u32 = 64;
/// A state's own method may take so long; the model's time is not in it.
const STEP_DEADLINE: Duration = Duration::from_secs(10);
const MODEL_DEADLINE: Duration = Duration::from_secs(60);
/// The longest that a state may give the model.
const MOST_SECONDS: f64 = 3600.0;
/// A cycle whose reads were changed by others is thought through again; the model is not asked twice for the same.
const REPLAYS: u32 = 8;

/// One round of a mission.
pub struct Cycle<'a> {
    pub kernel: &'a Arc<Kernel>,
    pub mission: &'a Arc<Mutex<Mission>>,
    pub events: &'a broadcast::Sender<ThoughtEvent>,
    pub spent: &'a Spent,
    pub author: &'a str,
    pub begun: Instant,
    pub round: u32,
    /// What was wrong with the round before.
    pub flaw: Option<String>,
    /// Whether the message itself is carried out at the end.
    pub resend: bool,
}

/// What the model was asked in this cycle, and its answers.
type Answered = Vec<(Question, Value)>;

/// How a cycle ended.
pub enum End {
    /// Durable; the message's answer, if it was carried out.
    Complete(Option<Answer>),
    /// Nothing is left of it in the objects.
    Failed { fault: Fault, may_correct: bool },
}

/// The part of a cycle that one attempt throws away.
struct Attempt {
    overlay: Overlay,
    cycle: ObjectId,
    /// The name of the state that was seen last, and who works in it.
    state: String,
    persona: String,
    /// The source that guard and trial passed in this attempt: nothing else can be installed.
    proven: Option<String>,
}

enum Step {
    Next(&'static str, Value),
    End(End),
    Replay,
}

impl Cycle<'_> {
    pub async fn run(self) -> End {
        let mut answered = Vec::new();
        for _ in 0..REPLAYS {
            match self.attempt(&mut answered).await {
                Ok(Some(end)) => return end,
                Ok(None) => {}
                Err(fault) => {
                    self.tell("VALIDATION_FAILURE", "failed", &fault.message);
                    self.audit("VALIDATION_FAILURE", |event| {
                        event.current_state = "failed".into();
                        event.validation_result = Some(fault.message.clone());
                    });
                    return End::Failed {
                        fault,
                        may_correct: false,
                    };
                }
            }
        }
        let fault = Fault::new(
            reason::CONFLICT,
            "others kept changing what this thought depended on; try again later",
        );
        End::Failed {
            fault,
            may_correct: false,
        }
    }

    /// `None` means: again, others changed what was read. `answered` are the model's answers so far, by what was asked.
    async fn attempt(&self, answered: &mut Answered) -> Result<Option<End>, Fault> {
        let mut attempt = self.begin().await?;
        let (mut event, mut payload) = ("enter", Value::None);
        for _ in 0..MAX_STEPS {
            let directive = self.process(&mut attempt, event, payload).await?;
            match self.carry_out(&mut attempt, &directive, answered).await? {
                Step::Next(next, with) => (event, payload) = (next, with),
                Step::End(end) => return Ok(Some(end)),
                Step::Replay => return Ok(None),
            }
        }
        Err(Fault::new(
            reason::NOT_UNDERSTOOD,
            format!("the thought took more than {MAX_STEPS} steps and was stopped"),
        ))
    }

    /// Asks the orchestrator for a cycle object.
    async fn begin(&self) -> Result<Attempt, Fault> {
        let orchestrator = self.kernel.resolve("orchestrator")?;
        let mut attempt = Attempt {
            overlay: Overlay::default(),
            cycle: orchestrator,
            state: String::new(),
            persona: "orchestrator".into(),
            proven: None,
        };
        let brief = self.brief();
        let answer = self
            .activate(&mut attempt, orchestrator, "begin_thought", vec![brief])
            .await?;
        let Value::Ref(cycle) = answer else {
            return Err(broken_mind("orchestrator.begin_thought answered no cycle object"));
        };
        attempt.cycle = cycle;
        self.note_state(&mut attempt);
        Ok(attempt)
    }

    /// The mission as the image sees it (M11).
    fn brief(&self) -> Value {
        let mission = self.lock().clone();
        let state = &self.kernel.image.state;
        let chain = World::of(state)
            .look_up(mission.receiver, &mission.selector)
            .chain;
        let chain = chain
            .into_iter()
            .skip(1)
            .map(|id| Value::Text(name_of(World::of(state), id)))
            .collect();
        let kinds = mission
            .arguments
            .iter()
            .map(|argument| Value::Text(argument.detailed_kind()))
            .collect();
        map([
            ("mission", Value::Int(mission.id.0 as i64)),
            ("round", Value::Int(i64::from(self.round))),
            ("receiver", Value::Ref(mission.receiver)),
            ("selector", Value::Text(mission.selector)),
            ("arguments", Value::List(mission.arguments)),
            ("argument_kinds", Value::List(kinds)),
            ("chain", Value::List(chain)),
            ("flaw", self.flaw.clone().map_or(Value::None, Value::Text)),
        ])
    }

    async fn process(&self, attempt: &mut Attempt, event: &str, payload: Value) -> Result<Value, Fault> {
        let cycle = attempt.cycle;
        let arguments = vec![Value::Text(event.to_owned()), payload];
        let directive = self
            .activate(attempt, cycle, "_process_synthesis_", arguments)
            .await?;
        self.note_state(attempt);
        Ok(directive)
    }

    /// Runs a method of the image inside the overlay.
    async fn activate(
        &self,
        attempt: &mut Attempt,
        receiver: ObjectId,
        selector: &str,
        arguments: Vec<Value>,
    ) -> Result<Value, Fault> {
        let activation = Activation {
            receiver,
            selector: selector.to_owned(),
            arguments,
            mode: Mode::Proven,
            deadline: STEP_DEADLINE,
        };
        let finished = self.run_in_overlay(&attempt.overlay, &activation).await?;
        let Outcome::Answered(value) = finished.outcome else {
            return Err(broken_mind(&format!(
                "{selector} of {receiver} sent a message that nobody understands"
            )));
        };
        let changes = finished.writes.into_iter().map(Change::from).collect();
        attempt
            .overlay
            .apply(&self.kernel.image.state, changes)
            .map_err(commit_fault)?;
        attempt.overlay.absorb(finished.reads);
        Ok(value)
    }

    async fn run_in_overlay(&self, overlay: &Overlay, activation: &Activation) -> Result<Finished, Fault> {
        let world = World {
            state: &self.kernel.image.state,
            overlay: Some(overlay),
        };
        let way = world.way(activation.receiver, &activation.selector);
        if way.holder.is_none() {
            return Err(broken_mind(&format!(
                "{} has no {}",
                activation.receiver, activation.selector
            )));
        }
        self.kernel
            .workers
            .run(world, way.chain, activation.clone())
            .await
    }

    /// Tells everybody when the cycle's pointer moved (M21).
    fn note_state(&self, attempt: &mut Attempt) {
        let world = World {
            state: &self.kernel.image.state,
            overlay: Some(&attempt.overlay),
        };
        let slot = |id: ObjectId, name: &str| {
            world
                .object(id)
                .and_then(|(object, _)| object.slot(name).map(|slot| slot.value.clone()))
        };
        let words = |id: ObjectId, name: &str| match slot(id, name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        };
        let Some(Value::Ref(state)) = slot(attempt.cycle, "synthesis_state") else {
            return;
        };
        let name = words(state, "state_name").unwrap_or_else(|| state.to_string());
        let persona = match slot(state, "persona") {
            Some(Value::Ref(persona)) => words(persona, "persona").unwrap_or_else(|| persona.to_string()),
            _ => "orchestrator".into(),
        };
        if name != attempt.state {
            attempt.persona = persona;
            let before = std::mem::replace(&mut attempt.state, name.clone());
            self.tell("STATE_TRANSITION", &name, &before);
            self.audit_in(attempt, "STATE_TRANSITION", |event| {
                event.current_state = before;
                event.transition_to = Some(name);
            });
        }
    }

    async fn carry_out(
        &self,
        attempt: &mut Attempt,
        directive: &Value,
        answered: &mut Answered,
    ) -> Result<Step, Fault> {
        let source = || text(directive, "source").ok_or_else(|| broken_mind("a directive lacks its source"));
        match text(directive, "do").as_deref() {
            Some("continue") => Ok(Step::Next("enter", Value::None)),
            Some("infer") => self
                .infer(attempt, directive, answered)
                .await
                .map(|v| Step::Next("inferred", v)),
            Some("guard") => Ok(Step::Next("guarded", self.guard(attempt, &source()?))),
            Some("trial") => Ok(Step::Next("tried", self.trial(attempt, source()?).await)),
            Some("install") => self.install(attempt, source()?).await,
            Some("doom") => {
                let reason = text(directive, "reason").unwrap_or_else(|| reason::NOT_UNDERSTOOD.into());
                let message = text(directive, "message").unwrap_or_default();
                let may_correct = matches!(member(directive, "correct"), Some(Value::Bool(true)));
                let mission = self.lock().clone();
                let receiver = name_of(World::of(&self.kernel.image.state), mission.receiver);
                let fault = Fault::new(
                    known_reason(&reason),
                    format!(
                        "{receiver} does not understand {}, and the thought about it failed: {message}",
                        mission.selector
                    ),
                );
                Ok(Step::End(End::Failed { fault, may_correct }))
            }
            other => Err(broken_mind(&format!(
                "a state answered an unknown directive {other:?}"
            ))),
        }
    }

    async fn infer(
        &self,
        attempt: &Attempt,
        directive: &Value,
        answered: &mut Answered,
    ) -> Result<Value, Fault> {
        let prompt =
            text(directive, "prompt").ok_or_else(|| broken_mind("an infer directive lacks its prompt"))?;
        let deadline = number(directive, "deadline_s").unwrap_or(MODEL_DEADLINE.as_secs_f64());
        let generate = Generate {
            request: 1,
            prompt,
            max_tokens: number(directive, "max_tokens")
                .unwrap_or(256.0)
                .clamp(1.0, 4096.0) as u32,
            temperature: number(directive, "temperature").unwrap_or(0.0).clamp(0.0, 2.0) as f32,
            top_p: number(directive, "top_p").unwrap_or(1.0).clamp(0.01, 1.0) as f32,
            seed: number(directive, "seed").unwrap_or(0.0).max(0.0) as u64,
            stop: Vec::new(),
            deadline_ms: (deadline.clamp(0.1, MOST_SECONDS) * 1e3) as u64,
        };
        // A state may ask for an adapter of the image by its name.
        let adapter = match text(directive, "adapter") {
            Some(name) => Some(self.kernel.adapter(&name)?),
            None => None,
        };
        let question = Question {
            generate,
            options: options(directive),
            adapter,
            grammar: self.grammar(directive)?,
        };
        if let Some((_, known)) = answered.iter().find(|(asked, _)| *asked == question) {
            return Ok(known.clone());
        }
        let mut allowed = question.clone();
        allowed.generate.max_tokens = self.spent.left(question.generate.max_tokens)?;
        self.lock().model_calls += 1;
        // What the model is shown never becomes a document of the memory.
        self.kernel.memory.ledger.note(&question.generate.prompt);
        let begun = Instant::now();
        let answer = match self.kernel.mind.model.generate(allowed).await {
            Ok(generated) => {
                self.spent.add(generated.tokens);
                self.lock().artifact = generated.text.clone();
                self.audit_in(attempt, "ARTIFACT_GENERATED", |event| {
                    event.llm_prompt = Some(question.generate.prompt.clone());
                    event.llm_response_raw = Some(generated.text.clone());
                    event.tokens = Some(u64::from(generated.tokens));
                    event.duration_ms = Some(begun.elapsed().as_millis() as u64);
                });
                self.tell("ARTIFACT_GENERATED", &attempt.state, &generated.text);
                map([
                    ("ok", Value::Bool(true)),
                    ("text", Value::Text(generated.text)),
                    (
                        "finish",
                        Value::Text(format!("{:?}", generated.finish).to_lowercase()),
                    ),
                    ("tokens", Value::Int(i64::from(generated.tokens))),
                ])
            }
            Err(fault) => {
                self.tell("MODEL_FAILURE", &attempt.state, &fault.message);
                self.audit_in(attempt, "MODEL_FAILURE", |event| {
                    event.llm_prompt = Some(question.generate.prompt.clone());
                    event.validation_result = Some(fault.message.clone());
                    event.duration_ms = Some(begun.elapsed().as_millis() as u64);
                });
                map([
                    ("ok", Value::Bool(false)),
                    ("reason", Value::Text(fault.reason)),
                    ("message", Value::Text(fault.message)),
                ])
            }
        };
        answered.push((question, answer.clone()));
        Ok(answer)
    }

    fn guard(&self, attempt: &Attempt, source: &str) -> Value {
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
                map([
                    ("rule", Value::Text(finding.rule)),
                    ("line", Value::Int(i64::from(finding.line))),
                    ("message", Value::Text(finding.message)),
                ])
            })
            .collect();
        map([("ok", Value::Bool(is_ok)), ("findings", Value::List(found))])
    }

    /// What the text must be, if the state says so.
    fn grammar(&self, directive: &Value) -> Result<Option<Grammar>, Fault> {
        let asked = match member(directive, "grammar") {
            None | Some(Value::None) => return Ok(None),
            Some(asked) => asked,
        };
        let grammar = match (asked.as_text(), text(asked, "json_schema"), text(asked, "lark")) {
            (Some("method"), ..) => {
                let mission = self.lock().clone();
                if !mission.selector.is_ascii() {
                    // The grammar of names is that of ASCII; the guard and the trial say the rest.
                    return Ok(None);
                }
                let mut slots: Vec<String> = self.visible_slots(&mission).into_iter().collect();
                slots.sort_unstable();
                Grammar::Method(MethodGrammar {
                    arguments: mission.arguments.len() as u32,
                    selector: mission.selector,
                    slots,
                    refusal: text(directive, "refusal"),
                })
            }
            (None, Some(schema), None) => Grammar::JsonSchema(schema),
            (None, None, Some(lark)) => Grammar::Lark(lark),
            _ => {
                return Err(broken_mind(
                    "a directive's grammar is \"method\", or a map with json_schema or lark",
                ));
            }
        };
        Ok(Some(grammar))
    }

    /// Names of slots that the receiver has or inherits, and the selector itself.
    fn visible_slots(&self, mission: &Mission) -> HashSet<String> {
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
    fn judge(&self, source: &str) -> Vec<Finding> {
        let mission = self.lock().clone();
        let expected = guard::Expectation::message(&mission.selector, mission.arguments.len());
        let mut found = findings(&guard::check(source, &expected));
        found.extend(narrow::unknown_slots(source, &self.visible_slots(&mission)));
        found
    }

    /// Runs the candidate in a fresh jailed process on a copy (M14).
    async fn trial(&self, attempt: &mut Attempt, source: String) -> Value {
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
                map([
                    ("ok", Value::Bool(true)),
                    ("result", result),
                    ("writes", Value::List(writes)),
                    ("declared", Value::Bool(finished.declared)),
                ])
            }
            Err(fault) => {
                self.verdict(attempt, false, &format!("trial: {}", fault.message), begun);
                map([
                    ("ok", Value::Bool(false)),
                    ("reason", Value::Text(fault.reason)),
                    ("message", Value::Text(fault.message)),
                ])
            }
        }
    }

    /// Method, message and cycle in one transaction.
    async fn install(&self, attempt: &mut Attempt, source: String) -> Result<Step, Fault> {
        if attempt.proven.as_deref() != Some(source.as_str()) {
            return Err(broken_mind(
                "a state asked to install a source that did not pass guard and trial",
            ));
        }
        let mission = self.lock().clone();
        let state = &self.kernel.image.state;
        let method = vec![put_method(&mission, &source)];
        attempt.overlay.apply(state, method).map_err(commit_fault)?;
        let mut answer = None;
        if self.resend {
            let activation = self.message_activation(&mission, Mode::Proven);
            let finished = self.run_in_overlay(&attempt.overlay, &activation).await?;
            check_declared(&message(&mission), finished.declared, &finished.writes)?;
            let Outcome::Answered(result) = finished.outcome else {
                return Err(broken_mind(
                    "a method that passed its trial sent a message that nobody understands",
                ));
            };
            let changes: Vec<Change> = finished.writes.into_iter().map(Change::from).collect();
            let reads = self.kernel.keep_covenants(Some(&attempt.overlay), &changes)?;
            attempt.overlay.apply(state, changes).map_err(commit_fault)?;
            attempt.overlay.absorb(finished.reads);
            attempt.overlay.absorb(reads);
            answer = Some(Answer::Sent {
                result,
                transaction: TransactionId(0),
                thought: Some(mission.id),
            });
        }
        // The method must still be missing, or somebody's hand was quicker.
        let looked = World::of(state).look_up(mission.receiver, &mission.selector);
        attempt.overlay.reads.extend(looked.reads);
        let done = {
            let mut done = self.lock();
            done.elapsed_ms = self.begun.elapsed().as_millis() as u64;
            done.artifact = source;
            Mission {
                stage: Stage::Complete,
                ..done.clone()
            }
        };
        let draft = Draft {
            thought: Some(mission.id),
            reads: std::mem::take(&mut attempt.overlay.reads),
            changes: std::mem::take(&mut attempt.overlay.changes),
            reply: mission.request.zip(answer.clone()),
            mission: Some(done),
            ..Draft::new(self.author.to_owned())
        };
        // What may be durable is not cancelled any more.
        self.spent.settle();
        let committed = self.kernel.image.committer.commit(draft).await;
        self.spent.unsettle();
        match committed {
            Ok(committed) => {
                self.audit_in(attempt, "COMMITTED", |event| {
                    event.transaction_id = committed.transaction.0;
                    event.artifact_oid = Some(format!("{}.{}", mission.receiver, mission.selector));
                });
                let answer = answer.map(|answer| with_transaction(answer, committed.transaction));
                Ok(Step::End(End::Complete(answer)))
            }
            Err(CommitError::Conflict(_)) => Ok(Step::Replay),
            Err(CommitError::Repeated(answer)) => Ok(Step::End(End::Complete(Some(*answer)))),
            Err(error) => Err(commit_fault(error)),
        }
    }

    fn message_activation(&self, mission: &Mission, mode: Mode) -> Activation {
        Activation {
            receiver: mission.receiver,
            selector: mission.selector.clone(),
            arguments: mission.arguments.clone(),
            mode,
            deadline: self.kernel.workers.deadline(),
        }
    }

    /// Tells what guard or trial found.
    fn verdict(&self, attempt: &Attempt, is_ok: bool, told: &str, begun: Instant) {
        let kind = verdict_event(is_ok);
        self.tell(kind, &attempt.state, told);
        self.audit_in(attempt, kind, |event| {
            event.validation_result = Some(told.to_owned());
            event.duration_ms = Some(begun.elapsed().as_millis() as u64);
        });
    }

    /// Records an event in the mission and tells who watches.
    fn tell(&self, kind: &str, state: &str, detail: &str) {
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
        self.kernel.mind.tell_followers(&event);
        let _ = self.events.send(event);
    }

    fn audit_in(&self, attempt: &Attempt, kind: &str, fill: impl FnOnce(&mut Event)) {
        self.audit(kind, |event| {
            event.current_state = attempt.state.clone();
            event.active_persona = attempt.persona.clone();
            fill(event);
        });
    }

    fn audit(&self, kind: &str, fill: impl FnOnce(&mut Event)) {
        let newest = self.kernel.image.state.standing().last;
        let mut event = Event::of(&self.lock(), self.round, newest, kind);
        fill(&mut event);
        self.kernel.mind.audit.write(event);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Mission> {
        self.mission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How tokens are drawn, as far as the state says so.
fn options(directive: &Value) -> Options {
    let default = Options::default();
    let or = |key: &str, value: f32, least: f64, most: f64| {
        number(directive, key).map_or(value, |asked| asked.clamp(least, most) as f32)
    };
    Options {
        top_k: number(directive, "top_k").unwrap_or(0.0).clamp(0.0, 1e6) as u32,
        min_p: or("min_p", default.min_p, 0.0, 1.0),
        repetition_penalty: or("repetition_penalty", default.repetition_penalty, 0.1, 10.0),
        ..default
    }
}

fn put_method(mission: &Mission, source: &str) -> Change {
    Change::Put {
        object: mission.receiver,
        slot: mission.selector.clone(),
        value: Value::Method(source.to_owned()),
    }
}

fn message(mission: &Mission) -> Message {
    Message {
        receiver: mission.receiver,
        selector: mission.selector.clone(),
        arguments: mission.arguments.clone(),
    }
}

fn verdict_event(ok: bool) -> &'static str {
    if ok {
        "VALIDATION_SUCCESS"
    } else {
        "VALIDATION_FAILURE"
    }
}

/// The image's own word, if it is one that programs know.
fn known_reason(word: &str) -> &'static str {
    match word {
        reason::NO_MODEL => reason::NO_MODEL,
        reason::DEADLINE => reason::DEADLINE,
        _ => reason::NOT_UNDERSTOOD,
    }
}

/// The thinking objects themselves do not work: somebody edited them.
fn broken_mind(what: &str) -> Fault {
    Fault::new(
        reason::NOT_UNDERSTOOD,
        format!("the mind's own objects cannot think: {what}"),
    )
}

fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(
        pairs
            .into_iter()
            .map(|(key, value)| (Value::Text(key.to_owned()), value))
            .collect(),
    )
}

fn member<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Map(pairs) => pairs
            .iter()
            .find(|(k, _)| k.as_text() == Some(key))
            .map(|(_, value)| value),
        _ => None,
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    member(value, key).and_then(Value::as_text).map(str::to_owned)
}

fn number(value: &Value, key: &str) -> Option<f64> {
    match member(value, key) {
        Some(Value::Int(i)) => Some(*i as f64),
        Some(Value::Float(f)) => Some(*f),
        _ => None,
    }
}
