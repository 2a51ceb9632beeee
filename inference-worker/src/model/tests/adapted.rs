//! Logits with adapters against those that PEFT computed (tests/fixtures/adapters.py), and rows of several adapters in one batch.

use super::*;
use crate::adapter::{Base, open};

const ADAPTERS: [&str; 11] = [
    "llama3-default",
    "llama3-all",
    "llama2-all",
    "heads-all",
    "blocks-all",
    "llama3-rslora",
    "llama3-patterns",
    "llama2-one-layer",
    "llama2-excluded",
    "seed-default",
    "seed-strong",
];

fn base_of(adapter: &str) -> &str {
    adapter.split('-').next().unwrap()
}

fn adapter_of(name: &str, model: &Llama) -> Adapter {
    let folder = fixture("adapters").join(name);
    let config = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
    let weights = folder.join("adapter_model.safetensors");
    open(&weights, &config, &Base::of("test", model)).unwrap()
}

fn expected_of(name: &str) -> (Vec<u32>, Vec<Vec<f32>>) {
    expected(&format!("adapters/{name}"))
}

#[test]
fn plain_weights_with_an_adapter_give_the_logits_of_peft() {
    for name in ADAPTERS {
        let (tokens, wanted) = expected_of(name);
        for level in Level::every() {
            let mut checkpoint = load(&checkpoint_of(base_of(name)), Weights::AsStored, 2);
            checkpoint.model.level = level;
            let adapter = adapter_of(name, &checkpoint.model);
            let plain = logits(&checkpoint.model, &tokens, &[tokens.len()]);
            assert!(
                largest_difference(&plain, &wanted) > 0.5,
                "{name} changes nothing"
            );
            for stretches in [&[tokens.len()][..], &[7, 1]] {
                let found = logits_with(&checkpoint.model, Some(&adapter), &tokens, stretches);
                let difference = largest_difference(&found, &wanted);
                assert!(difference <= 1e-3, "{name} on {}: {difference}", level.name());
            }
        }
    }
}

#[test]
fn quantised_weights_with_an_adapter_stay_near() {
    // What is noise above all else is noise also in what rounding does to it.
    for name in ADAPTERS.into_iter().filter(|name| *name != "seed-strong") {
        let (tokens, wanted) = expected_of(name);
        for level in Level::every() {
            let mut checkpoint = load(&checkpoint_of(base_of(name)), Weights::Q8_0, 2);
            checkpoint.model.level = level;
            let adapter = adapter_of(name, &checkpoint.model);
            let found = logits_with(&checkpoint.model, Some(&adapter), &tokens, &[tokens.len()]);
            let divergence = divergence(&wanted, &found);
            assert!(divergence <= 1e-2, "{name} on {}: {divergence}", level.name());
        }
    }
}

#[test]
fn a_gguf_base_takes_the_same_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    for name in ["llama3-all", "llama2-all", "seed-default"] {
        write_gguf(base_of(name), &path, GgmlDType::F32);
        let model = load(&path, Weights::AsStored, 2).model;
        let (tokens, wanted) = expected_of(name);
        let found = logits_with(&model, Some(&adapter_of(name, &model)), &tokens, &[tokens.len()]);
        let difference = largest_difference(&found, &wanted);
        assert!(difference <= 2e-3, "{name}: {difference}");
    }
}

#[test]
fn an_adapter_of_one_file_holds_its_configuration() {
    let model = load(&checkpoint_of("llama3"), Weights::AsStored, 1).model;
    let (tokens, wanted) = expected_of("llama3-default");
    let weights = fixture("adapters/llama3-default.safetensors");
    let adapter = open(&weights, "", &Base::of("test", &model)).unwrap();
    let found = logits_with(&model, Some(&adapter), &tokens, &[tokens.len()]);
    assert!(largest_difference(&found, &wanted) <= 1e-3);
}

#[test]
fn rows_of_many_adapters_and_none_in_one_batch_get_the_bits_that_they_get_alone() {
    for weights in [Weights::AsStored, Weights::Q8_0] {
        let model = &load(&checkpoint_of("llama3"), weights, 3).model;
        let adapters =
            ["llama3-all", "llama3-patterns", "llama3-default"].map(|name| adapter_of(name, model));
        let of = |sequence: usize| adapters.get(sequence);
        let (tokens, _) = expected_of("llama3-all");
        // Five sequences: one each of three adapters, one without, and another of the last adapter.
        let texts: Vec<Vec<u32>> = (0..5)
            .map(|at| tokens.iter().map(|token| (token + at) % 96).collect())
            .collect();
        let which = [0, 1, 3, 2, 2];
        let alone: Vec<_> = (0..5)
            .map(|at| logits_with(model, of(which[at]), &texts[at], &[1]))
            .collect();
        let tables: Vec<Vec<u32>> = (0..5).map(|at| vec![2 * at, 2 * at + 1]).collect();
        let mut cache = Cache::new(model.cache_shape(), 10);
        let mut scratch = Scratch::default();
        for step in 0..tokens.len() / 2 {
            let rows: Vec<Row<'_>> = (0..10)
                .map(|at| Row {
                    token: texts[at / 2][2 * step + at % 2],
                    position: 2 * step + at % 2,
                    blocks: &tables[at / 2],
                    is_wanted: true,
                    adapter: of(which[at / 2]),
                })
                .collect();
            let found = model.forward(&rows, &mut cache, &mut scratch);
            for (at, found) in found.chunks(96).enumerate() {
                assert_eq!(
                    found,
                    alone[at / 2][2 * step + at % 2],
                    "{weights:?} row {at} of step {step}"
                );
            }
        }
    }
}
