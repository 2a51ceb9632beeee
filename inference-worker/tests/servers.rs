//! The worker before llama.cpp's own server, where that is installed: `BATOS_LLAMA_SERVER` names a Python that has
//! llama-cpp-python[server], `BATOS_LLAMA_MODEL` a GGUF file that it loads (`./scripts/bench inference` writes target/bench/models/seed-q8_0.gguf).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Killed and reaped when dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// None where there is none, with the reason on standard error.
    fn start() -> Option<Server> {
        let (Ok(python), Ok(model)) = (
            std::env::var("BATOS_LLAMA_SERVER"),
            std::env::var("BATOS_LLAMA_MODEL"),
        ) else {
            eprintln!("not checked: BATOS_LLAMA_SERVER and BATOS_LLAMA_MODEL name no server of llama.cpp");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(python)
            .args([
                "-m",
                "llama_cpp.server",
                "--model",
                &model,
                "--model_alias",
                "tried",
                "--n_ctx",
                "512",
            ])
            .args(["--port", &port.to_string(), "--api_key", "the-key"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Server {
            child,
            url: format!("http://127.0.0.1:{port}/v1"),
        })
    }

    /// What the worker writes, and what it says.
    fn generate(&self, arguments: &[&str]) -> (bool, String, String) {
        let done = Command::new(env!("CARGO_BIN_EXE_inference-worker"))
            .args([
                "generate",
                "--server-kind",
                "llama.cpp",
                "--server-model",
                "tried",
                "--server-url",
                &self.url,
            ])
            .args(arguments)
            .env("THE_KEY", "the-key")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.success(), text(&done.stdout), text(&done.stderr))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn llama_cpp_s_own_server_writes_for_the_worker() {
    let Some(server) = Server::start() else {
        return;
    };
    let key = [
        "--server-key-env",
        "THE_KEY",
        "--prompt",
        "ab",
        "--max-tokens",
        "12",
        "--figures",
    ];
    // Refused connections while it starts are asked again; the first text says that it is there.
    let begun = Instant::now();
    let (first, figures) = loop {
        let (succeeded, out, error) = server.generate(&[&key[..], &["--server-retries", "8"]].concat());
        if succeeded {
            break (out, error);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
    };
    assert!(first.len() > 12, "{first:?}");
    assert!(figures.contains("12 of text"), "{figures}");
    // Greedy, so the same again; and its own words are found as stop sequences.
    assert_eq!(server.generate(&key).1, first);
    let stop = &first[4..7];
    let (succeeded, out, error) = server.generate(&[&key[..], &["--stop", stop]].concat());
    assert!(succeeded, "{error}");
    assert_eq!(out.trim_end(), &first[..first.find(stop).unwrap()]);
    let (succeeded, _, error) = server.generate(&["--prompt", "ab"]);
    assert!(!succeeded && error.contains("401"), "{error}");
    let (succeeded, _, error) =
        server.generate(&["--server-key-env", "THE_KEY", "--prompt", &"ab ".repeat(2_000)]);
    // It says 200 and ends without a word.
    assert!(
        !succeeded && error.contains("ended before the text did"),
        "{error}"
    );
}
