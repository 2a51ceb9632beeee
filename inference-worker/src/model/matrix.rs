//! A weight matrix: rows packed in tiles, as `kernel::tile` describes them.

use std::sync::{Mutex, PoisonError};

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use half::{bf16, f16};

use crate::crew::Crew;
use crate::kernel::Level;
use crate::kernel::panel::panel;
use crate::kernel::tile::{BLOCK, Block, Format, Input, Line, ROWS, product};

/// `[rows][columns]`; a product with it answers `rows` numbers.
pub struct Matrix {
    rows: usize,
    columns: usize,
    format: Format,
    lines: Vec<Line>,
}

/// Where a matrix's rows come from.
pub trait Rows: Sync {
    fn kind(&self) -> GgmlDType;
    fn rows(&self) -> usize;
    fn columns(&self) -> usize;
    /// The bytes of a row, `bytes_per_row` of them.
    fn read(&self, row: usize, into: &mut [u8]) -> Result<(), String>;

    /// Columns fill whole blocks of the kind: the checkpoint looks at that first.
    fn bytes_per_row(&self) -> usize {
        self.columns() / self.kind().block_size() * self.kind().type_size()
    }
}

/// What a matrix with these columns is packed as when `wanted` is asked for: blocks need whole ones.
pub fn fitting(wanted: Format, columns: usize) -> Format {
    match wanted {
        Format::Q4K | Format::Q6K if columns.is_multiple_of(256) => wanted,
        Format::Q4K | Format::Q6K | Format::Q8_0 if columns.is_multiple_of(BLOCK) => Format::Q8_0,
        Format::Q4K | Format::Q6K | Format::Q8_0 => Format::F32,
        plain => plain,
    }
}

/// The format that keeps a kind's values as they are; kinds without one are packed as Q8_0, which has more bits than they have.
pub fn own_format(kind: GgmlDType, columns: usize) -> Format {
    match kind {
        GgmlDType::F32 => Format::F32,
        GgmlDType::F16 => Format::F16,
        GgmlDType::BF16 => Format::Bf16,
        GgmlDType::Q4K => Format::Q4K,
        GgmlDType::Q6K => Format::Q6K,
        _ => fitting(Format::Q8_0, columns),
    }
}

/// Bytes that a matrix takes.
pub fn packed_bytes(format: Format, rows: usize, columns: usize) -> u64 {
    let stretches = columns.div_ceil(format.columns()) as u64;
    rows.div_ceil(ROWS) as u64 * stretches * format.lines() as u64 * 64
}

impl Matrix {
    /// Reads, checks and packs; sixteen rows at a time are held unpacked.
    pub fn pack(crew: &Crew, source: &impl Rows, format: Format) -> Result<Matrix, String> {
        let (rows, columns) = (source.rows(), source.columns());
        let per_tile = columns.div_ceil(format.columns()) * format.lines();
        let mut lines = vec![Line::ZERO; rows.div_ceil(ROWS) * per_tile];
        let wrong: Mutex<Option<String>> = Mutex::new(None);
        crew.fill(&mut lines, per_tile, |tile, lines| {
            let first = tile * ROWS;
            if let Err(what) = pack_tile(source, format, first, ROWS.min(rows - first), lines) {
                wrong
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(what);
            }
        });
        match wrong.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(what) => Err(what),
            None => Ok(Matrix {
                rows,
                columns,
                format,
                lines,
            }),
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> u64 {
        size_of_val(self.lines.as_slice()) as u64
    }

    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// Rows `16 * tile` and on, times the input: `out` is `[input rows][16]`.
    pub fn tile_product(&self, level: Level, tile: usize, input: Input<'_>, out: &mut [[f32; ROWS]]) {
        product(level, self.format, self.tile(tile), input, out);
    }

    /// The same of an `F32` matrix and `values`, `[rows][columns]`, many at once, added to a bias.
    pub fn tile_panel(
        &self,
        level: Level,
        tile: usize,
        values: &[f32],
        bias: &[f32; ROWS],
        out: &mut [[f32; ROWS]],
    ) {
        debug_assert_eq!(self.format, Format::F32);
        panel(level, self.tile(tile), values, self.columns, bias, out);
    }

    fn tile(&self, tile: usize) -> &[Line] {
        let per_tile = self.columns.div_ceil(self.format.columns()) * self.format.lines();
        &self.lines[tile * per_tile..][..per_tile]
    }

    /// One row as plain numbers.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        let (tile, row) = (self.tile(row / ROWS), row % ROWS);
        let stretches = tile.chunks_exact(self.format.lines());
        for (lines, out) in stretches.zip(out.chunks_mut(self.format.columns())) {
            unpack(self.format, lines, row, out);
        }
    }
}

/// Packs some rows as a tile.
pub fn pack_tile(
    source: &impl Rows,
    format: Format,
    first: usize,
    rows: usize,
    lines: &mut [Line],
) -> Result<(), String> {
    let mut raw = vec![0; source.bytes_per_row()];
    for row in 0..rows {
        source.read(first + row, &mut raw)?;
        let kind = ggml(format);
        let converted;
        let bytes = if kind == source.kind() {
            &raw
        } else {
            converted = convert(source.kind(), &raw, source.columns(), kind)?;
            &converted
        };
        let stretches = lines.chunks_exact_mut(format.lines());
        let bytes_per_stretch = format.columns() / kind.block_size() * kind.type_size();
        for (lines, bytes) in stretches.zip(bytes.chunks(bytes_per_stretch)) {
            if !pack_stretch(format, row, bytes, lines) {
                return Err(format!("row {} holds numbers that are not finite", first + row));
            }
        }
    }
    Ok(())
}

/// A row of one kind as a row of another.
fn convert(from: GgmlDType, bytes: &[u8], columns: usize, to: GgmlDType) -> Result<Vec<u8>, String> {
    let plain = plain_row(from, bytes, columns)?;
    if plain.iter().any(|value| !value.is_finite()) {
        return Err("it holds numbers that are not finite".into());
    }
    if to == GgmlDType::F32 {
        return Ok(plain.iter().flat_map(|value| value.to_le_bytes()).collect());
    }
    Tensor::from_vec(plain, columns, &Device::Cpu)
        .and_then(|row| QTensor::quantize(&row, to))
        .and_then(|row| Ok(row.data()?.into_owned()))
        .map_err(|error| error.to_string())
}

/// A row as plain numbers.
pub fn plain_row(kind: GgmlDType, bytes: &[u8], columns: usize) -> Result<Vec<f32>, String> {
    match kind {
        GgmlDType::F32 => Ok(bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect()),
        GgmlDType::F16 => Ok(words(bytes).map(|bits| f16::from_bits(bits).to_f32()).collect()),
        GgmlDType::BF16 => Ok(words(bytes).map(|bits| bf16::from_bits(bits).to_f32()).collect()),
        quantised => QStorage::from_data(bytes.into(), &Device::Cpu, quantised)
            .and_then(|storage| QTensor::new(storage, columns))
            .and_then(|row| row.dequantize(&Device::Cpu)?.to_vec1())
            .map_err(|error| error.to_string()),
    }
}

fn ggml(format: Format) -> GgmlDType {
    match format {
        Format::F32 => GgmlDType::F32,
        Format::F16 => GgmlDType::F16,
        Format::Bf16 => GgmlDType::BF16,
        Format::Q8_0 => GgmlDType::Q8_0,
        Format::Q4K => GgmlDType::Q4K,
        Format::Q6K => GgmlDType::Q6K,
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes))
}

fn put_half(line: &mut Line, at: usize, bits: [u8; 2]) -> bool {
    line.0[2 * at..2 * at + 2].copy_from_slice(&bits);
    f16::from_le_bytes(bits).is_finite()
}

fn half_at(line: &Line, at: usize) -> f32 {
    f16::from_le_bytes([line.0[2 * at], line.0[2 * at + 1]]).to_f32()
}

/// Puts a row's bytes of one stretch (GGUF's order) into its lines; false when a number is not finite.
fn pack_stretch(format: Format, row: usize, bytes: &[u8], lines: &mut [Line]) -> bool {
    match format {
        Format::F32 => {
            lines[0].0[4 * row..4 * row + 4].copy_from_slice(bytes);
            f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).is_finite()
        }
        Format::F16 => bytes
            .as_chunks()
            .0
            .iter()
            .enumerate()
            .all(|(column, bits)| put_half(&mut lines[0], 16 * column + row, *bits)),
        Format::Bf16 => bytes.as_chunks().0.iter().enumerate().all(|(column, bits)| {
            put_half(&mut lines[0], 16 * column + row, *bits);
            bf16::from_le_bytes(*bits).is_finite()
        }),
        // d: f16, 32 × i8
        Format::Q8_0 => bytes.chunks_exact(34).enumerate().all(|(half, block)| {
            for (quad, four) in block[2..].as_chunks::<4>().0.iter().enumerate() {
                let line = &mut lines[8 * half + quad];
                line.0[4 * row..4 * row + 4].copy_from_slice(&four.map(|byte| byte ^ 0x80));
            }
            put_half(&mut lines[16], 16 * half + row, [block[0], block[1]])
        }),
        // d, dmin: f16, 12 bytes of scales and minimums, 128 bytes of nibbles
        Format::Q4K => {
            let mut nibbles = [0_u8; 256];
            for (chunk, packed) in bytes[16..144].chunks_exact(32).enumerate() {
                for (at, byte) in packed.iter().enumerate() {
                    nibbles[64 * chunk + at] = byte & 15;
                    nibbles[64 * chunk + 32 + at] = byte >> 4;
                }
            }
            put_nibbles(&nibbles, row, lines);
            for part in 0..8 {
                let (scale, least) = six_bits(&bytes[4..16], part);
                lines[32 + part / 4].0[16 * (part % 4) + row] = scale;
                lines[34 + part / 4].0[16 * (part % 4) + row] = least;
            }
            put_half(&mut lines[36], row, [bytes[0], bytes[1]])
                & put_half(&mut lines[36], 16 + row, [bytes[2], bytes[3]])
        }
        // 128 bytes of low nibbles, 64 of high pairs, 16 × i8 scales, d: f16
        Format::Q6K => {
            let mut low = [0_u8; 256];
            let mut high = [0_u8; 256];
            for half in 0..2 {
                for at in 0..32 {
                    let (a, b) = (bytes[64 * half + at], bytes[64 * half + 32 + at]);
                    let pairs = bytes[128 + 32 * half + at];
                    for (quarter, nibble) in [a & 15, b & 15, a >> 4, b >> 4].into_iter().enumerate() {
                        low[128 * half + 32 * quarter + at] = nibble;
                        high[128 * half + 32 * quarter + at] = pairs >> (2 * quarter) & 3;
                    }
                }
            }
            put_nibbles(&low, row, lines);
            for (sixteen, pairs) in high.chunks_exact(16).enumerate() {
                for at in 0..4 {
                    lines[32 + sixteen].0[4 * row + at] =
                        pairs[at] | pairs[4 + at] << 2 | pairs[8 + at] << 4 | pairs[12 + at] << 6;
                }
            }
            for sixteen in 0..16 {
                lines[48 + sixteen / 4].0[16 * (sixteen % 4) + row] = bytes[192 + sixteen];
            }
            put_half(&mut lines[52], row, [bytes[208], bytes[209]])
        }
    }
}

/// 256 nibbles, eight a line.
fn put_nibbles(nibbles: &[u8; 256], row: usize, lines: &mut [Line]) {
    for (eight, line) in nibbles.as_chunks::<8>().0.iter().zip(lines) {
        for at in 0..4 {
            line.0[4 * row + at] = eight[at] | eight[4 + at] << 4;
        }
    }
}

/// Scale and minimum of one part of a Q4_K block: the first four in six bits each, the others with their two high bits in those.
fn six_bits(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        (
            packed[part + 4] & 15 | packed[part - 4] >> 6 << 4,
            packed[part + 4] >> 4 | packed[part] >> 6 << 4,
        )
    }
}

/// One row of a stretch as plain numbers; `out` may be shorter than the stretch.
fn unpack(format: Format, lines: &[Line], row: usize, out: &mut [f32]) {
    let nibble = |column: usize| {
        let byte = lines[column / 8].0[4 * row + column % 4];
        if column % 8 < 4 { byte & 15 } else { byte >> 4 }
    };
    for (column, out) in out.iter_mut().enumerate() {
        *out = match format {
            Format::F32 => {
                let at = 4 * row;
                let line = &lines[0].0;
                f32::from_le_bytes([line[at], line[at + 1], line[at + 2], line[at + 3]])
            }
            Format::F16 => half_at(&lines[0], 16 * column + row),
            Format::Bf16 => {
                let at = 2 * (16 * column + row);
                bf16::from_le_bytes([lines[0].0[at], lines[0].0[at + 1]]).to_f32()
            }
            Format::Q8_0 => {
                let byte = lines[column / 4].0[4 * row + column % 4] ^ 0x80;
                f32::from(byte as i8) * half_at(&lines[16], 16 * (column / 32) + row)
            }
            Format::Q4K => {
                let part = column / 32;
                let at = 16 * (part % 4) + row;
                let scale = half_at(&lines[36], row) * f32::from(lines[32 + part / 4].0[at]);
                let least = half_at(&lines[36], 16 + row) * f32::from(lines[34 + part / 4].0[at]);
                scale * f32::from(nibble(column)) - least
            }
            Format::Q6K => {
                let sixteen = column / 16;
                let pairs = lines[32 + sixteen].0[4 * row + column % 4];
                let value = nibble(column) | (pairs >> (2 * (column % 16 / 4)) & 3) << 4;
                let scale = f32::from(lines[48 + sixteen / 4].0[16 * (sixteen % 4) + row] as i8);
                half_at(&lines[52], row) * scale * (f32::from(value) - 32.0)
            }
        };
    }
}

/// Quantises rows of plain numbers, `[rows][columns]`, to `[columns / 32][rows]`.
pub fn quantise_rows(crew: &Crew, level: Level, values: &[f32], columns: usize, out: &mut Vec<Block>) {
    let rows = values.len() / columns;
    out.clear();
    out.resize(columns / BLOCK * rows, Block::ZERO);
    let piece = crew.at_once(columns / BLOCK, rows * BLOCK) * rows;
    crew.fill(out, piece, |at, out| {
        for (block, out) in out.chunks_mut(rows).enumerate() {
            let first = (at * piece / rows + block) * BLOCK;
            crate::kernel::tile::quantise(level, &values[first..], columns, out);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    struct Held {
        kind: GgmlDType,
        rows: usize,
        columns: usize,
        bytes: Vec<u8>,
    }

    impl Rows for Held {
        fn kind(&self) -> GgmlDType {
            self.kind
        }
        fn rows(&self) -> usize {
            self.rows
        }
        fn columns(&self) -> usize {
            self.columns
        }
        fn read(&self, row: usize, into: &mut [u8]) -> Result<(), String> {
            into.copy_from_slice(&self.bytes[row * into.len()..][..into.len()]);
            Ok(())
        }
    }

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..count).map(|_| random.random::<f32>() * 2.0 - 1.0).collect()
    }

    fn held(kind: GgmlDType, rows: usize, columns: usize) -> Held {
        let plain = Tensor::from_vec(random(rows * columns, 1), (rows, columns), &Device::Cpu).unwrap();
        let bytes = QTensor::quantize(&plain, kind)
            .unwrap()
            .data()
            .unwrap()
            .into_owned();
        Held {
            kind,
            rows,
            columns,
            bytes,
        }
    }

    /// Packs, and compares rows and products with what candle makes of the same bytes.
    fn check(kind: GgmlDType, format: Format, rows: usize, columns: usize) {
        let crew = Crew::new(2).unwrap();
        let source = held(kind, rows, columns);
        let matrix = Matrix::pack(&crew, &source, format).unwrap();
        let mut plain = Vec::new();
        for row in 0..rows {
            let length = source.bytes_per_row();
            let wanted = plain_row(kind, &source.bytes[row * length..][..length], columns).unwrap();
            let mut found = vec![0.0; columns];
            matrix.row(row, &mut found);
            let tolerance = if format == own_format(kind, columns) && ggml(format) == kind {
                1e-6
            } else {
                0.02
            };
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!((found - wanted).abs() <= tolerance, "{kind:?} {found} {wanted}");
            }
            plain.push(found);
        }
        for level in Level::every() {
            for inputs in [1, 2, 3, 4, 5, 13] {
                let values = random(inputs * columns, 2);
                let mut blocks = Vec::new();
                let input = if format.is_quantised() {
                    quantise_rows(&crew, level, &values, columns, &mut blocks);
                    Input::Blocks {
                        blocks: &blocks,
                        rows: inputs,
                        first: 0,
                    }
                } else {
                    Input::Plain {
                        values: &values,
                        columns,
                    }
                };
                for tile in 0..matrix.tiles() {
                    let mut out = vec![[0.0; ROWS]; inputs];
                    matrix.tile_product(level, tile, input, &mut out);
                    for (found, values) in out.iter().zip(values.chunks(columns)) {
                        for row in 0..ROWS.min(rows - tile * ROWS) {
                            let weights = &plain[tile * ROWS + row];
                            let wanted: f32 = weights.iter().zip(values).map(|(a, b)| a * b).sum();
                            let error = (found[row] - wanted).abs();
                            // The activations' own rounding: 1/254 of the largest, as a random walk.
                            let allowed = if format.is_quantised() {
                                0.012 * (columns as f32).sqrt()
                            } else {
                                1e-3
                            };
                            assert!(
                                error < allowed,
                                "{kind:?} {} {inputs}: {} {wanted}",
                                level.name(),
                                found[row]
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_format_keeps_its_values_and_multiplies_on_every_level() {
        check(GgmlDType::F32, Format::F32, 37, 75);
        check(GgmlDType::F16, Format::F16, 16, 77);
        check(GgmlDType::BF16, Format::Bf16, 40, 64);
        check(GgmlDType::Q8_0, Format::Q8_0, 37, 96);
        check(GgmlDType::Q8_0, Format::Q8_0, 32, 576);
        check(GgmlDType::Q4K, Format::Q4K, 37, 512);
        check(GgmlDType::Q6K, Format::Q6K, 37, 512);
    }

    #[test]
    fn other_kinds_are_packed_with_more_bits_than_they_have() {
        for kind in [
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q2K,
            GgmlDType::Q3K,
            GgmlDType::Q5K,
        ] {
            assert_eq!(own_format(kind, 512), Format::Q8_0);
            check(kind, Format::Q8_0, 20, 512);
        }
    }

    #[test]
    fn the_same_row_gets_the_same_bits_whoever_stands_beside_it() {
        let crew = Crew::new(1).unwrap();
        for (kind, format) in [
            (GgmlDType::F32, Format::F32),
            (GgmlDType::Q8_0, Format::Q8_0),
            (GgmlDType::Q4K, Format::Q4K),
            (GgmlDType::Q6K, Format::Q6K),
        ] {
            let matrix = Matrix::pack(&crew, &held(kind, 16, 512), format).unwrap();
            for level in Level::every() {
                let product_of = |values: &[f32]| {
                    let mut out = vec![[0.0; ROWS]; values.len() / 512];
                    let mut blocks = Vec::new();
                    quantise_rows(&crew, level, values, 512, &mut blocks);
                    let input = if format.is_quantised() {
                        Input::Blocks {
                            blocks: &blocks,
                            rows: out.len(),
                            first: 0,
                        }
                    } else {
                        Input::Plain { values, columns: 512 }
                    };
                    matrix.tile_product(level, 0, input, &mut out);
                    out
                };
                let values = random(11 * 512, 3);
                let together = product_of(&values);
                for (row, values) in values.chunks(512).enumerate() {
                    assert_eq!(product_of(values)[0], together[row]);
                }
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let crew = Crew::new(1).unwrap();
        let mut source = held(GgmlDType::F32, 4, 32);
        source.bytes[400..404].copy_from_slice(&f32::NAN.to_le_bytes());
        for format in [Format::F32, Format::Q8_0] {
            let error = Matrix::pack(&crew, &source, format).err().unwrap();
            assert!(error.contains("not finite"), "{error}");
        }
        let mut source = held(GgmlDType::Q4K, 4, 256);
        source.bytes[1] = 0x7c;
        source.bytes[0] = 0;
        assert!(Matrix::pack(&crew, &source, Format::Q4K).is_err());
    }
}
