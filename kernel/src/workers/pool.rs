//! Who is warm, who is fresh, who is replaced.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::activation::{Finished, Mode};
use shared::bridge::Fault;
use shared::id::{ObjectId, TransactionId};
use shared::reason;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinSet;

use super::conversation::{Activation, Broken, fault, outcome_fault, run};
use super::lane::{Job, Lane, Queue};
use super::process::{End, Settings, Worker};
use crate::image::state::State;
use crate::memory::Memory;
use crate::overlay::World;

/// A worker that thoughts have used is replaced after so many activations.
const RUNS: u32 = 20_000;
/// An activation whose worker was killed from outside is carried out again on another, so many times.
const RETRIES: u32 = 3;
/// Workers that wait for a thought: a fresh one, and one that has been used.
const IDLE: usize = 2;

/// All workers of this kernel: some carry out what is sent, each a [`Lane`]; others are for thoughts and trials, one at a time.
pub struct Workers {
    settings: Settings,
    state: Arc<State>,
    memory: Arc<Memory>,
    queue: Queue,
    permits: Semaphore,
    idle: Mutex<Vec<Worker>>,
    /// Told whenever a worker was used up.
    used_up: Notify,
    /// The processes of the lanes.
    in_lanes: Mutex<BTreeSet<u32>>,
    /// Told whenever a lane has a worker.
    manned: Notify,
}

impl Workers {
    pub fn new(settings: Settings, state: Arc<State>, memory: Arc<Memory>) -> Arc<Workers> {
        Arc::new(Workers {
            permits: Semaphore::new(settings.workers),
            settings,
            state,
            memory,
            queue: Queue::default(),
            idle: Mutex::new(Vec::new()),
            used_up: Notify::new(),
            in_lanes: Mutex::new(BTreeSet::new()),
            manned: Notify::new(),
        })
    }

    /// Keeps the lanes going and a fresh spare at hand, for as long as the kernel lives.
    pub async fn keep_warm(self: Arc<Self>) {
        let mut lanes = JoinSet::new();
        for _ in 0..self.settings.workers {
            lanes.spawn(self.clone().keep_lane());
        }
        loop {
            while !self.idle().iter().any(|worker| worker.runs == 0) {
                let fresh = self.start_patiently().await;
                self.idle().push(fresh);
            }
            self.used_up.notified().await;
        }
    }

    /// Returns when every lane has a worker.
    pub async fn warm(&self) {
        while self.in_lanes().len() < self.settings.workers {
            self.manned.notified().await;
        }
    }

    async fn keep_lane(self: Arc<Self>) {
        loop {
            let worker = self.start_patiently().await;
            let pid = worker.pid();
            self.in_lanes().extend(pid);
            self.manned.notify_one();
            let lane = Lane::new(
                worker,
                (&self.state, &self.memory),
                &self.queue,
                self.settings.memory_mib,
            );
            lane.serve().await;
            self.in_lanes().retain(|other| Some(*other) != pid);
        }
    }

    async fn start_patiently(&self) -> Worker {
        loop {
            match Worker::start(&self.settings).await {
                Ok(worker) => return worker,
                Err(error) => {
                    tracing::error!(%error, "no method-worker could be started");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// What methods ask when they index and search.
    pub fn memory(&self) -> Arc<Memory> {
        self.memory.clone()
    }

    /// The time that a proven method may take.
    pub fn deadline(&self) -> Duration {
        self.settings.deadline
    }

    pub fn pids(&self) -> Vec<u32> {
        let lanes = self.in_lanes().clone();
        let idle = self.idle();
        lanes
            .into_iter()
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
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| Fault::new(reason::STOPPING, "the kernel is stopping"))?;
        Box::pin(self.run_alone(world, &chain, &activation)).await
    }

    /// On a worker that does nothing else meanwhile.
    async fn run_alone(
        &self,
        world: World<'_>,
        chain: &[(ObjectId, TransactionId)],
        activation: &Activation,
    ) -> Result<Finished, Fault> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut worker = self.take(activation.mode).await?;
            match run(&mut worker, (world, &self.memory), chain, activation).await {
                Ok(finished) => {
                    self.give_back(worker, activation.mode);
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
        let found = {
            let mut idle = self.idle();
            let suits = |worker: &&(usize, &Worker)| mode == Mode::Proven || worker.1.runs == 0;
            let best = idle
                .iter()
                .enumerate()
                .filter(|worker| suits(&worker))
                .max_by_key(|(_, worker)| worker.runs)
                .map(|(at, _)| at);
            best.map(|at| idle.remove(at))
        };
        self.used_up.notify_one();
        match found {
            Some(worker) => Ok(worker),
            None => Worker::start(&self.settings).await.map_err(|error| {
                Fault::new(
                    reason::WORKER_DIED,
                    format!("no method-worker could be started: {error}"),
                )
            }),
        }
    }

    fn give_back(&self, mut worker: Worker, mode: Mode) {
        worker.runs += 1;
        if mode == Mode::Proven && worker.runs < RUNS && self.idle().len() < IDLE {
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

    fn in_lanes(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.in_lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
