//! A server in the place of the model, and the figures of both: the kernel sees the same worker.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value as Json, json};

use crate::harness::{System, number, program, text, until};

/// Answers every request for a text with a method that answers 42: its port, and how many such requests came.
fn server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &count);
        }
    });
    (port, written)
}

fn answer(mut stream: TcpStream, written: &AtomicUsize) {
    let mut reader = BufReader::new(&mut stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let head = head.to_ascii_lowercase();
    let reply = if head.starts_with("get /v1/models ") {
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"data\":[{\"id\":\"stand-in\"}]}"
            .to_owned()
    } else {
        let length = head
            .split("content-length: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let body: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["model"], "stand-in");
        assert!(text(&body["prompt"]).contains("tell_answer"), "{body}");
        written.fetch_add(1, Ordering::SeqCst);
        let chunk = |text: &str, finish: Json| json!({"choices": [{"text": text, "finish_reason": finish}]});
        let chunks = [
            chunk("def tell_answer(self):\n", Json::Null),
            chunk("    return 42\n", json!("stop")),
        ];
        let events: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{events}data: [DONE]\n\n")
    };
    let _ = stream.write_all(reply.as_bytes());
}

#[test]
fn a_server_writes_the_method_and_the_figures_are_told() {
    let url = format!("http://127.0.0.1:{}/v1", server().0);
    let system = System::without_model()
        .configure(&format!("[inference.server]\nurl = \"{url}\"\n"))
        .up();
    let told = until("the server's model", || {
        let kernel = system.ok(&["status"])["kernel"].clone();
        kernel["model"].as_str().map(str::to_owned)
    });
    assert_eq!(told, format!("stand-in at {url}"));
    // Of a server nothing is known; this one can only write methods.
    system.ok(&["set", "orchestrator", "abilities", r#"["method"]"#]);
    assert_eq!(system.result(&["send", "genesis", "tell_answer"]), json!(42));
    let figures = system.ok(&["status"])["kernel"]["inference"].clone();
    assert_eq!(
        (&figures["written_tokens"], &figures["ended"]["stopped"]),
        (&json!(2), &json!(1)),
        "{figures}"
    );
    assert_eq!(metrics(&system, "batos_requests_total{end=\"stop\"}"), "1");
}

/// The seed writes what it can; what it is not sure of goes to the server that stands by, and only that.
#[test]
fn what_the_model_cannot_do_goes_to_the_server_that_stands_by() {
    let (port, written) = server();
    let url = format!("http://127.0.0.1:{port}/v1");
    let system = System::new()
        .configure(&format!(
            "[inference.server]\nurl = \"{url}\"\nwhen = \"needed\"\n"
        ))
        .up();
    let both = format!("what it cannot do: stand-in at {url}");
    until("both models", || {
        let told = system.ok(&["status"])["kernel"]["model"].clone();
        let told = told.as_str()?;
        (told.starts_with("seed (") && told.ends_with(&both)).then_some(())
    });
    // This server can only write methods.
    system.ok(&["set", "orchestrator", "assumed_abilities", r#"["method"]"#]);
    system.ok(&["send", "genesis", "display_yourself"]);
    assert_eq!(written.load(Ordering::SeqCst), 0);
    // Nothing is as likely as that.
    system.ok(&["set", "orchestrator", "least_confidence", "0.5"]);
    system.ok(&["new", "traits", "answer_count=1", "--name", "oracle"]);
    assert_eq!(system.result(&["send", "oracle", "tell_answer"]), json!(42));
    assert_eq!(written.load(Ordering::SeqCst), 1);
    let thought = system.ok(&["why", "oracle", "tell_answer"])["thought"].clone();
    let events = thought["events"].as_array().unwrap();
    let escalated = events
        .iter()
        .find(|event| event["kind"] == "ESCALATED")
        .unwrap_or_else(|| panic!("{thought}"));
    let detail = text(&escalated["detail"]);
    assert_eq!(escalated["round"], 2);
    assert!(
        detail.starts_with(&format!("stand-in at {url} is asked: ")) && detail.contains("not sure"),
        "{detail}"
    );
    // Who wants no server to be asked says so.
    system.ok(&["set", "orchestrator", "escalates", "false"]);
    let refused = system.refused(&["send", "oracle", "tell_answer_again"], "not_understood");
    assert!(text(&refused["message"]).contains("not sure"), "{refused}");
    assert_eq!(written.load(Ordering::SeqCst), 1);
}

#[test]
fn the_model_s_work_is_told_as_a_status_and_for_prometheus() {
    let system = System::new().up();
    system.ok(&["send", "genesis", "display_yourself"]);
    let figures = system.ok(&["status"])["kernel"]["inference"].clone();
    assert!(
        number(&figures["written_tokens"]) > 5 && number(&figures["read_tokens"]) > 5,
        "{figures}"
    );
    assert!(number(&figures["ended"]["stopped"]) >= 1, "{figures}");
    assert!(figures["written_per_second"].as_f64().unwrap() > 0.0, "{figures}");
    assert!(number(&figures["cache"]["tokens"]) > 1_000, "{figures}");
    assert_eq!(
        (&figures["active"], &figures["waiting"], &figures["loading"]),
        (&json!(0), &json!(0), &Json::Null)
    );
    assert_eq!(metrics(&system, "batos_model_loaded"), "1");
    assert_eq!(
        metrics(&system, "batos_tokens_total"),
        figures["written_tokens"].to_string()
    );
    system.ok(&["down"]);
    assert_eq!(metrics(&system, "batos_kernel_up"), "0");
}

/// The value of one line of `batos status --metrics`.
fn metrics(system: &System, name: &str) -> String {
    let output = Command::new(program("batos"))
        .arg("--home")
        .arg(system.home())
        .args(["status", "--metrics"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {text}"))
        .to_owned()
}
