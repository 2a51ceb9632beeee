//! Many clients of a running kernel from one thread: the load of the socket rows of `./scripts/bench image`.
//!
//! - `clients SOCKET make PARENT OBJECTS` makes objects of 300 bytes by `New`, in one conversation.
//! - `clients SOCKET send SELECTOR CLIENTS IN_FLIGHT SECONDS FIRST LAST ARGUMENT…` lets CLIENTS conversations send SELECTOR
//!   with integer arguments to random objects `#FIRST` … `#LAST`, each with IN_FLIGHT requests on their way, as a client
//!   library does that does not wait for one reply before it asks again.
//!
//! Each prints one line of JSON. A reply that is a fault ends the program: what failed is not counted as fast.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value as Json, json};
use shared::bridge::{Answer, Call, Hello, Request, ToClient, Welcome};
use shared::frame::{self, HEADER_BYTES, Header};
use shared::id::ClientId;
use shared::random::Random;
use shared::value::Value;

type Failure = Box<dyn std::error::Error>;

/// Requests on their way while objects are made.
const MAKING: usize = 64;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let document = match words[..] {
        [socket, "make", parent, objects] => make(Path::new(socket), parent, objects.parse()?)?,
        [
            socket,
            "send",
            selector,
            clients,
            in_flight,
            seconds,
            first,
            last,
            ref numbers @ ..,
        ] => {
            let numbers: Result<Vec<i64>, _> = numbers.iter().map(|number| number.parse()).collect();
            let load = Load {
                selector: selector.to_owned(),
                arguments: numbers?.into_iter().map(Value::Int).collect(),
                in_flight: in_flight.parse()?,
                first: first.parse()?,
                last: last.parse()?,
            };
            send(
                Path::new(socket),
                &load,
                clients.parse()?,
                Duration::from_secs_f64(seconds.parse()?),
            )?
        }
        _ => {
            eprintln!("usage: the first lines of tests/benches/clients.rs; ./scripts/bench image runs this");
            return Ok(());
        }
    };
    println!("{document}");
    Ok(())
}

/// What every conversation of a measurement does.
struct Load {
    selector: String,
    arguments: Vec<Value>,
    in_flight: usize,
    first: u64,
    last: u64,
}

fn send(socket: &Path, load: &Load, clients: usize, span: Duration) -> Result<Json, Failure> {
    let mut random = seeded()?;
    let mut conversations = (0..clients)
        .map(|_| Conversation::begin(socket, &mut random))
        .collect::<Result<Vec<_>, _>>()?;
    let call = |random: &mut Random| Call::Send {
        receiver: format!("#{}", load.first + random.below(load.last - load.first + 1)),
        selector: load.selector.clone(),
        arguments: load.arguments.clone(),
        deadline_ms: None,
    };
    let used_before = processor_seconds()?;
    let begun = Instant::now();
    for conversation in &mut conversations {
        for _ in 0..load.in_flight {
            conversation.ask(call(&mut random))?;
        }
        conversation.flush()?;
    }
    let mut answered = 0u64;
    while conversations.iter().any(|conversation| conversation.awaited > 0) {
        for ready in readable(&conversations)? {
            let conversation = &mut conversations[ready];
            let answers = conversation.hear()?;
            answered += answers.len() as u64;
            if begun.elapsed() < span {
                for _ in answers {
                    conversation.ask(call(&mut random))?;
                }
                conversation.flush()?;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(json!({
        "answered": answered,
        "seconds": seconds,
        "clients": clients,
        "in_flight": load.in_flight,
        "client_processor_seconds": processor_seconds()? - used_before,
    }))
}

fn make(socket: &Path, parent: &str, objects: usize) -> Result<Json, Failure> {
    let mut conversation = Conversation::begin(socket, &mut seeded()?)?;
    let mut made = Vec::with_capacity(objects);
    while made.len() < objects {
        while conversation.awaited < MAKING && made.len() + conversation.awaited < objects {
            conversation.ask(Call::New {
                parent: parent.to_owned(),
                slots: vec![
                    ("count".to_owned(), Value::Int(0)),
                    ("body".to_owned(), Value::Text("x".repeat(300))),
                ],
                name: None,
            })?;
        }
        conversation.flush()?;
        for answer in conversation.hear()? {
            match answer {
                Answer::Created { object, .. } => made.push(object.0),
                other => return Err(format!("a new object was answered by {other:?}").into()),
            }
        }
    }
    made.sort_unstable();
    match (made.first(), made.last()) {
        (Some(first), Some(last)) if last - first + 1 == objects as u64 => {
            Ok(json!({ "first": first, "last": last }))
        }
        ends => Err(format!("others made objects at the same time: {ends:?}").into()),
    }
}

/// One client's connection.
struct Conversation {
    stream: UnixStream,
    last_sequence: u64,
    /// Requests without a reply so far.
    awaited: usize,
    /// Frames that `flush` sends.
    outgoing: Vec<u8>,
    /// Bytes that were read and are no whole frame yet.
    incoming: Vec<u8>,
}

impl Conversation {
    fn begin(socket: &Path, random: &mut Random) -> Result<Conversation, Failure> {
        let mut stream = UnixStream::connect(socket)?;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&random.next_u64().to_le_bytes());
        id[8..].copy_from_slice(&random.next_u64().to_le_bytes());
        frame::write(
            &mut stream,
            &Hello {
                client: ClientId(id),
                program: "bench clients".to_owned(),
            },
        )?;
        let _: Welcome = frame::read(&mut stream)?;
        Ok(Conversation {
            stream,
            last_sequence: 0,
            awaited: 0,
            outgoing: Vec::new(),
            incoming: Vec::new(),
        })
    }

    fn ask(&mut self, call: Call) -> Result<(), Failure> {
        self.last_sequence += 1;
        self.awaited += 1;
        let request = Request {
            sequence: self.last_sequence,
            watch: false,
            call,
        };
        self.outgoing.extend(frame::encode(&request)?);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.stream.write_all(&self.outgoing)?;
        self.outgoing.clear();
        Ok(())
    }

    /// Reads once, and answers what came whole with it.
    fn hear(&mut self) -> Result<Vec<Answer>, Failure> {
        let mut chunk = [0; 1 << 16];
        match self.stream.read(&mut chunk)? {
            0 => return Err("the kernel closed the connection".into()),
            bytes => self.incoming.extend(&chunk[..bytes]),
        }
        let mut answers = Vec::new();
        let mut rest = &self.incoming[..];
        while let Some((head, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
            let header = Header::parse(head)?;
            let Some((payload, after)) = after.split_at_checked(header.payload_bytes) else {
                break;
            };
            match header.decode(payload)? {
                ToClient::Reply { result, .. } => answers.push(result?),
                ToClient::Event { .. } | ToClient::Progress { .. } => {}
            }
            rest = after;
        }
        let used = self.incoming.len() - rest.len();
        self.incoming.drain(..used);
        self.awaited -= answers.len();
        Ok(answers)
    }
}

/// Waits until some conversation can be read.
fn readable(conversations: &[Conversation]) -> Result<Vec<usize>, Failure> {
    let mut watched: Vec<PollFd<'_>> = conversations
        .iter()
        .map(|conversation| PollFd::new(conversation.stream.as_fd(), PollFlags::POLLIN))
        .collect();
    poll(&mut watched, PollTimeout::NONE)?;
    Ok((0..watched.len())
        .filter(|index| watched[*index].any() == Some(true))
        .collect())
}

fn processor_seconds() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let used = usage.user_time() + usage.system_time();
    Ok(used.num_microseconds() as f64 / 1e6)
}

/// Seeded by the system: client ids must not come again.
fn seeded() -> Result<Random, Failure> {
    let mut seed = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(Random::new(u64::from_le_bytes(seed)))
}
