//! DNU-Bench: its tasks are right, its judgement can be both, and what is for test leaks nowhere.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};

use crate::harness::{processes_of, program, repository, text, until};
use crate::scripted::{Act, Scripted};

/// What `batos bench dnu` came to, without a home of the caller's.
fn bench(arguments: &[&str]) -> (i32, Json, String) {
    let output = Command::new(program("batos"))
        .args(["--json", "bench", "dnu", "--tasks"])
        .arg(folder_of(arguments))
        .args(arguments.iter().filter(|argument| !argument.starts_with("in:")))
        .env("BATOS_SEED", repository().join("inference-worker/seed/model"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let document =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{stdout:?}: {error}; {stderr}"));
    (output.status.code().unwrap_or(-1), document, stderr)
}

/// The tasks in `in:FOLDER`, else the repository's.
fn folder_of(arguments: &[&str]) -> String {
    let given = arguments.iter().find_map(|argument| argument.strip_prefix("in:"));
    given.map_or_else(
        || repository().join("tests/dnu").display().to_string(),
        str::to_owned,
    )
}

#[test]
fn every_task_is_done_by_its_own_reference() {
    let (code, document, stderr) = bench(&["--check"]);
    assert_eq!(
        (code, &document["faults"]),
        (0, &json!([])),
        "{document} {stderr}"
    );
    assert!(document["tasks"].as_u64() >= Some(400), "{document}");
}

#[test]
fn there_are_enough_tasks_of_every_family_and_both_parts() {
    let (_, document, _) = bench(&["--list"]);
    let tasks = document["tasks"].as_array().unwrap();
    let count = |key: &str, value: &str| tasks.iter().filter(|task| task[key] == value).count();
    assert!(
        count("family", "impossible") + count("family", "ambiguous") >= 40,
        "{document}"
    );
    for family in [
        "slots",
        "counters and toggles",
        "lists",
        "maps",
        "text",
        "numbers and units",
        "dates",
        "state changes with guards",
        "delegation and overriding",
        "several objects",
        "compositions of two",
        "compositions of three",
        "schema-bound data",
    ] {
        assert!(count("family", family) >= 20, "{family}");
    }
    assert!(count("part", "dev") >= 150 && count("part", "test") >= 200);
    // The scan, which is no Rust, comes to the same parts.
    let listed = scan(&["--list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut parts: HashMap<&str, &str> = listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(part, id)| (id, part))
        .collect();
    for task in tasks {
        assert_eq!(
            parts.remove(text(&task["id"])),
            Some(text(&task["part"])),
            "{task}"
        );
    }
    assert!(parts.is_empty(), "{parts:?}");
}

const TASKS: &str = r##"
family = "small"
about = "Four tasks whose outcome is known."

[[task]]
id = "right"
objects = ['gate: tally=1 word="a"']
selector = "tell_tally"
intent = "Answer the tally."
visible = ['() -> 1']
hidden = ['tally=0 () -> 0', 'tally=2 () -> 2', 'tally=-1 () -> -1', 'tally=7 () -> 7', 'word="b" () -> 1']
reference = "def tell_tally(self):\n    return self.tally\n"

[[task]]
id = "only-visible"
objects = ['gate: tally=1']
selector = "tell_double"
intent = "Answer twice the tally."
visible = ['() -> 2']
hidden = ['tally=0 () -> 0', 'tally=2 () -> 4', 'tally=-1 () -> -2', 'tally=7 () -> 14', 'tally=3 () -> 6']
reference = "def tell_double(self):\n    return self.tally * 2\n"

[[task]]
id = "writes-more"
objects = ['gate: tally=1 other=0']
selector = "count_on"
intent = "Add one to the tally."
visible = ['() -> _; tally=2']
hidden = ['tally=0 () -> _; tally=1', 'tally=2 () -> _; tally=3', 'tally=-1 () -> _; tally=0', 'tally=7 () -> _; tally=8', 'tally=3 () -> _; tally=4']
writes = ["tally"]
reference = "def count_on(self):\n    self.tally = self.tally + 1\n    self._p_changed = True\n"

[[task]]
id = "raises"
objects = ['gate: rows=[1]']
selector = "first_row"
intent = "Answer the first row, none when there is none."
visible = ['() -> 1']
hidden = ['rows=[] () -> null', 'rows=[2] () -> 2', 'rows=[3,4] () -> 3', 'rows=[0] () -> 0', 'rows=[5,5] () -> 5']
reference = "def first_row(self):\n    return self.rows[0] if self.rows else None\n"

[[task]]
id = "never"
objects = ['gate: tally=1']
selector = "call_the_moon"
intent = "Call the moon."
visible = ['() -> !']
impossible = "no method can"

[[task]]
id = "guessed"
objects = ['gate: left=1 right=2']
selector = "raise_it"
intent = "Raise it."
visible = ['() -> !']
ambiguous = "left or right"
"##;

/// What a model that is known writes for each of them.
const WRITTEN: [(&str, &str); 6] = [
    ("tell_tally", "def tell_tally(self):\n    return self.tally\n"),
    ("tell_double", "def tell_double(self):\n    return 2\n"),
    (
        "count_on",
        "def count_on(self):\n    self.tally = self.tally + 1\n    self.other = self.other + 1\n    self._p_changed = True\n",
    ),
    ("first_row", "def first_row(self):\n    return self.rows[0]\n"),
    ("call_the_moon", "<|refuse|>nothing here can"),
    (
        "raise_it",
        "def raise_it(self):\n    self.left = self.left + 1\n    self._p_changed = True\n",
    ),
];

/// The verdict is that of the examples, whatever writes the methods: right and wrong in every way.
#[test]
fn what_is_right_and_what_is_wrong_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), TASKS).unwrap();
    let tasks = format!("in:{}", folder.path().display());
    let (code, checked, stderr) = bench(&["--check", &tasks]);
    assert_eq!((code, &checked["tasks"]), (0, &json!(6)), "{checked} {stderr}");
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let url = format!("http://127.0.0.1:{}/v1", server(heard.clone()));
    let (code, document, stderr) = bench(&[&tasks, "--backend", &url, "--without", "wish"]);
    assert_eq!(code, 0, "{document} {stderr}");
    let arm = &document["arms"][0];
    assert_eq!(arm["image_faults"], 0);
    let trials = arm["trials"].as_array().unwrap();
    let of = |id: &str| trials.iter().find(|trial| trial["id"] == id).unwrap().clone();
    for (id, verdict, is_visible_right, is_exact) in [
        ("right", "right", true, true),
        ("only-visible", "wrong in a hidden example", true, true),
        ("writes-more", "wrong write set", false, false),
        ("raises", "raised in a hidden example", true, true),
        ("never", "rightly refused", false, false),
        (
            "guessed",
            "answered although impossible or ambiguous",
            false,
            false,
        ),
    ] {
        let trial = of(id);
        assert_eq!(
            (
                &trial["verdict"],
                &trial["visible_right"],
                &trial["write_set_exact"]
            ),
            (&json!(verdict), &json!(is_visible_right), &json!(is_exact)),
            "{trial}"
        );
        assert_eq!(trial["image_equal"], true, "{trial}");
        assert!(trial["model_calls"].as_u64() >= Some(1), "{trial}");
        assert!(trial["tokens"].as_u64() >= Some(1), "{trial}");
    }
    assert!(of("right")["second_ms"].as_f64() > Some(0.0));
    assert!(
        heard
            .lock()
            .unwrap()
            .iter()
            .all(|prompt| !prompt.contains("Answer twice"))
    );

    // Told what is wanted, the prompt holds it; the examples that are hidden, and the reference, never. What a visible example shows to be
    // wrong is not installed.
    heard.lock().unwrap().clear();
    let (_, told, _) = bench(&[&tasks, "--backend", &url]);
    let arm = &told["arms"][0];
    assert_eq!(arm["name"], "everything on");
    let trials = arm["trials"].as_array().unwrap();
    let verdicts: Vec<&str> = trials.iter().map(|trial| text(&trial["verdict"])).collect();
    assert_eq!(
        verdicts,
        [
            "right",
            "wrong in a hidden example",
            "no method: failed in its trial",
            "raised in a hidden example",
            "rightly refused",
            "answered although impossible or ambiguous",
        ]
    );
    let prompts = heard.lock().unwrap().clone();
    let double = prompts
        .iter()
        .find(|prompt| prompt.contains("tell_double"))
        .unwrap();
    assert!(
        double.contains("Answer twice the tally.") && double.contains("tally=1 () -> 2"),
        "{double}"
    );
    for prompt in &prompts {
        assert!(
            !prompt.contains("tally=7") && !prompt.contains("wishes:"),
            "{prompt}"
        );
        assert!(!prompt.contains("* 2"), "{prompt}");
    }
}

#[test]
fn a_task_that_is_wrong_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = format!("in:{}", folder.path().display());
    let file = folder.path().join("small.toml");
    for (from, to, told) in [
        (
            "return self.tally * 2",
            "return 2",
            "only-visible: example 2: Answer",
        ),
        (
            "writes = [\"tally\"]",
            "writes = [\"tally\", \"other\"]",
            "is expected",
        ),
        ("tell_tally", "slot_names", "understands slot_names already"),
        (
            "return self.rows[0] if",
            "import os\\n    return self.rows[0] if",
            "the guard refused",
        ),
    ] {
        let text = TASKS.replace(from, to);
        assert_ne!(text, TASKS, "{from}");
        fs::write(&file, text).unwrap();
        let (code, document, _) = bench(&["--check", &tasks]);
        let faults = document["faults"].as_array().unwrap();
        let lines: Vec<String> = faults
            .iter()
            .map(|fault| format!("{}: {}", text_of(&fault["task"]), text_of(&fault["fault"])))
            .collect();
        assert!(
            code == 1 && lines.iter().any(|line| line.contains(told)),
            "{told}: {lines:?}"
        );
    }
    fs::write(
        &file,
        TASKS.replace("hidden = ['rows=[]", "hidden = ['wall.rows=[]"),
    )
    .unwrap();
    let (code, document, _) = bench(&["--check", &tasks]);
    assert_eq!(code, 2, "{document}");
    assert!(text(&document["message"]).contains("task raises"), "{document}");
}

/// A few tasks with the shipped seed model: nothing is asserted of how good it is, all of what must hold whatever it writes.
#[test]
fn the_seed_model_is_measured() {
    let (code, document, stderr) = bench(&["--part", "dev", "--limit", "12"]);
    assert_eq!(code, 0, "{document} {stderr}");
    let arm = &document["arms"][0];
    assert!(text(&arm["model"]).contains("seed"), "{arm}");
    let trials = arm["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 12);
    assert_eq!(arm["image_faults"], 0);
    for trial in trials {
        assert_eq!(trial["image_equal"], true, "{trial}");
        assert!(trial["tokens"].as_u64() >= Some(1), "{trial}");
        let is_installed = trial["installed"] == true;
        assert_eq!(trial["second_ms"].is_null(), !is_installed, "{trial}");
    }
    assert!(stderr.contains("12/12 tasks"), "{stderr}");
    let (_, document, _) = bench(&["--limit", "1", "--without", "memory", "--without", "grammar"]);
    assert_eq!(document["arms"][0]["name"], "without memory, grammar");
}

/// The digest of the objects tells a change, and not that something was tried.
#[test]
fn the_digest_tells_a_change_and_no_failure() {
    let scripted = Scripted::up(|_| Act::Say("<|refuse|>no".into()));
    let system = &scripted.system;
    let digest = || text(&system.ok(&["digest"])["digest"]).to_owned();
    let first = digest();
    assert_eq!(first.len(), 64);
    system.refused(&["send", "genesis", "anything_else"], "not_understood");
    assert_eq!(digest(), first);
    system.ok(&["set", "genesis", "mood", "1"]);
    let second = digest();
    assert_ne!(second, first);
    system.ok(&["down"]);
}

#[test]
fn nothing_of_the_test_part_leaks_and_a_leak_is_found() {
    let clean = scan(&["--quick"]);
    let told = String::from_utf8_lossy(&clean.stdout).into_owned();
    assert!(clean.status.success(), "{told}");
    assert!(told.contains("0 tasks leak"), "{told}");
    // A test task gives away a name, a sentence, its method.
    let (_, document, _) = bench(&["--list"]);
    let listed = document["tasks"].as_array().unwrap();
    let task = listed
        .iter()
        .find(|task| task["part"] == "test" && task["family"] == "compositions of three")
        .unwrap();
    let id = text(&task["id"]);
    let block = block(id);
    let between = |from: &str, to: &str| {
        let rest = block.split(from).nth(1).unwrap();
        rest.split(to).next().unwrap().to_owned()
    };
    let words = between("intent = \"", "\"\n");
    let folder = tempfile::tempdir().unwrap();
    for (planted, told) in [
        (format!("use {} here", between("selector = \"", "\"")), "the name"),
        (format!("Then: {words}"), "the words"),
        (between("reference = '''\n", "'''"), "the same method"),
    ] {
        let file = folder.path().join("golden.jsonl");
        fs::write(&file, json!({"prompt": "x", "completion": planted}).to_string()).unwrap();
        let found = scan(&["--quick", "--also", file.to_str().unwrap()]);
        let lines = String::from_utf8_lossy(&found.stdout).into_owned();
        assert_eq!(found.status.code(), Some(1), "{planted}: {lines}");
        assert!(
            lines
                .lines()
                .any(|line| line.starts_with(&format!("{id}: {told}"))),
            "{planted}: {lines}"
        );
    }
}

/// The lines of a task in its file.
fn block(id: &str) -> String {
    let files = fs::read_dir(repository().join("tests/dnu")).unwrap();
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let mark = format!("id = \"{id}\"\n");
    let file = texts.into_iter().find(|text| text.contains(&mark)).unwrap();
    let rest = file.split(&mark).nth(1).unwrap();
    rest.split("[[task]]").next().unwrap().to_owned()
}

fn scan(arguments: &[&str]) -> Output {
    Command::new("python3")
        .arg("-B")
        .arg(repository().join("scripts/dnu-scan"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text_of(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

/// An OpenAI-compatible server that writes [`WRITTEN`] and keeps the prompts.
fn server(heard: Arc<std::sync::Mutex<Vec<String>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heard = heard.clone();
            std::thread::spawn(move || answer(stream, &heard));
        }
    });
    port
}

fn answer(mut stream: TcpStream, heard: &std::sync::Mutex<Vec<String>>) {
    let mut reader = BufReader::new(&mut stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let head = head.to_ascii_lowercase();
    let reply = if head.starts_with("get ") {
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"data\":[{\"id\":\"known\"}]}".to_owned()
    } else {
        let length = head.split("content-length: ").nth(1).unwrap();
        let length = length.lines().next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body: Json = serde_json::from_slice(&body).unwrap();
        let chunk = match body["prompt"].as_str() {
            Some(prompt) => {
                heard.lock().unwrap().push(prompt.to_owned());
                json!({"choices": [{"text": written(prompt), "finish_reason": "stop"}]})
            }
            None => {
                let last = body["messages"].as_array().unwrap().last().unwrap();
                let asked = text(&last["content"]);
                heard.lock().unwrap().push(asked.to_owned());
                json!({"choices": [{"delta": {"content": said(asked)}, "finish_reason": "stop"}]})
            }
        };
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {chunk}\n\ndata: [DONE]\n\n")
    };
    let _ = stream.write_all(reply.as_bytes());
}

#[test]
fn the_table_in_the_docs_is_of_these_tasks() {
    let results = fs::read_to_string(repository().join("docs/dnu-results.md")).unwrap();
    let (_, document, _) = bench(&["--list"]);
    for family in document["tasks"].as_array().unwrap() {
        let family = text(&family["family"]);
        assert!(results.contains(&format!("| {family} |")), "{family}");
    }
}

#[test]
fn a_bench_leaves_no_home_behind() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), TASKS).unwrap();
    let output = Command::new(program("batos"))
        .args(["bench", "dnu", "--check", "--tasks"])
        .arg(folder.path())
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success());
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name != "small.toml")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Its system is a session of its own: whoever ends the bench by a signal ends that, too.
#[test]
fn an_interrupted_bench_leaves_nothing_running() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = tempfile::tempdir().unwrap();
        let mut running = Command::new(program("batos"))
            .args(["bench", "dnu", "--check", "--tasks"])
            .arg(repository().join("tests/dnu"))
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let homes = || -> Vec<_> { fs::read_dir(folder.path()).unwrap().flatten().collect() };
        until("its system is up", || {
            homes()
                .iter()
                .find(|home| home.path().join("home/run/kernel.sock").exists())
                .map(|_| ())
        });
        kill(Pid::from_raw(running.id() as i32), signal).unwrap();
        let ended = running.wait().unwrap();
        assert_eq!(ended.signal(), Some(signal as i32), "{ended:?}");
        assert!(homes().is_empty(), "{:?}", homes());
        let left = processes_of(folder.path());
        assert!(left.is_empty(), "{left:?}");
    }
}

/// What the known model writes for the message of a prompt.
fn written(asked: &str) -> &'static str {
    let found = WRITTEN.iter().find(|(selector, _)| asked.contains(*selector));
    found.unwrap().1
}

/// What it says in a conversation: a plan, a verdict, an answer of a facet, the method.
fn said(asked: &str) -> String {
    if asked.contains("Plan how the method") {
        let archetype = asked.split("facets:\n- ").nth(1).unwrap();
        let archetype = archetype.split(": ").next().unwrap();
        json!({"archetype": archetype, "facets": [], "retrievals": []}).to_string()
    } else if asked.contains("Answer with JSON alone: verdict") {
        json!({"verdict": "pass", "reason": "it does what is asked"}).to_string()
    } else if asked.contains("Weave the answers") {
        written(asked).to_owned()
    } else {
        "Nothing more is known.".into()
    }
}
