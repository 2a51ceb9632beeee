//! A tile of plain weights times many rows at once: what an encoder does all day, and a decoder never.
//!
//! Each row's sums are one chain of additions, column by column, whatever stands beside it; so many rows are taken at a time that the
//! chains hide one another's latency and a line of weights is loaded once for all of them.

use super::for_each_level;
use super::lanes::{Lanes, Line};
use super::tile::{ROWS, floats_of};
use super::with_constant;

for_each_level! {
    /// `out`, `[rows][16]`, becomes `bias` + the product of an `F32` tile with `values`, `[rows][columns]`.
    pub fn panel(tile: &[Line], values: &[f32], columns: usize, bias: &[f32; ROWS], out: &mut [[f32; ROWS]]) = panel_body
}

#[inline(always)]
fn panel_body<L: Lanes>(
    lanes: L,
    tile: &[Line],
    values: &[f32],
    columns: usize,
    bias: &[f32; ROWS],
    out: &mut [[f32; ROWS]],
) {
    // Groups of nearly equal size: a last one of a single row would wait for itself.
    let mut groups = out.len().div_ceil(L::CHAINS);
    let mut first = 0;
    while first < out.len() {
        let count = (out.len() - first).div_ceil(groups);
        let values = &values[first * columns..];
        let out = &mut out[first..first + count];
        with_constant!(count, [1 2 3 4 5 6 7 8 9 10 11 12 13; 14], M => {
            group::<L, M>(lanes, tile, values, columns, bias, out)
        });
        first += count;
        groups -= 1;
    }
}

#[inline(always)]
fn group<L: Lanes, const M: usize>(
    lanes: L,
    tile: &[Line],
    values: &[f32],
    columns: usize,
    bias: &[f32; ROWS],
    out: &mut [[f32; ROWS]],
) {
    let tile = &tile[..columns];
    let rows: [&[f32]; M] = std::array::from_fn(|m| &values[m * columns..][..columns]);
    let mut sums = [lanes.load(bias); M];
    for column in 0..columns {
        let weights = lanes.load(&floats_of(&tile[column]));
        for m in 0..M {
            sums[m] = lanes.fma(weights, lanes.splat(rows[m][column]), sums[m]);
        }
    }
    for m in 0..M {
        lanes.store(sums[m], &mut out[m]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Level;

    #[test]
    fn every_number_of_rows_gets_its_products_and_the_same_bits_as_alone() {
        let columns = 37;
        let wave =
            |count: usize, step: f32| (0..count).map(|at| (at as f32 * step).sin()).collect::<Vec<_>>();
        let weights = wave(columns * ROWS, 0.7);
        let tile: Vec<Line> = weights
            .chunks(ROWS)
            .map(|lanes| {
                let mut line = Line::ZERO;
                for (bytes, lane) in line.0.as_chunks_mut().0.iter_mut().zip(lanes) {
                    *bytes = lane.to_le_bytes();
                }
                line
            })
            .collect();
        let bias: [f32; ROWS] = std::array::from_fn(|at| at as f32);
        for level in Level::every() {
            for rows in 1..=31 {
                let values = wave(rows * columns, 0.13);
                let mut out = vec![[0.0; ROWS]; rows];
                panel(level, &tile, &values, columns, &bias, &mut out);
                for (row, found) in out.iter().enumerate() {
                    let values = &values[row * columns..][..columns];
                    for lane in 0..ROWS {
                        let products = values.iter().enumerate();
                        let products = products.map(|(column, value)| {
                            f64::from(*value) * f64::from(weights[column * ROWS + lane])
                        });
                        let wanted = lane as f64 + products.sum::<f64>();
                        assert!(
                            (f64::from(found[lane]) - wanted).abs() < 1e-5,
                            "{rows} {row} {lane}"
                        );
                    }
                    let mut alone = [[0.0; ROWS]];
                    panel(level, &tile, values, columns, &bias, &mut alone);
                    assert_eq!(alone[0], *found);
                }
            }
        }
    }
}
