//! What readers see: exactly the durable commits. The newest stand in memory until the index contains them.

mod recall;
mod snapshot;
mod watch;

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use quick_cache::sync::Cache;
use shared::activation::{Read, ReadSlot};
use shared::bridge::Answer;
use shared::id::{Epoch, ObjectId, ThoughtId, TransactionId};
use shared::key::Key;
use shared::object::ObjectImage;

use super::archive::Archive;
use super::blob::Blobs;
use super::doubt;
use super::index_record::{IndexPosition, decode, entry_key, index_writes, reply_key};
use super::indexer::Backlog;
use super::layer::{Held, Layer};
use super::lmdb::{Direction, Lmdb, Table};
use super::log::Next;
use super::record::{Entry, Mark, Mission, RequestId, StoredEntry, StoredObject, StoredReply};
use super::scan::{Scanned, scan};
use super::segment::{FORMAT, Position};
use super::{OpenError, Standing};

pub use self::snapshot::Snapshot;

/// Objects kept decoded besides those not yet indexed.
const CACHED_OBJECTS: usize = 100_000;
/// Commits whose changed objects are remembered, so that workers can be told what to forget.
const REMEMBERED_CHANGES: usize = 65_536;
/// A conflict names at most so many places.
const NAMED_CONFLICTS: usize = 16;

/// The durable state, shared by every reader and published to by the committer alone.
pub struct State {
    core: RwLock<Core>,
    cache: Cache<ObjectId, Held>,
    next_object: AtomicU64,
    /// References stored since a pack began to look; `None` when none is.
    watched: Mutex<Option<HashSet<ObjectId>>>,
    pub archive: Archive,
    pub blobs: Blobs,
}

struct Core {
    index: Arc<Lmdb>,
    position: Option<Position>,
    /// The transaction of the base: history begins after it.
    base: TransactionId,
    epoch: Epoch,
    objects: u64,
    log_bytes: u64,
    /// Committed, not yet in the index.
    fresh: Layer,
    /// On its way into the index; under `fresh`.
    flushing: Option<Arc<Flush>>,
    changes: VecDeque<(TransactionId, ObjectId)>,
    /// Changes up to this one are no longer remembered.
    forgotten: TransactionId,
}

/// A layer that is being written into the index, and how far the index is afterwards.
struct Flush {
    layer: Layer,
    known: IndexPosition,
}

impl State {
    pub(super) fn load(index: Lmdb, archive: Archive) -> Result<State, OpenError> {
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
        let counted = index
            .reading()
            .and_then(|reading| reading.count(Table::Objects))
            .map_err(|error| OpenError::Damaged(error.to_string()))?;
        if let Some(known) = &known
            && known.objects != counted
        {
            return Err(OpenError::Damaged(format!(
                "it holds {counted} objects instead of {}",
                known.objects
            )));
        }
        let base: Option<TransactionId> = get("base")?.map(|bytes| decode(&bytes)).transpose()?;
        let core = Core {
            index: Arc::new(index),
            position: known.as_ref().map(|known| known.position),
            base: base.unwrap_or_default(),
            epoch: known.as_ref().map_or(Epoch(0), |known| known.epoch),
            objects: known.as_ref().map_or(0, |known| known.objects),
            log_bytes: 0,
            fresh: Layer::default(),
            flushing: None,
            changes: VecDeque::new(),
            forgotten: known
                .as_ref()
                .map_or(TransactionId(0), |known| known.position.transaction),
        };
        Ok(State {
            core: RwLock::new(core),
            cache: Cache::new(CACHED_OBJECTS),
            next_object: AtomicU64::new(known.map_or(1, |known| known.next_object)),
            watched: Mutex::new(None),
            blobs: Blobs::at(archive.folder().with_file_name("blobs")),
            archive,
        })
    }

    /// How far the log is contained in this state.
    pub fn position(&self) -> Option<Position> {
        self.read().position
    }

    /// The index that is read now; a pack replaces it.
    pub fn index(&self) -> Arc<Lmdb> {
        self.read().index.clone()
    }

    /// History begins after this transaction.
    pub fn base(&self) -> TransactionId {
        self.read().base
    }

    pub(super) fn begin_epoch(&self, epoch: Epoch, log_bytes: u64) {
        let mut core = self.write();
        core.epoch = epoch;
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

    /// Ids below this are taken.
    pub(super) fn raise_next_object(&self, next_object: u64) {
        self.next_object.fetch_max(next_object, Ordering::Relaxed);
    }

    /// The object as of the newest durable commit.
    pub fn object(&self, id: ObjectId) -> Option<Arc<ObjectImage>> {
        self.held(id).map(|held| held.image)
    }

    /// The object and where it was last changed.
    pub fn held(&self, id: ObjectId) -> Option<Held> {
        // The index is read and the cache filled under the lock, so that no publish comes in between.
        self.find(&self.read(), id)
    }

    fn find(&self, core: &Core, id: ObjectId) -> Option<Held> {
        if let Some(known) = core.fresh.objects.get(&id) {
            return known.clone();
        }
        if let Some(known) = core
            .flushing
            .as_ref()
            .and_then(|flush| flush.layer.objects.get(&id))
        {
            return known.clone();
        }
        if let Some(held) = self.cache.get(&id) {
            return Some(held);
        }
        let stored: StoredObject = core.stored(Table::Objects, &id.0.to_be_bytes())?;
        let held = Held {
            place: stored.place,
            entries: stored.entries,
            image: Arc::new(stored.image),
        };
        self.cache.insert(id, held.clone());
        Some(held)
    }

    /// An entry as of the newest durable commit.
    pub fn entry(&self, object: ObjectId, key: &Key) -> Option<Arc<StoredEntry>> {
        self.find_entry(&self.read(), object, key)
    }

    fn find_entry(&self, core: &Core, object: ObjectId, key: &Key) -> Option<Arc<StoredEntry>> {
        let at = (object, key.clone());
        if let Some(known) = core.fresh.entries.get(&at) {
            return known.clone();
        }
        if let Some(known) = core
            .flushing
            .as_ref()
            .and_then(|flush| flush.layer.entries.get(&at))
        {
            return known.clone();
        }
        core.stored(Table::Entries, &entry_key(object, key)).map(Arc::new)
    }

    /// At most `limit` entries of an object from a key to before another, in a state where `pending` stands before the
    /// durable one.
    pub fn scan(
        &self,
        pending: &Layer,
        object: ObjectId,
        from: &Key,
        to: &Key,
        limit: usize,
        direction: Direction,
    ) -> Scanned {
        self.scan_in(&self.read(), pending, object, (from, to), limit, direction)
    }

    fn scan_in(
        &self,
        core: &Core,
        pending: &Layer,
        object: ObjectId,
        range: (&Key, &Key),
        limit: usize,
        direction: Direction,
    ) -> Scanned {
        let layers: Vec<&Layer> = std::iter::once(pending).chain(core.layers()).collect();
        scan(&core.index, &layers, object, range, limit, direction)
    }

    /// The reads that no longer hold, in a state where `pending` stands before the durable one; at most a few.
    pub(super) fn conflicts(&self, reads: &[Read], pending: &Layer) -> Vec<Read> {
        let core = self.read();
        // The reads of one object mostly stand together.
        let last: RefCell<Option<(ObjectId, Option<Held>)>> = RefCell::new(None);
        let held = |id: ObjectId| {
            let mut last = last.borrow_mut();
            match last.as_ref() {
                Some((known, held)) if *known == id => held.clone(),
                _ => {
                    let held = match pending.objects.get(&id) {
                        Some(known) => known.clone(),
                        None => self.find(&core, id),
                    };
                    *last = Some((id, held.clone()));
                    held
                }
            }
        };
        let holds = |read: &&Read| match &read.slot {
            ReadSlot::Named(name, seen) => {
                let held = held(read.object);
                held.and_then(|held| held.image.slot(name).map(|slot| slot.changed)) == *seen
            }
            ReadSlot::Whole(version) => held(read.object).is_some_and(|held| held.image.version == *version),
            ReadSlot::Entry(key, seen) => {
                let at = (read.object, key.clone());
                let entry = match pending.entries.get(&at) {
                    Some(known) => known.clone(),
                    None => self.find_entry(&core, read.object, key),
                };
                entry.map(|entry| entry.changed) == *seen
            }
            ReadSlot::Range { from, to, digest } => {
                let now = self.scan_in(
                    &core,
                    pending,
                    read.object,
                    (from, to),
                    usize::MAX,
                    Direction::Ascending,
                );
                range_digest(&now) == *digest
            }
            ReadSlot::Count(count) => held(read.object).is_some_and(|held| held.entries == *count),
        };
        let broken = reads.iter().filter(|read| !holds(read));
        broken.take(NAMED_CONFLICTS).cloned().collect()
    }

    /// An entry in a state where `pending` stands before the durable one.
    pub fn entry_before(&self, pending: &Layer, object: ObjectId, key: &Key) -> Option<Arc<StoredEntry>> {
        match pending.entries.get(&(object, key.clone())) {
            Some(known) => known.clone(),
            None => self.entry(object, key),
        }
    }

    /// The last entries of an object in a state where `pending` stands before the durable one.
    pub(super) fn last_entry(
        &self,
        pending: &Layer,
        object: ObjectId,
        from: &Key,
        to: &Key,
    ) -> Option<(Key, Arc<StoredEntry>)> {
        self.scan_in(
            &self.read(),
            pending,
            object,
            (from, to),
            1,
            Direction::Descending,
        )
        .pop()
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
        for layer in core.layers() {
            if let Some((_, stored)) = layer.replies.get(request) {
                return Some(stored.answer.clone());
            }
        }
        let stored: StoredReply = core.stored(Table::Replies, &reply_key(request))?;
        Some(stored.answer)
    }

    pub fn mission(&self, id: ThoughtId) -> Option<Mission> {
        let core = self.read();
        for layer in core.layers() {
            if let Some(mission) = layer.missions.get(&id) {
                return Some(mission.clone());
            }
        }
        core.stored(Table::Missions, &id.0.to_be_bytes())
    }

    /// Every mission, oldest first.
    pub fn missions(&self) -> Vec<Mission> {
        let core = self.read();
        let stored = doubt::believed(&core.index, core.index.all(Table::Missions));
        let mut missions: std::collections::BTreeMap<ThoughtId, Mission> = stored
            .iter()
            .map(|(_, bytes)| doubt::decoded::<Mission>(&core.index, bytes))
            .map(|mission| (mission.id, mission))
            .collect();
        for layer in core.layers().into_iter().rev() {
            let newer = layer.missions.iter().map(|(id, mission)| (*id, mission.clone()));
            missions.extend(newer);
        }
        missions.into_values().collect()
    }

    /// The newest marked transaction that is not after `transaction`; `None` before the first.
    pub fn mark_before(&self, transaction: TransactionId) -> Option<(TransactionId, Mark)> {
        let core = self.read();
        for layer in core.layers() {
            if let Some((at, mark)) = layer.marks.range(..=transaction).next_back() {
                return Some((*at, *mark));
            }
        }
        let end = (transaction.0.checked_add(1)?).to_be_bytes();
        let reading = doubt::believed(&core.index, core.index.reading());
        let pairs = reading.range(Table::Marks, &[], &end, 1, Direction::Descending);
        let pairs = doubt::believed(&core.index, pairs);
        let (key, value) = pairs.first()?;
        let at = TransactionId(u64::from_be_bytes(key.as_slice().try_into().ok()?));
        Some((at, doubt::decoded(&core.index, value)))
    }

    /// Makes durable transactions visible, all at once: no reader and no flush sees a part of them.
    pub(super) fn publish(&self, layer: Layer, position: Position, next_object: u64, epoch: Epoch) {
        let mut core = self.write();
        for id in layer.objects.keys() {
            self.cache.remove(id);
        }
        if let Some(watched) = self.watching().as_mut() {
            watch::refer(&layer, watched);
        }
        core.changes.extend(&layer.changed);
        core.objects = core.objects.saturating_add_signed(layer.growth);
        core.fresh.absorb(layer);
        core.fresh.changed.clear();
        core.fresh.growth = 0;
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
        core.epoch = epoch;
        self.next_object.fetch_max(next_object, Ordering::Relaxed);
    }

    /// Replays records of the log that follow one another, as an opening does.
    pub(super) fn replay(&self, records: Vec<(Next, Entry, Position)>) {
        let mut layer = Layer::default();
        let mut end = None;
        for (next, entry, position) in records {
            end = Some((position, entry.next_object, entry.epoch));
            layer.advance(next, entry, &|id| self.held(id));
        }
        if let Some((position, next_object, epoch)) = end {
            self.publish(layer, position, next_object, epoch);
        }
    }

    /// How much waits for the indexer.
    pub(super) fn fresh_weight(&self) -> usize {
        self.read().fresh.weight()
    }

    /// The same, and how many transactions a restart would replay for it.
    pub(super) fn backlog(&self) -> Backlog {
        let core = self.read();
        Backlog {
            changes: core.fresh.weight(),
            transactions: core.fresh.transactions,
        }
    }

    /// Brings the index up to the newest durable commit. What could not be written stays in front of it and comes first next
    /// time.
    pub(super) fn flush(&self) -> Result<(), ::lmdb::Error> {
        let earlier = self.read().flushing.clone();
        if let Some(flush) = earlier {
            self.write_out(&flush)?;
        }
        let flush = {
            let mut core = self.write();
            let Some(position) = core.position else {
                return Ok(());
            };
            let known = IndexPosition {
                position,
                next_object: self.next_object(),
                epoch: core.epoch,
                objects: core.objects,
            };
            let layer = std::mem::take(&mut core.fresh);
            let flush = Arc::new(Flush { layer, known });
            core.flushing = Some(flush.clone());
            flush
        };
        self.write_out(&flush)
    }

    fn write_out(&self, flush: &Flush) -> Result<(), ::lmdb::Error> {
        let index = self.index();
        if let Err(error) = index.write(&index_writes(&index, &flush.layer, &flush.known)?) {
            if let Err(unreadable) = index.reading() {
                tracing::error!(%error, "the index could not be written");
                doubt::believed(&index, Err::<(), _>(unreadable));
            }
            return match super::lmdb::is_damage(&error) {
                true => doubt::end(&index, &error),
                false => Err(error),
            };
        }
        let mut core = self.write();
        for (id, held) in &flush.layer.objects {
            if let Some(held) = held
                && !core.fresh.objects.contains_key(id)
            {
                self.cache.insert(*id, held.clone());
            }
        }
        core.flushing = None;
        Ok(())
    }

    /// Puts another index, that holds all that is durable, in the place of this one and of what stands in front of it.
    pub(super) fn replace_index(&self, index: Arc<Lmdb>, base: TransactionId, log_bytes: u64) {
        let mut core = self.write();
        core.index = index;
        core.fresh = Layer::default();
        core.flushing = None;
        core.base = base;
        core.log_bytes = log_bytes;
        self.cache.clear();
        self.archive.forget();
    }

    /// The log goes on in a new segment; nothing was committed.
    pub(super) fn moved_to(&self, position: Position) {
        self.write().position = Some(position);
    }

    fn read(&self) -> RwLockReadGuard<'_, Core> {
        self.core.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Core> {
        self.core.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// A record of the index.
    fn stored<T: serde::de::DeserializeOwned>(&self, table: Table, key: &[u8]) -> Option<T> {
        let bytes = doubt::believed(&self.index, self.index.get(table, key))?;
        Some(doubt::decoded(&self.index, &bytes))
    }

    /// What stands in front of the index, newest first.
    fn layers(&self) -> Vec<&Layer> {
        let flushing = self.flushing.as_ref().map(|flush| &flush.layer);
        std::iter::once(&self.fresh).chain(flushing).collect()
    }
}

/// A digest of a range's keys and changes, as a read set keeps it.
pub fn range_digest(entries: &[(Key, Arc<StoredEntry>)]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    for (key, entry) in entries {
        hasher.write(key.bytes());
        hasher.write_u64(entry.changed.0);
    }
    hasher.finish()
}
