//! The arithmetic of vector search: distances of signatures, products of numbers.
//!
//! Unsafe, since functions that are compiled for a processor's instructions may only be called where it has them: each call stands
//! behind the question whether it does.
#![allow(unsafe_code)]

use std::sync::LazyLock;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

static LEVEL: LazyLock<Level> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    {
        let has512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("popcnt");
        if has512 {
            return Level::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
            return Level::Avx2;
        }
    }
    Level::Portable
});

/// Appends the distance of each signature in `signatures`, one after the other, to the asked one: how many bits differ.
pub fn distances(asked: &[u64], signatures: &[u8], out: &mut Vec<u16>) {
    match *LEVEL {
        // SAFETY: the processor has these instructions, as `LEVEL` found.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { distances_avx512(asked, signatures, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { distances_avx2(asked, signatures, out) },
        Level::Portable => distances_plain(asked, signatures, out),
    }
}

/// The product of the asked numbers and kept ones. What does not fit into 32 bits cannot come of 4,096 numbers of 15 and 8 bits
/// whose squares are bounded as [`asked`] bounds them.
pub fn product(asked: &[i16], numbers: &[u8]) -> i32 {
    match *LEVEL {
        // SAFETY: the processor has these instructions, as `LEVEL` found.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { product_avx512(asked, numbers) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { product_avx2(asked, numbers) },
        Level::Portable => product_plain(asked, numbers),
    }
}

/// An asked vector in whole numbers, and their scale.
pub fn asked(numbers: &[f32]) -> (Vec<i16>, f32) {
    // The sum of magnitudes times 127 stays within 31 bits.
    let sum: f32 = numbers.iter().map(|number| number.abs()).sum();
    let largest = numbers
        .iter()
        .fold(0.0f32, |largest, number| largest.max(number.abs()));
    if largest <= 0.0 || !sum.is_finite() {
        return (vec![0; numbers.len()], 1.0);
    }
    let most = (16_000_000.0 * largest / sum).min(32_000.0);
    let scale = largest / most;
    let whole = numbers.iter().map(|number| (number / scale).round() as i16);
    (whole.collect(), scale)
}

/// Whether a fingerprint differs from one of the others in so many bits at most.
pub fn is_near_any(fingerprint: u64, others: &[u64], most: u32) -> bool {
    match *LEVEL {
        // SAFETY: the processor has these instructions, as `LEVEL` found.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { is_near_any_avx512(fingerprint, others, most) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { is_near_any_avx2(fingerprint, others, most) },
        Level::Portable => is_near_any_plain(fingerprint, others, most),
    }
}

/// Without a branch inside of a run, so that it is done for several at once.
#[inline(always)]
fn is_near_any_plain(fingerprint: u64, others: &[u64], most: u32) -> bool {
    const RUN: usize = 128;
    let near = |count: u64, other: &u64| count + u64::from((fingerprint ^ other).count_ones() <= most);
    others.chunks(RUN).any(|run| run.iter().fold(0, near) > 0)
}

#[inline(always)]
fn distances_plain(asked: &[u64], signatures: &[u8], out: &mut Vec<u16>) {
    // The usual width gets a loop of known length.
    match <&[u64; 6]>::try_from(asked) {
        Ok(asked) => {
            let (rows, _) = signatures.as_chunks::<48>();
            out.extend(rows.iter().map(|row| {
                let (words, _) = row.as_chunks::<8>();
                let mut bits = 0;
                for at in 0..6 {
                    bits += (u64::from_le_bytes(words[at]) ^ asked[at]).count_ones();
                }
                bits as u16
            }));
        }
        Err(_) => out.extend(signatures.chunks_exact(asked.len() * 8).map(|row| {
            let (words, _) = row.as_chunks::<8>();
            let bits = words.iter().zip(asked);
            bits.map(|(word, asked)| (u64::from_le_bytes(*word) ^ asked).count_ones())
                .sum::<u32>() as u16
        })),
    }
}

#[inline(always)]
fn product_plain(asked: &[i16], numbers: &[u8]) -> i32 {
    let pairs = asked.iter().zip(numbers);
    pairs
        .map(|(asked, number)| i32::from(*asked) * i32::from(*number as i8))
        .sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt")]
fn distances_avx512(asked: &[u64], signatures: &[u8], out: &mut Vec<u16>) {
    distances_plain(asked, signatures, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn distances_avx2(asked: &[u64], signatures: &[u8], out: &mut Vec<u16>) {
    distances_plain(asked, signatures, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt")]
fn is_near_any_avx512(fingerprint: u64, others: &[u64], most: u32) -> bool {
    is_near_any_plain(fingerprint, others, most)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn is_near_any_avx2(fingerprint: u64, others: &[u64], most: u32) -> bool {
    is_near_any_plain(fingerprint, others, most)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn product_avx512(asked: &[i16], numbers: &[u8]) -> i32 {
    product_plain(asked, numbers)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn product_avx2(asked: &[i16], numbers: &[u8]) -> i32 {
    product_plain(asked, numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_computes_the_same() {
        for words in [1usize, 6, 7] {
            let signatures: Vec<u8> = (0..words * 8 * 5).map(|at| (at * 37 % 251) as u8).collect();
            let asked: Vec<u64> = (0..words as u64)
                .map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .collect();
            let (mut plain, mut best) = (Vec::new(), Vec::new());
            distances_plain(&asked, &signatures, &mut plain);
            distances(&asked, &signatures, &mut best);
            assert_eq!(plain, best);
            assert_eq!(plain.len(), 5);
        }
        let others: Vec<u64> = (1..300u64)
            .map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        for (asked, is_near) in [
            (others[7], true),
            (others[290] ^ 0b111, true),
            (others[3] ^ 0b1111, false),
            (0, false),
        ] {
            assert_eq!(is_near_any_plain(asked, &others, 3), is_near);
            assert_eq!(is_near_any(asked, &others, 3), is_near);
        }
        let numbers: Vec<u8> = (0..384).map(|at| (at * 91 % 256) as u8).collect();
        let whole: Vec<i16> = (0..384)
            .map(|at| (at * 1_003 % 65_536 - 32_768) as i16 / 4)
            .collect();
        assert_eq!(product(&whole, &numbers), product_plain(&whole, &numbers));
    }

    #[test]
    fn asked_numbers_keep_their_proportions() {
        let (whole, scale) = asked(&[0.5, -0.25, 0.0]);
        assert!((f32::from(whole[0]) * scale - 0.5).abs() < 1e-4);
        assert!((f32::from(whole[1]) * scale + 0.25).abs() < 1e-4);
        let (most, _) = asked(&[1.0; 4_096]);
        assert!(product(&most, &[127; 4_096]) > 0, "no overflow");
        assert_eq!(asked(&[0.0; 3]).0, [0; 3]);
    }
}
