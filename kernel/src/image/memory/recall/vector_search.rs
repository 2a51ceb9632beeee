//! Cosines over every vector of one encoder, signatures first.

use shared::id::ObjectId;

use super::MOVED;
use super::best::{Best, Near};
use crate::image::lmdb::{Reading, Table};
use crate::image::memory::fresh::Fresh;
use crate::image::memory::kernels;
use crate::image::memory::matrix::{self, Matrix};
use crate::image::memory::vector::{Encoder, signature};

/// Up to so many vectors signatures gain nothing.
const FEW: usize = 20_000;
/// The signatures that are nearest are looked into first, so many at least.
const FIRST: usize = 1_000;
/// What is left out would have to be so many standard deviations off.
const DEVIATIONS: f32 = 4.0;
/// Where signatures leave more than this part of all, all are compared.
const WORTH: usize = 8;

/// Cosines over every vector of one encoder.
pub(super) struct VectorSearch<'r> {
    fresh: &'r Fresh,
    encoder: Encoder,
    blocks: Vec<(u64, Matrix<'r>)>,
    asked: Rounded,
    /// The asked numbers' signs.
    signature: Vec<u64>,
}

/// Numbers of length 1 as vectors are multiplied with.
pub(super) struct Rounded {
    numbers: Vec<i16>,
    scale: f32,
}

impl Rounded {
    pub(super) fn of(numbers: &[f32]) -> Rounded {
        let (numbers, scale) = kernels::asked(&unit(numbers));
        Rounded { numbers, scale }
    }

    pub(super) fn cosine(&self, numbers: &[u8], scale: f32) -> f32 {
        kernels::product(&self.numbers, numbers) as f32 * self.scale * scale
    }
}

impl<'r> VectorSearch<'r> {
    pub(super) fn begin(
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

    pub(super) fn cosine(&self, matrix: &Matrix<'_>, row: usize) -> f32 {
        self.asked.cosine(matrix.numbers(row), matrix.scale(row))
    }

    /// The cosine of one chunk.
    pub(super) fn of(&self, id: ObjectId) -> Option<f32> {
        self.likeness(&self.asked, id)
    }

    /// The cosine of one chunk with something else than was asked.
    pub(super) fn likeness(&self, asked: &Rounded, id: ObjectId) -> Option<f32> {
        let (numbers, scale) = self.kept(id)?;
        Some(asked.cosine(numbers, scale))
    }

    /// A chunk's numbers as they are kept, and their scale.
    pub(super) fn kept(&self, id: ObjectId) -> Option<(&[u8], f32)> {
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
    pub(super) fn moved(&self, numbers: &[f32], leaders: &[ObjectId]) -> Rounded {
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
    pub(super) fn among(&self, ids: impl Iterator<Item = ObjectId>, most: usize) -> Vec<Near> {
        let mut best = Best::new(most);
        for chunk in ids {
            if let Some(cosine) = self.of(chunk) {
                best.offer(chunk, cosine);
            }
        }
        best.sorted()
    }

    /// The nearest of all, the nearest first: of the first `wanted` none is missed, up to the odds in `docs/memory.md`.
    pub(super) fn best(
        &self,
        most: usize,
        wanted: usize,
        is_eligible: &dyn Fn(ObjectId) -> bool,
    ) -> Vec<Near> {
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
    pub(super) fn compare(
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
