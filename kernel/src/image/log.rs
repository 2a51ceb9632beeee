//! The append-only, hash-chained transaction log: a folder of segments, which `archive` reads. Its bytes are drawn in `docs/image-format.md`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use shared::id::TransactionId;

use super::record::{Entry, Place};
use super::segment::{
    End, HEADER_BYTES, Header, Kind, LogError, MAX_BODY_BYTES, Position, Reader, at, damaged, encode,
    later_batch_in, options,
};

/// A segment longer than this is closed.
const SEGMENT_BYTES: u64 = 64 << 20;
/// The newest segment is filled with zeros so far ahead: an overwrite syncs faster than an append.
const AHEAD: usize = 256 << 10;
/// Behind a batch of so many bytes there are none: many share its sync, and zeros would double what is written.
const LARGE_BATCH: usize = 16 << 10;
/// So much is appended to a segment that could not be closed before it is tried again.
const ROOM_BYTES: u64 = 1 << 20;

/// Before the first transaction.
pub const BEGINNING: Position = Position {
    segment: 1,
    offset: 0,
    transaction: TransactionId(0),
    chain: [0; 32],
};

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
    /// Bytes of the newest segment's file that are known to be there, zeros included.
    allocated: u64,
    /// Bytes of the records of all closed segments.
    closed_bytes: u64,
    segment_bytes: u64,
    /// The newest segment is closed when it is longer; more than `segment_bytes` after a disk had no room for the next.
    close_at: u64,
}

/// Records built but not yet written.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    first: TransactionId,
    next: Option<(TransactionId, [u8; 32])>,
}

impl Batch {
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// What the next record of a batch will be.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    pub transaction: TransactionId,
    pub place: Place,
    /// The chain hash before it.
    pub chain: [u8; 32],
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
        begin_segment(folder, image, end, 0).map_err(|error| match error {
            AppendError::TakenBack(error) | AppendError::Uncertain(error) => error,
        })
    }

    /// Opens at `from`, hands every later record to `replay`, and sets a torn batch aside.
    pub fn open<E: From<LogError>>(
        folder: &Path,
        from: Position,
        mut replay: impl FnMut(Next, Entry, Position) -> Result<(), E>,
    ) -> Result<Log, E> {
        let segments = segments(folder)?;
        let last = segments.last().copied().unwrap_or(0);
        let mut closed_bytes = 0;
        let mut position = from;
        let mut opened = None;
        for segment in segments {
            let path = segment_path(folder, segment);
            if segment < from.segment {
                closed_bytes += fs::metadata(&path).map_err(at(&path))?.len();
                continue;
            }
            let file = options().open(&path).map_err(at(&path))?;
            let header = Header::read(&file, &path, segment)?;
            let begin = header.begin();
            if segment == from.segment {
                let length = file.metadata().map_err(at(&path))?.len();
                if length < from.offset {
                    return Err(damaged(&path, length, "it ends before what the index contains").into());
                }
                if from.offset < HEADER_BYTES as u64 {
                    position = begin;
                }
            } else if (position.transaction, position.chain) != (begin.transaction, begin.chain) {
                return Err(damaged(&path, 32, "it does not continue the segment before it").into());
            } else {
                position = begin;
            }
            let mut reader = Reader::new(&file, &path, Kind::Log, position)?;
            let end = loop {
                let before = reader.position;
                match reader.next_record()? {
                    Ok(record) => {
                        let next = Next {
                            transaction: record.header.transaction,
                            place: record.place,
                            chain: before.chain,
                        };
                        let entry = postcard::from_bytes(&record.body)
                            .map_err(|_| damaged(&path, before.offset, "a record's body is not an entry"))?;
                        replay(next, entry, reader.position)?;
                    }
                    Err(end) => break end,
                }
            };
            position = reader.position;
            drop(reader);
            match end {
                End::Clean => {}
                End::Bad(what) if segment == last => {
                    set_aside(&file, &path, position, what)?;
                }
                End::Bad(what) => return Err(damaged(&path, position.offset, what).into()),
            }
            if segment != last {
                closed_bytes += position.offset;
            }
            let allocated = file.metadata().map_err(at(&path))?.len();
            opened = Some(Log {
                folder: folder.to_path_buf(),
                image: header.image,
                path,
                file,
                end: position,
                allocated,
                closed_bytes,
                segment_bytes: SEGMENT_BYTES,
                close_at: SEGMENT_BYTES,
            });
        }
        let log =
            opened.ok_or_else(|| damaged(folder, 0, "the segment that the index points to is missing"))?;
        Ok(log)
    }

    /// The segments before a base are gone.
    pub fn forget_before(&mut self, base: TransactionId) {
        let sizes = segments(&self.folder).unwrap_or_default().into_iter();
        self.closed_bytes = sizes
            .filter(|first| *first > base.0 && *first != self.end.segment)
            .filter_map(|first| fs::metadata(segment_path(&self.folder, first)).ok())
            .map(|data| data.len())
            .sum();
    }

    /// For tests: segments close after so many bytes.
    pub fn close_segments_after(&mut self, bytes: u64) {
        (self.segment_bytes, self.close_at) = (bytes, bytes);
    }

    pub fn image(&self) -> [u8; 16] {
        self.image
    }

    pub fn end(&self) -> Position {
        self.end
    }

    /// Bytes of headers and records of all segments.
    pub fn bytes(&self) -> u64 {
        self.closed_bytes + self.end.offset
    }

    /// What the next record of this batch will be.
    pub fn next(&self, batch: &Batch) -> Next {
        let (before, chain) = batch.next.unwrap_or((self.end.transaction, self.end.chain));
        Next {
            transaction: TransactionId(before.0 + 1),
            place: Place {
                segment: self.end.segment,
                offset: self.end.offset + batch.bytes.len() as u64,
            },
            chain,
        }
    }

    /// Adds a record to a batch.
    pub fn add(&self, batch: &mut Batch, entry: &Entry) -> Result<(), LogError> {
        let next = self.next(batch);
        let body = postcard::to_allocvec(entry)
            .map_err(|error| damaged(&self.path, next.place.offset, &error.to_string()))?;
        if body.len() > MAX_BODY_BYTES {
            return Err(LogError::TooLarge(body.len()));
        }
        if batch.next.is_none() {
            batch.first = next.transaction;
        }
        let chain = encode(
            &mut batch.bytes,
            &body,
            next.transaction,
            batch.first,
            &next.chain,
        );
        batch.next = Some((next.transaction, chain));
        Ok(())
    }

    /// Writes a batch and syncs it. After an error nothing of the batch may be acknowledged.
    pub fn append(&mut self, batch: Batch) -> Result<Position, AppendError> {
        let Some((transaction, chain)) = batch.next else {
            return Ok(self.end);
        };
        let end = self.end.offset + batch.bytes.len() as u64;
        if let Err(error) = self.file.write_all_at(&batch.bytes, self.end.offset) {
            // A full disk: what was written of the batch is taken back, and the log is as it was.
            return match self.take_back(end) {
                Ok(()) => Err(AppendError::TakenBack(at(&self.path)(error))),
                Err(worse) => Err(AppendError::Uncertain(at(&self.path)(worse))),
            };
        }
        let allocated = if end + HEADER_BYTES as u64 <= self.allocated {
            self.allocated
        } else if batch.bytes.len() >= LARGE_BATCH {
            end
        } else {
            // Zeros ahead only make later syncs faster: a disk without room for them still has this batch.
            fill_with_zeros(&self.file, end, end + AHEAD as u64).unwrap_or(end)
        };
        self.file
            .sync_data()
            .map_err(|error| AppendError::Uncertain(at(&self.path)(error)))?;
        self.allocated = allocated;
        self.end = Position {
            segment: self.end.segment,
            offset: end,
            transaction,
            chain,
        };
        Ok(self.end)
    }

    /// Whether the newest segment is long enough to be closed.
    pub fn is_long(&self) -> bool {
        self.end.offset > self.close_at
    }

    /// Closes the newest segment, if it holds a record, and begins the next. When that is taken back, the newest segment
    /// just goes on.
    pub fn rotate(&mut self) -> Result<(), AppendError> {
        if self.end.offset <= HEADER_BYTES as u64 {
            return Ok(());
        }
        // The zeros are given back; a reader takes them for the end as well, so this need not be durable.
        self.file
            .set_len(self.end.offset)
            .map_err(|error| AppendError::Uncertain(at(&self.path)(error)))?;
        self.allocated = self.end.offset;
        match begin_segment(&self.folder, self.image, self.end, self.bytes()) {
            Ok(next) => {
                *self = Log {
                    segment_bytes: self.segment_bytes,
                    close_at: self.segment_bytes,
                    ..next
                };
                Ok(())
            }
            Err(error) => {
                self.close_at = self.end.offset + ROOM_BYTES;
                Err(error)
            }
        }
    }

    /// Makes the newest segment what it was before a batch that would have ended at `end`.
    fn take_back(&mut self, end: u64) -> io::Result<()> {
        if self.file.metadata()?.len() > self.allocated {
            self.file.set_len(self.allocated)?;
        }
        // The room stays taken, so that a small batch still fits on a full disk.
        let touched = self.allocated.min(end).saturating_sub(self.end.offset);
        self.file
            .write_all_at(&vec![0; touched as usize], self.end.offset)?;
        self.file.sync_all()
    }
}

/// Begins a segment. Until it has its name, it can be taken back.
fn begin_segment(
    folder: &Path,
    image: [u8; 16],
    end: Position,
    closed_bytes: u64,
) -> Result<Log, AppendError> {
    let header = Header {
        kind: Kind::Log,
        image,
        transaction: end.transaction.0 + 1,
        chain: end.chain,
        unix_ms: unix_ms(),
    };
    let path = segment_path(folder, header.transaction);
    // Written aside and renamed: a segment that exists has a whole header.
    let new = path.with_extension("new");
    let (file, allocated) = written_segment(&new, &header).map_err(|error| {
        let _ = fs::remove_file(&new);
        AppendError::TakenBack(at(&new)(error))
    })?;
    fs::rename(&new, &path)
        .map_err(at(&path))
        .and_then(|()| sync_folder(folder))
        .map_err(AppendError::Uncertain)?;
    Ok(Log {
        folder: folder.to_path_buf(),
        image,
        path,
        file,
        end: header.begin(),
        allocated,
        closed_bytes,
        segment_bytes: SEGMENT_BYTES,
        close_at: SEGMENT_BYTES,
    })
}

/// A file with a segment's header and zeros, durable; and how many bytes it has.
fn written_segment(path: &Path, header: &Header) -> io::Result<(File, u64)> {
    let mut file = options().create(true).truncate(true).open(path)?;
    file.write_all(&header.encode())?;
    let allocated = fill_with_zeros(&file, HEADER_BYTES as u64, AHEAD as u64)?;
    file.sync_all()?;
    Ok((file, allocated))
}

/// Writes zeros from an offset to the end of the page that `to` lies in; answers that end. Page by page: the kernel of the
/// system then syncs (and counts) one page a record later, not the large folio that one large write would make.
fn fill_with_zeros(file: &File, from: u64, to: u64) -> io::Result<u64> {
    const PAGE: u64 = 4096;
    let mut at = from;
    while at < to {
        let next = (at / PAGE + 1) * PAGE;
        file.write_all_at(&[0; PAGE as usize][..(next - at) as usize], at)?;
        at = next;
    }
    Ok(at)
}

/// Copies what stands behind the newest record away and overwrites it with zeros, unless a later batch is part of it.
fn set_aside(file: &File, path: &Path, end: Position, what: &'static str) -> Result<(), LogError> {
    let length = file.metadata().map_err(at(path))?.len();
    let mut torn = vec![0; length.saturating_sub(end.offset) as usize];
    file.read_exact_at(&mut torn, end.offset).map_err(at(path))?;
    if later_batch_in(&torn, TransactionId(end.transaction.0 + 1)) {
        return Err(damaged(path, end.offset, what));
    }
    tracing::warn!(
        path = %path.display(),
        offset = end.offset,
        what,
        "set a batch aside that was never acknowledged"
    );
    let used = torn.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let aside = path.with_file_name(format!("torn-{}-{}", end.segment, end.offset));
    fs::write(&aside, &torn[..used]).map_err(at(&aside))?;
    file.write_all_at(&vec![0; used], end.offset).map_err(at(path))?;
    file.sync_all().map_err(at(path))
}

/// Where a segment of the log lies.
pub fn segment_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:020}.log"))
}

/// First transactions of the segments, ascending.
pub fn segments(folder: &Path) -> Result<Vec<u64>, LogError> {
    numbered(folder, ".log")
}

/// Numbers of the files with a suffix, ascending.
pub fn numbered(folder: &Path, suffix: &str) -> Result<Vec<u64>, LogError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let name = entry.map_err(at(folder))?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(suffix))
            .and_then(|n| n.parse::<u64>().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes renames and new files in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), LogError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| LogError::Unsynced {
            path: folder.to_path_buf(),
            source,
        })
}

/// Now, in milliseconds since 1970.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::archive::Archive;
    use super::*;

    fn entry(author: &str) -> Entry {
        Entry {
            author: author.into(),
            ..Entry::default()
        }
    }

    /// Appends batches, each of the given records.
    fn write(folder: &Path, batches: &[&[&str]]) {
        let mut log = Log::create(folder).unwrap();
        for authors in batches {
            let mut batch = Batch::default();
            for author in *authors {
                log.add(&mut batch, &entry(author)).unwrap();
            }
            log.append(batch).unwrap();
        }
    }

    fn start() -> Position {
        BEGINNING
    }

    fn read(folder: &Path) -> Result<Vec<String>, LogError> {
        let mut authors = Vec::new();
        Log::open(folder, start(), |_, entry, _| {
            authors.push(entry.author);
            Ok::<(), LogError>(())
        })?;
        Ok(authors)
    }

    /// The whole segment, and where its records end.
    fn segment(folder: &Path) -> (PathBuf, Vec<u8>, usize) {
        let path = segment_path(folder, 1);
        let bytes = fs::read(&path).unwrap();
        let log = Log::open(folder, start(), |_, _, _| Ok::<(), LogError>(())).unwrap();
        (path, bytes, log.end().offset as usize)
    }

    #[test]
    fn what_was_appended_is_replayed_and_can_be_continued() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[&["a0"], &["a1", "a2"]]);
        assert_eq!(read(folder.path()).unwrap(), ["a0", "a1", "a2"]);
        let mut log = Log::open(folder.path(), start(), |_, _, _| Ok::<(), LogError>(())).unwrap();
        log.close_segments_after(200);
        for author in ["b", "c", "d", "e"] {
            let mut batch = Batch::default();
            log.add(&mut batch, &entry(author)).unwrap();
            log.append(batch).unwrap();
            if log.is_long() {
                log.rotate().unwrap();
            }
        }
        assert!(segments(folder.path()).unwrap().len() > 2);
        assert_eq!(
            read(folder.path()).unwrap(),
            ["a0", "a1", "a2", "b", "c", "d", "e"]
        );
    }

    /// Every cut of the last batch must lose exactly that batch's torn records and nothing before it.
    #[test]
    fn a_torn_batch_is_set_aside_wherever_it_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[&["a0"], &["a1"], &["a2"]]);
        let (path, whole, end) = segment(folder.path());
        let record = (end - HEADER_BYTES) / 3;
        for cut in 1..record {
            for zeros in [false, true] {
                let mut bytes = whole.clone();
                bytes[end - cut..].fill(0);
                if zeros && bytes == whole {
                    continue; // A record may end with zeros: then nothing is lost.
                }
                bytes.truncate(if zeros { whole.len() } else { end - cut });
                fs::write(&path, &bytes).unwrap();
                assert_eq!(read(folder.path()).unwrap(), ["a0", "a1"], "cut {cut}");
                assert_eq!(read(folder.path()).unwrap(), ["a0", "a1"], "again, cut {cut}");
            }
        }
    }

    /// Sectors of one batch may reach the disk in any order: a whole record behind a torn one of the same batch is no damage.
    #[test]
    fn a_batch_that_is_torn_in_front_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[&["a0"], &["a1", "a2"]]);
        let (path, mut bytes, end) = segment(folder.path());
        let record = (end - HEADER_BYTES) / 3;
        bytes[HEADER_BYTES + record..HEADER_BYTES + record + 9].fill(0);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(folder.path()).unwrap(), ["a0"]);
        assert_eq!(read(folder.path()).unwrap(), ["a0"]);
    }

    /// A flipped bit anywhere but in the last batch is damage: acknowledged history follows it.
    #[test]
    fn a_flipped_bit_in_history_is_damage_and_no_torn_batch() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[&["a0"], &["a1"], &["a2"]]);
        let (path, whole, end) = segment(folder.path());
        let record = (end - HEADER_BYTES) / 3;
        for at in 0..end - record {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            let read = read(folder.path());
            let is_named = matches!(
                read,
                Err(LogError::Damaged { .. } | LogError::Newer { .. } | LogError::Older { .. })
            );
            assert!(is_named, "byte {at}: {read:?}");
        }
        let names = fs::read_dir(folder.path()).unwrap();
        assert!(
            !names
                .into_iter()
                .any(|name| { name.unwrap().file_name().to_string_lossy().starts_with("torn") })
        );
    }

    /// A reader that was asked for more than there is went round and round in a newest segment without a record.
    #[test]
    fn an_empty_newest_segment_ends_a_walk() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[&["a0"], &["a1"]]);
        let mut log = Log::open(folder.path(), start(), |_, _, _| Ok::<(), LogError>(())).unwrap();
        log.rotate().unwrap();
        let mut seen = 0;
        let walked = Archive::new(folder.path()).visit(start(), TransactionId(u64::MAX), |_, _, _| {
            seen += 1;
            true
        });
        assert_eq!(seen, 2);
        assert!(walked.unwrap_err().to_string().contains("ends before"));
    }

    #[test]
    fn other_formats_are_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[&["a"]]);
        let (path, mut bytes, _) = segment(folder.path());
        bytes[8] = 3;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(
            read(folder.path()),
            Err(LogError::Newer { found: 3, .. })
        ));
        bytes[8] = 1;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(
            read(folder.path()),
            Err(LogError::Older { found: 1, .. })
        ));
    }
}
