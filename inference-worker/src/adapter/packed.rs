//! An adapter as the kernels read it: one memory map of its own, so that the system has its memory back when it is dropped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::quantized::GgmlDType;
use memmap2::MmapMut;

use super::file::{AdapterFile, Pair};
use super::{Base, Group, Product};
use crate::kernel::low_rank::Thin;
use crate::kernel::tile::{Format, Line, ROWS, floats_of};
use crate::model::matrix::{Rows, pack_tile};

const LINE_BYTES: usize = size_of::<Line>();
const PAGE_BYTES: u64 = 4096;

static SERIALS: AtomicU64 = AtomicU64::new(0);

/// Weights of an adapter, ready for the forward pass.
pub struct Adapter {
    /// No other has it, as long as the process lives.
    serial: u64,
    memory: MmapMut,
    layers: Vec<[Option<Packed>; 4]>,
}

/// What a group of products has of an adapter.
#[derive(Debug)]
struct Packed {
    /// Of `A`.
    format: Format,
    columns: usize,
    /// All ranks together.
    rank: usize,
    /// Its first line.
    a: usize,
    thin: Thin,
    /// By the group's products.
    parts: [Option<Part>; 3],
}

#[derive(Clone, Copy, Debug)]
struct Part {
    /// Where its ranks begin among the group's.
    first: usize,
    rank: usize,
    /// Its first line.
    b: usize,
}

/// The plan of an adapter: where each part will lie, before any memory is taken.
pub struct Layout<'a> {
    file: &'a AdapterFile,
    layers: Vec<[Option<Packed>; 4]>,
    lines: usize,
}

/// What of an adapter belongs to one group of a layer.
#[derive(Clone, Copy)]
pub struct GroupOf<'a> {
    lines: &'a [Line],
    packed: &'a Packed,
}

/// `s·B` of one product.
#[derive(Clone, Copy)]
pub struct Thinned<'a> {
    lines: &'a [Line],
    pub thin: Thin,
    pub first: usize,
    pub rank: usize,
}

impl<'a> Layout<'a> {
    pub fn of(file: &'a AdapterFile, base: &Base) -> Layout<'a> {
        let mut lines = 0;
        let layers = (0..base.shape.layers).map(|layer| {
            Group::ALL.map(|group| {
                let (packed, end) = place(file, base, layer, group, lines)?;
                lines = end;
                Some(packed)
            })
        });
        let layers = layers.collect();
        Layout { file, layers, lines }
    }

    /// Memory that it will take.
    pub fn bytes(&self) -> u64 {
        ((self.lines * LINE_BYTES) as u64).next_multiple_of(PAGE_BYTES)
    }

    /// Reads, checks and packs the numbers.
    pub fn pack(self) -> Result<Adapter, String> {
        let mut memory = MmapMut::map_anon((self.lines * LINE_BYTES).max(1))
            .map_err(|error| format!("no memory for {} bytes: {error}", self.bytes()))?;
        let lines: &mut [Line] = bytemuck::cast_slice_mut(&mut memory[..self.lines * LINE_BYTES]);
        for (layer, groups) in self.layers.iter().enumerate() {
            for (group, packed) in Group::ALL.iter().zip(groups) {
                if let Some(packed) = packed {
                    fill(&self.file.pairs, layer, *group, packed, lines)?;
                }
            }
        }
        Ok(Adapter {
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
            memory,
            layers: self.layers,
        })
    }
}

/// Where a group's parts lie from line `at` on, and the line behind them.
fn place(file: &AdapterFile, base: &Base, layer: usize, group: Group, at: usize) -> Option<(Packed, usize)> {
    let products = group.products();
    let columns = products[0].size(&base.shape).1;
    let is_quantised = base.is_quantised(layer, group);
    let (format, thin) = match is_quantised {
        true => (Format::Q8_0, Thin::Bytes),
        false => (Format::F32, Thin::F32),
    };
    let ranks = products
        .iter()
        .map(|product| file.pairs.get(&(layer, *product)).map(|pair| pair.rank));
    let rank: usize = ranks.clone().flatten().sum();
    if rank == 0 {
        return None;
    }
    let mut end = at + rank.div_ceil(ROWS) * tile_lines(format, columns);
    let mut parts = [None; 3];
    let mut first = 0;
    for ((part, rank), product) in parts.iter_mut().zip(ranks).zip(products) {
        let Some(rank) = rank else { continue };
        *part = Some(Part { first, rank, b: end });
        first += rank;
        end += product.size(&base.shape).0.div_ceil(ROWS) * thin.lines(rank);
    }
    let packed = Packed {
        format,
        columns,
        rank,
        a: at,
        thin,
        parts,
    };
    Some((packed, end))
}

fn tile_lines(format: Format, columns: usize) -> usize {
    columns.div_ceil(format.columns()) * format.lines()
}

fn fill(
    pairs: &BTreeMap<(usize, Product), Pair>,
    layer: usize,
    group: Group,
    packed: &Packed,
    lines: &mut [Line],
) -> Result<(), String> {
    let found: Vec<(&Product, &Part, &Pair)> = group
        .products()
        .iter()
        .zip(&packed.parts)
        .filter_map(|(product, part)| Some((product, part.as_ref()?, pairs.get(&(layer, *product))?)))
        .collect();
    let wrong = |product: &Product, half: &str, what: String| {
        format!("layers.{layer}.{}.{half}: {what}", product.name())
    };
    let stack = Stack {
        columns: packed.columns,
        rank: packed.rank,
        parts: found.iter().map(|(_, part, pair)| (part.first, *pair)).collect(),
    };
    let per_tile = tile_lines(packed.format, packed.columns);
    for tile in 0..packed.rank.div_ceil(ROWS) {
        let rows = ROWS.min(packed.rank - tile * ROWS);
        let lines = &mut lines[packed.a + tile * per_tile..][..per_tile];
        pack_tile(&stack, packed.format, tile * ROWS, rows, lines)
            .map_err(|what| wrong(stack.product(&found, tile * ROWS), "lora_A", what))?;
    }
    for (product, part, pair) in found {
        let per_tile = packed.thin.lines(part.rank);
        for tile in 0..pair.b.rows().div_ceil(ROWS) {
            let rows = ROWS.min(pair.b.rows() - tile * ROWS);
            let lines = &mut lines[part.b + tile * per_tile..][..per_tile];
            let values = pair.b.plain_rows(tile * ROWS, rows);
            let packing = values.and_then(|values| thin_tile(packed.thin, &values, pair, lines));
            packing.map_err(|what| wrong(product, "lora_B", what))?;
        }
    }
    Ok(())
}

/// `[rows][rank]`, scaled, as a tile.
fn thin_tile(thin: Thin, values: &[f32], pair: &Pair, lines: &mut [Line]) -> Result<(), String> {
    for (row, values) in values.chunks(pair.rank).enumerate() {
        let scaled: Vec<f32> = values.iter().map(|value| value * pair.scale).collect();
        if scaled.iter().any(|value| !value.is_finite()) {
            return Err("it holds numbers that are not finite".into());
        }
        match thin {
            Thin::F32 => {
                for (line, value) in lines.iter_mut().zip(&scaled) {
                    line.0[4 * row..4 * row + 4].copy_from_slice(&value.to_le_bytes());
                }
            }
            Thin::Bytes => {
                let largest = scaled.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                let scale = largest / 127.0;
                let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
                lines[0].0[4 * row..4 * row + 4].copy_from_slice(&scale.to_le_bytes());
                for (column, value) in scaled.iter().enumerate() {
                    let byte = (value * inverse).round() as i8;
                    lines[1 + column / 4].0[16 * (column % 4) + row] = byte as u8;
                }
            }
        }
    }
    Ok(())
}

/// `A` of a group's products, one under the other, as rows of plain numbers.
struct Stack<'a> {
    columns: usize,
    rank: usize,
    parts: Vec<(usize, &'a Pair)>,
}

impl Stack<'_> {
    fn product<'p>(&self, found: &[(&'p Product, &Part, &Pair)], row: usize) -> &'p Product {
        let place = self.parts.iter().rposition(|(first, _)| *first <= row);
        found[place.unwrap_or(0)].0
    }
}

impl Rows for Stack<'_> {
    fn kind(&self) -> GgmlDType {
        GgmlDType::F32
    }

    fn rows(&self) -> usize {
        self.rank
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn read(&self, row: usize, into: &mut [u8]) -> Result<(), String> {
        let part = self.parts.iter().rev().find(|(first, _)| *first <= row);
        let Some((first, pair)) = part else {
            return Err("it has no such row".into());
        };
        let values = pair.a.plain_rows(row - first, 1)?;
        for (bytes, value) in into.as_chunks_mut().0.iter_mut().zip(values) {
            *bytes = f32::to_le_bytes(value);
        }
        Ok(())
    }
}

impl Adapter {
    /// What it has for a group of a layer, if anything.
    pub fn group(&self, layer: usize, group: Group) -> Option<GroupOf<'_>> {
        let packed = self.layers.get(layer)?[group as usize].as_ref()?;
        Some(GroupOf {
            lines: bytemuck::cast_slice(&self.memory[..self.memory.len() / LINE_BYTES * LINE_BYTES]),
            packed,
        })
    }

    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> u64 {
        (self.memory.len() as u64).next_multiple_of(PAGE_BYTES)
    }
}

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Adapter({} bytes)", self.memory.len())
    }
}

impl<'a> GroupOf<'a> {
    pub fn format(&self) -> Format {
        self.packed.format
    }

    pub fn columns(&self) -> usize {
        self.packed.columns
    }

    /// Tiles of `A`.
    pub fn tiles(&self) -> usize {
        self.packed.rank.div_ceil(ROWS)
    }

    pub fn tile(&self, tile: usize) -> &'a [Line] {
        let per_tile = tile_lines(self.packed.format, self.packed.columns);
        &self.lines[self.packed.a + tile * per_tile..][..per_tile]
    }

    /// `A`, `[rank][columns]`, and `s·B`, `[rows][rank]`, of the group's product at `place`, as plain numbers; only of what is packed so.
    pub fn factors(&self, place: usize, rows: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let thinned = self.product(place)?;
        debug_assert_eq!((self.packed.format, thinned.thin), (Format::F32, Thin::F32));
        let ranks = thinned.first..thinned.first + thinned.rank;
        let a = ranks.flat_map(|row| {
            let tile = self.tile(row / ROWS);
            (0..self.packed.columns).map(move |column| floats_of(&tile[column])[row % ROWS])
        });
        let b = (0..rows).flat_map(|row| {
            let tile = thinned.tiles(row / ROWS..row / ROWS + 1);
            (0..thinned.rank).map(move |column| floats_of(&tile[column])[row % ROWS])
        });
        Some((a.collect(), b.collect()))
    }

    /// What the group's product at `place` has.
    pub fn product(&self, place: usize) -> Option<Thinned<'a>> {
        let part = self.packed.parts[place]?;
        Some(Thinned {
            lines: &self.lines[part.b..],
            thin: self.packed.thin,
            first: part.first,
            rank: part.rank,
        })
    }
}

impl<'a> Thinned<'a> {
    pub fn tiles(&self, tiles: Range<usize>) -> &'a [Line] {
        let per_tile = self.thin.lines(self.rank);
        &self.lines[tiles.start * per_tile..tiles.end * per_tile]
    }
}
