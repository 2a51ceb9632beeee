//! What adapters add to the products of one region. First, as early pieces of the region, `A·x` for each stretch of rows that share an
//! adapter; then each tile of products gets its rows' `B·(A·x)`.

use std::ops::Range;

use super::Row;
use crate::adapter::{Adapter, Group, GroupOf};
use crate::kernel::Level;
use crate::kernel::low_rank::{self, Inner, Outer};
use crate::kernel::tile::{Block, Input, ROWS, product};

/// More rows of one adapter are several stretches, so that threads share them.
const MAX_ROWS: usize = 64;

/// Neighbouring rows with the same adapter.
pub struct Stretch<'a> {
    adapter: &'a Adapter,
    rows: Range<usize>,
}

/// The stretches of a batch; rows without an adapter are in none.
pub fn stretches<'a>(rows: &[Row<'a>]) -> Vec<Stretch<'a>> {
    let mut found: Vec<Stretch<'a>> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let Some(adapter) = row.adapter else { continue };
        match found.last_mut() {
            Some(last)
                if last.rows.end == at
                    && std::ptr::eq(last.adapter, adapter)
                    && last.rows.len() < MAX_ROWS =>
            {
                last.rows.end += 1;
            }
            _ => found.push(Stretch {
                adapter,
                rows: at..at + 1,
            }),
        }
    }
    found
}

/// The stretches whose adapters have something for one group of a layer.
#[derive(Default)]
pub struct Adapted<'a> {
    parts: Vec<Part<'a>>,
    /// Where each early piece ends, and which tile of which part it is.
    ends: Vec<usize>,
    pieces: Vec<(usize, usize)>,
}

struct Part<'a> {
    group: GroupOf<'a>,
    rows: Range<usize>,
    /// Where its `A·x` begins, `[tiles][rows][16]`.
    first: usize,
}

impl<'a> Adapted<'a> {
    pub fn of(stretches: &'a [Stretch<'a>], layer: usize, group: Group) -> Adapted<'a> {
        let mut adapted = Adapted::default();
        let mut length = 0;
        for stretch in stretches {
            let Some(group) = stretch.adapter.group(layer, group) else {
                continue;
            };
            let rows = stretch.rows.clone();
            let first = length;
            for tile in 0..group.tiles() {
                length += rows.len();
                adapted.ends.push(length);
                adapted.pieces.push((adapted.parts.len(), tile));
            }
            adapted.parts.push(Part { group, rows, first });
        }
        adapted
    }

    pub fn is_none(&self) -> bool {
        self.parts.is_empty()
    }

    /// Of all `A·x` together.
    pub fn length(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// One tile of `A·x` of one stretch, from the region's input.
    pub fn make(
        &self,
        level: Level,
        piece: usize,
        values: &[f32],
        blocks: &[Block],
        m: usize,
        out: &mut [[f32; ROWS]],
    ) {
        let (part, tile) = self.pieces[piece];
        let Part { group, rows, .. } = &self.parts[part];
        let columns = group.columns();
        let input = match group.format().is_quantised() {
            true => Input::Blocks {
                blocks,
                rows: m,
                first: rows.start,
            },
            false => Input::Plain {
                values: &values[rows.start * columns..],
                columns,
            },
        };
        product(level, group.format(), group.tile(tile), input, out);
    }

    /// Adds to some tiles of the group's product at `place`, `[tiles][m][16]`.
    pub fn add(
        &self,
        level: Level,
        place: usize,
        tiles: Range<usize>,
        thin: &[[f32; ROWS]],
        out: &mut [[f32; ROWS]],
    ) {
        let m = out.len() / tiles.len();
        for part in &self.parts {
            let Some(found) = part.group.product(place) else {
                continue;
            };
            let rows = part.rows.len();
            let inner = Inner {
                values: &thin[part.first..][..part.group.tiles() * rows],
                rows,
                first: found.first,
                rank: found.rank,
            };
            let outer = Outer {
                tiles: &mut *out,
                m,
                first: part.rows.start,
            };
            low_rank::add(level, found.thin, found.tiles(tiles.clone()), inner, outer);
        }
    }
}
