//! Which adapters are in memory: three tiers, two budgets, leases.
//!
//! The lock is held for bookkeeping alone; reading, packing and giving memory back are the loader's. The decoding thread asks
//! [`Store::lease`] and never waits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::inference::{
    Adapter as Wanted, AdapterAnswer, AdapterRequest, AdapterSummary, AdapterView, Hold, InferenceFault,
    Manifest, Tier,
};
use tokio::sync::oneshot;

use super::manifest::Gauges;
use super::{Adapter, Base};

/// Cold ones beyond this are forgotten, those that were used longest ago first.
const MAX_KNOWN: usize = 65_536;
const MAX_NAME_BYTES: usize = 128;
/// So long does the loader leave warm what a request waits for, before it gives way all the same.
const PATIENCE: Duration = Duration::from_secs(1);
/// Serial numbers of prefixes: above those of cache blocks.
const FIRST_ROOT: u64 = 1 << 63;

/// Memory for adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    pub warm_bytes: u64,
    pub hot_bytes: u64,
}

/// All adapters of a worker.
pub struct Store {
    inner: Mutex<Inner>,
    /// There is work for the loader, or a lease ended.
    changed: Condvar,
    budgets: Budgets,
    pub gauges: Gauges,
}

#[derive(Default)]
struct Inner {
    base: Option<Result<Arc<Base>, InferenceFault>>,
    known: HashMap<Key, Entry>,
    /// To load, first come first.
    queue: VecDeque<Key>,
    /// Warm ones, and hot ones that nobody uses or pins, by when they were touched.
    warm: BTreeMap<u64, Key>,
    idle: BTreeMap<u64, Key>,
    /// Evicted beside the loader; their memory is given back by it.
    leaving: Vec<Arc<Adapter>>,
    warm_bytes: u64,
    hot_bytes: u64,
    loading_bytes: u64,
    leaving_bytes: u64,
    clock: u64,
    roots: u64,
    has_ended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    name: String,
    generation: u64,
}

struct Entry {
    wanted: Wanted,
    place: Place,
    summary: Option<AdapterSummary>,
    /// Prompts share cached blocks under this number.
    root: u64,
    touched: u64,
    uses: u64,
    in_flight: u32,
    is_pinned: bool,
    /// A request waits for it.
    is_awaited: bool,
    /// To be forgotten when the last lease ends.
    is_forgotten: bool,
    told: Vec<oneshot::Sender<Result<(), InferenceFault>>>,
}

enum Place {
    Cold,
    Loading,
    Warm(Arc<Adapter>),
    Hot(Arc<Adapter>),
    /// Told to those that waited; who asks anew has it tried again.
    Failed(InferenceFault),
}

/// Whether a request asks for its adapter for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    First,
    Again,
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
            inner: Mutex::default(),
            changed: Condvar::new(),
            budgets,
            gauges: Gauges::default(),
        })
    }

    /// The model that adapters are for, or why there is none.
    pub fn set_base(&self, base: Result<Base, InferenceFault>) {
        self.inner().base = Some(base.map(Arc::new));
        self.changed.notify_all();
    }

    /// As it was set.
    pub fn base(&self) -> Option<Result<Base, InferenceFault>> {
        let base = self.inner().base.clone();
        base.map(|base| base.map(|base| (*base).clone()))
    }

    /// No more work for the loader.
    pub fn end(&self) {
        self.inner().has_ended = true;
        self.changed.notify_all();
    }

    /// Has it loaded when it is cold, for a request that will ask for its lease when its turn comes.
    pub fn prepare(&self, wanted: &Wanted) -> Result<(), InferenceFault> {
        let mut inner = self.inner();
        let key = inner.know(wanted)?;
        inner.begin(&key, Attempt::First);
        inner.entry(&key, |entry| entry.is_awaited = true);
        self.changed.notify_all();
        Ok(())
    }

    /// A lease when it is in memory and fits among the hot ones; otherwise sees to it that it will be.
    pub fn lease(self: &Arc<Store>, wanted: &Wanted, attempt: Attempt) -> Found {
        let mut inner = self.inner();
        let key = match inner.know(wanted) {
            Ok(key) => key,
            Err(fault) => return Found::Refused(fault),
        };
        if let Some(fault) = inner.begin(&key, attempt) {
            return Found::Refused(fault);
        }
        self.changed.notify_all();
        if !inner.heat(&key, self.budgets) {
            inner.entry(&key, |entry| entry.is_awaited = true);
            return Found::Later;
        }
        let Some(entry) = inner.known.get_mut(&key) else {
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
        inner.idle.remove(&touched);
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
                let mut inner = self.inner();
                let key = Key { name, generation };
                inner.entry(&key, |entry| entry.is_pinned = false);
                inner.rest(&key);
                Ok(AdapterAnswer::Unpinned)
            }
            AdapterRequest::Forget { name } => {
                let mut inner = self.inner();
                let keys: Vec<Key> = inner
                    .known
                    .keys()
                    .filter(|key| key.name == name)
                    .cloned()
                    .collect();
                for key in &keys {
                    inner.forget(key);
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
            let mut inner = self.inner();
            let key = inner.know(&wanted)?;
            inner.begin(&key, Attempt::First);
            match inner.known.get_mut(&key) {
                Some(entry) if matches!(entry.place, Place::Loading) => entry.told.push(tell),
                _ => {
                    let _ = tell.send(Ok(()));
                }
            }
            self.changed.notify_all();
            key
        };
        told.await
            .unwrap_or_else(|_| Err(fault("engine", "the worker is ending")))?;
        let mut inner = self.inner();
        if hold == Hold::Pinned {
            if !inner.heat(&key, self.budgets) {
                return Err(fault(
                    "busy",
                    format!(
                        "all room for hot adapters is in use or pinned; {} stays warm",
                        wanted.name
                    ),
                ));
            }
            inner.entry(&key, |entry| entry.is_pinned = true);
            inner.rest(&key);
        }
        inner.known.get(&key).map(Entry::view).ok_or_else(|| {
            fault(
                "adapter_missing",
                format!("{} was forgotten meanwhile", wanted.name),
            )
        })
    }

    fn views(&self) -> Vec<AdapterView> {
        let inner = self.inner();
        let mut known: Vec<(&Key, &Entry)> = inner.known.iter().collect();
        known.sort_by_key(|(key, _)| *key);
        known.into_iter().map(|(_, entry)| entry.view()).collect()
    }

    /// What the process uses, now.
    pub fn manifest(&self) -> Manifest {
        let inner = self.inner();
        self.gauges.manifest(Manifest {
            loading_bytes: inner.loading_bytes,
            warm_bytes: inner.warm_bytes + inner.leaving_bytes,
            warm_budget_bytes: self.budgets.warm_bytes,
            hot_bytes: inner.hot_bytes,
            hot_budget_bytes: self.budgets.hot_bytes,
            ..Manifest::default()
        })
    }

    /// For the loader: waits until there is something to do.
    pub fn next(&self) -> Task {
        let mut inner = self.inner();
        loop {
            if inner.has_ended {
                return Task::End;
            }
            if !inner.leaving.is_empty() {
                return Task::Drop(std::mem::take(&mut inner.leaving));
            }
            match inner.base.clone() {
                Some(Ok(base)) => {
                    if let Some(key) = inner.queue.pop_front() {
                        match inner.known.get(&key) {
                            Some(entry) if matches!(entry.place, Place::Loading) => {
                                let wanted = entry.wanted.clone();
                                return Task::Load { key, wanted, base };
                            }
                            _ => continue,
                        }
                    }
                }
                Some(Err(fault)) => {
                    for key in std::mem::take(&mut inner.queue) {
                        inner.settle(&key, Err(fault.clone()));
                    }
                }
                None => {}
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For the loader: the memory of these was given back.
    pub fn dropped(&self, bytes: u64) {
        self.inner().leaving_bytes -= bytes;
    }

    /// For the loader: makes room before it is used; what gives way is answered, to be dropped first.
    pub fn reserve(&self, name: &str, bytes: u64) -> Result<Vec<Arc<Adapter>>, InferenceFault> {
        let Budgets {
            warm_bytes,
            hot_bytes,
        } = self.budgets;
        if bytes > warm_bytes || bytes > hot_bytes {
            return Err(fault(
                "adapter_too_large",
                format!(
                    "{name} takes {} KiB; {} KiB may be warm and {} KiB hot; raise adapters_warm_mib or adapters_hot_mib",
                    bytes >> 10,
                    warm_bytes >> 10,
                    hot_bytes >> 10
                ),
            ));
        }
        let mut inner = self.inner();
        let mut has_waited = false;
        let mut given = Vec::new();
        while inner.warm_bytes + inner.loading_bytes + bytes > warm_bytes {
            let awaited = |key: &Key| inner.known.get(key).is_some_and(|entry| entry.is_awaited);
            let free = inner
                .warm
                .values()
                .find(|key| has_waited || !awaited(key))
                .cloned();
            if let Some(key) = free {
                given.extend(inner.evict(&key));
                continue;
            }
            let waited = self.changed.wait_timeout(inner, PATIENCE);
            let (back, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            inner = back;
            has_waited |= timeout.timed_out();
        }
        inner.loading_bytes += bytes;
        Ok(given)
    }

    /// For the loader: what became of a load; `reserved` is given back.
    pub fn loaded(
        &self,
        key: &Key,
        reserved: u64,
        result: Result<(Adapter, AdapterSummary), InferenceFault>,
    ) {
        let mut inner = self.inner();
        inner.loading_bytes -= reserved;
        let result = result.map(|(adapter, summary)| (Arc::new(adapter), summary));
        inner.settle(key, result);
        self.changed.notify_all();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn entry(&mut self, key: &Key, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.known.get_mut(key) {
            change(entry);
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The key of what is wanted, known from now on; or why it cannot be meant.
    fn know(&mut self, wanted: &Wanted) -> Result<Key, InferenceFault> {
        let key = Key {
            name: wanted.name.clone(),
            generation: wanted.generation,
        };
        if let Some(entry) = self.known.get_mut(&key) {
            let known = &entry.wanted;
            if known.weights.digest != wanted.weights.digest || known.config != wanted.config {
                return Err(fault(
                    "adapter_conflict",
                    format!(
                        "{} generation {} is another adapter here; what a generation means never changes: give it a new number",
                        wanted.name, wanted.generation
                    ),
                ));
            }
            if entry.wanted.weights.path != wanted.weights.path {
                entry.wanted.weights.path.clone_from(&wanted.weights.path);
            }
            return Ok(key);
        }
        if wanted.name.is_empty() || wanted.name.len() > MAX_NAME_BYTES || wanted.generation == 0 {
            return Err(fault(
                "bad_request",
                format!(
                    "an adapter has a name of 1 to {MAX_NAME_BYTES} bytes and a generation from 1, not {:?} and {}",
                    wanted.name.chars().take(40).collect::<String>(),
                    wanted.generation
                ),
            ));
        }
        if self.known.len() >= MAX_KNOWN {
            let cold = self
                .known
                .iter()
                .filter(|(_, entry)| matches!(entry.place, Place::Cold | Place::Failed(_)));
            let oldest = cold
                .min_by_key(|(_, entry)| entry.touched)
                .map(|(key, _)| key.clone());
            match oldest {
                Some(oldest) => drop(self.known.remove(&oldest)),
                None => return Err(fault("busy", format!("{MAX_KNOWN} adapters are in memory"))),
            }
        }
        self.roots += 1;
        let touched = self.tick();
        let entry = Entry {
            wanted: wanted.clone(),
            place: Place::Cold,
            summary: None,
            root: FIRST_ROOT + self.roots,
            touched,
            uses: 0,
            in_flight: 0,
            is_pinned: false,
            is_awaited: false,
            is_forgotten: false,
            told: Vec::new(),
        };
        self.known.insert(key.clone(), entry);
        Ok(key)
    }

    /// Has it loaded when it is cold; the fault of the attempt that was waited for.
    fn begin(&mut self, key: &Key, attempt: Attempt) -> Option<InferenceFault> {
        let entry = self.known.get_mut(key)?;
        match (&entry.place, attempt) {
            (Place::Failed(fault), Attempt::Again) => return Some(fault.clone()),
            (Place::Cold | Place::Failed(_), _) => {
                entry.place = Place::Loading;
                self.queue.push_back(key.clone());
            }
            (Place::Loading | Place::Warm(_) | Place::Hot(_), _) => {}
        }
        entry.is_forgotten = false;
        None
    }

    /// Moves it to the hot ones; false when it is not in memory, or when there is no room among those in use.
    fn heat(&mut self, key: &Key, budgets: Budgets) -> bool {
        let adapter = match self.known.get(key).map(|entry| &entry.place) {
            Some(Place::Hot(_)) => return true,
            Some(Place::Warm(adapter)) => adapter.clone(),
            _ => return false,
        };
        let bytes = adapter.bytes();
        while self.hot_bytes + bytes > budgets.hot_bytes {
            let Some((_, coolest)) = self.idle.pop_first() else {
                return false;
            };
            self.cool(&coolest);
        }
        let touched = self.tick();
        if let Some(entry) = self.known.get_mut(key) {
            self.warm.remove(&entry.touched);
            entry.touched = touched;
            entry.place = Place::Hot(adapter);
            self.warm_bytes -= bytes;
            self.hot_bytes += bytes;
            self.idle.insert(touched, key.clone());
        }
        // What has cooled may be more than may be warm.
        while self.warm_bytes + self.loading_bytes > budgets.warm_bytes {
            let Some(oldest) = self.warm.values().next().cloned() else {
                break;
            };
            if let Some(adapter) = self.evict(&oldest) {
                self.leaving_bytes += adapter.bytes();
                self.leaving.push(adapter);
            }
        }
        true
    }

    /// From hot to warm; it stands among the idle ones no longer.
    fn cool(&mut self, key: &Key) {
        let touched = self.tick();
        let Some(entry) = self.known.get_mut(key) else {
            return;
        };
        if let Place::Hot(adapter) = &entry.place {
            let (adapter, bytes) = (adapter.clone(), adapter.bytes());
            entry.place = Place::Warm(adapter);
            entry.touched = touched;
            self.hot_bytes -= bytes;
            self.warm_bytes += bytes;
            self.warm.insert(touched, key.clone());
        }
    }

    /// From warm to cold; its memory is the caller's to give back.
    fn evict(&mut self, key: &Key) -> Option<Arc<Adapter>> {
        let entry = self.known.get_mut(key)?;
        self.warm.remove(&entry.touched);
        match std::mem::replace(&mut entry.place, Place::Cold) {
            Place::Warm(adapter) => {
                self.warm_bytes -= adapter.bytes();
                Some(adapter)
            }
            other => {
                entry.place = other;
                None
            }
        }
    }

    /// A hot one that nobody uses or pins may cool; a forgotten one goes.
    fn rest(&mut self, key: &Key) {
        let touched = self.tick();
        let Some(entry) = self.known.get_mut(key) else {
            return;
        };
        if !matches!(entry.place, Place::Hot(_)) {
            return;
        }
        self.idle.remove(&entry.touched);
        entry.touched = touched;
        if entry.in_flight == 0 && !entry.is_pinned {
            self.idle.insert(touched, key.clone());
            if entry.is_forgotten {
                self.forget(key);
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some(entry) = self.known.get_mut(key) else {
            return;
        };
        entry.is_pinned = false;
        if entry.in_flight > 0 || matches!(entry.place, Place::Loading) {
            entry.is_forgotten = true;
            return;
        }
        let touched = entry.touched;
        self.idle.remove(&touched);
        self.cool(key);
        if let Some(adapter) = self.evict(key) {
            self.leaving_bytes += adapter.bytes();
            self.leaving.push(adapter);
        }
        self.known.remove(key);
    }

    /// The end of a load.
    fn settle(&mut self, key: &Key, result: Result<(Arc<Adapter>, AdapterSummary), InferenceFault>) {
        let touched = self.tick();
        let Some(entry) = self.known.get_mut(key) else {
            return;
        };
        let told = std::mem::take(&mut entry.told);
        entry.touched = touched;
        let tell = match result {
            Ok((adapter, summary)) => {
                self.warm_bytes += adapter.bytes();
                entry.place = Place::Warm(adapter);
                entry.summary = Some(summary);
                self.warm.insert(touched, key.clone());
                Ok(())
            }
            Err(fault) => {
                entry.place = Place::Failed(fault.clone());
                entry.is_awaited = false;
                Err(fault)
            }
        };
        if entry.is_forgotten {
            self.forget(key);
        }
        for teller in told {
            let _ = teller.send(tell.clone());
        }
    }
}

impl Entry {
    fn view(&self) -> AdapterView {
        AdapterView {
            name: self.wanted.name.clone(),
            generation: self.wanted.generation,
            tier: match self.place {
                Place::Cold | Place::Failed(_) => Tier::Cold,
                Place::Loading => Tier::Loading,
                Place::Warm(_) => Tier::Warm,
                Place::Hot(_) => Tier::Hot,
            },
            is_pinned: self.is_pinned,
            summary: self.summary.clone(),
            uses: self.uses,
            in_flight: self.in_flight,
        }
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
        let mut inner = self.store.inner();
        inner.entry(&self.key, |entry| entry.in_flight -= 1);
        inner.rest(&self.key);
        self.store.changed.notify_all();
    }
}

pub fn fault(reason: &str, message: impl Into<String>) -> InferenceFault {
    InferenceFault {
        reason: reason.into(),
        message: message.into(),
    }
}
