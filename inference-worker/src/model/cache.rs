//! Keys and values of past tokens, in blocks of 32 positions that sequences may share.
//!
//! A block's elements: `[layer][key-value head]`, and for each the keys, `[head dimension][32 positions]`, so that the scores of all
//! positions are made at once, then the values, `[32 positions][head dimension]`.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::kernel::Level;
use crate::kernel::vector::widen;
use crate::model::shape::MAX_HEAD_DIMENSION;

/// Positions of a block.
pub const POSITIONS: usize = 32;

/// Sizes of a cache's blocks.
#[derive(Clone, Copy, Debug)]
pub struct CacheShape {
    pub layers: usize,
    pub key_value_heads: usize,
    pub head_dimension: usize,
    pub precision: Precision,
}

/// What an element is kept as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Four bytes: for weights that are not quantised, whose results are to be those of the checkpoint.
    Single,
    /// Two bytes.
    Half,
}

/// The storage; which block is whose is the engine's business.
pub struct Cache {
    shape: CacheShape,
    data: Data,
}

enum Data {
    Single(Vec<f32>),
    Half(Vec<u16>),
}

/// Which half of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Keys,
    Values,
}

impl CacheShape {
    pub fn block_bytes(&self) -> u64 {
        let width = match self.precision {
            Precision::Single => 4,
            Precision::Half => 2,
        };
        (self.block_elements() * width) as u64
    }

    fn block_elements(&self) -> usize {
        self.layers * self.key_value_heads * 2 * POSITIONS * self.head_dimension
    }

    /// Where the part of a head begins.
    fn at(&self, block: u32, layer: usize, head: usize, part: Part) -> usize {
        let head_part = 2 * (layer * self.key_value_heads + head) + usize::from(part == Part::Values);
        block as usize * self.block_elements() + head_part * POSITIONS * self.head_dimension
    }
}

impl Cache {
    /// Memory is taken from the system when a block is first written.
    pub fn new(shape: CacheShape, blocks: usize) -> Cache {
        let elements = blocks * shape.block_elements();
        let data = match shape.precision {
            Precision::Single => Data::Single(vec![0.0; elements]),
            Precision::Half => Data::Half(vec![0; elements]),
        };
        Cache { shape, data }
    }

    /// Puts one head's key or value at a position of a block.
    pub fn write(
        &mut self,
        block: u32,
        layer: usize,
        head: usize,
        part: Part,
        position: usize,
        value: &[f32],
    ) {
        let at = self.shape.at(block, layer, head, part);
        let (first, step) = match part {
            Part::Keys => (at + position, POSITIONS),
            Part::Values => (at + position * value.len(), 1),
        };
        let places = first..at + POSITIONS * value.len();
        match &mut self.data {
            Data::Single(data) => {
                for (place, value) in data[places].iter_mut().step_by(step).zip(value) {
                    *place = *value;
                }
            }
            Data::Half(data) => {
                let mut halves = [f16::ZERO; MAX_HEAD_DIMENSION];
                let halves = &mut halves[..value.len()];
                halves.convert_from_f32_slice(value);
                for (place, half) in data[places].iter_mut().step_by(step).zip(halves) {
                    *place = half.to_bits();
                }
            }
        }
    }

    /// A head's keys or values of a block; `room` holds them when they must be widened. Positions not written yet are zero, or what
    /// another sequence left there.
    pub fn read<'a>(
        &'a self,
        level: Level,
        (block, layer, head): (u32, usize, usize),
        part: Part,
        room: &'a mut [f32],
    ) -> &'a [f32] {
        let at = self.shape.at(block, layer, head, part);
        let length = POSITIONS * self.shape.head_dimension;
        match &self.data {
            Data::Single(data) => &data[at..at + length],
            Data::Half(data) => {
                widen(level, &data[at..at + length], &mut room[..length]);
                &room[..length]
            }
        }
    }
}
