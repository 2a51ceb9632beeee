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

/// `A·x` of some rows, `[tiles][rows][16]`, and which of its numbers are those of this product: `rank` from `first` on.
#[derive(Clone, Copy)]
pub struct Inner<'a> {
    pub values: &'a [[f32; ROWS]],
    pub rows: usize,
    pub first: usize,
    pub rank: usize,
}

impl Inner<'_> {
    #[inline(always)]
    fn at(&self, column: usize, row: usize) -> f32 {
        let at = self.first + column;
        self.values[at / ROWS * self.rows + row][at % ROWS]
    }
}

for_each_level! {
    /// Adds to `out`, `[rows][16]`, the product of a tile of `B` with as many rows.
    pub fn add(thin: Thin, tile: &[Line], inner: Inner<'_>, out: &mut [[f32; ROWS]]) = add_body
}

#[inline(always)]
fn add_body<L: Lanes>(lanes: L, thin: Thin, tile: &[Line], inner: Inner<'_>, out: &mut [[f32; ROWS]]) {
    let mut first = 0;
    for out in out.chunks_mut(4) {
        match out.len() {
            1 => group::<L, 1>(lanes, thin, tile, inner, first, out),
            2 => group::<L, 2>(lanes, thin, tile, inner, first, out),
            3 => group::<L, 3>(lanes, thin, tile, inner, first, out),
            _ => group::<L, 4>(lanes, thin, tile, inner, first, out),
        }
        first += out.len();
    }
}

/// Four sums for each row, of every fourth column: one alone would wait for itself.
#[inline(always)]
fn group<L: Lanes, const M: usize>(
    lanes: L,
    thin: Thin,
    tile: &[Line],
    inner: Inner<'_>,
    first: usize,
    out: &mut [[f32; ROWS]],
) {
    let mut sums = [[lanes.splat(0.0); 4]; M];
    match thin {
        Thin::F32 => {
            for (column, line) in tile.iter().enumerate() {
                let weights = lanes.load(&floats_of(line));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let value = lanes.splat(inner.at(column, first + row));
                    sums[column % 4] = lanes.fma(weights, value, sums[column % 4]);
                }
            }
        }
        Thin::Bytes => {
            for (four, line) in tile[1..].iter().enumerate() {
                for phase in 0..4 {
                    let column = 4 * four + phase;
                    if column >= inner.rank {
                        break;
                    }
                    let weights = lanes.signed(&bytes_of(line, phase).map(|byte| byte as i8));
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let value = lanes.splat(inner.at(column, first + row));
                        sums[phase] = lanes.fma(weights, value, sums[phase]);
                    }
                }
            }
        }
    }
    for (sums, out) in sums.into_iter().zip(out) {
        let sum = lanes.add(lanes.add(sums[0], sums[1]), lanes.add(sums[2], sums[3]));
        let before = lanes.load(out);
        let after = match thin {
            Thin::F32 => lanes.add(before, sum),
            Thin::Bytes => lanes.fma(sum, lanes.load(&floats_of(&tile[0])), before),
        };
        lanes.store(after, out);
    }
}
