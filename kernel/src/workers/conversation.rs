//! One activation: the objects sent along, the questions answered, the result checked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use shared::activation::{DOOMED, Finished, FromWorker, Mode, Outcome, Read, Run, ToWorker, Write};
use shared::bridge::Fault;
use shared::frame::{FrameError, asynchronous};
use shared::id::{ObjectId, TransactionId};
use shared::object::ObjectImage;
use shared::reason;
use shared::value::Value;
use tokio::time::timeout;

use super::process::{End, Worker, describe};
use crate::memory::Memory;
use crate::memory::find::Meanings;
use crate::memory::message::{Had, Ready, prepare};
use crate::overlay::World;

/// A worker gets at most so many entries in one answer.
const SCANNED_AT_ONCE: u32 = 1_000;

/// A message to carry out.
#[derive(Clone, Debug)]
pub struct Activation {
    pub receiver: ObjectId,
    pub selector: String,
    pub arguments: Vec<Value>,
    pub mode: Mode,
    pub deadline: Duration,
}

/// Why an activation has no result; the worker is not to be used again.
pub enum Broken {
    /// Its time is over.
    Deadline,
    /// Its stream ended or made no sense.
    Gone(FrameError),
    /// It asked for something that no worker may.
    Misbehaved(String),
}

/// What a worker was shown.
#[derive(Default)]
pub struct Knowledge {
    /// The version that it holds; `None` once it was told to forget it.
    shown: FxHashMap<ObjectId, Option<TransactionId>>,
    /// What it was shown of an overlay on its way, and was not told to forget.
    pending: Vec<ObjectId>,
    /// Up to where this was compared with the image.
    synced: TransactionId,
}

impl Knowledge {
    /// What the worker holds and the image has changed since they were compared, or has otherwise in this world.
    fn forget_changed(&mut self, world: World<'_>) -> Vec<ObjectId> {
        let mut stale: Vec<ObjectId> = match world.state.changed_since(self.synced) {
            Some((now, changed)) => {
                self.synced = now;
                changed.into_iter().collect()
            }
            None => {
                self.synced = world.state.standing().last;
                self.shown.keys().copied().collect()
            }
        };
        stale.append(&mut self.pending);
        stale.extend(world.overlay.into_iter().flat_map(|overlay| overlay.objects()));
        stale.retain(|id| {
            self.shown
                .get_mut(id)
                .is_some_and(|version| version.take().is_some())
        });
        stale
    }

    fn holds(&self, object: &ObjectImage) -> bool {
        self.shown.get(&object.id) == Some(&Some(object.version))
    }
}

/// What was said in answer to a worker's message.
pub enum Said {
    Answer(ToWorker),
    /// The memory is asked first; see [`Talk::conclude`].
    Asked(FromWorker, Meanings),
    Finished(Finished),
}

/// One activation on one worker, between its beginning and its end.
#[derive(Default)]
pub struct Talk {
    /// What it was shown of the overlay; of this it was told at the beginning that it is to be forgotten.
    uncommitted: HashSet<ObjectId>,
    told: HashSet<ObjectId>,
    allocated: HashSet<ObjectId>,
    reads: Vec<Read>,
    memory: Had,
}

impl Talk {
    /// Begins an activation: what the worker is told. `chain` is what the lookup of its selector went along, in the versions of
    /// then.
    pub fn begin(
        knowledge: &mut Knowledge,
        world: World<'_>,
        chain: &[(ObjectId, TransactionId)],
        activation: &Activation,
    ) -> (Talk, ToWorker) {
        let mut talk = Talk::default();
        let stale = knowledge.forget_changed(world);
        // What the worker holds in that version has not changed since, or it would have been told to forget it.
        let known =
            |(id, version): &&(ObjectId, TransactionId)| knowledge.shown.get(id) != Some(&Some(*version));
        let mut wanted: Vec<ObjectId> = chain.iter().filter(known).map(|(id, _)| *id).collect();
        let arguments = activation.arguments.iter();
        arguments.for_each(|argument| argument.each_reference(&mut |id| wanted.push(id)));
        let mut objects: Vec<ObjectImage> = Vec::new();
        for id in wanted {
            if let Some((object, pending)) = world.object(id)
                && (pending || !knowledge.holds(&object))
                && !objects.iter().any(|other| other.id == id)
            {
                talk.show(knowledge, &object, pending);
                objects.push((*object).clone());
            }
        }
        talk.told.clone_from(&talk.uncommitted);
        let run = Run {
            receiver: activation.receiver,
            selector: activation.selector.clone(),
            arguments: activation.arguments.clone(),
            objects,
            stale,
            uncommitted: talk.uncommitted.iter().copied().collect(),
            mode: activation.mode,
        };
        (talk, ToWorker::Run(Box::new(run)))
    }

    /// Answers what the worker asks, or takes its result.
    pub fn answer(
        &mut self,
        knowledge: &mut Knowledge,
        world: World<'_>,
        message: FromWorker,
    ) -> Result<Said, Broken> {
        let answer = match message {
            FromWorker::Fetch(ids) => {
                let mut objects = Vec::new();
                for id in ids {
                    if let Some((object, pending)) = world.object(id) {
                        self.show(knowledge, &object, pending);
                        objects.push((*object).clone());
                    }
                }
                ToWorker::Objects(objects)
            }
            FromWorker::Allocate => {
                let id = world.state.allocate();
                self.allocated.insert(id);
                ToWorker::Allocated(id)
            }
            FromWorker::Entry { object, key } => ToWorker::Entry(world.entry(object, &key, &mut self.reads)),
            FromWorker::Scan {
                object,
                from,
                to,
                limit,
                order,
            } => {
                let limit = limit.min(SCANNED_AT_ONCE) as usize;
                let (entries, is_whole) = world.scan(object, from, to, limit, order, &mut self.reads);
                ToWorker::Entries { entries, is_whole }
            }
            FromWorker::Count(object) => ToWorker::Count(world.count(object, &mut self.reads)),
            question @ (FromWorker::Remember { .. } | FromWorker::Recall { .. }) => {
                let meanings = self.memory.meanings(world, &question);
                return Ok(Said::Asked(question, meanings));
            }
            FromWorker::Finished(mut finished) => {
                // What texts mean is not for a worker to say.
                finished
                    .writes
                    .retain(|write| !matches!(write, Write::Vector { .. }));
                let vectors = self.check_writes(&finished, knowledge, world)?;
                finished.writes.extend(vectors);
                for id in &self.told {
                    knowledge.shown.insert(*id, None);
                }
                let later = self.uncommitted.difference(&self.told);
                knowledge.pending.extend(later.copied());
                finished.reads.append(&mut self.reads);
                return Ok(Said::Finished(*finished));
            }
            FromWorker::Ready { .. } => return Err(Broken::Misbehaved("it said ready twice".into())),
        };
        Ok(Said::Answer(answer))
    }

    /// Answers what the memory was asked.
    pub fn conclude(&mut self, world: World<'_>, ready: Ready) -> ToWorker {
        let answer = self.memory.conclude(world, ready, &mut self.reads);
        self.allocated.extend(Had::allocated(&answer));
        answer
    }

    fn show(&mut self, knowledge: &mut Knowledge, object: &ObjectImage, pending: bool) {
        knowledge.shown.insert(object.id, Some(object.version));
        if pending {
            self.uncommitted.insert(object.id);
        }
    }

    /// A worker writes only to what it was shown or what it made.
    fn check_writes(
        &self,
        finished: &Finished,
        knowledge: &Knowledge,
        world: World<'_>,
    ) -> Result<Vec<Write>, Broken> {
        let mut vectors = Vec::new();
        for write in &finished.writes {
            let id = write.object();
            let is_made = self.allocated.contains(&id);
            if !is_made && (matches!(write, Write::Create { .. }) || !knowledge.shown.contains_key(&id)) {
                return Err(Broken::Misbehaved(format!(
                    "it wrote to {id}, which it was never shown"
                )));
            }
            check_methods(write, knowledge, world)?;
            let vector = self.memory.check(write).map_err(Broken::Misbehaved)?;
            vectors.extend(vector.map(|(object, vector)| Write::Vector {
                object,
                vector: vector.bytes().to_vec(),
            }));
        }
        Ok(vectors)
    }
}

/// Runs an activation to its end on this worker, which nobody else uses.
pub async fn run(
    worker: &mut Worker,
    (world, memory): (World<'_>, &Arc<Memory>),
    chain: &[(ObjectId, TransactionId)],
    activation: &Activation,
) -> Result<Finished, Broken> {
    let conversation = async {
        let (mut talk, first) = Talk::begin(&mut worker.knowledge, world, chain, activation);
        let mut saying = first;
        loop {
            asynchronous::write(&mut worker.stream, &saying)
                .await
                .map_err(Broken::Gone)?;
            let message = worker.hear().await.map_err(Broken::Gone)?;
            match talk.answer(&mut worker.knowledge, world, message)? {
                Said::Answer(answer) => saying = answer,
                Said::Asked(question, meanings) => {
                    let ready = prepare(memory.clone(), question, meanings).await;
                    saying = tokio::task::block_in_place(|| talk.conclude(world, ready));
                }
                Said::Finished(finished) => return Ok(finished),
            }
        }
    };
    match timeout(activation.deadline, conversation).await {
        Ok(result) => result,
        Err(_) => Err(Broken::Deadline),
    }
}

/// The methods in a write are copies of such as the worker was shown.
fn check_methods(write: &Write, knowledge: &Knowledge, world: World<'_>) -> Result<(), Broken> {
    let id = write.object();
    let methods: Vec<(&str, &str)> = match write {
        Write::Create { slots, .. } => slots
            .iter()
            .filter_map(|(slot, value)| method(slot, value))
            .collect(),
        Write::Put { slot, value, .. } => method(slot, value).into_iter().collect(),
        // A method lives in a slot; as an entry it would be data that nobody checked.
        Write::PutEntry {
            value: Value::Method(_),
            ..
        }
        | Write::Append {
            value: Value::Method(_),
            ..
        } => {
            return Err(Broken::Misbehaved(format!(
                "it put a method into an entry of {id}"
            )));
        }
        _ => Vec::new(),
    };
    let made = methods
        .into_iter()
        .find(|(slot, source)| !is_copy(knowledge, world, slot, source));
    if let Some((slot, _)) = made {
        return Err(Broken::Misbehaved(format!(
            "it put a method of its own making into {id}.{slot}"
        )));
    }
    Ok(())
}

fn method<'a>(slot: &'a str, value: &'a Value) -> Option<(&'a str, &'a str)> {
    match value {
        Value::Method(source) => Some((slot, source)),
        _ => None,
    }
}

/// A clone carries its original's methods along; new ones come only through guard and trial, or a person's hand.
fn is_copy(knowledge: &Knowledge, world: World<'_>, slot: &str, source: &str) -> bool {
    knowledge.shown.keys().any(|id| {
        let object = world.object(*id).map(|(object, _)| object);
        let held = object
            .as_ref()
            .and_then(|object| object.slot(slot))
            .map(|slot| &slot.value);
        matches!(held, Some(Value::Method(known)) if known == source)
    })
}

/// The fault that the sender is told when a worker broke.
pub fn fault(activation: &Activation, broken: &Broken, end: Option<End>) -> Fault {
    let name = format!("{}.{}", activation.receiver, activation.selector);
    match (broken, end) {
        (Broken::Deadline, _) | (_, Some(End::CpuLimit)) => Fault::new(
            reason::METHOD_DEADLINE,
            format!(
                "{name} ran longer than {} ms and was killed; nothing was changed",
                activation.deadline.as_millis()
            ),
        ),
        (Broken::Misbehaved(what), _) => Fault::new(
            reason::WORKER_DIED,
            format!("the process that ran {name} misbehaved ({what}) and was killed; nothing was changed"),
        ),
        (Broken::Gone(_), Some(end)) => Fault::new(
            reason::WORKER_DIED,
            format!(
                "the process that ran {name} is gone: {}; nothing was changed",
                describe(&end)
            ),
        ),
        (Broken::Gone(error), None) => Fault::new(
            reason::WORKER_DIED,
            format!("the process that ran {name} is gone: {error}; nothing was changed"),
        ),
    }
}

/// The fault for an outcome that is not an answer; `None` for an answer or a miss.
pub fn outcome_fault(activation: &Activation, outcome: &Outcome) -> Option<Fault> {
    let Outcome::Raised(raised) = outcome else {
        return None;
    };
    let word = match raised.kind.as_str() {
        "MemoryError" => reason::METHOD_MEMORY,
        "NotPersistent" => reason::NOT_PERSISTENT,
        DOOMED => reason::DOOMED,
        _ => reason::METHOD_RAISED,
    };
    let place = format!("{}.{}", activation.receiver, activation.selector);
    let trace = raised.traceback.trim_end();
    let trace = if trace.is_empty() {
        String::new()
    } else {
        format!("\n{trace}")
    };
    Some(Fault::new(
        word,
        format!("{place} raised {}: {}{trace}", raised.kind, raised.message),
    ))
}
