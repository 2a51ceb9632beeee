//! What adapters cost: a change of the one in use, and requests for many.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use shared::inference::{Adapter, Generate, InferenceEvent, Options};
use tokio::sync::mpsc::unbounded_channel;

use crate::adapter::store::{Attempt, Budgets, Found, Lease, Store};
use crate::adapter::{Base, folder, loader};
use crate::checkpoint::Checkpoint;
use crate::engine::{Engine, Job, Settings};

const CHANGES: usize = 200;
/// Of each request that is served.
const TEXT_TOKENS: u32 = 32;
/// Fewer tokens than a block of the cache, so that nothing is shared.
const PROMPT: &str = "abababababababab";
const LOADING: Duration = Duration::from_secs(120);

pub struct Adapted {
    settings: Settings,
    named: Vec<Adapter>,
    store: Arc<Store>,
    /// Started when it is first asked to serve.
    engine: Option<Engine>,
}

impl Adapted {
    pub fn new(settings: Settings, ready: &Checkpoint, adapters: &[PathBuf]) -> anyhow::Result<Adapted> {
        let named = adapters.iter().map(|path| folder::adapter(path, None));
        let store = Store::new(settings.adapters);
        store.set_base(Ok(Base::of(&ready.description.name, &ready.model)));
        loader::start(store.clone(), || {})?;
        Ok(Adapted {
            named: named.collect::<anyhow::Result<_>>()?,
            settings,
            store,
            engine: None,
        })
    }

    /// The adapter that was named as the `number`th, from 1.
    pub fn lease(&self, number: usize) -> anyhow::Result<Lease> {
        let named = number.checked_sub(1).and_then(|at| self.named.get(at));
        lease(&self.store, named.context("there is no such --adapter")?)
    }

    /// From warm to in use, where another must give way each time: microseconds.
    pub fn change(&self) -> anyhow::Result<Value> {
        let first = self.named.first().context("give an --adapter")?;
        let bytes = self.lease(1)?.bytes();
        let store = Store::new(Budgets {
            warm_bytes: 4 * bytes,
            hot_bytes: bytes,
        });
        store.set_base(self.store.base().context("there is no base")?);
        loader::start(store.clone(), || {})?;
        let two: Vec<Adapter> = (1..=2)
            .map(|generation| Adapter {
                generation,
                ..first.clone()
            })
            .collect();
        for adapter in &two {
            lease(&store, adapter)?;
        }
        let mut times: Vec<f64> = Vec::with_capacity(CHANGES);
        for at in 0..CHANGES {
            let begun = Instant::now();
            let Found::Ready(lease) = store.lease(&two[at % 2], Attempt::Again) else {
                bail!("a warm adapter was not ready");
            };
            drop(lease);
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        store.end();
        times.sort_by(f64::total_cmp);
        Ok(json!({
            "adapter_bytes": bytes,
            "change_us": times[CHANGES / 2],
            "change_us_p99": times[CHANGES * 99 / 100],
        }))
    }

    /// Tokens per second over all of `requests` requests, `together` of them at a time, each with one of `adapters` adapters that
    /// have all been used before. With no adapters: the model alone.
    pub fn serve(&mut self, adapters: usize, requests: usize, together: usize) -> anyhow::Result<Value> {
        let engine = match &self.engine {
            Some(engine) => engine.clone(),
            None => self.engine.insert(Engine::start(self.settings.clone())?).clone(),
        };
        let mut every = Vec::new();
        for at in 0..adapters {
            let named = &self.named[at % self.named.len().max(1)];
            every.push(Adapter {
                name: format!("{}-{at}", named.name),
                ..named.clone()
            });
        }
        let begun = Instant::now();
        while let Err(fault) = engine.describe() {
            if fault.reason != "loading" || begun.elapsed() > LOADING {
                bail!("{fault}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for adapter in &every {
            lease(&engine.adapters, adapter)?;
        }
        let (events, mut queue) = unbounded_channel();
        let submit = |at: usize| {
            engine.submit(Job {
                request: Generate {
                    request: at as u64,
                    prompt: PROMPT.into(),
                    max_tokens: TEXT_TOKENS,
                    temperature: 0.0,
                    top_p: 1.0,
                    seed: 1,
                    stop: Vec::new(),
                    deadline_ms: 600_000,
                },
                options: Options::default(),
                messages: Vec::new(),
                // A prime number, so that neighbours have different ones.
                adapter: (!every.is_empty()).then(|| every[at * 7919 % every.len()].clone()),
                grammar: None,
                constraint: None,
                events: events.clone(),
                cancelled: Arc::new(AtomicBool::new(false)),
                arrived: Instant::now(),
            });
        };
        let begun = Instant::now();
        (0..together.min(requests)).for_each(submit);
        let (mut begun_requests, mut done, mut tokens) = (together.min(requests), 0, 0_u64);
        while done < requests {
            match queue.blocking_recv() {
                Some(InferenceEvent::Done { generated_tokens, .. }) => {
                    tokens += u64::from(generated_tokens);
                    done += 1;
                    if begun_requests < requests {
                        submit(begun_requests);
                        begun_requests += 1;
                    }
                }
                Some(InferenceEvent::Failed { fault, .. }) => bail!("{fault}"),
                Some(_) => {}
                None => bail!("the engine ended"),
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        Ok(json!({ "tokens_per_second": tokens as f64 / seconds, "tokens": tokens, "adapters": adapters }))
    }
}

/// Waits until it is loaded.
fn lease(store: &Arc<Store>, adapter: &Adapter) -> anyhow::Result<Lease> {
    let begun = Instant::now();
    let mut attempt = Attempt::First;
    loop {
        match store.lease(adapter, attempt) {
            Found::Ready(lease) => return Ok(lease),
            Found::Refused(fault) => bail!("{fault}"),
            Found::Later if begun.elapsed() > LOADING => {
                bail!("{} could not be loaded in time", adapter.name)
            }
            Found::Later => std::thread::sleep(Duration::from_millis(1)),
        }
        attempt = Attempt::Again;
    }
}
