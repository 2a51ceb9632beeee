//! A walk along the entries of an object: pages of what is stored, and where the walk stands between them.

use std::collections::VecDeque;

use shared::activation::ScanOrder;
use shared::id::ObjectId;
use shared::key::Key;
use shared::value::Value;

/// The first page asks for so few, since many walks end early and what is asked for is read.
const FIRST_PAGE: u32 = 16;
/// Later pages grow to so many, which is what the kernel gives at once.
const LAST_PAGE: u32 = 1_000;

/// What a walk answers of each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Keys,
    Values,
    Items,
}

impl Face {
    pub fn has_values(self) -> bool {
        self != Face::Keys
    }
}

/// Where a walk is. It sees changes that are made ahead of it while it walks.
pub struct Walk {
    pub object: ObjectId,
    pub face: Face,
    /// What is still to come lies from here …
    pub low: Key,
    /// … to before here.
    pub high: Key,
    pub order: ScanOrder,
    /// So many entries may still come.
    pub left: u64,
    /// The page that is read, from where the walk stands.
    page: VecDeque<(Key, Value)>,
    /// The part of the stored range that is not read yet.
    unread: Option<(Key, Key)>,
    page_size: u32,
}

impl Walk {
    pub fn new(object: ObjectId, face: Face, low: Key, high: Key, order: ScanOrder, limit: u64) -> Walk {
        let unread = (low < high).then(|| (low.clone(), high.clone()));
        Walk {
            object,
            face,
            high: high.max(low.clone()),
            low,
            order,
            left: limit,
            page: VecDeque::new(),
            unread,
            page_size: FIRST_PAGE,
        }
    }

    /// Whether appended values could stand in what is still to come.
    pub fn reaches_integers(&self) -> bool {
        let (from, to) = Key::integers();
        self.low < to && from < self.high
    }

    /// The key of the next stored entry, pages read with `scan` as they are needed.
    pub fn next_stored(
        &mut self,
        mut scan: impl FnMut(Key, Key, u32, ScanOrder) -> (Vec<(Key, Value)>, bool),
    ) -> Option<Key> {
        while self.page.is_empty() {
            let (from, to) = self.unread.take()?;
            let wanted = self.page_size.min(u32::try_from(self.left).unwrap_or(u32::MAX));
            self.page_size = self.page_size.saturating_mul(4).min(LAST_PAGE);
            let (entries, is_whole) = scan(from.clone(), to.clone(), wanted, self.order);
            // An answer of nothing that is not whole would lead nowhere.
            if let Some((edge, _)) = entries.last().filter(|_| !is_whole) {
                self.unread = match self.order {
                    ScanOrder::Ascending => Some((edge.after(), to)),
                    ScanOrder::Descending => Some((from, edge.clone())),
                };
            }
            self.page = entries.into();
        }
        self.page.front().map(|(key, _)| key.clone())
    }

    /// Of two next keys the one that comes first.
    pub fn nearest(&self, a: Option<Key>, b: Option<Key>) -> Option<Key> {
        match self.order {
            ScanOrder::Ascending => a.into_iter().chain(b).min(),
            ScanOrder::Descending => a.into_iter().chain(b).max(),
        }
    }

    /// Goes on behind a key; what is stored under it.
    pub fn pass(&mut self, key: &Key) -> Option<Value> {
        match self.order {
            ScanOrder::Ascending => self.low = key.after(),
            ScanOrder::Descending => self.high = key.clone(),
        }
        match self.page.front() {
            Some((at, _)) if at == key => self.page.pop_front().map(|(_, value)| value),
            _ => None,
        }
    }
}
