//! Sends: lookup, activation, commit; and what happens when nobody understands.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shared::activation::{Finished, Mode, Outcome, Read, Write};
use shared::bridge::{Answer, Fault};
use shared::id::{ObjectId, ThoughtId};
use shared::object::is_slot_name;
use shared::reason;
use shared::value::Value;

use crate::contention::Turn;
use crate::image::draft::Change;
use crate::image::draft::{CommitError, Draft};
use crate::kernel::{Asker, Kernel, commit_fault};
use crate::names::{name_of, resolve};
use crate::overlay::World;
use crate::workers::Activation;

/// A send whose reads others keep changing is replayed so many times.
pub const REPLAYS: u32 = 32;
/// A send may need so many missing methods, one after the other.
const MISSIONS: u32 = 8;
/// The most that one send may take, thoughts included, unless it says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Message {
    pub receiver: ObjectId,
    pub selector: String,
    pub arguments: Vec<Value>,
}

/// What a message came to in a world, before anything of it is kept.
pub enum Tried {
    /// A data slot answered.
    Data(Value),
    /// A method answered. Nothing is undeclared.
    Ran {
        result: Value,
        reads: Vec<Read>,
        writes: Vec<Write>,
    },
    /// This message found no slot.
    Missed(Message),
}

/// What `does_not_understand` came to.
pub enum Reified {
    /// Somebody is to think about it.
    Mission,
    /// An object that answers for itself: a proxy, or one that refuses.
    Tried(Tried),
}

/// What one attempt came to.
enum Attempt {
    Answered(Answer),
    /// Others changed what was read.
    Replay(CommitError),
    /// This message found no slot.
    Missed(Message),
}

impl Kernel {
    pub async fn send_named(
        self: &Arc<Self>,
        asker: Asker,
        receiver: &str,
        selector: String,
        arguments: Vec<Value>,
        deadline_ms: Option<u64>,
    ) -> Result<Answer, Fault> {
        let message = self.message(self.world(), receiver, selector, arguments)?;
        let deadline = deadline_ms.map_or(DEADLINE, Duration::from_millis);
        match tokio::time::timeout(deadline, self.send(asker, message)).await {
            Ok(result) => result,
            Err(_) => Err(Fault::new(
                reason::DEADLINE,
                format!(
                    "no answer within {} ms; a thought that is under way goes on",
                    deadline.as_millis()
                ),
            )),
        }
    }

    /// A message whose receiver and arguments exist in a world.
    pub fn message(
        &self,
        world: World<'_>,
        receiver: &str,
        selector: String,
        arguments: Vec<Value>,
    ) -> Result<Message, Fault> {
        let receiver = resolve(world, receiver)?;
        if !is_slot_name(&selector) {
            return Err(Fault::new(
                reason::BAD_ARGUMENT,
                "a selector is a Python identifier of letters, digits and _, at most 128 bytes, not beginning with __",
            ));
        }
        let mut missing = None;
        for argument in &arguments {
            argument.each_reference(&mut |id| {
                if missing.is_none() && world.object(id).is_none() {
                    missing = Some(id);
                }
            });
        }
        if let Some(missing) = missing {
            return Err(Fault::new(
                reason::NO_OBJECT,
                format!("an argument refers to {missing}, which does not exist"),
            ));
        }
        self.sends.fetch_add(1, Ordering::Relaxed);
        Ok(Message {
            receiver,
            selector,
            arguments,
        })
    }

    /// Sends until it is answered, replaying conflicts and thinking about what is not understood.
    async fn send(self: &Arc<Self>, asker: Asker, message: Message) -> Result<Answer, Fault> {
        let mut replays = 0;
        let mut missions = 0;
        let mut turn = self.contention.turn_if_contended(message.receiver).await;
        let mut thought: Option<ThoughtId> = None;
        loop {
            let attempt = self.attempt(&asker, &message, thought);
            let attempt = match replays {
                // Nobody knows yet whether it ends at all.
                0 => Turn::within(&mut turn, attempt).await?,
                _ => attempt.await?,
            };
            match attempt {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Replay(conflict) => {
                    replays += 1;
                    self.conflicts.fetch_add(1, Ordering::Relaxed);
                    if replays > REPLAYS {
                        return Err(commit_fault(conflict));
                    }
                    // The old turn ends before the wait for the new one begins.
                    drop(turn.take());
                    if let Some(object) = conflict.place() {
                        turn = Some(self.contention.turn(object).await);
                    }
                }
                Attempt::Missed(missed) => {
                    // A thought takes long.
                    drop(turn.take());
                    missions += 1;
                    if missions > MISSIONS {
                        return Err(Fault::new(
                            reason::NOT_UNDERSTOOD,
                            format!(
                                "{} needs more than {MISSIONS} methods that do not exist",
                                message.selector
                            ),
                        ));
                    }
                    let is_whole = missed.receiver == message.receiver && missed.selector == message.selector;
                    let done = Box::pin(self.not_understood(&asker, missed, is_whole)).await?;
                    if let Some(answer) = done.answer {
                        return Ok(answer);
                    }
                    thought = done.thought.or(thought);
                }
            }
        }
    }

    async fn attempt(
        self: &Arc<Self>,
        asker: &Asker,
        message: &Message,
        thought: Option<ThoughtId>,
    ) -> Result<Attempt, Fault> {
        let tried = self.try_message(self.world(), message).await?;
        self.finish(asker, tried, thought).await
    }

    /// Looks a message up and runs it in a world; nothing is kept.
    pub async fn try_message(&self, world: World<'_>, message: &Message) -> Result<Tried, Fault> {
        let way = world.way(message.receiver, &message.selector);
        let holder = way.holder.as_ref();
        let Some(slot) = holder.and_then(|holder| holder.slot(&message.selector)) else {
            return Ok(Tried::Missed(message.clone()));
        };
        if !matches!(slot.value, Value::Method(_)) {
            return answer_data(message, slot.value.clone());
        }
        let activation = Activation {
            receiver: message.receiver,
            selector: message.selector.clone(),
            arguments: message.arguments.clone(),
            mode: Mode::Proven,
            deadline: self.workers.deadline(),
        };
        let finished = self.workers.run(world, way.chain, activation).await?;
        ended(message, finished)
    }

    /// Keeps what a message came to.
    async fn finish(
        &self,
        asker: &Asker,
        tried: Tried,
        thought: Option<ThoughtId>,
    ) -> Result<Attempt, Fault> {
        let answer = |result| Answer::Sent {
            result,
            transaction: self.image.state.standing().last,
            thought,
        };
        let (result, reads, writes) = match tried {
            Tried::Data(value) => return Ok(Attempt::Answered(answer(value))),
            Tried::Missed(missed) => return Ok(Attempt::Missed(missed)),
            Tried::Ran {
                result,
                reads,
                writes,
            } => (result, reads, writes),
        };
        let answer = answer(result);
        if writes.is_empty() {
            return Ok(match self.image.committer.validate(&reads) {
                Ok(()) => Attempt::Answered(answer),
                Err(conflict) => Attempt::Replay(conflict),
            });
        }
        let mut draft = Draft::new(asker.author.clone());
        draft.thought = thought;
        draft.reads = reads;
        draft.changes = writes.into_iter().map(Change::from).collect();
        draft.reads.extend(self.keep_covenants(None, &draft.changes)?);
        Box::pin(self.commit_answer(asker, draft, answer)).await
    }

    /// Commits with the answer stored for repeats.
    async fn commit_answer(&self, asker: &Asker, mut draft: Draft, answer: Answer) -> Result<Attempt, Fault> {
        draft.reply = asker.request.map(|request| (request, answer.clone()));
        match self.image.committer.commit(draft).await {
            Ok(committed) => {
                Ok(Attempt::Answered(committed.answer.unwrap_or_else(|| {
                    with_transaction(answer, committed.transaction)
                })))
            }
            Err(CommitError::Repeated(answer)) => Ok(Attempt::Answered(*answer)),
            Err(conflict @ CommitError::Conflict(_)) => Ok(Attempt::Replay(conflict)),
            Err(error) => Err(commit_fault(error)),
        }
    }

    /// Asks the receiver's own `does_not_understand` what to do: think, or an answer of its own.
    async fn not_understood(
        self: &Arc<Self>,
        asker: &Asker,
        missed: Message,
        is_whole: bool,
    ) -> Result<Thought, Fault> {
        let name = name_of(self.world(), missed.receiver);
        let tried = match self.reify(self.world(), &missed).await? {
            Reified::Mission => return self.think(asker, missed, is_whole).await,
            Reified::Tried(tried) => tried,
        };
        match self.finish(asker, tried, None).await? {
            Attempt::Answered(answer) => Ok(Thought {
                thought: None,
                answer: Some(answer),
            }),
            Attempt::Replay(conflict) => Err(commit_fault(conflict)),
            Attempt::Missed(other) => Err(unanswered(&name, &other)),
        }
    }

    /// Sends `does_not_understand` to the receiver of a message that found no slot.
    pub async fn reify(&self, world: World<'_>, missed: &Message) -> Result<Reified, Fault> {
        let way = world.way(missed.receiver, "does_not_understand");
        let holder = way.holder.as_ref();
        let slot = holder.and_then(|holder| holder.slot("does_not_understand"));
        if !matches!(slot.map(|slot| &slot.value), Some(Value::Method(_))) {
            return Err(Fault::new(
                reason::NOT_UNDERSTOOD,
                format!(
                    "{} does not understand {} and delegates to nobody who thinks about it (its parents do not lead to traits)",
                    name_of(world, missed.receiver),
                    missed.selector
                ),
            ));
        }
        let activation = Activation {
            receiver: missed.receiver,
            selector: "does_not_understand".into(),
            arguments: vec![
                Value::Text(missed.selector.clone()),
                Value::List(missed.arguments.clone()),
            ],
            mode: Mode::Proven,
            deadline: self.workers.deadline(),
        };
        let finished = self.workers.run(world, way.chain, activation).await?;
        let is_mission = matches!(&finished.outcome,
            Outcome::Answered(value) if value.member("mission").is_some());
        match is_mission {
            true => Ok(Reified::Mission),
            false => ended(missed, finished).map(Reified::Tried),
        }
    }
}

/// A data slot answers its value.
fn answer_data(message: &Message, value: Value) -> Result<Tried, Fault> {
    if !message.arguments.is_empty() {
        return Err(Fault::new(
            reason::BAD_ARGUMENT,
            format!(
                "{} of {} is a {} slot and takes no arguments; `batos set` changes it",
                message.selector,
                message.receiver,
                value.kind()
            ),
        ));
    }
    Ok(Tried::Data(value))
}

/// What an activation came to, checked.
fn ended(message: &Message, finished: Finished) -> Result<Tried, Fault> {
    let result = match finished.outcome {
        Outcome::Answered(result) => result,
        Outcome::Missed {
            receiver,
            selector,
            arguments,
        } => {
            return Ok(Tried::Missed(Message {
                receiver,
                selector,
                arguments,
            }));
        }
        // Raised exceptions became faults before.
        Outcome::Raised(raised) => return Err(Fault::new(reason::METHOD_RAISED, raised.message)),
    };
    check_declared(message, finished.declared, &finished.writes)?;
    Ok(Tried::Ran {
        result,
        reads: finished.reads,
        writes: finished.writes,
    })
}

/// The fault for a `does_not_understand` that sends what nobody understands.
pub fn unanswered(name: &str, other: &Message) -> Fault {
    Fault::new(
        reason::NOT_UNDERSTOOD,
        format!(
            "does_not_understand of {name} itself sends {}, which nobody understands",
            other.selector
        ),
    )
}

/// What came of a message that nobody understood.
pub struct Thought {
    pub thought: Option<ThoughtId>,
    /// Present when the message itself has been answered.
    pub answer: Option<Answer>,
}

/// Writes to slots of objects that existed must be declared.
pub fn check_declared(message: &Message, declared: bool, writes: &[Write]) -> Result<(), Fault> {
    let created: Vec<ObjectId> = writes
        .iter()
        .filter(|w| matches!(w, Write::Create { .. }))
        .map(Write::object)
        .collect();
    let undeclared = writes.iter().find(|write| !created.contains(&write.object()));
    match undeclared {
        Some(write) if !declared => {
            let place = match write {
                Write::Put { slot, .. } | Write::Remove { slot, .. } => {
                    format!("{}.{slot}", write.object())
                }
                _ => format!("an entry of {}", write.object()),
            };
            Err(Fault::new(
                reason::UNDECLARED_WRITE,
                format!(
                    "{}.{} changed {place} and never declared it by `self._p_changed = True`; nothing was changed",
                    message.receiver, message.selector,
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// The answer with its transaction filled in.
pub fn with_transaction(mut answer: Answer, id: shared::id::TransactionId) -> Answer {
    crate::image::committer::stamp(&mut answer, id);
    answer
}
