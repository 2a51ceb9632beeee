//! A server that follows a script, good and hostile, and what the worker makes of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use serde_json::Value as Json;
use shared::inference::{Adapter, AdapterRequest, ChatMessage, Contents, Generate, Grammar, Hold, Options};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::settings::{Address, Key, Kind};
use super::*;
use crate::adapter::store::Budgets;
use crate::checkpoint::Weights;
use crate::device::place::Place;
use crate::engine::{Engine, Settings};

type Turn = Box<dyn FnOnce(&mut dyn Connection) + Send>;

trait Connection: Read + Write {}
impl<T: Read + Write> Connection for T {}

const MODELS: &str = r#"{"data":[{"id":"small","meta":{"n_params":7,"n_ctx_train":99}}]}"#;
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// What one request for a text was.
struct Seen {
    head: String,
    body: serde_json::Value,
}

/// A server whose turns are taken one a connection; the list of models is told to whoever asks for it.
struct Scripted {
    url: String,
    seen: mpsc::Receiver<Seen>,
}

impl Scripted {
    fn start(turns: Vec<Turn>) -> Scripted {
        Scripted::with_models(MODELS, turns)
    }

    fn with_models(models: &'static str, turns: Vec<Turn>) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (told, seen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut turns = turns.into_iter();
            for stream in listener.incoming() {
                serve(stream.unwrap(), models, &mut turns, &told);
            }
        });
        Scripted { url, seen }
    }

    fn engine(&self, change: impl FnOnce(&mut Server)) -> Engine {
        engine(&self.url, change)
    }

    /// The requests for texts so far.
    fn seen(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }
}

fn serve(
    mut stream: impl Read + Write + Send + 'static,
    models: &str,
    turns: &mut impl Iterator<Item = Turn>,
    told: &mpsc::Sender<Seen>,
) {
    let mut reader = BufReader::new(&mut stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    if head.starts_with("GET /v1/models ") {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{models}");
        let _ = stream.write_all(answer.as_bytes());
        return;
    }
    let length = head.to_ascii_lowercase();
    let length = length
        .split("content-length: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    let turn = turns.next();
    told.send(Seen { head, body }).unwrap();
    if let Some(turn) = turn {
        std::thread::spawn(move || turn(&mut stream));
    }
}

fn engine(url: &str, change: impl FnOnce(&mut Server)) -> Engine {
    let mut server = Server {
        url: Address::of(url).unwrap(),
        when: When::Always,
        model: Some("small".into()),
        kind: Kind::LlamaCpp,
        key: None,
        ca_file: None,
        connect: Duration::from_secs(5),
        silence: Duration::from_secs(20),
        retries: 2,
    };
    change(&mut server);
    Engine::start(Settings {
        model: "unused".into(),
        model_hash: None,
        place: Place::Processor,
        weights: Weights::AsStored,
        threads: 1,
        cache_bytes: 1,
        adapters: Budgets {
            warm_bytes: 1,
            hot_bytes: 1,
        },
        server: Some(server),
    })
    .unwrap()
}

/// Says this and ends the connection.
fn say(text: impl Into<String>) -> Turn {
    let text = text.into();
    Box::new(move |stream| {
        let _ = stream.write_all(text.as_bytes());
    })
}

fn chunk(text: &str, finish: &str) -> String {
    let finish = if finish.is_empty() {
        "null".into()
    } else {
        format!("\"{finish}\"")
    };
    format!("data: {{\"choices\":[{{\"index\":0,\"text\":{text:?},\"finish_reason\":{finish}}}]}}\n\n")
}

fn good() -> Turn {
    say(format!(
        "{OK}{}{}data: [DONE]\n\n",
        chunk("one ", ""),
        chunk("two", "stop")
    ))
}

fn status(line: &str, body: &str) -> Turn {
    say(format!(
        "HTTP/1.1 {line}\r\nContent-Type: application/json\r\n\r\n{body}"
    ))
}

struct Asked {
    events: UnboundedReceiver<InferenceEvent>,
    cancelled: Arc<AtomicBool>,
}

fn ask_with(engine: &Engine, deadline_ms: u64, options: Options, messages: Vec<ChatMessage>) -> Asked {
    submit(engine, |job| {
        job.request.deadline_ms = deadline_ms;
        job.options = options;
        job.messages = messages;
    })
}

fn submit(engine: &Engine, change: impl FnOnce(&mut Job)) -> Asked {
    let (events, answers) = unbounded_channel();
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut job = Job {
        request: Generate {
            request: 4,
            prompt: "Say: ".into(),
            max_tokens: 20,
            temperature: 0.7,
            top_p: 0.9,
            seed: u64::MAX,
            stop: vec!["END".into()],
            deadline_ms: 60_000,
        },
        options: Options::default(),
        messages: Vec::new(),
        adapter: None,
        grammar: None,
        constraint: None,
        events,
        cancelled: cancelled.clone(),
        arrived: Instant::now(),
    };
    change(&mut job);
    engine.submit(job);
    Asked {
        events: answers,
        cancelled,
    }
}

fn ask(engine: &Engine) -> Asked {
    submit(engine, |_| {})
}

impl Asked {
    /// The whole text and why it ended, or the fault; pieces join to the text.
    fn outcome(mut self) -> Result<(String, Finish), InferenceFault> {
        let mut joined = String::new();
        loop {
            match self.events.blocking_recv().unwrap() {
                InferenceEvent::Text { text, .. } => joined.push_str(&text),
                InferenceEvent::Done {
                    text,
                    finish,
                    request,
                    ..
                } => {
                    assert_eq!((request, &text), (4, &joined));
                    return Ok((text, finish));
                }
                InferenceEvent::Failed { fault, .. } => return Err(fault),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_text_is_asked_for_and_streamed() {
    let server = Scripted::start(vec![good(), good()]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "secret-key\n").unwrap();
    let key = Key::read(file.path()).unwrap();
    let engine = server.engine(|server| server.key = Some(key));
    let options = Options {
        top_k: 5,
        ..Options::default()
    };
    let outcome = ask_with(&engine, 60_000, options, Vec::new()).outcome().unwrap();
    assert_eq!(outcome, ("one two".into(), Finish::Stop));
    let talk = ChatMessage {
        role: "user".into(),
        content: "hello".into(),
    };
    // The same events are read as a conversation's.
    ask_with(&engine, 60_000, Options::default(), vec![talk])
        .outcome()
        .unwrap();
    let seen = server.seen();
    assert!(
        seen[0].head.starts_with("POST /v1/completions HTTP/1.1\r\n"),
        "{}",
        seen[0].head
    );
    assert!(
        seen[0].head.contains("authorization: Bearer secret-key\r\n"),
        "{}",
        seen[0].head
    );
    let wanted = serde_json::json!({
        "model": "small", "max_tokens": 20, "temperature": 0.7, "top_p": 0.9, "seed": 0x7fff_ffff, "stream": true,
        "stream_options": {"include_usage": true}, "stop": ["END"], "top_k": 5, "min_p": 0.0, "repeat_penalty": 1.0,
        "repeat_last_n": 64, "prompt": "Say: ",
    });
    assert_eq!(seen[0].body, wanted);
    assert!(
        seen[1].head.starts_with("POST /v1/chat/completions "),
        "{}",
        seen[1].head
    );
    let messages = serde_json::json!([
        {"role": "user", "content": "hello"}, {"role": "assistant", "content": "Say: "},
    ]);
    assert_eq!(seen[1].body["messages"], messages);
}

#[test]
fn an_adapter_is_asked_for_by_its_name_where_names_are_looked_at() {
    let robin = Adapter {
        name: "ROBIN".into(),
        generation: 1,
        config: String::new(),
        weights: Contents {
            path: "/unused".into(),
            digest: [0; 32],
            bytes: 1,
        },
    };
    let server = Scripted::start(vec![good(), good()]);
    let engine = server.engine(|server| server.kind = Kind::Vllm);
    let adapted = |engine: &Engine| submit(engine, |job| job.adapter = Some(robin.clone())).outcome();
    adapted(&engine).unwrap();
    ask(&engine).outcome().unwrap();
    let models: Vec<Json> = server
        .seen()
        .iter()
        .map(|seen| seen.body["model"].clone())
        .collect();
    assert_eq!(models, ["ROBIN", "small"]);
    let fault = adapted(&server.engine(|_| {})).unwrap_err();
    assert_eq!(fault.reason, "adapter_refused", "{fault}");
    // Nothing is loaded here, and who asks for it is told so.
    let stage = AdapterRequest::Stage {
        adapter: robin.clone(),
        hold: Hold::Warm,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fault = runtime
        .block_on(engine.adapters.clone().answer(stage))
        .unwrap_err();
    assert_eq!(fault.reason, "adapter_refused", "{fault}");
    assert!(server.seen().is_empty() && engine.adapters.tiers().is_empty());
}

fn says(text: &str) -> Turn {
    say(format!("{OK}{}data: [DONE]\n\n", chunk(text, "stop")))
}

#[test]
fn a_schema_is_told_to_the_server_and_its_text_is_checked() {
    let schema = r##"{"$defs": {"n": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}"##;
    let held = |engine: &Engine, grammar: &Grammar, is_conversation: bool| {
        let asked = submit(engine, |job| {
            job.request.stop.clear();
            job.grammar = Some(grammar.clone());
            job.messages.extend(is_conversation.then(|| ChatMessage {
                role: "user".into(),
                content: "hello".into(),
            }));
        });
        asked.outcome()
    };
    let json = Grammar::JsonSchema(schema.into());
    let good = || says(" {\"n\": 3}\n");
    let server = Scripted::start(vec![
        good(),
        good(),
        good(),
        says("Sure!"),
        says("{\"n\": \"3\"}"),
    ]);
    let llama = server.engine(|_| {});
    let vllm = server.engine(|server| server.kind = Kind::Vllm);
    assert_eq!(held(&llama, &json, false).unwrap().0, " {\"n\": 3}\n");
    held(&llama, &json, true).unwrap();
    held(&vllm, &json, false).unwrap();
    let seen = server.seen();
    let wanted: Json = serde_json::from_str(schema).unwrap();
    assert_eq!(seen[0].body["json_schema"], wanted);
    assert_eq!(seen[1].body["response_format"]["schema"], wanted);
    assert_eq!(seen[2].body["response_format"]["json_schema"]["schema"], wanted);
    for words in ["no JSON", "\"3\" is not of type"] {
        let fault = held(&llama, &json, false).unwrap_err();
        assert!(
            fault.reason == "server" && fault.message.contains(words),
            "{fault}"
        );
    }
    server.seen();
    let openai = server.engine(|server| server.kind = Kind::Openai);
    let lark = Grammar::Lark("start: \"yes\"".into());
    for (engine, grammar, reason) in [
        (&openai, &json, "no_grammar"),
        (&vllm, &lark, "no_grammar"),
        (&vllm, &Grammar::JsonSchema("{\"type\": 3}".into()), "bad_request"),
        (
            &vllm,
            &Grammar::JsonSchema("{\"$ref\": \"http://x/\"}".into()),
            "bad_request",
        ),
    ] {
        assert_eq!(held(engine, grammar, false).unwrap_err().reason, reason);
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_schema_that_leads_back_to_itself_ends() {
    let server = Scripted::start(vec![says("3")]);
    let round = Grammar::JsonSchema("{\"$ref\": \"#\"}".into());
    let engine = server.engine(|_| {});
    let asked = submit(&engine, |job| {
        job.request.stop.clear();
        job.grammar = Some(round);
    });
    let _ = asked.outcome();
}

#[test]
fn a_busy_server_is_asked_again_and_a_refusal_is_told_at_once() {
    let server = Scripted::start(vec![
        status("503 Service Unavailable", "{}"),
        say(""),
        good(),
        status("401 Unauthorized", "{\"error\": \"no such key: secret-key\"}"),
        status("500 Oops", "<h1>1</h1>"),
        status("500 Oops", "<h1>2</h1>"),
        status("500 Oops", "<h1>3</h1>"),
    ]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "secret-key").unwrap();
    let key = Key::read(file.path()).unwrap();
    let engine = server.engine(|server| server.key = Some(key));
    assert_eq!(ask(&engine).outcome().unwrap().0, "one two");
    assert_eq!(server.seen().len(), 3);
    let fault = ask(&engine).outcome().unwrap_err();
    assert_eq!((server.seen().len(), fault.reason.as_str()), (1, "server"));
    assert!(
        fault.message.contains("401") && fault.message.contains("no such key: …"),
        "{fault}"
    );
    let fault = ask(&engine).outcome().unwrap_err();
    assert_eq!(server.seen().len(), 3);
    assert!(
        fault.message.contains("500") && fault.message.contains("<h1>3</h1>"),
        "{fault}"
    );
}

#[test]
fn an_answer_that_breaks_after_text_is_a_fault_and_not_asked_again() {
    let half = || say(format!("{OK}{}", chunk("one ", "")));
    let server = Scripted::start(vec![half(), good()]);
    let fault = ask(&server.engine(|_| {})).outcome().unwrap_err();
    assert!(fault.message.contains("ended before the text did"), "{fault}");
    assert_eq!(server.seen().len(), 1);
    // Before any text the next attempt is as good as the first.
    let server = Scripted::start(vec![say(OK), say(format!("{OK}data: {{\"cho")), good()]);
    assert_eq!(ask(&server.engine(|_| {})).outcome().unwrap().0, "one two");
}

/// The request fails, and its message holds these words; nothing is asked twice.
fn check_wrong(answer: Turn, words: &str) {
    let server = Scripted::start(vec![answer, good()]);
    let fault = ask(&server.engine(|_| {})).outcome().unwrap_err();
    assert!(fault.message.contains(words), "{words}: {fault}");
    assert_eq!(fault.reason, "server");
    assert_eq!(server.seen().len(), 1, "{words}");
}

/// Writes the same for as long as somebody reads.
fn endless(head: &str, piece: String) -> Turn {
    let head = head.to_owned();
    Box::new(move |stream| {
        let mut written = stream.write_all(head.as_bytes());
        while written.is_ok() {
            written = stream.write_all(piece.as_bytes());
        }
    })
}

#[test]
fn answers_that_no_server_should_give_are_told_and_bounded() {
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Sign in</html>";
    check_wrong(say(html), "text/html");
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"choices\":[]}";
    check_wrong(say(json), "application/json");
    check_wrong(status("302 Found", ""), "302");
    check_wrong(say(format!("{OK}<html>\n")), "no event");
    check_wrong(say(format!("{OK}data: {{\n\n")), "no chunk");
    check_wrong(
        say(format!(
            "{OK}data: {{\"error\":\"CUDA\\u0007 out of memory\"}}\n\n"
        )),
        "out of memory",
    );
    check_wrong(say(format!("{OK}data: [DONE]\n\n")), "has no end");
    check_wrong(say("nonsense nonsense\r\n\r\n"), "cannot be followed");
    check_wrong(
        endless("HTTP/1.1 200 OK\r\n", format!("X: {}\r\n", "x".repeat(1_000))),
        "cannot be followed",
    );
    check_wrong(endless(OK, "data: ".repeat(1_000)), "longer than");
    check_wrong(endless(OK, chunk(&"x".repeat(100), "")), "the text is longer");
    check_wrong(endless(OK, format!(": {}\n", "x".repeat(1_000))), "has sent more");
    check_wrong(endless(OK, chunk("", "").repeat(100)), "has sent more");
}

#[test]
fn silence_and_deadlines_end_a_request() {
    // Holds the connection until the other side ends it.
    let mute = |text: String| -> Turn {
        Box::new(move |stream| {
            let _ = stream.write_all(text.as_bytes());
            let _ = stream.read(&mut [0]);
        })
    };
    let server = Scripted::start(vec![
        mute(format!("{OK}{}", chunk("one ", ""))),
        mute(String::new()),
    ]);
    let engine = server.engine(|server| server.silence = Duration::from_millis(200));
    let fault = ask(&engine).outcome().unwrap_err();
    assert!(fault.message.contains("nothing came for 200 ms"), "{fault}");

    let server = Scripted::start(vec![
        mute(format!("{OK}{}", chunk("one ", ""))),
        mute(String::new()),
    ]);
    let engine = server.engine(|_| {});
    let begun = Instant::now();
    let outcome = ask_with(&engine, 300, Options::default(), Vec::new())
        .outcome()
        .unwrap();
    assert_eq!(outcome, ("one ".into(), Finish::Deadline));
    let outcome = ask_with(&engine, 300, Options::default(), Vec::new())
        .outcome()
        .unwrap();
    assert_eq!(outcome, (String::new(), Finish::Deadline));
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_request_that_is_given_up_drops_its_connection() {
    let (told, ended) = mpsc::channel();
    let turn: Turn = Box::new(move |stream| {
        let _ = stream.write_all(format!("{OK}{}", chunk("one ", "")).as_bytes());
        // Ends when the worker drops the connection: nothing else comes from it.
        told.send(stream.read(&mut [0]).unwrap_or(0)).unwrap();
    });
    let server = Scripted::start(vec![turn]);
    // Dropped, it would end the connection by itself.
    let engine = server.engine(|_| {});
    let mut asked = ask(&engine);
    // "END" may begin with what came last, so two bytes are held back.
    let first = asked.events.blocking_recv().unwrap();
    assert!(
        matches!(&first, InferenceEvent::Text { text, .. } if text == "on"),
        "{first:?}"
    );
    asked.cancelled.store(true, Ordering::Relaxed);
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)).unwrap(), 0);
    loop {
        match asked.events.blocking_recv().unwrap() {
            InferenceEvent::Done { finish, text, .. } => {
                assert_eq!((finish, text.as_str()), (Finish::Cancelled, "one "));
                return;
            }
            InferenceEvent::Text { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_kind_of_server_cannot_be_asked_is_refused() {
    let server = Scripted::start(Vec::new());
    let engine = server.engine(|server| server.kind = Kind::Openai);
    let options = Options {
        top_k: 5,
        ..Options::default()
    };
    let fault = ask_with(&engine, 60_000, options, Vec::new())
        .outcome()
        .unwrap_err();
    assert_eq!(fault.reason, "bad_request");
    let options = Options {
        likelihoods: Some(1),
        ..Options::default()
    };
    let fault = ask_with(&engine, 60_000, options, Vec::new())
        .outcome()
        .unwrap_err();
    assert!(fault.message.contains("likelihoods"), "{fault}");
    assert!(server.seen().is_empty());
}

fn described(engine: &Engine) -> Result<Description, InferenceFault> {
    let begun = Instant::now();
    loop {
        match engine.describe() {
            Err(fault) if fault.reason == "loading" => assert!(begun.elapsed() < Duration::from_secs(20)),
            other => return other,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_server_s_models_are_told_or_why_there_is_none() {
    let server = Scripted::start(Vec::new());
    let model = described(&server.engine(|server| server.model = None)).unwrap();
    assert_eq!(
        (model.name.as_str(), model.parameters, model.context_tokens),
        ("small", 7, 99)
    );
    assert_eq!(model.path, server.url);
    let fault = described(&server.engine(|server| server.model = Some("large".into()))).unwrap_err();
    assert!(fault.message.contains("it has: small"), "{fault}");
    for (models, words) in [
        ("<html>", "cannot be read"),
        (r#"{"data":[]}"#, "name one of its models"),
        (r#"{"data":[{"id":"a"},{"id":"b\u0007"}]}"#, "it has: a, b"),
    ] {
        let server = Scripted::with_models(models, Vec::new());
        let fault = described(&server.engine(|server| server.model = None)).unwrap_err();
        assert!(fault.message.contains(words), "{fault}");
        assert_eq!(fault.reason, "server");
    }
    // A port that nobody listens at: bound, looked at, and let go.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let away = engine(&format!("http://127.0.0.1:{port}"), |server| server.retries = 0);
    assert!(
        described(&away)
            .unwrap_err()
            .message
            .contains("cannot be reached")
    );
    assert!(
        ask(&away)
            .outcome()
            .unwrap_err()
            .message
            .contains("cannot be reached")
    );
}

#[test]
fn certificates_are_checked() {
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (told, _seen) = mpsc::channel();
        for stream in listener.incoming() {
            let stream: TcpStream = stream.unwrap();
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut turns = std::iter::once(good());
            serve(StreamOwned::new(connection, stream), MODELS, &mut turns, &told);
        }
    });
    let url = format!("https://localhost:{port}/v1");
    let trusted = file.path().to_owned();
    let with = engine(&url, |server| server.ca_file = Some(trusted.clone()));
    assert_eq!(ask(&with).outcome().unwrap().0, "one two");
    // Another name, and a certificate that the system does not know.
    let url = format!("https://127.0.0.1:{port}/v1");
    let other_name = engine(&url, |server| {
        server.ca_file = Some(trusted);
        server.retries = 0;
    });
    assert!(
        ask(&other_name)
            .outcome()
            .unwrap_err()
            .message
            .contains("certificate")
    );
}
