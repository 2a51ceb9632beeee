//! What one mission may cost, and whether it is to end.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shared::bridge::Fault;
use shared::reason;
use shared::value::Value;
use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;

use crate::kernel::Kernel;

/// Where the image does not say otherwise.
const TOKENS: u64 = 40_000;
const TIME: Duration = Duration::from_secs(600);
const AT_ONCE: usize = 8;
/// Correcting rounds after the first.
const CORRECTIONS: u32 = 6;

/// The slots of the orchestrator that say what a mission may cost; read when it begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// `token_budget`: what the model may write for a mission, all rounds together.
    pub tokens: u64,
    /// `seconds_budget`: how long a mission may be thought about; the wait for its turn is not in it.
    pub time: Duration,
    /// `thoughts_at_once`.
    pub at_once: usize,
    /// `corrections`: rounds after the first, 20 at most.
    pub corrections: u32,
}

impl Budget {
    pub fn of(kernel: &Kernel) -> Budget {
        let orchestrator = kernel.resolve("orchestrator").ok();
        let object = orchestrator.and_then(|id| kernel.image.state.object(id));
        let number = |name: &str| match object
            .as_ref()
            .and_then(|object| object.slot(name))
            .map(|slot| &slot.value)
        {
            Some(Value::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        let corrections = number("corrections").map_or(CORRECTIONS, |number| number.min(20) as u32);
        let number = |name: &str| number(name).filter(|number| *number > 0);
        Budget {
            tokens: number("token_budget").unwrap_or(TOKENS),
            time: number("seconds_budget").map_or(TIME, Duration::from_secs),
            at_once: number("thoughts_at_once").map_or(AT_ONCE, |number| number.min(1_000) as usize),
            corrections,
        }
    }
}

/// What a mission has cost so far, since this kernel began with it.
pub struct Spent {
    pub budget: Budget,
    tokens: AtomicU64,
    /// When its first round began.
    begun: Mutex<Option<Instant>>,
    /// True while its transaction may become durable.
    settling: watch::Sender<bool>,
    is_cancelled: AtomicBool,
    cancelled: Notify,
}

impl Spent {
    pub fn new(budget: Budget) -> Spent {
        Spent {
            budget,
            tokens: AtomicU64::new(0),
            begun: Mutex::new(None),
            settling: watch::Sender::new(false),
            is_cancelled: AtomicBool::new(false),
            cancelled: Notify::new(),
        }
    }

    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// How many of the tokens wanted the model may still write.
    pub fn left(&self, wanted: u32) -> Result<u32, Fault> {
        match self.budget.tokens.saturating_sub(self.tokens()) {
            0 => Err(Fault::new(
                reason::NOT_UNDERSTOOD,
                format!(
                    "the model has written {} tokens for this mission, which is its budget; orchestrator.token_budget is how many it may",
                    self.tokens()
                ),
            )),
            left => Ok(u32::try_from(left).map_or(wanted, |left| left.min(wanted))),
        }
    }

    pub fn add(&self, tokens: u32) {
        self.tokens.fetch_add(u64::from(tokens), Ordering::Relaxed);
    }

    /// Until [`Spent::unsettle`] the mission can end only by itself: its transaction may be durable.
    pub fn settle(&self) {
        self.settling.send_replace(true);
    }

    pub fn unsettle(&self) {
        self.settling.send_replace(false);
    }

    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
        self.cancelled.notify_waiters();
        self.cancelled.notify_one();
    }

    /// The time begins to count.
    pub fn begin(&self) {
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now);
    }

    /// Returns when the mission was cancelled or its time is over, but not while it settles.
    pub async fn over(&self) -> Fault {
        let fault = tokio::select! {
            fault = self.cancelled() => fault,
            fault = self.late() => fault,
        };
        // The sender is this mission's own.
        let _ = self
            .settling
            .subscribe()
            .wait_for(|is_settling| !is_settling)
            .await;
        fault
    }

    async fn cancelled(&self) -> Fault {
        while !self.is_cancelled.load(Ordering::SeqCst) {
            self.cancelled.notified().await;
        }
        Fault::new(
            reason::CANCELLED,
            "the mission was cancelled; nothing is left of its thought",
        )
    }

    async fn late(&self) -> Fault {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(begun) = begun else {
            return std::future::pending().await;
        };
        sleep_until((begun + self.budget.time).into()).await;
        Fault::new(
            reason::DEADLINE,
            format!(
                "the thought took longer than {} s, which is its budget; orchestrator.seconds_budget is how long it may",
                self.budget.time.as_secs()
            ),
        )
    }
}
