//! Many requests at the engine's door, with the seed model.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use shared::inference::{
    Adapter, Finish, Generate, Grammar, InferenceEvent, InferenceFault, Likelihood, MethodGrammar, Options,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Engine, Job, Settings};
use crate::adapter::folder;
use crate::adapter::store::Budgets;
use crate::checkpoint::Weights;
use crate::device::place::Place;

const MIB: u64 = 1 << 20;
const BUDGETS: Budgets = Budgets {
    warm_bytes: 64 * MIB,
    hot_bytes: 64 * MIB,
};

fn start(cache_bytes: u64) -> Engine {
    start_with(cache_bytes, BUDGETS)
}

fn start_with(cache_bytes: u64, adapters: Budgets) -> Engine {
    start_at(Place::Processor, cache_bytes, adapters)
}

fn start_at(place: Place, cache_bytes: u64, adapters: Budgets) -> Engine {
    let settings = Settings {
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join("seed/model"),
        model_hash: None,
        place,
        weights: Weights::AsStored,
        threads: 2,
        server: None,
        cache_bytes,
        adapters,
    };
    Engine::start(settings).unwrap()
}

/// A message that the seed model writes a method for, different for each name.
fn prompt(name: &str) -> String {
    format!(
        "<|covenant|>state lives in slots; a change ends with self._p_changed = True\n<|receiver|>#12\n\
         <|slots|>{name}:bool\n<|parents|>traits\n<|message|>toggle_{name}()\n<|method|>"
    )
}

fn greedy(prompt: String) -> Generate {
    Generate {
        request: 1,
        prompt,
        max_tokens: 100,
        temperature: 0.0,
        top_p: 1.0,
        seed: 1,
        stop: Vec::new(),
        deadline_ms: 60_000,
    }
}

struct Asked {
    events: UnboundedReceiver<InferenceEvent>,
    cancelled: Arc<AtomicBool>,
}

/// What came of a request.
#[derive(Debug, Default)]
struct Outcome {
    pieces: Vec<String>,
    likelihoods: Vec<Likelihood>,
    text: String,
    finish: Option<Finish>,
    generated_tokens: u32,
    failed: Option<InferenceFault>,
}

fn ask_with(engine: &Engine, request: Generate, options: Options) -> Asked {
    ask_both(engine, request, options, None, None)
}

fn ask_within(engine: &Engine, request: Generate, options: Options, grammar: Option<Grammar>) -> Asked {
    ask_both(engine, request, options, None, grammar)
}

fn ask_as(engine: &Engine, request: Generate, options: Options, adapter: Option<Adapter>) -> Asked {
    ask_both(engine, request, options, adapter, None)
}

fn ask_both(
    engine: &Engine,
    request: Generate,
    options: Options,
    adapter: Option<Adapter>,
    grammar: Option<Grammar>,
) -> Asked {
    let (sender, events) = unbounded_channel();
    let cancelled = Arc::new(AtomicBool::new(false));
    engine.submit(Job {
        request,
        options,
        messages: Vec::new(),
        adapter,
        grammar,
        constraint: None,
        events: sender,
        cancelled: cancelled.clone(),
        arrived: Instant::now(),
    });
    Asked { events, cancelled }
}

fn ask(engine: &Engine, request: Generate) -> Asked {
    ask_with(engine, request, Options::default())
}

impl Asked {
    fn outcome(mut self) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some(event) = self.events.blocking_recv() {
            match event {
                InferenceEvent::Text { text, .. } => outcome.pieces.push(text),
                InferenceEvent::Likelihoods { tokens, .. } => outcome.likelihoods.extend(tokens),
                InferenceEvent::Done {
                    text,
                    finish,
                    generated_tokens,
                    ..
                } => {
                    outcome.text = text;
                    outcome.finish = Some(finish);
                    outcome.generated_tokens = generated_tokens;
                }
                InferenceEvent::Failed { fault, .. } => outcome.failed = Some(fault),
                _ => {}
            }
        }
        assert_eq!(outcome.pieces.concat(), outcome.text);
        outcome
    }
}

#[test]
fn what_is_written_does_not_depend_on_who_else_is_served() {
    let engine = start(64 * MIB);
    let names = [
        "lantern", "gate", "valve", "door", "alarm", "pump", "fan", "light", "shutter",
    ];
    let request = |at: usize| Generate {
        // Some draw, some do not.
        temperature: if at.is_multiple_of(2) { 0.0 } else { 0.9 },
        seed: at as u64,
        ..greedy(prompt(names[at]))
    };
    let alone: Vec<String> = (0..names.len())
        .map(|at| ask(&engine, request(at)).outcome().text)
        .collect();
    assert!(alone[0].starts_with("def toggle_lantern(self)"), "{}", alone[0]);
    let together: Vec<Asked> = (0..names.len()).map(|at| ask(&engine, request(at))).collect();
    for (asked, alone) in together.into_iter().zip(&alone) {
        assert_eq!(&asked.outcome().text, alone);
    }
    // Again, from an engine that shares nothing yet: no prompt is known, the order is another.
    let fresh = start(64 * MIB);
    let backwards: Vec<Asked> = (0..names.len())
        .rev()
        .map(|at| ask(&fresh, request(at)))
        .collect();
    for (asked, alone) in backwards.into_iter().zip(alone.iter().rev()) {
        assert_eq!(&asked.outcome().text, alone);
    }
}

/// The accelerator's code on the processor: prompts, next tokens, adapters, grammars and draws of many requests at a time.
#[test]
fn an_accelerator_writes_what_the_processor_writes() {
    let names = ["lantern", "gate", "valve", "door", "alarm", "pump"];
    let written = |place| {
        let engine = start_at(place, 8 * MIB, BUDGETS);
        let asked = names.iter().enumerate().map(|(at, name)| {
            let request = Generate {
                temperature: if at % 3 == 2 { 0.9 } else { 0.0 },
                seed: at as u64,
                ..greedy(prompt(name))
            };
            let adapter = at.is_multiple_of(2).then(strong);
            let grammar = (at % 4 == 1).then(|| toggling(name));
            ask_both(&engine, request, Options::default(), adapter, grammar)
        });
        let asked: Vec<Asked> = asked.collect();
        let texts = asked.into_iter().map(|asked| {
            let outcome = asked.outcome();
            assert_eq!(outcome.failed, None);
            outcome.text
        });
        texts.collect::<Vec<String>>()
    };
    let (here, there) = (written(Place::Processor), written(Place::Rehearsal));
    assert!(here[1].starts_with("def toggle_gate(self)"), "{}", here[1]);
    for (at, (here, there)) in here.iter().zip(&there).enumerate() {
        // The adapter is noise: far into its texts, rounding decides what it writes.
        let compared = if at.is_multiple_of(2) { 60 } else { usize::MAX };
        let beginning = |text: &str| text.chars().take(compared).collect::<String>();
        assert_eq!(beginning(here), beginning(there), "{}", names[at]);
    }
}

#[test]
fn who_finds_no_room_waits_and_is_served() {
    // A block of 32 tokens is 384 KiB: six blocks, room for one request at a time.
    let engine = start(6 * 384 * 1024);
    let asked: Vec<Asked> = ["lantern", "gate", "valve", "door"]
        .map(|name| ask(&engine, greedy(prompt(name))))
        .into();
    for asked in asked {
        assert_eq!(asked.outcome().finish, Some(Finish::Stop));
    }
    let long = ask(&engine, greedy("word ".repeat(300))).outcome();
    assert_eq!(long.failed.unwrap().reason, "prompt_too_long");
}

#[test]
fn requests_end_by_cancel_deadline_length_and_stop() {
    let engine = start(64 * MIB);
    let endless = Generate {
        temperature: 50.0,
        max_tokens: 900,
        ..greedy(prompt("lantern"))
    };
    let mut cancelled = ask(&engine, endless.clone());
    // Something was written before it is given up.
    assert!(matches!(
        cancelled.events.blocking_recv(),
        Some(InferenceEvent::Text { .. })
    ));
    cancelled.cancelled.store(true, Ordering::Relaxed);
    let mut last = None;
    while let Some(event) = cancelled.events.blocking_recv() {
        last = Some(event);
    }
    assert!(
        matches!(
            last,
            Some(InferenceEvent::Done {
                finish: Finish::Cancelled,
                ..
            })
        ),
        "{last:?}"
    );

    let late = Generate {
        deadline_ms: 0,
        ..endless.clone()
    };
    assert_eq!(ask(&engine, late).outcome().finish, Some(Finish::Deadline));
    let short = Generate {
        max_tokens: 3,
        ..greedy(prompt("lantern"))
    };
    let short = ask(&engine, short).outcome();
    assert_eq!(
        (short.finish, short.generated_tokens),
        (Some(Finish::MaxTokens), 3)
    );
    let stopped = Generate {
        stop: vec!["self.lantern =".into()],
        ..greedy(prompt("lantern"))
    };
    let stopped = ask(&engine, stopped).outcome();
    assert_eq!(stopped.finish, Some(Finish::Stop));
    assert_eq!(stopped.text, "def toggle_lantern(self):\n    ");
}

#[test]
fn likelihoods_are_told_for_each_token() {
    let engine = start(64 * MIB);
    let options = Options {
        likelihoods: Some(3),
        ..Options::default()
    };
    let outcome = ask_with(&engine, greedy(prompt("lantern")), options).outcome();
    // The end token's, too.
    assert_eq!(outcome.likelihoods.len() as u32, outcome.generated_tokens + 1);
    for likelihood in &outcome.likelihoods {
        assert_eq!(likelihood.top.len(), 3);
        assert_eq!(likelihood.top[0], (likelihood.token, likelihood.logprob));
        assert!(likelihood.logprob <= 0.0 && likelihood.logprob > -3.0);
    }
}

#[test]
fn a_known_beginning_is_not_run_again() {
    let engine = start(64 * MIB);
    let long = format!("{}{}", "# state lives in slots\n".repeat(60), prompt("lantern"));
    let one = Generate {
        max_tokens: 1,
        ..greedy(long)
    };
    let time = |request: Generate| {
        let begun = Instant::now();
        let text = ask(&engine, request).outcome().text;
        (begun.elapsed(), text)
    };
    // The first asks for the model to be loaded, too.
    time(greedy(prompt("gate")));
    let (first, text) = time(one.clone());
    let again: Vec<_> = (0..5).map(|_| time(one.clone())).collect();
    assert!(again.iter().all(|(_, again)| *again == text));
    let fastest = again.iter().map(|(took, _)| *took).min().unwrap();
    assert!(fastest * 2 < first, "{fastest:?} again, {first:?} at first");
}

fn strong() -> Adapter {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters/seed-strong");
    folder::adapter(&path, None).unwrap()
}

#[test]
fn more_adapters_than_there_is_room_for_are_served_all_the_same() {
    let request = || Generate {
        max_tokens: 10,
        ..greedy(prompt("lantern"))
    };
    let engine = start(64 * MIB);
    let alone = ask_as(&engine, request(), Options::default(), Some(strong())).outcome();
    let bytes = engine.adapters.manifest().hot_bytes;
    assert!(bytes > 0);
    // Room for one in use and one that waits.
    let small = Budgets {
        warm_bytes: bytes,
        hot_bytes: bytes,
    };
    let engine = start_with(64 * MIB, small);
    let asked: Vec<Asked> = (0..12)
        .map(|at| {
            let adapter = Adapter {
                name: format!("a{}", at % 6),
                ..strong()
            };
            ask_as(&engine, request(), Options::default(), Some(adapter))
        })
        .collect();
    // The model alone does not wait for them, and one whose time is over does not wait for ever.
    let plain = ask(&engine, request()).outcome();
    assert_eq!(plain.finish, Some(Finish::MaxTokens));
    let hasty = Generate {
        deadline_ms: 1,
        ..request()
    };
    let late = Adapter {
        name: "late".into(),
        ..strong()
    };
    let late = ask_as(&engine, hasty, Options::default(), Some(late)).outcome();
    assert_eq!(late.finish, Some(Finish::Deadline));
    for asked in asked {
        let outcome = asked.outcome();
        assert_eq!(outcome.text, alone.text, "{:?}", outcome.failed);
        let manifest = engine.adapters.manifest();
        assert!(
            manifest.hot_bytes <= bytes && manifest.loading_bytes <= bytes,
            "{manifest:?}"
        );
    }
}

#[test]
fn a_prompt_is_shared_under_the_same_adapter_alone() {
    let adapter = strong();
    // Two generations, of which the second is half as strong.
    let weaker = Adapter {
        generation: 2,
        config: adapter.config.replace("\"lora_alpha\": 96", "\"lora_alpha\": 48"),
        ..adapter.clone()
    };
    assert_ne!(adapter.config, weaker.config);
    // Several blocks of the cache long.
    let request = || Generate {
        max_tokens: 20,
        ..greedy(prompt("lantern").repeat(6))
    };
    let text = |engine: &Engine, adapter: &Option<Adapter>| {
        ask_as(engine, request(), Options::default(), adapter.clone())
            .outcome()
            .text
    };
    let ways = [None, Some(adapter), Some(weaker)];
    let alone: Vec<String> = ways.iter().map(|way| text(&start(64 * MIB), way)).collect();
    assert!(alone[0] != alone[1] && alone[1] != alone[2], "{alone:?}");
    let engine = start(64 * MIB);
    for way in [0, 1, 2, 1, 0, 2] {
        assert_eq!(text(&engine, &ways[way]), alone[way]);
    }
}

/// The grammar of what `prompt` asks for.
fn toggling(name: &str) -> Grammar {
    Grammar::Method(MethodGrammar {
        selector: format!("toggle_{name}"),
        arguments: 0,
        slots: vec![name.into(), "object_id".into()],
        refusal: Some("<|refuse|>".into()),
    })
}

#[test]
fn a_grammar_changes_nothing_of_what_fits_it_and_a_batch_mixes_them() {
    let engine = start(64 * MIB);
    let names = ["lantern", "gate", "valve", "door", "alarm", "pump"];
    let free: Vec<String> = names
        .iter()
        .map(|name| ask(&engine, greedy(prompt(name))).outcome().text)
        .collect();
    let schema = Grammar::JsonSchema(r#"{"enum": ["yes", "no"]}"#.into());
    let grammars = |at: usize| match at % 3 {
        0 => Some(toggling(names[at / 2])),
        1 => None,
        _ => Some(schema.clone()),
    };
    let asked: Vec<Asked> = (0..12)
        .map(|at| {
            ask_within(
                &engine,
                greedy(prompt(names[at / 2])),
                Options::default(),
                grammars(at),
            )
        })
        .collect();
    for (at, asked) in asked.into_iter().enumerate() {
        let outcome = asked.outcome();
        assert_eq!(outcome.finish, Some(Finish::Stop), "{outcome:?}");
        match at % 3 {
            2 => assert!(
                ["\"yes\"", "\"no\""].contains(&outcome.text.as_str()),
                "{outcome:?}"
            ),
            _ => assert_eq!(outcome.text, free[at / 2]),
        }
    }
    // Also token by token, and where each needs its mask.
    let told = Options {
        likelihoods: Some(1),
        ..Options::default()
    };
    let outcome = ask_within(&engine, greedy(prompt("gate")), told, Some(toggling("gate"))).outcome();
    assert_eq!(outcome.text, free[1]);
    let extra = outcome.likelihoods.len() as u32 - outcome.generated_tokens;
    assert!(extra <= 1, "{outcome:?}");
    let masked = Options {
        top_k: 1,
        ..Options::default()
    };
    let drawn = Generate {
        temperature: 1.0,
        ..greedy(prompt("gate"))
    };
    let outcome = ask_within(&engine, drawn, masked, Some(toggling("gate"))).outcome();
    assert_eq!(outcome.text, free[1]);
}

#[test]
fn however_it_is_drawn_what_ends_is_the_method_asked_for() {
    let engine = start(64 * MIB);
    let mut texts = Vec::new();
    for seed in 0..40 {
        let hot = Generate {
            temperature: 1.5 + seed as f32 / 20.0,
            top_p: if seed % 2 == 0 { 1.0 } else { 0.98 },
            seed,
            max_tokens: 300,
            ..greedy(prompt("lantern"))
        };
        let grammar = Some(toggling("lantern"));
        let outcome = ask_within(&engine, hot.clone(), Options::default(), grammar.clone()).outcome();
        assert!(outcome.failed.is_none(), "{outcome:?}");
        let again = ask_within(&engine, hot, Options::default(), grammar).outcome();
        assert_eq!(again.text, outcome.text, "seed {seed}");
        if outcome.finish == Some(Finish::Stop) && !outcome.text.starts_with("<|refuse|>") {
            texts.push(outcome.text);
        }
    }
    assert!(texts.len() > 10, "{texts:?}");
    let refused = crate::grammar::script(
        "parses.py",
        &["toggle_lantern", "0", "lantern", "object_id"],
        &texts,
    );
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn a_grammar_that_cannot_be_is_refused_and_the_others_are_served() {
    let engine = start(64 * MIB);
    let broken = Grammar::Lark("start: /(/".into());
    let bad: Vec<Asked> = (0..8)
        .map(|at| {
            let grammar = if at % 2 == 0 {
                broken.clone()
            } else {
                Grammar::Lark("start: gone".into())
            };
            ask_within(&engine, greedy(prompt("gate")), Options::default(), Some(grammar))
        })
        .collect();
    let good = ask(&engine, greedy(prompt("gate"))).outcome();
    assert_eq!(good.finish, Some(Finish::Stop));
    for asked in bad {
        assert_eq!(asked.outcome().failed.unwrap().reason, "bad_request");
    }
    // A text that has no room for its grammar ends as long as it may be.
    let short = Generate {
        max_tokens: 4,
        ..greedy(prompt("gate"))
    };
    let outcome = ask_within(&engine, short, Options::default(), Some(toggling("gate"))).outcome();
    assert_eq!(
        (outcome.finish, outcome.generated_tokens),
        (Some(Finish::MaxTokens), 4)
    );
    let stopped = Generate {
        stop: vec!["self._p".into()],
        ..greedy(prompt("gate"))
    };
    let outcome = ask_within(&engine, stopped, Options::default(), Some(toggling("gate"))).outcome();
    assert_eq!(
        outcome.text,
        "def toggle_gate(self):\n    self.gate = not self.gate\n    "
    );
}
