//! A load of random transactions on an image, for trying its promises from outside: each is told once it is durable.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use shared::id::ObjectId;
use shared::key::Key;
use shared::value::Value;

use super::Image;
use super::draft::{Change, Draft};

const THREADS: u64 = 4;
/// Once in so many transactions the index is brought up to date, and once in ten times so many a segment is closed.
const FLUSH_EVERY: u64 = 40;

/// Commits so many transactions from several threads and writes a line `acknowledged T` for each when it is durable.
pub fn exercise(
    image: &Image,
    transactions: u64,
    seed: u64,
    out: &Mutex<impl Write + Send>,
) -> Result<(), String> {
    let counted = AtomicU64::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (counted, failed) = (&counted, &failed);
            scope.spawn(move || {
                let mut load = Load::new(seed.wrapping_mul(31) + thread);
                while counted.fetch_add(1, Ordering::Relaxed) < transactions {
                    if let Err(error) = load.one(image, out) {
                        *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                        return;
                    }
                }
            });
        }
    });
    let failed = failed
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    failed.map_or(Ok(()), Err)
}

/// One thread's share.
struct Load {
    random: u64,
    own: Vec<ObjectId>,
}

impl Load {
    fn new(seed: u64) -> Load {
        Load {
            random: seed | 1,
            own: Vec::new(),
        }
    }

    fn one(&mut self, image: &Image, out: &Mutex<impl Write>) -> Result<(), String> {
        let mut draft = Draft::new("exercise");
        let object = match self.below(8) {
            0 => None,
            _ => self.any(),
        };
        match object {
            None => {
                let object = image.state.allocate();
                self.own.push(object);
                draft.changes.push(Change::Create {
                    object,
                    slots: vec![("n".into(), Value::Int(0))],
                });
            }
            Some(object) => {
                for _ in 0..=self.below(3) {
                    draft.changes.push(self.change(object));
                }
            }
        }
        let committed = image
            .committer
            .commit_blocking(draft)
            .map_err(|error| error.to_string())?;
        {
            let mut out = out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            writeln!(out, "acknowledged {}", committed.transaction)
                .and_then(|()| out.flush())
                .map_err(|error| error.to_string())?;
        }
        match self.below(FLUSH_EVERY * 10) {
            0 => image.committer.rotate().map(|_| ()),
            n if n <= 10 => image.flush().map_err(|error| error.to_string()),
            _ => Ok(()),
        }
    }

    fn change(&mut self, object: ObjectId) -> Change {
        let number = Value::Int(self.below(1_000) as i64);
        let slot = ["a", "b", "c"][self.below(3) as usize].to_owned();
        // A number is always a key.
        let key = Key::of(&Value::Int(self.below(20) as i64)).unwrap_or_else(|_| Key::first());
        match self.below(9) {
            0 => Change::Remove { object, slot },
            1 => Change::PutEntry {
                object,
                key,
                value: number,
            },
            2 => Change::RemoveEntry { object, key },
            3 => Change::AddEntry {
                object,
                key,
                amount: number,
            },
            4 => Change::Append {
                object,
                value: number,
            },
            5 => Change::Put {
                object,
                slot,
                value: Value::Text("x".repeat(self.below(3_000) as usize)),
            },
            6 => Change::Put {
                object,
                slot,
                value: self.any().map_or(Value::None, Value::Ref),
            },
            _ => Change::Put {
                object,
                slot,
                value: number,
            },
        }
    }

    fn any(&mut self) -> Option<ObjectId> {
        match self.own.len() as u64 {
            0 => None,
            count => {
                let at = self.below(count) as usize;
                Some(self.own[at])
            }
        }
    }

    /// xorshift64*, so that a seed can be run again.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}
