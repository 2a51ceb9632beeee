//! Which rows of a batch look at which positions, as tensors that all layers use.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};

use crate::model::cache::POSITIONS;
use crate::model::{Row, rope};

pub struct Batch {
    /// `[m]`.
    pub tokens: Tensor,
    /// Where each row's key and value go, `[m]`.
    pub slots: Tensor,
    /// `[m][head dimension / 2]`.
    pub cosines: Tensor,
    pub sines: Tensor,
    /// Sequences with several rows.
    pub prompts: Vec<Prompt>,
    /// Those with one.
    pub texts: Option<Texts>,
    /// Where each row stands behind the prompts' rows and the texts', when that is not its own place.
    pub order: Option<Tensor>,
    /// Rows whose logits are wanted.
    pub wanted: Option<Tensor>,
}

/// Rows of one sequence.
pub struct Prompt {
    pub rows: Range<usize>,
    /// All its positions.
    pub slots: Tensor,
    /// 0 where a row sees a position, else minus infinity: `[rows][positions]`.
    pub mask: Tensor,
}

/// The next token of some sequences.
pub struct Texts {
    /// Which rows they are.
    pub rows: Tensor,
    /// Their positions, each filled up to the longest: `[rows · longest]`.
    pub slots: Tensor,
    pub longest: usize,
    /// As in a prompt: `[rows][1][1][longest]`.
    pub mask: Tensor,
}

impl Batch {
    pub fn of(rows: &[Row<'_>], device: &Device, speeds: &[f32], kind: DType) -> Result<Batch> {
        let m = rows.len();
        let mut angles = vec![(0.0, 0.0); m * speeds.len()];
        for (row, angles) in rows.iter().zip(angles.chunks_mut(speeds.len())) {
            rope::angles(speeds, row.position, angles);
        }
        let of_angles = |one: fn(&(f32, f32)) -> f32| {
            Tensor::from_iter(angles.iter().map(one), device)?
                .reshape((m, speeds.len()))?
                .to_dtype(kind)
        };
        let (mut prompts, mut singles, mut order) = (Vec::new(), Vec::new(), Vec::with_capacity(m));
        for stretch in stretches(rows) {
            match stretch.len() {
                1 => singles.push(stretch.start),
                _ => {
                    order.extend(stretch.clone());
                    prompts.push(Prompt::of(rows, stretch, device)?);
                }
            }
        }
        order.extend(&singles);
        let mut places = vec![0_u32; m];
        for (place, row) in (0..).zip(&order) {
            places[*row] = place;
        }
        let is_in_order = order.iter().enumerate().all(|(place, row)| place == *row);
        let wanted: Vec<u32> = (0..)
            .zip(rows)
            .filter(|(_, row)| row.is_wanted)
            .map(|(at, _)| at)
            .collect();
        Ok(Batch {
            tokens: Tensor::from_iter(rows.iter().map(|row| row.token), device)?,
            slots: Tensor::from_iter(rows.iter().map(|row| slot(row, row.position)), device)?,
            cosines: of_angles(|angle| angle.0)?,
            sines: of_angles(|angle| angle.1)?,
            prompts,
            texts: match singles.is_empty() {
                true => None,
                false => Some(Texts::of(rows, &singles, device)?),
            },
            order: match is_in_order {
                true => None,
                false => Some(Tensor::from_vec(places, m, device)?),
            },
            wanted: match wanted.len() {
                0 => None,
                count => Some(Tensor::from_vec(wanted, count, device)?),
            },
        })
    }
}

impl Prompt {
    fn of(rows: &[Row<'_>], stretch: Range<usize>, device: &Device) -> Result<Prompt> {
        let last = rows[stretch.end - 1];
        let length = last.position + 1;
        let mask = rows[stretch.clone()]
            .iter()
            .flat_map(|row| (0..length).map(|position| seen(position <= row.position)));
        Ok(Prompt {
            slots: Tensor::from_iter((0..length).map(|position| slot(&last, position)), device)?,
            mask: Tensor::from_iter(mask, device)?.reshape((stretch.len(), length))?,
            rows: stretch,
        })
    }
}

impl Texts {
    fn of(rows: &[Row<'_>], singles: &[usize], device: &Device) -> Result<Texts> {
        let count = singles.len();
        let found = || singles.iter().map(|at| &rows[*at]);
        let longest = found().map(|row| row.position + 1).max().unwrap_or(0);
        let each = |of: fn(&Row<'_>, usize) -> f32| {
            found().flat_map(move |row| (0..longest).map(move |position| of(row, position)))
        };
        let slots =
            found().flat_map(|row| (0..longest).map(|position| slot(row, position.min(row.position))));
        let mask = each(|row, position| seen(position <= row.position));
        Ok(Texts {
            rows: Tensor::from_iter(singles.iter().map(|at| *at as u32), device)?,
            slots: Tensor::from_iter(slots, device)?,
            longest,
            mask: Tensor::from_iter(mask, device)?.reshape((count, 1, 1, longest))?,
        })
    }
}

/// Neighbouring rows of one sequence, positions rising by one.
fn stretches(rows: &[Row<'_>]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        match found.last_mut() {
            Some(last)
                if rows[at - 1].blocks.as_ptr() == row.blocks.as_ptr()
                    && rows[at - 1].position + 1 == row.position =>
            {
                last.end += 1;
            }
            _ => found.push(at..at + 1),
        }
    }
    found
}

fn slot(row: &Row<'_>, position: usize) -> u32 {
    row.blocks[position / POSITIONS] * POSITIONS as u32 + (position % POSITIONS) as u32
}

fn seen(is_seen: bool) -> f32 {
    if is_seen { 0.0 } else { f32::NEG_INFINITY }
}
