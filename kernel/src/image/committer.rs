//! The one writer of the log: validates waiting drafts in order, appends and syncs them as a group, publishes, answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use shared::activation::Read;
use shared::bridge::Answer;
use shared::id::{ObjectId, TransactionId};
use shared::object::{ObjectImage, PARENTS, is_slot_name};
use shared::value::Value;
use tokio::sync::oneshot;

use super::draft::{CommitError, Committed, Draft};
use super::log::{AppendError, Batch, Log};
use super::record::{Change, Entry, RequestId, StoredReply};
use super::state::{State, apply, empty_object};

/// Most transactions that one sync makes durable.
const GROUP: usize = 512;

/// The door to the committing thread.
pub struct Committer {
    jobs: Sender<Job>,
    state: Arc<State>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// Where a draft's fate is told.
type Answering = oneshot::Sender<Result<Committed, CommitError>>;

enum Job {
    Commit { draft: Box<Draft>, answer: Answering },
    Stop,
}

impl Committer {
    pub(super) fn start(log: Log, state: Arc<State>) -> Committer {
        let (jobs, queue) = channel();
        let writer = Writer {
            log,
            state: state.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("committer".into())
            .spawn(move || writer.run(&queue));
        // Without this thread nothing can commit: every commit then answers Stopping.
        Committer {
            jobs,
            state,
            thread: std::sync::Mutex::new(thread.ok()),
        }
    }

    /// Durable when it answers `Ok`.
    pub async fn commit(&self, draft: Draft) -> Result<Committed, CommitError> {
        self.submit(draft).await.unwrap_or(Err(CommitError::Stopping))
    }

    /// The same for a thread that is not asynchronous.
    pub fn commit_blocking(&self, draft: Draft) -> Result<Committed, CommitError> {
        self.submit(draft)
            .blocking_recv()
            .unwrap_or(Err(CommitError::Stopping))
    }

    /// Whether a read set still holds in the durable state: all that a transaction without changes needs.
    pub fn validate(&self, reads: &[Read]) -> Result<(), CommitError> {
        match self.state.first_conflict(reads, &HashMap::new()) {
            Some(read) => Err(CommitError::Conflict(Box::new(read))),
            None => Ok(()),
        }
    }

    fn submit(&self, draft: Draft) -> oneshot::Receiver<Result<Committed, CommitError>> {
        let (answer, wait) = oneshot::channel();
        // A closed queue drops the answer's sender, which the waiter sees.
        let _ = self.jobs.send(Job::Commit {
            draft: Box::new(draft),
            answer,
        });
        wait
    }

    /// Commits what waits, then ends the thread.
    pub(super) fn stop(&self) {
        let _ = self.jobs.send(Job::Stop);
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Writer {
    log: Log,
    state: Arc<State>,
}

/// A draft that passed validation and waits for the sync.
struct Accepted {
    entry: Entry,
    transaction: TransactionId,
    answer: Answering,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut stopping = false;
        while !stopping {
            let Ok(first) = queue.recv() else { return };
            let mut group = Vec::new();
            for job in std::iter::once(first).chain(queue.try_iter()).take(GROUP) {
                match job {
                    Job::Commit { draft, answer } => group.push((draft, answer)),
                    Job::Stop => stopping = true,
                }
            }
            match self.commit_group(group) {
                Ok(()) => {}
                Err(AppendError::TakenBack(error)) => {
                    tracing::error!(%error, "a group of transactions was refused")
                }
                Err(AppendError::Uncertain(error)) => {
                    tracing::error!(%error, "the log cannot be written; this kernel ends");
                    std::process::exit(i32::from(shared::exit::UNUSABLE));
                }
            }
        }
    }

    fn commit_group(&mut self, group: Vec<(Box<Draft>, Answering)>) -> Result<(), AppendError> {
        let mut batch = Batch::default();
        let mut pending: HashMap<ObjectId, ObjectImage> = HashMap::new();
        let mut replied: HashMap<RequestId, Answer> = HashMap::new();
        let mut accepted: Vec<Accepted> = Vec::new();
        for (draft, answer) in group {
            match self.accept(*draft, &mut batch, &mut pending, &mut replied) {
                Ok((entry, transaction)) => accepted.push(Accepted {
                    entry,
                    transaction,
                    answer,
                }),
                Err(error) => {
                    let _ = answer.send(Err(error));
                }
            }
        }
        if accepted.is_empty() {
            return Ok(());
        }
        let end = match self.log.append(batch) {
            Ok(end) => end,
            Err(error) => {
                for Accepted { answer, .. } in accepted {
                    let _ = answer.send(Err(CommitError::Failed(error.to_string())));
                }
                return Err(error);
            }
        };
        let mut entries = Vec::with_capacity(accepted.len());
        let mut answers = Vec::with_capacity(accepted.len());
        for Accepted {
            entry,
            transaction,
            answer,
        } in accepted
        {
            let reply = entry.reply.as_ref().map(|stored| stored.answer.clone());
            entries.push((transaction, entry));
            answers.push((
                answer,
                Committed {
                    transaction,
                    answer: reply,
                },
            ));
        }
        self.state.publish(entries, end);
        for (answer, committed) in answers {
            let _ = answer.send(Ok(committed));
        }
        Ok(())
    }

    fn accept(
        &self,
        draft: Draft,
        batch: &mut Batch,
        pending: &mut HashMap<ObjectId, ObjectImage>,
        replied: &mut HashMap<RequestId, Answer>,
    ) -> Result<(Entry, TransactionId), CommitError> {
        if let Some((request, _)) = &draft.reply
            && let Some(answer) = replied
                .get(request)
                .cloned()
                .or_else(|| self.state.reply(request))
        {
            return Err(CommitError::Repeated(Box::new(answer)));
        }
        if let Some(read) = self.state.first_conflict(&draft.reads, pending) {
            return Err(CommitError::Conflict(Box::new(read)));
        }
        let current = |id: ObjectId, pending: &HashMap<ObjectId, ObjectImage>| {
            pending
                .get(&id)
                .cloned()
                .or_else(|| self.state.object(id).map(|object| (*object).clone()))
        };
        let mut touched: HashMap<ObjectId, ObjectImage> = HashMap::new();
        let next = TransactionId(u64::MAX); // The real number is known after encoding; it is set below.
        for change in &draft.changes {
            check(change)?;
            let id = change.object();
            let known = touched.remove(&id).or_else(|| current(id, pending));
            let mut object = match (known, change) {
                (None, Change::Create { .. }) => empty_object(id),
                (Some(_), Change::Create { .. }) => {
                    return Err(CommitError::Refused(format!("{id} exists already")));
                }
                (Some(object), _) => object,
                (None, _) => return Err(CommitError::Refused(format!("{id} does not exist"))),
            };
            apply(&mut object, change.clone(), next);
            touched.insert(id, object);
        }
        let entry = Entry {
            epoch: self.state.epoch(),
            unix_ms: unix_ms(),
            author: draft.author,
            thought: draft.thought,
            next_object: self.state.next_object(),
            changes: draft.changes,
            reply: draft
                .reply
                .map(|(request, answer)| StoredReply { request, answer }),
            mission: draft.mission,
        };
        self.record(entry, batch, pending, replied, touched)
    }

    fn record(
        &self,
        mut entry: Entry,
        batch: &mut Batch,
        pending: &mut HashMap<ObjectId, ObjectImage>,
        replied: &mut HashMap<RequestId, Answer>,
        touched: HashMap<ObjectId, ObjectImage>,
    ) -> Result<(Entry, TransactionId), CommitError> {
        let transaction = batch.next_transaction(&self.log);
        if let Some(stored) = &mut entry.reply {
            stamp(&mut stored.answer, transaction);
            replied.insert(stored.request, stored.answer.clone());
        }
        self.log
            .add(batch, &entry)
            .map_err(|error| CommitError::Refused(error.to_string()))?;
        for (id, mut object) in touched {
            object.version = transaction;
            for slot in object.slots.iter_mut().filter(|slot| slot.changed.0 == u64::MAX) {
                slot.changed = transaction;
            }
            pending.insert(id, object);
        }
        Ok((entry, transaction))
    }
}

/// What every change must obey, whoever made it.
fn check(change: &Change) -> Result<(), CommitError> {
    let check_slot = |object: ObjectId, name: &str, value: &Value| {
        if !is_slot_name(name) {
            return Err(CommitError::Refused(format!(
                "{name:?} cannot be the name of a slot of {object}"
            )));
        }
        let is_parents =
            matches!(value, Value::List(items) if items.iter().all(|item| matches!(item, Value::Ref(_))));
        if name == PARENTS && !is_parents {
            return Err(CommitError::Refused(format!(
                "{object}.parents must be a list of references"
            )));
        }
        Ok(())
    };
    match change {
        Change::Create { object, slots } => {
            for (index, (name, value)) in slots.iter().enumerate() {
                if slots[..index].iter().any(|(known, _)| known == name) {
                    return Err(CommitError::Refused(format!(
                        "{object} would have two slots {name}"
                    )));
                }
                check_slot(*object, name, value)?;
            }
            Ok(())
        }
        Change::Put { object, slot, value } => check_slot(*object, slot, value),
        Change::Remove { .. } => Ok(()),
    }
}

/// Fills a transaction into an answer that names one.
pub fn stamp(answer: &mut Answer, id: TransactionId) {
    match answer {
        Answer::Sent { transaction, .. }
        | Answer::Created { transaction, .. }
        | Answer::Changed { transaction, .. } => {
            *transaction = id;
        }
        Answer::Object(_) | Answer::Verdict { .. } | Answer::Thoughts(_) | Answer::Status(_) => {}
    }
}

/// Now, in milliseconds since 1970.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
