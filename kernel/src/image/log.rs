//! The append-only, hash-chained transaction log. Its bytes are drawn in `docs/image-format.md`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::id::TransactionId;

use super::record::Entry;

const MAGIC: [u8; 8] = *b"BATOSLOG";
/// Raised when a record changes incompatibly.
pub const FORMAT: u32 = 1;
const SEGMENT_HEADER_BYTES: u64 = 72;
const RECORD_HEADER_BYTES: usize = 48;
/// Largest body of a record.
pub const MAX_BODY_BYTES: usize = 64 << 20;
const SEGMENT_BYTES: u64 = 64 << 20;

/// A place in the log: just after a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// First transaction of the segment.
    pub segment: u64,
    pub offset: u64,
    pub transaction: TransactionId,
    pub chain: [u8; 32],
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged at byte {offset}: {what}")]
    Damaged {
        path: PathBuf,
        offset: u64,
        what: String,
    },
    #[error("{path} has format {found}, this kernel knows {FORMAT}: it was made by a newer version")]
    Newer { path: PathBuf, found: u32 },
    #[error("a transaction of {0} bytes is larger than the {MAX_BODY_BYTES} that a record can hold")]
    TooLarge(usize),
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log is as it was before; a later batch may succeed.
    #[error("{0}")]
    TakenBack(LogError),
    /// What the disk holds is unknown; only a new kernel that reads it may go on.
    #[error("{0}")]
    Uncertain(LogError),
}

/// The log, open for appending at its end.
pub struct Log {
    folder: PathBuf,
    image: [u8; 16],
    path: PathBuf,
    file: File,
    end: Position,
}

/// Records built but not yet written.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    next: Option<(TransactionId, [u8; 32])>,
}

impl Batch {
    /// The transaction that the next record of this batch will have.
    pub fn next_transaction(&self, log: &Log) -> TransactionId {
        let before = self
            .next
            .map_or(log.end.transaction, |(transaction, _)| transaction);
        TransactionId(before.0 + 1)
    }
}

impl Log {
    /// Makes the first segment in an empty folder.
    pub fn create(folder: &Path) -> Result<Log, LogError> {
        let mut image = [0; 16];
        getrandom::fill(&mut image).map_err(|error| at(folder)(io::Error::other(error)))?;
        let end = Position {
            segment: 1,
            offset: 0,
            transaction: TransactionId(0),
            chain: [0; 32],
        };
        Log::begin_segment(folder, image, end)
    }

    /// Opens at `from` (the beginning when `None`), hands every later record to `replay`, and cuts off a torn tail.
    pub fn open(
        folder: &Path,
        from: Option<Position>,
        mut replay: impl FnMut(TransactionId, Entry, Position),
    ) -> Result<Log, LogError> {
        let segments = segments(folder)?;
        let first = from.map_or(1, |position| position.segment);
        let mut position = from;
        let mut log = None;
        let last = segments.last().copied().unwrap_or(0);
        for segment in segments.into_iter().filter(|segment| *segment >= first) {
            let (reached, image, file, path) = read_segment(
                folder,
                segment,
                position.filter(|p| p.segment == segment),
                segment == last,
                |t, e, p| {
                    replay(t, e, p);
                },
            )?;
            if let Some(before) = position
                && (before.transaction > reached.transaction)
            {
                return Err(damaged(
                    &path,
                    reached.offset,
                    "the log ends before what the index contains",
                ));
            }
            position = Some(reached);
            log = Some(Log {
                folder: folder.to_path_buf(),
                image,
                path,
                file,
                end: reached,
            });
        }
        log.ok_or_else(|| damaged(folder, 0, "the segment that the index points to is missing"))
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        let sizes = segments(&self.folder).unwrap_or_default().into_iter();
        sizes
            .filter_map(|segment| fs::metadata(segment_path(&self.folder, segment)).ok())
            .map(|m| m.len())
            .sum()
    }

    /// Adds a record to a batch; answers its transaction.
    pub fn add(&self, batch: &mut Batch, entry: &Entry) -> Result<TransactionId, LogError> {
        let body = postcard::to_allocvec(entry)
            .map_err(|error| damaged(&self.path, self.end.offset, &error.to_string()))?;
        if body.len() > MAX_BODY_BYTES {
            return Err(LogError::TooLarge(body.len()));
        }
        let (before, chain) = batch.next.unwrap_or((self.end.transaction, self.end.chain));
        let transaction = TransactionId(before.0 + 1);
        let chain = link(&chain, transaction, &body);
        batch.bytes.extend((body.len() as u32).to_le_bytes());
        batch.bytes.extend(crc32c::crc32c(&body).to_le_bytes());
        batch.bytes.extend(transaction.0.to_le_bytes());
        batch.bytes.extend(chain);
        batch.bytes.extend(body);
        batch.next = Some((transaction, chain));
        Ok(transaction)
    }

    /// Writes a batch and syncs it. After an error nothing of the batch may be acknowledged.
    pub fn append(&mut self, batch: Batch) -> Result<Position, AppendError> {
        let Some((transaction, chain)) = batch.next else {
            return Ok(self.end);
        };
        if let Err(error) = self.file.write_all_at(&batch.bytes, self.end.offset) {
            // A full disk: what was written of the batch is taken back, and the log is as it was.
            return match self
                .file
                .set_len(self.end.offset)
                .and_then(|()| self.file.sync_all())
            {
                Ok(()) => Err(AppendError::TakenBack(at(&self.path)(error))),
                Err(worse) => Err(AppendError::Uncertain(at(&self.path)(worse))),
            };
        }
        self.file
            .sync_data()
            .map_err(|error| AppendError::Uncertain(at(&self.path)(error)))?;
        self.end = Position {
            segment: self.end.segment,
            offset: self.end.offset + batch.bytes.len() as u64,
            transaction,
            chain,
        };
        if self.end.offset > SEGMENT_BYTES {
            *self = Log::begin_segment(&self.folder, self.image, self.end).map_err(AppendError::Uncertain)?;
        }
        Ok(self.end)
    }

    fn begin_segment(folder: &Path, image: [u8; 16], end: Position) -> Result<Log, LogError> {
        let segment = end.transaction.0 + 1;
        let path = segment_path(folder, segment);
        let mut header = Vec::with_capacity(SEGMENT_HEADER_BYTES as usize);
        header.extend(MAGIC);
        header.extend(FORMAT.to_le_bytes());
        header.extend([0; 4]);
        header.extend(image);
        header.extend(segment.to_le_bytes());
        header.extend(end.chain);
        // Written aside and renamed: a segment that exists has a whole header.
        let new = path.with_extension("new");
        let mut file = options()
            .create(true)
            .truncate(true)
            .open(&new)
            .map_err(at(&new))?;
        file.write_all(&header).map_err(at(&new))?;
        file.sync_all().map_err(at(&new))?;
        fs::rename(&new, &path).map_err(at(&path))?;
        sync_folder(folder)?;
        let end = Position {
            segment,
            offset: SEGMENT_HEADER_BYTES,
            ..end
        };
        Ok(Log {
            folder: folder.to_path_buf(),
            image,
            path,
            file,
            end,
        })
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn segment_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:020}.log"))
}

/// First transactions of the segments, ascending.
pub fn segments(folder: &Path) -> Result<Vec<u64>, LogError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let name = entry.map_err(at(folder))?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|n| n.parse::<u64>().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads a segment from `from` (or its first record) to its end. Only the last segment may have a torn tail.
fn read_segment(
    folder: &Path,
    segment: u64,
    from: Option<Position>,
    is_last: bool,
    mut replay: impl FnMut(TransactionId, Entry, Position),
) -> Result<(Position, [u8; 16], File, PathBuf), LogError> {
    let path = segment_path(folder, segment);
    let mut file = options().open(&path).map_err(at(&path))?;
    let (image, begin) = read_segment_header(&mut file, &path, segment)?;
    let mut position = from.unwrap_or(begin);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(position.offset)).map_err(at(&path))?;
    file.read_to_end(&mut bytes).map_err(at(&path))?;
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match read_record(rest, &position) {
            Ok((length, transaction, chain, entry)) => {
                position.offset += length as u64;
                position.transaction = transaction;
                position.chain = chain;
                replay(transaction, entry, position);
                rest = &rest[length..];
            }
            Err(what) if is_last && !has_record(rest, position.transaction) => {
                tracing::warn!(
                    offset = position.offset,
                    what,
                    "cut off a batch that was never acknowledged"
                );
                set_aside(&mut file, &path, segment, position.offset, rest)?;
                break;
            }
            Err(what) => return Err(damaged(&path, position.offset, what)),
        }
    }
    Ok((position, image, file, path))
}

fn read_segment_header(file: &mut File, path: &Path, segment: u64) -> Result<([u8; 16], Position), LogError> {
    let mut header = [0; SEGMENT_HEADER_BYTES as usize];
    file.read_exact(&mut header)
        .map_err(|_| damaged(path, 0, "it is shorter than a segment's header"))?;
    if header[..8] != MAGIC {
        return Err(damaged(path, 0, "it is not a BAT OS log"));
    }
    match u32::from_le_bytes(array(&header[8..12])) {
        FORMAT => {}
        found if found > FORMAT => {
            return Err(LogError::Newer {
                path: path.to_path_buf(),
                found,
            });
        }
        found => return Err(damaged(path, 8, &format!("unknown format {found}"))),
    }
    if u64::from_le_bytes(array(&header[32..40])) != segment {
        return Err(damaged(path, 32, "it belongs to another place in the log"));
    }
    let position = Position {
        segment,
        offset: SEGMENT_HEADER_BYTES,
        transaction: TransactionId(segment - 1),
        chain: array(&header[40..72]),
    };
    Ok((array(&header[16..32]), position))
}

/// The record at the start of `bytes`: its length, transaction, chain hash and entry; or what does not fit.
fn read_record(
    bytes: &[u8],
    before: &Position,
) -> Result<(usize, TransactionId, [u8; 32], Entry), &'static str> {
    let header = bytes
        .get(..RECORD_HEADER_BYTES)
        .ok_or("a record's header is cut short")?;
    let length = u32::from_le_bytes(array(&header[..4])) as usize;
    if length == 0 || length > MAX_BODY_BYTES {
        return Err("a record's length is impossible");
    }
    let body = bytes
        .get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length)
        .ok_or("a record is cut short")?;
    if crc32c::crc32c(body) != u32::from_le_bytes(array(&header[4..8])) {
        return Err("a record's checksum does not match");
    }
    let transaction = TransactionId(u64::from_le_bytes(array(&header[8..16])));
    if transaction.0 != before.transaction.0 + 1 {
        return Err("a record's transaction is not the next one");
    }
    let chain = link(&before.chain, transaction, body);
    if chain != header[16..48] {
        return Err("a record's chain hash does not match the history before it");
    }
    let entry = postcard::from_bytes(body).map_err(|_| "a record's body is not an entry")?;
    Ok((RECORD_HEADER_BYTES + length, transaction, chain, entry))
}

/// True when a whole record of a later transaction stands somewhere after the first byte: then the bad one is no torn tail.
fn has_record(bytes: &[u8], last: TransactionId) -> bool {
    (1..bytes.len().saturating_sub(RECORD_HEADER_BYTES)).any(|start| {
        let header = &bytes[start..start + RECORD_HEADER_BYTES];
        let length = u32::from_le_bytes(array(&header[..4])) as usize;
        let transaction = u64::from_le_bytes(array(&header[8..16]));
        (1..=MAX_BODY_BYTES).contains(&length)
            && (last.0 + 1..last.0 + 1_000_000).contains(&transaction)
            && bytes
                .get(start + RECORD_HEADER_BYTES..start + RECORD_HEADER_BYTES + length)
                .is_some_and(|body| crc32c::crc32c(body) == u32::from_le_bytes(array(&header[4..8])))
    })
}

fn set_aside(file: &mut File, path: &Path, segment: u64, offset: u64, torn: &[u8]) -> Result<(), LogError> {
    let aside = path.with_file_name(format!("torn-{segment}-{offset}"));
    fs::write(&aside, torn).map_err(at(&aside))?;
    file.set_len(offset).map_err(at(path))?;
    file.sync_all().map_err(at(path))
}

fn link(chain: &[u8; 32], transaction: TransactionId, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(chain)
        .update(&transaction.0.to_le_bytes())
        .update(body);
    *hasher.finalize().as_bytes()
}

/// Makes renames and new files in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), LogError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_path_buf();
    move |source| LogError::Io { path, source }
}

fn damaged(path: &Path, offset: u64, what: &str) -> LogError {
    LogError::Damaged {
        path: path.to_path_buf(),
        offset,
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use shared::id::Epoch;

    use super::*;

    fn entry(author: &str) -> Entry {
        Entry {
            epoch: Epoch(1),
            unix_ms: 5,
            author: author.into(),
            thought: None,
            next_object: 2,
            changes: Vec::new(),
            reply: None,
            mission: None,
        }
    }

    fn write(folder: &Path, count: u64) {
        let mut log = Log::create(folder).unwrap();
        for n in 0..count {
            let mut batch = Batch::default();
            log.add(&mut batch, &entry(&format!("a{n}"))).unwrap();
            log.append(batch).unwrap();
        }
    }

    fn read(folder: &Path) -> Result<Vec<String>, LogError> {
        let mut authors = Vec::new();
        Log::open(folder, None, |_, entry, _| authors.push(entry.author))?;
        Ok(authors)
    }

    #[test]
    fn what_was_appended_is_replayed() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 3);
        assert_eq!(read(folder.path()).unwrap(), ["a0", "a1", "a2"]);
    }

    /// Every cut of the last record must lose exactly that record and nothing before it.
    #[test]
    fn a_torn_tail_is_cut_off_wherever_it_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 3);
        let path = segment_path(folder.path(), 1);
        let whole = fs::read(&path).unwrap();
        let record = (whole.len() - SEGMENT_HEADER_BYTES as usize) / 3;
        for cut in 1..record {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            assert_eq!(read(folder.path()).unwrap(), ["a0", "a1"], "cut {cut}");
            assert_eq!(
                read(folder.path()).unwrap(),
                ["a0", "a1"],
                "second open after cut {cut}"
            );
        }
    }

    /// A flipped bit anywhere but in the last record is damage: acknowledged history follows it.
    #[test]
    fn a_flipped_bit_in_history_is_damage_not_a_tail() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 3);
        let path = segment_path(folder.path(), 1);
        let whole = fs::read(&path).unwrap();
        let record = (whole.len() - SEGMENT_HEADER_BYTES as usize) / 3;
        for at in SEGMENT_HEADER_BYTES as usize..whole.len() - record {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            assert!(
                matches!(read(folder.path()), Err(LogError::Damaged { .. })),
                "byte {at}"
            );
        }
        assert!(
            !fs::read_dir(folder.path())
                .unwrap()
                .any(|e| { e.unwrap().file_name().to_string_lossy().starts_with("torn") })
        );
    }

    #[test]
    fn a_newer_format_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 1);
        let path = segment_path(folder.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 2;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(
            read(folder.path()),
            Err(LogError::Newer { found: 2, .. })
        ));
    }
}
