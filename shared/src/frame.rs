//! The envelope of every message between processes. Layout in `docs/protocol.md`:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `BATF` |
//! | 4 | 2 | protocol version, little-endian |
//! | 6 | 2 | zero, reserved |
//! | 8 | 4 | payload length in bytes, little-endian |
//! | 12 | 4 | CRC-32C of the payload, little-endian |
//! | 16 | … | payload: one postcard document |

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"BATF";
/// Raised when a payload changes incompatibly.
pub const VERSION: u16 = 1;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 16;
/// Largest payload that a client may send or receive.
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// Why no frame could be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer closed the stream between two frames.
    #[error("the other side closed the connection")]
    Ended,
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    #[error("these are not BAT OS frames (they begin with {0:02x?})")]
    Magic([u8; 4]),
    #[error(
        "the other side speaks protocol version {0}, this program speaks {VERSION}; use programs of one release"
    )]
    Version(u16),
    #[error("a frame of {0} bytes is larger than the {MAX_PAYLOAD_BYTES} that are allowed")]
    TooLarge(usize),
    #[error("a frame's checksum does not match its bytes")]
    Checksum,
    #[error("a frame's payload is not what was expected: {0}")]
    Payload(#[from] postcard::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FrameError {
    /// True when the peer is simply gone, so that a reconnect makes sense.
    pub fn is_disconnect(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match self {
            FrameError::Ended | FrameError::Truncated => true,
            FrameError::Io(error) => {
                matches!(
                    error.kind(),
                    BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
                )
            }
            _ => false,
        }
    }
}

/// What a checked header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub payload_bytes: usize,
    checksum: u32,
}

impl Header {
    /// Checks magic, version and bound.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Header, FrameError> {
        let [m0, m1, m2, m3, v0, v1, _, _, l0, l1, l2, l3, c0, c1, c2, c3] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(FrameError::Magic([m0, m1, m2, m3]));
        }
        match u16::from_le_bytes([v0, v1]) {
            VERSION => {}
            other => return Err(FrameError::Version(other)),
        }
        let payload_bytes = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if payload_bytes > MAX_PAYLOAD_BYTES {
            return Err(FrameError::TooLarge(payload_bytes));
        }
        Ok(Header {
            payload_bytes,
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
        })
    }

    /// The document in a payload that this header announced.
    pub fn decode<T: DeserializeOwned>(&self, payload: &[u8]) -> Result<T, FrameError> {
        if crc32c::crc32c(payload) != self.checksum {
            return Err(FrameError::Checksum);
        }
        let (document, rest) = postcard::take_from_bytes(payload)?;
        match rest {
            [] => Ok(document),
            _ => Err(FrameError::Payload(postcard::Error::DeserializeBadEncoding)),
        }
    }
}

/// One whole frame as bytes.
pub fn encode<T: Serialize>(document: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = postcard::to_extend(document, vec![0; HEADER_BYTES])?;
    let payload_bytes = bytes.len() - HEADER_BYTES;
    if payload_bytes > MAX_PAYLOAD_BYTES {
        return Err(FrameError::TooLarge(payload_bytes));
    }
    let checksum = crc32c::crc32c(&bytes[HEADER_BYTES..]);
    bytes[0..4].copy_from_slice(&MAGIC);
    bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
    bytes[8..12].copy_from_slice(&(payload_bytes as u32).to_le_bytes());
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// Writes one frame on a blocking stream.
pub fn write<T: Serialize>(stream: &mut impl Write, document: &T) -> Result<(), FrameError> {
    stream.write_all(&encode(document)?)?;
    stream.flush()?;
    Ok(())
}

/// Reads one frame from a blocking stream.
pub fn read<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T, FrameError> {
    let mut header = [0; HEADER_BYTES];
    read_header(stream, &mut header)?;
    let header = Header::parse(&header)?;
    let mut payload = vec![0; header.payload_bytes];
    stream.read_exact(&mut payload).map_err(truncated)?;
    header.decode(&payload)
}

fn read_header(stream: &mut impl Read, header: &mut [u8; HEADER_BYTES]) -> Result<(), FrameError> {
    let mut have = 0;
    while have < HEADER_BYTES {
        match stream.read(&mut header[have..]) {
            Ok(0) if have == 0 => return Err(FrameError::Ended),
            Ok(0) => return Err(FrameError::Truncated),
            Ok(more) => have += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn truncated(error: io::Error) -> FrameError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FrameError::Truncated,
        _ => FrameError::Io(error),
    }
}

/// The same on tokio streams.
#[cfg(feature = "tokio")]
pub mod asynchronous {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

    use super::{DeserializeOwned, FrameError, HEADER_BYTES, Header, Serialize, encode, truncated};

    /// Writes one frame.
    pub async fn write<T: Serialize>(
        stream: &mut (impl AsyncWrite + Unpin),
        document: &T,
    ) -> Result<(), FrameError> {
        stream.write_all(&encode(document)?).await?;
        stream.flush().await?;
        Ok(())
    }

    /// Reads one frame. Not cancel-safe: a reader task owns the stream.
    pub async fn read<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> Result<T, FrameError> {
        let mut first = [0; 1];
        if stream.read(&mut first).await? == 0 {
            return Err(FrameError::Ended);
        }
        read_after(first[0], stream).await
    }

    /// Reads the rest of a frame whose first byte is already here.
    pub async fn read_after<T: DeserializeOwned>(
        first: u8,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<T, FrameError> {
        let mut header = [0; HEADER_BYTES];
        header[0] = first;
        stream.read_exact(&mut header[1..]).await.map_err(truncated)?;
        let header = Header::parse(&header)?;
        let mut payload = vec![0; header.payload_bytes];
        stream.read_exact(&mut payload).await.map_err(truncated)?;
        header.decode(&payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let error = read::<String>(&mut &bytes[..]).unwrap_err();
        assert!(
            error.to_string().contains(expected),
            "{error} does not say {expected}"
        );
    }

    #[test]
    fn a_frame_comes_back() {
        let bytes = encode(&"hello".to_owned()).unwrap();
        assert_eq!(read::<String>(&mut &bytes[..]).unwrap(), "hello");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = encode(&"hello".to_owned()).unwrap();
        check(b"", "closed");
        check(&good[..7], "middle");
        check(&good[..good.len() - 1], "middle");
        check(b"GET / HTTP/1.1\r\n\r\n", "not BAT OS");
        let mut other = good.clone();
        other[4] = 9;
        check(&other, "version 9");
        let mut large = good.clone();
        large[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        check(&large, "larger");
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        check(&flipped, "checksum");
        let wrong = encode(&vec![0xFFu8; 3]).unwrap();
        check(&wrong, "payload");
    }
}
