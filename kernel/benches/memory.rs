//! The memory's index without a kernel around it: the in-process rows of `./scripts/bench memory`.
//!
//! `memory FOLDER WORK…` does each work and answers it by a line of JSON:
//!
//! | work | what it does | answer |
//! |---|---|---|
//! | `vectors N QUERIES` | N vectors of 384 numbers in groups, as texts of a topic lie; searches for the ten nearest, on one thread | `ms` each, `recall` of what a look at every kept vector finds and of what one at every number finds, `bytes` a vector |
//! | `hybrid N QUERIES` | an image of N chunks with vectors; questions of six words and a vector | `ms` each |
//!
//! What is searched is warm: each query is asked once before.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use kernel::image::Image;
use kernel::image::draft::{Change, Draft};
use kernel::image::lmdb::{IndexWrite, Lmdb, Table};
use kernel::image::memory::block::{self, Row};
use kernel::image::memory::matrix;
use kernel::image::memory::recall::{Question, recall};
use kernel::image::memory::vector::{Encoder, Vector};
use serde_json::json;
use shared::id::ObjectId;
use shared::value::Value;

const WIDE: usize = 384;
const GROUPS: usize = 2_000;
/// As far as a member of a group lies from its middle, so that a pair of one has a cosine of about 0.6.
const SPREAD: f32 = 0.8;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// About normal, of deviation 1.
    fn normal(&mut self) -> f32 {
        let sum: u64 = (0..4).map(|shift| self.next() >> (shift * 8) & 0xffff).sum();
        (sum as f32 / 65_536.0 - 2.0) * 1.732
    }

    fn unit(&mut self, middle: Option<&[f32]>, spread: f32) -> Vec<f32> {
        let scale = spread / (WIDE as f32).sqrt();
        let raw: Vec<f32> = (0..WIDE)
            .map(|at| middle.map_or(0.0, |middle| middle[at]) + scale * self.normal())
            .collect();
        let length = raw.iter().map(|n| n * n).sum::<f32>().sqrt();
        raw.into_iter().map(|n| n / length).collect()
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(folder) = arguments.next() else {
        eprintln!("usage: memory FOLDER WORK…; ./scripts/bench memory runs this");
        return Ok(());
    };
    let folder = PathBuf::from(folder);
    for work in arguments {
        let words: Vec<&str> = work.split(' ').collect();
        let [name, count, queries] = words[..] else {
            bail!("{work:?} is no work")
        };
        let (count, queries): (u64, usize) = (count.parse()?, queries.parse()?);
        let answer = match name {
            "vectors" => vectors(&folder.join("vectors"), count, queries)?,
            "hybrid" => hybrid(&folder.join("hybrid"), count, queries)?,
            _ => bail!("{work:?} is no work"),
        };
        println!("{answer}");
    }
    Ok(())
}

fn vectors(folder: &std::path::Path, count: u64, queries: usize) -> anyhow::Result<serde_json::Value> {
    std::fs::create_dir_all(folder)?;
    let index = Lmdb::open(folder)?;
    let encoder = Encoder::of("bench", WIDE);
    let mut random = Random(0x5eed);
    let middles: Vec<Vec<f32>> = (0..GROUPS).map(|_| random.unit(None, 1.0)).collect();
    let asked: Vec<Vec<f32>> = (0..queries)
        .map(|at| random.unit(Some(&middles[at * 7 % GROUPS]), SPREAD))
        .collect();
    // The exact answers are found as the vectors are made: so many numbers are not kept.
    let mut exact: Vec<Vec<(f32, u64)>> = vec![Vec::new(); queries];
    let mut rounded: Vec<Vec<(f32, u64)>> = vec![Vec::new(); queries];
    let mut rows: BTreeMap<u32, BTreeMap<u16, Row>> = BTreeMap::new();
    for number in 0..count.div_ceil(256) {
        let mut kept = BTreeMap::new();
        for low in 0..=255u8 {
            let id = matrix::id_at(number, low);
            if id.0 >= count {
                break;
            }
            let middle = (random.next() % GROUPS as u64) as usize;
            let numbers = random.unit(Some(&middles[middle]), SPREAD);
            let vector = Vector::of(encoder, &numbers).context("a vector")?;
            for (at, asked) in asked.iter().enumerate() {
                let dot: f32 = asked.iter().zip(&numbers).map(|(one, other)| one * other).sum();
                offer(&mut exact[at], dot, id.0);
                let kept = asked.iter().zip(vector.numbers());
                let dot: f32 = kept.map(|(one, other)| one * f32::from(*other as i8)).sum();
                offer(&mut rounded[at], dot * vector.scale(), id.0);
            }
            kept.insert(low, Arc::new(vector));
            let (block, place) = block::place(id);
            let row = Row {
                fingerprint: 0,
                length: 1,
            };
            rows.entry(block).or_default().insert(place, row);
        }
        let value = matrix::frozen(&kept).context("a block")?;
        let key = matrix::key(encoder, number);
        index.write(&[IndexWrite::Put {
            table: Table::Vectors,
            key,
            value,
        }])?;
    }
    let chunks = rows.iter().filter_map(|(number, rows)| {
        Some(IndexWrite::Put {
            table: Table::Chunks,
            key: number.to_be_bytes().to_vec(),
            value: block::frozen(rows)?,
        })
    });
    index.write(&chunks.collect::<Vec<_>>())?;
    let reading = index.reading()?;
    let mut ms = Vec::new();
    let (mut of_kept, mut of_numbers) = (0, 0);
    for round in 0..2 {
        for (at, asked) in asked.iter().enumerate() {
            let question = Question {
                words: "",
                vector: Some((encoder, asked)),
                filters: &[],
                wanted: 10,
                pool: 10,
                is_valid: &|_| true,
            };
            let begun = Instant::now();
            let found = recall(&reading, &[], &question)?;
            if round == 1 {
                ms.push(begun.elapsed().as_secs_f64() * 1e3);
                let has = |best: &[(f32, u64)], id: ObjectId| best.iter().any(|(_, other)| *other == id.0);
                of_kept += found
                    .candidates
                    .iter()
                    .filter(|found| has(&rounded[at], found.chunk))
                    .count();
                of_numbers += found
                    .candidates
                    .iter()
                    .filter(|found| has(&exact[at], found.chunk))
                    .count();
            }
        }
    }
    let all = (queries * 10) as f64;
    Ok(json!({
        "work": "vectors",
        "count": count,
        "ms": ms,
        "recall": of_kept as f64 / all,
        "recall_f32": of_numbers as f64 / all,
        "bytes": reading.bytes(Table::Vectors)? as f64 / count as f64,
    }))
}

/// Keeps the ten largest.
fn offer(best: &mut Vec<(f32, u64)>, dot: f32, id: u64) {
    if best.len() < 10 || dot > best[9].0 {
        let at = best.partition_point(|(other, _)| *other >= dot);
        best.insert(at, (dot, id));
        best.truncate(10);
    }
}

fn hybrid(folder: &std::path::Path, count: u64, queries: usize) -> anyhow::Result<serde_json::Value> {
    std::fs::create_dir_all(folder)?;
    let image = Image::open(folder)?;
    let encoder = Encoder::of("bench", WIDE);
    let mut random = Random(0xface);
    let middles: Vec<Vec<f32>> = (0..GROUPS).map(|_| random.unit(None, 1.0)).collect();
    let mut text_bytes = 0;
    let mut made = 0;
    while made < count {
        let mut draft = Draft::new("bench");
        for _ in 0..1_000.min(count - made) {
            let object = image.state.allocate();
            let text = words(&mut random, 120);
            text_bytes += text.len();
            let middle = (random.next() % GROUPS as u64) as usize;
            let numbers = random.unit(Some(&middles[middle]), SPREAD);
            draft.changes.push(Change::Create {
                object,
                slots: vec![
                    ("memory_text".into(), Value::Text(text)),
                    ("language".into(), Value::Text("en".into())),
                ],
            });
            let vector = Vector::of(encoder, &numbers);
            draft.changes.push(Change::Vector { object, vector });
            made += 1;
        }
        image.committer.commit_blocking(draft)?;
    }
    image.flush()?;
    let questions: Vec<(String, Vec<f32>)> = (0..queries)
        .map(|at| {
            (
                words(&mut random, 6),
                random.unit(Some(&middles[at * 7 % GROUPS]), SPREAD),
            )
        })
        .collect();
    let mut ms = Vec::new();
    for round in 0..2 {
        for (text, numbers) in &questions {
            let question = Question {
                words: text,
                vector: Some((encoder, numbers)),
                filters: &[],
                wanted: 10,
                pool: 200,
                is_valid: &|_| true,
            };
            let begun = Instant::now();
            let found = image.state.recall(&[], &question);
            if round == 1 {
                ms.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            if found.candidates.is_empty() {
                bail!("nothing was found");
            }
        }
    }
    let (_, terms, vectors) = image.state.memory_totals();
    let answer = json!({
        "work": "hybrid",
        "count": count,
        "ms": ms,
        "text_bytes": text_bytes,
        "terms_bytes": terms,
        "vectors_bytes": vectors,
    });
    image.close();
    Ok(answer)
}

/// Words as often as words come: the n-th about n times as seldom as the first.
fn words(random: &mut Random, count: usize) -> String {
    let mut text = String::new();
    for _ in 0..count {
        let part = (random.next() % 1_000_000) as f64 / 1e6;
        let rank = (60_000f64.powf(part)) as u64;
        text.push_str(&format!("w{} ", rank * 7_919 % 99_991));
    }
    text
}
