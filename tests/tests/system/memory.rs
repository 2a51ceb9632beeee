//! Fractal memory: texts go in by the command line, by messages and by JSON-RPC, are found with their reasons, and what is taken back
//! leaves no trace.
//!
//! `BATOS_MEMORY_KILLS=200` for the long form of the kills.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};

use crate::harness::{System, number, program, repository, text};

const WING: &str =
    "The boundary layer grows along the wing.\n\nTransition makes it turbulent, and skin friction rises.\n";
const HORSE: &str = "A horse was seen in the fields behind the mill. Nobody knew to whom it might belong.\n";

/// A file of the test.
fn file(system: &System, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = system.folder().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn add(system: &System, path: &std::path::Path, more: &[&str]) -> Json {
    system.ok(&[&["memory", "add", path.to_str().unwrap()], more].concat())
}

fn search(system: &System, words: &[&str]) -> Vec<Json> {
    let found = system.ok(&[&["memory", "search"], words].concat());
    found["hits"].as_array().unwrap().clone()
}

fn sources(hits: &[Json]) -> Vec<String> {
    let name = |hit: &Json| text(&hit["source"]).rsplit('/').next().unwrap().to_owned();
    hits.iter().map(name).collect()
}

fn check_whole(system: &System) -> Json {
    let verified = system.ok(&["verify"]);
    assert_eq!(verified["faults"], json!([]));
    verified
}

fn stats(system: &System) -> Json {
    system.ok(&["memory", "stats"])
}

#[test]
fn texts_are_found_again_with_reasons_and_forgotten() {
    let system = System::without_model().up();
    let wing = file(&system, "notes/wing.txt", WING);
    file(&system, "notes/horse.md", format!("# Horses\n\n{HORSE}"));
    file(
        &system,
        "notes/page.html",
        "<html><body><h1>Plates</h1><p>A flat plate in a stream.</p></body></html>",
    );
    file(
        &system,
        "notes/code.py",
        "import os\n\n\ndef read_boundary(path):\n    return open(path)\n",
    );
    file(
        &system,
        "notes/log.jsonl",
        "{\"time\": \"2026-11-01T00:00:00Z\", \"event\": \"stall\", \"llm_prompt\": \"zebra\"}\n",
    );
    file(&system, "notes/picture.bin", [0u8, 1, 2, 3, 0]);
    let added = add(
        &system,
        &system.folder().join("notes"),
        &["--meta", "project=flight"],
    );
    assert_eq!(added["documents"].as_array().unwrap().len(), 5, "{added}");
    assert_eq!(added["left_out"].as_array().unwrap().len(), 1, "{added}");
    assert!(text(&added["left_out"][0]["why"]).contains("binary"), "{added}");
    assert!(text(&added["text_only"]).contains("embedding-model"), "{added}");

    // Stemmed, with reasons and bytes.
    let hits = search(&system, &["layers", "growing"]);
    assert_eq!(sources(&hits)[0], "wing.txt", "{hits:?}");
    let best = &hits[0];
    assert!(best["terms"]["layer"].as_f64().unwrap() > 0.0 && best["terms"]["grow"].as_f64().unwrap() > 0.0);
    assert_eq!(
        (&best["trust"], &best["meta"]),
        (&json!("person"), &json!({"project": "flight"}))
    );
    let own = &WING[number(&best["begin"]) as usize..number(&best["end"]) as usize];
    assert!(own.starts_with("The boundary layer"), "{own}");
    assert_eq!(
        sources(&search(&system, &["boundary"])).len(),
        2,
        "the definition as well"
    );
    assert_eq!(sources(&search(&system, &["horses"])), ["horse.md"]);
    assert_eq!(sources(&search(&system, &["stream"])), ["page.html"]);
    assert_eq!(sources(&search(&system, &["stall"])), ["log.jsonl"]);
    assert!(
        search(&system, &["zebra"]).is_empty(),
        "prompts are never indexed"
    );
    let found = system.ok(&["memory", "search", "horse", "--filter", "project=other"]);
    assert_eq!(found["hits"], json!([]));
    assert!(text(&found["text_only"]).contains("embedding-model"), "{found}");
    assert_eq!(search(&system, &["horse", "--filter", "project=flight"]).len(), 1);

    // The same again is known; other content supersedes; the past can be asked for.
    let again = add(&system, &wing, &[]);
    assert_eq!(
        (&again["known_documents"], &again["chunks"]),
        (&json!(1), &json!(0))
    );
    let before = jiff_now();
    fs::write(&wing, "The wing is swept back now. Its flow is different.\n").unwrap();
    add(&system, &wing, &[]);
    assert!(search(&system, &["turbulent"]).is_empty(), "superseded");
    assert_eq!(search(&system, &["turbulent", "--at", &before]).len(), 1);
    assert_eq!(sources(&search(&system, &["swept"])), ["wing.txt"]);
    let shown = system.ok(&["memory", "show", wing.to_str().unwrap()]);
    assert!(
        shown["document"]["supersedes"].is_string() && shown["document"]["valid_until"].is_null(),
        "{shown}"
    );

    // Out of sight at once, in the index and after a new one.
    let forgotten = system.ok(&["memory", "forget", wing.to_str().unwrap()]);
    assert_eq!(forgotten["chunks"], 1);
    assert!(search(&system, &["swept"]).is_empty());
    let figures = stats(&system);
    let digest = check_whole(&system)["digest"].clone();
    system.ok(&["down"]);
    let made = system.ok(&["reindex"]);
    assert_eq!(made["digest"], digest);
    system.start();
    assert_eq!(stats(&system)["chunks"], figures["chunks"]);
    assert_eq!(sources(&search(&system, &["horses"])), ["horse.md"]);
    system.ok(&["pack"]);
    assert_eq!(sources(&search(&system, &["horses"])), ["horse.md"]);
    let backup = system.folder().join("backup");
    system.ok(&["backup", backup.to_str().unwrap()]);
    let other = System::without_model();
    other.ok(&["restore", backup.to_str().unwrap()]);
    other.start();
    assert_eq!(sources(&search(&other, &["stream"])), ["page.html"]);
    check_whole(&other);
    check_whole(&system);
}

fn jiff_now() -> String {
    // Later than what was added so far, earlier than what comes.
    std::thread::sleep(Duration::from_millis(20));
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    std::thread::sleep(Duration::from_millis(20));
    shared::time::to_text(since.as_micros() as i64)
}

#[test]
fn messages_index_inside_their_transaction() {
    let system = System::without_model().up();
    system.ok(&["new", "knowledge_catalog", "--name", "keeper"]);
    system.defined(
        "keeper",
        "def learn(self, text):\n    made = self.index_document(text, None, {\"kind\": \"note\"})\n    found = self.search(\"heron pond\")\n    self._p_changed = True\n    return [len(found), found[0][\"text\"], found[0][\"document\"] == made]\n",
    );
    system.defined(
        "keeper",
        "def doubt(self, text):\n    self.index_document(text)\n    count = len(self.search(\"otter river\"))\n    self.doom(\"only a thought\")\n    return count\n",
    );
    system.defined(
        "keeper",
        "def waver(self, text):\n    here = self.savepoint()\n    self.index_document(text)\n    before = len(self.search(\"beaver\"))\n    self.rollback_to(here)\n    return [before, len(self.search(\"beaver\"))]\n",
    );
    system.defined(
        "keeper",
        "def parrot(self, query):\n    found = self.search(query)\n    self.index_document(\"I know this. \" + found[0][\"text\"] + \" Is it not so?\")\n    self._p_changed = True\n",
    );
    let heron = "A grey heron stood at the edge of the pond for hours.";
    let learnt = system.result(&["send", "keeper", "learn", &json!(heron).to_string()]);
    assert_eq!(learnt, json!([1, heron, true]));
    let hits = search(&system, &["herons", "--filter", "kind=note"]);
    assert_eq!((hits.len(), &hits[0]["trust"]), (1, &json!("method")));
    let digest = check_whole(&system)["digest"].clone();
    // What is doomed, rolled back or refused leaves nothing, not in the index either.
    system.refused(
        &[
            "send",
            "keeper",
            "doubt",
            "\"An otter swam up the river at night.\"",
        ],
        "doomed",
    );
    assert_eq!(
        system.result(&[
            "send",
            "keeper",
            "waver",
            "\"A beaver built a dam across the brook.\""
        ]),
        json!([1, 0])
    );
    let refused = system.refused(&["send", "keeper", "parrot", "\"heron\""], "method_raised");
    assert!(text(&refused["message"]).contains("retrieved"), "{refused}");
    system.defined(
        "keeper",
        "def forge(self):\n    made = self.child()\n    made.memory_text = \"forged\"\n    self._p_changed = True\n",
    );
    let forged = system.batos(&["send", "keeper", "forge"]);
    assert_eq!(forged.document["ok"], false, "{forged:?}");
    system.refused(&["new", "traits", "memory_text=\"x\""], "bad_argument");
    for gone in ["otter", "beaver", "forged"] {
        assert!(search(&system, &[gone]).is_empty(), "{gone}");
    }
    assert_eq!(stats(&system)["chunks"], 1);
    // Only the methods that were defined since differ.
    assert_ne!(check_whole(&system)["digest"], digest);
    // The same text again is the same document.
    let document = |text: &str| system.result(&["send", "knowledge_catalog", "index_document", text]);
    let otter = "\"An otter swam up the river at night.\"";
    assert_eq!(document(otter), document(otter));
    assert_eq!(search(&system, &["otter"]).len(), 1);
    let found = system.result(&["send", "knowledge_catalog", "search", "\"otters\"", "3"]);
    assert_eq!(found[0]["text"], "An otter swam up the river at night.");
    // By JSON-RPC.
    let added = system.rpc(
        "memory_add",
        json!({"source": "note", "text": "A stork nests on the roof.", "meta": {"a": "b"}}),
    );
    assert_eq!(added["result"]["chunks"], 1, "{added}");
    let found = system.rpc(
        "memory_search",
        json!({"question": "storks", "filter": {"a": "b"}}),
    );
    assert_eq!(found["result"]["hits"][0]["source"], "note", "{found}");
    let forgotten = system.rpc("memory_forget", json!({"object": "note"}));
    assert_eq!(forgotten["result"]["chunks"], 1, "{forgotten}");
    check_whole(&system);
}

#[test]
fn a_branch_has_a_memory_of_its_own_until_it_is_committed() {
    let system = System::without_model().up();
    system.ok(&["branch", "new", "idea"]);
    let otter = "\"An otter swam up the river at night.\"";
    system.ok(&[
        "--branch",
        "idea",
        "send",
        "knowledge_catalog",
        "index_document",
        otter,
    ]);
    let inside = system.ok(&[
        "--branch",
        "idea",
        "send",
        "knowledge_catalog",
        "search",
        "\"otter\"",
    ]);
    assert_eq!(inside["result"].as_array().unwrap().len(), 1, "{inside}");
    assert!(search(&system, &["otter"]).is_empty());
    system.ok(&["branch", "commit", "idea"]);
    assert_eq!(search(&system, &["otter"]).len(), 1);
    check_whole(&system);
}

#[test]
fn bad_input_is_told_and_bounded() {
    let system = System::without_model().up();
    let refused = |path: &PathBuf, wanted: &str| {
        let reply = system.batos(&["memory", "add", path.to_str().unwrap()]);
        assert_eq!(
            (reply.code, &reply.document["ok"]),
            (2, &json!(false)),
            "{reply:?}"
        );
        assert!(text(&reply.document["message"]).contains(wanted), "{reply:?}");
    };
    refused(&file(&system, "binary", [7u8, 0, 1, 2]), "binary");
    refused(&system.folder().join("absent"), "cannot be read");
    let broken = file(&system, "broken.pdf", "%PDF-1.4\nnothing more");
    refused(&broken, "pdftotext");
    let empty = add(&system, &file(&system, "empty.txt", ""), &[]);
    assert_eq!(
        (&empty["chunks"], empty["documents"][0]["is_whole"].clone()),
        (&json!(0), json!(true))
    );
    let blank = add(&system, &file(&system, "blank.txt", " \n\n\t\n"), &[]);
    assert_eq!(blank["chunks"], 0);
    let equal = add(
        &system,
        &file(&system, "equal.txt", "all work and no play\n".repeat(100_000)),
        &[],
    );
    assert!(
        number(&equal["chunks"]) <= 4 && number(&equal["known"]) > 100,
        "{equal}"
    );
    let before = resident_kib(system.kernel_pid());
    let sentence = "word salad without any end ".repeat(400_000);
    let long = add(&system, &file(&system, "long.txt", &sentence), &[]);
    assert!(number(&long["known"]) > 1_000, "{}", long["known"]);
    let grown = resident_kib(system.kernel_pid()).saturating_sub(before);
    assert!(grown < 200 << 10, "a sentence of 10 MB took {grown} KiB");
    let latin =
        b"Die Gr\xf6\xdfe der B\xe4ume \xfcber dem Flu\xdf wird t\xe4glich gemessen und aufgeschrieben.\n"
            .repeat(3);
    let read = add(&system, &file(&system, "latin.txt", latin), &[]);
    assert!(text(&read["notes"][0]).contains("windows-1252"), "{read}");
    assert_eq!(sources(&search(&system, &["Größe"])), ["latin.txt"]);
    check_whole(&system);
}

fn resident_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sentences that no two chunks share.
fn corpus(paragraphs: usize) -> String {
    let words = [
        "wing", "flow", "plate", "heat", "shock", "layer", "body", "nose", "drag", "lift", "wave", "speed",
    ];
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut out = String::new();
    for number in 0..paragraphs {
        out.push_str(&format!("Paragraph p{number}x tells: "));
        for _ in 0..60 {
            let word = words[(next() % 12) as usize];
            out.push_str(&format!("{word}{} ", next() % 1_000));
        }
        out.push_str("end.\n\n");
    }
    out
}

#[test]
fn killed_in_the_middle_it_goes_on_and_nothing_is_lost_or_doubled() {
    let kills: u64 = std::env::var("BATOS_MEMORY_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(6);
    let system = System::without_model()
        .configure("[supervision]\ncrash_loop_after = 1000\nrestart_intensity = 1000000\n")
        .up();
    let paragraphs = 2_000 + 60 * kills as usize;
    let path = file(&system, "corpus.txt", corpus(paragraphs));
    let whole = corpus_chunks(&system, &path);
    let mut killed = 0;
    let begun = Instant::now();
    for round in 0..kills {
        // The client, too, every other time: who asks again finds how far it is.
        let mut client = Command::new(program("batos"))
            .args([
                "--home",
                system.home().to_str().unwrap(),
                "--json",
                "memory",
                "add",
            ])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = system.kernel_pid();
        // Not to wait for anything: to hit another moment each time.
        std::thread::sleep(Duration::from_millis(round * 37 % 160));
        if kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
            killed += 1;
        }
        if round % 2 == 0 {
            let _ = client.kill();
        }
        let _ = client.wait();
        assert!(
            begun.elapsed() < Duration::from_secs(1_200),
            "{killed} kills take too long"
        );
    }
    let added = add(&system, &path, &[]);
    assert_eq!(added["documents"][0]["is_whole"], true, "{added}");
    let shown = system.ok(&["memory", "show", path.to_str().unwrap()]);
    let figures = stats(&system);
    assert_eq!(figures["chunks"], shown["document"]["chunks"]);
    assert_eq!(number(&figures["chunks"]), whole, "after {killed} kills");
    // Each paragraph once.
    for number in [0, 1, paragraphs / 2, paragraphs - 1] {
        let hits = search(&system, &[&format!("p{number}x")]);
        assert_eq!(hits.len(), 1, "p{number}x: {hits:?}");
    }
    check_whole(&system);
}

/// How many chunks the file comes to where nothing is killed.
fn corpus_chunks(system: &System, path: &std::path::Path) -> u64 {
    let calm = System::without_model().up();
    let added = add(&calm, path, &[]);
    assert_eq!(added["known"], 0, "{added}");
    let _ = system;
    number(&added["chunks"])
}

#[test]
fn meaning_is_searched_where_an_encoder_answers() {
    let system = System::new();
    fs::create_dir_all(system.home().join("models")).unwrap();
    let fixture = repository().join("inference-worker/tests/fixtures/bert-mean");
    std::os::unix::fs::symlink(fixture, system.home().join("models/all-minilm-l6-v2")).unwrap();
    let system = system.up();
    crate::harness::until("the encoder answers", || {
        stats(&system)["encoder"].is_string().then_some(())
    });
    let text_file = format!("{}\n\n{}", WING, HORSE);
    let long: String = (0..60)
        .map(|n| {
            format!(
                "Sentence {n} is about the {} of a matter. ",
                ["size", "colour", "weight", "age"][n % 4]
            )
        })
        .collect();
    let added = add(&system, &file(&system, "mixed.txt", text_file), &[]);
    assert_eq!(
        (added["vectors"].clone(), added["text_only"].clone()),
        (added["chunks"].clone(), json!(null))
    );
    let added = add(&system, &file(&system, "long.txt", long), &[]);
    assert!(
        number(&added["chunks"]) >= 2 && added["vectors"] == added["chunks"],
        "{added}"
    );
    let found = system.ok(&["memory", "search", "horse", "mill", "--k", "2"]);
    assert_eq!(found["text_only"], json!(null));
    let hits = found["hits"].as_array().unwrap();
    assert!(hits.iter().all(|hit| hit["vector_score"].is_number()), "{found}");
    let figures = stats(&system);
    assert_eq!(figures["vectors"], figures["chunks"]);
    // A message's vectors, too; they come and go with the rest.
    system.ok(&[
        "send",
        "knowledge_catalog",
        "index_document",
        "\"A stork nests on the roof.\"",
    ]);
    assert_eq!(stats(&system)["vectors"], number(&figures["vectors"]) + 1);
    let digest = check_whole(&system)["digest"].clone();
    system.ok(&["down"]);
    assert_eq!(system.ok(&["reindex"])["digest"], digest);
    system.start();
    system.ok(&["pack"]);
    assert_eq!(stats(&system)["vectors"], number(&figures["vectors"]) + 1);
    system.ok(&[
        "memory",
        "forget",
        system.folder().join("long.txt").to_str().unwrap(),
    ]);
    let left = stats(&system);
    assert_eq!(left["vectors"], left["chunks"]);
    check_whole(&system);
}

#[test]
fn chunks_from_before_the_encoder_get_their_vectors() {
    let system = System::new().up();
    let early = file(&system, "early.txt", corpus(200));
    let added = add(&system, &early, &[]);
    assert_eq!(added["vectors"], 0, "{added}");
    let refused = system.batos(&["memory", "encode"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(
        refused.document["message"]
            .as_str()
            .unwrap()
            .contains("./scripts/embedding-model"),
        "{refused:?}"
    );
    let found = system.ok(&["memory", "search", "plate"]);
    assert!(
        found["text_only"]
            .as_str()
            .unwrap()
            .contains("batos memory encode"),
        "{found}"
    );

    let fixture = repository().join("inference-worker/tests/fixtures/bert-mean");
    std::os::unix::fs::symlink(fixture, system.home().join("models/all-minilm-l6-v2")).unwrap();
    crate::harness::until("the encoder answers", || {
        stats(&system)["encoder"].is_string().then_some(())
    });
    // Some have theirs already, and one is gone.
    let late = add(&system, &file(&system, "late.txt", WING), &[]);
    assert_eq!(late["vectors"], late["chunks"]);
    let chunk = search(&system, &["plate", "--k", "1"])[0]["chunk"]
        .as_str()
        .unwrap()
        .to_owned();
    system.ok(&["memory", "forget", &chunk]);
    let figures = stats(&system);
    let wanted = number(&figures["chunks"]) - number(&figures["vectors"]);
    assert!(wanted > 128, "more than one transaction: {figures}");
    let encoded = system.ok(&["memory", "encode"]);
    assert_eq!(
        (number(&encoded["vectors"]), text(&encoded["encoder"])),
        (wanted, "all-minilm-l6-v2")
    );
    let figures = stats(&system);
    assert_eq!(figures["vectors"], figures["chunks"]);
    let hits = search(&system, &["plate", "--k", "3"]);
    assert!(hits.iter().all(|hit| hit["vector_score"].is_number()), "{hits:?}");
    assert_eq!(system.ok(&["memory", "encode"])["vectors"], 0);
    let digest = check_whole(&system)["digest"].clone();
    system.ok(&["down"]);
    assert_eq!(system.ok(&["reindex"])["digest"], digest);
}
