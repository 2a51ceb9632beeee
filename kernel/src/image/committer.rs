//! The one writer of the log: validates waiting drafts in order, appends and syncs them as a group, publishes, answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shared::activation::Read;
use shared::bridge::Answer;
use shared::id::{Epoch, TransactionId};
use tokio::sync::oneshot;

use super::draft::{CommitError, Committed, Draft};
use super::epoch::EpochFile;
use super::indexer::Pace;
use super::layer::Layer;
use super::log::{AppendError, Batch, Log, unix_ms};
use super::record::{Entry, RequestId, StoredReply};
use super::resolution::{resolve, vectors_of};
use super::segment::{LogError, Position};
use super::state::State;

/// Most transactions that one sync makes durable.
const GROUP: usize = 512;
/// So long the committing thread looks for the next transaction before it sleeps.
const PATIENCE: Duration = Duration::from_micros(30);
/// A batch of so many bytes is written without waiting for more.
const BATCH_BYTES: usize = 8 << 20;

/// The door to the committing thread.
pub struct Committer {
    jobs: Sender<Job>,
    state: Arc<State>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// Where a draft's fate is told.
type Answering = oneshot::Sender<Result<Committed, CommitError>>;

/// What is done with log and state while nothing commits.
type Work = Box<dyn FnOnce(&mut Log, &State) + Send>;

enum Job {
    Commit {
        draft: Box<Draft>,
        answer: Answering,
    },
    /// Work that nobody commits beside.
    Exclusive(Work),
    Stop,
}

impl Committer {
    pub(super) fn start(log: Log, state: Arc<State>, fence: EpochFile, pace: Pace) -> Committer {
        let (jobs, queue) = channel();
        let writer = Writer {
            log,
            state: state.clone(),
            fence,
            pace,
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
        match self.state.conflicts(reads, &Layer::default()) {
            broken if broken.is_empty() => Ok(()),
            broken => Err(CommitError::Conflict(broken)),
        }
    }

    /// Closes the newest segment after what waits now; answers the durable end, which begins the next segment.
    pub fn rotate(&self) -> Result<Position, String> {
        self.exclusively(|log, state| {
            rotate(log, state)?;
            Ok(log.end())
        })
    }

    /// The same, and the index then contains just what is before the new segment. Nobody else may be bringing it up to date.
    pub(super) fn cut(&self) -> Result<(), String> {
        self.exclusively(|log, state| {
            rotate(log, state)?;
            state.flush().map_err(|error| error.to_string())
        })
    }

    /// Runs work that nothing commits beside, after what waits now.
    pub(super) fn exclusively<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Log, &State) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let (answer, wait) = oneshot::channel();
        let _ = self.jobs.send(Job::Exclusive(Box::new(move |log, state| {
            let _ = answer.send(work(log, state));
        })));
        wait.blocking_recv()
            .unwrap_or_else(|_| Err("the kernel is stopping".into()))
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
    fence: EpochFile,
    pace: Pace,
}

/// A draft that passed validation and waits for the sync.
struct Accepted {
    transaction: TransactionId,
    reply: Option<Answer>,
    answer: Answering,
}

/// Validated transactions that are not written yet, and what they come to.
#[derive(Default)]
struct Group {
    batch: Batch,
    layer: Layer,
    replied: HashMap<RequestId, Answer>,
    accepted: Vec<Accepted>,
    /// Told once the group is durable and visible: whoever runs again before that would only meet the same again, and a repeat
    /// of what is in the group must not be answered by what may still be lost.
    later: Vec<(CommitError, Answering)>,
}

/// Why nothing of a group was written.
#[derive(Debug, thiserror::Error)]
enum NotWritten {
    /// Nothing of this kernel may be written any more.
    #[error("this kernel (epoch {epoch}) was retired; epoch {newer} writes to the image now")]
    Retired { epoch: Epoch, newer: Epoch },
    /// The log is as it was before.
    #[error(transparent)]
    TakenBack(LogError),
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut stopping = false;
        while !stopping {
            let Some(first) = next(queue) else {
                return;
            };
            let mut group = Group::default();
            let mut work = None;
            for job in std::iter::once(first).chain(queue.try_iter()).take(GROUP) {
                match job {
                    Job::Commit { draft, answer } => self.accept_into(&mut group, *draft, answer),
                    Job::Exclusive(exclusive) => work = Some(exclusive),
                    Job::Stop => stopping = true,
                }
                if work.is_some() || stopping || group.batch.bytes() > BATCH_BYTES {
                    break;
                }
            }
            self.write(group);
            if self.log.is_long()
                && let Err(error) = rotate(&mut self.log, &self.state)
            {
                tracing::warn!(
                    error,
                    "the newest segment of the log could not be closed and goes on"
                );
            }
            if let Some(work) = work {
                work(&mut self.log, &self.state);
            }
        }
    }

    fn accept_into(&self, group: &mut Group, draft: Draft, answer: Answering) {
        match self.accept(draft, group) {
            Ok((transaction, reply)) => group.accepted.push(Accepted {
                transaction,
                reply,
                answer,
            }),
            Err(error @ (CommitError::Conflict(_) | CommitError::Repeated(_))) => {
                group.later.push((error, answer));
            }
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
    }

    /// Writes, syncs, publishes and answers a group. Where it is not known what the disk holds, nobody is answered and this
    /// kernel ends: who asked asks the next one, which knows.
    fn write(&mut self, group: Group) {
        let Group {
            batch,
            layer,
            accepted,
            later,
            ..
        } = group;
        let written = match accepted.is_empty() {
            true => Ok(()),
            false => self.append(batch).map(|end| {
                self.state
                    .publish(layer, end, self.state.next_object(), self.state.epoch());
            }),
        };
        let failed = written.as_ref().err().map(ToString::to_string);
        let unless_failed = |result| match &failed {
            None => result,
            Some(message) => Err(CommitError::Failed(message.clone())),
        };
        for Accepted {
            transaction,
            reply,
            answer,
        } in accepted
        {
            let _ = answer.send(unless_failed(Ok(Committed {
                transaction,
                answer: reply,
            })));
        }
        for (error, answer) in later {
            let _ = answer.send(unless_failed(Err(error)));
        }
        if let Err(error) = written {
            tracing::error!(%error, "a group of transactions was refused");
        } else {
            self.pace.keep(&self.state);
        }
    }

    /// Writes and syncs a batch, unless another kernel took the image over.
    fn append(&mut self, batch: Batch) -> Result<Position, NotWritten> {
        let epoch = self.state.epoch();
        let log = &mut self.log;
        match self.fence.guard(epoch, || log.append(batch)) {
            Ok(Ok(Ok(end))) => Ok(end),
            Ok(Ok(Err(AppendError::TakenBack(error)))) => Err(NotWritten::TakenBack(error)),
            Ok(Ok(Err(AppendError::Uncertain(error)))) => end_this_kernel(&error),
            Ok(Err(newer)) => Err(NotWritten::Retired { epoch, newer }),
            Err(source) => end_this_kernel(&LogError::Io {
                path: "image/epoch".into(),
                source,
            }),
        }
    }

    /// Validates a draft after those of the group and adds its record; answers its transaction and reply.
    fn accept(
        &self,
        draft: Draft,
        group: &mut Group,
    ) -> Result<(TransactionId, Option<Answer>), CommitError> {
        if let Some((request, _)) = &draft.reply
            && let Some(answer) = group
                .replied
                .get(request)
                .cloned()
                .or_else(|| self.state.reply(request))
        {
            return Err(CommitError::Repeated(Box::new(answer)));
        }
        let broken = self.state.conflicts(&draft.reads, &group.layer);
        if !broken.is_empty() {
            return Err(CommitError::Conflict(broken));
        }
        let referred = self.state.referred(&draft.collected, &group.layer);
        if !referred.is_empty() {
            return Err(CommitError::Conflict(referred));
        }
        let vectors = vectors_of(&draft.changes);
        let (objects, entries) = resolve(&self.state, &group.layer, draft.changes)?;
        let next = self.log.next(&group.batch);
        let mut reply = draft
            .reply
            .map(|(request, answer)| StoredReply { request, answer });
        if let Some(stored) = &mut reply {
            stamp(&mut stored.answer, next.transaction);
        }
        let entry = Entry {
            epoch: self.state.epoch(),
            unix_ms: unix_ms(),
            author: draft.author,
            thought: draft.thought,
            undoes: draft.undoes,
            next_object: self.state.next_object(),
            objects,
            entries,
            collected: draft.collected,
            reply,
            mission: draft.mission,
            vectors,
        };
        self.log
            .add(&mut group.batch, &entry)
            .map_err(|error| CommitError::Refused(error.to_string()))?;
        let answer = entry.reply.as_ref().map(|stored| stored.answer.clone());
        if let Some(stored) = &entry.reply {
            group.replied.insert(stored.request, stored.answer.clone());
        }
        group.layer.advance(next, entry, &|id| self.state.held(id));
        Ok((next.transaction, answer))
    }
}

/// The next job; `None` when there will be none. A client that commits one transaction after the other is back in a moment, and
/// to sleep and be woken takes longer than that.
fn next(queue: &Receiver<Job>) -> Option<Job> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match queue.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Empty) => std::thread::yield_now(),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
    queue.recv().ok()
}

/// Closes the newest segment and begins the next; the error is of one that just goes on.
fn rotate(log: &mut Log, state: &State) -> Result<(), String> {
    match log.rotate() {
        Ok(()) => {
            state.moved_to(log.end());
            Ok(())
        }
        Err(AppendError::TakenBack(error)) => Err(error.to_string()),
        Err(AppendError::Uncertain(error)) => end_this_kernel(&error),
    }
}

/// A write or sync has failed in a way that leaves open what the disk holds. It is not tried again here: a sync that
/// succeeds after one that failed proves nothing. The next kernel starts from what the disk holds.
pub(super) fn end_this_kernel(error: &LogError) -> ! {
    tracing::error!(%error, "it is not known what the disk holds of the log; this kernel ends, and the next one starts from what is there");
    std::process::exit(i32::from(shared::exit::UNUSABLE));
}

/// Fills a transaction into an answer that names one.
pub fn stamp(answer: &mut Answer, id: TransactionId) {
    match answer {
        Answer::Sent { transaction, .. }
        | Answer::Created { transaction, .. }
        | Answer::Changed { transaction, .. }
        | Answer::Undone { transaction, .. }
        | Answer::Imported { transaction, .. }
        | Answer::BranchCommitted { transaction, .. }
        | Answer::AdapterImported { transaction, .. }
        | Answer::AdapterDropped { transaction, .. } => {
            *transaction = id;
        }
        Answer::CodexImported { transaction, .. } => *transaction = Some(id),
        _ => {}
    }
}
