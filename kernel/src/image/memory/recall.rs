//! What answers a question: BM25 over the terms, cosines over the vectors, both added.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use shared::id::ObjectId;

use super::analysis::{SPOKEN, asked, pair};
use super::block::{self, Block, Row};
use super::fresh::Fresh;
use super::kernels;
use super::matrix::{self, Matrix};
use super::postings;
use super::vector::{Encoder, signature};
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
/// Up to so many vectors signatures gain nothing.
const FEW: usize = 20_000;
/// The signatures that are nearest are looked into first, so many at least.
const FIRST: usize = 1_000;
/// What is left out would have to be so many standard deviations off.
const DEVIATIONS: f32 = 4.0;
/// Where signatures leave more than this part of all, all are compared.
const WORTH: usize = 8;
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
    let part_of = |scores: Vec<f32>| {
        let best = scores.iter().copied().fold(0.0, f32::max);
        let part = move |own: f32| if best > 0.0 { own.max(0.0) / best } else { 0.0 };
        scores.into_iter().map(part)
    };
    let texts = part_of(candidates.iter().map(by_text).collect());
    match likeness {
        Some(likeness) => {
            let alike = candidates.iter().map(|own| likeness(own).unwrap_or(0.0));
            let both = texts.zip(part_of(alike.collect())).collect::<Vec<_>>();
            for (candidate, (text, alike)) in candidates.iter_mut().zip(both) {
                candidate.score = TEXT_SHARE * text + (1.0 - TEXT_SHARE) * alike;
            }
        }
        None => candidates
            .iter_mut()
            .zip(texts)
            .for_each(|(candidate, text)| candidate.score = text),
    }
    candidates.sort_by(|one, other| {
        other
            .score
            .total_cmp(&one.score)
            .then(one.chunk.cmp(&other.chunk))
    });
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

/// BM25 over everything.
struct TextSearch<'r> {
    reading: &'r Reading<'r>,
    fresh: &'r Fresh,
    spaces: BTreeMap<u32, Space<'r>>,
    chunks: u64,
    total: u64,
}

/// A block of ids, and what its chunks score once one of them has a term.
#[derive(Default)]
struct Space<'r> {
    block: Option<Block<'r>>,
    /// One more than a chunk's length; zero for what is no chunk.
    lengths: Vec<u32>,
    scores: Vec<f32>,
}

/// A term of the question, what one coming of it is worth, and who has it.
struct Term {
    word: String,
    worth: f32,
    postings: Vec<(ObjectId, u32)>,
}

impl<'r> TextSearch<'r> {
    fn begin(reading: &'r Reading<'r>, fresh: &'r Fresh) -> Result<TextSearch<'r>, ::lmdb::Error> {
        let mut search = TextSearch {
            reading,
            fresh,
            spaces: BTreeMap::new(),
            chunks: 0,
            total: 0,
        };
        for (key, value) in reading.slices(Table::Chunks, &[], &[0xff; 8])? {
            let (number, block) = block_of(key, value)?;
            search.chunks += block.count() as u64;
            search.total += block.total();
            search.spaces.entry(number).or_default().block = Some(block);
        }
        for (id, chunk) in &fresh.chunks {
            let (number, low) = block::place(*id);
            let space = search.spaces.entry(number).or_default();
            if let Some(row) = space.block.and_then(|block| block.row(low)) {
                search.chunks -= 1;
                search.total -= u64::from(row.length);
            }
            if let Some(chunk) = chunk {
                search.chunks += 1;
                search.total += u64::from(Row::of(&chunk.analysis()).length);
            }
        }
        Ok(search)
    }

    fn has(&self, id: ObjectId) -> bool {
        if let Some(chunk) = self.fresh.chunks.get(&id) {
            return chunk.is_some();
        }
        let (number, low) = block::place(id);
        let block = self.spaces.get(&number).and_then(|space| space.block);
        block.is_some_and(|block| block.has(low))
    }

    fn of(&self, id: ObjectId) -> f32 {
        let (number, low) = block::place(id);
        let space = self.spaces.get(&number);
        let score = space.and_then(|space| space.scores.get(usize::from(low)));
        score.copied().unwrap_or(0.0)
    }

    /// The better score of the chunks whose ids lie beside one's: mostly those before and after it in its document, and else a
    /// score of no great weight.
    fn beside(&self, id: ObjectId, is_allowed: &dyn Fn(ObjectId) -> bool) -> f32 {
        let beside = [id.0.checked_sub(1), id.0.checked_add(1)].into_iter().flatten();
        let allowed = beside.map(ObjectId).filter(|id| is_allowed(*id));
        allowed.map(|id| self.of(id)).fold(0.0, f32::max)
    }

    /// Those of candidates, the best first, that lead: what may be in the answer, and no two that are nearly the same.
    fn leaders(&self, candidates: &[Candidate], is_valid: &dyn Fn(ObjectId) -> bool) -> Vec<ObjectId> {
        let mut leaders: Vec<(ObjectId, u64)> = Vec::new();
        for candidate in candidates.iter().filter(|candidate| candidate.cosine.is_some()) {
            let Some(own) = self.fingerprint(candidate.chunk) else {
                continue;
            };
            let is_near = |(_, other): &(ObjectId, u64)| (own ^ other).count_ones() <= NEAR_BITS;
            if !leaders.iter().any(is_near) && is_valid(candidate.chunk) {
                leaders.push((candidate.chunk, own));
            }
            if leaders.len() == LEADERS {
                break;
            }
        }
        leaders.into_iter().map(|(id, _)| id).collect()
    }

    fn fingerprint(&self, id: ObjectId) -> Option<u64> {
        if let Some(chunk) = self.fresh.chunks.get(&id) {
            return chunk.as_ref().map(|chunk| chunk.analysis().fingerprint);
        }
        let (number, low) = block::place(id);
        let block = self.spaces.get(&number)?.block?;
        block.row(low).map(|row| row.fingerprint)
    }

    fn postings(&self, term: &[u8]) -> Result<Vec<(ObjectId, u32)>, ::lmdb::Error> {
        having(self.reading, self.fresh, term)
    }

    /// The languages that chunks are in.
    fn languages(&self) -> Result<Vec<String>, ::lmdb::Error> {
        let mut found: Vec<String> = Vec::new();
        let mut add = |term: &[u8]| {
            let language = String::from_utf8_lossy(&term[1..]).into_owned();
            if !found.contains(&language) {
                found.push(language);
            }
        };
        for (key, _) in self.reading.slices(Table::Postings, &[SPOKEN], &[SPOKEN + 1])? {
            add(postings::split(key).ok_or(::lmdb::Error::Corrupted)?.0);
        }
        for chunk in self.fresh.chunks.values().flatten() {
            let analysis = chunk.analysis();
            analysis
                .terms
                .keys()
                .filter(|term| term[0] == SPOKEN)
                .for_each(|term| add(term));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Scores every chunk; answers the terms for explaining it.
    fn score(&mut self, words: &str) -> Result<Vec<Term>, ::lmdb::Error> {
        let average = (self.total as f32 / (self.chunks.max(1)) as f32).max(1.0);
        let mut terms = Vec::new();
        for word in asked(words, &self.languages()?) {
            let postings = self.postings(word.as_bytes())?;
            if postings.is_empty() {
                continue;
            }
            let having = postings.len() as f32;
            let worth = (1.0 + (self.chunks as f32 - having + 0.5) / (having + 0.5)).ln();
            terms.push(Term {
                word,
                worth,
                postings,
            });
        }
        for term in &terms {
            let mut at: Option<(u32, &mut Space)> = None;
            for (id, times) in &term.postings {
                let (number, low) = block::place(*id);
                if at.as_ref().is_none_or(|(known, _)| *known != number) {
                    at = self.spaces.get_mut(&number).map(|space| (number, space));
                }
                if let Some((_, space)) = &mut at {
                    if space.scores.is_empty() {
                        space.fill(number, self.fresh);
                    }
                    let length = space.lengths[usize::from(low)];
                    space.scores[usize::from(low)] += term.worth * weight(*times, length, average);
                }
            }
        }
        Ok(terms)
    }

    /// What each term adds to a chunk's score.
    fn explain(&self, terms: &[Term], id: ObjectId) -> Vec<(String, f32)> {
        let average = (self.total as f32 / (self.chunks.max(1)) as f32).max(1.0);
        let (number, low) = block::place(id);
        let space = self.spaces.get(&number);
        let Some(length) = space.and_then(|space| space.lengths.get(usize::from(low)).copied()) else {
            return Vec::new();
        };
        let mut found: Vec<(String, f32)> = terms
            .iter()
            .filter_map(|term| {
                let at = term.postings.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                let times = term.postings[at].1;
                Some((term.word.clone(), term.worth * weight(times, length, average)))
            })
            .collect();
        found.sort_by(|one, other| other.1.total_cmp(&one.1));
        found
    }

    /// The best that have a term, the best first, and whether that is all of them.
    fn best(&self, most: usize, is_allowed: &dyn Fn(ObjectId) -> bool) -> (Vec<ObjectId>, bool) {
        let mut best = Best::new(most);
        for (number, space) in &self.spaces {
            for (low, score) in space.scores.iter().enumerate() {
                if *score > 0.0 && space.lengths[low] > 0 && best.would_take(*score) {
                    let id = block::id_at(*number, low as u16);
                    if is_allowed(id) {
                        best.offer(id, *score);
                    }
                }
            }
        }
        let is_all = !best.has_left_out;
        (best.sorted().into_iter().map(|near| near.chunk).collect(), is_all)
    }
}

impl Space<'_> {
    /// Makes room for scores, and finds the lengths that they need.
    fn fill(&mut self, number: u32, fresh: &Fresh) {
        self.scores = vec![0.0; block::IDS];
        self.lengths = vec![0; block::IDS];
        for (low, row) in self.block.iter().flat_map(Block::rows) {
            self.lengths[usize::from(low)] = u32::from(row.length) + 1;
        }
        let (first, last) = (
            block::id_at(number, 0),
            block::id_at(number, block::IDS as u16 - 1),
        );
        for (id, chunk) in fresh.chunks.range(first..=last) {
            let length = chunk
                .as_ref()
                .map(|chunk| u32::from(Row::of(&chunk.analysis()).length) + 1);
            self.lengths[usize::from(block::place(*id).1)] = length.unwrap_or(0);
        }
    }
}

/// What so many comings of a term weigh in a chunk of a length, which is one more than its own.
fn weight(times: u32, length: u32, average: f32) -> f32 {
    let times = times as f32;
    let length = length.saturating_sub(1) as f32;
    times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length / average))
}

/// A chunk and how near it is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Near {
    chunk: ObjectId,
    cosine: f32,
}

impl Eq for Near {}

impl Ord for Near {
    /// The worst is the greatest, as a heap shows it first.
    fn cmp(&self, other: &Near) -> Ordering {
        other
            .cosine
            .total_cmp(&self.cosine)
            .then(self.chunk.cmp(&other.chunk))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Near) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best of many.
struct Best {
    most: usize,
    heap: BinaryHeap<Near>,
    has_left_out: bool,
}

impl Best {
    fn new(most: usize) -> Best {
        Best {
            most,
            heap: BinaryHeap::with_capacity(most + 1),
            has_left_out: false,
        }
    }

    fn would_take(&mut self, score: f32) -> bool {
        let is_better =
            self.heap.len() < self.most || self.heap.peek().is_some_and(|worst| score >= worst.cosine);
        self.has_left_out |= !is_better;
        is_better
    }

    fn offer(&mut self, chunk: ObjectId, cosine: f32) {
        self.heap.push(Near { chunk, cosine });
        if self.heap.len() > self.most {
            self.heap.pop();
            self.has_left_out = true;
        }
    }

    fn sorted(self) -> Vec<Near> {
        self.heap.into_sorted_vec()
    }
}

/// Cosines over every vector of one encoder.
struct VectorSearch<'r> {
    fresh: &'r Fresh,
    encoder: Encoder,
    blocks: Vec<(u64, Matrix<'r>)>,
    asked: Rounded,
    /// The asked numbers' signs.
    signature: Vec<u64>,
}

/// Numbers of length 1 as vectors are multiplied with.
struct Rounded {
    numbers: Vec<i16>,
    scale: f32,
}

impl Rounded {
    fn of(numbers: &[f32]) -> Rounded {
        let (numbers, scale) = kernels::asked(&unit(numbers));
        Rounded { numbers, scale }
    }

    fn cosine(&self, numbers: &[u8], scale: f32) -> f32 {
        kernels::product(&self.numbers, numbers) as f32 * self.scale * scale
    }
}

impl<'r> VectorSearch<'r> {
    fn begin(
        reading: &'r Reading<'r>,
        fresh: &'r Fresh,
        encoder: Encoder,
        numbers: &[f32],
    ) -> Result<VectorSearch<'r>, ::lmdb::Error> {
        let signs: Vec<u8> = numbers.iter().map(|number| u8::from(*number > 0.0)).collect();
        let (from, to) = matrix::range(encoder);
        let mut blocks = Vec::new();
        for (key, value) in reading.slices(Table::Vectors, &from, &to)? {
            let (_, number) = matrix::split(key).ok_or(::lmdb::Error::Corrupted)?;
            let matrix = Matrix::read(value).ok_or(::lmdb::Error::Corrupted)?;
            if matrix.dimension == numbers.len() {
                blocks.push((number, matrix));
            }
        }
        Ok(VectorSearch {
            fresh,
            encoder,
            blocks,
            asked: Rounded::of(numbers),
            signature: signature(&signs),
        })
    }

    fn cosine(&self, matrix: &Matrix<'_>, row: usize) -> f32 {
        self.asked.cosine(matrix.numbers(row), matrix.scale(row))
    }

    /// The cosine of one chunk.
    fn of(&self, id: ObjectId) -> Option<f32> {
        self.likeness(&self.asked, id)
    }

    /// The cosine of one chunk with something else than was asked.
    fn likeness(&self, asked: &Rounded, id: ObjectId) -> Option<f32> {
        let (numbers, scale) = self.kept(id)?;
        Some(asked.cosine(numbers, scale))
    }

    /// A chunk's numbers as they are kept, and their scale.
    fn kept(&self, id: ObjectId) -> Option<(&[u8], f32)> {
        if let Some(vector) = self.fresh.vectors.get(&id) {
            let vector = vector.as_ref()?;
            let is_comparable =
                vector.encoder() == self.encoder && vector.dimension() == self.asked.numbers.len();
            return is_comparable.then(|| (vector.numbers(), vector.scale()));
        }
        let (number, low) = matrix::place(id);
        let at = self
            .blocks
            .binary_search_by_key(&number, |(number, _)| *number)
            .ok()?;
        let matrix = &self.blocks[at].1;
        let row = matrix.row(low)?;
        Some((matrix.numbers(row), matrix.scale(row)))
    }

    /// The numbers of a question, moved towards the mean of some chunks'.
    fn moved(&self, numbers: &[f32], leaders: &[ObjectId]) -> Rounded {
        let mut moved = unit(numbers);
        let share = MOVED / leaders.len().max(1) as f32;
        for (numbers, scale) in leaders.iter().filter_map(|id| self.kept(*id)) {
            let leader = numbers.iter().map(|number| f32::from(*number as i8) * scale);
            moved
                .iter_mut()
                .zip(leader)
                .for_each(|(own, other)| *own += share * other);
        }
        Rounded::of(&moved)
    }

    /// The nearest of these, the nearest first.
    fn among(&self, ids: impl Iterator<Item = ObjectId>, most: usize) -> Vec<Near> {
        let mut best = Best::new(most);
        for chunk in ids {
            if let Some(cosine) = self.of(chunk) {
                best.offer(chunk, cosine);
            }
        }
        best.sorted()
    }

    /// The nearest of all, the nearest first: of the first `wanted` none is missed, up to the odds in `docs/memory.md`.
    fn best(&self, most: usize, wanted: usize, is_eligible: &dyn Fn(ObjectId) -> bool) -> Vec<Near> {
        let all: usize = self.blocks.iter().map(|(_, matrix)| matrix.count).sum();
        let mut best = Best::new(most);
        for (id, vector) in &self.fresh.vectors {
            if vector.is_some()
                && is_eligible(*id)
                && let Some(cosine) = self.of(*id)
            {
                best.offer(*id, cosine);
            }
        }
        if all <= FEW {
            self.compare(None, (0, u16::MAX), &mut best, is_eligible);
            return best.sorted();
        }
        let dimension = self.asked.numbers.len();
        let mut distances = Vec::with_capacity(all);
        for (_, matrix) in &self.blocks {
            kernels::distances(&self.signature, matrix.signatures, &mut distances);
        }
        let mut counts = vec![0usize; dimension + 65];
        distances
            .iter()
            .for_each(|distance| counts[usize::from(*distance)] += 1);
        let within = |most: usize| counts[..=most.min(counts.len() - 1)].iter().sum::<usize>();
        let mut near = 0;
        let mut sum = 0;
        while near + 1 < counts.len() && sum + counts[near] < FIRST.max(4 * most) {
            sum += counts[near];
            near += 1;
        }
        self.compare(Some(&distances), (0, near as u16), &mut best, is_eligible);
        let mut found: Vec<f32> = best.heap.iter().map(|near| near.cosine).collect();
        found.sort_by(|one, other| other.total_cmp(one));
        let last = found.get(wanted.max(1) - 1).copied().unwrap_or(-1.0);
        let needed = margin(last, dimension);
        if needed > near {
            let rest = match within(needed) > all / WORTH {
                true => counts.len(),
                false => needed,
            };
            self.compare(
                Some(&distances),
                (near as u16 + 1, rest as u16),
                &mut best,
                is_eligible,
            );
        }
        best.sorted()
    }

    /// Offers every vector whose signature's distance lies within bounds, both included.
    fn compare(
        &self,
        distances: Option<&[u16]>,
        (from, to): (u16, u16),
        best: &mut Best,
        is_eligible: &dyn Fn(ObjectId) -> bool,
    ) {
        let mut before = 0;
        for (number, matrix) in &self.blocks {
            let own = distances.map(|distances| &distances[before..before + matrix.count]);
            before += matrix.count;
            let is_wanted = |row: usize| own.is_none_or(|own| (from..=to).contains(&own[row]));
            let mut take = |row: usize, low: u8| {
                if !is_wanted(row) {
                    return;
                }
                let cosine = self.cosine(matrix, row);
                if best.would_take(cosine) {
                    let id = matrix::id_at(*number, low);
                    if !self.fresh.vectors.contains_key(&id) && is_eligible(id) {
                        best.offer(id, cosine);
                    }
                }
            };
            match matrix.is_full() {
                true => (0..matrix.count).for_each(|row| take(row, row as u8)),
                false => matrix.lows().enumerate().for_each(|(row, low)| take(row, low)),
            }
        }
    }
}

/// Numbers of length 1.
fn unit(numbers: &[f32]) -> Vec<f32> {
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
    numbers
        .iter()
        .map(|number| number / length.max(f32::MIN_POSITIVE))
        .collect()
}

/// The distance of signatures within which a vector of that cosine lies, up to a few standard deviations.
fn margin(cosine: f32, dimension: usize) -> usize {
    let share = cosine.clamp(-1.0, 1.0).acos() / std::f32::consts::PI;
    let dimension = dimension as f32;
    let deviation = (dimension * share * (1.0 - share)).sqrt();
    (dimension * share + DEVIATIONS * deviation).ceil() as usize
}
