//! A base: the state as of one transaction in a file of its own, so that the log before it can go. Drawn in
//! `docs/image-format.md`.

use std::fs::{self, File};
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::id::{Epoch, ObjectId, TransactionId};
use shared::key::Key;
use shared::object::ObjectImage;
use shared::value::Value;

use super::log::{numbered, segments, sync_folder, unix_ms};
use super::memory::vector::Vector;
use super::record::{Mission, Place, StoredReply};
use super::segment::{End, Header, Kind, LogError, Position, Reader, at, body_at, damaged, encode, options};

/// A record of objects or entries is closed at about this size.
const RECORD_BYTES: usize = 64 << 10;

/// The body of a record of a base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BaseRecord {
    /// By ascending id: how many entries each has, and the object.
    Objects(Vec<(u64, ObjectImage)>),
    /// Of one object, by ascending key.
    Entries {
        object: ObjectId,
        entries: Vec<(Key, TransactionId, Value)>,
    },
    Replies(Vec<(TransactionId, StoredReply)>),
    Missions(Vec<Mission>),
    /// The last record of every base that is whole.
    End {
        objects: u64,
        entries: u64,
        next_object: u64,
        epoch: Epoch,
    },
    /// By ascending id.
    Vectors(Vec<(ObjectId, Vector)>),
}

/// A base that is being written, under another name.
pub struct BaseWriter {
    folder: PathBuf,
    path: PathBuf,
    out: BufWriter<File>,
    transaction: TransactionId,
    chain: [u8; 32],
    objects: Vec<(u64, ObjectImage)>,
    entries: Vec<(Key, TransactionId, Value)>,
    entries_of: Option<ObjectId>,
    gathered: usize,
    counts: (u64, u64),
}

impl BaseWriter {
    /// Begins the base of the state at `position`.
    pub fn begin(folder: &Path, image: [u8; 16], position: Position) -> Result<BaseWriter, LogError> {
        let header = Header {
            kind: Kind::Base,
            image,
            transaction: position.transaction.0,
            chain: position.chain,
            unix_ms: unix_ms(),
        };
        let path = base_path(folder, position.transaction).with_extension("base.new");
        let file = options()
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(at(&path))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&header.encode()).map_err(at(&path))?;
        Ok(BaseWriter {
            folder: folder.to_path_buf(),
            path,
            out,
            transaction: position.transaction,
            chain: position.chain,
            objects: Vec::new(),
            entries: Vec::new(),
            entries_of: None,
            gathered: 0,
            counts: (0, 0),
        })
    }

    /// Adds an object; ids ascend.
    pub fn object(&mut self, entries: u64, image: ObjectImage, bytes: usize) -> Result<(), LogError> {
        self.counts.0 += 1;
        self.gathered += bytes;
        self.objects.push((entries, image));
        match self.gathered >= RECORD_BYTES {
            true => self.close_objects(),
            false => Ok(()),
        }
    }

    /// Adds an entry, after every object; objects and keys ascend.
    pub fn entry(
        &mut self,
        object: ObjectId,
        entry: (Key, TransactionId, Value),
        bytes: usize,
    ) -> Result<(), LogError> {
        self.close_objects()?;
        if self.entries_of != Some(object) || self.gathered >= RECORD_BYTES {
            self.close_entries()?;
        }
        self.entries_of = Some(object);
        self.counts.1 += 1;
        self.gathered += bytes;
        self.entries.push(entry);
        Ok(())
    }

    /// Adds a record of replies or missions.
    pub fn rest(&mut self, record: &BaseRecord) -> Result<(), LogError> {
        self.close_objects()?;
        self.close_entries()?;
        self.record(record)
    }

    /// Ends the base and gives it its name, durably.
    pub fn finish(mut self, next_object: u64, epoch: Epoch) -> Result<(), LogError> {
        self.close_objects()?;
        self.close_entries()?;
        let (objects, entries) = self.counts;
        self.record(&BaseRecord::End {
            objects,
            entries,
            next_object,
            epoch,
        })?;
        self.out.flush().map_err(at(&self.path))?;
        self.out.get_ref().sync_all().map_err(at(&self.path))?;
        let path = base_path(&self.folder, self.transaction);
        fs::rename(&self.path, &path).map_err(at(&path))?;
        sync_folder(&self.folder)
    }

    fn close_objects(&mut self) -> Result<(), LogError> {
        if self.objects.is_empty() {
            return Ok(());
        }
        self.gathered = 0;
        let record = BaseRecord::Objects(std::mem::take(&mut self.objects));
        self.record(&record)
    }

    fn close_entries(&mut self) -> Result<(), LogError> {
        let Some(object) = self.entries_of.take() else {
            return Ok(());
        };
        self.gathered = 0;
        let entries = std::mem::take(&mut self.entries);
        self.record(&BaseRecord::Entries { object, entries })
    }

    fn record(&mut self, record: &BaseRecord) -> Result<(), LogError> {
        let body =
            postcard::to_allocvec(record).map_err(|error| damaged(&self.path, 0, &error.to_string()))?;
        let mut bytes = Vec::with_capacity(body.len() + 64);
        self.chain = encode(&mut bytes, &body, self.transaction, self.transaction, &self.chain);
        self.out.write_all(&bytes).map_err(at(&self.path))
    }
}

/// The newest base of a log that is whole, if there is one. Ones that are not are left alone, as long as the log has what they
/// stand for.
pub fn newest(folder: &Path) -> Result<Option<Base>, LogError> {
    let mut cut_short = None;
    for transaction in numbered(folder, ".base")?.into_iter().rev() {
        let base = Base::open(folder, TransactionId(transaction))?;
        if base.is_whole()? {
            return Ok(Some(base));
        }
        cut_short.get_or_insert(base.path);
    }
    match cut_short {
        Some(path) if segments(folder)?.first() != Some(&1) => {
            let length = fs::metadata(&path).map_err(at(&path))?.len();
            Err(damaged(&path, length, "the base has no whole end"))
        }
        _ => Ok(None),
    }
}

/// A base, open for reading.
pub struct Base {
    path: PathBuf,
    file: File,
    header: Header,
}

impl Base {
    pub fn open(folder: &Path, transaction: TransactionId) -> Result<Base, LogError> {
        let path = base_path(folder, transaction);
        let file = options().write(false).open(&path).map_err(at(&path))?;
        let header = Header::read(&file, &path, transaction.0)?;
        match header.kind {
            Kind::Base => Ok(Base { path, file, header }),
            Kind::Log => Err(damaged(&path, 12, "it is no base")),
        }
    }

    pub fn transaction(&self) -> TransactionId {
        TransactionId(self.header.transaction)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log goes on after it.
    pub fn end(&self) -> Position {
        Position {
            segment: self.header.transaction + 1,
            offset: 0,
            transaction: self.transaction(),
            chain: self.header.chain,
        }
    }

    /// Its length, where the disk tells.
    pub fn bytes(&self) -> Option<u64> {
        self.file.metadata().ok().map(|metadata| metadata.len())
    }

    pub fn unix_ms(&self) -> u64 {
        self.header.unix_ms
    }

    /// Visits the records in order; the last is an `End`, or the error says what is wrong.
    pub fn walk<E: From<LogError>>(
        &self,
        mut visit: impl FnMut(Place, BaseRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = Reader::new(&self.file, &self.path, Kind::Base, self.header.begin())?;
        let mut is_whole = false;
        loop {
            let offset = reader.position.offset;
            match reader.next_record()? {
                Ok(record) => {
                    let decoded = postcard::from_bytes(&record.body)
                        .map_err(|_| damaged(&self.path, offset, "a record's body is none of a base"))?;
                    is_whole = matches!(decoded, BaseRecord::End { .. });
                    visit(record.place, decoded)?;
                }
                Err(End::Clean) if is_whole => return Ok(()),
                Err(End::Clean) => return Err(damaged(&self.path, offset, "the base has no end").into()),
                Err(End::Bad(what)) => return Err(damaged(&self.path, offset, what).into()),
            }
        }
    }

    /// The record at an offset that an index names.
    pub fn record(&self, offset: u64) -> Result<BaseRecord, LogError> {
        let (_, body) = body_at(&self.file, &self.path, offset)?;
        postcard::from_bytes(&body)
            .map_err(|_| damaged(&self.path, offset, "a record's body is none of a base"))
    }

    /// A base gets its name only when it is whole and synced; this finds one that was cut short afterwards. Cheap: the last
    /// record alone is looked at.
    fn is_whole(&self) -> Result<bool, LogError> {
        let end = BaseRecord::End {
            objects: 0,
            entries: 0,
            next_object: 0,
            epoch: Epoch(0),
        };
        let shortest = postcard::to_allocvec(&end).map_or(0, |bytes| bytes.len());
        let mut file = &self.file;
        let length = file.seek(std::io::SeekFrom::End(0)).map_err(at(&self.path))?;
        // The last record is a header and at most four numbers of ten bytes and a tag.
        for body in shortest..shortest + 40 {
            let Some(offset) = length.checked_sub((super::segment::RECORD_HEADER_BYTES + body) as u64) else {
                return Ok(false);
            };
            if let Ok((header, bytes)) = body_at(&self.file, &self.path, offset)
                && header.length == body
                && matches!(postcard::from_bytes(&bytes), Ok(BaseRecord::End { .. }))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Where the base of a transaction lies.
pub fn base_path(folder: &Path, transaction: TransactionId) -> PathBuf {
    folder.join(format!("{:020}.base", transaction.0))
}
