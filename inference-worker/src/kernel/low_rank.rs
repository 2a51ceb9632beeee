//! What an adapter adds to a tile of products: sixteen rows of `B` times the `A·x` of some rows of the batch.
//!
//! A tile of `B` is a sequence of lines, for `rank` columns:
//!
//! | format | lines | content |
//! |---|---|---|
//! | `F32` | rank | a column: 16 × f32 |
//! | `Bytes` | 1 + ⌈rank / 4⌉ | scales: 16 × f32; then four columns a line, 16 × i8 each |

use super::for_each_level;
use super::lanes::{Lanes, Line};
use super::tile::{ROWS, bytes_of, floats_of};
use super::with_constant;

/// How `B` is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thin {
    F32,
    Bytes,
}

impl Thin {
    /// Lines of a tile.
    pub const fn lines(self, rank: usize) -> usize {
        match self {
            Thin::F32 => rank,
            Thin::Bytes => 1 + rank.div_ceil(4),
        }
    }
}

/// The largest rank.
pub const MAX_RANK: usize = 512;

/// `A·x` of some rows, `[tiles][rows][16]`, and which of its numbers are those of this product: `rank` from `first` on.
#[derive(Clone, Copy)]
pub struct Inner<'a> {
    pub values: &'a [[f32; ROWS]],
    pub rows: usize,
    pub first: usize,
    pub rank: usize,
}

/// Tiles of products, `[tiles][m][16]`, of which rows from `first` on are meant.
pub struct Outer<'a> {
    pub tiles: &'a mut [[f32; ROWS]],
    pub m: usize,
    pub first: usize,
}

for_each_level! {
    /// Adds to as many rows of each tile as `inner` has what the tiles of `B` (`lines`) make of them.
    pub fn add(thin: Thin, lines: &[Line], inner: Inner<'_>, outer: Outer<'_>) = add_body
}

#[inline(always)]
fn add_body<L: Lanes>(lanes: L, thin: Thin, lines: &[Line], inner: Inner<'_>, mut outer: Outer<'_>) {
    let mut row = 0;
    while row < inner.rows {
        let count = (inner.rows - row).min(4);
        with_constant!(count, [1 2 3; 4], M => group::<L, M>(lanes, thin, lines, &inner, &mut outer, row));
        row += count;
    }
}

/// `M` rows from `row` on, through all tiles. Four sums for each row, of every fourth column: one alone would wait for itself.
#[inline(always)]
fn group<L: Lanes, const M: usize>(
    lanes: L,
    thin: Thin,
    lines: &[Line],
    inner: &Inner<'_>,
    outer: &mut Outer<'_>,
    row: usize,
) {
    // Gathered once for all tiles; columns beyond the rank stay zero.
    let mut values = [[0.0_f32; MAX_RANK]; M];
    for (at, values) in values.iter_mut().enumerate() {
        for (column, value) in values[..inner.rank].iter_mut().enumerate() {
            let column = inner.first + column;
            *value = inner.values[column / ROWS * inner.rows + row + at][column % ROWS];
        }
    }
    let first = outer.first + row;
    let per_tile = thin.lines(inner.rank);
    for (tile, out) in lines
        .chunks_exact(per_tile)
        .zip(outer.tiles.chunks_exact_mut(outer.m))
    {
        let mut sums = [[lanes.splat(0.0); 4]; M];
        match thin {
            Thin::F32 => {
                for (column, line) in tile.iter().enumerate() {
                    let weights = lanes.load(&floats_of(line));
                    for (sums, values) in sums.iter_mut().zip(&values) {
                        let sum = &mut sums[column % 4];
                        *sum = lanes.fma(weights, lanes.splat(values[column]), *sum);
                    }
                }
            }
            Thin::Bytes => {
                for (four, line) in tile[1..].iter().enumerate() {
                    for phase in 0..4 {
                        let weights = lanes.signed(&bytes_of(line, phase).map(|byte| byte as i8));
                        for (sums, values) in sums.iter_mut().zip(&values) {
                            let value = lanes.splat(values[4 * four + phase]);
                            sums[phase] = lanes.fma(weights, value, sums[phase]);
                        }
                    }
                }
            }
        }
        for (sums, out) in sums.into_iter().zip(&mut out[first..]) {
            let sum = lanes.add(lanes.add(sums[0], sums[1]), lanes.add(sums[2], sums[3]));
            let before = lanes.load(out);
            let after = match thin {
                Thin::F32 => lanes.add(before, sum),
                Thin::Bytes => lanes.fma(sum, lanes.load(&floats_of(&tile[0])), before),
            };
            lanes.store(after, out);
        }
    }
}
