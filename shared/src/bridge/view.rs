//! What was drawn of an object.

use serde::{Deserialize, Serialize};

use crate::id::{ObjectId, ThoughtId, TransactionId};

/// What was drawn of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewView {
    pub object: ObjectId,
    /// Its name in the lobby, else its id.
    pub name: String,
    /// The object that holds it.
    pub record: ObjectId,
    /// That drew it.
    pub transaction: TransactionId,
    pub workflow: String,
    /// The personas that took part; none where no model did.
    pub drawn_by: Vec<String>,
    /// The thought that made it for this request; `None` where it was there.
    pub thought: Option<ThoughtId>,
    pub html: String,
    pub svg: String,
}
