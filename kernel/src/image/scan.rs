//! A range of an object's entries: what layers in memory hold over what the index holds, in key order or backwards.

use std::collections::VecDeque;
use std::sync::Arc;

use shared::id::ObjectId;
use shared::key::Key;

use super::doubt;
use super::index_record::entry_key;
use super::layer::Layer;
use super::lmdb::{Direction, Lmdb, Table};
use super::record::StoredEntry;

/// Entries of an object in key order, or backwards.
pub type Scanned = Vec<(Key, Arc<StoredEntry>)>;

/// The first piece that is read of the index beyond what is asked for, so that a few removed entries cost no second piece.
const SPARE: usize = 8;
/// A piece of the index has at most so many entries.
const PIECE: usize = 4_096;

/// At most `limit` entries from a key to before another. Earlier layers stand in front of later ones, all of them in front of
/// the index. Takes time for what it answers and for what the layers have removed before it, not for what comes after.
pub fn scan(
    index: &Lmdb,
    layers: &[&Layer],
    object: ObjectId,
    (from, to): (&Key, &Key),
    limit: usize,
    direction: Direction,
) -> Scanned {
    let mut out = Vec::new();
    if from >= to {
        return out;
    }
    let mut heads: Vec<_> = layers
        .iter()
        .map(|layer| directed(layer.range(object, from, to), direction).peekable())
        .collect();
    let mut stored = Stored {
        index,
        object,
        low: from.clone(),
        high: to.clone(),
        direction,
        piece: VecDeque::new(),
        wanted: limit.saturating_add(SPARE).min(PIECE),
        is_done: false,
    };
    while out.len() < limit {
        let below = stored.peek().cloned();
        let nearest = heads
            .iter_mut()
            .filter_map(|head| head.peek().map(|(key, _)| (*key).clone()))
            .chain(below)
            .reduce(|a, b| match direction {
                Direction::Ascending => a.min(b),
                Direction::Descending => a.max(b),
            });
        let Some(key) = nearest else { break };
        let mut found = None;
        for head in &mut heads {
            if let Some((_, entry)) = head.next_if(|(at, _)| **at == key) {
                found = found.or(Some(entry.clone()));
            }
        }
        if stored.peek() == Some(&key) {
            let entry = stored.piece.pop_front().map(|(_, entry)| entry);
            found = found.or(Some(entry));
        }
        out.extend(found.flatten().map(|entry| (key, entry)));
    }
    out
}

fn directed<'a, T: 'a>(
    items: impl DoubleEndedIterator<Item = T> + 'a,
    direction: Direction,
) -> Box<dyn Iterator<Item = T> + 'a> {
    match direction {
        Direction::Ascending => Box::new(items),
        Direction::Descending => Box::new(items.rev()),
    }
}

/// The index's part of a range, read piece by piece.
struct Stored<'a> {
    index: &'a Lmdb,
    object: ObjectId,
    /// What is not read yet lies from here …
    low: Key,
    /// … to before here.
    high: Key,
    direction: Direction,
    piece: VecDeque<(Key, Arc<StoredEntry>)>,
    /// How many the next piece has.
    wanted: usize,
    is_done: bool,
}

impl Stored<'_> {
    fn peek(&mut self) -> Option<&Key> {
        if self.piece.is_empty() && !self.is_done {
            self.read();
        }
        self.piece.front().map(|(key, _)| key)
    }

    fn read(&mut self) {
        let (from, to) = (
            entry_key(self.object, &self.low),
            entry_key(self.object, &self.high),
        );
        let read = self
            .index
            .reading()
            .and_then(|reading| reading.range(Table::Entries, &from, &to, self.wanted, self.direction));
        let pairs = doubt::believed(self.index, read);
        self.is_done = pairs.len() < self.wanted;
        self.wanted = self.wanted.saturating_mul(2).min(PIECE);
        self.piece = pairs
            .iter()
            .map(|(key, value)| {
                let entry: StoredEntry = doubt::decoded(self.index, value);
                let key = Key::from_bytes(&key[8..])
                    .unwrap_or_else(|error| doubt::end(self.index, &format!("a key of it: {error}")));
                (key, Arc::new(entry))
            })
            .collect();
        match (self.piece.back(), self.direction) {
            (Some((edge, _)), Direction::Ascending) => self.low = edge.after(),
            (Some((edge, _)), Direction::Descending) => self.high = edge.clone(),
            (None, _) => self.is_done = true,
        }
    }
}
