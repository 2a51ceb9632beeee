//! Stable words for failures; scripts compare these, people read the message beside them.

/// The object named does not exist.
pub const NO_OBJECT: &str = "no_object";
/// The object has no such slot.
pub const NO_SLOT: &str = "no_slot";
/// An argument, name or value is not acceptable.
pub const BAD_ARGUMENT: &str = "bad_argument";
/// The request is not one of the protocol.
pub const BAD_REQUEST: &str = "bad_request";
/// The request or the value is larger than allowed.
pub const TOO_LARGE: &str = "too_large";
/// The guard refused the source; findings tell why.
pub const GUARD_REFUSED: &str = "guard_refused";
/// The method raised an exception.
pub const METHOD_RAISED: &str = "method_raised";
/// The method ran past its deadline and was killed.
pub const METHOD_DEADLINE: &str = "method_deadline";
/// The method used more memory than allowed.
pub const METHOD_MEMORY: &str = "method_memory";
/// The worker died while it ran the method: a forbidden system call, or a kill from outside.
pub const WORKER_DIED: &str = "worker_died";
/// The method changed slots and did not declare it by `self._p_changed = True`.
pub const UNDECLARED_WRITE: &str = "undeclared_write";
/// Something that cannot live in an image was left in a slot or returned.
pub const NOT_PERSISTENT: &str = "not_persistent";
/// A method doomed its transaction: it may never commit.
pub const DOOMED: &str = "doomed";
/// The write set broke a rule of the image.
pub const WRITE_REFUSED: &str = "write_refused";
/// The view is not safe to show.
pub const VIEW_REFUSED: &str = "view_refused";
/// The write would break a data covenant.
pub const COVENANT_BROKEN: &str = "covenant_broken";
/// Others kept changing what this send read.
pub const CONFLICT: &str = "conflict";
/// Nobody understood the message and the thought about it failed.
pub const NOT_UNDERSTOOD: &str = "not_understood";
/// Somebody cancelled the mission.
pub const CANCELLED: &str = "cancelled";
/// There is no model to think with.
pub const NO_MODEL: &str = "no_model";
/// The request's own deadline passed.
pub const DEADLINE: &str = "deadline";
/// No such thought.
pub const NO_THOUGHT: &str = "no_thought";
/// The image has no such blob.
pub const NO_BLOB: &str = "no_blob";
/// A blob's content is not what its name says.
pub const BLOB_DAMAGED: &str = "blob_damaged";
/// This conversation has no such transfer: it ended, or another connection began it.
pub const NO_TRANSFER: &str = "no_transfer";
/// The image cannot be written: disk full, or an input/output error.
pub const IMAGE_FAILED: &str = "image_failed";
/// The kernel is going down; ask again.
pub const STOPPING: &str = "stopping";
/// The kernel hands over to another one, or goes down: this conversation ends, and what has no reply is to be asked again.
pub const LEAVING: &str = "leaving";
/// The image was packed since: that part of its history is gone.
pub const PACKED: &str = "packed";
/// No such transaction.
pub const NO_TRANSACTION: &str = "no_transaction";
/// The transaction cannot be undone, since later ones build on it.
pub const BOUND: &str = "bound";
/// No such branch.
pub const NO_BRANCH: &str = "no_branch";
/// A branch's file is damaged, or is none of this image.
pub const BRANCH_DAMAGED: &str = "branch_damaged";
/// No such adapter.
pub const NO_ADAPTER: &str = "no_adapter";
/// An adapter cannot be used with the model: the message says which part of it, and why.
pub const ADAPTER_REFUSED: &str = "adapter_refused";
/// What was retrieved or prompted is never indexed again.
pub const RETRIEVED: &str = "retrieved";
/// The source was changed while it was being indexed, or another request indexes it.
pub const MOVED_ON: &str = "moved_on";
/// No kernel could be reached.
pub const NO_KERNEL: &str = "no_kernel";
/// A defect of the system itself.
pub const INTERNAL: &str = "internal";
