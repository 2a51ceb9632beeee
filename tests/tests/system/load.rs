//! Clients that ask all the time and note what came of it, and a judge who compares their notes with the image.
//!
//! Every request bears a number; an object notes how often it has seen it. Half of the clients speak frames by the client
//! library, half JSON-RPC as any language would: a lost connection is made again, and the request repeated under its id.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use shared::bridge::{Answer, Call};
use shared::client::{CallError, Client};
use shared::value::Value;

use crate::harness::System;

const NOTE: &str = "def note(self, number):
    times = 0
    if number in self:
        times = self[number]
    self[number] = times + 1
    self.total = self.total + 1
    self._p_changed = True
    return self.total
";
const PATIENCE: Duration = Duration::from_secs(60);
/// Entries that are read at once.
const PAGE: usize = 2_000;

/// A load that runs until [`Load::end`].
pub struct Load {
    clients: Vec<thread::JoinHandle<History>>,
    is_over: &'static AtomicBool,
    answered: &'static AtomicU64,
    begun: Instant,
}

/// What one client did, in order.
pub struct History {
    object: String,
    asked: Vec<Asked>,
}

/// One request.
pub struct Asked {
    number: u64,
    pub begun: Instant,
    pub ended: Instant,
    /// The object's total after it, or why there is none.
    result: Result<u64, String>,
}

/// What all came to.
pub struct Verdict {
    pub asked: usize,
    pub failed: Vec<String>,
    pub lost: Vec<u64>,
    pub doubled: Vec<u64>,
    pub per_second: f64,
    pub histories: Vec<History>,
}

impl Load {
    /// Makes an object for each client and lets them begin. The system runs.
    pub fn begin(system: &System, clients: usize) -> Load {
        system.ok(&["new", "ordered_map", "--name", "noting"]);
        system.defined("noting", NOTE);
        // Leaked: clients outlive a test that fails.
        let is_over: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let answered: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
        let socket = system.home().join("run/kernel.sock");
        let begin = |index: usize| {
            let object = format!("notes{index}");
            system.ok(&["new", "noting", "total=0", "--name", &object]);
            let socket = socket.clone();
            thread::spawn(move || {
                let mut voice = Voice::new(index, &socket);
                let mut asked = Vec::new();
                for number in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let begun = Instant::now();
                    let result = voice.note(&object, number);
                    asked.push(Asked {
                        number,
                        begun,
                        ended: Instant::now(),
                        result,
                    });
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                History { object, asked }
            })
        };
        Load {
            clients: (0..clients).map(begin).collect(),
            is_over,
            answered,
            begun: Instant::now(),
        }
    }

    /// How many requests have ended so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Ends it and compares what clients noted with what the image holds.
    pub fn end(self, system: &System) -> Verdict {
        self.is_over.store(true, Ordering::SeqCst);
        let histories: Vec<History> = self
            .clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect();
        let asked: usize = histories.iter().map(|history| history.asked.len()).sum();
        let mut verdict = Verdict {
            asked,
            failed: Vec::new(),
            lost: Vec::new(),
            doubled: Vec::new(),
            per_second: asked as f64 / self.begun.elapsed().as_secs_f64(),
            histories: Vec::new(),
        };
        let mut client = system.client(PATIENCE);
        for history in histories {
            judge(&mut client, &history, &mut verdict);
            verdict.histories.push(history);
        }
        verdict
    }
}

impl Verdict {
    /// The longest that a client waited for an answer, of requests that were under way at some time in the span.
    pub fn longest_wait(&self, from: Instant, to: Instant) -> Duration {
        let asked = self.histories.iter().flat_map(|history| &history.asked);
        asked
            .filter(|asked| asked.begun <= to && asked.ended >= from)
            .map(|asked| asked.ended - asked.begun)
            .max()
            .unwrap_or_default()
    }

    /// The longest that a client waited outside of the spans: what the machine itself, and others on it, cost.
    pub fn longest_elsewhere(&self, spans: &[(Instant, Instant)]) -> Duration {
        let asked = self.histories.iter().flat_map(|history| &history.asked);
        asked
            .filter(|asked| {
                spans
                    .iter()
                    .all(|(from, to)| asked.begun > *to || asked.ended < *from)
            })
            .map(|asked| asked.ended - asked.begun)
            .max()
            .unwrap_or_default()
    }

    pub fn assert_clean(&self) {
        eprintln!(
            "{} requests, {:.0}/s: {} failed, {} lost, {} doubled",
            self.asked,
            self.per_second,
            self.failed.len(),
            self.lost.len(),
            self.doubled.len()
        );
        assert!(
            self.failed.is_empty(),
            "failed: {:?}",
            &self.failed[..self.failed.len().min(5)]
        );
        assert!(self.lost.is_empty(), "lost: {:?}", self.lost);
        assert!(self.doubled.is_empty(), "doubled: {:?}", self.doubled);
    }
}

fn judge(client: &mut Client, history: &History, verdict: &mut Verdict) {
    let seen = notes(client, &history.object);
    let total = match send(client, &history.object, "total", Vec::new()) {
        Ok(Value::Int(total)) => total as u64,
        other => panic!("{}: {other:?}", history.object),
    };
    assert_eq!(
        total,
        seen.values().sum::<u64>(),
        "{}: half a write",
        history.object
    );
    // One client asks one after the other: each answer is one more than the last.
    let mut last = 0;
    for asked in &history.asked {
        match &asked.result {
            Err(why) => verdict
                .failed
                .push(format!("{} {}: {why}", history.object, asked.number)),
            Ok(total) if *total != last + 1 => verdict.failed.push(format!(
                "{} {}: answered {total} after {last}",
                history.object, asked.number
            )),
            Ok(total) => last = *total,
        }
        match seen.get(&asked.number) {
            None if asked.result.is_ok() => verdict.lost.push(asked.number),
            Some(2..) => verdict.doubled.push(asked.number),
            _ => {}
        }
    }
}

/// How often each number was seen.
fn notes(client: &mut Client, object: &str) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    let mut from = Value::None;
    loop {
        let arguments = vec![from.clone(), Value::None, Value::Int(PAGE as i64)];
        let Ok(Value::List(items)) = send(client, object, "items", arguments) else {
            panic!("{object} does not tell its items");
        };
        for item in &items {
            let Value::List(pair) = item else {
                panic!("{item:?}")
            };
            let [Value::Int(number), Value::Int(times)] = pair[..] else {
                panic!("{item:?}")
            };
            found.insert(number as u64, times as u64);
            from = Value::Int(number + 1);
        }
        if items.len() < PAGE {
            return found;
        }
    }
}

fn send(
    client: &mut Client,
    receiver: &str,
    selector: &str,
    arguments: Vec<Value>,
) -> Result<Value, CallError> {
    let call = Call::Send {
        receiver: receiver.into(),
        selector: selector.into(),
        arguments,
        deadline_ms: None,
    };
    match client.call(call, None)? {
        Answer::Sent { result, .. } => Ok(result),
        other => panic!("{receiver} {selector}: {other:?}"),
    }
}

/// How a client speaks.
enum Voice {
    Library(Box<Client>),
    Lines(Lines),
}

impl Voice {
    fn new(index: usize, socket: &Path) -> Voice {
        match index % 2 {
            0 => Voice::Library(Box::new(Client::connect(socket, "load", PATIENCE).unwrap())),
            _ => Voice::Lines(Lines {
                socket: socket.to_path_buf(),
                client: format!("{:032x}", u128::from(std::process::id()) << 64 | index as u128),
                sequence: 0,
                connection: None,
            }),
        }
    }

    fn note(&mut self, object: &str, number: u64) -> Result<u64, String> {
        match self {
            Voice::Library(client) => {
                match send(client, object, "note", vec![Value::Int(number as i64)])
                    .map_err(|e| e.to_string())?
                {
                    Value::Int(total) => Ok(total as u64),
                    other => Err(format!("{other:?}")),
                }
            }
            Voice::Lines(lines) => lines.note(object, number),
        }
    }
}

/// JSON-RPC by hand: ids, and another connection when one is lost.
struct Lines {
    socket: PathBuf,
    client: String,
    sequence: u64,
    connection: Option<BufReader<UnixStream>>,
}

impl Lines {
    fn note(&mut self, object: &str, number: u64) -> Result<u64, String> {
        self.sequence += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.sequence, "method": "send", "params": {
            "receiver": object, "selector": "note", "arguments": [number],
            "client": self.client, "sequence": self.sequence,
        }});
        let until = Instant::now() + PATIENCE;
        loop {
            match self.exchange(&format!("{request}\n")) {
                Ok(line) => {
                    let reply: Json =
                        serde_json::from_str(&line).map_err(|error| format!("{line:?}: {error}"))?;
                    return reply["result"]["result"]
                        .as_u64()
                        .ok_or_else(|| reply.to_string());
                }
                Err(error) if Instant::now() > until => return Err(error.to_string()),
                Err(_) => {
                    self.connection = None;
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    fn exchange(&mut self, request: &str) -> std::io::Result<String> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(BufReader::new(UnixStream::connect(&self.socket)?)),
        };
        connection.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        match connection.read_line(&mut line)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ if !line.ends_with('\n') => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}
