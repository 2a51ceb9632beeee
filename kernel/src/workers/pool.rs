//! Who is warm, who is fresh, who is replaced.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::activation::{Finished, Mode};
use shared::bridge::Fault;
use shared::id::{ObjectId, TransactionId};
use shared::reason;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::conversation::{Activation, Broken, fault, outcome_fault, run};
use super::lane::{Job, Lane, Queue};
use super::process::{End, Environment, Settings, Work, Worker};
use super::shift::{self, News, Shift, Shifts};
use crate::image::state::State;
use crate::memory::Memory;
use crate::overlay::World;

/// A worker that thoughts have used is replaced after so many activations.
const RUNS: u32 = 20_000;
/// An activation whose worker was killed from outside is carried out again on another, so many times.
const RETRIES: u32 = 3;
/// Workers that wait for a thought: a fresh one, and one that has been used.
const IDLE: usize = 2;
/// Starts that may fail in a row before a shift on trial is given up.
const STARTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(333);
/// Workers of a shift on trial that may break before it is given up.
const BREAKS: u32 = 4;

/// All workers of this kernel: some carry out what is sent, each a [`Lane`]; others are for thoughts and trials, one at a time.
pub struct Workers {
    /// Bounds, which every shift has alike.
    workers: usize,
    deadline: Duration,
    memory_mib: u64,
    shifts: watch::Sender<Shifts>,
    /// Who is told what becomes of a change.
    news: mpsc::UnboundedSender<News>,
    /// Lanes change their worker one after the other.
    turn: Semaphore,
    /// Workers that broke since the last change.
    broken: AtomicU32,
    /// Of the former shift, kept while the change is on trial.
    parked: Mutex<Vec<Worker>>,
    state: Arc<State>,
    memory: Arc<Memory>,
    queue: Queue,
    permits: Semaphore,
    idle: Mutex<Vec<Worker>>,
    /// Told whenever a worker was used up.
    used_up: Notify,
    /// The processes of the lanes, and of which shift they are.
    in_lanes: watch::Sender<BTreeMap<u32, u64>>,
    /// The first spare has been started.
    has_spare: watch::Sender<bool>,
}

impl Workers {
    /// And where is told what becomes of [`Workers::replace`].
    pub fn new(
        settings: Settings,
        state: Arc<State>,
        memory: Arc<Memory>,
    ) -> (Arc<Workers>, mpsc::UnboundedReceiver<News>) {
        let (news, heard) = mpsc::unbounded_channel();
        let workers = Workers {
            permits: Semaphore::new(settings.workers),
            workers: settings.workers,
            deadline: settings.deadline,
            memory_mib: settings.memory_mib,
            shifts: watch::channel(Shifts {
                current: Shift { number: 0, settings },
                former: None,
                given_up: None,
            })
            .0,
            news,
            turn: Semaphore::new(1),
            broken: AtomicU32::new(0),
            parked: Mutex::new(Vec::new()),
            state,
            memory,
            queue: Queue::default(),
            idle: Mutex::new(Vec::new()),
            used_up: Notify::new(),
            in_lanes: watch::channel(BTreeMap::new()).0,
            has_spare: watch::channel(false).0,
        };
        (Arc::new(workers), heard)
    }

    /// Keeps the lanes going and a fresh spare at hand, for as long as the kernel lives.
    pub async fn keep_warm(self: Arc<Self>) {
        let mut lanes = JoinSet::new();
        for _ in 0..self.workers {
            lanes.spawn(self.clone().keep_lane());
        }
        loop {
            while !self.idle().iter().any(|worker| worker.runs == 0) {
                let fresh = self.start_patiently(Work::Thoughts).await;
                self.idle().push(fresh);
                self.has_spare.send_replace(true);
            }
            self.used_up.notified().await;
        }
    }

    /// Returns when every lane has a worker and there was a spare: an interpreter that starts takes the processor from whoever is served.
    pub async fn warm(&self) {
        let (mut in_lanes, mut has_spare) = (self.in_lanes.subscribe(), self.has_spare.subscribe());
        let _ = in_lanes.wait_for(|lanes| lanes.len() >= self.workers).await;
        let _ = has_spare.wait_for(|has| *has).await;
    }

    /// Lets workers of another program, or another environment, take the place of those there are, one lane after the other and each when it has
    /// finished what it was told. What comes of it is told as [`News`]; until [`Workers::keep`] the former shift is at hand, and comes back by
    /// itself when the new one breaks over what the former can carry out.
    pub fn replace(self: &Arc<Self>, program: PathBuf, environment: Option<Environment>) {
        let workers = self.clone();
        tokio::spawn(async move {
            let news = workers.try_replace(program, environment).await;
            let _ = workers.news.send(news.unwrap_or_else(News::Refused));
        });
    }

    async fn try_replace(&self, program: PathBuf, environment: Option<Environment>) -> Result<News, String> {
        let current = self.shift();
        let settings = Settings {
            program,
            environment,
            ..current.settings.clone()
        };
        if settings == current.settings {
            return Ok(News::Replaced(self.workers as u32));
        }
        if self.shifts.borrow().former.is_some() {
            return Err("another change of workers is on trial".to_owned());
        }
        let new = shift::try_out(&settings)
            .await
            .map_err(|error| format!("a new worker cannot do what one must: {error}"))?;
        let old = shift::try_out(&current.settings).await;
        if let Some((new, old)) = old
            .iter()
            .flat_map(|old| new.iter().zip(old))
            .find(|(new, old)| new != old)
        {
            return Err(format!(
                "asked for the same, a new worker says {new}, and an old one says {old}"
            ));
        }
        let number = current.number + 1;
        self.broken.store(0, Ordering::SeqCst);
        self.shifts.send_replace(Shifts {
            current: Shift { number, settings },
            former: Some(current),
            given_up: None,
        });
        self.used_up.notify_one();
        self.changed_to(number).await;
        Ok(News::Replaced(self.workers as u32))
    }

    /// Returns when every lane has a worker of that shift, or that shift is gone.
    async fn changed_to(&self, number: u64) {
        let mut in_lanes = self.in_lanes.subscribe();
        let mut shifts = self.shifts.subscribe();
        tokio::select! {
            _ = in_lanes.wait_for(|lanes| lanes.len() >= self.workers && lanes.values().all(|shift| *shift == number)) => {}
            _ = shifts.wait_for(|shifts| shifts.current.number != number) => {}
        }
    }

    /// The change was good: the former shift goes.
    pub fn keep(&self) {
        self.shifts.send_modify(|shifts| shifts.former = None);
        self.parked().clear();
        let number = self.shift().number;
        self.idle().retain(|worker| worker.shift == number);
        self.used_up.notify_one();
    }

    /// The former shift carries methods out again, if a change is on trial.
    pub fn restore(&self, why: &str) {
        let mut is_restored = false;
        self.shifts.send_if_modified(|shifts| {
            is_restored = match shifts.former.take() {
                Some(former) => {
                    shifts.given_up = Some(shifts.current.number);
                    let number = shifts.current.number + 1;
                    shifts.current = Shift { number, ..former };
                    true
                }
                None => false,
            };
            is_restored
        });
        if is_restored {
            tracing::warn!("the former method-workers carry methods out again: {why}");
            let number = self.shift().number;
            // They are of the program that counts again.
            self.parked().iter_mut().for_each(|worker| worker.shift = number);
            self.idle().clear();
            self.used_up.notify_one();
            let _ = self.news.send(News::Restored(why.to_owned()));
        }
    }

    fn shift(&self) -> Shift {
        self.shifts.borrow().current.clone()
    }

    async fn keep_lane(self: Arc<Self>) {
        // Held from the choice of the next worker until it is in the lane.
        let mut next: Option<(Worker, SemaphorePermit<'_>)> = None;
        loop {
            let (worker, turn) = match next.take() {
                Some((worker, turn)) => (worker, Some(turn)),
                None => (self.start_patiently(Work::Sends).await, None),
            };
            let (pid, shift) = (worker.pid(), worker.shift);
            self.in_lanes
                .send_modify(|lanes| lanes.extend(pid.map(|pid| (pid, shift))));
            drop(turn);
            let (leaving, leave) = watch::channel(false);
            let lane = Lane::new(
                worker,
                (&self.state, &self.memory),
                &self.queue,
                self.memory_mib,
                leave,
            );
            let left = {
                let mut serving = pin!(lane.serve());
                let mut replacing = pin!(self.replacement(shift));
                loop {
                    tokio::select! {
                        left = &mut serving => break left,
                        replacement = &mut replacing, if next.is_none() => {
                            next = Some(replacement);
                            leaving.send_replace(true);
                        }
                    }
                }
            };
            self.in_lanes
                .send_modify(|lanes| lanes.retain(|other, _| Some(*other) != pid));
            if let Some(worker) = left.worker
                && self
                    .shifts
                    .borrow()
                    .former
                    .as_ref()
                    .is_some_and(|former| former.number == shift)
            {
                self.parked().push(worker);
            }
            if left.is_broken {
                self.note_broken(shift);
            }
            if let Some((job, fault)) = left.guilty {
                self.clone().judge(shift, job, fault);
            }
        }
    }

    /// Waits until another shift is to carry methods out, and for this lane's turn; answers a worker of it.
    async fn replacement(&self, shift: u64) -> (Worker, SemaphorePermit<'_>) {
        let mut shifts = self.shifts.subscribe();
        let _ = shifts.wait_for(|shifts| shifts.current.number != shift).await;
        loop {
            if let Ok(turn) = self.turn.acquire().await {
                return (self.start_patiently(Work::Sends).await, turn);
            }
        }
    }

    /// A shift on trial whose workers keep breaking is given up, whatever broke them.
    fn note_broken(&self, shift: u64) {
        let is_trial = {
            let shifts = self.shifts.borrow();
            shifts.current.number == shift && shifts.former.is_some()
        };
        if is_trial && self.broken.fetch_add(1, Ordering::SeqCst) + 1 >= BREAKS {
            self.restore("new workers keep ending");
        }
    }

    /// Who is told that a worker broke: the asker, unless the worker's shift is on trial and the former one can carry it out. Then the shift is at
    /// fault.
    fn judge(self: Arc<Self>, shift: u64, job: Job, fault: Fault) {
        let former = {
            let shifts = self.shifts.borrow();
            match shifts.current.number == shift {
                true => shifts.former.clone(),
                // Given up while this one ran.
                false => (shifts.given_up == Some(shift)).then(|| shifts.current.clone()),
            }
        };
        let Some(former) = former else {
            let _ = job.answer.send(Err(fault));
            return;
        };
        tokio::spawn(async move {
            let parked = self.parked().pop();
            let worker = match parked {
                Some(worker) => Ok(worker),
                None => Worker::start(&former.settings, Work::Sends).await,
            };
            let Ok(mut worker) = worker else {
                let _ = job.answer.send(Err(fault));
                return;
            };
            let world = World::of(&self.state);
            match Box::pin(run(
                &mut worker,
                (world, &self.memory),
                &job.chain,
                &job.activation,
            ))
            .await
            {
                Ok(finished) => {
                    let selector = &job.activation.selector;
                    self.restore(&format!(
                        "{selector} broke a new worker, and not an old one: {fault}"
                    ));
                    let result = match outcome_fault(&job.activation, &finished.outcome) {
                        Some(fault) => Err(fault),
                        None => Ok(finished),
                    };
                    let _ = job.answer.send(result);
                }
                Err(_) => {
                    worker.kill().await;
                    let _ = job.answer.send(Err(fault));
                }
            }
        });
    }

    /// Of the shift that carries methods out now.
    async fn start_patiently(&self, work: Work) -> Worker {
        let mut failures = 0;
        loop {
            let shift = self.shift();
            let parked = {
                let mut parked = self.parked();
                let is_wanted = |worker: &Worker| work == Work::Sends && worker.shift == shift.number;
                let at = parked.iter().position(is_wanted);
                at.map(|at| parked.swap_remove(at))
            };
            if let Some(worker) = parked {
                return worker;
            }
            match Worker::start(&shift.settings, work).await {
                Ok(mut worker) => {
                    worker.shift = shift.number;
                    return worker;
                }
                Err(error) => {
                    tracing::error!(%error, "no method-worker could be started");
                    failures += 1;
                    if failures >= STARTS {
                        self.restore(&format!("a new worker cannot be started: {error}"));
                    }
                    tokio::time::sleep(PAUSE * failures.min(STARTS)).await;
                }
            }
        }
    }

    /// What methods ask when they index and search.
    pub fn memory(&self) -> Arc<Memory> {
        self.memory.clone()
    }

    /// Who carries thoughts and trials out: not a shift that is on trial itself.
    fn proven(&self) -> Shift {
        let shifts = self.shifts.borrow();
        shifts.former.clone().unwrap_or_else(|| shifts.current.clone())
    }

    /// The time that a proven method may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// `module.name` of what methods may use of packages that were installed for them.
    pub fn allowed(&self) -> Vec<String> {
        let environment = self.shift().settings.environment;
        environment
            .map(|environment| environment.allow)
            .unwrap_or_default()
    }

    pub fn pids(&self) -> Vec<u32> {
        let lanes = self.in_lanes.borrow().clone();
        let idle = self.idle();
        lanes
            .into_keys()
            .chain(idle.iter().filter_map(Worker::pid))
            .collect()
    }

    /// Carries an activation out. A fault means that nothing came of it; raised exceptions are faults.
    pub async fn run(
        &self,
        world: World<'_>,
        chain: Vec<(ObjectId, TransactionId)>,
        activation: Activation,
    ) -> Result<Finished, Fault> {
        if world.overlay.is_none() && activation.mode == Mode::Proven {
            let (answer, wait) = oneshot::channel();
            self.queue.push(Job {
                chain,
                activation,
                answer,
                killed: 0,
            });
            return wait
                .await
                .unwrap_or_else(|_| Err(Fault::new(reason::STOPPING, "the kernel is stopping")));
        }
        let mut bench = self.bench(activation.mode).await?;
        bench.run(world, &chain, &activation).await
    }

    /// A worker that does nothing else meanwhile; a fresh one for trials.
    pub async fn bench(&self, mode: Mode) -> Result<Bench<'_>, Fault> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| Fault::new(reason::STOPPING, "the kernel is stopping"))?;
        Ok(Bench {
            workers: self,
            worker: None,
            mode,
            _permit: permit,
        })
    }

    /// On the worker that is held, or on one that is held from then on, unless it breaks.
    async fn run_on(
        &self,
        held: &mut Option<Worker>,
        world: World<'_>,
        chain: &[(ObjectId, TransactionId)],
        activation: &Activation,
    ) -> Result<Finished, Fault> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut worker = match held.take() {
                Some(worker) => worker,
                None => self.take(activation.mode).await?,
            };
            match run(&mut worker, (world, &self.memory), chain, activation).await {
                Ok(finished) => {
                    *held = Some(worker);
                    return match outcome_fault(activation, &finished.outcome) {
                        Some(fault) => Err(fault),
                        None => Ok(finished),
                    };
                }
                Err(broken @ Broken::Gone(_)) => {
                    let end = worker.end().await;
                    self.used_up.notify_one();
                    if end == End::Killed && attempt < RETRIES {
                        tracing::warn!(
                            selector = activation.selector,
                            "a worker was killed from outside; trying another"
                        );
                        continue;
                    }
                    return Err(fault(activation, &broken, Some(end)));
                }
                Err(broken) => {
                    worker.kill().await;
                    self.used_up.notify_one();
                    return Err(fault(activation, &broken, None));
                }
            }
        }
    }

    /// A fresh one for a trial, else the warmest.
    async fn take(&self, mode: Mode) -> Result<Worker, Fault> {
        let shift = self.proven();
        let found = {
            let mut idle = self.idle();
            let suits = |worker: &&(usize, &Worker)| mode == Mode::Proven || worker.1.runs == 0;
            let best = idle
                .iter()
                .enumerate()
                .filter(|(_, worker)| worker.shift == shift.number)
                .filter(|worker| suits(&worker))
                .max_by_key(|(_, worker)| worker.runs)
                .map(|(at, _)| at);
            best.map(|at| idle.remove(at))
        };
        self.used_up.notify_one();
        match found {
            Some(worker) => Ok(worker),
            None => match Worker::start(&shift.settings, Work::Thoughts).await {
                Ok(mut worker) => {
                    worker.shift = shift.number;
                    Ok(worker)
                }
                Err(error) => Err(Fault::new(
                    reason::WORKER_DIED,
                    format!("no method-worker could be started: {error}"),
                )),
            },
        }
    }

    /// After one activation in that mode.
    fn give_back(&self, mut worker: Worker, mode: Mode) {
        worker.runs += 1;
        let is_wanted = worker.shift == self.proven().number;
        if is_wanted && mode == Mode::Proven && worker.runs < RUNS && self.idle().len() < IDLE {
            self.idle().push(worker);
        } else {
            // Dropping kills and reaps.
            drop(worker);
            self.used_up.notify_one();
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parked(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one activation after the other is carried out, in one process. A candidate's is one that nothing else ran in before, and
/// that ends with this.
pub struct Bench<'a> {
    workers: &'a Workers,
    /// None before the first run, and after one that broke it.
    worker: Option<Worker>,
    mode: Mode,
    _permit: SemaphorePermit<'a>,
}

impl Bench<'_> {
    /// As [`Workers::run`].
    pub async fn run(
        &mut self,
        world: World<'_>,
        chain: &[(ObjectId, TransactionId)],
        activation: &Activation,
    ) -> Result<Finished, Fault> {
        Box::pin(self.workers.run_on(&mut self.worker, world, chain, activation)).await
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.workers.give_back(worker, self.mode);
        }
    }
}
