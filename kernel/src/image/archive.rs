//! Reading what the log holds, at any place of it and from any place on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quick_cache::sync::Cache;
use shared::id::TransactionId;

use super::log::{Next, segment_path};
use super::record::{Entry, Place};
use super::segment::{
    End, HEADER_BYTES, Header, Kind, LogError, Position, Reader, at, body_at, damaged, options,
};

/// Segments kept open for reading.
const OPEN_SEGMENTS: usize = 64;

/// Reads records wherever they stand, as history and time travel need it. Segments are opened when first needed.
pub struct Archive {
    folder: PathBuf,
    open: Cache<u64, Arc<File>>,
}

impl Archive {
    pub fn new(folder: &Path) -> Archive {
        Archive {
            folder: folder.to_path_buf(),
            open: Cache::new(OPEN_SEGMENTS),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The record at a place that an index or a later record names, and its transaction.
    pub fn entry(&self, place: Place) -> Result<(TransactionId, Entry), LogError> {
        let path = segment_path(&self.folder, place.segment);
        let file = self.file(place.segment, &path)?;
        let (header, body) = body_at(&file, &path, place.offset)?;
        let entry = postcard::from_bytes(&body)
            .map_err(|_| damaged(&path, place.offset, "a record's body is not an entry"))?;
        Ok((header.transaction, entry))
    }

    /// Visits the records from `position` (a place where one begins, with the chain hash before it) until the visitor
    /// answers false or the durable end `last` is passed.
    pub fn visit(
        &self,
        position: Position,
        last: TransactionId,
        mut visitor: impl FnMut(Place, TransactionId, Entry) -> bool,
    ) -> Result<(), LogError> {
        self.walk(position, last, |next, entry, _| {
            Ok::<bool, LogError>(visitor(next.place, next.transaction, entry))
        })
    }

    /// The same; the visitor is told the position after each record, too, and can fail.
    pub fn walk<E: From<LogError>>(
        &self,
        mut position: Position,
        last: TransactionId,
        mut visitor: impl FnMut(Next, Entry, Position) -> Result<bool, E>,
    ) -> Result<(), E> {
        while position.transaction < last {
            let path = segment_path(&self.folder, position.segment);
            // Not the cached file: a reader moves the offset that all who hold it share.
            let file = options().write(false).open(&path).map_err(at(&path))?;
            let begin = Header::read(&file, &path, position.segment)?.begin();
            if position.offset < HEADER_BYTES as u64 {
                if (begin.transaction, begin.chain) != (position.transaction, position.chain) {
                    return Err(damaged(&path, 32, "it does not continue the segment before it").into());
                }
                position = begin;
            }
            let mut reader = Reader::new(&file, &path, Kind::Log, position)?;
            while reader.position.transaction < last {
                let before = reader.position;
                match reader.next_record()? {
                    Ok(record) => {
                        let entry = postcard::from_bytes(&record.body).map_err(|_| {
                            damaged(&path, record.place.offset, "a record's body is not an entry")
                        })?;
                        let next = Next {
                            transaction: record.header.transaction,
                            place: record.place,
                            chain: before.chain,
                        };
                        if !visitor(next, entry, reader.position)? {
                            return Ok(());
                        }
                    }
                    Err(End::Clean) => break,
                    Err(End::Bad(what)) => return Err(damaged(&path, before.offset, what).into()),
                }
            }
            let reached = reader.position;
            if reached.transaction < last && reached.transaction.0 + 1 == position.segment {
                // A segment without a record is the newest: nothing follows it.
                let what = format!("the log ends before transaction {last}");
                return Err(damaged(&path, reached.offset, &what).into());
            }
            position = Position {
                segment: reached.transaction.0 + 1,
                offset: 0,
                ..reached
            };
        }
        Ok(())
    }

    fn file(&self, segment: u64, path: &Path) -> Result<Arc<File>, LogError> {
        self.open.get_or_insert_with(&segment, || {
            options().write(false).open(path).map(Arc::new).map_err(at(path))
        })
    }

    /// Forgets open files of segments that are gone.
    pub fn forget(&self) {
        self.open.clear();
    }
}
