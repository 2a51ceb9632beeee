//! A kernel made of a map: spawns a worker, sends it runs, answers what it asks.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use shared::activation::{
    Finished, FromWorker, Mode, Outcome, Raised, Read, ReadSlot, Run, ScanOrder, ToWorker, Write,
};
use shared::frame::{self, FrameError};
use shared::id::{ObjectId, TransactionId};
use shared::key::Key;
use shared::object::{ObjectImage, SlotImage};
use shared::value::Value;

pub struct Stage {
    pub child: Child,
    pub socket: UnixStream,
    pub jail: String,
    pub objects: BTreeMap<u64, ObjectImage>,
    /// Stored entries by object.
    pub entries: BTreeMap<u64, BTreeMap<Key, Value>>,
    /// At most so many entries in one answer.
    pub page: usize,
    pub fetches: Vec<Vec<u64>>,
    /// What was asked about entries, as the kernel notes it: an entry, a range to the last key answered, a count.
    pub entry_reads: Vec<String>,
    next: u64,
}

/// How a run ended.
#[derive(Debug)]
pub enum End {
    Finished(Finished),
    /// The process died; the signal that killed it, if one did.
    Died(Option<i32>),
    /// It still ran when time was up, and was killed.
    Killed,
    /// What it sent is not a frame; it was killed.
    BadFrame,
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with(&[])
    }

    pub fn with(arguments: &[&str]) -> Stage {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let fd = theirs.as_raw_fd();
        let mut command = Command::new(env!("CARGO_BIN_EXE_method-worker"));
        command
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // SAFETY: dup2 and fcntl are async-signal-safe; the closure touches nothing else.
        unsafe {
            command.pre_exec(move || {
                let result = match fd {
                    3 => libc::fcntl(3, libc::F_SETFD, 0),
                    _ => libc::dup2(fd, 3),
                };
                if result < 0 {
                    Err(std::io::Error::last_os_error())
                } else {
                    Ok(())
                }
            });
        }
        let child = command.spawn().unwrap();
        drop(theirs);
        ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut stage = Stage {
            child,
            socket: ours,
            jail: String::new(),
            objects: BTreeMap::new(),
            entries: BTreeMap::new(),
            page: 1000,
            fetches: Vec::new(),
            entry_reads: Vec::new(),
            next: 1000,
        };
        match frame::read::<FromWorker>(&mut stage.socket).expect("the worker says ready") {
            FromWorker::Ready { python, jail } => {
                assert!(python.starts_with("3."), "{python}");
                stage.jail = jail;
            }
            other => panic!("{other:?} instead of ready"),
        }
        stage
    }

    /// The next new object gets the first id again.
    pub fn restart_ids(&mut self) {
        self.next = 1000;
    }

    /// Puts slots; each counts as changed by transaction 7.
    pub fn put(&mut self, id: u64, slots: &[(&str, Value)]) -> &mut Stage {
        let object = self.objects.entry(id).or_insert_with(|| ObjectImage {
            id: ObjectId(id),
            version: TransactionId(7),
            slots: Vec::new(),
        });
        for (name, value) in slots {
            object.slots.retain(|slot| slot.name != *name);
            object.slots.push(SlotImage {
                name: (*name).into(),
                value: value.clone(),
                changed: TransactionId(7),
            });
        }
        self
    }

    pub fn method(&mut self, id: u64, name: &str, source: &str) -> &mut Stage {
        self.put(id, &[(name, Value::Method(source.into()))])
    }

    /// Sends and plays the kernel until the end.
    pub fn send(&mut self, id: u64, selector: &str, arguments: Vec<Value>, mode: Mode) -> End {
        self.send_with(id, selector, arguments, mode, Duration::from_secs(60))
    }

    pub fn send_with(
        &mut self,
        id: u64,
        selector: &str,
        arguments: Vec<Value>,
        mode: Mode,
        time: Duration,
    ) -> End {
        let run = Run {
            receiver: ObjectId(id),
            selector: selector.into(),
            arguments,
            objects: self.objects.get(&id).cloned().into_iter().collect(),
            stale: self.objects.keys().map(|id| ObjectId(*id)).collect(),
            uncommitted: Vec::new(),
            mode,
        };
        self.carry_out(run, time)
    }

    pub fn carry_out(&mut self, run: Run, time: Duration) -> End {
        self.socket.set_read_timeout(Some(time)).unwrap();
        self.fetches.clear();
        self.entry_reads.clear();
        if frame::write(&mut self.socket, &ToWorker::Run(Box::new(run))).is_err() {
            return self.died();
        }
        loop {
            let answer = match frame::read::<FromWorker>(&mut self.socket) {
                Ok(FromWorker::Finished(finished)) => return End::Finished(*finished),
                Ok(FromWorker::Fetch(ids)) => {
                    self.fetches.push(ids.iter().map(|id| id.0).collect());
                    let found = ids
                        .iter()
                        .filter_map(|id| self.objects.get(&id.0).cloned())
                        .collect();
                    ToWorker::Objects(found)
                }
                Ok(FromWorker::Allocate) => {
                    self.next += 1;
                    ToWorker::Allocated(ObjectId(self.next))
                }
                Ok(FromWorker::Entry { object, key }) => {
                    self.entry_reads.push(format!("{object}[{}]", shown(&key)));
                    let entries = self.entries.get(&object.0);
                    ToWorker::Entry(entries.and_then(|entries| entries.get(&key)).cloned())
                }
                Ok(FromWorker::Scan {
                    object,
                    from,
                    to,
                    limit,
                    order,
                }) => self.scan(object, (from, to), limit, order),
                Ok(FromWorker::Count(object)) => {
                    self.entry_reads.push(format!("len({object})"));
                    let entries = self.entries.get(&object.0);
                    ToWorker::Count(entries.map_or(0, |entries| entries.len() as u64))
                }
                Ok(other) => panic!("{other:?} within a run"),
                Err(FrameError::Io(error))
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    self.child.kill().unwrap();
                    self.child.wait().unwrap();
                    return End::Killed;
                }
                Err(error) if error.is_disconnect() => return self.died(),
                Err(_) => {
                    self.child.kill().unwrap();
                    self.child.wait().unwrap();
                    return End::BadFrame;
                }
            };
            if frame::write(&mut self.socket, &answer).is_err() {
                return self.died();
            }
        }
    }

    fn scan(&mut self, object: ObjectId, (from, to): (Key, Key), limit: u32, order: ScanOrder) -> ToWorker {
        let limit = (limit as usize).min(self.page);
        let range = self.entries.entry(object.0).or_default().range(from..to);
        let pairs = range.map(|(key, value)| (key.clone(), value.clone()));
        let found: Vec<(Key, Value)> = match order {
            ScanOrder::Ascending => pairs.take(limit).collect(),
            ScanOrder::Descending => pairs.rev().take(limit).collect(),
        };
        let keys: Vec<String> = found.iter().map(|(key, _)| shown(key)).collect();
        let is_whole = found.len() < limit;
        let end = if is_whole { " end" } else { "" };
        self.entry_reads
            .push(format!("{object}[{}{end}]", keys.join(" ")));
        ToWorker::Entries {
            entries: found,
            is_whole,
        }
    }

    /// Puts stored entries.
    pub fn store(&mut self, id: u64, entries: &[(Value, Value)]) -> &mut Stage {
        let stored = self.entries.entry(id).or_default();
        for (key, value) in entries {
            stored.insert(Key::of(key).unwrap(), value.clone());
        }
        self
    }

    fn died(&mut self) -> End {
        use std::os::unix::process::ExitStatusExt;
        End::Died(self.child.wait().unwrap().signal())
    }

    /// Runs `source` as method `m` of object 1.
    pub fn run(&mut self, source: &str) -> Finished {
        match self.end_of(source) {
            End::Finished(finished) => finished,
            other => panic!("{other:?} instead of an end of\n{source}"),
        }
    }

    pub fn end_of(&mut self, source: &str) -> End {
        self.method(1, "m", source);
        self.send(1, "m", Vec::new(), Mode::Proven)
    }

    pub fn answer(&mut self, source: &str) -> Value {
        match self.run(source).outcome {
            Outcome::Answered(value) => value,
            other => panic!("{other:?} instead of an answer of\n{source}"),
        }
    }

    pub fn raised(&mut self, source: &str) -> Raised {
        let finished = self.run(source);
        assert!(finished.writes.is_empty());
        match finished.outcome {
            Outcome::Raised(raised) => raised,
            other => panic!("{other:?} instead of an exception of\n{source}"),
        }
    }

    pub fn writes(&mut self, source: &str) -> Vec<Write> {
        let finished = self.run(source);
        assert!(
            matches!(finished.outcome, Outcome::Answered(_)),
            "{:?}\n{source}",
            finished.outcome
        );
        finished.writes
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shown(key: &Key) -> String {
    match key.value() {
        Some(Value::Text(text)) => text,
        Some(Value::Int(int)) => int.to_string(),
        other => format!("{other:?}"),
    }
}

pub fn int(i: i64) -> Value {
    Value::Int(i)
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::List(items.into_iter().collect())
}

pub fn refs(ids: &[u64]) -> Value {
    list(ids.iter().map(|id| Value::Ref(ObjectId(*id))))
}

pub fn put(id: u64, slot: &str, value: Value) -> Write {
    Write::Put {
        object: ObjectId(id),
        slot: slot.into(),
        value,
    }
}

pub fn remove(id: u64, slot: &str) -> Write {
    Write::Remove {
        object: ObjectId(id),
        slot: slot.into(),
    }
}

pub fn read(id: u64, slot: &str, changed: Option<u64>) -> Read {
    Read {
        object: ObjectId(id),
        slot: ReadSlot::Named(slot.into(), changed.map(TransactionId)),
    }
}

pub fn answered(outcome: &Outcome, expected: Value) {
    match outcome {
        Outcome::Answered(value) => assert_eq!(*value, expected),
        other => panic!("{other:?} instead of {expected:?}"),
    }
}
