//! The image without a kernel around it: the in-process rows of `./scripts/bench image`.
//!
//! `image FOLDER` reads one work a line from standard input and answers each by one line of JSON, so that a script can let
//! this program and a rival work by turns. Works given as arguments (`image FOLDER "make 1000" open "reads 100"`) are done
//! first to last instead. A work that fails ends the program. The works:
//!
//! | work | what it does |
//! |---|---|
//! | `make N` | opens a new image, fills it with N objects of one slot of 300 bytes, closes it |
//! | `open`, `close` | `open` reads one object, so that the image is known to serve |
//! | `transactions N WIDTH WAITING` | N durable transactions that each rewrite WIDTH random objects, WAITING of them at a time |
//! | `reads N` | reads N different objects in random order; right after `open` each of them is cold |
//! | `touch` | reads every object once, by ascending id |
//! | `floor N BYTES` | N overwrites of BYTES in a file of zeros, one fdatasync each: what the disk asks for |
//!
//! An answer is `{"work", "count", "seconds", "objects", "write_bytes", "anonymous_kib", "resident_kib"}`: the last three are
//! the process' own, as of the end of the work (`/proc/self/io`, `/proc/self/status`).

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use kernel::image::Image;
use kernel::image::draft::Change;
use kernel::image::draft::Draft;
use serde_json::{Value as Json, json};
use shared::id::ObjectId;
use shared::random::Random;
use shared::value::Value;

/// Bytes of the one slot of every object.
const BODY_BYTES: usize = 300;
const BODY: &str = "body";
/// Objects that one transaction of `make` creates.
const MADE_AT_ONCE: u64 = 1_000;
const PAGE_BYTES: usize = 4096;

/// As in the kernel's program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    // Cargo adds --bench by itself.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(folder) = arguments.next() else {
        eprintln!("usage: image FOLDER [WORK…]; ./scripts/bench image runs this");
        return Ok(());
    };
    let mut bench = Bench::new(PathBuf::from(folder));
    let works: Vec<String> = arguments.collect();
    if works.is_empty() {
        for line in std::io::stdin().lock().lines() {
            bench.answer(&line?)?;
        }
    }
    for work in works {
        bench.answer(&work)?;
    }
    Ok(())
}

/// One folder and what is open of it.
struct Bench {
    folder: PathBuf,
    image: Option<Image>,
    random: Random,
}

impl Bench {
    fn new(folder: PathBuf) -> Bench {
        let random = Random::new(0x9E37_79B9_7F4A_7C15 ^ u64::from(std::process::id()));
        Bench {
            folder,
            image: None,
            random,
        }
    }

    fn answer(&mut self, line: &str) -> anyhow::Result<()> {
        let answer = self.work(line).with_context(|| format!("work {line:?}"))?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
        Ok(())
    }

    fn work(&mut self, line: &str) -> anyhow::Result<Json> {
        let mut words = line.split_whitespace();
        let name = words.next().context("an empty line")?;
        let numbers = words.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let (count, seconds) = match (name, numbers[..].as_ref()) {
            ("make", &[objects]) => (objects, self.make(objects)?),
            ("open", &[]) => (1, self.open()?),
            ("close", &[]) => (1, self.close()),
            ("transactions", &[count, width, waiting]) => (count, self.transactions(count, width, waiting)?),
            ("reads", &[count]) => (count, self.reads(count)?),
            ("touch", &[]) => {
                let objects = self.objects()?;
                let ids = (1..=objects).collect::<Vec<u64>>();
                (objects, read_all(self.image()?, &ids)?)
            }
            ("floor", &[count, bytes]) => (count, floor(&self.folder, count, bytes as usize)?),
            _ => bail!("there is no such work"),
        };
        Ok(json!({
            "work": name,
            "count": count,
            "seconds": seconds,
            "objects": self.image.as_ref().map(|image| image.state.object_count()),
            "write_bytes": proc_number("/proc/self/io", "write_bytes:")?,
            "anonymous_kib": proc_number("/proc/self/status", "RssAnon:")?,
            "resident_kib": proc_number("/proc/self/status", "VmRSS:")?,
        }))
    }

    fn make(&mut self, objects: u64) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let image = Image::open(&self.folder)?;
        let mut made = 0;
        while made < objects {
            let some = MADE_AT_ONCE.min(objects - made);
            let changes = (0..some)
                .map(|_| {
                    let object = image.state.allocate();
                    let slots = vec![(BODY.to_owned(), body(object.0))];
                    Change::Create { object, slots }
                })
                .collect();
            commit(&image, changes)?;
            made += some;
        }
        image.close();
        Ok(begun.elapsed().as_secs_f64())
    }

    fn open(&mut self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let image = Image::open(&self.folder)?;
        image.state.object(ObjectId(1)).context("an empty image")?;
        self.image = Some(image);
        Ok(begun.elapsed().as_secs_f64())
    }

    fn close(&mut self) -> f64 {
        let begun = Instant::now();
        if let Some(image) = self.image.take() {
            image.close();
        }
        begun.elapsed().as_secs_f64()
    }

    fn transactions(&mut self, count: u64, width: u64, waiting: u64) -> anyhow::Result<f64> {
        let objects = self.objects()?;
        let seeds: Vec<u64> = (0..waiting).map(|_| self.random.next_u64()).collect();
        let image = self.image()?;
        let client = |seed: u64| -> anyhow::Result<()> {
            let mut random = Random::new(seed);
            for _ in 0..count / waiting {
                let changes = (0..width).map(|_| rewrite(&mut random, objects)).collect();
                commit(image, changes)?;
            }
            Ok(())
        };
        let begun = Instant::now();
        if let [seed] = seeds[..] {
            client(seed)?;
        } else {
            std::thread::scope(|scope| {
                let clients: Vec<_> = seeds.iter().map(|seed| scope.spawn(|| client(*seed))).collect();
                clients
                    .into_iter()
                    .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked")))
            })?;
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    fn reads(&mut self, count: u64) -> anyhow::Result<f64> {
        let mut ids: Vec<u64> = (1..=self.objects()?).collect();
        for left in (1..ids.len()).rev() {
            ids.swap(left, self.random.below(left as u64 + 1) as usize);
        }
        ids.truncate(count as usize);
        read_all(self.image()?, &ids)
    }

    fn image(&self) -> anyhow::Result<&Image> {
        self.image.as_ref().context("`open` comes first")
    }

    fn objects(&self) -> anyhow::Result<u64> {
        Ok(self.image()?.state.object_count())
    }
}

fn commit(image: &Image, changes: Vec<Change>) -> anyhow::Result<()> {
    let mut draft = Draft::new("bench");
    draft.changes = changes;
    image.committer.commit_blocking(draft)?;
    Ok(())
}

fn rewrite(random: &mut Random, objects: u64) -> Change {
    Change::Put {
        object: ObjectId(1 + random.below(objects)),
        slot: BODY.to_owned(),
        value: body(random.next_u64()),
    }
}

fn body(number: u64) -> Value {
    // Not by a width of the format, which would be written one character at a time.
    let digits = number.to_string();
    Value::Text("0".repeat(BODY_BYTES - digits.len()) + &digits)
}

fn read_all(image: &Image, ids: &[u64]) -> anyhow::Result<f64> {
    let begun = Instant::now();
    for id in ids {
        let object = image.state.object(ObjectId(*id));
        let slot = object.as_ref().and_then(|object| object.slot(BODY));
        black_box(slot.with_context(|| format!("#{id} has no {BODY}"))?);
    }
    Ok(begun.elapsed().as_secs_f64())
}

fn floor(folder: &Path, count: u64, bytes: usize) -> anyhow::Result<f64> {
    fs::create_dir_all(folder)?;
    let path = folder.join("floor");
    let mut file = File::create(&path)?;
    // Page by page: zeros written in one go become one large folio, and each overwrite would pay for all of it.
    let pages = (bytes * count as usize).div_ceil(PAGE_BYTES);
    for _ in 0..pages {
        file.write_all(&[0; PAGE_BYTES])?;
    }
    file.sync_all()?;
    let block = vec![b'x'; bytes];
    let begun = Instant::now();
    for number in 0..count {
        file.write_all_at(&block, number * bytes as u64)?;
        file.sync_data()?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok(seconds)
}

/// The number behind a name in a file of `/proc`.
fn proc_number(path: &str, name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.with_context(|| format!("{path} has no {name}"))?.parse()?)
}
