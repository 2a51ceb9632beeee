//! The best of many chunks.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use shared::id::ObjectId;

/// A chunk and how near it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Near {
    pub(super) chunk: ObjectId,
    pub(super) cosine: f32,
}

impl Eq for Near {}

impl Ord for Near {
    /// The worst is the greatest, as a heap shows it first.
    fn cmp(&self, other: &Near) -> Ordering {
        other
            .cosine
            .total_cmp(&self.cosine)
            .then(self.chunk.cmp(&other.chunk))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Near) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best of many.
pub(super) struct Best {
    most: usize,
    pub(super) heap: BinaryHeap<Near>,
    pub(super) has_left_out: bool,
}

impl Best {
    pub(super) fn new(most: usize) -> Best {
        Best {
            most,
            heap: BinaryHeap::with_capacity(most + 1),
            has_left_out: false,
        }
    }

    pub(super) fn would_take(&mut self, score: f32) -> bool {
        let is_better =
            self.heap.len() < self.most || self.heap.peek().is_some_and(|worst| score >= worst.cosine);
        self.has_left_out |= !is_better;
        is_better
    }

    pub(super) fn offer(&mut self, chunk: ObjectId, cosine: f32) {
        self.heap.push(Near { chunk, cosine });
        if self.heap.len() > self.most {
            self.heap.pop();
            self.has_left_out = true;
        }
    }

    pub(super) fn sorted(self) -> Vec<Near> {
        self.heap.into_sorted_vec()
    }
}
