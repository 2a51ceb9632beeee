//! For tests: what other implementations have computed of the models in `tests/fixtures`, and how far from it something is.

use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::{Device, safetensors};

use crate::adapter::Adapter;
use crate::model::Row;

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Tokens, and the logits after each.
pub fn expected(name: &str) -> (Vec<u32>, Vec<Vec<f32>>) {
    let tensors = safetensors::load(fixture(name).join("logits.safetensors"), &Device::Cpu).unwrap();
    let tokens: Vec<f32> = tensors["tokens"].to_vec1().unwrap();
    let tokens = tokens.into_iter().map(|token| token as u32).collect();
    (tokens, tensors["logits"].to_vec2().unwrap())
}

/// Rows of one sequence, all of whose logits are wanted.
pub fn rows<'a>(
    tokens: &'a [u32],
    positions: Range<usize>,
    blocks: &'a [u32],
    adapter: Option<&'a Adapter>,
) -> impl Iterator<Item = Row<'a>> {
    positions.map(move |position| Row {
        token: tokens[position],
        position,
        blocks,
        is_wanted: true,
        adapter,
    })
}

/// A number that is none is infinitely far off: it must not pass.
pub fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    let differences = pairs.map(|(a, b)| match (a - b).is_nan() {
        true => f32::INFINITY,
        false => (a - b).abs(),
    });
    differences.fold(0.0, f32::max)
}
