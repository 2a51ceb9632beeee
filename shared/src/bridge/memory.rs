//! Fractal memory: what goes in, what is found. `docs/memory.md`.

use serde::{Deserialize, Serialize};

use crate::id::{ObjectId, TransactionId};

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

/// What some chunks without a vector came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryEncoded {
    /// Who made the vectors.
    pub encoder: String,
    pub vectors: u64,
    /// From where there may be more.
    pub next: Option<ObjectId>,
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
