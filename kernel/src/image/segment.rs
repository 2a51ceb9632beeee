//! One file of the log: its header, its records, and how their end is found. Drawn in `docs/image-format.md`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::id::TransactionId;

use super::record::Place;

const MAGIC: [u8; 8] = *b"BATOSLOG";
/// Raised when a record changes incompatibly.
pub const FORMAT: u32 = 2;
pub const HEADER_BYTES: usize = 96;
pub const RECORD_HEADER_BYTES: usize = 56;
/// Largest body of a record.
pub const MAX_BODY_BYTES: usize = 64 << 20;

/// A place in the log just after a record, with all that is needed to go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// First transaction of the segment.
    pub segment: u64,
    pub offset: u64,
    pub transaction: TransactionId,
    pub chain: [u8; 32],
}

impl Position {
    /// Where the next record will stand.
    pub fn place(&self) -> Place {
        Place {
            segment: self.segment,
            offset: self.offset,
        }
    }
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{path}: {source}{}", advice(source))]
    Io { path: PathBuf, source: io::Error },
    /// Nothing that was done to the folder since may be believed, whatever a later sync says.
    #[error("{path}: its names could not be made durable: {source}{}", advice(source))]
    Unsynced { path: PathBuf, source: io::Error },
    #[error("{path} is damaged at byte {offset}: {what}")]
    Damaged {
        path: PathBuf,
        offset: u64,
        what: String,
    },
    #[error("{path} has format {found}, this kernel knows {FORMAT}: it was made by a newer version")]
    Newer { path: PathBuf, found: u32 },
    #[error(
        "{path} has format {found}, this kernel knows only {FORMAT}: an older version made it; open it with that one, or begin an empty home"
    )]
    Older { path: PathBuf, found: u32 },
    #[error("a transaction of {0} bytes is larger than the {MAX_BODY_BYTES} that a record can hold")]
    TooLarge(usize),
}

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Log,
    Base,
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub image: [u8; 16],
    /// Log: first transaction of the segment; base: the transaction whose state it holds.
    pub transaction: u64,
    /// Log: chain hash before that transaction; base: of it.
    pub chain: [u8; 32],
    pub unix_ms: u64,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.kind == Kind::Base).to_le_bytes());
        bytes[16..32].copy_from_slice(&self.image);
        bytes[32..40].copy_from_slice(&self.transaction.to_le_bytes());
        bytes[40..72].copy_from_slice(&self.chain);
        bytes[72..80].copy_from_slice(&self.unix_ms.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..92]);
        bytes[92..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads and checks the header of a segment that should begin with (or be the base of) `transaction`.
    pub fn read(file: &File, path: &Path, transaction: u64) -> Result<Header, LogError> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0)
            .map_err(|_| damaged(path, 0, "it is shorter than a segment's header"))?;
        if bytes[..8] != MAGIC {
            return Err(damaged(path, 0, "it is not a BAT OS log"));
        }
        let path_of = || path.to_path_buf();
        match u32::from_le_bytes(array(&bytes[8..12])) {
            FORMAT => {}
            found if found > FORMAT => {
                return Err(LogError::Newer {
                    path: path_of(),
                    found,
                });
            }
            0 => return Err(damaged(path, 8, "unknown format 0")),
            found => {
                return Err(LogError::Older {
                    path: path_of(),
                    found,
                });
            }
        }
        if crc32c::crc32c(&bytes[..92]) != u32::from_le_bytes(array(&bytes[92..96])) {
            return Err(damaged(path, 92, "the header's checksum does not match"));
        }
        let kind = match u32::from_le_bytes(array(&bytes[12..16])) {
            0 => Kind::Log,
            1 => Kind::Base,
            _ => return Err(damaged(path, 12, "it is of no known kind")),
        };
        let header = Header {
            kind,
            image: array(&bytes[16..32]),
            transaction: u64::from_le_bytes(array(&bytes[32..40])),
            chain: array(&bytes[40..72]),
            unix_ms: u64::from_le_bytes(array(&bytes[72..80])),
        };
        match header.transaction == transaction {
            true => Ok(header),
            false => Err(damaged(path, 32, "it belongs to another place in the log")),
        }
    }

    /// Just after the header.
    pub fn begin(&self) -> Position {
        Position {
            segment: self.transaction,
            offset: HEADER_BYTES as u64,
            transaction: TransactionId(match self.kind {
                Kind::Log => self.transaction.saturating_sub(1),
                Kind::Base => self.transaction,
            }),
            chain: self.chain,
        }
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug)]
pub struct RecordHeader {
    pub length: usize,
    sum: u32,
    pub transaction: TransactionId,
    /// First transaction of the batch.
    pub batch: TransactionId,
    pub chain: [u8; 32],
}

impl RecordHeader {
    fn read(bytes: &[u8; RECORD_HEADER_BYTES]) -> RecordHeader {
        RecordHeader {
            length: u32::from_le_bytes(array(&bytes[..4])) as usize,
            sum: u32::from_le_bytes(array(&bytes[4..8])),
            transaction: TransactionId(u64::from_le_bytes(array(&bytes[8..16]))),
            batch: TransactionId(u64::from_le_bytes(array(&bytes[16..24]))),
            chain: array(&bytes[24..56]),
        }
    }

    fn fits(&self, header: &[u8; RECORD_HEADER_BYTES], body: &[u8]) -> bool {
        self.sum == crc32c::crc32c_append(crc32c::crc32c(&header[8..]), body)
    }
}

/// Adds a record to `out`; answers its chain hash.
pub fn encode(
    out: &mut Vec<u8>,
    body: &[u8],
    transaction: TransactionId,
    batch: TransactionId,
    chain: &[u8; 32],
) -> [u8; 32] {
    let chain = link(chain, transaction, body);
    let mut header = [0; RECORD_HEADER_BYTES];
    header[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&transaction.0.to_le_bytes());
    header[16..24].copy_from_slice(&batch.0.to_le_bytes());
    header[24..].copy_from_slice(&chain);
    let sum = crc32c::crc32c_append(crc32c::crc32c(&header[8..]), body);
    header[4..8].copy_from_slice(&sum.to_le_bytes());
    out.extend(header);
    out.extend(body);
    chain
}

fn link(chain: &[u8; 32], transaction: TransactionId, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(chain)
        .update(&transaction.0.to_le_bytes())
        .update(body);
    *hasher.finalize().as_bytes()
}

/// A record that was read and whose checksum, number and chain hash fit.
pub struct Record {
    pub header: RecordHeader,
    pub place: Place,
    pub body: Vec<u8>,
}

/// Reads the records of a segment one after the other; memory is that of one record.
pub struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    /// After the newest record that fitted.
    pub position: Position,
    kind: Kind,
}

/// What stands at the end of the records that fit.
#[derive(Debug)]
pub enum End {
    /// Zeros, or the end of the file.
    Clean,
    /// Something that is no record; what does not fit.
    Bad(&'static str),
}

impl Reader {
    /// Reads from `position`, which must be one of this segment.
    pub fn new(file: &File, path: &Path, kind: Kind, position: Position) -> Result<Reader, LogError> {
        let mut input = BufReader::with_capacity(256 << 10, file.try_clone().map_err(at(path))?);
        input.seek(SeekFrom::Start(position.offset)).map_err(at(path))?;
        Ok(Reader {
            path: path.to_path_buf(),
            input,
            position,
            kind,
        })
    }

    /// The next record, or what stands at the end.
    pub fn next_record(&mut self) -> Result<Result<Record, End>, LogError> {
        let mut header = [0; RECORD_HEADER_BYTES];
        let got = fill(&mut self.input, &mut header).map_err(at(&self.path))?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(Err(self.zeros_follow()?));
        }
        if got < RECORD_HEADER_BYTES {
            return Ok(Err(End::Bad("a record's header is cut short")));
        }
        let read = RecordHeader::read(&header);
        if read.length == 0 || read.length > MAX_BODY_BYTES {
            return Ok(Err(End::Bad("a record's length is impossible")));
        }
        let mut body = Vec::new();
        let got = (&mut self.input)
            .take(read.length as u64)
            .read_to_end(&mut body)
            .map_err(at(&self.path))?;
        if got < read.length {
            return Ok(Err(End::Bad("a record is cut short")));
        }
        if !read.fits(&header, &body) {
            return Ok(Err(End::Bad("a record's checksum does not match")));
        }
        let expected = match self.kind {
            Kind::Log => self.position.transaction.0 + 1,
            Kind::Base => self.position.transaction.0,
        };
        if read.transaction.0 != expected {
            return Ok(Err(End::Bad("a record's transaction is not the next one")));
        }
        if link(&self.position.chain, read.transaction, &body) != read.chain {
            return Ok(Err(End::Bad(
                "a record's chain hash does not match the history before it",
            )));
        }
        let place = self.position.place();
        self.position.offset += (RECORD_HEADER_BYTES + read.length) as u64;
        self.position.transaction = read.transaction;
        self.position.chain = read.chain;
        Ok(Ok(Record {
            header: read,
            place,
            body,
        }))
    }

    /// Whether nothing but zeros stands behind the newest record.
    fn zeros_follow(&mut self) -> Result<End, LogError> {
        let mut block = vec![0; 64 << 10];
        loop {
            match fill(&mut self.input, &mut block).map_err(at(&self.path))? {
                0 => return Ok(End::Clean),
                got if block[..got].iter().any(|byte| *byte != 0) => {
                    return Ok(End::Bad("bytes that are not zero follow the last record"));
                }
                _ => {}
            }
        }
    }
}

/// True when a whole record stands in `bytes` that a batch after `bad` wrote: then the bad one is no torn batch.
pub fn later_batch_in(bytes: &[u8], bad: TransactionId) -> bool {
    (1..bytes.len().saturating_sub(RECORD_HEADER_BYTES)).any(|start| {
        let Some(header) = bytes[start..].first_chunk::<RECORD_HEADER_BYTES>() else {
            return false;
        };
        let read = RecordHeader::read(header);
        (1..=MAX_BODY_BYTES).contains(&read.length)
            && (bad.0 + 1..bad.0.saturating_add(1 << 32)).contains(&read.batch.0)
            && (read.batch..TransactionId(read.batch.0 + (1 << 20))).contains(&read.transaction)
            && bytes
                .get(start + RECORD_HEADER_BYTES..start + RECORD_HEADER_BYTES + read.length)
                .is_some_and(|body| read.fits(header, body))
    })
}

/// The body of the record at an offset; checked by its checksum alone, so the place must be a trusted one.
pub fn body_at(file: &File, path: &Path, offset: u64) -> Result<(RecordHeader, Vec<u8>), LogError> {
    // Most records fit into one read.
    let mut first = [0; 1024];
    let mut got = 0;
    while got < first.len() {
        match file
            .read_at(&mut first[got..], offset + got as u64)
            .map_err(at(path))?
        {
            0 => break,
            more => got += more,
        }
    }
    let header = first[..got]
        .first_chunk::<RECORD_HEADER_BYTES>()
        .ok_or_else(|| damaged(path, offset, "no record stands here"))?;
    let read = RecordHeader::read(header);
    if read.length == 0 || read.length > MAX_BODY_BYTES {
        return Err(damaged(path, offset, "a record's length is impossible"));
    }
    let mut body = vec![0; read.length];
    let there = (got - RECORD_HEADER_BYTES).min(read.length);
    body[..there].copy_from_slice(&first[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + there]);
    file.read_exact_at(&mut body[there..], offset + (RECORD_HEADER_BYTES + there) as u64)
        .map_err(|_| damaged(path, offset, "a record is cut short"))?;
    match read.fits(header, &body) {
        true => Ok((read, body)),
        false => Err(damaged(path, offset, "a record's checksum does not match")),
    }
}

/// How segments are opened.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Reads until the block is full or the input ends.
fn fill(input: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < block.len() {
        match input.read(&mut block[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// What to do about an input or output error, to be said after it; nothing where the error says it all.
pub fn advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull => "; the disk is full: make room on it and try again",
        QuotaExceeded => "; the disk quota is used up: make room or have it raised, and try again",
        FileTooLarge => {
            "; files may not grow that large here: raise the limit (ulimit -f, LimitFSIZE=) and start again"
        }
        _ => "",
    }
}

/// Names the path of an input or output error.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_path_buf();
    move |source| LogError::Io { path, source }
}

/// A damaged place.
pub fn damaged(path: &Path, offset: u64, what: &str) -> LogError {
    LogError::Damaged {
        path: path.to_path_buf(),
        offset,
        what: what.to_owned(),
    }
}
