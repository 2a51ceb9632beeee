//! A value of the database `chunks`: which ids of a block are chunks, their fingerprints and lengths.

use std::collections::BTreeMap;

use shared::id::ObjectId;

/// Ids of one block.
pub const IDS: usize = 1 << SHIFT;
const SHIFT: u32 = 14;
const WORDS: usize = IDS / 64;
const COUNT: usize = 4;
const TOTAL: usize = 8;
const BITS: usize = COUNT + TOTAL;
const ROWS: usize = BITS + IDS / 8;

/// The block of an id, and the id's place in it. Ids beyond 46 bits are never given out.
pub fn place(id: ObjectId) -> (u32, u16) {
    ((id.0 >> SHIFT) as u32, (id.0 as usize & (IDS - 1)) as u16)
}

/// The id at a place of a block.
pub fn id_at(block: u32, low: u16) -> ObjectId {
    ObjectId(u64::from(block) << SHIFT | u64::from(low))
}

/// What is known of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub fingerprint: u64,
    pub length: u16,
}

/// A stored block.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    bits: &'a [u8],
    fingerprints: &'a [u8],
    lengths: &'a [u8],
    total: u64,
}

impl<'a> Block<'a> {
    /// `None` for bytes that are none.
    pub fn read(bytes: &'a [u8]) -> Option<Block<'a>> {
        let count = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
        let total = u64::from_le_bytes(bytes.get(COUNT..BITS)?.try_into().ok()?);
        let (bits, rows) = bytes.get(BITS..)?.split_at_checked(IDS / 8)?;
        let (fingerprints, lengths) = rows.split_at_checked(count * 8)?;
        (lengths.len() == count * 2).then_some(Block {
            bits,
            fingerprints,
            lengths,
            total,
        })
    }

    pub fn count(&self) -> usize {
        self.lengths.len() / 2
    }

    /// The sum of the lengths.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn word(&self, at: usize) -> u64 {
        let bytes = self.bits[at * 8..].first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(bytes)
    }

    pub fn has(&self, low: u16) -> bool {
        self.bits[usize::from(low) / 8] & 1 << (low % 8) != 0
    }

    pub fn row(&self, low: u16) -> Option<Row> {
        if !self.has(low) {
            return None;
        }
        let at = usize::from(low) / 64;
        let before: u32 = (0..at).map(|at| self.word(at).count_ones()).sum();
        let inside = self.word(at) & ((1 << (low % 64)) - 1);
        self.nth((before + inside.count_ones()) as usize)
    }

    fn nth(&self, row: usize) -> Option<Row> {
        Some(Row {
            fingerprint: u64::from_le_bytes(*self.fingerprints.get(row * 8..)?.first_chunk()?),
            length: u16::from_le_bytes(*self.lengths.get(row * 2..)?.first_chunk()?),
        })
    }

    /// Every chunk by ascending id.
    pub fn rows(&self) -> impl Iterator<Item = (u16, Row)> {
        let lows = (0..WORDS).flat_map(|at| {
            let mut word = self.word(at);
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some((at * 64) as u16 + bit as u16)
            })
        });
        lows.enumerate()
            .filter_map(|(row, low)| Some((low, self.nth(row)?)))
    }

    /// For changing it.
    pub fn thawed(&self) -> BTreeMap<u16, Row> {
        self.rows().collect()
    }
}

/// The stored form of rows; `None` for a block that is empty.
pub fn frozen(rows: &BTreeMap<u16, Row>) -> Option<Vec<u8>> {
    if rows.is_empty() {
        return None;
    }
    let mut bytes = vec![0; ROWS];
    let total: u64 = rows.values().map(|row| u64::from(row.length)).sum();
    bytes[..COUNT].copy_from_slice(&(rows.len() as u32).to_le_bytes());
    bytes[COUNT..BITS].copy_from_slice(&total.to_le_bytes());
    for low in rows.keys() {
        bytes[BITS + usize::from(*low) / 8] |= 1 << (low % 8);
    }
    rows.values()
        .for_each(|row| bytes.extend(row.fingerprint.to_le_bytes()));
    rows.values()
        .for_each(|row| bytes.extend(row.length.to_le_bytes()));
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_tells_what_was_put_into_it() {
        let rows: BTreeMap<u16, Row> = [0u16, 1, 63, 64, 5_000, 16_383]
            .into_iter()
            .map(|low| {
                let row = Row {
                    fingerprint: u64::from(low) << 40 | 7,
                    length: low / 3,
                };
                (low, row)
            })
            .collect();
        let bytes = frozen(&rows).unwrap();
        let block = Block::read(&bytes).unwrap();
        assert_eq!((block.count(), block.thawed()), (6, rows.clone()));
        assert_eq!(block.row(5_000), Some(rows[&5_000]));
        assert_eq!((block.row(2), block.has(64), block.has(65)), (None, true, false));
        assert_eq!(block.total(), 21 + 21 + 1_666 + 5_461);
        assert!(Block::read(&bytes[..bytes.len() - 1]).is_none());
        assert!(frozen(&BTreeMap::new()).is_none());
    }

    #[test]
    fn ids_have_places() {
        for id in [1, 16_383, 16_384, 1 << 40] {
            let (block, low) = place(ObjectId(id));
            assert_eq!(id_at(block, low), ObjectId(id));
        }
    }
}
