//! What a grammar costs and saves, as JSON documents: the seed model writes the same methods with one and without.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::bail;
use shared::inference::{Generate, Grammar, InferenceEvent, MethodGrammar, Options};
use tokio::sync::mpsc;

use super::Grammars;
use crate::checkpoint;
use crate::crew::Crew;
use crate::engine::{Engine, Job, Settings};

const ROUNDS: usize = 5;
/// Messages that the seed model answers by itself: slot and its kind, selector, arguments and their kind.
const MESSAGES: [(&str, &str, &str, u32); 6] = [
    ("lantern:bool", "toggle_lantern", "", 0),
    ("tags:list[text]", "add_to_tags", "text", 1),
    ("balance:int", "increase_balance", "int", 1),
    ("scores:list[int]", "average_of_scores", "", 0),
    ("scores:list[int]", "largest_of_scores", "", 0),
    ("name:text", "set_name", "text", 1),
];

/// How a text is asked for.
#[derive(Clone, Copy)]
struct Way {
    has_grammar: bool,
    /// Each token's likelihood is wanted, so none is forced: what the grammar itself costs.
    is_step_by_step: bool,
    /// By top-p, so that each token needs its mask.
    needs_masks: bool,
}

/// Prints some rounds; or, by `turns`, one for each line that comes in.
pub fn print(settings: Settings, turns: bool) -> anyhow::Result<()> {
    let grammars = Grammars::new(&checkpoint::load(
        &settings.model,
        settings.model_hash,
        settings.weights,
        Crew::new(1)?,
    )?);
    let engine = Engine::start(settings)?;
    // The first texts find everything cold.
    round(&engine, &grammars, 0)?;
    if turns {
        for (number, line) in std::io::stdin().lines().enumerate() {
            line?;
            println!("{}", round(&engine, &grammars, number + 1)?);
        }
        return Ok(());
    }
    for number in 0..ROUNDS {
        println!("{}", round(&engine, &grammars, number + 1)?);
    }
    Ok(())
}

fn round(engine: &Engine, grammars: &Grammars, number: usize) -> anyhow::Result<serde_json::Value> {
    let way = |has_grammar, is_step_by_step, needs_masks| Way {
        has_grammar,
        is_step_by_step,
        needs_masks,
    };
    let mut figures = serde_json::Map::new();
    for (name, one) in [
        ("free_tokens_per_second", way(false, true, false)),
        ("grammar_tokens_per_second", way(true, true, false)),
        ("free_top_p_tokens_per_second", way(false, true, true)),
        ("grammar_top_p_tokens_per_second", way(true, true, true)),
        ("free_methods_per_second", way(false, false, false)),
        ("grammar_methods_per_second", way(true, false, false)),
    ] {
        let (mut tokens, mut took) = (0, Duration::ZERO);
        for message in MESSAGES {
            let begun = Instant::now();
            let text = write(engine, message, one)?;
            took += begun.elapsed();
            tokens += text.1;
        }
        let count = match name.contains("tokens") {
            true => f64::from(tokens),
            false => MESSAGES.len() as f64,
        };
        figures.insert(name.into(), rounded(count / took.as_secs_f64()).into());
    }
    let (mut masks, mut compilations) = (Vec::new(), Vec::new());
    for (at, message) in MESSAGES.into_iter().enumerate() {
        let (text, _) = write(engine, message, way(true, false, false))?;
        // A slot more makes another grammar, which nobody has compiled or used before.
        let mut wish = wish(message);
        wish.slots.push(format!("other_{number}_{at}"));
        let begun = Instant::now();
        let compiled = grammars.compile(&Grammar::Method(wish));
        compilations.push(begun.elapsed());
        let mut constraint = compiled.map_err(anyhow::Error::msg)?;
        let tokens = grammars.tokenize(&text).map_err(anyhow::Error::msg)?;
        masks.extend(constraint.time(&tokens).map_err(anyhow::Error::msg)?);
    }
    masks.sort_unstable();
    compilations.sort_unstable();
    let micros = |time: Duration| rounded(time.as_secs_f64() * 1e6);
    figures.insert("mask_p50_us".into(), micros(masks[masks.len() / 2]).into());
    figures.insert("mask_p99_us".into(), micros(masks[masks.len() * 99 / 100]).into());
    figures.insert(
        "compile_p50_us".into(),
        micros(compilations[compilations.len() / 2]).into(),
    );
    Ok(figures.into())
}

fn wish((slot, selector, _, arguments): (&str, &str, &str, u32)) -> MethodGrammar {
    MethodGrammar {
        selector: selector.into(),
        arguments,
        slots: vec![
            slot.split(':').next().unwrap_or_default().into(),
            "object_id".into(),
        ],
        refusal: Some("<|refuse|>".into()),
    }
}

/// The method that answers a message, and its tokens.
fn write(engine: &Engine, message: (&str, &str, &str, u32), way: Way) -> anyhow::Result<(String, u32)> {
    let (slot, selector, kind, _) = message;
    let prompt = format!(
        "<|covenant|>state lives in slots; a change ends with self._p_changed = True\n<|receiver|>#12\n\
         <|slots|>{slot}\n<|parents|>traits\n<|message|>{selector}({kind})\n<|method|>"
    );
    let (events, mut queue) = mpsc::unbounded_channel();
    engine.submit(Job {
        request: Generate {
            request: 1,
            prompt,
            max_tokens: 200,
            temperature: if way.needs_masks { 0.3 } else { 0.0 },
            top_p: if way.needs_masks { 0.9 } else { 1.0 },
            seed: 1,
            stop: Vec::new(),
            deadline_ms: 60_000,
        },
        options: Options {
            likelihoods: way.is_step_by_step.then_some(0),
            ..Options::default()
        },
        messages: Vec::new(),
        adapter: None,
        grammar: way.has_grammar.then(|| Grammar::Method(wish(message))),
        constraint: None,
        events,
        cancelled: Arc::new(AtomicBool::new(false)),
        arrived: Instant::now(),
    });
    while let Some(event) = queue.blocking_recv() {
        match event {
            InferenceEvent::Done {
                text,
                generated_tokens,
                ..
            } => return Ok((text, generated_tokens)),
            InferenceEvent::Failed { fault, .. } => bail!("{fault}"),
            _ => {}
        }
    }
    bail!("the decoding thread ended without an answer")
}

fn rounded(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}
