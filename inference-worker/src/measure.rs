//! Tokens per second of a model on this machine, as JSON documents; what adapters cost stands in `adapted`.

mod adapted;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::adapter::Adapter;
use crate::adapter::store::Lease;
use crate::checkpoint::{self, Checkpoint};
use crate::crew::Crew;
use crate::engine::Settings;
use crate::model::cache::{Cache, POSITIONS};
use crate::model::{Row, Scratch};

const PROMPT_TOKENS: usize = 256;
const TEXT_TOKENS: usize = 32;
const ROUNDS: usize = 5;
/// Of each, with an adapter and without.
const KEPT_TOKENS: usize = 64;
/// A round of a small model is run again and again until this time is over: the first runs find caches cold and threads asleep.
const ROUND: Duration = Duration::from_millis(200);

/// Prints the medians of some rounds; or, by `turns`, each round for which a line comes in.
pub fn print(settings: Settings, turns: bool, adapters: &[PathBuf]) -> anyhow::Result<()> {
    let crew = Crew::new(settings.threads)?;
    let ready = checkpoint::load(&settings.model, settings.model_hash, settings.weights, crew)?;
    let mut rounds = Rounds::new(&ready);
    if turns {
        let mut adapted = adapted::Adapted::new(settings, &ready, adapters)?;
        for line in std::io::stdin().lines() {
            let line = line?;
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| words[at].parse::<usize>().with_context(|| line.clone());
            match words[..] {
                [] | ["round"] => {
                    let (prefill, decode) = rounds.run(None);
                    tell(&ready, prefill, decode, 1);
                }
                ["round", _] => {
                    let lease: Lease = adapted.lease(number(1)?)?;
                    let (prefill, decode) = rounds.run(Some(&lease));
                    tell(&ready, prefill, decode, 1);
                }
                ["kept", _] => {
                    let lease: Lease = adapted.lease(number(1)?)?;
                    println!("{}", serde_json::json!({ "kept": rounds.kept(&lease) }));
                }
                ["change"] => println!("{}", adapted.change()?),
                ["serve", _, _, _] => println!("{}", adapted.serve(number(1)?, number(2)?, number(3)?)?),
                _ => {
                    bail!("{line}: give round, round N, kept N, change, or serve ADAPTERS REQUESTS TOGETHER")
                }
            }
        }
        return Ok(());
    }
    let (mut prefill, mut decode): (Vec<f64>, Vec<f64>) = (0..ROUNDS).map(|_| rounds.run(None)).unzip();
    tell(&ready, median(&mut prefill), median(&mut decode), ROUNDS);
    Ok(())
}

struct Rounds<'a> {
    ready: &'a Checkpoint,
    blocks: Vec<u32>,
    cache: Cache,
    scratch: Scratch,
}

impl Rounds<'_> {
    fn new(ready: &Checkpoint) -> Rounds<'_> {
        let blocks: Vec<u32> = (0..(PROMPT_TOKENS + TEXT_TOKENS).div_ceil(POSITIONS) as u32).collect();
        Rounds {
            cache: Cache::new(ready.model.cache_shape(), blocks.len()),
            scratch: Scratch::default(),
            blocks,
            ready,
        }
    }

    /// Tokens per second of a prompt, and of text behind it: medians of a round.
    fn run(&mut self, adapter: Option<&Adapter>) -> (f64, f64) {
        let begun = Instant::now();
        let mut figures = vec![self.once(adapter)];
        while begun.elapsed() < ROUND {
            figures.push(self.once(adapter));
        }
        let (mut prefill, mut decode): (Vec<f64>, Vec<f64>) = figures.into_iter().unzip();
        (median(&mut prefill), median(&mut decode))
    }

    fn once(&mut self, adapter: Option<&Adapter>) -> (f64, f64) {
        let prefill = PROMPT_TOKENS as f64 / self.read_prompt(adapter).as_secs_f64();
        let text = PROMPT_TOKENS..PROMPT_TOKENS + TEXT_TOKENS;
        let taken: Duration = text.map(|at| self.write(at, adapter)).sum();
        (prefill, TEXT_TOKENS as f64 / taken.as_secs_f64())
    }

    /// The part of decoding's speed that an adapter leaves. Each token is written twice, with it and without, by turns: what else goes on at
    /// this machine meets both.
    fn kept(&mut self, adapter: &Adapter) -> f64 {
        self.read_prompt(None);
        let (mut alone, mut adapted) = (Vec::new(), Vec::new());
        for turn in 0..KEPT_TOKENS {
            let at = PROMPT_TOKENS + turn % TEXT_TOKENS;
            for is_adapted in [turn % 2 == 0, turn % 2 != 0] {
                match is_adapted {
                    true => adapted.push(self.write(at, Some(adapter)).as_secs_f64()),
                    false => alone.push(self.write(at, None).as_secs_f64()),
                }
            }
        }
        median(&mut alone) / median(&mut adapted)
    }

    fn read_prompt(&mut self, adapter: Option<&Adapter>) -> Duration {
        let prompt: Vec<Row<'_>> = (0..PROMPT_TOKENS)
            .map(|at| Row {
                is_wanted: at + 1 == PROMPT_TOKENS,
                ..row(self.ready, &self.blocks, at, adapter)
            })
            .collect();
        let begun = Instant::now();
        self.ready
            .model
            .forward(&prompt, &mut self.cache, &mut self.scratch);
        begun.elapsed()
    }

    /// One token at that place.
    fn write(&mut self, at: usize, adapter: Option<&Adapter>) -> Duration {
        let rows = [row(self.ready, &self.blocks, at, adapter)];
        let begun = Instant::now();
        self.ready
            .model
            .forward(&rows, &mut self.cache, &mut self.scratch);
        begun.elapsed()
    }
}

fn row<'a>(ready: &Checkpoint, blocks: &'a [u32], position: usize, adapter: Option<&'a Adapter>) -> Row<'a> {
    Row {
        token: (position * 7 % ready.model.shape.vocabulary) as u32,
        position,
        blocks,
        is_wanted: true,
        adapter,
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn tell(ready: &Checkpoint, prefill: f64, decode: f64, rounds: usize) {
    let rounded = |figure: f64| (figure * 10.0).round() / 10.0;
    let document = serde_json::json!({
        "model": ready.description.name,
        "parameters": ready.description.parameters,
        "load_ms": ready.description.load_ms,
        "threads": ready.model.crew.threads(),
        "instructions": ready.model.level.name(),
        "prompt_tokens": PROMPT_TOKENS,
        "prefill_tokens_per_second": rounded(prefill),
        "decode_tokens_per_second": rounded(decode),
        "rounds": rounds,
    });
    println!("{document}");
}
