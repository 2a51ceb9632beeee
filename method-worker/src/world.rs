//! Objects as the kernel sent them, kept between runs.

use std::collections::hash_map::Entry;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use shared::id::{ObjectId, TransactionId};
use shared::object::{ObjectImage, SlotImage};

use crate::peer::Peer;

/// An object of the image with an index of its slots. Never changed: a run keeps its changes apart.
pub struct Known {
    pub version: TransactionId,
    slots: Vec<SlotImage>,
    index: FxHashMap<String, usize>,
}

impl Known {
    fn new(image: ObjectImage) -> Known {
        let index = image
            .slots
            .iter()
            .enumerate()
            .map(|(at, slot)| (slot.name.clone(), at))
            .collect();
        Known {
            version: image.version,
            slots: image.slots,
            index,
        }
    }

    pub fn slot(&self, name: &str) -> Option<&SlotImage> {
        self.index.get(name).and_then(|at| self.slots.get(*at))
    }

    /// In slot order.
    pub fn slots(&self) -> &[SlotImage] {
        &self.slots
    }
}

/// The cache.
#[derive(Default)]
pub struct World {
    /// `None` for what the kernel said does not exist; forgotten at the end of the run.
    objects: FxHashMap<ObjectId, Option<Rc<Known>>>,
    missing: Vec<ObjectId>,
}

impl World {
    pub fn forget(&mut self, ids: &[ObjectId]) {
        for id in ids {
            self.objects.remove(id);
        }
    }

    /// Forgets what was found missing: it may exist for the next run.
    pub fn forget_missing(&mut self) {
        for id in self.missing.drain(..) {
            if self.objects.get(&id).is_some_and(Option::is_none) {
                self.objects.remove(&id);
            }
        }
    }

    /// Takes what the kernel sent. An answer to a question overtakes the messages that were sent before it and wait, so what
    /// they bring may be older than what is here.
    pub fn insert(&mut self, images: Vec<ObjectImage>) {
        for image in images {
            let held = self.objects.get(&image.id).and_then(Option::as_ref);
            if held.is_none_or(|held| held.version <= image.version) {
                self.objects.insert(image.id, Some(Rc::new(Known::new(image))));
            }
        }
    }

    /// The object, fetched when it is cold; `None` when it does not exist.
    pub fn known(&mut self, id: ObjectId, peer: &mut Peer) -> Option<Rc<Known>> {
        self.fetch(&[id], peer);
        self.objects.get(&id).cloned().flatten()
    }

    /// Makes every one of `ids` known in at most one round trip.
    pub fn fetch(&mut self, ids: &[ObjectId], peer: &mut Peer) {
        let mut cold: Vec<ObjectId> = Vec::new();
        for id in ids {
            if !self.objects.contains_key(id) && !cold.contains(id) {
                cold.push(*id);
            }
        }
        if cold.is_empty() {
            return;
        }
        let images = peer.fetch(cold.clone());
        self.insert(images);
        for id in cold {
            if let Entry::Vacant(place) = self.objects.entry(id) {
                place.insert(None);
                self.missing.push(id);
            }
        }
    }
}
