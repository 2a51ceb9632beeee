//! What answers a question: the candidates of the index, valid ones, each with its reasons, neighbours joined, equals dropped.

use std::collections::HashMap;
use std::sync::Arc;

use shared::bridge::{Answer, Fault, Hit};
use shared::id::ObjectId;
use shared::reason;

use super::document::{Chunk, Document, now_us};
use super::{Memory, add::bad};
use crate::image::memory::analysis::{fingerprint, likeness};
use crate::image::memory::fresh::Fresh;
use crate::image::memory::recall::{Candidate, NEAR_BITS, Question};
use crate::image::memory::vector::Encoder;
use crate::kernel::Kernel;
use crate::overlay::{Overlay, World};

/// The best of either search that are scored by both, unless more are needed.
const POOL: usize = 200;
/// A search that finds too few that are valid is widened so many times, each time so many times.
const WIDENINGS: u32 = 4;
const WIDER: usize = 5;
/// Hits that share so many pairs of words are the same to who asks.
const SAME: f32 = 0.9;
/// So many hits at most.
pub const MOST_HITS: usize = 1_000;
/// Bytes of a question, at most.
const QUESTION_BYTES: usize = 32 << 10;
/// Why meaning is not looked at where nothing has one.
const NO_VECTORS: &str = "no chunk of the memory has a vector; `batos memory encode` gives each its own where an encoder answers (./scripts/embedding-model fetches one)";

/// A question with all that was asked of the encoder.
pub struct Asked {
    pub question: String,
    pub k: usize,
    pub filters: Vec<(String, String)>,
    /// Microseconds since 1970; `None` is now.
    pub at: Option<i64>,
    /// What the question means, or why nobody says so.
    pub meaning: Result<(Encoder, Vec<f32>), String>,
}

/// Whether there is anything that a question's meaning could be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanings {
    Some,
    None,
}

/// What was found.
pub struct Found {
    pub hits: Vec<Hit>,
    pub text_only: Option<String>,
}

impl Memory {
    /// Has a question encoded, if there are meanings to compare its own with, and somebody encodes.
    pub async fn ask(
        &self,
        meanings: Meanings,
        question: String,
        k: usize,
        filters: Vec<(String, String)>,
        at: Option<i64>,
    ) -> Result<Asked, Fault> {
        if question.len() > QUESTION_BYTES {
            return Err(Fault::new(
                reason::TOO_LARGE,
                format!(
                    "a question has at most {QUESTION_BYTES} bytes, this one has {}",
                    question.len()
                ),
            ));
        }
        if !(1..=MOST_HITS).contains(&k) {
            return Err(bad(format!("1 to {MOST_HITS} hits can be asked for, not {k}")));
        }
        let meaning = match meanings {
            _ if question.trim().is_empty() => Err("the question is empty".into()),
            // An encoder that does not answer would be waited for, for nothing.
            Meanings::None => Err(NO_VECTORS.into()),
            Meanings::Some => self
                .model
                .embed(std::slice::from_ref(&question))
                .await
                .and_then(|encoded| {
                    let encoder = encoded.encoder;
                    let vector = encoded.vectors.into_iter().next();
                    vector
                        .map(|vector| (encoder, vector))
                        .ok_or_else(|| "the encoder answered nothing".into())
                }),
        };
        Ok(Asked {
            question,
            k,
            filters,
            at,
            meaning,
        })
    }
}

impl Meanings {
    /// Those that are seen from a world; `own` stands in front of it.
    pub fn of(world: World<'_>, own: Option<Arc<Fresh>>) -> Meanings {
        let mut pending: Vec<Arc<Fresh>> = own.into_iter().collect();
        pending.extend(world.memory());
        match world.state.has_vectors(&pending) {
            true => Meanings::Some,
            false => Meanings::None,
        }
    }
}

impl Asked {
    /// Answers from a world; `own` stands in front of it.
    pub fn answer(&self, world: World<'_>, own: Option<Arc<Fresh>>) -> Found {
        let mut pending: Vec<Arc<Fresh>> = own.into_iter().collect();
        pending.extend(world.memory());
        let at = self.at.unwrap_or_else(now_us);
        let mut pool = POOL.max(self.k.saturating_mul(10));
        let mut widened = 0;
        let is_valid = |id: ObjectId| {
            let chunk = Chunk::seen(world, &pending, id);
            let document = chunk.and_then(|chunk| Document::seen(world, chunk.document()?));
            document.is_none_or(|document| document.is_valid(at))
        };
        loop {
            let question = Question {
                words: &self.question,
                vector: match &self.meaning {
                    Ok((encoder, numbers)) => Some((*encoder, numbers)),
                    Err(_) => None,
                },
                filters: &self.filters,
                wanted: self.k,
                pool,
                is_valid: &is_valid,
            };
            let recalled = world.state.recall(&pending, &question);
            let mut gathering = Gathering {
                world,
                pending: &pending,
                at,
                documents: HashMap::new(),
                hits: Vec::new(),
            };
            for candidate in &recalled.candidates {
                gathering.take(candidate, self.k);
            }
            if gathering.hits.len() >= self.k || recalled.is_all || widened >= WIDENINGS {
                return Found {
                    hits: gathering.hits.into_iter().map(Gathered::hit).collect(),
                    text_only: self.meaning.as_ref().err().cloned(),
                };
            }
            widened += 1;
            pool *= WIDER;
        }
    }
}

/// Hits as they are gathered, the best first.
struct Gathering<'a> {
    world: World<'a>,
    pending: &'a [Arc<Fresh>],
    at: i64,
    documents: HashMap<ObjectId, Option<Arc<Document>>>,
    hits: Vec<Gathered>,
}

/// A hit and the chunks that it is made of, by their ordinals.
struct Gathered {
    hit: Hit,
    chunks: Vec<(u64, u64, u64, String)>,
    fingerprint: u64,
}

impl Gathering<'_> {
    /// Takes a candidate as a hit, or joins it to one, or leaves it.
    fn take(&mut self, candidate: &Candidate, most: usize) {
        let Some(chunk) = Chunk::seen(self.world, self.pending, candidate.chunk) else {
            return;
        };
        let Some(id) = chunk.document() else { return };
        let document = match self.documents.get(&id) {
            Some(known) => known.clone(),
            None => {
                let found = Document::seen(self.world, id).map(Arc::new);
                self.documents.insert(id, found.clone());
                found
            }
        };
        // A document that this very send makes is not in the world yet; it is valid.
        if document
            .as_ref()
            .is_some_and(|document| !document.is_valid(self.at))
        {
            return;
        }
        let (begin, end, ordinal) = chunk.span();
        let text = chunk.text();
        let print = fingerprint(text);
        let is_near = |hit: &Gathered| (hit.fingerprint ^ print).count_ones() <= NEAR_BITS;
        if self
            .hits
            .iter()
            .any(|hit| is_near(hit) && likeness(&hit.hit.text, text) >= SAME)
        {
            return;
        }
        let neighbour = self.hits.iter_mut().find(|hit| {
            hit.hit.document == id && hit.chunks.iter().any(|(other, ..)| other.abs_diff(ordinal) == 1)
        });
        if let Some(hit) = neighbour {
            hit.chunks.push((ordinal, begin, end, text.to_owned()));
            return;
        }
        if self.hits.len() >= most {
            return;
        }
        let words = |slot: &str| {
            let document = document.as_ref();
            document
                .and_then(|document| document.text(slot))
                .unwrap_or_default()
                .to_owned()
        };
        let hit = Hit {
            chunk: candidate.chunk,
            document: id,
            source: words("source"),
            begin,
            end,
            text: text.to_owned(),
            score: candidate.score,
            text_score: candidate.text,
            vector_score: candidate.cosine,
            terms: candidate.terms.clone(),
            at: chunk
                .at()
                .or_else(|| document.as_ref().and_then(|document| document.time("at"))),
            author: words("author"),
            trust: words("trust"),
            meta: document
                .as_ref()
                .map(|document| document.meta())
                .unwrap_or_default(),
            joined: 1,
        };
        self.hits.push(Gathered {
            hit,
            chunks: vec![(ordinal, begin, end, text.to_owned())],
            fingerprint: print,
        });
    }
}

impl Gathered {
    /// Neighbours joined in their order.
    fn hit(mut self) -> Hit {
        self.chunks.sort();
        self.hit.joined = self.chunks.len() as u32;
        self.hit.begin = self.chunks.iter().map(|(_, begin, ..)| *begin).min().unwrap_or(0);
        self.hit.end = self.chunks.iter().map(|(_, _, end, _)| *end).max().unwrap_or(0);
        let texts: Vec<String> = self.chunks.into_iter().map(|(.., text)| text).collect();
        self.hit.text = texts.join("\n");
        self.hit
    }
}

impl Kernel {
    /// What the memory knows about a question, for a thought: its overlay, if it has one, is seen. What is found is noted, so that
    /// no method can bring it back as if it were new.
    pub async fn retrieve(
        &self,
        overlay: Option<&Overlay>,
        question: &str,
        k: usize,
        filters: Vec<(String, String)>,
        at: Option<i64>,
    ) -> Result<Found, Fault> {
        let world = World {
            state: &self.image.state,
            overlay,
        };
        let meanings = tokio::task::block_in_place(|| Meanings::of(world, None));
        let question = question.to_owned();
        let asked = self.memory.ask(meanings, question, k, filters, at).await?;
        let found = tokio::task::block_in_place(|| asked.answer(world, None));
        found
            .hits
            .iter()
            .for_each(|hit| self.memory.ledger.note(&hit.text));
        Ok(found)
    }

    /// The same for a person.
    pub async fn search_memory(
        &self,
        question: String,
        k: u32,
        filters: Vec<(String, String)>,
        at: Option<&str>,
    ) -> Result<Answer, Fault> {
        let at = at.map(moment).transpose()?;
        let meanings = tokio::task::block_in_place(|| Meanings::of(self.world(), None));
        let asked = self
            .memory
            .ask(meanings, question, k as usize, filters, at)
            .await?;
        let found = tokio::task::block_in_place(|| asked.answer(self.world(), None));
        Ok(Answer::MemoryHits {
            hits: found.hits,
            text_only: found.text_only,
        })
    }
}

/// The time that a text means, in microseconds since 1970.
pub fn moment(text: &str) -> Result<i64, Fault> {
    let unix_ms = crate::past::time(text).and_then(|ms| i64::try_from(ms).ok());
    unix_ms.map(|ms| ms.saturating_mul(1_000)).ok_or_else(|| {
        bad(format!(
            "{text:?} is no time such as 2026-11-21, 2026-11-21T03:00:00Z or -10m (before now)"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// An encoder that never says whether it is one cost every search of a memory without vectors two seconds.
    #[tokio::test]
    async fn an_encoder_is_asked_only_where_there_is_something_to_compare() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("model.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let memory = Memory::new(socket);
        let ask = |meanings| memory.ask(meanings, "horse".into(), 3, Vec::new(), None);
        let told = ask(Meanings::None).await.unwrap().meaning.unwrap_err();
        assert_eq!(told, NO_VECTORS);
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

        listener.set_nonblocking(false).unwrap();
        let hung_up = thread::spawn(move || drop(listener.accept().unwrap()));
        let told = ask(Meanings::Some).await.unwrap().meaning.unwrap_err();
        assert!(told.contains("no inference-worker"), "{told}");
        hung_up.join().unwrap();
    }
}
