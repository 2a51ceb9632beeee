//! Random programs of bytes on an image and on a plain model of it, compared throughout; failing ones are made as short as they go.
//!
//! `corpus/` is kept and run by every test run, and a short random run after it. `./scripts/fuzz` is the long form: it mutates the
//! corpus and keeps what comes by something new. A program that fails is written to `$CARGO_TARGET_DIR/fuzz/` (or `corpus/`, with
//! a fix: then it is a regression test).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod branches;
mod model;
mod program;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use program::{Features, run};

/// Random programs of a test run.
const SHORT: usize = 25;
const LONGEST: usize = 250;
const SHRINKING: Duration = Duration::from_secs(30);

fn corpus_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let mut programs: Vec<(String, Vec<u8>)> = fs::read_dir(corpus_folder())
        .unwrap()
        .flatten()
        .map(|file| {
            (
                file.file_name().into_string().unwrap(),
                fs::read(file.path()).unwrap(),
            )
        })
        .collect();
    programs.sort();
    programs
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(LONGEST)).map(|_| self.next() as u8).collect()
    }

    /// A kept program with something changed, or two joined.
    fn mutation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len() + 1);
            match self.below(4) {
                0 => bytes.insert(at, self.next() as u8),
                1 if at < bytes.len() => bytes[at] = self.next() as u8,
                2 => {
                    let other = &corpus[self.below(corpus.len())];
                    bytes.splice(at.., other[self.below(other.len())..].iter().copied());
                }
                _ => {
                    let end = (at + self.below(20)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
        }
        bytes.truncate(2 * LONGEST);
        bytes
    }
}

/// A run whose panics are errors.
fn tried(bytes: &[u8]) -> Result<Features, String> {
    catch_unwind(AssertUnwindSafe(|| run(bytes))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// Leaves away what the failure does not need.
fn shrunk(mut bytes: Vec<u8>) -> Vec<u8> {
    let until = Instant::now() + SHRINKING;
    let mut piece = bytes.len().div_ceil(2);
    while piece > 0 && Instant::now() < until {
        let mut at = 0;
        let mut is_shorter = false;
        while at < bytes.len() && Instant::now() < until {
            let mut fewer = bytes.clone();
            fewer.drain(at..(at + piece).min(fewer.len()));
            if tried(&fewer).is_err() {
                (bytes, is_shorter) = (fewer, true);
            } else {
                at += piece;
            }
        }
        if !is_shorter {
            piece /= 2;
        }
    }
    bytes
}

/// Runs a program; a failure is shrunk, kept for a look, and told with what repeats it.
fn check(bytes: &[u8], origin: &str) -> Features {
    let first = match tried(bytes) {
        Ok(features) => return features,
        Err(error) => error,
    };
    eprintln!("{origin}: {first}; making it shorter");
    let short = shrunk(bytes.to_vec());
    let error = tried(&short).err().unwrap_or_else(|| first.clone());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    let folder = std::path::absolute(target).unwrap().join("fuzz");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("failure-{}", &blake3::hash(&short).to_hex()[..12]));
    fs::write(&path, &short).unwrap();
    panic!(
        "{origin}: {error}\nat first: {first}\n{} bytes of {} repeat it: BATOS_FUZZ_INPUT={} ./scripts/fuzz",
        short.len(),
        bytes.len(),
        path.display()
    );
}

/// Writes a corpus that comes by all that these programs do, with as few of them as is easy.
fn keep(programs: &[Vec<u8>]) {
    let mut known: Vec<(Features, &Vec<u8>)> = programs
        .iter()
        .map(|bytes| (check(bytes, "kept"), bytes))
        .collect();
    known.sort_by_key(|(features, bytes)| (std::cmp::Reverse(features.len()), bytes.len()));
    let mut seen = Features::new();
    for (name, _) in corpus() {
        fs::remove_file(corpus_folder().join(name)).unwrap();
    }
    for (features, bytes) in known {
        // What came before is told apart by groups of four: else every second program is something new.
        let features: Features = features
            .into_iter()
            .map(|(now, how, before)| (now, how, before / 4))
            .collect();
        if !features.is_subset(&seen) {
            seen.extend(features);
            let name = &blake3::hash(bytes).to_hex()[..12];
            fs::write(corpus_folder().join(name), bytes).unwrap();
        }
    }
}

#[test]
fn the_kept_corpus_is_as_the_model() {
    let corpus = corpus();
    assert!(
        corpus.len() > 20,
        "the corpus is gone: {}",
        corpus_folder().display()
    );
    for (name, bytes) in corpus {
        check(&bytes, &name);
    }
}

#[test]
fn random_programs_are_as_the_model() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    eprintln!("BATOS_FUZZ_SEED={seed}");
    let mut random = Random(seed);
    for number in 0..SHORT {
        check(&random.bytes(), &format!("seed {seed}, program {number}"));
    }
}

/// The long form; `./scripts/fuzz` says what the variables mean.
#[test]
#[ignore = "the long form, of ./scripts/fuzz"]
fn long() {
    let variable = |name: &str| std::env::var(name).ok();
    if let Some(path) = variable("BATOS_FUZZ_INPUT") {
        check(&fs::read(&path).unwrap(), &path);
        return;
    }
    let number = |name: &str| variable(name).and_then(|text| text.parse::<u64>().ok());
    let seed = number("BATOS_FUZZ_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1);
    let minutes = number("BATOS_FUZZ_MINUTES").unwrap_or(5);
    eprintln!("BATOS_FUZZ_SEED={seed}, {minutes} minutes");
    let mut random = Random(seed | 1);
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let mut seen = Features::new();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for (name, bytes) in corpus() {
        seen.extend(check(&bytes, &name));
        kept.push(bytes);
    }
    let (mut programs, mut new) = (0_u64, 0);
    while Instant::now() < until {
        let bytes = match kept.is_empty() || random.below(4) == 0 {
            true => random.bytes(),
            false => random.mutation(&kept),
        };
        let features = check(&bytes, &format!("seed {seed}, program {programs}"));
        programs += 1;
        if features.iter().any(|feature| !seen.contains(feature)) {
            seen.extend(features);
            new += 1;
            kept.push(bytes);
        }
        if programs % 500 == 0 {
            eprintln!("{programs} programs, {} steps seen", seen.len());
        }
    }
    if variable("BATOS_FUZZ_KEEP").is_some() {
        keep(&kept);
    }
    eprintln!(
        "{programs} programs as the model, {new} with something new, {} steps seen, seed {seed}",
        seen.len()
    );
}
