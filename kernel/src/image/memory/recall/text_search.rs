//! BM25 (Robertson, Walker et al. 1995) over every chunk.

use std::collections::BTreeMap;

use shared::id::ObjectId;

use super::best::Best;
use super::{B, Candidate, K1, LEADERS, NEAR_BITS, block_of, having};
use crate::image::lmdb::{Reading, Table};
use crate::image::memory::analysis::{SPOKEN, asked};
use crate::image::memory::block::{self, Block, Row};
use crate::image::memory::fresh::Fresh;
use crate::image::memory::{kernels, postings};

/// BM25 over everything.
pub(super) struct TextSearch<'r> {
    reading: &'r Reading<'r>,
    fresh: &'r Fresh,
    spaces: BTreeMap<u32, Space<'r>>,
    pub(super) chunks: u64,
    pub(super) total: u64,
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
pub(super) struct Term {
    word: String,
    worth: f32,
    postings: Vec<(ObjectId, u32)>,
}

impl<'r> TextSearch<'r> {
    pub(super) fn begin(reading: &'r Reading<'r>, fresh: &'r Fresh) -> Result<TextSearch<'r>, ::lmdb::Error> {
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

    pub(super) fn has(&self, id: ObjectId) -> bool {
        if let Some(chunk) = self.fresh.chunks.get(&id) {
            return chunk.is_some();
        }
        let (number, low) = block::place(id);
        let block = self.spaces.get(&number).and_then(|space| space.block);
        block.is_some_and(|block| block.has(low))
    }

    pub(super) fn of(&self, id: ObjectId) -> f32 {
        let (number, low) = block::place(id);
        let space = self.spaces.get(&number);
        let score = space.and_then(|space| space.scores.get(usize::from(low)));
        score.copied().unwrap_or(0.0)
    }

    /// The better score of the chunks whose ids lie beside one's: mostly those before and after it in its document, and else a
    /// score of no great weight.
    pub(super) fn beside(&self, id: ObjectId, is_allowed: &dyn Fn(ObjectId) -> bool) -> f32 {
        let beside = [id.0.checked_sub(1), id.0.checked_add(1)].into_iter().flatten();
        let allowed = beside.map(ObjectId).filter(|id| is_allowed(*id));
        allowed.map(|id| self.of(id)).fold(0.0, f32::max)
    }

    /// Those of candidates, the best first, that lead: what may be in the answer, and no two that are nearly the same.
    pub(super) fn leaders(
        &self,
        candidates: &[Candidate],
        is_valid: &dyn Fn(ObjectId) -> bool,
    ) -> Vec<ObjectId> {
        let (mut leaders, mut prints) = (Vec::new(), Vec::new());
        for candidate in candidates.iter().filter(|candidate| candidate.cosine.is_some()) {
            let Some(own) = self.fingerprint(candidate.chunk) else {
                continue;
            };
            if !kernels::is_near_any(own, &prints, NEAR_BITS) && is_valid(candidate.chunk) {
                leaders.push(candidate.chunk);
                prints.push(own);
            }
            if leaders.len() == LEADERS {
                break;
            }
        }
        leaders
    }

    pub(super) fn fingerprint(&self, id: ObjectId) -> Option<u64> {
        if let Some(chunk) = self.fresh.chunks.get(&id) {
            return chunk.as_ref().map(|chunk| chunk.analysis().fingerprint);
        }
        let (number, low) = block::place(id);
        let block = self.spaces.get(&number)?.block?;
        block.row(low).map(|row| row.fingerprint)
    }

    pub(super) fn postings(&self, term: &[u8]) -> Result<Vec<(ObjectId, u32)>, ::lmdb::Error> {
        having(self.reading, self.fresh, term)
    }

    /// The languages that chunks are in.
    pub(super) fn languages(&self) -> Result<Vec<String>, ::lmdb::Error> {
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
    pub(super) fn score(&mut self, words: &str) -> Result<Vec<Term>, ::lmdb::Error> {
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
    pub(super) fn explain(&self, terms: &[Term], id: ObjectId) -> Vec<(String, f32)> {
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
    pub(super) fn best(&self, most: usize, is_allowed: &dyn Fn(ObjectId) -> bool) -> (Vec<ObjectId>, bool) {
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
    pub(super) fn fill(&mut self, number: u32, fresh: &Fresh) {
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
