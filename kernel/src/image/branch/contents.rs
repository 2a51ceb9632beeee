//! What a branch holds: the changes of all its sends, each thing changed as seldom as possible, and what they read.

use std::collections::{BTreeSet, HashMap, HashSet};

use shared::activation::Read;
use shared::bridge::Answer;
use shared::id::ObjectId;
use shared::key::Key;
use shared::value::Value;

use super::file::Changed;
use crate::image::draft::Change;
use crate::image::record::RequestId;

/// The sum of a branch's records.
#[derive(Default)]
pub struct Contents {
    changes: Vec<Change>,
    /// The newest of the changes of a slot or entry.
    newest: HashMap<Target, usize>,
    reads: Vec<Read>,
    known_reads: HashSet<Read>,
    replies: HashMap<RequestId, Answer>,
    /// Sends and edits that changed something.
    pub sends: u64,
}

/// A slot or an entry.
#[derive(PartialEq, Eq, Hash)]
enum Target {
    Slot(ObjectId, String),
    Entry(ObjectId, Key),
}

impl Contents {
    pub fn add(&mut self, changed: Changed) {
        self.sends += 1;
        changed.changes.into_iter().for_each(|change| self.change(change));
        for read in changed.reads {
            if self.known_reads.insert(read.clone()) {
                self.reads.push(read);
            }
        }
        if let Some(stored) = changed.reply {
            self.replies.insert(stored.request, stored.answer);
        }
    }

    /// A value that takes the place of another, or a sum that adds to another, is not kept beside it.
    fn change(&mut self, change: Change) {
        let Some(target) = target(&change) else {
            self.changes.push(change);
            return;
        };
        let before = self.newest.get(&target).map(|at| &mut self.changes[*at]);
        match (before, &change) {
            (Some(known @ Change::Put { .. }), Change::Put { .. })
            | (Some(known @ Change::PutEntry { .. }), Change::PutEntry { .. }) => {
                *known = change;
                return;
            }
            // Sums of fractions depend on their order.
            (
                Some(Change::AddEntry {
                    amount: Value::Int(known),
                    ..
                }),
                Change::AddEntry {
                    amount: Value::Int(amount),
                    ..
                },
            ) => {
                if let Some(sum) = known.checked_add(*amount) {
                    *known = sum;
                    return;
                }
            }
            _ => {}
        }
        self.newest.insert(target, self.changes.len());
        self.changes.push(change);
    }

    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    pub fn knows(&self, read: &Read) -> bool {
        self.known_reads.contains(read)
    }

    pub fn reply(&self, request: &RequestId) -> Option<&Answer> {
        self.replies.get(request)
    }

    /// The objects that are changed or made.
    pub fn objects(&self) -> BTreeSet<ObjectId> {
        self.changes.iter().map(Change::object).collect()
    }

    /// Every object that the branch changes, refers to or has read.
    pub fn each_object(&self, visit: &mut impl FnMut(ObjectId)) {
        for change in &self.changes {
            visit(change.object());
            values(change, &mut |value| value.each_reference(visit));
            if let Some(key) = key(change).and_then(Key::value) {
                key.each_reference(visit);
            }
        }
        self.reads.iter().for_each(|read| visit(read.object));
    }

    /// Every content that the branch names.
    pub fn each_blob(&self, visit: &mut impl FnMut([u8; 32])) {
        for change in &self.changes {
            values(change, &mut |value| {
                value.each_blob(&mut |blob| visit(blob.digest))
            });
        }
    }
}

fn target(change: &Change) -> Option<Target> {
    match change {
        Change::Put { object, slot, .. } | Change::Remove { object, slot } => {
            Some(Target::Slot(*object, slot.clone()))
        }
        Change::PutEntry { object, key, .. }
        | Change::RemoveEntry { object, key }
        | Change::AddEntry { object, key, .. } => Some(Target::Entry(*object, key.clone())),
        Change::Create { .. } | Change::Append { .. } | Change::Vector { .. } => None,
    }
}

fn key(change: &Change) -> Option<&Key> {
    match change {
        Change::PutEntry { key, .. } | Change::RemoveEntry { key, .. } | Change::AddEntry { key, .. } => {
            Some(key)
        }
        _ => None,
    }
}

fn values(change: &Change, visit: &mut impl FnMut(&Value)) {
    match change {
        Change::Create { slots, .. } => slots.iter().for_each(|(_, value)| visit(value)),
        Change::Put { value, .. } | Change::PutEntry { value, .. } | Change::Append { value, .. } => {
            visit(value);
        }
        Change::AddEntry { amount, .. } => visit(amount),
        Change::Remove { .. } | Change::RemoveEntry { .. } | Change::Vector { .. } => {}
    }
}
