//! A worker that carries proven methods out one after the other and is told the next ones before it is done, so that neither
//! it nor the kernel waits for the other between two of them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::activation::{Finished, FromWorker, ToWorker};
use shared::bridge::Fault;
use shared::frame::{FrameError, encode};
use shared::id::{ObjectId, TransactionId};
use shared::reason;
use tokio::io::Interest;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::conversation::{Activation, Broken, Said, Talk, fault, outcome_fault};
use super::process::{End, Worker};
use crate::image::state::State;
use crate::memory::Memory;
use crate::memory::message::{Ready, prepare};
use crate::overlay::World;

/// Activations that a worker is told ahead.
const AHEAD: usize = 64;
/// Nothing more is told ahead while so many bytes wait to be written.
const AHEAD_BYTES: usize = 1 << 20;
/// What waits behind an activation that takes longer goes to another worker.
const SLOW: Duration = Duration::from_millis(5);
/// An activation whose worker was killed from outside is carried out again on another, so many times.
const RETRIES: u32 = 3;
/// A worker is replaced after so many activations, or when it was told so many bytes for each MiB that it may use: it keeps
/// the objects that it was shown, and they take several times their encoded size there.
const RUNS: u32 = 1_000_000;
const TOLD_BYTES_PER_MIB: u64 = 128 << 10;

/// A proven activation in front of the newest durable state.
pub struct Job {
    /// What the lookup of its selector went along, in the versions of then.
    pub chain: Vec<(ObjectId, TransactionId)>,
    pub activation: Activation,
    pub answer: oneshot::Sender<Result<Finished, Fault>>,
    /// Workers that were killed from outside while they carried it out.
    pub killed: u32,
}

/// Jobs that no worker has begun.
#[derive(Default)]
pub struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    /// Told when there are some.
    filled: Notify,
}

impl Queue {
    pub fn push(&self, job: Job) {
        self.jobs().push_back(job);
        self.filled.notify_one();
    }

    /// Puts jobs back to where they came from, in their order.
    fn put_back(&self, back: impl DoubleEndedIterator<Item = Job>) {
        let mut jobs = self.jobs();
        for job in back.rev() {
            jobs.push_front(job);
        }
        drop(jobs);
        self.filled.notify_one();
    }

    /// The next one that somebody still waits for.
    fn pop(&self) -> Option<Job> {
        let mut jobs = self.jobs();
        loop {
            let job = jobs.pop_front()?;
            if !job.answer.is_closed() {
                return Some(job);
            }
        }
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's way through the queue.
pub struct Lane<'a> {
    worker: Worker,
    state: &'a Arc<State>,
    memory: &'a Arc<Memory>,
    queue: &'a Queue,
    memory_mib: u64,
    /// What the worker asked of the memory, being prepared; it waits for it.
    asked: Option<JoinHandle<Ready>>,
    /// What the worker was told and has not answered, in order.
    told: VecDeque<Told>,
    /// How many of these another worker was given: it carries them out for nothing.
    given_away: usize,
    /// How many it has answered.
    answered: u64,
    /// How many it had begun when that was last seen to change, and when that was.
    begun: u64,
    since: Instant,
    outgoing: Vec<u8>,
    told_bytes: u64,
    /// What it knows is not what is thought: it finishes what it was told and is replaced.
    is_misjudged: bool,
    /// True once another worker stands ready to take its place: it finishes what it was told.
    leave: watch::Receiver<bool>,
}

/// What is left of a lane.
pub struct Left {
    /// A whole worker, where it was not used up.
    pub worker: Option<Worker>,
    /// It broke.
    pub is_broken: bool,
    /// The activation that broke it, and what its asker is to be told unless another worker can carry it out.
    pub guilty: Option<(Job, Fault)>,
}

/// An activation that the worker was told.
struct Told {
    talk: Talk,
    /// `None` when another worker was given it: then what comes of it here is nothing.
    job: Option<Job>,
}

impl<'a> Lane<'a> {
    pub fn new(
        worker: Worker,
        (state, memory): (&'a Arc<State>, &'a Arc<Memory>),
        queue: &'a Queue,
        memory_mib: u64,
        leave: watch::Receiver<bool>,
    ) -> Lane<'a> {
        Lane {
            worker,
            state,
            memory,
            queue,
            memory_mib,
            asked: None,
            told: VecDeque::new(),
            given_away: 0,
            answered: 0,
            begun: 0,
            since: Instant::now(),
            outgoing: Vec::new(),
            told_bytes: 0,
            is_misjudged: false,
            leave,
        }
    }

    /// Serves until the worker is used up, broken or to leave; what was not finished is in the queue again, but for what broke it.
    pub async fn serve(mut self) -> Left {
        match self.work().await {
            Ok(()) if *self.leave.borrow() && !self.is_used_up() => Left {
                worker: Some(self.worker),
                is_broken: false,
                guilty: None,
            },
            Ok(()) => {
                self.worker.kill().await;
                Left {
                    worker: None,
                    is_broken: false,
                    guilty: None,
                }
            }
            Err(broken) => Left {
                worker: None,
                is_broken: true,
                guilty: self.break_off(broken).await,
            },
        }
    }

    async fn work(&mut self) -> Result<(), Broken> {
        let mut clock = interval(SLOW);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.tell()?;
            if self.told.is_empty() && (self.is_used_up() || *self.leave.borrow()) {
                return Ok(());
            }
            let wants_more = self.has_room();
            let is_staying = !*self.leave.borrow();
            let interest = match self.outgoing.is_empty() {
                true => Interest::READABLE,
                false => Interest::READABLE | Interest::WRITABLE,
            };
            tokio::select! {
                biased;
                ready = self.worker.stream.ready(interest) => {
                    let ready = ready.map_err(gone)?;
                    if ready.is_readable() {
                        self.hear()?;
                    }
                }
                () = self.queue.filled.notified(), if wants_more => {
                    // Others that are about to ask do so first: one write tells the worker all of it.
                    tokio::task::yield_now().await;
                }
                ready = prepared(&mut self.asked) => self.conclude(ready)?,
                _ = self.leave.changed(), if is_staying => {}
                _ = clock.tick(), if !self.told.is_empty() => self.look_at_the_clock()?,
            }
        }
    }

    /// Tells the worker what waits, as far as it has room.
    fn tell(&mut self) -> Result<(), Broken> {
        while self.has_room()
            && let Some(job) = self.queue.pop()
        {
            let world = World {
                state: self.state,
                overlay: None,
            };
            let (talk, run) = Talk::begin(&mut self.worker.knowledge, world, &job.chain, &job.activation);
            let frame = match encode(&run) {
                Ok(frame) => frame,
                Err(error) => {
                    // The worker was not told what it is now thought to know.
                    self.is_misjudged = true;
                    let message = format!(
                        "the message and the objects that it needs cannot be sent to a worker: {error}"
                    );
                    let _ = job.answer.send(Err(Fault::new(reason::TOO_LARGE, message)));
                    break;
                }
            };
            if self.told.is_empty() {
                self.begun = self.worker.progress.begun();
                self.since = Instant::now();
            }
            self.told_bytes += frame.len() as u64;
            self.worker.runs += 1;
            self.outgoing.extend_from_slice(&frame);
            self.told.push_back(Told { talk, job: Some(job) });
        }
        if !self.has_room() {
            // Others may have more room than this one.
            self.queue.filled.notify_one();
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), Broken> {
        while !self.outgoing.is_empty() {
            match self.worker.stream.try_write(&self.outgoing) {
                Ok(some) => drop(self.outgoing.drain(..some)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(gone(error)),
            }
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<(), Broken> {
        match self.worker.stream.try_read_buf(self.worker.incoming.room()) {
            Ok(0) => return Err(Broken::Gone(self.worker.incoming.end())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(gone(error)),
        }
        while let Some(message) = self.worker.incoming.take::<FromWorker>().map_err(Broken::Gone)? {
            self.answer(message)?;
        }
        Ok(())
    }

    fn answer(&mut self, message: FromWorker) -> Result<(), Broken> {
        let world = World {
            state: self.state,
            overlay: None,
        };
        let Some(first) = self.told.front_mut() else {
            return Err(Broken::Misbehaved("it spoke without being asked".into()));
        };
        match first.talk.answer(&mut self.worker.knowledge, world, message)? {
            Said::Answer(answer) => self.say(&answer),
            Said::Asked(question, meanings) => {
                self.asked = Some(tokio::spawn(prepare(self.memory.clone(), question, meanings)));
                Ok(())
            }
            Said::Finished(finished) => {
                let told = self.told.pop_front();
                self.answered += 1;
                let is_given_away = told.as_ref().is_some_and(|told| told.job.is_none());
                self.given_away -= usize::from(is_given_away);
                if let Some(job) = told.and_then(|told| told.job) {
                    let result = match outcome_fault(&job.activation, &finished.outcome) {
                        Some(fault) => Err(fault),
                        None => Ok(finished),
                    };
                    let _ = job.answer.send(result);
                }
                Ok(())
            }
        }
    }

    fn say(&mut self, answer: &ToWorker) -> Result<(), Broken> {
        let frame = encode(answer).map_err(Broken::Gone)?;
        self.told_bytes += frame.len() as u64;
        self.outgoing.extend_from_slice(&frame);
        self.write()
    }

    /// Answers what the worker asked of the memory.
    fn conclude(&mut self, ready: Option<Ready>) -> Result<(), Broken> {
        let world = World {
            state: self.state,
            overlay: None,
        };
        match (self.told.front_mut(), ready) {
            (Some(first), Some(ready)) => {
                let answer = tokio::task::block_in_place(|| first.talk.conclude(world, ready));
                self.say(&answer)
            }
            _ => Err(Broken::Misbehaved("it asked the memory and did not wait".into())),
        }
    }

    /// Ends what takes too long or is waited for by nobody, and lets others do what stands around something slow: what waits
    /// behind it, and what is done but whose result waits for it.
    fn look_at_the_clock(&mut self) -> Result<(), Broken> {
        let begun = self.worker.progress.begun();
        if begun != self.begun {
            self.begun = begun;
            self.since = Instant::now();
            return Ok(());
        }
        let running = self.running();
        let age = self.since.elapsed();
        match self.told.get(running).and_then(|told| told.job.as_ref()) {
            Some(job) if age > job.activation.deadline || job.answer.is_closed() => {
                return Err(Broken::Deadline);
            }
            _ => {}
        }
        if age > SLOW {
            let others = self.told.iter_mut().enumerate().filter(|(at, _)| *at != running);
            let jobs: Vec<Job> = others.filter_map(|(_, told)| told.job.take()).collect();
            self.given_away += jobs.len();
            if !jobs.is_empty() {
                self.queue.put_back(jobs.into_iter());
            }
        }
        Ok(())
    }

    /// The place in `told` of what the worker carries out now.
    fn running(&self) -> usize {
        let ahead = self.worker.progress.begun().wrapping_sub(self.answered);
        let last = self.told.len().saturating_sub(1);
        usize::try_from(ahead.saturating_sub(1)).map_or(last, |at| at.min(last))
    }

    /// What stood behind an activation that is for nothing would be given away again, and so on for ever.
    fn has_room(&self) -> bool {
        self.told.len() < AHEAD
            && self.given_away == 0
            && self.outgoing.len() < AHEAD_BYTES
            && !self.is_used_up()
            && !*self.leave.borrow()
            && (self.told.is_empty() || self.since.elapsed() < 2 * SLOW)
    }

    fn is_used_up(&self) -> bool {
        self.is_misjudged
            || self.worker.runs >= RUNS
            || self.told_bytes > self.memory_mib * TOLD_BYTES_PER_MIB
    }

    /// Others than the one that broke it begin again elsewhere.
    async fn break_off(mut self, broken: Broken) -> Option<(Job, Fault)> {
        let running = self.running();
        let guilty = self.told.get_mut(running).and_then(|told| told.job.take());
        let mut again: VecDeque<Job> = self.told.into_iter().filter_map(|told| told.job).collect();
        let end = match &broken {
            Broken::Gone(_) => Some(self.worker.end().await),
            _ => {
                self.worker.kill().await;
                None
            }
        };
        let mut found = None;
        if let Some(mut job) = guilty {
            job.killed += u32::from(end == Some(End::Killed));
            if end == Some(End::Killed) && job.killed < RETRIES {
                tracing::warn!(
                    selector = job.activation.selector,
                    "a worker was killed from outside; trying another"
                );
                again.push_front(job);
            } else {
                let fault = fault(&job.activation, &broken, end);
                found = Some((job, fault));
            }
        }
        self.queue.put_back(again.into_iter());
        found
    }
}

/// What the memory was asked, once it is prepared; never without a question. `None` when preparing it broke.
async fn prepared(asked: &mut Option<JoinHandle<Ready>>) -> Option<Ready> {
    let Some(preparing) = asked else {
        return std::future::pending().await;
    };
    let ready = preparing.await;
    *asked = None;
    ready.ok()
}

fn gone(error: io::Error) -> Broken {
    Broken::Gone(FrameError::Io(error))
}
