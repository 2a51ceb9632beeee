//! Clients ↔ kernel: the synaptic bridge (M38).
//!
//! A client's first frame is [`Hello`]; the kernel answers [`Welcome`]. Then the client sends [`Request`]s and the kernel
//! sends [`ToClient`]s, replies in any order. A request is identified by client and sequence: repeated after a lost reply,
//! it gets the stored reply and is not run again.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{ClientId, Epoch, ObjectId, ThoughtId, TransactionId, TransferId};
use crate::inference::{AdapterView, Figures, Manifest};
use crate::object::ObjectImage;
use crate::value::{BlobRef, Value};

/// How many bytes of a content travel in one request or answer, at most.
pub const CHUNK_BYTES: usize = 1 << 20;

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
}

/// What is wanted of a method, as people write it (docs/wishes.md).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishText {
    pub intent: Option<String>,
    pub examples: Vec<String>,
}

/// Bytes of text in one request of the memory, at most.
pub const MOST_PASSAGE_BYTES: usize = 2 << 20;

/// A source that is to be indexed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceView {
    /// A path, an address, or a word.
    pub source: String,
    /// `text`, `markdown`, `html`, `code`, `jsonl` or `pdf`.
    pub format: String,
    /// BLAKE3 of the source.
    pub digest: [u8; 32],
    pub bytes: u64,
    /// What its date is, in microseconds since 1970.
    pub at: Option<i64>,
    pub meta: Vec<(String, String)>,
}

/// A piece of a source as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Its bytes in the source.
    pub begin: u64,
    pub end: u64,
    pub text: String,
    pub kind: PassageKind,
    /// The text is those very bytes.
    pub is_verbatim: bool,
    /// Its own date, in microseconds since 1970.
    pub at: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PassageKind {
    Prose,
    /// What follows belongs to it.
    Heading,
    /// A definition of source code.
    Code,
    /// An event of a log.
    Event,
}

/// What an inference-worker is told about an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdapterHold {
    /// Load it ahead.
    Stage,
    /// Load it, and keep it hot.
    Pin,
    Unpin,
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

/// A piece of a content, at most [`CHUNK_BYTES`]. On the wire the same as a list of bytes, but written at once.
#[derive(Clone, PartialEq, Eq)]
pub struct Chunk(pub Vec<u8>);

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
    Wishes(Vec<WishView>),
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

/// A document of the memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DocumentView {
    pub document: ObjectId,
    pub source: String,
    pub format: String,
    pub bytes: u64,
    /// Up to which byte it is indexed.
    pub indexed: u64,
    pub is_whole: bool,
    pub chunks: u64,
    /// Microseconds since 1970, as those below.
    pub at: Option<i64>,
    pub author: String,
    pub trust: String,
    pub meta: Vec<(String, String)>,
    pub valid_from: Option<i64>,
    /// From then on it is superseded.
    pub valid_until: Option<i64>,
    pub supersedes: Option<ObjectId>,
}

/// What some passages came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Added {
    pub document: ObjectId,
    /// Up to which byte the source is indexed now.
    pub indexed: u64,
    pub chunks: u64,
    /// Chunks that the memory had, or nearly.
    pub known: u64,
    pub vectors: u64,
    /// Why there are no vectors.
    pub text_only: Option<String>,
    pub transaction: TransactionId,
}

/// A chunk, or neighbours joined, that answers a question, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The best of those that are joined.
    pub chunk: ObjectId,
    pub document: ObjectId,
    pub source: String,
    /// Bytes of the source.
    pub begin: u64,
    pub end: u64,
    pub text: String,
    pub score: f32,
    /// BM25.
    pub text_score: f32,
    /// The cosine of question and chunk.
    pub vector_score: Option<f32>,
    /// What each term adds to the text's score.
    pub terms: Vec<(String, f32)>,
    /// Microseconds since 1970.
    pub at: Option<i64>,
    pub author: String,
    pub trust: String,
    pub meta: Vec<(String, String)>,
    /// How many chunks it is.
    pub joined: u32,
}

/// A document with its chunks, or one chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryView {
    pub document: DocumentView,
    /// Some of them, in order.
    pub chunks: Vec<ChunkView>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkView {
    pub chunk: ObjectId,
    pub begin: u64,
    pub end: u64,
    pub language: String,
    pub text: String,
}

/// What the memory holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryFigures {
    pub documents: u64,
    pub chunks: u64,
    /// Terms in all chunks.
    pub terms: u64,
    pub vectors: u64,
    pub languages: Vec<(String, u64)>,
    /// Pages of the index for terms, and for vectors.
    pub text_bytes: u64,
    pub vector_bytes: u64,
    /// The encoder, or why there is none.
    pub encoder: Result<String, String>,
}

/// Who serves, and how its requests fared: sends, reads and edits that needed no thought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFigures {
    pub pid: u32,
    pub epoch: Epoch,
    pub last_transaction: TransactionId,
    /// Since it serves: requests that had a reply, and of these, how many were refused or failed.
    pub answered: u64,
    pub failed: u64,
    /// How many replies took how long; places as in [`crate::spread`].
    pub took: Vec<u64>,
}

/// A generation of an adapter: what the image says of it, and where it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterListing {
    pub object: ObjectId,
    pub name: String,
    pub generation: u64,
    pub weights: BlobRef,
    pub rank: u32,
    pub alpha: f64,
    pub products: Vec<String>,
    /// The model that it was checked against.
    pub base: String,
    /// What it takes in memory.
    pub bytes: u64,
    /// What the inference-worker knows of it, if it does.
    pub worker: Option<AdapterView>,
}

/// A call's failure: a stable word for programs, a sentence for people. The words are in [`crate::reason`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    pub reason: String,
    pub message: String,
    /// The guard's findings, when the reason is that it refused.
    pub findings: Vec<Finding>,
    /// The thought that failed, when there was one.
    pub thought: Option<ThoughtId>,
}

impl Fault {
    pub fn new(reason: &str, message: impl Into<String>) -> Fault {
        Fault {
            reason: reason.to_owned(),
            message: message.into(),
            findings: Vec::new(),
            thought: None,
        }
    }
}

/// One thing that the guard objects to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub rule: String,
    /// Counted from 1.
    pub line: u32,
    pub message: String,
}

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

/// A mission and its thought as `thoughts` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThoughtView {
    pub id: ThoughtId,
    pub receiver: ObjectId,
    pub selector: String,
    /// `open`, `complete` or `failed`.
    pub outcome: String,
    /// Why it failed, or empty.
    pub message: String,
    pub rounds: u32,
    pub model_calls: u32,
    pub begun_unix_ms: u64,
    pub elapsed_ms: u64,
    /// The installed source, or the last candidate.
    pub artifact: String,
    pub events: Vec<ThoughtEvent>,
}

/// A mission under way as `missions` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MissionView {
    pub id: ThoughtId,
    pub receiver: ObjectId,
    /// Its name in the lobby, else its id.
    pub name: String,
    pub selector: String,
    /// `queued`, or the state that its cycle is in.
    pub state: String,
    pub priority: Priority,
    pub round: u32,
    pub model_calls: u32,
    /// That the model wrote, and how many it may write in all.
    pub tokens: u64,
    pub token_budget: u64,
    pub begun_unix_ms: u64,
    pub elapsed_ms: u64,
    /// Senders that wait for it.
    pub waiting: u32,
}

/// What goes first when more missions are open than are thought about at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Somebody waits for the answer.
    Awaited,
    /// Taken up again after a restart, and nobody waits any more.
    Resumed,
}

/// How a method came to be, as `why` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginView {
    /// The object that has the method.
    pub holder: ObjectId,
    pub name: String,
    pub selector: String,
    pub source: String,
    /// That put it there.
    pub transaction: TransactionView,
    /// The thought that wrote it; `None` where a person did, or a pack has forgotten the thought.
    pub thought: Option<ThoughtView>,
}

/// Something that happened in a thought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThoughtEvent {
    pub thought: ThoughtId,
    pub round: u32,
    pub unix_ms: u64,
    /// `STATE_TRANSITION`, `ARTIFACT_GENERATED`, `VALIDATION_SUCCESS`, `VALIDATION_FAILURE`, `TOKEN` …
    pub kind: String,
    /// The state the cycle is in after the event.
    pub state: String,
    pub detail: String,
}

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

/// The kernel about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelStatus {
    pub version: String,
    pub pid: u32,
    pub epoch: Epoch,
    pub uptime_ms: u64,
    pub last_transaction: TransactionId,
    pub objects: u64,
    pub log_bytes: u64,
    /// How many blobs there are, and their bytes.
    pub blobs: u64,
    pub blob_bytes: u64,
    pub clients: u32,
    /// Process ids of the warm method-workers.
    pub method_workers: Vec<u32>,
    pub sends: u64,
    pub conflicts: u64,
    pub missions_open: u32,
    /// Description of the loaded model, or why there is none.
    pub model: Result<String, String>,
    /// The same of the embedder.
    pub embedder: Result<String, String>,
    /// None when no inference-worker tells them.
    pub inference: Option<Figures>,
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.0.len())
    }
}

impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(ChunkVisitor)
    }
}

struct ChunkVisitor;

impl Visitor<'_> for ChunkVisitor {
    type Value = Chunk;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Chunk, E> {
        match bytes.len() {
            length if length > CHUNK_BYTES => Err(E::invalid_length(length, &"at most one chunk")),
            _ => Ok(Chunk(bytes.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_bounded_and_looks_like_a_list_of_bytes() {
        let bytes: Vec<u8> = (0..=255).collect();
        let encoded = postcard::to_allocvec(&Chunk(bytes.clone())).unwrap();
        assert_eq!(encoded, postcard::to_allocvec(&bytes).unwrap());
        assert_eq!(postcard::from_bytes::<Chunk>(&encoded).unwrap(), Chunk(bytes));
        let large = postcard::to_allocvec(&vec![0u8; CHUNK_BYTES + 1]).unwrap();
        assert!(postcard::from_bytes::<Chunk>(&large).is_err());
    }
}
