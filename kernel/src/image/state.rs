//! What readers see: exactly the durable commits. The newest stand in memory until the index contains them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use shared::activation::{Read, ReadSlot};
use shared::bridge::Answer;
use shared::id::{Epoch, ObjectId, ThoughtId, TransactionId};
use shared::lookup::Slots;
use shared::object::{ObjectImage, SlotImage};
use shared::value::Value;

use super::lmdb::{IndexWrite, Lmdb, Table};
use super::log::{FORMAT, Position};
use super::record::{Change, Entry, Mission, RequestId, StoredReply};
use super::{OpenError, Standing};

/// Objects kept decoded besides those not yet indexed.
const CACHED_OBJECTS: usize = 100_000;
/// Commits whose changed objects are remembered, so that workers can be told what to forget.
const REMEMBERED_CHANGES: usize = 65_536;
/// Stored replies of older commits are dropped.
const KEPT_REPLIES: u64 = 10_000;

/// The durable state, shared by every reader and published to by the committer alone.
pub struct State {
    index: Lmdb,
    core: RwLock<Core>,
    cache: Cache<ObjectId, Arc<ObjectImage>>,
    next_object: AtomicU64,
}

struct Core {
    position: Option<Position>,
    epoch: Epoch,
    objects: u64,
    log_bytes: u64,
    /// Committed, not yet in the index.
    fresh: HashMap<ObjectId, Arc<ObjectImage>>,
    fresh_replies: HashMap<RequestId, (TransactionId, StoredReply)>,
    fresh_missions: HashMap<ThoughtId, Mission>,
    changes: VecDeque<(TransactionId, ObjectId)>,
    /// Changes up to this one are no longer remembered.
    forgotten: TransactionId,
}

/// The index's own account of how far it is.
#[derive(Serialize, Deserialize)]
struct IndexPosition {
    position: Position,
    next_object: u64,
    epoch: Epoch,
    objects: u64,
}

impl State {
    pub(super) fn load(index: Lmdb) -> Result<State, OpenError> {
        let get = |key: &str| {
            index
                .get(Table::Meta, key.as_bytes())
                .map_err(|e| OpenError::Damaged(e.to_string()))
        };
        if let Some(bytes) = get("format")? {
            let format: u32 = decode(&bytes)?;
            if format > FORMAT {
                return Err(OpenError::Newer(format));
            }
        }
        let known: Option<IndexPosition> = get("position")?.map(|bytes| decode(&bytes)).transpose()?;
        let core = Core {
            position: known.as_ref().map(|known| known.position),
            epoch: known.as_ref().map_or(Epoch(0), |known| known.epoch),
            objects: known.as_ref().map_or(0, |known| known.objects),
            log_bytes: 0,
            fresh: HashMap::new(),
            fresh_replies: HashMap::new(),
            fresh_missions: HashMap::new(),
            changes: VecDeque::new(),
            forgotten: known
                .as_ref()
                .map_or(TransactionId(0), |known| known.position.transaction),
        };
        Ok(State {
            index,
            core: RwLock::new(core),
            cache: Cache::new(CACHED_OBJECTS),
            next_object: AtomicU64::new(known.map_or(1, |known| known.next_object)),
        })
    }

    /// How far the log is contained in this state.
    pub fn position(&self) -> Option<Position> {
        self.read().position
    }

    pub(super) fn raise_epoch(&self, log_bytes: u64) {
        let mut core = self.write();
        core.epoch.0 += 1;
        core.log_bytes = log_bytes;
    }

    pub fn standing(&self) -> Standing {
        let core = self.read();
        let last = core
            .position
            .map_or(TransactionId(0), |position| position.transaction);
        Standing {
            epoch: core.epoch,
            last,
            objects: core.objects,
            log_bytes: core.log_bytes,
        }
    }

    pub fn epoch(&self) -> Epoch {
        self.read().epoch
    }

    pub fn object_count(&self) -> u64 {
        self.read().objects
    }

    /// A new id; burnt if its transaction does not commit.
    pub fn allocate(&self) -> ObjectId {
        ObjectId(self.next_object.fetch_add(1, Ordering::Relaxed))
    }

    pub fn next_object(&self) -> u64 {
        self.next_object.load(Ordering::Relaxed)
    }

    /// The object as of the newest durable commit.
    pub fn object(&self, id: ObjectId) -> Option<Arc<ObjectImage>> {
        // The index is read and the cache filled under the lock, so that no publish comes in between.
        self.find(&self.read(), id)
    }

    fn find(&self, core: &Core, id: ObjectId) -> Option<Arc<ObjectImage>> {
        if let Some(object) = core.fresh.get(&id) {
            return Some(object.clone());
        }
        if let Some(object) = self.cache.get(&id) {
            return Some(object);
        }
        let bytes = self
            .index
            .get(Table::Objects, &id.0.to_be_bytes())
            .unwrap_or_else(|error| {
                tracing::error!(%id, %error, "the index cannot be read");
                None
            })?;
        match postcard::from_bytes::<ObjectImage>(&bytes) {
            Ok(object) => {
                let object = Arc::new(object);
                self.cache.insert(id, object.clone());
                Some(object)
            }
            Err(error) => {
                tracing::error!(%id, %error, "an object's record is damaged");
                None
            }
        }
    }

    /// Runs `work` on one unchanging state.
    pub fn at_once<T>(&self, work: impl FnOnce(&mut Snapshot<'_>) -> T) -> T {
        work(&mut Snapshot {
            state: self,
            core: self.read(),
        })
    }

    /// The first read that no longer holds, in a state where `pending` stands before the durable one.
    pub(super) fn first_conflict(
        &self,
        reads: &[Read],
        pending: &HashMap<ObjectId, ObjectImage>,
    ) -> Option<Read> {
        let core = self.read();
        let holds = |read: &&Read| {
            let durable;
            let object = match pending.get(&read.object) {
                Some(object) => Some(object),
                None => {
                    durable = self.find(&core, read.object);
                    durable.as_deref()
                }
            };
            match &read.slot {
                ReadSlot::Named(name, seen) => {
                    object
                        .and_then(|object| object.slot(name))
                        .map(|slot| slot.changed)
                        == *seen
                }
                ReadSlot::Whole(version) => object.is_some_and(|object| object.version == *version),
            }
        };
        reads.iter().find(|read| !holds(read)).cloned()
    }

    /// Objects changed after `since`, or `None` when that is no longer known.
    pub fn changed_since(&self, since: TransactionId) -> Option<(TransactionId, HashSet<ObjectId>)> {
        let core = self.read();
        let last = core
            .position
            .map_or(TransactionId(0), |position| position.transaction);
        if since < core.forgotten {
            return None;
        }
        let changed = core
            .changes
            .iter()
            .rev()
            .take_while(|(at, _)| *at > since)
            .map(|(_, id)| *id)
            .collect();
        Some((last, changed))
    }

    pub fn reply(&self, request: &RequestId) -> Option<Answer> {
        let core = self.read();
        if let Some((_, stored)) = core.fresh_replies.get(request) {
            return Some(stored.answer.clone());
        }
        let bytes = self.index.get(Table::Replies, &reply_key(request)).ok()??;
        postcard::from_bytes::<StoredReply>(&bytes)
            .ok()
            .map(|stored| stored.answer)
    }

    pub fn mission(&self, id: ThoughtId) -> Option<Mission> {
        let core = self.read();
        if let Some(mission) = core.fresh_missions.get(&id) {
            return Some(mission.clone());
        }
        let bytes = self.index.get(Table::Missions, &id.0.to_be_bytes()).ok()??;
        postcard::from_bytes(&bytes).ok()
    }

    /// Every mission, oldest first.
    pub fn missions(&self) -> Vec<Mission> {
        let core = self.read();
        let mut missions: std::collections::BTreeMap<ThoughtId, Mission> = self
            .index
            .all(Table::Missions)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(_, bytes)| postcard::from_bytes::<Mission>(&bytes).ok())
            .map(|mission| (mission.id, mission))
            .collect();
        missions.extend(
            core.fresh_missions
                .iter()
                .map(|(id, mission)| (*id, mission.clone())),
        );
        missions.into_values().collect()
    }

    /// Makes durable entries visible, all at once: no reader and no flush sees a part of them.
    pub(super) fn publish(
        &self,
        entries: impl IntoIterator<Item = (TransactionId, Entry)>,
        position: Position,
    ) {
        let mut core = self.write();
        for (transaction, entry) in entries {
            self.publish_entry(&mut core, transaction, entry);
        }
        while core.changes.len() > REMEMBERED_CHANGES {
            if let Some((at, _)) = core.changes.pop_front() {
                core.forgotten = at;
            }
        }
        if let Some(before) = core.position
            && position.segment == before.segment
        {
            core.log_bytes += position.offset.saturating_sub(before.offset);
        }
        core.position = Some(position);
    }

    fn publish_entry(&self, core: &mut Core, transaction: TransactionId, entry: Entry) {
        let mut touched = HashMap::new();
        for change in entry.changes {
            let id = change.object();
            let object = touched.entry(id).or_insert_with(|| {
                self.find(core, id)
                    .map_or_else(|| empty_object(id), |object| (*object).clone())
            });
            if matches!(change, Change::Create { .. }) {
                core.objects += 1;
            }
            apply(object, change, transaction);
        }
        for (id, object) in touched {
            self.cache.remove(&id);
            core.fresh.insert(id, Arc::new(object));
            core.changes.push_back((transaction, id));
        }
        if let Some(reply) = entry.reply {
            core.fresh_replies.insert(reply.request, (transaction, reply));
        }
        if let Some(mission) = entry.mission {
            core.fresh_missions.insert(mission.id, mission);
        }
        core.epoch = entry.epoch;
        self.next_object.fetch_max(entry.next_object, Ordering::Relaxed);
    }

    /// How many objects wait for the indexer.
    pub(super) fn fresh_count(&self) -> usize {
        let core = self.read();
        core.fresh.len() + core.fresh_replies.len() + core.fresh_missions.len()
    }

    /// Brings the index up to the newest durable commit.
    pub(super) fn flush(&self) -> Result<(), ::lmdb::Error> {
        let (writes, flushed, replies, missions) = {
            let core = self.read();
            let Some(position) = core.position else {
                return Ok(());
            };
            let known = IndexPosition {
                position,
                next_object: self.next_object(),
                epoch: core.epoch,
                objects: core.objects,
            };
            let mut writes = vec![
                put(Table::Meta, b"format".to_vec(), &FORMAT),
                put(Table::Meta, b"position".to_vec(), &known),
            ];
            for (id, object) in &core.fresh {
                writes.push(put(Table::Objects, id.0.to_be_bytes().to_vec(), &**object));
            }
            for (request, (transaction, stored)) in &core.fresh_replies {
                let key = reply_key(request);
                writes.push(IndexWrite::Put {
                    table: Table::ReplyAge,
                    key: [&transaction.0.to_be_bytes()[..], &key].concat(),
                    value: key.clone(),
                });
                writes.push(put(Table::Replies, key, stored));
            }
            for (id, mission) in &core.fresh_missions {
                writes.push(put(Table::Missions, id.0.to_be_bytes().to_vec(), mission));
            }
            let old = position.transaction.0.saturating_sub(KEPT_REPLIES).to_be_bytes();
            for (age, key) in self.index.up_to(Table::ReplyAge, Some(&old))? {
                writes.push(IndexWrite::Delete {
                    table: Table::Replies,
                    key,
                });
                writes.push(IndexWrite::Delete {
                    table: Table::ReplyAge,
                    key: age,
                });
            }
            let replies: Vec<RequestId> = core.fresh_replies.keys().copied().collect();
            (writes, core.fresh.clone(), replies, core.fresh_missions.clone())
        };
        self.index.write(&writes)?;
        let mut core = self.write();
        for (id, object) in flushed {
            if core.fresh.get(&id).is_some_and(|now| Arc::ptr_eq(now, &object)) {
                core.fresh.remove(&id);
                self.cache.insert(id, object);
            }
        }
        for request in replies {
            core.fresh_replies.remove(&request);
        }
        for (id, mission) in missions {
            if core.fresh_missions.get(&id) == Some(&mission) {
                core.fresh_missions.remove(&id);
            }
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Core> {
        self.core.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Core> {
        self.core.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One unchanging state; holds publishes up while it lives, so keep it short.
pub struct Snapshot<'a> {
    state: &'a State,
    core: RwLockReadGuard<'a, Core>,
}

impl Snapshot<'_> {
    pub fn object(&self, id: ObjectId) -> Option<Arc<ObjectImage>> {
        self.state.find(&self.core, id)
    }
}

impl Slots for Snapshot<'_> {
    type Error = std::convert::Infallible;

    fn slot(&mut self, object: ObjectId, name: &str) -> Result<Option<Value>, Self::Error> {
        Ok(self
            .object(object)
            .and_then(|object| object.slot(name).map(|slot| slot.value.clone())))
    }
}

/// An object without slots.
pub fn empty_object(id: ObjectId) -> ObjectImage {
    ObjectImage {
        id,
        version: TransactionId(0),
        slots: Vec::new(),
    }
}

/// Carries a change out on the object that it names.
pub fn apply(object: &mut ObjectImage, change: Change, transaction: TransactionId) {
    object.version = transaction;
    match change {
        Change::Create { slots, .. } => {
            object.slots = slots
                .into_iter()
                .map(|(name, value)| SlotImage {
                    name,
                    value,
                    changed: transaction,
                })
                .collect();
        }
        Change::Put { slot, value, .. } => match object.slots.iter_mut().find(|known| known.name == slot) {
            Some(known) => {
                known.value = value;
                known.changed = transaction;
            }
            None => object.slots.push(SlotImage {
                name: slot,
                value,
                changed: transaction,
            }),
        },
        Change::Remove { slot, .. } => object.slots.retain(|known| known.name != slot),
    }
}

fn reply_key(request: &RequestId) -> Vec<u8> {
    [&request.client.0[..], &request.sequence.to_be_bytes()].concat()
}

fn put<T: Serialize>(table: Table, key: Vec<u8>, value: &T) -> IndexWrite {
    // Postcard into a growing vector fails only for types that cannot be encoded at all; ours all can.
    let value = postcard::to_allocvec(value).unwrap_or_default();
    IndexWrite::Put { table, key, value }
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, OpenError> {
    postcard::from_bytes(bytes).map_err(|error| OpenError::Damaged(format!("meta record: {error}")))
}
