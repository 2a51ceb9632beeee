//! A part of the state that stands in memory in front of the index.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use shared::id::{ObjectId, ThoughtId, TransactionId};
use shared::key::Key;
use shared::object::{ObjectImage, SlotImage};
use shared::value::Value;

use super::log::Next;
use super::memory::fresh::Fresh;
use super::memory::text_of;
use super::record::{Entry, Mark, Mission, Place, RequestId, StoredEntry, StoredReply};

/// At least one transaction in so many is marked.
const MARK_EVERY: u64 = 1_024;

/// An object and where it was last changed.
#[derive(Clone, Debug)]
pub struct Held {
    /// The record that last changed it or its entries.
    pub place: Place,
    /// How many entries it has.
    pub entries: u64,
    pub image: Arc<ObjectImage>,
}

/// What transactions have come to: the newest state of everything that they touched. `None` is what is gone.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// By a fast hash: the kernel itself gives ids out, one after the other.
    pub objects: FxHashMap<ObjectId, Option<Held>>,
    pub entries: BTreeMap<(ObjectId, Key), Option<Arc<StoredEntry>>>,
    pub replies: HashMap<RequestId, (TransactionId, StoredReply)>,
    pub missions: HashMap<ThoughtId, Mission>,
    /// What of this is memory.
    pub memory: Arc<Fresh>,
    pub marks: BTreeMap<TransactionId, Mark>,
    /// Objects whose slots changed, oldest first.
    pub changed: Vec<(TransactionId, ObjectId)>,
    /// Objects made less objects dropped.
    pub growth: i64,
    /// How many transactions came to this.
    pub transactions: usize,
}

impl Layer {
    /// Carries a transaction out. `below` finds what this layer does not hold.
    pub fn advance(&mut self, next: Next, entry: Entry, below: &dyn Fn(ObjectId) -> Option<Held>) {
        let transaction = next.transaction;
        self.transactions += 1;
        if transaction.0 % MARK_EVERY == 1 {
            self.marks.insert(
                transaction,
                Mark {
                    place: next.place,
                    chain: next.chain,
                    unix_ms: entry.unix_ms,
                },
            );
        }
        for change in entry.objects {
            let id = change.object;
            let is_new = change.before.is_none();
            let known = match self.objects.remove(&id) {
                Some(known) => known,
                None if is_new => None,
                None => below(id),
            };
            let mut held = known.unwrap_or_else(|| Held {
                place: next.place,
                entries: 0,
                image: Arc::new(empty_object(id)),
            });
            held.place = next.place;
            let was_chunk = !change.slots.is_empty() && text_of(&held.image).is_some();
            let is_changed = is_new || !change.slots.is_empty();
            if is_changed {
                let image = writable(&mut held.image, &change.slots);
                image.version = transaction;
                for (name, value) in change.slots {
                    match value {
                        Some(value) => put(image, name, value, transaction),
                        None => image.slots.retain(|slot| slot.name != name),
                    }
                }
                self.changed.push((transaction, id));
            }
            self.growth += i64::from(is_new);
            if is_changed {
                Fresh::note(&mut self.memory, id, Some(&held.image), was_chunk);
            }
            self.objects.insert(id, Some(held));
        }
        for change in entry.entries {
            if let Some(Some(held)) = self.objects.get_mut(&change.object) {
                match (change.before.is_some(), change.value.is_some()) {
                    (false, true) => held.entries += 1,
                    (true, false) => held.entries = held.entries.saturating_sub(1),
                    _ => {}
                }
            }
            let stored = change.value.map(|value| {
                Arc::new(StoredEntry {
                    place: next.place,
                    changed: transaction,
                    value,
                })
            });
            self.entries.insert((change.object, change.key), stored);
        }
        for (first, last) in entry.collected {
            for id in (first.0..=last.0).map(ObjectId) {
                let known = match self.objects.get(&id) {
                    Some(known) => known.clone(),
                    None => below(id),
                };
                if let Some(known) = known {
                    let was_chunk = text_of(&known.image).is_some();
                    Fresh::note(&mut self.memory, id, None, was_chunk);
                    self.objects.insert(id, None);
                    self.changed.push((transaction, id));
                    self.growth -= 1;
                }
            }
        }
        if !entry.vectors.is_empty() {
            let memory = Arc::make_mut(&mut self.memory);
            for change in entry.vectors {
                memory.vectors.insert(change.chunk, change.vector.map(Arc::new));
            }
        }
        if let Some(reply) = entry.reply {
            self.replies.insert(reply.request, (transaction, reply));
        }
        if let Some(mission) = entry.mission {
            self.missions.insert(mission.id, mission);
        }
    }

    /// Puts a newer layer over this one.
    pub fn absorb(&mut self, newer: Layer) {
        self.objects.extend(newer.objects);
        self.entries.extend(newer.entries);
        self.replies.extend(newer.replies);
        self.missions.extend(newer.missions);
        self.marks.extend(newer.marks);
        if !newer.memory.is_empty() {
            Arc::make_mut(&mut self.memory).absorb(&newer.memory);
        }
        self.changed.extend(newer.changed);
        self.growth += newer.growth;
        self.transactions += newer.transactions;
    }

    /// The entries of an object from a key to before another, in key order.
    pub fn range<'a>(
        &'a self,
        object: ObjectId,
        from: &Key,
        to: &Key,
    ) -> impl DoubleEndedIterator<Item = (&'a Key, &'a Option<Arc<StoredEntry>>)> {
        let bounds = (
            Bound::Included((object, from.clone())),
            Bound::Excluded((object, to.clone().max(from.clone()))),
        );
        self.entries.range(bounds).map(|((_, key), value)| (key, value))
    }

    /// How much it holds, for deciding when it is worth writing out.
    pub fn weight(&self) -> usize {
        self.objects.len() + self.entries.len() + self.replies.len() + self.missions.len()
    }
}

/// The image alone, to be changed; what is about to be put is not copied first.
fn writable<'a>(image: &'a mut Arc<ObjectImage>, puts: &[(String, Option<Value>)]) -> &'a mut ObjectImage {
    if Arc::get_mut(image).is_none() {
        let kept = |slot: &SlotImage| match puts.iter().any(|(name, _)| *name == slot.name) {
            true => Value::None,
            false => slot.value.clone(),
        };
        let slots = image.slots.iter().map(|slot| SlotImage {
            name: slot.name.clone(),
            value: kept(slot),
            changed: slot.changed,
        });
        *image = Arc::new(ObjectImage {
            id: image.id,
            version: image.version,
            slots: slots.collect(),
        });
    }
    // Nobody else has it now, so nothing is copied here.
    Arc::make_mut(image)
}

/// An object without slots.
pub fn empty_object(id: ObjectId) -> ObjectImage {
    ObjectImage {
        id,
        version: TransactionId(0),
        slots: Vec::new(),
    }
}

/// Puts a slot; a new one comes last.
pub fn put(object: &mut ObjectImage, name: String, value: Value, changed: TransactionId) {
    match object.slots.iter_mut().find(|known| known.name == name) {
        Some(known) => {
            known.value = value;
            known.changed = changed;
        }
        None => object.slots.push(SlotImage { name, value, changed }),
    }
}
