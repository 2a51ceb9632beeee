//! Chunks become objects: prepared beside the image, compared with what it has, committed with how far their document is.

use std::collections::HashMap;
use std::sync::Arc;

use shared::activation::{Read, ReadSlot};
use shared::bridge::{Added, Answer, DocumentView, Fault, MOST_PASSAGE_BYTES, Passage, SourceView};
use shared::id::{ObjectId, TransactionId};
use shared::json::to_hex;
use shared::reason;
use shared::value::Value;

use super::Memory;
use super::chunker::{Piece, Plan, paragraphs};
use super::crew;
use super::document::{Born, Chunk, Document, NewChunk, catalog, int, key, no_document, now_us, of_source};
use crate::image::draft::{Change, CommitError, Draft};
use crate::image::memory::analysis::{self, CODE, fingerprint, likeness};
use crate::image::memory::fresh::Fresh;
use crate::image::memory::kernels::is_near_any;
use crate::image::memory::recall::NEAR_BITS;
use crate::image::memory::vector::Vector;
use crate::kernel::{Asker, Kernel, commit_fault};
use crate::overlay::World;

/// Texts that share so much of their pairs of words are the same to the memory.
const SAME: f32 = 0.9;
/// Pairs of meta, and their bytes, at most.
const MOST_META: usize = 64;
const META_BYTES: usize = 1_024;
const FORMATS: [&str; 6] = ["text", "markdown", "html", "code", "jsonl", "pdf"];
/// Another request may index the same source at the same time; then this one looks again.
pub(super) const REPLAYS: u32 = 8;
/// Chunks whose language is told together.
const TOLD_TOGETHER: usize = 4;

/// A chunk that is about to be made: its slots, and what it means.
pub type Made = (ObjectId, Vec<(String, Value)>, Option<Vector>);

/// Chunks to be, and what they mean.
pub struct Prepared {
    pub pieces: Vec<Piece>,
    /// One for each piece, or none at all.
    pub vectors: Vec<Option<Vector>>,
    pub text_only: Option<String>,
}

impl Memory {
    /// Cuts passages and has them encoded, if somebody encodes.
    pub async fn prepare(&self, passages: Vec<Passage>) -> Prepared {
        // Aside: it takes all processors for a while, and others wait for this thread.
        let plan = tokio::task::spawn_blocking(move || Plan::of(passages)).await;
        let plan = plan.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let wanted = plan.wanted();
        let mut text_only = None;
        let mut cut_by = None;
        if !wanted.is_empty() {
            match self.model.embed(&wanted).await {
                Ok(encoded) => cut_by = Some(encoded.vectors),
                Err(why) => text_only = Some(why),
            }
        }
        let pieces = plan.cut(cut_by.as_deref());
        let mut vectors = vec![None; pieces.len()];
        if text_only.is_none() && !pieces.is_empty() {
            let texts: Vec<String> = pieces.iter().map(|piece| piece.text.clone()).collect();
            match self.model.embed(&texts).await {
                Ok(encoded) => {
                    let found = encoded.vectors.iter();
                    vectors = found
                        .map(|numbers| Vector::of(encoded.encoder, numbers))
                        .collect();
                }
                Err(why) => text_only = Some(why),
            }
        }
        Prepared {
            pieces,
            vectors,
            text_only,
        }
    }
}

impl Prepared {
    /// Leaves out what a world has already, or nearly, in a valid document other than `replaced`; answers how much that was.
    pub fn leave_known_out(
        &mut self,
        world: World<'_>,
        pending: &[Arc<Fresh>],
        replaced: Option<ObjectId>,
    ) -> u64 {
        let fingerprints = crew::each(&self.pieces, |piece| fingerprint(&piece.text));
        let near = world.state.near(pending, &fingerprints);
        let now = now_us();
        let mut documents: HashMap<ObjectId, bool> = HashMap::new();
        let mut is_known = |id: ObjectId, text: &str| {
            let Some(chunk) = Chunk::seen(world, pending, id) else {
                return false;
            };
            let document = chunk.document();
            let is_valid = document.is_none_or(|id| {
                Some(id) != replaced
                    && *documents.entry(id).or_insert_with(|| {
                        let document = Document::seen(world, id);
                        document.is_none_or(|document| document.is_valid(now))
                    })
            });
            is_valid && likeness(chunk.text(), text) >= SAME
        };
        // Those that stay, and their fingerprints.
        let (mut kept, mut of_kept): (Vec<usize>, Vec<u64>) = Default::default();
        let mut known = 0;
        for (at, piece) in self.pieces.iter().enumerate() {
            let own = fingerprints[at];
            let is_double = near[at].iter().any(|id| is_known(*id, &piece.text))
                || is_near_any(own, &of_kept, NEAR_BITS)
                    && kept.iter().zip(&of_kept).any(|(other, fingerprint)| {
                        (own ^ fingerprint).count_ones() <= NEAR_BITS
                            && likeness(&self.pieces[*other].text, &piece.text) >= SAME
                    });
            match is_double {
                true => known += 1,
                false => {
                    kept.push(at);
                    of_kept.push(own);
                }
            }
        }
        let is_kept = |at: &usize| kept.binary_search(at).is_ok();
        let (pieces, vectors) = (
            std::mem::take(&mut self.pieces),
            std::mem::take(&mut self.vectors),
        );
        let both = pieces.into_iter().zip(vectors).enumerate();
        (self.pieces, self.vectors) = both.filter(|(at, _)| is_kept(at)).map(|(_, both)| both).unzip();
        known
    }

    /// The objects of these chunks, numbered from `first`.
    pub fn objects(
        &self,
        document: ObjectId,
        first: u64,
        meta: &[(String, String)],
        mut allocate: impl FnMut() -> ObjectId,
    ) -> Vec<Made> {
        // Told of some together: one alone may be too short to tell, and those that follow one another are of one source.
        let told = |some: &[Piece]| {
            let prose = some.iter().filter(|piece| !piece.is_code);
            let texts: Vec<&str> = prose.map(|piece| piece.text.as_str()).collect();
            analysis::language(&texts.join("\n"))
        };
        let together: Vec<&[Piece]> = self.pieces.chunks(TOLD_TOGETHER).collect();
        let languages = crew::each(&together, |some| told(some));
        let chunks = self.pieces.iter().zip(&self.vectors).enumerate();
        chunks
            .map(|(at, (piece, vector))| {
                let language = match piece.is_code {
                    true => CODE,
                    false => languages[at / TOLD_TOGETHER],
                };
                let chunk = NewChunk {
                    document,
                    text: &piece.text,
                    begin: piece.begin,
                    end: piece.end,
                    ordinal: first + at as u64,
                    language,
                    at: piece.at,
                    meta,
                };
                (allocate(), chunk.slots(), vector.clone())
            })
            .collect()
    }
}

impl Kernel {
    /// Begins to index a source, or finds how far it is.
    pub async fn begin_memory(&self, asker: &Asker, source: SourceView) -> Result<Answer, Fault> {
        check_source(&source.source)?;
        check_meta(&source.meta)?;
        if !FORMATS.contains(&source.format.as_str()) {
            return Err(bad(format!(
                "there is no format {:?}; there are {}",
                source.format,
                FORMATS.join(", ")
            )));
        }
        for _ in 0..REPLAYS {
            let world = self.world();
            let catalog = catalog(world)?;
            let mut reads = Vec::new();
            let former = of_source(world, catalog, &source.source, &mut reads);
            let digest = to_hex(&source.digest);
            if let Some(former) = &former
                && former.text("digest") == Some(&digest)
                && former.time("valid_until").is_none()
            {
                return Ok(Answer::MemoryDocument(self.view(former)));
            }
            let born = Born {
                source: &source.source,
                format: &source.format,
                digest,
                bytes: source.bytes,
                at: source.at,
                author: &asker.author,
                trust: trust_of(&source.format),
                meta: &source.meta,
                supersedes: former.as_ref().map(|former| former.0.id),
                now: now_us(),
                is_whole: false,
            };
            let document = self.image.state.allocate();
            let mut draft = Draft::new(asker.author.clone());
            draft.reads = reads;
            draft.changes.push(Change::Create {
                object: document,
                slots: born.slots(world)?,
            });
            draft.changes.push(Change::PutEntry {
                object: catalog,
                key: key(&source.source),
                value: Value::Ref(document),
            });
            match self.commit_memory(draft).await {
                Ok(_) => {}
                Err(CommitError::Conflict(_)) => continue,
                Err(error) => return Err(commit_fault(error)),
            }
            let made = self.document(document)?;
            return Ok(Answer::MemoryDocument(self.view(&made)));
        }
        Err(moved_on(&source.source))
    }

    /// Indexes the next passages of a document, in one transaction.
    pub async fn add_memory(
        self: &Arc<Self>,
        asker: &Asker,
        document: ObjectId,
        (from, to): (u64, u64),
        passages: Vec<Passage>,
        is_last: bool,
    ) -> Result<Answer, Fault> {
        let found = self.document(document)?;
        let indexed = found.int("indexed").unwrap_or(0);
        if found.is_whole() || (to <= indexed && !is_last) {
            // Told twice: the reply of the first time was lost.
            return Ok(Answer::MemoryAdded(self.added_before(document, indexed)));
        }
        if from > indexed || to < from {
            return Err(bad(format!(
                "{document} is indexed up to byte {indexed}; passages from byte {from} to {to} leave some out"
            )));
        }
        let bytes: usize = passages.iter().map(|passage| passage.text.len()).sum();
        if bytes > MOST_PASSAGE_BYTES {
            return Err(Fault::new(
                reason::TOO_LARGE,
                format!("passages of {bytes} bytes in one request; at most {MOST_PASSAGE_BYTES}"),
            ));
        }
        let is_outside =
            |passage: &&Passage| passage.begin < from || passage.end > to || passage.end < passage.begin;
        if let Some(passage) = passages.iter().find(is_outside) {
            return Err(bad(format!(
                "a passage of bytes {} to {} is not among the bytes {from} to {to}",
                passage.begin, passage.end
            )));
        }
        let passages: Vec<Passage> = passages
            .into_iter()
            .filter(|passage| passage.begin >= indexed)
            .collect();
        crew::assemble();
        let mut prepared = self.memory.prepare(passages).await;
        let kernel = self.clone();
        let (replaced, meta, first) = (found.supersedes(), found.meta(), self.entries_of(document));
        let done = tokio::task::spawn_blocking(move || {
            let known = prepared.leave_known_out(kernel.world(), &[], replaced);
            let chunks = prepared.objects(document, first, &meta, || kernel.image.state.allocate());
            (prepared, known, chunks)
        });
        let (prepared, known, chunks) = done
            .await
            .map_err(|error| Fault::new(reason::INTERNAL, error.to_string()))?;
        let mut draft = Draft::new(asker.author.clone());
        draft.reads.push(Read {
            object: document,
            slot: ReadSlot::Named("indexed".into(), found.0.slot("indexed").map(|slot| slot.changed)),
        });
        let (count, vectors) = (
            chunks.len() as u64,
            prepared.vectors.iter().flatten().count() as u64,
        );
        for (object, slots, vector) in chunks {
            draft.changes.push(Change::Create { object, slots });
            draft.changes.push(Change::Append {
                object: document,
                value: Value::Ref(object),
            });
            if vector.is_some() {
                draft.changes.push(Change::Vector { object, vector });
            }
        }
        let reached = if is_last {
            found.int("bytes").unwrap_or(to).max(to)
        } else {
            to
        };
        let mut put = |object: ObjectId, slot: &str, value: Value| {
            draft.changes.push(Change::Put {
                object,
                slot: slot.to_owned(),
                value,
            });
        };
        put(document, "indexed", int(reached));
        if is_last {
            put(document, "is_whole", Value::Bool(true));
            if let Some(former) = found.supersedes().filter(|id| self.document(*id).is_ok()) {
                put(former, "valid_until", Value::Time(now_us()));
            }
        }
        let transaction = match self.commit_memory(draft).await {
            Ok(transaction) => transaction,
            Err(CommitError::Conflict(_)) => return Err(moved_on(found.text("source").unwrap_or_default())),
            Err(error) => return Err(commit_fault(error)),
        };
        Ok(Answer::MemoryAdded(Added {
            document,
            indexed: reached,
            chunks: count,
            known,
            vectors,
            text_only: prepared.text_only,
            transaction,
        }))
    }

    /// Indexes a text at once, as far as it is not indexed yet.
    pub async fn add_text(
        self: &Arc<Self>,
        asker: &Asker,
        source: Option<String>,
        text: String,
        meta: Vec<(String, String)>,
    ) -> Result<Answer, Fault> {
        let digest = blake3::hash(text.as_bytes());
        let view = SourceView {
            source: source.unwrap_or_else(|| named_by(&digest)),
            format: "text".into(),
            digest: *digest.as_bytes(),
            bytes: text.len() as u64,
            at: None,
            meta,
        };
        let Answer::MemoryDocument(document) = self.begin_memory(asker, view).await? else {
            return Err(Fault::new(reason::INTERNAL, "a document without a view"));
        };
        if document.is_whole {
            return Ok(Answer::MemoryAdded(
                self.added_before(document.document, document.indexed),
            ));
        }
        let span = (0, text.len() as u64);
        self.add_memory(asker, document.document, span, paragraphs(&text), true)
            .await
    }

    pub(super) async fn commit_memory(&self, mut draft: Draft) -> Result<TransactionId, CommitError> {
        match self.keep_covenants(None, &draft.changes) {
            Ok(reads) => draft.reads.extend(reads),
            Err(fault) => return Err(CommitError::Refused(fault.message)),
        }
        self.image
            .committer
            .commit(draft)
            .await
            .map(|committed| committed.transaction)
    }

    pub(super) fn document(&self, id: ObjectId) -> Result<Document, Fault> {
        let image = self.image.state.object(id);
        image
            .and_then(Document::of)
            .ok_or_else(|| no_document(&id.to_string()))
    }

    pub(super) fn view(&self, document: &Document) -> DocumentView {
        document.view(self.entries_of(document.0.id))
    }

    pub(super) fn entries_of(&self, object: ObjectId) -> u64 {
        self.image.state.held(object).map_or(0, |held| held.entries)
    }

    fn added_before(&self, document: ObjectId, indexed: u64) -> Added {
        Added {
            document,
            indexed,
            chunks: 0,
            known: 0,
            vectors: 0,
            text_only: None,
            transaction: self.image.state.standing().last,
        }
    }
}

/// The name of a text that has no source.
pub fn named_by(digest: &blake3::Hash) -> String {
    format!("text:{}", &digest.to_hex()[..32])
}

pub fn check_source(source: &str) -> Result<(), Fault> {
    match source.trim().is_empty() || source.contains('\0') {
        true => Err(bad("a source has a name that is not empty".into())),
        false => Ok(()),
    }
}

pub fn check_meta(meta: &[(String, String)]) -> Result<(), Fault> {
    if meta.len() > MOST_META {
        return Err(bad(format!(
            "at most {MOST_META} pairs of meta, not {}",
            meta.len()
        )));
    }
    for (at, (key, value)) in meta.iter().enumerate() {
        if key.is_empty() || key.len() + value.len() > META_BYTES {
            return Err(bad(format!(
                "the pair of meta {key:?}: a key, and {META_BYTES} bytes with its value at most"
            )));
        }
        if meta[..at].iter().any(|(other, _)| other == key) {
            return Err(bad(format!("the key {key:?} of meta is given twice")));
        }
    }
    Ok(())
}

/// What is read of a log is what a system said, not a person.
fn trust_of(format: &str) -> &'static str {
    match format {
        "jsonl" => "log",
        _ => "person",
    }
}

pub fn bad(message: String) -> Fault {
    Fault::new(reason::BAD_ARGUMENT, message)
}

fn moved_on(source: &str) -> Fault {
    Fault::new(
        reason::MOVED_ON,
        format!(
            "another request indexes {source:?} at the same time; add it again, and what is missing follows"
        ),
    )
}
