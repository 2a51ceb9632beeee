//! Which adapters are in memory: three tiers, two budgets, leases. Who is where stands in `ledger`.
//!
//! The lock is held for bookkeeping alone; reading, packing and giving memory back are the loader's. The decoding thread asks
//! [`Store::lease`] and never waits.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::inference::{
    Adapter as Wanted, AdapterAnswer, AdapterRequest, AdapterSummary, AdapterView, Hold, InferenceFault,
    Manifest, TierFigures,
};
use tokio::sync::oneshot;

pub use super::ledger::Attempt;
use super::ledger::{Entry, Key, Ledger, Place};
use super::manifest::Gauges;
use super::{Adapter, Base};

/// So long does the loader leave warm what a request waits for, before it gives way all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// Memory for adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    pub warm_bytes: u64,
    pub hot_bytes: u64,
}

/// All adapters of a worker.
pub struct Store {
    ledger: Mutex<Ledger>,
    /// There is work for the loader, or a lease ended.
    changed: Condvar,
    budgets: Budgets,
    pub gauges: Gauges,
}

/// What became of a question for an adapter.
pub enum Found {
    Ready(Lease),
    /// It is being loaded, or there is no room until others end.
    Later,
    Refused(InferenceFault),
}

/// An adapter in use: it stays hot until this is dropped.
pub struct Lease {
    store: Arc<Store>,
    key: Key,
    adapter: Arc<Adapter>,
    /// Prompts share cached blocks under this number.
    pub root: u64,
}

/// What the loader does next.
pub enum Task {
    Load {
        key: Key,
        wanted: Wanted,
        base: Arc<Base>,
    },
    Drop(Vec<Arc<Adapter>>),
    End,
}

impl Store {
    pub fn new(budgets: Budgets) -> Arc<Store> {
        Arc::new(Store {
            ledger: Mutex::default(),
            changed: Condvar::new(),
            budgets,
            gauges: Gauges::default(),
        })
    }

    /// The model that adapters are for, or why there is none.
    pub fn set_base(&self, base: Result<Base, InferenceFault>) {
        self.ledger().base = Some(base.map(Arc::new));
        self.changed.notify_all();
    }

    /// As it was set.
    pub fn base(&self) -> Option<Result<Base, InferenceFault>> {
        let base = self.ledger().base.clone();
        base.map(|base| base.map(|base| (*base).clone()))
    }

    /// No more work for the loader.
    pub fn end(&self) {
        self.ledger().has_ended = true;
        self.changed.notify_all();
    }

    /// Has it loaded when it is cold, for a request that will ask for its lease when its turn comes.
    pub fn prepare(&self, wanted: &Wanted) -> Result<(), InferenceFault> {
        let mut ledger = self.ledger();
        let key = ledger.know(wanted)?;
        ledger.begin(&key, Attempt::First);
        ledger.entry(&key, |entry| entry.is_awaited = true);
        self.changed.notify_all();
        Ok(())
    }

    /// A lease when it is in memory and fits among the hot ones; otherwise sees to it that it will be.
    pub fn lease(self: &Arc<Store>, wanted: &Wanted, attempt: Attempt) -> Found {
        let mut ledger = self.ledger();
        let key = match ledger.know(wanted) {
            Ok(key) => key,
            Err(fault) => return Found::Refused(fault),
        };
        if let Some(fault) = ledger.begin(&key, attempt) {
            return Found::Refused(fault);
        }
        self.changed.notify_all();
        if !ledger.heat(&key, self.budgets) {
            ledger.entry(&key, |entry| entry.is_awaited = true);
            return Found::Later;
        }
        let Some(entry) = ledger.known.get_mut(&key) else {
            return Found::Later;
        };
        let Place::Hot(adapter) = &entry.place else {
            return Found::Later;
        };
        let adapter = adapter.clone();
        entry.is_awaited = false;
        entry.in_flight += 1;
        entry.uses += 1;
        let (touched, root) = (entry.touched, entry.root);
        ledger.idle.remove(&touched);
        Found::Ready(Lease {
            store: self.clone(),
            key,
            adapter,
            root,
        })
    }

    /// Carries out what was asked; answers when it is done.
    pub async fn answer(self: Arc<Store>, ask: AdapterRequest) -> Result<AdapterAnswer, InferenceFault> {
        match ask {
            AdapterRequest::Stage { adapter, hold } => {
                self.stage(adapter, hold).await.map(AdapterAnswer::Staged)
            }
            AdapterRequest::Unpin { name, generation } => {
                let mut ledger = self.ledger();
                let key = Key { name, generation };
                ledger.entry(&key, |entry| entry.is_pinned = false);
                ledger.rest(&key);
                Ok(AdapterAnswer::Unpinned)
            }
            AdapterRequest::Forget { name, generation } => {
                let is_meant = |key: &&Key| {
                    key.name == name && generation.is_none_or(|generation| key.generation == generation)
                };
                let mut ledger = self.ledger();
                let keys: Vec<Key> = ledger.known.keys().filter(is_meant).cloned().collect();
                for key in &keys {
                    ledger.forget(key);
                }
                self.changed.notify_all();
                Ok(AdapterAnswer::Forgotten(keys.len() as u32))
            }
            AdapterRequest::List => Ok(AdapterAnswer::Listed {
                adapters: self.views(),
                manifest: self.manifest(),
            }),
        }
    }

    async fn stage(&self, wanted: Wanted, hold: Hold) -> Result<AdapterView, InferenceFault> {
        let (tell, told) = oneshot::channel();
        let key = {
            let mut ledger = self.ledger();
            let key = ledger.know(&wanted)?;
            ledger.begin(&key, Attempt::First);
            match ledger.known.get_mut(&key) {
                Some(entry) if matches!(entry.place, Place::Loading) => entry.told.push(tell),
                _ => {
                    let _ = tell.send(Ok(()));
                }
            }
            self.changed.notify_all();
            key
        };
        told.await
            .unwrap_or_else(|_| Err(InferenceFault::new("engine", "the worker is ending")))?;
        let mut ledger = self.ledger();
        if hold == Hold::Pinned {
            if !ledger.heat(&key, self.budgets) {
                return Err(InferenceFault::new(
                    "busy",
                    format!(
                        "all room for hot adapters is in use or pinned; {} stays warm",
                        wanted.name
                    ),
                ));
            }
            ledger.entry(&key, |entry| entry.is_pinned = true);
            ledger.rest(&key);
        }
        ledger.known.get(&key).map(Entry::view).ok_or_else(|| {
            InferenceFault::new(
                "adapter_missing",
                format!("{} was forgotten meanwhile", wanted.name),
            )
        })
    }

    fn views(&self) -> Vec<AdapterView> {
        let ledger = self.ledger();
        let mut known: Vec<(&Key, &Entry)> = ledger.known.iter().collect();
        known.sort_by_key(|(key, _)| *key);
        known.into_iter().map(|(_, entry)| entry.view()).collect()
    }

    /// Where the adapters are; empty as long as there is no model for them.
    pub fn tiers(&self) -> Vec<TierFigures> {
        let ledger = self.ledger();
        if !matches!(ledger.base, Some(Ok(_))) {
            return Vec::new();
        }
        let tier = |name: &str, is_there: fn(&Place) -> bool, bytes, budget_bytes| TierFigures {
            name: name.into(),
            adapters: ledger
                .known
                .values()
                .filter(|entry| is_there(&entry.place))
                .count() as u32,
            bytes,
            budget_bytes,
        };
        let Budgets {
            warm_bytes,
            hot_bytes,
        } = self.budgets;
        vec![
            tier(
                "warm",
                |place| matches!(place, Place::Warm(_)),
                ledger.warm_bytes,
                warm_bytes,
            ),
            tier(
                "hot",
                |place| matches!(place, Place::Hot(_)),
                ledger.hot_bytes,
                hot_bytes,
            ),
        ]
    }

    /// What the process uses, now.
    pub fn manifest(&self) -> Manifest {
        let ledger = self.ledger();
        self.gauges.manifest(Manifest {
            loading_bytes: ledger.loading_bytes,
            warm_bytes: ledger.warm_bytes + ledger.leaving_bytes,
            warm_budget_bytes: self.budgets.warm_bytes,
            hot_bytes: ledger.hot_bytes,
            hot_budget_bytes: self.budgets.hot_bytes,
            ..Manifest::default()
        })
    }

    /// For the loader: waits until there is something to do.
    pub fn next(&self) -> Task {
        let mut ledger = self.ledger();
        loop {
            if ledger.has_ended {
                return Task::End;
            }
            if !ledger.leaving.is_empty() {
                return Task::Drop(std::mem::take(&mut ledger.leaving));
            }
            match ledger.base.clone() {
                Some(Ok(base)) => {
                    if let Some(key) = ledger.queue.pop_front() {
                        match ledger.known.get(&key) {
                            Some(entry) if matches!(entry.place, Place::Loading) => {
                                let wanted = entry.wanted.clone();
                                return Task::Load { key, wanted, base };
                            }
                            _ => continue,
                        }
                    }
                }
                Some(Err(fault)) => {
                    for key in std::mem::take(&mut ledger.queue) {
                        ledger.settle(&key, Err(fault.clone()));
                    }
                }
                None => {}
            }
            ledger = self.changed.wait(ledger).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For the loader: the memory of these was given back.
    pub fn dropped(&self, bytes: u64) {
        self.ledger().leaving_bytes -= bytes;
    }

    /// For the loader: makes room before it is used; what gives way is answered, to be dropped first.
    pub fn reserve(&self, name: &str, bytes: u64) -> Result<Vec<Arc<Adapter>>, InferenceFault> {
        let Budgets {
            warm_bytes,
            hot_bytes,
        } = self.budgets;
        if bytes > warm_bytes || bytes > hot_bytes {
            return Err(InferenceFault::new(
                "adapter_too_large",
                format!(
                    "{name} takes {} KiB; {} KiB may be warm and {} KiB hot; raise adapters_warm_mib or adapters_hot_mib",
                    bytes >> 10,
                    warm_bytes >> 10,
                    hot_bytes >> 10
                ),
            ));
        }
        let mut ledger = self.ledger();
        let mut has_waited = false;
        let mut given = Vec::new();
        while ledger.warm_bytes + ledger.loading_bytes + bytes > warm_bytes {
            let awaited = |key: &Key| ledger.known.get(key).is_some_and(|entry| entry.is_awaited);
            let free = ledger
                .warm
                .values()
                .find(|key| has_waited || !awaited(key))
                .cloned();
            if let Some(key) = free {
                given.extend(ledger.evict(&key));
                continue;
            }
            let waited = self.changed.wait_timeout(ledger, PATIENCE);
            let (back, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            ledger = back;
            has_waited |= timeout.timed_out();
        }
        ledger.loading_bytes += bytes;
        Ok(given)
    }

    /// For the loader: what became of a load; `reserved` is given back.
    pub fn loaded(
        &self,
        key: &Key,
        reserved: u64,
        result: Result<(Adapter, AdapterSummary), InferenceFault>,
    ) {
        let mut ledger = self.ledger();
        ledger.loading_bytes -= reserved;
        let result = result.map(|(adapter, summary)| (Arc::new(adapter), summary));
        ledger.settle(key, result);
        self.changed.notify_all();
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Lease {
    type Target = Adapter;

    fn deref(&self) -> &Adapter {
        &self.adapter
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut ledger = self.store.ledger();
        ledger.entry(&self.key, |entry| entry.in_flight -= 1);
        ledger.rest(&self.key);
        self.store.changed.notify_all();
    }
}
