//! A piece of a content.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many bytes of a content travel in one request or answer, at most.
pub const CHUNK_BYTES: usize = 1 << 20;

/// A piece of a content, at most [`CHUNK_BYTES`]. On the wire the same as a list of bytes, but written at once.
#[derive(Clone, PartialEq, Eq)]
pub struct Chunk(pub Vec<u8>);

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.0.len())
    }
}

impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(ChunkVisitor)
    }
}

struct ChunkVisitor;

impl Visitor<'_> for ChunkVisitor {
    type Value = Chunk;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Chunk, E> {
        match bytes.len() {
            length if length > CHUNK_BYTES => Err(E::invalid_length(length, &"at most one chunk")),
            _ => Ok(Chunk(bytes.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_bounded_and_looks_like_a_list_of_bytes() {
        let bytes: Vec<u8> = (0..=255).collect();
        let encoded = postcard::to_allocvec(&Chunk(bytes.clone())).unwrap();
        assert_eq!(encoded, postcard::to_allocvec(&bytes).unwrap());
        assert_eq!(postcard::from_bytes::<Chunk>(&encoded).unwrap(), Chunk(bytes));
        let large = postcard::to_allocvec(&vec![0u8; CHUNK_BYTES + 1]).unwrap();
        assert!(postcard::from_bytes::<Chunk>(&large).is_err());
    }
}
