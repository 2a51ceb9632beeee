//! The accelerator's code, run by candle on the processor, against the logits of `transformers` and PEFT and against `model`.

use candle_core::{DType, Device};

use super::Llama;
use crate::adapter::{Adapter, Base, open};
use crate::checkpoint::{self, Weights};
use crate::crew::Crew;
use crate::expected::{expected, fixture, largest_difference, rows};
use crate::model::Row;
use crate::model::cache::{Cache, POSITIONS};

fn load(name: &str, blocks: usize) -> Llama {
    let accelerator = (Device::Cpu, DType::F32);
    let loaded = checkpoint::load_onto(accelerator, &fixture(name), None, Crew::new(2).unwrap());
    let mut model = loaded.unwrap_or_else(|fault| panic!("{fault}")).model;
    model.take_blocks(blocks).unwrap();
    model
}

fn logits_with(
    model: &mut Llama,
    adapter: Option<&Adapter>,
    tokens: &[u32],
    at_once: usize,
) -> Vec<Vec<f32>> {
    let blocks: Vec<u32> = (0..tokens.len().div_ceil(POSITIONS) as u32).rev().collect();
    let mut found = Vec::new();
    while found.len() < tokens.len() {
        let positions = found.len()..tokens.len().min(found.len() + at_once);
        let rows: Vec<Row<'_>> = rows(tokens, positions, &blocks, adapter).collect();
        let vocabulary = model.shape.vocabulary;
        let logits = model.forward(&rows).unwrap();
        found.extend(logits.chunks(vocabulary).map(<[f32]>::to_vec));
    }
    found
}

#[test]
fn logits_are_those_of_transformers() {
    for name in ["llama2", "llama3"] {
        let (tokens, wanted) = expected(name);
        for at_once in [tokens.len(), 7, 1] {
            let mut model = load(name, tokens.len().div_ceil(POSITIONS));
            let found = logits_with(&mut model, None, &tokens, at_once);
            let difference = largest_difference(&found, &wanted);
            assert!(difference <= 1e-3, "{name}, {at_once} at once: {difference}");
        }
    }
}

#[test]
fn adapters_give_the_logits_of_peft() {
    for name in [
        "llama3-default",
        "llama3-all",
        "llama3-patterns",
        "llama2-one-layer",
    ] {
        let path = format!("adapters/{name}");
        let (folder, (tokens, wanted)) = (fixture(&path), expected(&path));
        let mut model = load(name.split('-').next().unwrap(), tokens.len().div_ceil(POSITIONS));
        let config = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
        let base = Base::plain("test", model.shape);
        let adapter = open(&folder.join("adapter_model.safetensors"), &config, &base).unwrap();
        let plain = logits_with(&mut model, None, &tokens, tokens.len());
        assert!(
            largest_difference(&plain, &wanted) > 0.5,
            "{name} changes nothing"
        );
        for at_once in [tokens.len(), 1] {
            let found = logits_with(&mut model, Some(&adapter), &tokens, at_once);
            let difference = largest_difference(&found, &wanted);
            assert!(difference <= 1e-3, "{name}, {at_once} at once: {difference}");
        }
    }
}

/// Prompts and next tokens of several sequences, with an adapter and without, in one batch and in another order than their blocks.
#[test]
fn a_mixed_batch_gives_what_the_processor_gives() {
    let name = "adapters/llama3-all";
    let (folder, (tokens, _)) = (fixture(name), expected(name));
    let tokens = &tokens[..40];
    let config = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
    let mut ours = load("llama3", 8);
    let theirs = checkpoint::load(&fixture("llama3"), None, Weights::AsStored, Crew::new(2).unwrap());
    let theirs = theirs.unwrap_or_else(|fault| panic!("{fault}")).model;
    let weights = folder.join("adapter_model.safetensors");
    let adapter = open(&weights, &config, &Base::plain("test", ours.shape)).unwrap();
    let (mut cache, mut scratch) = (Cache::new(theirs.cache_shape(), 8), Default::default());
    let blocks = [[1, 5], [7, 0], [2, 6], [4, 3]];
    let passes = [
        // Prompts of three lengths alone, then beside next tokens, then next tokens alone.
        vec![(0, 0..12, None), (1, 0..33, Some(&adapter)), (2, 0..5, None)],
        vec![
            (0, 12..13, None),
            (3, 0..9, None),
            (2, 5..6, None),
            (1, 33..34, Some(&adapter)),
        ],
        vec![(1, 34..35, Some(&adapter)), (0, 13..14, None), (3, 9..10, None)],
    ];
    for (pass, parts) in passes.into_iter().enumerate() {
        let batch: Vec<Row<'_>> = parts
            .into_iter()
            .flat_map(|(at, positions, adapter)| rows(tokens, positions, &blocks[at], adapter))
            .collect();
        let wanted = theirs.forward(&batch, &mut cache, &mut scratch).to_vec();
        let found = ours.forward(&batch).unwrap().to_vec();
        let difference = largest_difference(&[found], &[wanted]);
        assert!(difference <= 1e-3, "pass {pass}: {difference}");
    }
}
