//! A value of the database `postings`: the chunks of one block that have a term, and how often.

use std::collections::BTreeMap;

use super::block::IDS;

/// The key of a term in a block.
pub fn key(term: &[u8], block: u32) -> Vec<u8> {
    [term, &[0], &block.to_be_bytes()].concat()
}

/// The term and the block of a key.
pub fn split(key: &[u8]) -> Option<(&[u8], u32)> {
    let (rest, block) = key.split_last_chunk::<4>()?;
    let (zero, term) = rest.split_last()?;
    (*zero == 0).then_some((term, u32::from_be_bytes(*block)))
}

/// Where the keys of a term lie: from the first to before the second.
pub fn range(term: &[u8]) -> (Vec<u8>, Vec<u8>) {
    ([term, &[0]].concat(), [term, &[1]].concat())
}

/// Visits the chunks by ascending place, with how often each has the term. False for bytes that are no postings; what was visited
/// then means nothing.
pub fn each(bytes: &[u8], mut visit: impl FnMut(u16, u32)) -> bool {
    let mut rest = bytes;
    let mut low = 0usize;
    let mut is_first = true;
    while !rest.is_empty() {
        let Some(head) = varint(&mut rest) else {
            return false;
        };
        let times = match head & 1 {
            0 => 1,
            _ => match varint(&mut rest) {
                Some(times) => times,
                None => return false,
            },
        };
        let step = (head >> 1) as usize;
        if low + step >= IDS || (step == 0 && !is_first) {
            return false;
        }
        low += step;
        is_first = false;
        visit(low as u16, times);
    }
    true
}

/// For changing them; `None` for bytes that are no postings.
pub fn thawed(bytes: &[u8]) -> Option<BTreeMap<u16, u32>> {
    let mut found = BTreeMap::new();
    each(bytes, |low, times| {
        found.insert(low, times);
    })
    .then_some(found)
}

/// The stored form.
pub fn frozen(postings: impl IntoIterator<Item = (u16, u32)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut before = 0;
    for (low, times) in postings {
        let step = u32::from(low - before);
        before = low;
        put(&mut bytes, step << 1 | u32::from(times > 1));
        if times > 1 {
            put(&mut bytes, times);
        }
    }
    bytes
}

fn put(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn varint(rest: &mut &[u8]) -> Option<u32> {
    let (mut number, mut shift) = (0u32, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postings_come_back() {
        let all: BTreeMap<u16, u32> = [(0, 1), (1, 70_000), (300, 2), (16_383, 1)].into();
        let bytes = frozen(all.clone());
        assert_eq!(thawed(&bytes), Some(all));
        assert_eq!(bytes.len(), 1 + 4 + 3 + 3);
        assert_eq!(thawed(&[0x80]), None);
        assert_eq!(thawed(&frozen([(16_383, 1)])).map(|all| all.len()), Some(1));
        assert_eq!(
            thawed(&[frozen([(16_383, 1)]), vec![2]].concat()),
            None,
            "beyond the block"
        );
    }

    #[test]
    fn keys_sort_by_term_then_block() {
        assert!(key(b"a", 9) < key(b"a", 256) && key(b"a", 256) < key(b"ab", 0));
        assert_eq!(split(&key(b"wing", 7)), Some((&b"wing"[..], 7)));
        let (from, to) = range(b"a");
        assert!(from <= key(b"a", 0) && key(b"a", u32::MAX) < to && to < key(b"ab", 0));
    }
}
