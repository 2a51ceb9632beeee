//! What answers a question: BM25 over the terms, cosines over the vectors, both added.

mod best;
mod text_search;
mod vector_search;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use shared::id::ObjectId;

use self::text_search::TextSearch;
use self::vector_search::VectorSearch;
use super::analysis::{SPOKEN, pair};
use super::block::{self, Block};
use super::fresh::Fresh;
use super::kernels;
use super::matrix::{self, Matrix};
use super::postings;
use super::vector::Encoder;
use crate::image::lmdb::{Direction, Reading, Table};
use crate::memory::crew;

/// Chosen, like what follows, on Cranfield and CISI (`docs/memory.md`).
pub const K1: f32 = 1.6;
pub const B: f32 = 0.75;
/// What the text counts for beside the meaning.
pub const TEXT_SHARE: f32 = 0.3;
/// What the better of a chunk's neighbours adds to its own score by text: they speak of the same.
pub const NEIGHBOUR: f32 = 0.15;
/// What the question means is moved towards so many that answer it best, by so much of their mean (Rocchio 1971).
pub const LEADERS: usize = 3;
pub const MOVED: f32 = 0.75;
/// Fingerprints of nearly equal texts differ in so many bits at most.
pub const NEAR_BITS: u32 = 10;
/// So many are told that are near one text.
const NEAR_MOST: usize = 8;

/// What is asked of the index.
pub struct Question<'a> {
    pub words: &'a str,
    pub vector: Option<(Encoder, &'a [f32])>,
    /// Pairs of meta that a chunk must have.
    pub filters: &'a [(String, String)],
    /// How many are wanted in the end; the margin of the signatures is for these.
    pub wanted: usize,
    /// So many of the best of either search are scored by both.
    pub pool: usize,
    /// What may lead: what the answer may contain.
    pub is_valid: &'a dyn Fn(ObjectId) -> bool,
}

/// A chunk that may answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub chunk: ObjectId,
    pub score: f32,
    /// BM25.
    pub text: f32,
    /// `None` where the chunk has no vector of the asked encoder, or none was asked.
    pub cosine: Option<f32>,
    /// What each term adds to `text`, the largest first.
    pub terms: Vec<(String, f32)>,
}

/// The best first.
#[derive(Debug, Default)]
pub struct Recalled {
    pub candidates: Vec<Candidate>,
    /// Nothing that has a term or a vector is left out.
    pub is_all: bool,
}

/// What the index knows in all.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub chunks: u64,
    pub terms: u64,
    pub vectors: u64,
    /// Chunks by language.
    pub languages: BTreeMap<String, u64>,
}

/// Answers a question from an index with layers in front of it, the newest first.
pub fn recall(
    reading: &Reading<'_>,
    layers: &[Arc<Fresh>],
    question: &Question<'_>,
) -> Result<Recalled, ::lmdb::Error> {
    let fresh = merged(layers);
    let mut text = TextSearch::begin(reading, &fresh)?;
    let allowed = allowed(reading, &fresh, question.filters)?;
    let is_allowed = |id: ObjectId| allowed.as_ref().is_none_or(|allowed| allowed.contains(&id));
    let terms = text.score(question.words)?;
    let (mut pool, is_all_text) = text.best(question.pool, &is_allowed);
    let meaning = match question.vector {
        Some((encoder, numbers)) => Some(VectorSearch::begin(reading, &fresh, encoder, numbers)?),
        None => None,
    };
    let mut is_all = is_all_text;
    let mut cosines: FxHashMap<ObjectId, f32> = FxHashMap::default();
    if let Some(meaning) = &meaning {
        let is_eligible = |id: ObjectId| text.has(id) && is_allowed(id);
        let best = match &allowed {
            Some(allowed) => meaning.among(allowed.iter().copied().filter(|id| text.has(*id)), question.pool),
            None => meaning.best(question.pool, question.wanted, &is_eligible),
        };
        is_all &= best.len() < question.pool;
        cosines.extend(best.iter().map(|near| (near.chunk, near.cosine)));
        let known: FxHashSet<ObjectId> = pool.iter().copied().collect();
        pool.extend(
            best.iter()
                .map(|near| near.chunk)
                .filter(|id| !known.contains(id)),
        );
    }
    let mut candidates: Vec<Candidate> = pool
        .into_iter()
        .map(|chunk| Candidate {
            chunk,
            score: 0.0,
            text: text.of(chunk),
            cosine: meaning.as_ref().and_then(|meaning| {
                let known = cosines.get(&chunk).copied();
                known.or_else(|| meaning.of(chunk))
            }),
            terms: Vec::new(),
        })
        .collect();
    let by_text = |own: &Candidate| own.text + NEIGHBOUR * text.beside(own.chunk, &is_allowed);
    let cosine = meaning.as_ref().map(|_| |candidate: &Candidate| candidate.cosine);
    rank(&mut candidates, by_text, cosine);
    if let (Some(meaning), Some((_, numbers))) = (&meaning, question.vector) {
        let leaders = text.leaders(&candidates, question.is_valid);
        let moved = meaning.moved(numbers, &leaders);
        let likeness = |own: &Candidate| meaning.likeness(&moved, own.chunk);
        rank(&mut candidates, by_text, Some(likeness));
    }
    for candidate in &mut candidates {
        candidate.terms = text.explain(&terms, candidate.chunk);
    }
    Ok(Recalled { candidates, is_all })
}

/// For each fingerprint the chunks whose own is near it; a few of them.
pub fn near(
    reading: &Reading<'_>,
    layers: &[Arc<Fresh>],
    fingerprints: &[u64],
) -> Result<Vec<Vec<ObjectId>>, ::lmdb::Error> {
    let fresh = merged(layers);
    let mut found = vec![Vec::new(); fingerprints.len()];
    let mut meet = |id: ObjectId, own: u64| {
        if !kernels::is_near_any(own, fingerprints, NEAR_BITS) {
            return;
        }
        for (near, asked) in found.iter_mut().zip(fingerprints) {
            if (asked ^ own).count_ones() <= NEAR_BITS && near.len() < NEAR_MOST {
                near.push(id);
            }
        }
    };
    for (key, value) in reading.slices(Table::Chunks, &[], &[0xff; 8])? {
        let (number, block) = block_of(key, value)?;
        for (low, row) in block.rows() {
            let id = block::id_at(number, low);
            if !fresh.chunks.contains_key(&id) {
                meet(id, row.fingerprint);
            }
        }
    }
    let waiting: Vec<_> = fresh
        .chunks
        .iter()
        .filter_map(|(id, chunk)| Some((*id, chunk.as_ref()?)))
        .collect();
    let prints = crew::each(&waiting, |(_, chunk)| chunk.analysis().fingerprint);
    for ((id, _), own) in waiting.iter().zip(prints) {
        meet(*id, own);
    }
    Ok(found)
}

/// The first chunks from an id on that have no vector of an encoder, ascending.
pub fn unencoded(
    reading: &Reading<'_>,
    layers: &[Arc<Fresh>],
    encoder: Encoder,
    from: ObjectId,
    most: usize,
) -> Result<Vec<ObjectId>, ::lmdb::Error> {
    let fresh = merged(layers);
    let mut known: Option<(u64, Vec<u8>)> = None;
    let mut has_vector = |id: ObjectId| {
        if let Some(vector) = fresh.vectors.get(&id) {
            let own = vector.as_ref().map(|vector| vector.encoder());
            return Ok(own == Some(encoder));
        }
        let (number, low) = matrix::place(id);
        if known.as_ref().is_none_or(|(known, _)| *known != number) {
            let stored = reading.get(Table::Vectors, &matrix::key(encoder, number))?;
            known = Some((number, stored.unwrap_or_default()));
        }
        let bytes = known.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        if bytes.is_empty() {
            return Ok(false);
        }
        let block = Matrix::read(bytes).ok_or(::lmdb::Error::Corrupted)?;
        Ok(block.row(low).is_some())
    };
    let mut found = Vec::new();
    let first = block::place(from).0.to_be_bytes();
    'blocks: for (key, value) in reading.slices(Table::Chunks, &first, &[0xff; 8])? {
        let (number, block) = block_of(key, value)?;
        for (low, _) in block.rows() {
            let id = block::id_at(number, low);
            if id >= from && !fresh.chunks.contains_key(&id) && !has_vector(id)? {
                found.push(id);
                if found.len() == most {
                    break 'blocks;
                }
            }
        }
    }
    // Those of the index are the first of it, so the first of both are among them.
    for (id, chunk) in fresh.chunks.range(from..) {
        if chunk.is_some() && !has_vector(*id)? {
            found.push(*id);
        }
    }
    found.sort_unstable();
    found.truncate(most);
    Ok(found)
}

/// Whether a chunk may have a vector: there is one in the index or in a layer, which a newer layer may have taken away.
pub fn has_vectors(reading: &Reading<'_>, layers: &[Arc<Fresh>]) -> Result<bool, ::lmdb::Error> {
    let is_in_front = layers
        .iter()
        .any(|layer| layer.vectors.values().any(Option::is_some));
    let first = || reading.range(Table::Vectors, &[], &[0xff; 16], 1, Direction::Ascending);
    Ok(is_in_front || !first()?.is_empty())
}

/// Counts all that is there.
pub fn totals(reading: &Reading<'_>, layers: &[Arc<Fresh>]) -> Result<Totals, ::lmdb::Error> {
    let fresh = merged(layers);
    let mut totals = Totals::default();
    let text = TextSearch::begin(reading, &fresh)?;
    totals.chunks = text.chunks;
    totals.terms = text.total;
    for (key, value) in reading.slices(Table::Vectors, &[], &[0xff; 16])? {
        let matrix = Matrix::read(value).ok_or(::lmdb::Error::Corrupted)?;
        let Some((_, number)) = matrix::split(key) else {
            return Err(::lmdb::Error::Corrupted);
        };
        let lows = matrix.lows().map(|low| matrix::id_at(number, low));
        totals.vectors += lows
            .filter(|id| !fresh.vectors.contains_key(id) && text.has(*id))
            .count() as u64;
    }
    totals.vectors += fresh
        .vectors
        .iter()
        .filter(|(id, vector)| vector.is_some() && text.has(**id))
        .count() as u64;
    for language in text.languages()? {
        let mut term = vec![SPOKEN];
        term.extend(language.bytes());
        let count = text.postings(&term)?.len() as u64;
        if count > 0 {
            totals.languages.insert(language, count);
        }
    }
    Ok(totals)
}

/// All layers as one.
fn merged(layers: &[Arc<Fresh>]) -> Cow<'_, Fresh> {
    let mut full = layers.iter().filter(|layer| !layer.is_empty());
    match (full.next(), full.next()) {
        (None, _) => Cow::Owned(Fresh::default()),
        (Some(only), None) => Cow::Borrowed(only),
        _ => {
            let mut all = Fresh::default();
            layers.iter().rev().for_each(|layer| all.absorb(layer));
            Cow::Owned(all)
        }
    }
}

/// Scores by text and, where there is one, by a likeness, each as a part of the best, and puts the best first.
fn rank(
    candidates: &mut [Candidate],
    by_text: impl Fn(&Candidate) -> f32,
    likeness: Option<impl Fn(&Candidate) -> Option<f32>>,
) {
    let texts = parts(candidates.iter().map(by_text).collect());
    let alike = likeness.map(|likeness| {
        let alike = candidates.iter().map(|own| likeness(own).unwrap_or(0.0));
        parts(alike.collect())
    });
    for (at, candidate) in candidates.iter_mut().enumerate() {
        candidate.score = match &alike {
            Some(alike) => TEXT_SHARE * texts[at] + (1.0 - TEXT_SHARE) * alike[at],
            None => texts[at],
        };
    }
    candidates.sort_by(|one, other| {
        other
            .score
            .total_cmp(&one.score)
            .then(one.chunk.cmp(&other.chunk))
    });
}

/// Scores as parts of the best one.
fn parts(scores: Vec<f32>) -> Vec<f32> {
    let best = scores.iter().copied().fold(0.0, f32::max);
    let part = |own: f32| if best > 0.0 { own.max(0.0) / best } else { 0.0 };
    scores.into_iter().map(part).collect()
}

/// The chunks that have every pair; `None` without pairs.
fn allowed(
    reading: &Reading<'_>,
    fresh: &Fresh,
    filters: &[(String, String)],
) -> Result<Option<FxHashSet<ObjectId>>, ::lmdb::Error> {
    let mut allowed: Option<FxHashSet<ObjectId>> = None;
    for (key, value) in filters {
        let having = having(reading, fresh, &pair(key, value))?;
        let ids: FxHashSet<ObjectId> = having.into_iter().map(|(id, _)| id).collect();
        allowed = Some(match allowed {
            Some(before) => before.intersection(&ids).copied().collect(),
            None => ids,
        });
    }
    Ok(allowed)
}

/// The chunks that have a term, by ascending id, and how often.
fn having(reading: &Reading<'_>, fresh: &Fresh, term: &[u8]) -> Result<Vec<(ObjectId, u32)>, ::lmdb::Error> {
    let (from, to) = postings::range(term);
    let mut found = Vec::new();
    for (key, value) in reading.slices(Table::Postings, &from, &to)? {
        let (_, number) = postings::split(key).ok_or(::lmdb::Error::Corrupted)?;
        let is_whole = postings::each(value, |low, times| found.push((block::id_at(number, low), times)));
        if !is_whole {
            return Err(::lmdb::Error::Corrupted);
        }
    }
    if !fresh.chunks.is_empty() {
        found.retain(|(id, _)| !fresh.chunks.contains_key(id));
        for (id, chunk) in &fresh.chunks {
            if let Some(chunk) = chunk
                && let Some(times) = chunk.analysis().terms.get(term)
            {
                found.push((*id, *times));
            }
        }
        found.sort_unstable();
    }
    Ok(found)
}

fn block_of<'r>(key: &[u8], value: &'r [u8]) -> Result<(u32, Block<'r>), ::lmdb::Error> {
    match (<[u8; 4]>::try_from(key), Block::read(value)) {
        (Ok(key), Some(block)) => Ok((u32::from_be_bytes(key), block)),
        _ => Err(::lmdb::Error::Corrupted),
    }
}
