//! Attention of a batch's rows to what the cache holds of their sequences.

use std::cell::RefCell;

use super::Row;
use super::cache::{Cache, POSITIONS, Part};
use crate::crew::Crew;
use crate::kernel::Level;
use crate::kernel::vector::{mix, scores, soften};

/// Rows of one sequence that share the reading of a block.
const TOGETHER: usize = 8;

pub struct Attention<'a> {
    pub level: Level,
    pub layer: usize,
    pub heads: usize,
    pub key_value_heads: usize,
    pub head_dimension: usize,
    pub rows: &'a [Row<'a>],
    pub cache: &'a Cache,
    /// `[m][heads][head dimension]`
    pub queries: &'a [f32],
}

/// Memory of a thread: scores, a block's keys or values widened.
#[derive(Default)]
struct Room {
    scores: Vec<f32>,
    wide: Vec<f32>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::new(Room::default());
}

impl Attention<'_> {
    /// `out` becomes `[m][heads][head dimension]`.
    pub fn run(&self, crew: &Crew, out: &mut Vec<f32>) {
        let m = self.rows.len();
        // Heads that share keys and values.
        let group = self.heads / self.key_value_heads;
        let width = group * self.head_dimension;
        let at_once = if m >= 8 * TOGETHER { TOGETHER } else { 1 };
        // First [key-value heads][rows, a whole number of pieces][group · head dimension]: a piece is one memory range.
        let padded = m.next_multiple_of(at_once);
        let pieces_per_head = padded / at_once;
        let work = |piece: usize, out: &mut [f32]| {
            let head = piece / pieces_per_head;
            let first = piece % pieces_per_head * at_once;
            let last = m.min(first + at_once);
            ROOM.with_borrow_mut(|room| self.rows_of(head, first..last, room, out));
        };
        if m == 1 {
            out.resize(self.heads * self.head_dimension, 0.0);
            let reads = 2 * (self.rows[0].position + 1) * self.head_dimension;
            let heads_at_once = crew.at_once(self.key_value_heads, reads);
            crew.fill(out, heads_at_once * width, |piece, out| {
                for (head, out) in out.chunks_mut(width).enumerate() {
                    work(piece * heads_at_once + head, out);
                }
            });
            return;
        }
        let mut by_head = vec![0.0; self.key_value_heads * padded * width];
        crew.fill(&mut by_head, at_once * width, work);
        out.resize(m * self.heads * self.head_dimension, 0.0);
        crew.fill(out, self.heads * self.head_dimension, |row, out| {
            for (head, out) in out.chunks_mut(width).enumerate() {
                out.copy_from_slice(&by_head[(head * padded + row) * width..][..width]);
            }
        });
    }

    /// Some rows for one key-value head: `out` is `[rows][group · head dimension]`.
    fn rows_of(&self, head: usize, rows: std::ops::Range<usize>, room: &mut Room, out: &mut [f32]) {
        let width = self.heads / self.key_value_heads * self.head_dimension;
        let mut first = rows.start;
        while first < rows.end {
            // Rows of one sequence, as far as they stand together.
            let blocks = self.rows[first].blocks;
            let mut last = first + 1;
            while last < rows.end && std::ptr::eq(self.rows[last].blocks, blocks) {
                last += 1;
            }
            let out = &mut out[(first - rows.start) * width..(last - rows.start) * width];
            self.run_of(head, first..last, room, out);
            first = last;
        }
    }

    /// Rows of one sequence.
    fn run_of(&self, head: usize, rows: std::ops::Range<usize>, room: &mut Room, out: &mut [f32]) {
        let dimension = self.head_dimension;
        let group = self.heads / self.key_value_heads;
        let seen = self.rows[rows.end - 1].position + 1;
        let blocks = self.rows[rows.start].blocks;
        let Room { scores: all, wide } = room;
        all.resize(rows.len() * group * seen, 0.0);
        wide.resize(POSITIONS * dimension, 0.0);
        let scale = 1.0 / (dimension as f32).sqrt();
        let spans = || (0..seen).step_by(POSITIONS);
        // How many positions from `from` on the row of line `at` sees in one block.
        let visible = |at: usize, from: usize| {
            let row = rows.start + at / group;
            (self.rows[row].position + 1).saturating_sub(from).min(POSITIONS)
        };

        for from in spans() {
            let place = (blocks[from / POSITIONS], self.layer, head);
            let keys = self.cache.read(self.level, place, Part::Keys, wide);
            let (keys, _) = keys.as_chunks::<POSITIONS>();
            for (at, line) in all.chunks_mut(seen).enumerate() {
                let (row, query_head) = (rows.start + at / group, head * group + at % group);
                let query = &self.queries[(row * self.heads + query_head) * dimension..][..dimension];
                let mut found = [0.0; POSITIONS];
                scores(self.level, query, keys, scale, &mut found);
                let visible = visible(at, from);
                line[from..from + visible].copy_from_slice(&found[..visible]);
            }
        }
        for (at, line) in all.chunks_mut(seen).enumerate() {
            let visible = self.rows[rows.start + at / group].position + 1;
            soften(self.level, &mut line[..visible]);
        }
        out.fill(0.0);
        for from in spans() {
            let place = (blocks[from / POSITIONS], self.layer, head);
            let values = self.cache.read(self.level, place, Part::Values, wide);
            for ((at, line), out) in all.chunks(seen).enumerate().zip(out.chunks_mut(dimension)) {
                mix(self.level, &line[from..from + visible(at, from)], values, out);
            }
        }
    }
}
