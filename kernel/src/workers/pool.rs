//! Who is warm, who is fresh, who is replaced.

use std::sync::{Arc, Mutex, PoisonError};

use shared::activation::{Finished, Mode};
use shared::bridge::Fault;
use shared::id::ObjectId;
use shared::reason;
use tokio::sync::{Notify, Semaphore};

use super::conversation::{Activation, Broken, fault, outcome_fault, run};
use super::process::{End, Settings, Worker};
use crate::overlay::World;

/// A warm worker is replaced after so many activations.
const RUNS: u32 = 20_000;
/// An activation whose worker was killed from outside is carried out again on another, so many times.
const RETRIES: u32 = 3;

/// All workers of this kernel.
pub struct Workers {
    settings: Settings,
    permits: Semaphore,
    idle: Mutex<Vec<Worker>>,
    /// Told whenever a worker was used up.
    used_up: Notify,
}

impl Workers {
    pub fn new(settings: Settings) -> Arc<Workers> {
        Arc::new(Workers {
            permits: Semaphore::new(settings.workers),
            settings,
            idle: Mutex::new(Vec::new()),
            used_up: Notify::new(),
        })
    }

    /// Keeps warm workers and one fresh spare at hand, for as long as the kernel lives.
    pub async fn keep_warm(self: Arc<Self>) {
        loop {
            while self.idle().len() <= self.settings.workers {
                match Worker::start(&self.settings).await {
                    Ok(worker) => self.idle().push(worker),
                    Err(error) => {
                        tracing::error!(%error, "no method-worker could be started");
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    }
                }
            }
            self.used_up.notified().await;
        }
    }

    /// The time that a proven method may take.
    pub fn deadline(&self) -> std::time::Duration {
        self.settings.deadline
    }

    pub fn pids(&self) -> Vec<u32> {
        self.idle().iter().filter_map(Worker::pid).collect()
    }

    /// Carries an activation out. A fault means that nothing came of it; raised exceptions are faults.
    pub async fn run(
        &self,
        world: World<'_>,
        chain: &[ObjectId],
        activation: &Activation,
    ) -> Result<Finished, Fault> {
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| Fault::new(reason::STOPPING, "the kernel is stopping"))?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut worker = self.take(activation.mode).await?;
            match run(&mut worker, world, chain, activation).await {
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
            match mode {
                Mode::Trial => idle
                    .iter()
                    .position(|worker| worker.runs == 0)
                    .map(|at| idle.remove(at)),
                Mode::Proven => {
                    let warmest = idle
                        .iter()
                        .enumerate()
                        .max_by_key(|(_, worker)| worker.runs)
                        .map(|(at, _)| at);
                    warmest.map(|at| idle.remove(at))
                }
            }
        };
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
        if mode == Mode::Proven && worker.runs < RUNS && self.idle().len() <= self.settings.workers {
            self.idle().push(worker);
        } else {
            // Dropping kills and reaps.
            drop(worker);
            self.used_up.notify_one();
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
