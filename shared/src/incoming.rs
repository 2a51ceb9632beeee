//! What has arrived of a stream of frames, so that several may come with one read.

use std::io::{self, Read};

use serde::de::DeserializeOwned;

use crate::frame::{FrameError, HEADER_BYTES, Header};

/// Read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes that have arrived and are not taken yet. Reading into it loses nothing when it is broken off.
#[derive(Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    /// What is before was taken.
    from: usize,
    /// Where a blocking stream reads into; empty before the first time.
    chunk: Vec<u8>,
}

impl Incoming {
    /// The next frame, if it is here whole.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let here = &self.bytes[self.from..];
        let Some((header, rest)) = here.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = Header::parse(header)?;
        let Some(payload) = rest.get(..header.payload_bytes) else {
            return Ok(None);
        };
        let document = header.decode(payload)?;
        self.from += HEADER_BYTES + header.payload_bytes;
        if self.from == self.bytes.len() {
            self.bytes.clear();
            self.from = 0;
        }
        Ok(Some(document))
    }

    /// Where the next bytes go; what was taken makes room.
    pub fn room(&mut self) -> &mut Vec<u8> {
        if self.from > 0 {
            self.bytes.drain(..self.from);
            self.from = 0;
        }
        // What one large frame took is not kept for ever.
        if self.bytes.is_empty() && self.bytes.capacity() > 4 * CHUNK_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.reserve(CHUNK_BYTES);
        &mut self.bytes
    }

    fn append(&mut self, more: usize) {
        let chunk = std::mem::take(&mut self.chunk);
        self.room().extend_from_slice(&chunk[..more]);
        self.chunk = chunk;
    }

    /// Why there is nothing more, after the stream has ended.
    pub fn end(&self) -> FrameError {
        match self.bytes.len() - self.from {
            0 => FrameError::Ended,
            _ => FrameError::Truncated,
        }
    }

    /// The next frame of a blocking stream.
    pub fn read<T: DeserializeOwned>(&mut self, stream: &mut impl Read) -> Result<T, FrameError> {
        self.chunk.resize(CHUNK_BYTES, 0);
        loop {
            if let Some(document) = self.take()? {
                return Ok(document);
            }
            match stream.read(&mut self.chunk) {
                Ok(0) => return Err(self.end()),
                Ok(more) => self.append(more),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::encode;

    /// A stream that gives so many bytes at a time.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let some = self.1.min(self.0.len()).min(into.len());
            into[..some].copy_from_slice(&self.0[..some]);
            self.0 = &self.0[some..];
            Ok(some)
        }
    }

    #[test]
    fn frames_come_however_they_were_cut() {
        let documents = ["one".to_owned(), String::new(), "three".repeat(50_000)];
        let bytes: Vec<u8> = documents.iter().flat_map(|text| encode(text).unwrap()).collect();
        for at_once in [1, 7, 16, 17, 4096, bytes.len()] {
            let mut stream = Drops(&bytes, at_once);
            let mut incoming = Incoming::default();
            for expected in &documents {
                assert_eq!(incoming.read::<String>(&mut stream).unwrap(), *expected);
            }
            let end = incoming.read::<String>(&mut stream).unwrap_err();
            assert!(matches!(end, FrameError::Ended), "{end}");
        }
    }

    #[test]
    fn a_cut_frame_and_a_giant_one_are_told() {
        let bytes = encode(&"hello".to_owned()).unwrap();
        let mut incoming = Incoming::default();
        let error = incoming
            .read::<String>(&mut &bytes[..bytes.len() - 1])
            .unwrap_err();
        assert!(matches!(error, FrameError::Truncated), "{error}");
        let mut large = bytes;
        large[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = Incoming::default().read::<String>(&mut &large[..]).unwrap_err();
        assert!(matches!(error, FrameError::TooLarge(_)), "{error}");
    }
}
