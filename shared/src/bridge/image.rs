//! Objects and branches as they are shown, and what the care of the image has found or done.

use serde::{Deserialize, Serialize};

use crate::id::TransactionId;
use crate::object::ObjectImage;
use crate::value::Value;

/// An object as `inspect` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectView {
    pub object: ObjectImage,
    /// Its name in the lobby, if it has one.
    pub name: Option<String>,
    /// Names (or ids) of what it delegates to, nearest first.
    pub chain: Vec<String>,
    /// How many entries it has.
    pub entries: u64,
    /// Keys and values of the first of them, in key order.
    pub first_entries: Vec<(Value, Value)>,
}

/// A branch as `branch list` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchView {
    pub name: String,
    /// The newest transaction when it was begun, and when that was.
    pub base: TransactionId,
    pub begun_unix_ms: u64,
    pub author: String,
    /// Sends and edits that changed something.
    pub sends: u64,
    /// Objects that they changed or made.
    pub objects: u64,
    /// Of its file.
    pub bytes: u64,
    /// What others have changed since the branch read or replaced it: it cannot be committed. A few of it.
    pub conflicts: Vec<String>,
    /// Why it cannot be used, but dropped.
    pub damage: Option<String>,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The newest transaction that was verified.
    pub last: TransactionId,
    /// The chain hash after it, in hexadecimal: it stands for the whole history.
    pub chain: String,
    /// The digest of the state, in hexadecimal.
    pub digest: String,
    pub objects: u64,
    pub entries: u64,
    /// Empty for a whole image.
    pub faults: Vec<ImageFault>,
    /// Faults that are only counted.
    pub more_faults: u64,
}

/// One thing that is wrong with an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFault {
    pub place: String,
    pub what: String,
}

/// What a pack did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    /// History begins after this transaction now.
    pub base: TransactionId,
    pub objects: u64,
    /// Objects that no root reached.
    pub collected: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// A backup that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    pub folder: String,
    /// The image's id, in hexadecimal.
    pub image: String,
    /// The transaction that it ends at.
    pub last: TransactionId,
    /// Of the log and of branches.
    pub files: u64,
    pub blobs: u64,
    /// Of all of it, and what of them was copied now.
    pub bytes: u64,
    pub copied_bytes: u64,
    /// Blobs that are damaged in the image, so that they could not be copied.
    pub damaged: Vec<String>,
}
