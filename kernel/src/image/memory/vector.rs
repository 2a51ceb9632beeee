//! What a text means, as it is kept: numbers of one byte and their scale, and the encoder that said it.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The encoder's mark and the scale.
const HEAD: usize = 8;
/// The largest magnitude of a kept number.
const LARGEST: f32 = 127.0;
/// A vector has so many numbers at most.
pub const MOST: usize = 4_096;

/// Which encoder a vector is of: vectors of different ones are never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Encoder(pub [u8; 4]);

impl Encoder {
    pub fn of(name: &str, dimension: usize) -> Encoder {
        let mut hasher = blake3::Hasher::new();
        hasher.update(name.as_bytes());
        hasher.update(&(dimension as u64).to_le_bytes());
        let mut mark = [0; 4];
        mark.copy_from_slice(&hasher.finalize().as_bytes()[..4]);
        Encoder(mark)
    }
}

/// A chunk's vector in its kept form; see `docs/memory.md`.
#[derive(Clone, PartialEq, Eq)]
pub struct Vector(Vec<u8>);

impl Vector {
    /// Rounds numbers to parts of the largest, and keeps the scale by which the product with the vector itself comes out exactly: what is
    /// most like a vector is compared most exactly (the case of score-aware quantisation, Guo et al. 2020, with one scale).
    ///
    /// `None` where there is none, too many, or one that is not finite.
    pub fn of(encoder: Encoder, numbers: &[f32]) -> Option<Vector> {
        let largest = numbers
            .iter()
            .fold(0.0f32, |largest, number| largest.max(number.abs()));
        if numbers.is_empty()
            || numbers.len() > MOST
            || !largest.is_finite()
            || numbers.iter().any(|n| n.is_nan())
        {
            return None;
        }
        let part = if largest > 0.0 { largest / LARGEST } else { 1.0 };
        let rounded: Vec<f32> = numbers.iter().map(|number| (number / part).round()).collect();
        let product = |other: &[f32]| {
            let pairs = numbers.iter().zip(other);
            pairs
                .map(|(one, other)| f64::from(*one) * f64::from(*other))
                .sum::<f64>()
        };
        let exact = (product(numbers) / product(&rounded)) as f32;
        // Nothing but zeros, and numbers too small for a scale of single precision, keep the plain one.
        let scale = if exact.is_normal() && exact > 0.0 {
            exact
        } else {
            part
        };
        let mut bytes = Vec::with_capacity(HEAD + numbers.len());
        bytes.extend(encoder.0);
        bytes.extend(scale.to_le_bytes());
        bytes.extend(rounded.iter().map(|number| *number as i8 as u8));
        Some(Vector(bytes))
    }

    /// From its kept form; `None` for bytes that are none.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Vector> {
        (HEAD + 1..=HEAD + MOST)
            .contains(&bytes.len())
            .then_some(Vector(bytes))
    }

    /// From its parts in a block.
    pub fn from_parts(encoder: Encoder, scale: f32, numbers: &[u8]) -> Vector {
        let mut bytes = Vec::with_capacity(HEAD + numbers.len());
        bytes.extend(encoder.0);
        bytes.extend(scale.to_le_bytes());
        bytes.extend(numbers);
        Vector(bytes)
    }

    pub fn encoder(&self) -> Encoder {
        Encoder(self.0.first_chunk().copied().unwrap_or_default())
    }

    pub fn scale(&self) -> f32 {
        f32::from_le_bytes(self.0[4..].first_chunk().copied().unwrap_or_default())
    }

    /// As bytes of `i8`.
    pub fn numbers(&self) -> &[u8] {
        &self.0[HEAD..]
    }

    pub fn dimension(&self) -> usize {
        self.0.len() - HEAD
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The sign of each number as a bit, in words.
pub fn signature(numbers: &[u8]) -> Vec<u64> {
    let word = |chunk: &[u8]| {
        let bits = chunk.iter().enumerate();
        bits.fold(0, |word, (bit, number)| {
            word | u64::from((*number as i8) > 0) << bit
        })
    };
    numbers.chunks(64).map(word).collect()
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vector({} numbers)", self.dimension())
    }
}

impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vector, E> {
        Vector::from_bytes(bytes.to_vec()).ok_or_else(|| E::invalid_length(bytes.len(), &"a vector"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_a_part_of_the_largest() {
        let encoder = Encoder::of("e", 3);
        let vector = Vector::of(encoder, &[0.5, -0.25, 0.001]).unwrap();
        assert_eq!(vector.encoder(), encoder);
        assert_eq!(vector.numbers(), [127, -64i8 as u8, 0]);
        assert!((vector.scale() - 0.5 / 127.0).abs() < 1e-4);
        let numbers = vector.numbers().iter().map(|number| f32::from(*number as i8));
        let own: f32 = numbers
            .zip([0.5, -0.25, 0.001])
            .map(|(one, other)| one * other)
            .sum();
        let square = 0.25 + 0.0625 + 1e-6;
        assert!(
            (own * vector.scale() - square).abs() < 1e-6,
            "the product with itself"
        );
        assert_eq!(Vector::of(encoder, &[0.0, 0.0]).unwrap().scale(), 1.0);
        assert_eq!(signature(vector.numbers()), [1]);
        let encoded = postcard::to_allocvec(&vector).unwrap();
        assert_eq!(postcard::from_bytes::<Vector>(&encoded).unwrap(), vector);
        assert!(postcard::from_bytes::<Vector>(&[3, 1, 2, 3]).is_err());
        for bad in [&[][..], &[f32::NAN], &[f32::INFINITY, 1.0]] {
            assert!(Vector::of(encoder, bad).is_none());
        }
        assert_ne!(Encoder::of("e", 3), Encoder::of("e", 4));
    }
}
