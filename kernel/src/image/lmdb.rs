//! The only home of LMDB: the sound subset of lmdb-rkv, with bytes copied at the border.
//!
//! lmdb-rkv 0.14 has unsound corners in safe code (`Cursor::iter*` outlives its cursor, `RwCursor::get`, nested
//! transactions, `set_map_size`); none of them is reachable through this module. The map is fixed and large, readers are not
//! tied to threads (NOTLS), writes are fully synced. A [`Reading`] sees one state and lasts no longer than one piece of work
//! of this process; a pack's is the longest.

use std::fs::OpenOptions;
use std::hash::Hasher;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;

use rustc_hash::{FxHashMap, FxHasher};

use lmdb::{
    Cursor, Database, DatabaseFlags, Environment, EnvironmentFlags, RoTransaction, Transaction, WriteFlags,
};

/// A CRC-32C behind each value.
const SUM_BYTES: usize = 4;
/// A value of so many bytes is checked once and not at every look.
const LARGE: usize = 16 << 10;
/// A disk with less room than this is full.
const FULL_BYTES: u64 = 1 << 20;
/// What LMDB's lock file takes for the readers that are asked for, and some.
const LOCK_BYTES: usize = 16 << 10;
/// Address space, not disk: the file grows as it is filled.
const MAP_BYTES: usize = 1 << 40;
// The cursor operations of lmdb.h that are used here.
const LAST: u32 = 6;
const NEXT: u32 = 8;
const PREVIOUS: u32 = 12;
const SET_RANGE: u32 = 17;

/// One database of the index.
#[derive(Clone, Copy, Debug)]
pub enum Table {
    Meta,
    Objects,
    Entries,
    Replies,
    ReplyAge,
    Missions,
    Marks,
    Base,
    Chunks,
    Postings,
    Vectors,
}

/// Their names on disk, in the order of the enum.
const NAMES: [&str; 8] = [
    "meta",
    "objects",
    "entries",
    "replies",
    "reply_age",
    "missions",
    "marks",
    "base",
];
/// The names of those that are made when something is first put into them.
const LATER: [&str; 3] = ["chunks", "postings", "vectors"];

/// An open LMDB environment. A value whose checksum does not fit its key and its bytes is answered by `Corrupted`.
pub struct Lmdb {
    folder: PathBuf,
    environment: Environment,
    tables: [Database; NAMES.len()],
    later: OnceLock<[Database; LATER.len()]>,
    /// Checksums of large values that were found right once, by the hash of table and key.
    checked: Mutex<FxHashMap<u64, [u8; SUM_BYTES]>>,
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The same where they stand.
pub type Slices<'a> = (&'a [u8], &'a [u8]);

/// One change of the index.
pub enum IndexWrite {
    Put {
        table: Table,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        table: Table,
        key: Vec<u8>,
    },
}

impl IndexWrite {
    fn is_put_later(&self) -> bool {
        matches!(self, IndexWrite::Put { table, .. } if *table as usize >= NAMES.len())
    }
}

/// Which end of a range comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

impl Lmdb {
    /// Opens or creates the environment in an existing folder.
    pub fn open(folder: &Path) -> Result<Lmdb, lmdb::Error> {
        Lmdb::open_with(folder, EnvironmentFlags::NO_TLS)
    }

    /// Opens an environment that is there, for reading alone.
    pub fn open_to_read(folder: &Path) -> Result<Lmdb, lmdb::Error> {
        Lmdb::open_with(folder, EnvironmentFlags::NO_TLS | EnvironmentFlags::READ_ONLY)
    }

    fn open_with(folder: &Path, flags: EnvironmentFlags) -> Result<Lmdb, lmdb::Error> {
        reserve_lock(folder)?;
        let environment = Environment::new()
            .set_flags(flags)
            .set_map_size(MAP_BYTES)
            .set_max_dbs((NAMES.len() + LATER.len()) as u32)
            .set_max_readers(126)
            .open_with_permissions(folder, 0o600)?;
        // They are made together: where some are missing, others may have lost what they had.
        let (is_new, has_later) = match environment.stat()?.entries() {
            0 => (true, false),
            count if count == NAMES.len() => (false, false),
            count if count == NAMES.len() + LATER.len() => (false, true),
            _ => return Err(lmdb::Error::Corrupted),
        };
        let mut tables = Vec::with_capacity(NAMES.len());
        for name in NAMES {
            tables.push(match is_new {
                true => environment.create_db(Some(name), DatabaseFlags::empty())?,
                false => environment.open_db(Some(name))?,
            });
        }
        let tables = tables.try_into().map_err(|_| lmdb::Error::Invalid)?;
        let later = OnceLock::new();
        if has_later {
            let mut tables = Vec::with_capacity(LATER.len());
            for name in LATER {
                tables.push(environment.open_db(Some(name))?);
            }
            let _ = later.set(tables.try_into().map_err(|_| lmdb::Error::Invalid)?);
        }
        Ok(Lmdb {
            folder: folder.to_path_buf(),
            environment,
            tables,
            later,
            checked: Mutex::default(),
        })
    }

    /// Makes the tables that nothing was put into yet.
    fn make_later(&self) -> Result<(), lmdb::Error> {
        if self.later.get().is_none() {
            let mut tables = Vec::with_capacity(LATER.len());
            for name in LATER {
                tables.push(self.environment.create_db(Some(name), DatabaseFlags::empty())?);
            }
            let _ = self
                .later
                .set(tables.try_into().map_err(|_| lmdb::Error::Invalid)?);
        }
        Ok(())
    }

    fn database(&self, table: Table) -> Option<Database> {
        database(&self.tables, self.later.get(), table)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One unchanging state of the index.
    pub fn reading(&self) -> Result<Reading<'_>, lmdb::Error> {
        // Before the transaction begins: one does not know tables that are made after that.
        let later = self.later.get();
        Ok(Reading {
            transaction: self.environment.begin_ro_txn()?,
            tables: &self.tables,
            later,
            checked: &self.checked,
        })
    }

    /// The value under a key, copied.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, lmdb::Error> {
        self.reading()?.get(table, key)
    }

    /// Every pair of a table in key order, copied. For small tables.
    pub fn all(&self, table: Table) -> Result<Vec<Pair>, lmdb::Error> {
        self.reading()?
            .range(table, &[], &[0xff; 512], usize::MAX, Direction::Ascending)
    }

    /// All of it, synced, or nothing. The last change of a key counts.
    pub fn write(&self, writes: &[IndexWrite]) -> Result<(), lmdb::Error> {
        if writes.iter().any(|write| write.is_put_later()) {
            self.make_later()?;
        }
        let mut transaction = self.environment.begin_rw_txn()?;
        // In the order of keys: neighbours share pages, and what comes behind all others fills pages whole, where LMDB would halve them.
        let mut writes: Vec<&IndexWrite> = writes.iter().collect();
        writes.sort_by_key(|write| write.place());
        let mut end: (usize, Vec<u8>) = (usize::MAX, Vec::new());
        for write in writes {
            match write {
                IndexWrite::Put { table, key, value } => {
                    let at = *table as usize;
                    let table = self.database(*table).ok_or(lmdb::Error::BadDbi)?;
                    if end.0 != at {
                        end = (at, last_key(&transaction, table)?);
                    }
                    let flags = match *key > end.1 {
                        true => WriteFlags::APPEND,
                        false => WriteFlags::empty(),
                    };
                    transaction.put(table, key, &sealed(key, value), flags)?;
                    if !flags.is_empty() {
                        end.1.clone_from(key);
                    }
                }
                IndexWrite::Delete { table, key } => {
                    let Some(table) = self.database(*table) else {
                        continue;
                    };
                    match transaction.del(table, key, None) {
                        Ok(()) | Err(lmdb::Error::NotFound) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        transaction.commit()
    }
}

impl IndexWrite {
    /// Table and key.
    fn place(&self) -> (usize, &[u8]) {
        match self {
            IndexWrite::Put { table, key, .. } | IndexWrite::Delete { table, key } => (*table as usize, key),
        }
    }
}

/// The largest key of a table; empty, which is none, where there is no key.
fn last_key(transaction: &impl Transaction, table: Database) -> Result<Vec<u8>, lmdb::Error> {
    match transaction.open_ro_cursor(table)?.get(None, None, LAST) {
        Ok((key, _)) => Ok(key.unwrap_or_default().to_vec()),
        Err(lmdb::Error::NotFound) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// LMDB writes to its lock file through memory, where a full disk would be a SIGBUS instead of an error: so the file has its
/// room before.
fn reserve_lock(folder: &Path) -> Result<(), lmdb::Error> {
    let reserved = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join("lock.mdb"))?;
        match posix_fallocate(&file, 0, LOCK_BYTES as i64) {
            // A file system that cannot reserve gets zeros, which mean as little to LMDB.
            Err(Errno::EOPNOTSUPP | Errno::EINVAL) if file.metadata()?.len() < LOCK_BYTES as u64 => {
                file.write_all(&[0; LOCK_BYTES])
            }
            Err(Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(()),
            reserved => Ok(reserved?),
        }
    };
    reserved().map_err(|error| lmdb::Error::Other(error.raw_os_error().unwrap_or(Errno::EIO as i32)))
}

/// Whether an error means that the file is no sound index, rather than that the disk is full or cannot be read.
pub fn is_damage(error: &lmdb::Error) -> bool {
    use lmdb::Error::{
        BadDbi, BadRslot, BadTxn, BadValSize, Corrupted, CursorFull, Incompatible, Invalid, PageFull,
        PageNotFound, VersionMismatch,
    };
    matches!(
        error,
        Corrupted
            | PageNotFound
            | Invalid
            | VersionMismatch
            | Incompatible
            | PageFull
            | CursorFull
            | BadRslot
            | BadTxn
            | BadValSize
            | BadDbi
    )
}

/// What to do about an error of the index in a folder, to be said after it.
pub fn advice(error: &lmdb::Error, folder: &Path) -> &'static str {
    // LMDB calls a write that stops halfway, as one on a full disk does, an input or output error.
    let is_full = || {
        nix::sys::statvfs::statvfs(folder)
            .is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() < FULL_BYTES)
    };
    match error {
        lmdb::Error::Other(number) if *number == Errno::EIO as i32 && is_full() => {
            super::segment::advice(&Errno::ENOSPC.into())
        }
        lmdb::Error::Other(number) => super::segment::advice(&io::Error::from_raw_os_error(*number)),
        _ => "",
    }
}

/// Puts a checksum of the key and the value behind the value: LMDB has none.
fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(value.len() + SUM_BYTES);
    sealed.extend(value);
    sealed.extend(sum(key, value));
    sealed
}

/// The value without its checksum, which must fit.
fn opened<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], lmdb::Error> {
    match sealed.split_last_chunk::<SUM_BYTES>() {
        Some((value, found)) if *found == sum(key, value) => Ok(value),
        _ => Err(lmdb::Error::Corrupted),
    }
}

fn sum(key: &[u8], value: &[u8]) -> [u8; SUM_BYTES] {
    crc32c::crc32c_append(crc32c::crc32c(key), value).to_le_bytes()
}

/// The database of a table; `None` while nothing was put into it.
fn database(
    tables: &[Database; NAMES.len()],
    later: Option<&[Database; LATER.len()]>,
    table: Table,
) -> Option<Database> {
    let at = table as usize;
    match at.checked_sub(NAMES.len()) {
        None => Some(tables[at]),
        Some(at) => later.map(|later| later[at]),
    }
}

/// One unchanging state of an index.
pub struct Reading<'a> {
    transaction: RoTransaction<'a>,
    tables: &'a [Database; NAMES.len()],
    later: Option<&'a [Database; LATER.len()]>,
    checked: &'a Mutex<FxHashMap<u64, [u8; SUM_BYTES]>>,
}

impl Reading<'_> {
    /// The value under a key, copied.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, lmdb::Error> {
        let Some(database) = self.database(table) else {
            return Ok(None);
        };
        match self.transaction.get(database, &key) {
            Ok(bytes) => Ok(Some(opened(key, bytes)?.to_vec())),
            Err(lmdb::Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many pairs a table says that it has.
    pub fn count(&self, table: Table) -> Result<u64, lmdb::Error> {
        let Some(database) = self.database(table) else {
            return Ok(0);
        };
        let stat = self.transaction.stat(database)?;
        Ok(stat.entries() as u64)
    }

    /// Bytes of the pages that a table has.
    pub fn bytes(&self, table: Table) -> Result<u64, lmdb::Error> {
        let Some(database) = self.database(table) else {
            return Ok(0);
        };
        let stat = self.transaction.stat(database)?;
        let pages = stat.branch_pages() + stat.leaf_pages() + stat.overflow_pages();
        Ok(pages as u64 * u64::from(stat.page_size()))
    }

    fn database(&self, table: Table) -> Option<Database> {
        database(self.tables, self.later, table)
    }

    /// Every pair from the key `from` to before the key `to` in key order, not copied: what a read of this state lends lasts as long
    /// as the state does. The checksum of a large value is not computed again while it is the same.
    pub fn slices(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Vec<Slices<'_>>, lmdb::Error> {
        let Some(database) = self.database(table) else {
            return Ok(Vec::new());
        };
        let cursor = self.transaction.open_ro_cursor(database)?;
        let start = if from.is_empty() { &[0][..] } else { from };
        let mut at = cursor.get(Some(start), None, SET_RANGE);
        let mut pairs: Vec<Slices<'_>> = Vec::new();
        loop {
            match at {
                Ok((Some(key), value)) if key < to => {
                    if pairs.last().is_some_and(|(last, _)| *last >= key) {
                        return Err(lmdb::Error::Corrupted);
                    }
                    pairs.push((key, self.opened(table, key, value)?));
                }
                Ok(_) | Err(lmdb::Error::NotFound) => return Ok(pairs),
                Err(error) => return Err(error),
            }
            at = cursor.get(None, None, NEXT);
        }
    }

    fn opened<'v>(&self, table: Table, key: &[u8], sealed: &'v [u8]) -> Result<&'v [u8], lmdb::Error> {
        let Some((value, found)) = sealed.split_last_chunk::<SUM_BYTES>() else {
            return Err(lmdb::Error::Corrupted);
        };
        if value.len() < LARGE {
            return opened(key, sealed);
        }
        let mut hasher = FxHasher::default();
        hasher.write_u8(table as u8);
        hasher.write(key);
        let name = hasher.finish();
        let known = |checked: &Mutex<FxHashMap<u64, [u8; SUM_BYTES]>>| {
            let checked = checked.lock().unwrap_or_else(PoisonError::into_inner);
            checked.get(&name) == Some(found)
        };
        if known(self.checked) {
            return Ok(value);
        }
        let value = opened(key, sealed)?;
        self.checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, *found);
        Ok(value)
    }

    /// At most `limit` pairs from the key `from` to before the key `to`, in the direction's order, copied.
    pub fn range(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Pair>, lmdb::Error> {
        let Some(database) = self.database(table) else {
            return Ok(Vec::new());
        };
        let cursor = self.transaction.open_ro_cursor(database)?;
        // A start key must not be empty and LMDB bounds its length; every key lies between these.
        let start = match direction {
            Direction::Ascending => from,
            Direction::Descending => to,
        };
        let start = if start.is_empty() {
            &[0][..]
        } else {
            &start[..start.len().min(511)]
        };
        let mut at = cursor.get(Some(start), None, SET_RANGE);
        if direction == Direction::Descending {
            // The first key at or after the end, or none; the one before it is the last of the range.
            at = match at {
                Ok(_) => cursor.get(None, None, PREVIOUS),
                Err(lmdb::Error::NotFound) => cursor.get(None, None, LAST),
                Err(error) => Err(error),
            };
        }
        let step = match direction {
            Direction::Ascending => NEXT,
            Direction::Descending => PREVIOUS,
        };
        let mut pairs = Vec::new();
        while pairs.len() < limit {
            match at {
                Ok((Some(key), value)) if from <= key && key < to => {
                    // Also the end of pages that lead back to themselves.
                    let is_in_order = pairs.last().is_none_or(|(last, _): &Pair| match direction {
                        Direction::Ascending => last[..] < *key,
                        Direction::Descending => *key < last[..],
                    });
                    if !is_in_order {
                        return Err(lmdb::Error::Corrupted);
                    }
                    pairs.push((key.to_vec(), opened(key, value)?.to_vec()));
                }
                Ok(_) | Err(lmdb::Error::NotFound) => break,
                Err(error) => return Err(error),
            }
            at = cursor.get(None, None, step);
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// In any order, with keys behind the last, before it and twice, and deletions between: as a plain map.
    #[test]
    fn writes_come_to_what_a_map_comes_to() {
        let folder = tempfile::tempdir().unwrap();
        let index = Lmdb::open(folder.path()).unwrap();
        let mut plain = BTreeMap::new();
        let mut seed = 5_u64;
        let mut random = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % most
        };
        for round in 0..60_u64 {
            let mut writes = Vec::new();
            for _ in 0..random(40) {
                let key = (random(20 * (round + 1)) as u32).to_be_bytes().to_vec();
                let table = Table::Objects;
                if random(4) == 0 {
                    plain.remove(&key);
                    writes.push(IndexWrite::Delete { table, key });
                } else {
                    let value = vec![round as u8; random(900) as usize];
                    plain.insert(key.clone(), value.clone());
                    writes.push(IndexWrite::Put { table, key, value });
                }
            }
            index.write(&writes).unwrap();
            let found: BTreeMap<_, _> = index.all(Table::Objects).unwrap().into_iter().collect();
            assert!(found == plain, "round {round}");
        }
        assert!(plain.len() > 300, "{}", plain.len());
    }

    #[test]
    fn what_is_appended_fills_its_pages() {
        let folder = tempfile::tempdir().unwrap();
        let index = Lmdb::open(folder.path()).unwrap();
        for first in [0, 5_000] {
            let put = |id: u64| IndexWrite::Put {
                table: Table::Objects,
                key: id.to_be_bytes().to_vec(),
                value: vec![7; 360],
            };
            // In whatever order they come.
            let writes: Vec<IndexWrite> = (first..first + 5_000).rev().map(put).collect();
            index.write(&writes).unwrap();
        }
        let stat = index.reading().unwrap();
        let stat = stat
            .transaction
            .stat(index.tables[Table::Objects as usize])
            .unwrap();
        // Ten fit into a page.
        assert!(
            (1_000..1_020).contains(&stat.leaf_pages()),
            "{}",
            stat.leaf_pages()
        );
    }

    #[test]
    fn ranges_hold_their_bounds_in_both_directions() {
        let folder = tempfile::tempdir().unwrap();
        let index = Lmdb::open(folder.path()).unwrap();
        let writes: Vec<IndexWrite> = [b"a", b"c", b"e"]
            .iter()
            .map(|key| IndexWrite::Put {
                table: Table::Entries,
                key: key.to_vec(),
                value: vec![],
            })
            .collect();
        index.write(&writes).unwrap();
        let check = |from: &str, to: &str, limit, direction, expected: &str| {
            let reading = index.reading().unwrap();
            let pairs = reading
                .range(Table::Entries, from.as_bytes(), to.as_bytes(), limit, direction)
                .unwrap();
            let found: String = pairs.iter().map(|(key, _)| key[0] as char).collect();
            assert_eq!(found, expected, "{from:?}..{to:?} {direction:?}");
        };
        use Direction::{Ascending, Descending};
        check("", "z", 9, Ascending, "ace");
        check("", "z", 9, Descending, "eca");
        check("b", "e", 9, Ascending, "c");
        check("b", "e", 9, Descending, "c");
        check("c", "f", 1, Ascending, "c");
        check("a", "f", 1, Descending, "e");
        check("f", "z", 9, Ascending, "");
        check("f", "z", 9, Descending, "");
        check("a", "a", 9, Descending, "");
    }
}
