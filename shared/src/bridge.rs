//! Clients ↔ kernel: the synaptic bridge (M38).
//!
//! A client's first frame is [`Hello`]; the kernel answers [`Welcome`]. Then the client sends [`Request`]s and the kernel
//! sends [`ToClient`]s, replies in any order. A request is identified by client and sequence: repeated after a lost reply,
//! it gets the stored reply and is not run again.
//!
//! This file has the frames: what is asked, what is answered. What they carry is in a file for each of its subjects.

mod adapter;
mod chunk;
mod fault;
mod history;
mod image;
mod memory;
mod status;
mod thought;
mod view;
mod wish;
mod workflow;

use serde::{Deserialize, Serialize};

pub use adapter::{AdapterHold, AdapterListing};
pub use chunk::{CHUNK_BYTES, Chunk};
pub use fault::{Fault, Finding};
pub use history::{ChangeView, Difference, TransactionView};
pub use image::{Backup, BranchView, ImageFault, ObjectView, Packing, Verification};
pub use memory::{
    Added, ChunkView, DocumentView, Hit, MOST_PASSAGE_BYTES, MemoryEncoded, MemoryFigures, MemoryView,
    Passage, PassageKind, SourceView,
};
pub use status::{KernelFigures, KernelStatus};
pub use thought::{MissionView, OriginView, Priority, ThoughtEvent, ThoughtView};
pub use view::ViewView;
pub use wish::{WishText, WishView};
pub use workflow::{TriedView, TryMission};

use crate::id::{ClientId, Epoch, ObjectId, ThoughtId, TransactionId, TransferId};
use crate::inference::Manifest;
use crate::value::{BlobRef, Value};

/// A client's first frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub client: ClientId,
    /// Program and version, for the log.
    pub program: String,
}

/// The kernel's first frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub kernel: String,
    pub epoch: Epoch,
}

/// One call of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Counted by the client from 1; the same again means a repeat.
    pub sequence: u64,
    /// Send thought events and progress of this request back while it runs.
    pub watch: bool,
    pub call: Call,
}

/// Everything a client may ask. Objects are named by id (`#12`), by path from the lobby (`personas.brick`), or by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    Send {
        receiver: String,
        selector: String,
        arguments: Vec<Value>,
        deadline_ms: Option<u64>,
    },
    Inspect {
        object: String,
    },
    New {
        parent: String,
        slots: Vec<(String, Value)>,
        name: Option<String>,
    },
    Set {
        object: String,
        slot: String,
        value: Value,
    },
    Define {
        object: String,
        source: String,
    },
    Guard {
        source: String,
    },
    Thoughts {
        id: Option<ThoughtId>,
    },
    Status,
    /// The transactions that changed an object, or one slot of it, newest first.
    History {
        object: String,
        slot: Option<String>,
        limit: u32,
    },
    /// The newest transactions, newest first. Moments are transactions or times; see the README.
    Log {
        from: Option<String>,
        limit: u32,
    },
    /// An object as it was just after a moment.
    InspectAt {
        object: String,
        at: String,
    },
    /// What differs between two moments.
    Diff {
        from: String,
        to: String,
    },
    /// Take a transaction back by another one.
    Undo {
        transaction: TransactionId,
    },
    /// Find every fault of the image, while others go on using it.
    Verify,
    /// Drop what no root reaches and all history before now, while others go on.
    Pack,
    /// Begin to give a content. A transfer belongs to its connection and ends with it, leaving nothing.
    BlobBegin,
    /// The content's next bytes; `offset` is how many were given before.
    BlobWrite {
        transfer: TransferId,
        offset: u64,
        bytes: Chunk,
    },
    /// The content is whole: keep it.
    BlobEnd {
        transfer: TransferId,
    },
    /// Begin to read a content.
    BlobOpen {
        blob: BlobName,
    },
    /// The content's next bytes; `offset` is how many were read before.
    BlobRead {
        transfer: TransferId,
        offset: u64,
    },
    /// Copy what is new of the image into a folder, an absolute path; others go on meanwhile.
    Backup {
        folder: String,
    },
    /// Write objects, and what they reach, as text into a new folder, an absolute path.
    Export {
        objects: Vec<String>,
        /// How many references are followed from the objects named; without it, all.
        depth: Option<u32>,
        folder: String,
    },
    /// Make new objects of an export, in one transaction.
    Import {
        folder: String,
        /// For the object that the export was made of, in the lobby.
        name: Option<String>,
    },
    /// Begin a branch: a what-if in front of the newest state.
    BranchNew {
        name: String,
    },
    BranchList,
    /// A branch and what it changes.
    BranchShow {
        name: String,
    },
    /// Throw a branch away.
    BranchDrop {
        name: String,
    },
    /// Make a branch's changes one transaction of the image; the branch is gone then. In conflict nothing is done.
    BranchCommit {
        name: String,
    },
    /// Do something in a branch.
    InBranch {
        branch: String,
        call: BranchCall,
    },
    /// The missions under way.
    Missions,
    /// End a mission; whoever waits for it is told, and nothing is left of its thought.
    Cancel {
        id: ThoughtId,
    },
    /// Send thought events of every thought back, or of one until it ends. Ends with its connection.
    Follow {
        id: Option<ThoughtId>,
    },
    /// How a method came to be.
    Why {
        object: String,
        selector: String,
    },
    /// The codex that the image holds, as a file.
    Codex,
    /// Make a file the image's codex.
    CodexImport {
        text: String,
        /// Only tell what would change.
        dry_run: bool,
    },
    /// Make a content the next generation of an adapter, once the inference-worker has checked it.
    AdapterImport {
        name: String,
        weights: BlobRef,
        /// PEFT's `adapter_config.json`, or empty.
        config: String,
        /// The generation that it replaces; without it the name must be new.
        replaces: Option<u64>,
    },
    /// Every adapter; or all generations of one, newest first.
    AdapterList {
        name: Option<String>,
    },
    /// Take an adapter's name away; its generations go at the next pack.
    AdapterDrop {
        name: String,
    },
    /// How the inference-worker keeps an adapter's newest generation.
    AdapterHold {
        name: String,
        hold: AdapterHold,
    },
    /// Who serves, and what it has counted since it does.
    Figures,
    /// The hash over all objects and entries as they are now.
    Digest,
    /// Begin to index a source, or find how far that is.
    MemoryBegin(SourceView),
    /// The source's next passages; what is said of bytes that are indexed already is left out.
    MemoryAdd {
        document: ObjectId,
        /// The bytes of the source that these passages are all of.
        from: u64,
        to: u64,
        passages: Vec<Passage>,
        is_last: bool,
    },
    /// Index a text of at most [`MOST_PASSAGE_BYTES`] at once.
    MemoryText {
        source: Option<String>,
        text: String,
        meta: Vec<(String, String)>,
    },
    MemorySearch {
        question: String,
        k: u32,
        filters: Vec<(String, String)>,
        /// What was valid then; without it, what is valid now.
        at: Option<String>,
    },
    /// A document or a chunk.
    MemoryShow {
        object: String,
    },
    /// Take a document, by its name or its source, or a chunk out of the memory.
    MemoryForget {
        object: String,
    },
    MemoryStats,
    /// The view of an object as it is now, made where it has none.
    View {
        object: String,
        /// Think anew where there is one.
        fresh: bool,
        /// The only workflow that may be taken.
        workflow: Option<String>,
        deadline_ms: Option<u64>,
    },
    /// Think about a mission by a workflow and keep nothing of it.
    WorkflowTry {
        workflow: String,
        mission: TryMission,
    },
    /// Write what a method of an object is to do, in its own slot `wishes`; without a wish, take it away.
    Wish {
        object: String,
        selector: String,
        wish: Option<WishText>,
    },
    /// The wishes that hold for an object, inherited ones included.
    Wishes {
        object: String,
        selector: Option<String>,
    },
    /// Give some chunks a vector that have none of the encoder that answers now: from this id on.
    MemoryEncode {
        from: ObjectId,
    },
}

/// What can be done in a branch; see [`Call`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum BranchCall {
    Send {
        receiver: String,
        selector: String,
        arguments: Vec<Value>,
        deadline_ms: Option<u64>,
    },
    Inspect {
        object: String,
    },
    New {
        parent: String,
        slots: Vec<(String, Value)>,
        name: Option<String>,
    },
    Set {
        object: String,
        slot: String,
        value: Value,
    },
    Define {
        object: String,
        source: String,
    },
}

/// Which content is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobName {
    Digest([u8; 32]),
    /// The blob that the slot holds, delegation followed.
    Slot {
        object: String,
        slot: String,
    },
}

impl Call {
    /// True when a repeat could change the image a second time, so that its reply must be stored.
    pub fn may_write(&self) -> bool {
        matches!(
            self,
            Call::Send { .. }
                | Call::New { .. }
                | Call::Set { .. }
                | Call::Define { .. }
                | Call::Undo { .. }
                | Call::Import { .. }
                | Call::BranchNew { .. }
                | Call::BranchCommit { .. }
                | Call::InBranch { .. }
                | Call::CodexImport { .. }
                | Call::AdapterImport { .. }
                | Call::AdapterDrop { .. }
                | Call::Wish { .. }
        )
    }

    /// The same in a branch; `None` when it cannot be done in one.
    pub fn in_branch(self, branch: String) -> Option<Call> {
        let call = match self {
            Call::Send {
                receiver,
                selector,
                arguments,
                deadline_ms,
            } => BranchCall::Send {
                receiver,
                selector,
                arguments,
                deadline_ms,
            },
            Call::Inspect { object } => BranchCall::Inspect { object },
            Call::New { parent, slots, name } => BranchCall::New { parent, slots, name },
            Call::Set { object, slot, value } => BranchCall::Set { object, slot, value },
            Call::Define { object, source } => BranchCall::Define { object, source },
            _ => return None,
        };
        Some(Call::InBranch { branch, call })
    }
}

/// What the kernel sends after [`Welcome`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToClient {
    Event {
        sequence: u64,
        event: ThoughtEvent,
    },
    Reply {
        sequence: u64,
        result: Result<Answer, Fault>,
    },
    /// Of a request with `watch` that takes long.
    Progress {
        sequence: u64,
        progress: Progress,
    },
}

/// What reaches who watches a call while it runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Thought(ThoughtEvent),
    Progress(Progress),
}

/// How far a long call is, in the step that it is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, such as `copying the log`.
    pub step: String,
    pub done: u64,
    /// Where it is known.
    pub total: Option<u64>,
    pub unit: Unit,
}

/// What a [`Progress`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Bytes,
    Objects,
    Entries,
    Transactions,
    Chunks,
}

/// A call's success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Sent {
        result: Value,
        transaction: TransactionId,
        thought: Option<ThoughtId>,
    },
    Object(ObjectView),
    Created {
        object: ObjectId,
        transaction: TransactionId,
    },
    Changed {
        object: ObjectId,
        slot: String,
        transaction: TransactionId,
    },
    Verdict {
        findings: Vec<Finding>,
    },
    Thoughts(Vec<ThoughtView>),
    Status(Box<KernelStatus>),
    Log(Vec<TransactionView>),
    Difference {
        from: TransactionId,
        to: TransactionId,
        differences: Vec<Difference>,
    },
    Undone {
        undone: TransactionId,
        transaction: TransactionId,
    },
    Verified(Verification),
    Packed(Packing),
    /// A transfer has begun; of a download, what it will bring.
    Transfer {
        transfer: TransferId,
        blob: Option<BlobRef>,
    },
    /// How many bytes of an upload have arrived.
    Arrived {
        transfer: TransferId,
        bytes: u64,
    },
    /// The next bytes of a download. The last come only when the whole content has the right hash.
    Content {
        transfer: TransferId,
        offset: u64,
        bytes: Chunk,
        is_last: bool,
    },
    /// A content that is kept.
    Blob(BlobRef),
    Backed(Backup),
    Exported {
        folder: String,
        /// The newest transaction that is in it.
        last: TransactionId,
        objects: u64,
        blobs: u64,
    },
    Imported {
        /// The objects that the export was made of, by their names in it.
        roots: Vec<(String, ObjectId)>,
        objects: u64,
        transaction: TransactionId,
    },
    Branches(Vec<BranchView>),
    /// A branch that was begun.
    Branch(BranchView),
    BranchShown {
        branch: BranchView,
        /// From the image as it is now to the branch.
        differences: Vec<Difference>,
    },
    BranchDropped {
        name: String,
    },
    BranchCommitted {
        name: String,
        /// How many sends and edits it was.
        sends: u64,
        objects: u64,
        transaction: TransactionId,
    },
    Missions(Vec<MissionView>),
    Cancelled {
        id: ThoughtId,
    },
    /// What was followed has ended.
    Followed,
    Why(Box<OriginView>),
    Codex {
        text: String,
    },
    CodexImported {
        /// What changes, a line each.
        changes: Vec<String>,
        /// `None` for a dry run, and where nothing changes.
        transaction: Option<TransactionId>,
    },
    AdapterImported {
        adapter: Box<AdapterListing>,
        transaction: TransactionId,
    },
    Adapters {
        adapters: Vec<AdapterListing>,
        /// None: no inference-worker answers.
        manifest: Option<Manifest>,
    },
    AdapterDropped {
        name: String,
        transaction: TransactionId,
    },
    AdapterHeld {
        name: String,
        hold: AdapterHold,
    },
    Figures(KernelFigures),
    Digested {
        /// In hexadecimal.
        digest: String,
    },
    /// A document, and how far it is indexed.
    MemoryDocument(DocumentView),
    MemoryAdded(Added),
    MemoryHits {
        hits: Vec<Hit>,
        /// Why meaning was not looked at: no encoder.
        text_only: Option<String>,
    },
    MemoryShown(Box<MemoryView>),
    MemoryForgotten {
        document: ObjectId,
        chunks: u64,
        transaction: TransactionId,
    },
    MemoryStats(MemoryFigures),
    View(Box<ViewView>),
    /// What a mission came to that was only tried out.
    Tried(Box<TriedView>),
    Wishes(Vec<WishView>),
    MemoryEncoded(MemoryEncoded),
}
