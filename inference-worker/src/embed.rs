//! Embeddings from the command line: a text a line in, a line of JSON each out; figures for the benchmark.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use shared::inference::{Embed, Embedding, InferenceEvent, MOST_TEXT_BYTES};
use tokio::sync::mpsc;

use crate::encoder::{EmbedJob, Encoder, Settings};
use crate::run::threads;
use crate::server;

/// Long enough for any file.
const DEADLINE_MS: u64 = 3_600_000;

#[derive(Args)]
pub struct EmbedArguments {
    /// Folder of an encoder as sentence-transformers writes it, or one file that holds all of it (./scripts/embedding-model).
    #[arg(long)]
    model: PathBuf,
    /// Threads of the tensor kernels; by default as many as there are cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Lines that are encoded together.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Print no vectors: for each line of standard input, encode the file once and print texts per second as one JSON document.
    #[arg(long)]
    turns: bool,
    /// The file with a text a line; - is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// Prints `{"tokens":N,"is_cut":false,"vector":[…]}` for each line.
pub fn print(arguments: EmbedArguments) -> anyhow::Result<()> {
    let encoder = Encoder::start(Some(Settings {
        model: arguments.model,
        hash: None,
        threads: threads(arguments.threads),
    }))?;
    let batch = usize::from(arguments.batch);
    let is_stdin = arguments.file.as_os_str() == "-";
    if arguments.turns && is_stdin {
        bail!("--turns needs a file: standard input says when to begin a turn");
    }
    let input: Box<dyn Read> = if is_stdin {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(&arguments.file).with_context(|| format!("{}", arguments.file.display()))?)
    };
    let mut lines = Lines(BufReader::new(input));
    if arguments.turns {
        let texts: Vec<String> = std::iter::from_fn(|| lines.next().transpose()).collect::<Result<_, _>>()?;
        return measure(&encoder, &texts, batch);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    loop {
        let texts: Vec<String> = std::iter::from_fn(|| lines.next().transpose())
            .take(batch)
            .collect::<Result<_, _>>()?;
        if texts.is_empty() {
            return Ok(());
        }
        for embedding in embed(&encoder, texts)? {
            let Embedding {
                tokens,
                is_cut,
                vector,
            } = embedding;
            writeln!(
                out,
                "{}",
                json!({"tokens": tokens, "is_cut": is_cut, "vector": vector})
            )?;
        }
        out.flush()?;
    }
}

fn measure(encoder: &Encoder, texts: &[String], batch: usize) -> anyhow::Result<()> {
    for line in std::io::stdin().lines() {
        line?;
        let mut tokens = 0;
        let begun = Instant::now();
        for texts in texts.chunks(batch) {
            tokens += embed(encoder, texts.to_vec())?
                .iter()
                .map(|embedding| u64::from(embedding.tokens))
                .sum::<u64>();
        }
        let per_second = texts.len() as f64 / begun.elapsed().as_secs_f64();
        println!(
            "{}",
            json!({"texts": texts.len(), "tokens": tokens, "texts_per_second": per_second})
        );
    }
    Ok(())
}

fn embed(encoder: &Encoder, texts: Vec<String>) -> anyhow::Result<Vec<Embedding>> {
    let dimension = encoder.describe().map_or(0, |encoder| encoder.dimension as usize);
    server::check_texts(&texts, dimension).map_err(anyhow::Error::msg)?;
    let (events, mut answers) = mpsc::unbounded_channel();
    encoder.submit(EmbedJob {
        request: Embed {
            request: 1,
            texts,
            deadline_ms: DEADLINE_MS,
        },
        events,
        cancelled: Arc::new(AtomicBool::new(false)),
        arrived: Instant::now(),
    });
    match answers.blocking_recv() {
        Some(InferenceEvent::Embedded { embeddings, .. }) => Ok(embeddings),
        Some(InferenceEvent::Failed { fault, .. }) => bail!("{fault}"),
        other => bail!("the encoding thread answered {other:?}"),
    }
}

/// Lines of bounded length.
struct Lines<R>(BufReader<R>);

impl<R: Read> Lines<R> {
    /// The next line without its end; none after the last.
    fn next(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = Vec::new();
        let most = MOST_TEXT_BYTES as u64 + 2;
        if self.0.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8(line).context("a line is not UTF-8")?;
        let text = line.strip_suffix('\n').unwrap_or(&line);
        if text.len() > MOST_TEXT_BYTES {
            bail!("a line has more than {MOST_TEXT_BYTES} bytes");
        }
        Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
    }
}
