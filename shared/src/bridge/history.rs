//! What transactions have changed.

use serde::{Deserialize, Serialize};

use crate::id::{ObjectId, ThoughtId, TransactionId};
use crate::value::Value;

/// A transaction as `log` and `history` show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransactionView {
    pub transaction: TransactionId,
    pub unix_ms: u64,
    /// Who asked: `client …`, `thought 3`, `kernel`.
    pub author: String,
    pub thought: Option<ThoughtId>,
    /// The transaction that it takes back.
    pub undoes: Option<TransactionId>,
    /// Objects that a pack dropped by it, at most.
    pub collected: u64,
    pub changes: Vec<ChangeView>,
    /// Changes that are only counted.
    pub more_changes: u64,
}

/// A change of a slot or of an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeView {
    pub object: ObjectId,
    /// The object was made by this transaction.
    pub is_new: bool,
    pub slot: Option<String>,
    /// Of an entry.
    pub key: Option<Value>,
    /// `None` removed it.
    pub value: Option<Value>,
}

/// A slot or an entry that differs between two moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub object: ObjectId,
    /// The object did not exist at the earlier moment.
    pub is_new: bool,
    pub slot: Option<String>,
    /// Of an entry.
    pub key: Option<Value>,
    /// `None`: it was absent.
    pub old: Option<Value>,
    pub new: Option<Value>,
}
