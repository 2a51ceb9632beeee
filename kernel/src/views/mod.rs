//! Views of objects (`docs/views.md`): pages and pictures that the image draws of itself.
//!
//! - [`markup`]: what a page or a picture may consist of. [`show`]: `batos view`.

pub mod markup;
mod show;

pub use show::seen;

/// The slot of an object that refers to what was drawn of it.
pub const RECORD: &str = "view_record";
/// Slots of what was drawn: the object, the page, the picture, by which workflow and which personas, how many entries the object
/// had, and a hash of all that was seen of it.
pub const OF: &str = "of";
pub const HTML: &str = "html";
pub const SVG: &str = "svg";
const WORKFLOW: &str = "workflow";
const DRAWN_BY: &str = "drawn_by";
const ENTRIES: &str = "entries";
pub const SEEN: &str = "seen";
