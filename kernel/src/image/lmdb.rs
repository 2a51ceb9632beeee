//! The only home of LMDB: the sound subset of lmdb-rkv, with bytes copied at the border.
//!
//! lmdb-rkv 0.14 has unsound corners in safe code (`Cursor::iter*` outlives its cursor, `RwCursor::get`, nested
//! transactions, `set_map_size`); none of them is reachable through this module. The map is fixed and large, readers are not
//! tied to threads (NOTLS), writes are fully synced, no read transaction outlives a call.

use std::path::Path;

use lmdb::{Cursor, Database, DatabaseFlags, Environment, EnvironmentFlags, Transaction, WriteFlags};

/// Address space, not disk: the file grows as it is filled.
const MAP_BYTES: usize = 64 << 30;

/// One database of the index.
#[derive(Clone, Copy, Debug)]
pub enum Table {
    Meta,
    Objects,
    Replies,
    ReplyAge,
    Missions,
}

/// An open LMDB environment.
pub struct Lmdb {
    environment: Environment,
    tables: [Database; 5],
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

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

impl Lmdb {
    /// Opens or creates the environment in an existing folder.
    pub fn open(folder: &Path) -> Result<Lmdb, lmdb::Error> {
        let environment = Environment::new()
            .set_flags(EnvironmentFlags::NO_TLS)
            .set_map_size(MAP_BYTES)
            .set_max_dbs(5)
            .set_max_readers(64)
            .open_with_permissions(folder, 0o600)?;
        let table = |name| environment.create_db(Some(name), DatabaseFlags::empty());
        let tables = [
            table("meta")?,
            table("objects")?,
            table("replies")?,
            table("reply_age")?,
            table("missions")?,
        ];
        Ok(Lmdb { environment, tables })
    }

    /// The value under a key, copied.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, lmdb::Error> {
        let transaction = self.environment.begin_ro_txn()?;
        match transaction.get(self.tables[table as usize], &key) {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(lmdb::Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every pair of a table in key order, copied. For small tables.
    pub fn all(&self, table: Table) -> Result<Vec<Pair>, lmdb::Error> {
        self.up_to(table, None)
    }

    /// The pairs whose key is at most `last`, in key order, copied.
    pub fn up_to(&self, table: Table, last: Option<&[u8]>) -> Result<Vec<Pair>, lmdb::Error> {
        let transaction = self.environment.begin_ro_txn()?;
        let mut cursor = transaction.open_ro_cursor(self.tables[table as usize])?;
        let mut pairs = Vec::new();
        // The cursor outlives the iterator here, and every byte is copied before either ends.
        for item in cursor.iter() {
            let (key, value) = item?;
            if last.is_some_and(|last| key > last) {
                break;
            }
            pairs.push((key.to_vec(), value.to_vec()));
        }
        Ok(pairs)
    }

    /// All of it, synced, or nothing.
    pub fn write(&self, writes: &[IndexWrite]) -> Result<(), lmdb::Error> {
        let mut transaction = self.environment.begin_rw_txn()?;
        for write in writes {
            match write {
                IndexWrite::Put { table, key, value } => {
                    transaction.put(self.tables[*table as usize], key, value, WriteFlags::empty())?;
                }
                IndexWrite::Delete { table, key } => {
                    match transaction.del(self.tables[*table as usize], key, None) {
                        Ok(()) | Err(lmdb::Error::NotFound) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        transaction.commit()
    }
}
