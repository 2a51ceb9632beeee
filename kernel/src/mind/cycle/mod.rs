//! One cycle: the state objects in the image say what to do next; this module only does it (`docs/mind.md` has the table of directives).
//!
//! Parts in reading order: this file (the cycle's steps), `directive` (what a state asks for), `pointer` (which state works, and where it
//! may go), `asking` (the model and the memory), `schema` (JSON that a model wrote), `proving` (guard and trial) with `narrow` (generated
//! code names only slots that exist), `examples` (what a wish demands) and `probing` (what it does beside them), `installing` (the one transaction), `viewing` (a view instead of a
//! method), `telling` (who hears of it).
//!
//! Everything before the end happens in an overlay that no other activation sees.

mod asking;
mod directive;
mod examples;
mod installing;
mod narrow;
mod pointer;
mod probing;
mod proving;
mod schema;
mod telling;
mod viewing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::activation::{Finished, Mode, Outcome};
use shared::bridge::{Answer, Fault, ThoughtEvent};
use shared::id::ObjectId;
use shared::reason;
use shared::value::Value;
use tokio::sync::broadcast;

use self::asking::Answered;
use self::directive::{broken_mind, is_true, known_reason, list};
use self::pointer::Pointer;
use self::viewing::Drawing;
use super::aim::Aim;
use super::audit::event::BriefHash;
use super::budget::Spent;
use crate::image::draft::Change;
use crate::image::record::Mission;
use crate::kernel::{Kernel, commit_fault};
use crate::names::name_of;
use crate::overlay::{Overlay, World};
use crate::send::Message;
use crate::wish::{Wish, wish_for};
use crate::workers::Activation;

/// A thought that takes more steps than this goes in circles.
const MAX_STEPS: u32 = 128;
/// A state's own method may take so long; the model's time is not in it.
const STEP_DEADLINE: Duration = Duration::from_secs(10);
const MODEL_DEADLINE: Duration = Duration::from_secs(60);
/// The longest that a state may give the model.
const MOST_SECONDS: f64 = 3600.0;
/// A cycle whose reads were changed by others is thought through again; the model is not asked twice for the same.
const REPLAYS: u32 = 8;

/// What all rounds of a mission share.
pub struct Thinking<'a> {
    pub mission: &'a Arc<Mutex<Mission>>,
    pub brief: &'a BriefHash,
    pub events: &'a broadcast::Sender<ThoughtEvent>,
    pub spent: &'a Spent,
    pub author: &'a str,
    pub begun: Instant,
    /// Whether the message itself is carried out at the end.
    pub resend: bool,
    /// The workflow that is tried out: nothing is kept of what comes of it, and nothing told but to who asked.
    pub tried: Option<&'a str>,
}

/// One round of a mission.
pub struct Cycle<'a> {
    pub kernel: &'a Arc<Kernel>,
    pub thinking: &'a Thinking<'a>,
    pub round: u32,
    /// How many rounds of the same model went before.
    pub rounds_before: u32,
    /// What is to be corrected, after the first round.
    pub correction: Option<Correction>,
    /// What the model may still write for the mission.
    pub tokens_left: u64,
    /// Whether the server is asked that stands by for what the model cannot do.
    pub is_escalated: bool,
}

/// How a cycle ended.
pub enum End {
    /// Durable; the message's answer, if it was carried out.
    Complete(Option<Answer>),
    /// Nothing is left of it in the objects.
    Failed { fault: Fault, left: Option<Left> },
}

/// What a round that failed leaves, and to whom.
pub struct Left {
    pub correction: Correction,
    /// Another round of the same model makes sense.
    pub is_correctable: bool,
    /// A round of the server makes sense that stands by.
    pub escalates: bool,
}

/// What a round that failed leaves to the next one.
#[derive(Clone, Debug)]
pub struct Correction {
    /// What was wrong.
    pub flaw: String,
    /// The source that it was wrong with; empty when there was none.
    pub flawed: String,
    /// Every source of the mission that did not pass.
    pub tried: Vec<String>,
    /// How many answers were asked for, and what passed that too few agreed in; the states alone read it.
    pub held: Value,
}

impl End {
    fn failed(fault: Fault) -> End {
        End::Failed { fault, left: None }
    }
}

/// The part of a cycle that one attempt throws away.
struct Attempt {
    overlay: Overlay,
    cycle: ObjectId,
    /// Which state was seen last, and who works in it.
    pointer: Option<Pointer>,
    persona: String,
    /// The sources that guard and trial passed in this attempt: nothing else can be installed.
    proven: Vec<String>,
    /// The same of a view.
    drawn: Option<Drawing>,
    /// What is wanted of the method.
    wish: Option<Wish>,
}

impl Attempt {
    fn state_name(&self) -> &str {
        self.pointer.as_ref().map_or("", |pointer| &pointer.name)
    }
}

enum Step {
    Next(&'static str, Value),
    End(End),
    Replay,
}

impl Step {
    /// A mission that came to something, or was tried out.
    fn complete(answer: Option<Answer>) -> Step {
        Step::End(End::Complete(answer))
    }
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
                    return End::failed(fault);
                }
            }
        }
        let fault = Fault::new(
            reason::CONFLICT,
            "others kept changing what this thought depended on; try again later",
        );
        End::failed(fault)
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
            pointer: None,
            persona: "orchestrator".into(),
            proven: Vec::new(),
            drawn: None,
            wish: None,
        };
        self.forget_method(&mut attempt)?;
        attempt.wish = self.read_wish(&mut attempt.overlay)?;
        let brief = self.brief(&attempt);
        let answer = self
            .activate(&mut attempt, orchestrator, "begin_thought", vec![brief])
            .await?;
        let Value::Ref(cycle) = answer else {
            return Err(broken_mind("orchestrator.begin_thought answered no cycle object"));
        };
        attempt.cycle = cycle;
        self.follow_pointer(&mut attempt)?;
        Ok(attempt)
    }

    /// What the image wants of the method; who changes it while this thinks makes it think again.
    fn read_wish(&self, overlay: &mut Overlay) -> Result<Option<Wish>, Fault> {
        let mission = self.lock().clone();
        let world = World::of(&self.kernel.image.state);
        let (wish, reads) = wish_for(world, mission.receiver, &mission.selector);
        overlay.absorb(reads);
        wish.map_err(|what| {
            Fault::new(
                reason::NOT_UNDERSTOOD,
                format!(
                    "{} does not understand {}, and the wish for it cannot be read: {what}",
                    name_of(world, mission.receiver),
                    mission.selector
                ),
            )
        })
    }

    /// A mission that is tried out again: what it came to is missing once more.
    fn forget_method(&self, attempt: &mut Attempt) -> Result<(), Fault> {
        let mission = self.lock().clone();
        let state = &self.kernel.image.state;
        let receiver = state.object(mission.receiver);
        if self.thinking.tried.is_none()
            || receiver.is_none_or(|receiver| receiver.slot(&mission.selector).is_none())
        {
            return Ok(());
        }
        let removed = Change::Remove {
            object: mission.receiver,
            slot: mission.selector,
        };
        attempt.overlay.apply(state, vec![removed]).map_err(commit_fault)
    }

    /// The mission as the image sees it (M11).
    fn brief(&self, attempt: &Attempt) -> Value {
        let mission = self.lock().clone();
        let aim = Aim::of(&mission);
        let text = |text: &str| Value::Text(text.to_owned());
        let world = World::over(&self.kernel.image.state, &attempt.overlay);
        let chain = world.look_up(mission.receiver, &mission.selector).chain;
        let chain = chain
            .into_iter()
            .skip(1)
            .map(|id| Value::Text(name_of(world, id)))
            .collect();
        let kinds = mission
            .arguments
            .iter()
            .map(|argument| Value::Text(argument.detailed_kind()))
            .collect();
        let correction = self.correction.as_ref();
        Value::record([
            ("mission", Value::Int(mission.id.0 as i64)),
            ("kind", text(aim.kind)),
            (
                "workflow",
                self.thinking.tried.or(aim.workflow).map_or(Value::None, text),
            ),
            ("round", Value::Int(i64::from(self.round))),
            ("rounds_before", Value::Int(i64::from(self.rounds_before))),
            ("receiver", Value::Ref(mission.receiver)),
            ("name", Value::Text(name_of(world, mission.receiver))),
            ("selector", text(aim.selector)),
            ("arguments", Value::List(mission.arguments.clone())),
            ("argument_kinds", Value::List(kinds)),
            ("chain", Value::List(chain)),
            (
                "flaw",
                correction.as_ref().map_or(Value::None, |one| text(&one.flaw)),
            ),
            (
                "flawed",
                correction.as_ref().map_or(Value::None, |one| text(&one.flawed)),
            ),
            (
                "tried",
                Value::List(correction.map_or_else(Vec::new, |one| {
                    one.tried.iter().map(|source| text(source)).collect()
                })),
            ),
            ("held", correction.map_or(Value::None, |one| one.held.clone())),
            ("wish", attempt.wish.as_ref().map_or(Value::None, Wish::value)),
            ("escalated", Value::Bool(self.is_escalated)),
            (
                "tokens_left",
                Value::Int(i64::try_from(self.tokens_left).unwrap_or(i64::MAX)),
            ),
        ])
    }

    async fn process(&self, attempt: &mut Attempt, event: &str, payload: Value) -> Result<Value, Fault> {
        let cycle = attempt.cycle;
        let arguments = vec![Value::Text(event.to_owned()), payload];
        let directive = self
            .activate(attempt, cycle, "_process_synthesis_", arguments)
            .await?;
        self.follow_pointer(attempt)?;
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
        let world = World::over(&self.kernel.image.state, overlay);
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

    async fn carry_out(
        &self,
        attempt: &mut Attempt,
        directive: &Value,
        answered: &mut Answered,
    ) -> Result<Step, Fault> {
        let source = || {
            directive
                .member_text("source")
                .ok_or_else(|| broken_mind("a directive lacks its source"))
        };
        match directive.member_text("do").as_deref() {
            Some("continue") => Ok(Step::Next("enter", Value::None)),
            Some("abilities") => Ok(Step::Next("able", self.abilities(answered).await)),
            Some("infer") => self
                .infer(attempt, directive, answered)
                .await
                .map(|answer| Step::Next("inferred", answer)),
            Some("infer_all") => self
                .infer_all(attempt, directive, answered)
                .await
                .map(|answers| Step::Next("inferred_all", answers)),
            Some("retrieve") => self
                .retrieve(directive, answered)
                .await
                .map(|found| Step::Next("retrieved", found)),
            Some("validate") => schema::validate(directive).map(|verdict| Step::Next("validated", verdict)),
            Some("verdict") => {
                let told = directive.member_text("message").unwrap_or_default();
                self.verdict(attempt, is_true(directive, "ok"), &told, Instant::now());
                Ok(Step::Next("noted", Value::None))
            }
            Some("guard") => Ok(Step::Next("guarded", self.guard(attempt, &source()?))),
            Some("trial") => {
                let is_probed = is_true(directive, "probe");
                let tried = self.trial(attempt, source()?, is_probed).await;
                Ok(Step::Next("tried", tried))
            }
            Some("check_view") => self
                .check_view(attempt, directive)
                .map(|checked| Step::Next("checked", checked)),
            Some("keep") => self.keep(attempt, directive).await,
            Some("install") => self.install(attempt, source()?).await,
            Some("doom") => {
                let reason = directive
                    .member_text("reason")
                    .unwrap_or_else(|| reason::NOT_UNDERSTOOD.into());
                let message = directive.member_text("message").unwrap_or_default();
                let mission = self.lock().clone();
                let (is_correctable, escalates) =
                    (is_true(directive, "correct"), is_true(directive, "escalate"));
                let left = (is_correctable || escalates).then(|| Left {
                    correction: self.correction(directive, &message),
                    is_correctable,
                    escalates,
                });
                let receiver = name_of(World::of(&self.kernel.image.state), mission.receiver);
                let failed = match Aim::of(&mission).is_view() {
                    true => format!("no view of {receiver} came to be: {message}"),
                    false => format!(
                        "{receiver} does not understand {}, and the thought about it failed: {message}",
                        mission.selector
                    ),
                };
                let fault = Fault::new(known_reason(&reason), failed);
                Ok(Step::End(End::Failed { fault, left }))
            }
            other => Err(broken_mind(&format!(
                "a state answered an unknown directive {other:?}"
            ))),
        }
    }

    /// What a doom leaves to the next round.
    fn correction(&self, doom: &Value, message: &str) -> Correction {
        let tried = list(doom, "tried").unwrap_or_default();
        Correction {
            flaw: doom.member_text("flaw").unwrap_or_else(|| message.to_owned()),
            flawed: doom
                .member_text("flawed")
                .unwrap_or_else(|| self.lock().artifact.clone()),
            tried: tried
                .iter()
                .filter_map(|source| source.as_text().map(str::to_owned))
                .collect(),
            held: doom.member("held").cloned().unwrap_or(Value::None),
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Mission> {
        self.thinking
            .mission
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
