//! Tokens per second of a model on this machine, as one JSON document.

use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Tensor};
use candle_transformers::models::llama::Cache;

use crate::checkpoint;

const PROMPT_TOKENS: usize = 150;
const TEXT_TOKENS: usize = 60;
const ROUNDS: usize = 7;

/// Prints medians of prefill and decode.
pub fn print(folder: &Path) -> anyhow::Result<()> {
    let ready = checkpoint::load(folder)?;
    let mut prefill = Vec::new();
    let mut decode = Vec::new();
    for _ in 0..ROUNDS {
        let mut cache = Cache::new(true, DType::F32, &ready.config, &ready.device)?;
        let prompt: Vec<u32> = (0..PROMPT_TOKENS as u32)
            .map(|n| n * 7 % ready.config.vocab_size as u32)
            .collect();
        let begun = Instant::now();
        ready.model.forward(
            &Tensor::new(&prompt[..], &ready.device)?.unsqueeze(0)?,
            0,
            &mut cache,
        )?;
        prefill.push(PROMPT_TOKENS as f64 / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        for (n, token) in prompt.iter().take(TEXT_TOKENS).enumerate() {
            let input = Tensor::new(&[*token], &ready.device)?.unsqueeze(0)?;
            ready.model.forward(&input, PROMPT_TOKENS + n, &mut cache)?;
        }
        decode.push(TEXT_TOKENS as f64 / begun.elapsed().as_secs_f64());
    }
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2].round()
    };
    let document = serde_json::json!({
        "model": ready.description.name,
        "parameters": ready.description.parameters,
        "load_ms": ready.description.load_ms,
        "prefill_tokens_per_second": median(prefill),
        "decode_tokens_per_second": median(decode),
        "rounds": ROUNDS,
    });
    println!("{document}");
    Ok(())
}
