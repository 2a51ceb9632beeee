//! Tokens per second of a model on this machine, as one JSON document.

use std::time::Instant;

use crate::checkpoint;
use crate::crew::Crew;
use crate::engine::Settings;
use crate::model::cache::{Cache, POSITIONS};
use crate::model::{Row, Scratch};

const PROMPT_TOKENS: usize = 256;
const TEXT_TOKENS: usize = 64;
const ROUNDS: usize = 5;

/// Prints medians of prefill and decode.
pub fn print(settings: &Settings) -> anyhow::Result<()> {
    let ready = checkpoint::load(&settings.model, settings.weights, Crew::new(settings.threads)?)?;
    let model = &ready.model;
    let blocks: Vec<u32> = (0..((PROMPT_TOKENS + TEXT_TOKENS) / POSITIONS) as u32).collect();
    let mut cache = Cache::new(model.cache_shape(), blocks.len());
    let mut scratch = Scratch::default();
    let row = |position: usize, is_wanted| Row {
        token: (position * 7 % model.shape.vocabulary) as u32,
        position,
        blocks: &blocks,
        is_wanted,
    };
    let mut prefill = Vec::new();
    let mut decode = Vec::new();
    for _ in 0..ROUNDS {
        let prompt: Vec<Row<'_>> = (0..PROMPT_TOKENS)
            .map(|at| row(at, at + 1 == PROMPT_TOKENS))
            .collect();
        let begun = Instant::now();
        model.forward(&prompt, &mut cache, &mut scratch);
        prefill.push(PROMPT_TOKENS as f64 / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        for at in PROMPT_TOKENS..PROMPT_TOKENS + TEXT_TOKENS {
            model.forward(&[row(at, true)], &mut cache, &mut scratch);
        }
        decode.push(TEXT_TOKENS as f64 / begun.elapsed().as_secs_f64());
    }
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        (figures[figures.len() / 2] * 10.0).round() / 10.0
    };
    let document = serde_json::json!({
        "model": ready.description.name,
        "parameters": ready.description.parameters,
        "load_ms": ready.description.load_ms,
        "threads": model.crew.threads(),
        "instructions": model.level.name(),
        "prompt_tokens": PROMPT_TOKENS,
        "prefill_tokens_per_second": median(prefill),
        "decode_tokens_per_second": median(decode),
        "rounds": ROUNDS,
    });
    println!("{document}");
    Ok(())
}
