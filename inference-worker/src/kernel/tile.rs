//! Weights packed in tiles of sixteen rows, and a tile's product with activations.
//!
//! A tile is a sequence of lines of 64 bytes: sixteen rows × four bytes, so that one instruction multiplies four columns of sixteen
//! rows. In lines, for each stretch of columns:
//!
//! | format | columns | lines | content |
//! |---|---|---|---|
//! | `Q8_0` | 64 | 17 | 16 of weights + 128, four columns a line; scales: 2 × 16 f16, the first for columns 0 to 31 |
//! | `Q4K` | 256 | 37 | 32 of nibbles, eight columns a line, the first four low; 2 of scales and 2 of minimums, 16 bytes for each 32 columns; d and dmin: 2 × 16 f16 |
//! | `Q6K` | 256 | 53 | 32 of low nibbles as `Q4K`; 16 of high pairs, sixteen columns a line, the first four lowest; 4 of signed scales, 16 bytes for each 16 columns; d: 16 f16 |
//! | `F32` | 1 | 1 | 16 × f32 |
//! | `F16`, `Bf16` | 2 | 1 | 2 × 16 × u16 |
//!
//! The values are those of the GGUF types of these names, in another order. Rows beyond the last and columns beyond the last are zero.

use super::for_each_level;
use super::lanes::Lanes;
pub use super::lanes::Line;
use super::with_constant;

/// Rows of a tile.
pub const ROWS: usize = 16;
/// Columns of a block of activations.
pub const BLOCK: usize = 32;

/// How weights are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4K,
    Q6K,
}

impl Format {
    /// Columns of a stretch.
    pub const fn columns(self) -> usize {
        match self {
            Format::F32 => 1,
            Format::F16 | Format::Bf16 => 2,
            Format::Q8_0 => 64,
            Format::Q4K | Format::Q6K => 256,
        }
    }

    /// Lines of a stretch.
    pub const fn lines(self) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::Bf16 => 1,
            Format::Q8_0 => 17,
            Format::Q4K => 37,
            Format::Q6K => 53,
        }
    }

    /// Whether its product takes [`Block`]s and not plain numbers.
    pub const fn is_quantised(self) -> bool {
        matches!(self, Format::Q8_0 | Format::Q4K | Format::Q6K)
    }
}

/// 32 activations of one row, quantised: value = scale · byte.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Block {
    /// Eight quads of signed bytes, the first in the lowest bits.
    quads: [i32; 8],
    scale: f32,
    /// −128 × the sum of the bytes: what the offset of `Q8_0` adds.
    minus_128: i32,
    /// −32 × the sums of either half: what the offset of `Q6K` adds.
    minus_32: [i32; 2],
    /// scale × the sum of the bytes: what a minimum of `Q4K` is multiplied with.
    weighted: f32,
}

impl Block {
    pub const ZERO: Block = Block {
        quads: [0; 8],
        scale: 0.0,
        minus_128: 0,
        minus_32: [0; 2],
        weighted: 0.0,
    };

    #[inline(always)]
    fn of(values: &[f32; BLOCK]) -> Block {
        let mut most = [0.0_f32; 16];
        for half in values.as_chunks::<16>().0 {
            for (most, value) in most.iter_mut().zip(half) {
                *most = most.max(value.abs());
            }
        }
        let largest = most.iter().fold(0.0_f32, |a, b| a.max(*b));
        let scale = largest / 127.0;
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        // Adding 1.5 · 2^23 rounds to the nearest whole number and leaves it in the low bits.
        let bytes: [i8; BLOCK] =
            std::array::from_fn(|at| (values[at] * inverse + 12_582_912.0).to_bits() as i8);
        let mut sums = [0_i32; 2];
        for (sum, half) in sums.iter_mut().zip(bytes.as_chunks::<16>().0) {
            *sum = half.iter().map(|byte| i32::from(*byte)).sum();
        }
        let mut quads = [0; 8];
        for (quad, bytes) in quads.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *quad = i32::from_le_bytes(bytes.map(|byte| byte as u8));
        }
        let sum = sums[0] + sums[1];
        Block {
            quads,
            scale,
            minus_128: -128 * sum,
            minus_32: sums.map(|sum| -32 * sum),
            weighted: scale * sum as f32,
        }
    }
}

for_each_level! {
    /// Quantises 32 columns of some rows: row i begins at `values[i * stride]`.
    pub fn quantise(values: &[f32], stride: usize, out: &mut [Block]) = quantise_body
}

for_each_level! {
    /// As [`quantise`], of two tiles of products, `[2][out.len()][16]`.
    pub fn quantise_tiles(tiles: &[[f32; ROWS]], out: &mut [Block]) = quantise_tiles_body
}

#[inline(always)]
fn quantise_body<L: Lanes>(_: L, values: &[f32], stride: usize, out: &mut [Block]) {
    for (row, block) in out.iter_mut().enumerate() {
        match values[row * stride..].first_chunk::<BLOCK>() {
            Some(values) => *block = Block::of(values),
            None => unreachable!("a quantised matrix has columns in whole blocks"),
        }
    }
}

#[inline(always)]
fn quantise_tiles_body<L: Lanes>(_: L, tiles: &[[f32; ROWS]], out: &mut [Block]) {
    let (first, second) = tiles.split_at(out.len());
    for ((block, first), second) in out.iter_mut().zip(first).zip(second) {
        let mut values = [0.0; BLOCK];
        values[..ROWS].copy_from_slice(first);
        values[ROWS..].copy_from_slice(second);
        *block = Block::of(&values);
    }
}

/// What a tile is multiplied with.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// `[rows][columns]`.
    Plain { values: &'a [f32], columns: usize },
    /// `[columns / 32][rows]`, of which those from `first` on are meant.
    Blocks {
        blocks: &'a [Block],
        rows: usize,
        first: usize,
    },
}

for_each_level! {
    /// The product of one tile with as many rows of the input as `out` has: `out` is `[rows][16]`.
    pub fn product(format: Format, tile: &[Line], input: Input<'_>, out: &mut [[f32; ROWS]]) = product_body
}

#[inline(always)]
fn product_body<L: Lanes>(
    lanes: L,
    format: Format,
    tile: &[Line],
    input: Input<'_>,
    out: &mut [[f32; ROWS]],
) {
    match (format, input) {
        (Format::Q8_0, Input::Blocks { blocks, rows, first }) => {
            quantised::<L, Q8_0>(lanes, tile, blocks, rows, first, out);
        }
        (Format::Q4K, Input::Blocks { blocks, rows, first }) => {
            quantised::<L, Q4K>(lanes, tile, blocks, rows, first, out);
        }
        (Format::Q6K, Input::Blocks { blocks, rows, first }) => {
            quantised::<L, Q6K>(lanes, tile, blocks, rows, first, out);
        }
        (Format::F32 | Format::F16 | Format::Bf16, Input::Plain { values, columns }) => {
            plain(lanes, format, tile, values, columns, out);
        }
        // The owner of the weights chooses the input by `Format::is_quantised`.
        _ => unreachable!("the input does not fit the format"),
    }
}

/// In groups of at most eight rows. No closure here or below: one cannot be told to be inlined, and what is not inlined is not
/// compiled with the instructions of the level.
#[inline(always)]
fn quantised<L: Lanes, F: Quantised>(
    lanes: L,
    tile: &[Line],
    blocks: &[Block],
    rows: usize,
    from: usize,
    out: &mut [[f32; ROWS]],
) {
    let mut done = 0;
    while done < out.len() {
        let first = from + done;
        let left = &mut out[done..];
        let count = match left.len() {
            8.. => 8,
            4..8 => 4,
            left => left,
        };
        let out = &mut left[..count];
        with_constant!(count, [1 2 3 4; 8], M => F::group::<L, M>(lanes, tile, blocks, rows, first, out));
        done += count;
    }
}

/// A quantised format's product for `M` rows at once.
trait Quantised {
    fn group<L: Lanes, const M: usize>(
        lanes: L,
        tile: &[Line],
        blocks: &[Block],
        rows: usize,
        first: usize,
        out: &mut [[f32; ROWS]],
    );
}

struct Q8_0;
struct Q4K;
struct Q6K;

/// `M` rows of the blocks of one stretch of 32 columns.
#[inline(always)]
fn group_of<const M: usize>(blocks: &[Block], at: usize) -> &[Block; M] {
    match blocks[at..].first_chunk::<M>() {
        Some(group) => group,
        None => unreachable!("there are fewer blocks than rows"),
    }
}

#[inline(always)]
fn halves_of(line: &Line) -> [[u16; 16]; 2] {
    let words: [u16; 32] = std::array::from_fn(|at| u16::from_le_bytes([line.0[2 * at], line.0[2 * at + 1]]));
    let (halves, _) = words.as_chunks::<16>();
    [halves[0], halves[1]]
}

#[inline(always)]
pub(super) fn bytes_of(line: &Line, quarter: usize) -> &[u8; 16] {
    &line.0.as_chunks::<16>().0[quarter]
}

#[inline(always)]
fn finish<L: Lanes, const M: usize>(lanes: L, sums: [L::Floats; M], out: &mut [[f32; ROWS]]) {
    for (sum, out) in sums.into_iter().zip(out) {
        lanes.store(sum, out);
    }
}

impl Quantised for Q8_0 {
    #[inline(always)]
    fn group<L: Lanes, const M: usize>(
        lanes: L,
        tile: &[Line],
        blocks: &[Block],
        rows: usize,
        first: usize,
        out: &mut [[f32; ROWS]],
    ) {
        let mut totals = [lanes.splat(0.0); M];
        let count = blocks.len() / rows;
        for (stretch, lines) in tile.as_chunks::<{ Format::Q8_0.lines() }>().0.iter().enumerate() {
            let scales = halves_of(&lines[16]);
            for half in 0..2 {
                let block = 2 * stretch + half;
                if block >= count {
                    break;
                }
                let group = group_of::<M>(blocks, block * rows + first);
                let mut sums = [lanes.splat_int(0); M];
                for m in 0..M {
                    sums[m] = lanes.splat_int(group[m].minus_128);
                }
                for quad in 0..8 {
                    let weights = lanes.line(&lines[8 * half + quad]);
                    for m in 0..M {
                        sums[m] = lanes.dot(sums[m], weights, group[m].quads[quad]);
                    }
                }
                let scale = lanes.halves(&scales[half]);
                for m in 0..M {
                    let scaled = lanes.mul(lanes.to_floats(sums[m]), scale);
                    totals[m] = lanes.fma(scaled, lanes.splat(group[m].scale), totals[m]);
                }
            }
        }
        finish(lanes, totals, out);
    }
}

impl Quantised for Q4K {
    #[inline(always)]
    fn group<L: Lanes, const M: usize>(
        lanes: L,
        tile: &[Line],
        blocks: &[Block],
        rows: usize,
        first: usize,
        out: &mut [[f32; ROWS]],
    ) {
        let mut totals = [lanes.splat(0.0); M];
        for (stretch, lines) in tile.as_chunks::<{ Format::Q4K.lines() }>().0.iter().enumerate() {
            let [d, d_min] = halves_of(&lines[36]);
            let (d, d_min) = (lanes.halves(&d), lanes.halves(&d_min));
            for part in 0..8 {
                let group = group_of::<M>(blocks, (8 * stretch + part) * rows + first);
                let mut sums = [lanes.splat_int(0); M];
                for line in 0..4 {
                    let packed = lanes.line(&lines[4 * part + line]);
                    let (low, high) = (lanes.low(packed), lanes.high(packed));
                    for m in 0..M {
                        sums[m] = lanes.dot(sums[m], low, group[m].quads[2 * line]);
                        sums[m] = lanes.dot(sums[m], high, group[m].quads[2 * line + 1]);
                    }
                }
                let scale = lanes.mul(d, lanes.unsigned(bytes_of(&lines[32 + part / 4], part % 4)));
                let least = lanes.mul(d_min, lanes.unsigned(bytes_of(&lines[34 + part / 4], part % 4)));
                for m in 0..M {
                    let scaled = lanes.mul(lanes.to_floats(sums[m]), scale);
                    totals[m] = lanes.fma(scaled, lanes.splat(group[m].scale), totals[m]);
                    totals[m] = lanes.fma(least, lanes.splat(-group[m].weighted), totals[m]);
                }
            }
        }
        finish(lanes, totals, out);
    }
}

impl Quantised for Q6K {
    #[inline(always)]
    fn group<L: Lanes, const M: usize>(
        lanes: L,
        tile: &[Line],
        blocks: &[Block],
        rows: usize,
        first: usize,
        out: &mut [[f32; ROWS]],
    ) {
        let mut totals = [lanes.splat(0.0); M];
        for (stretch, lines) in tile.as_chunks::<{ Format::Q6K.lines() }>().0.iter().enumerate() {
            let d = lanes.halves(&halves_of(&lines[52])[0]);
            for part in 0..8 {
                let group = group_of::<M>(blocks, (8 * stretch + part) * rows + first);
                let mut both = [lanes.splat(0.0); M];
                for half in 0..2 {
                    let sixteen = 2 * part + half;
                    let pairs = lanes.line(&lines[32 + sixteen]);
                    let a = lanes.line(&lines[2 * sixteen]);
                    let b = lanes.line(&lines[2 * sixteen + 1]);
                    let weights = [
                        lanes.with_pair::<0>(lanes.low(a), pairs),
                        lanes.with_pair::<1>(lanes.high(a), pairs),
                        lanes.with_pair::<2>(lanes.low(b), pairs),
                        lanes.with_pair::<3>(lanes.high(b), pairs),
                    ];
                    let scales = bytes_of(&lines[48 + sixteen / 4], sixteen % 4).map(|byte| byte as i8);
                    let scale = lanes.mul(d, lanes.signed(&scales));
                    for m in 0..M {
                        let mut sum = lanes.splat_int(group[m].minus_32[half]);
                        for (quad, weights) in weights.iter().enumerate() {
                            sum = lanes.dot(sum, *weights, group[m].quads[4 * half + quad]);
                        }
                        both[m] = lanes.fma(lanes.to_floats(sum), scale, both[m]);
                    }
                }
                for m in 0..M {
                    totals[m] = lanes.fma(both[m], lanes.splat(group[m].scale), totals[m]);
                }
            }
        }
        finish(lanes, totals, out);
    }
}

#[inline(always)]
fn plain<L: Lanes>(
    lanes: L,
    format: Format,
    tile: &[Line],
    values: &[f32],
    columns: usize,
    out: &mut [[f32; ROWS]],
) {
    for (four, out) in out.chunks_mut(4).enumerate() {
        let values = &values[4 * four * columns..];
        with_constant!(out.len(), [1 2 3; 4], M => {
            plain_group::<L, M>(lanes, format, tile, values, columns, out)
        });
    }
}

/// Four sums for each row, of every fourth column: one alone would wait for itself.
#[inline(always)]
fn plain_group<L: Lanes, const M: usize>(
    lanes: L,
    format: Format,
    tile: &[Line],
    values: &[f32],
    columns: usize,
    out: &mut [[f32; ROWS]],
) {
    let rows: [&[f32]; M] = std::array::from_fn(|m| &values[m * columns..][..columns]);
    let mut sums = [[lanes.splat(0.0); 4]; M];
    let fours = columns / 4;
    match format {
        Format::F32 => {
            let (lines, _) = tile.as_chunks::<4>();
            for (four, lines) in lines.iter().take(fours).enumerate() {
                for phase in 0..4 {
                    let weights = lanes.load(&floats_of(&lines[phase]));
                    for m in 0..M {
                        sums[m][phase] =
                            lanes.fma(weights, lanes.splat(rows[m][4 * four + phase]), sums[m][phase]);
                    }
                }
            }
        }
        _ => {
            let (lines, _) = tile.as_chunks::<2>();
            for (four, lines) in lines.iter().take(fours).enumerate() {
                for phase in 0..4 {
                    let bits = &halves_of(&lines[phase / 2])[phase % 2];
                    let weights = if matches!(format, Format::F16) {
                        lanes.halves(bits)
                    } else {
                        lanes.brains(bits)
                    };
                    for m in 0..M {
                        sums[m][phase] =
                            lanes.fma(weights, lanes.splat(rows[m][4 * four + phase]), sums[m][phase]);
                    }
                }
            }
        }
    }
    for column in 4 * fours..columns {
        let weights = match format {
            Format::F32 => lanes.load(&floats_of(&tile[column])),
            Format::F16 => lanes.halves(&halves_of(&tile[column / 2])[column % 2]),
            _ => lanes.brains(&halves_of(&tile[column / 2])[column % 2]),
        };
        for m in 0..M {
            sums[m][column % 4] = lanes.fma(weights, lanes.splat(rows[m][column]), sums[m][column % 4]);
        }
    }
    for (sums, out) in sums.into_iter().zip(out) {
        lanes.store(
            lanes.add(lanes.add(sums[0], sums[1]), lanes.add(sums[2], sums[3])),
            out,
        );
    }
}

/// Sixteen numbers of an `F32` line.
#[inline(always)]
pub fn floats_of(line: &Line) -> [f32; 16] {
    std::array::from_fn(|at| {
        f32::from_le_bytes([
            line.0[4 * at],
            line.0[4 * at + 1],
            line.0[4 * at + 2],
            line.0[4 * at + 3],
        ])
    })
}
