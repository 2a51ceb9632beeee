//! What methods are to do, as people say it.

use serde::{Deserialize, Serialize};

use crate::id::ObjectId;

/// What is wanted of a method, its examples as text (docs/wishes.md).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishText {
    pub intent: Option<String>,
    pub examples: Vec<String>,
}

/// A wish, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishView {
    pub selector: String,
    pub holder: ObjectId,
    /// What people call the holder.
    pub name: String,
    pub wish: WishText,
}
