//! A value of the database `vectors`: the signatures, scales and numbers of one block's chunks.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::id::ObjectId;

use super::vector::{Encoder, Vector, signature};

/// Ids of one block.
pub const IDS: usize = 1 << SHIFT;
const SHIFT: u32 = 8;
const BITS: usize = 4;
const ROWS: usize = BITS + IDS / 8;

/// The key of an encoder's block.
pub fn key(encoder: Encoder, block: u64) -> Vec<u8> {
    [&encoder.0[..], &block.to_be_bytes()].concat()
}

/// Where an encoder's keys lie: from the first to before the second.
pub fn range(encoder: Encoder) -> (Vec<u8>, Vec<u8>) {
    (key(encoder, 0), [&encoder.0[..], &[0xff; 9]].concat())
}

pub fn split(key: &[u8]) -> Option<(Encoder, u64)> {
    let (encoder, block) = key.split_first_chunk::<4>()?;
    Some((Encoder(*encoder), u64::from_be_bytes(block.try_into().ok()?)))
}

pub fn place(id: ObjectId) -> (u64, u8) {
    (id.0 >> SHIFT, id.0 as u8)
}

pub fn id_at(block: u64, low: u8) -> ObjectId {
    ObjectId(block << SHIFT | u64::from(low))
}

/// A stored block.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    pub dimension: usize,
    pub count: usize,
    bits: &'a [u8],
    pub signatures: &'a [u8],
    scales: &'a [u8],
    numbers: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// `None` for bytes that are none.
    pub fn read(bytes: &'a [u8]) -> Option<Matrix<'a>> {
        let dimension = usize::from(u16::from_le_bytes(*bytes.first_chunk()?));
        let count = usize::from(u16::from_le_bytes(*bytes.get(2..)?.first_chunk()?));
        let bits = bytes.get(BITS..ROWS)?;
        let (signatures, rest) = bytes[ROWS..].split_at_checked(count * signature_bytes(dimension))?;
        let (scales, numbers) = rest.split_at_checked(count * 4)?;
        (dimension > 0 && numbers.len() == count * dimension).then_some(Matrix {
            dimension,
            count,
            bits,
            signatures,
            scales,
            numbers,
        })
    }

    /// The places that have a vector, ascending.
    pub fn lows(&self) -> impl Iterator<Item = u8> {
        let bits = self.bits;
        (0..IDS)
            .filter(move |low| bits[low / 8] & 1 << (low % 8) != 0)
            .map(|low| low as u8)
    }

    pub fn is_full(&self) -> bool {
        self.count == IDS
    }

    /// Which row a place has.
    pub fn row(&self, low: u8) -> Option<usize> {
        let at = usize::from(low);
        if self.bits[at / 8] & 1 << (at % 8) == 0 {
            return None;
        }
        let whole: u32 = self.bits[..at / 8].iter().map(|byte| byte.count_ones()).sum();
        let inside = self.bits[at / 8] & ((1u16 << (at % 8)) - 1) as u8;
        Some((whole + inside.count_ones()) as usize)
    }

    pub fn scale(&self, row: usize) -> f32 {
        f32::from_le_bytes(self.scales[row * 4..].first_chunk().copied().unwrap_or_default())
    }

    pub fn numbers(&self, row: usize) -> &'a [u8] {
        &self.numbers[row * self.dimension..(row + 1) * self.dimension]
    }

    /// For changing it.
    pub fn thawed(&self, encoder: Encoder) -> BTreeMap<u8, Arc<Vector>> {
        self.lows()
            .enumerate()
            .map(|(row, low)| {
                let vector = Vector::from_parts(encoder, self.scale(row), self.numbers(row));
                (low, Arc::new(vector))
            })
            .collect()
    }
}

/// Bytes of one signature.
pub fn signature_bytes(dimension: usize) -> usize {
    dimension.div_ceil(64) * 8
}

/// The stored form of vectors of one encoder; `None` for none. One of another dimension than the first is left out, which no
/// encoder gives.
pub fn frozen(vectors: &BTreeMap<u8, Arc<Vector>>) -> Option<Vec<u8>> {
    let dimension = vectors.values().next()?.dimension();
    let kept = || {
        vectors
            .iter()
            .filter(|(_, vector)| vector.dimension() == dimension)
    };
    let count = kept().count();
    let mut bytes = vec![0; ROWS];
    bytes.reserve_exact(count * (signature_bytes(dimension) + 4 + dimension));
    bytes[..2].copy_from_slice(&(dimension as u16).to_le_bytes());
    bytes[2..BITS].copy_from_slice(&(count as u16).to_le_bytes());
    for (low, _) in kept() {
        bytes[BITS + usize::from(*low) / 8] |= 1 << (low % 8);
    }
    for (_, vector) in kept() {
        signature(vector.numbers())
            .iter()
            .for_each(|word| bytes.extend(word.to_le_bytes()));
    }
    kept().for_each(|(_, vector)| bytes.extend(vector.scale().to_le_bytes()));
    kept().for_each(|(_, vector)| bytes.extend(vector.numbers()));
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_tells_what_was_put_into_it() {
        let encoder = Encoder::of("e", 70);
        let vectors: BTreeMap<u8, Arc<Vector>> = [0u8, 7, 8, 200, 255]
            .into_iter()
            .map(|low| {
                let numbers: Vec<f32> = (0..70)
                    .map(|at| (f32::from(low) + 1.0) * ((at % 7) as f32 - 3.0))
                    .collect();
                (low, Arc::new(Vector::of(encoder, &numbers).unwrap()))
            })
            .collect();
        let bytes = frozen(&vectors).unwrap();
        assert_eq!(bytes.len(), ROWS + 5 * (16 + 4 + 70));
        let matrix = Matrix::read(&bytes).unwrap();
        assert_eq!(matrix.thawed(encoder), vectors);
        assert_eq!(
            (matrix.row(8), matrix.row(9), matrix.row(255)),
            (Some(2), None, Some(4))
        );
        assert!(Matrix::read(&bytes[1..]).is_none());
        assert!(frozen(&BTreeMap::new()).is_none());
        assert_eq!(split(&key(encoder, 9)), Some((encoder, 9)));
        let (from, to) = range(encoder);
        assert!(from <= key(encoder, 0) && key(encoder, u64::MAX) < to);
    }

    #[test]
    fn a_full_block_of_the_usual_width_fits_its_pages() {
        // 28 pages of LMDB, with its header and the checksum: 448 bytes a chunk.
        const { assert!(16 + ROWS + IDS * (48 + 4 + 384) + 4 <= 28 * 4_096) };
    }
}
