//! One activation: the objects sent along, the questions answered, the result checked.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use shared::activation::{DOOMED, Finished, FromWorker, Mode, Outcome, Run, ToWorker, Write};
use shared::bridge::Fault;
use shared::frame::{FrameError, asynchronous};
use shared::id::ObjectId;
use shared::object::ObjectImage;
use shared::reason;
use shared::value::Value;
use tokio::time::timeout_at;

use super::process::{End, Worker, describe};
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

/// Runs an activation to its end on this worker.
pub async fn run(
    worker: &mut Worker,
    world: World<'_>,
    chain: &[ObjectId],
    activation: &Activation,
) -> Result<Finished, Broken> {
    let deadline = tokio::time::Instant::from_std(Instant::now() + activation.deadline);
    match timeout_at(deadline, converse(worker, world, chain, activation)).await {
        Ok(result) => result,
        Err(_) => Err(Broken::Deadline),
    }
}

async fn converse(
    worker: &mut Worker,
    world: World<'_>,
    chain: &[ObjectId],
    activation: &Activation,
) -> Result<Finished, Broken> {
    let mut uncommitted = HashSet::new();
    let mut allocated = HashSet::new();
    let mut reads = Vec::new();
    let stale = forget_changed(worker, world);
    let mut wanted: Vec<ObjectId> = chain.to_vec();
    activation
        .arguments
        .iter()
        .for_each(|argument| argument.each_reference(&mut |id| wanted.push(id)));
    let objects = gather(worker, world, wanted, &mut uncommitted);
    let run = Run {
        receiver: activation.receiver,
        selector: activation.selector.clone(),
        arguments: activation.arguments.clone(),
        objects,
        stale,
        uncommitted: uncommitted.iter().copied().collect(),
        mode: activation.mode,
    };
    say(worker, &ToWorker::Run(Box::new(run))).await?;
    loop {
        match asynchronous::read(&mut worker.stream)
            .await
            .map_err(Broken::Gone)?
        {
            FromWorker::Fetch(ids) => {
                let mut objects = Vec::new();
                for id in ids {
                    if let Some((object, pending)) = world.object(id) {
                        note(worker, &object, pending, &mut uncommitted);
                        objects.push((*object).clone());
                    }
                }
                say(worker, &ToWorker::Objects(objects)).await?;
            }
            FromWorker::Allocate => {
                let id = world.state.allocate();
                allocated.insert(id);
                say(worker, &ToWorker::Allocated(id)).await?;
            }
            FromWorker::Entry { object, key } => {
                let entry = world.entry(object, &key, &mut reads);
                say(worker, &ToWorker::Entry(entry)).await?;
            }
            FromWorker::Scan {
                object,
                from,
                to,
                limit,
                order,
            } => {
                let limit = limit.min(SCANNED_AT_ONCE) as usize;
                let (entries, is_whole) = world.scan(object, from, to, limit, order, &mut reads);
                say(worker, &ToWorker::Entries { entries, is_whole }).await?;
            }
            FromWorker::Count(object) => {
                let count = world.count(object, &mut reads);
                say(worker, &ToWorker::Count(count)).await?;
            }
            FromWorker::Finished(mut finished) => {
                check_writes(&finished, worker, world, &uncommitted, &allocated)?;
                for id in &uncommitted {
                    worker.known.remove(id);
                }
                finished.reads.extend(reads);
                return Ok(*finished);
            }
            FromWorker::Ready { .. } => return Err(Broken::Misbehaved("it said ready twice".into())),
        }
    }
}

async fn say(worker: &mut Worker, message: &ToWorker) -> Result<(), Broken> {
    asynchronous::write(&mut worker.stream, message)
        .await
        .map_err(Broken::Gone)
}

/// What the worker holds and the image has changed since they were compared.
fn forget_changed(worker: &mut Worker, world: World<'_>) -> Vec<ObjectId> {
    let mut stale: Vec<ObjectId> = match world.state.changed_since(worker.synced) {
        Some((now, changed)) => {
            worker.synced = now;
            changed
                .into_iter()
                .filter(|id| worker.known.contains_key(id))
                .collect()
        }
        None => {
            worker.synced = world.state.standing().last;
            worker.known.keys().copied().collect()
        }
    };
    // What stands in front of the image is otherwise than the worker has it.
    let changed = world.overlay.into_iter().flat_map(|overlay| overlay.objects());
    stale.extend(changed.filter(|id| worker.known.contains_key(id)));
    for id in &stale {
        worker.known.remove(id);
    }
    stale
}

/// The wanted objects that the worker lacks.
fn gather(
    worker: &mut Worker,
    world: World<'_>,
    wanted: Vec<ObjectId>,
    uncommitted: &mut HashSet<ObjectId>,
) -> Vec<ObjectImage> {
    let mut objects = Vec::new();
    let mut seen = HashSet::new();
    for id in wanted.into_iter().filter(|id| seen.insert(*id)) {
        if let Some((object, pending)) = world.object(id)
            && (pending || worker.known.get(&id) != Some(&object.version))
        {
            note(worker, &object, pending, uncommitted);
            objects.push((*object).clone());
        }
    }
    objects
}

fn note(worker: &mut Worker, object: &ObjectImage, pending: bool, uncommitted: &mut HashSet<ObjectId>) {
    worker.known.insert(object.id, object.version);
    if pending {
        uncommitted.insert(object.id);
    }
}

/// A worker writes only to what it was shown or what it made.
fn check_writes(
    finished: &Finished,
    worker: &Worker,
    world: World<'_>,
    uncommitted: &HashSet<ObjectId>,
    allocated: &HashSet<ObjectId>,
) -> Result<(), Broken> {
    for write in &finished.writes {
        let id = write.object();
        let allowed = match write {
            Write::Create { .. } => allocated.contains(&id),
            _ => allocated.contains(&id) || worker.known.contains_key(&id) || uncommitted.contains(&id),
        };
        if !allowed {
            return Err(Broken::Misbehaved(format!(
                "it wrote to {id}, which it was never shown"
            )));
        }
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
            .find(|(slot, source)| !is_copy(worker, world, slot, source));
        if let Some((slot, _)) = made {
            return Err(Broken::Misbehaved(format!(
                "it put a method of its own making into {id}.{slot}"
            )));
        }
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
fn is_copy(worker: &Worker, world: World<'_>, slot: &str, source: &str) -> bool {
    worker.known.keys().any(|id| {
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
