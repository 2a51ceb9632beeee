//! Who is where: the tiers of all adapters that are known, and the memory that they take. Bookkeeping alone, done under the store's lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use shared::inference::{Adapter as Wanted, AdapterSummary, AdapterView, InferenceFault, Tier};
use tokio::sync::oneshot;

use super::store::Budgets;
use super::{Adapter, Base};

/// Cold ones beyond this are forgotten, those that were used longest ago first.
const MAX_KNOWN: usize = 65_536;
const MAX_NAME_BYTES: usize = 128;
/// Serial numbers of prefixes: above those of cache blocks.
const FIRST_ROOT: u64 = 1 << 63;

/// All that is known of adapters.
#[derive(Default)]
pub struct Ledger {
    pub base: Option<Result<Arc<Base>, InferenceFault>>,
    pub known: HashMap<Key, Entry>,
    /// To load, first come first.
    pub queue: VecDeque<Key>,
    /// Warm ones, and hot ones that nobody uses or pins, by when they were touched.
    pub warm: BTreeMap<u64, Key>,
    pub idle: BTreeMap<u64, Key>,
    /// Evicted beside the loader; their memory is given back by it.
    pub leaving: Vec<Arc<Adapter>>,
    pub warm_bytes: u64,
    pub hot_bytes: u64,
    pub loading_bytes: u64,
    pub leaving_bytes: u64,
    pub clock: u64,
    pub roots: u64,
    pub has_ended: bool,
}

/// A generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub name: String,
    pub generation: u64,
}

/// What is known of one.
pub struct Entry {
    pub wanted: Wanted,
    pub place: Place,
    pub summary: Option<AdapterSummary>,
    /// Prompts share cached blocks under this number.
    pub root: u64,
    /// Its place among those of its tier.
    pub touched: u64,
    pub uses: u64,
    pub in_flight: u32,
    pub is_pinned: bool,
    /// A request waits for it.
    pub is_awaited: bool,
    /// To be forgotten when the last lease ends.
    pub is_forgotten: bool,
    pub told: Vec<oneshot::Sender<Result<(), InferenceFault>>>,
}

/// Where it is.
pub enum Place {
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

impl Ledger {
    pub fn entry(&mut self, key: &Key, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.known.get_mut(key) {
            change(entry);
        }
    }

    pub fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The key of what is wanted, known from now on; or why it cannot be meant.
    pub fn know(&mut self, wanted: &Wanted) -> Result<Key, InferenceFault> {
        let key = Key {
            name: wanted.name.clone(),
            generation: wanted.generation,
        };
        if let Some(entry) = self.known.get_mut(&key) {
            let known = &entry.wanted;
            if known.weights.digest != wanted.weights.digest || known.config != wanted.config {
                return Err(InferenceFault::new(
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
            return Err(InferenceFault::new(
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
                None => {
                    return Err(InferenceFault::new(
                        "busy",
                        format!("{MAX_KNOWN} adapters are in memory"),
                    ));
                }
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
    pub fn begin(&mut self, key: &Key, attempt: Attempt) -> Option<InferenceFault> {
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
    pub fn heat(&mut self, key: &Key, budgets: Budgets) -> bool {
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
    pub fn cool(&mut self, key: &Key) {
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
    pub fn evict(&mut self, key: &Key) -> Option<Arc<Adapter>> {
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
    pub fn rest(&mut self, key: &Key) {
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

    pub fn forget(&mut self, key: &Key) {
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
    pub fn settle(&mut self, key: &Key, result: Result<(Arc<Adapter>, AdapterSummary), InferenceFault>) {
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
    pub fn view(&self) -> AdapterView {
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
