//! A branch's file: its header, its records, and how its end is found. Drawn in `docs/image-format.md`.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::activation::Read;
use shared::id::TransactionId;

use super::BranchError;
use crate::image::draft::Change;
use crate::image::log::sync_folder;
use crate::image::record::{RequestId, StoredReply};
use crate::image::segment::{
    End, HEADER_BYTES, Kind, LogError, Position, Reader, at, damaged, encode, later_batch_in, options,
};

const MAGIC: [u8; 8] = *b"BATOSBRN";
/// Raised when a record changes incompatibly.
const FORMAT: u32 = 1;
/// The longest that a file gets by changes, so that its commit fits into one record of the log.
pub const MAX_BYTES: u64 = 32 << 20;

/// What a branch was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub image: [u8; 16],
    /// Random: no other branch, dropped ones included, is taken for this one.
    pub id: [u8; 16],
    /// The newest transaction when it was begun.
    pub base: TransactionId,
    pub unix_ms: u64,
}

/// A record's body; the order of variants and fields is the encoding.
#[allow(clippy::large_enum_variant, reason = "one at a time, on its way to a file")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    Begun {
        name: String,
        author: String,
        request: Option<RequestId>,
    },
    Changed(Changed),
    /// A commit was tried: it came to be if the log has this reply after that transaction.
    Committing {
        request: RequestId,
        after: TransactionId,
    },
    /// It did not.
    Kept,
}

/// What one send or edit did to a branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    pub unix_ms: u64,
    pub author: String,
    /// Ids below this are taken.
    pub next_object: u64,
    pub changes: Vec<Change>,
    pub reads: Vec<Read>,
    pub reply: Option<StoredReply>,
}

/// The file, open for appending.
pub struct BranchFile {
    path: PathBuf,
    file: File,
    /// After the newest record.
    end: Position,
    /// Why nothing more may be written.
    broken: Option<String>,
}

impl BranchFile {
    /// Makes the file, durably, with its first record. It has its name only when it is whole.
    pub fn create(path: &Path, header: &Header, begun: &Record) -> Result<BranchFile, BranchError> {
        let new = path.with_extension("new");
        let mut file = options()
            .create(true)
            .truncate(true)
            .open(&new)
            .map_err(at(&new))?;
        let bytes = header.encode();
        file.write_all(&bytes).map_err(at(&new))?;
        let mut branch = BranchFile {
            path: path.to_path_buf(),
            file,
            end: beginning(&bytes),
            broken: None,
        };
        branch.append(begun)?;
        branch.file.sync_all().map_err(at(&new))?;
        std::fs::rename(&new, path).map_err(at(path))?;
        sync_folder(path.parent().unwrap_or(path))?;
        Ok(branch)
    }

    /// Opens a file and reads its records. A record that was never acknowledged is cut off its end.
    pub fn open(path: &Path) -> Result<(BranchFile, Header, Vec<Record>), LogError> {
        let file = options().open(path).map_err(at(path))?;
        let found = read(&file, path)?;
        if let Some(what) = found.torn {
            tracing::warn!(path = %path.display(), offset = found.end.offset, what, "a record of a branch that was never acknowledged is cut off");
            file.set_len(found.end.offset)
                .and_then(|()| file.sync_all())
                .map_err(at(path))?;
        }
        let branch = BranchFile {
            path: path.to_path_buf(),
            file,
            end: found.end,
            broken: None,
        };
        Ok((branch, found.header, found.records))
    }

    /// The header of a file, and how long its records are; nothing is changed.
    pub fn check(path: &Path) -> Result<(Header, u64), LogError> {
        let file = options().write(false).open(path).map_err(at(path))?;
        let found = read(&file, path)?;
        Ok((found.header, found.end.offset))
    }

    /// Writes a record and syncs it. After an error the file is as it was, or nothing more can be added to it.
    pub fn append(&mut self, record: &Record) -> Result<(), BranchError> {
        if let Some(why) = &self.broken {
            return Err(BranchError::Broken(why.clone()));
        }
        let body = postcard::to_allocvec(record)
            .map_err(|error| damaged(&self.path, self.end.offset, &error.to_string()))?;
        let number = TransactionId(self.end.transaction.0 + 1);
        let mut bytes = Vec::new();
        let chain = encode(&mut bytes, &body, number, number, &self.end.chain);
        let end = self.end.offset + bytes.len() as u64;
        if end > MAX_BYTES && matches!(record, Record::Changed(_)) {
            return Err(BranchError::Full);
        }
        if let Err(error) = self.file.write_all_at(&bytes, self.end.offset) {
            let taken_back = self
                .file
                .set_len(self.end.offset)
                .and_then(|()| self.file.sync_all());
            if let Err(worse) = taken_back {
                self.broken = Some(worse.to_string());
            }
            return Err(at(&self.path)(error).into());
        }
        if let Err(error) = self.file.sync_data() {
            // What the disk holds now is unknown; an opening reads it.
            self.broken = Some(error.to_string());
            return Err(at(&self.path)(error).into());
        }
        self.end = Position {
            offset: end,
            transaction: number,
            chain,
            ..self.end
        };
        Ok(())
    }

    pub fn bytes(&self) -> u64 {
        self.end.offset
    }

    /// Removes the file, durably. What is open of it stays readable.
    pub fn remove(&mut self) -> Result<(), BranchError> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(&self.path)(error).into());
            }
            _ => {}
        }
        self.broken = Some("it is gone".into());
        Ok(sync_folder(self.path.parent().unwrap_or(&self.path))?)
    }
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.image);
        bytes[32..48].copy_from_slice(&self.id);
        bytes[48..56].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.unix_ms.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..92]);
        bytes[92..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES], path: &Path) -> Result<Header, LogError> {
        if bytes[..8] != MAGIC {
            return Err(damaged(path, 0, "it is not a branch"));
        }
        match u32::from_le_bytes(array(&bytes[8..12])) {
            FORMAT => {}
            0 => return Err(damaged(path, 8, "unknown format 0")),
            newer => {
                let what = format!("it has format {newer}, and this kernel knows {FORMAT}");
                return Err(damaged(path, 8, &what));
            }
        }
        if crc32c::crc32c(&bytes[..92]) != u32::from_le_bytes(array(&bytes[92..])) {
            return Err(damaged(path, 92, "the header's checksum does not match"));
        }
        Ok(Header {
            image: array(&bytes[16..32]),
            id: array(&bytes[32..48]),
            base: TransactionId(u64::from_le_bytes(array(&bytes[48..56]))),
            unix_ms: u64::from_le_bytes(array(&bytes[56..64])),
        })
    }
}

/// What a file holds.
struct Found {
    header: Header,
    records: Vec<Record>,
    /// After the newest record that fits.
    end: Position,
    /// What stands behind it, when that is a record that was never acknowledged.
    torn: Option<&'static str>,
}

fn read(file: &File, path: &Path) -> Result<Found, LogError> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0)
        .map_err(|_| damaged(path, 0, "it is shorter than a branch's header"))?;
    let header = Header::decode(&bytes, path)?;
    let mut reader = Reader::new(file, path, Kind::Log, beginning(&bytes))?;
    let mut records = Vec::new();
    let ended = loop {
        let before = reader.position.offset;
        match reader.next_record()? {
            Ok(record) => records.push(
                postcard::from_bytes(&record.body)
                    .map_err(|_| damaged(path, before, "a record's body is none of a branch"))?,
            ),
            Err(end) => break end,
        }
    };
    let end = reader.position;
    let length = file.metadata().map_err(at(path))?.len();
    let torn = match ended {
        End::Clean if length == end.offset => None,
        End::Clean => Some("zeros follow the last record"),
        End::Bad(what) => {
            let mut rest = vec![0; length.saturating_sub(end.offset) as usize];
            file.read_exact_at(&mut rest, end.offset).map_err(at(path))?;
            if later_batch_in(&rest, TransactionId(end.transaction.0 + 1)) {
                return Err(damaged(path, end.offset, what));
            }
            Some(what)
        }
    };
    if !matches!(records.first(), Some(Record::Begun { .. })) {
        return Err(damaged(
            path,
            HEADER_BYTES as u64,
            "its first record is not its beginning",
        ));
    }
    Ok(Found {
        header,
        records,
        end,
        torn,
    })
}

/// Just after the header.
fn beginning(header: &[u8; HEADER_BYTES]) -> Position {
    Position {
        segment: 0,
        offset: HEADER_BYTES as u64,
        transaction: TransactionId(0),
        chain: *blake3::hash(header).as_bytes(),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}
