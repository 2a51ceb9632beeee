//! A server in the place of the model, and the figures of both: the kernel sees the same worker.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::harness::{System, number, program, text, until};

/// Answers every request for a text with a method that answers 42.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap());
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
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
    let url = format!("http://127.0.0.1:{}/v1", server());
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
