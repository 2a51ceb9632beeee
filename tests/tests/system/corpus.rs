//! The guard's corpus, data files of `tests/corpus`: attacks, breaches of the covenant of change, and methods that a person would write.
//!
//! Each attack is judged by the guard and then runs in the real jail, whatever the verdict was.

use std::fs;

use serde_json::{Value as Json, json};

use crate::harness::{System, number, repository};

/// One method of a file.
struct Case {
    file: String,
    name: String,
    source: String,
}

/// `### name`, then the body of a method without arguments; after `RAW:` a whole source.
fn cases(path: &str) -> Vec<Case> {
    let path = repository().join("tests/corpus").join(path);
    let mut files = match path.is_dir() {
        true => fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect(),
        false => vec![path],
    };
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for block in text.split("### ").skip(1) {
            let (name, body) = block.split_once('\n').unwrap();
            let source = match body.strip_prefix("RAW:") {
                Some(source) => source.to_owned(),
                None => {
                    let lines: Vec<String> = body.lines().map(|line| format!("    {line}\n")).collect();
                    format!("def attack(self):\n{}", lines.concat())
                }
            };
            found.push(Case {
                file: file.file_stem().unwrap().to_string_lossy().into_owned(),
                name: name.to_owned(),
                source,
            });
        }
    }
    found
}

/// The rules that the guard finds broken.
fn refusals(system: &System, source: &str) -> Vec<String> {
    let verdict = system.rpc("guard", json!({ "source": source }))["result"].clone();
    let findings = verdict["findings"]
        .as_array()
        .unwrap_or_else(|| panic!("{verdict}"));
    findings
        .iter()
        .map(|finding| finding["rule"].as_str().unwrap().to_owned())
        .collect()
}

const CONFIGURATION: &str =
    "[kernel]\ninstall_refused = true\nmethod_deadline_ms = 1000\nmethod_memory_mib = 192\n";
/// Notices whether what methods are made of still means what it did.
const WITNESS: &str = "def tell(self):\n    return [len([1, 2]), sorted([2, 1]), str(3), math.floor(2.5), self.count, sum([1, 2]), \
                       datetime.timedelta(days=1).days, self.clone().count, [x for x in range(3)], \"%d\" % 4, isinstance(1, int)]\n";

fn jailed() -> System {
    let system = System::without_model().configure(CONFIGURATION).up();
    system.ok(&["new", "traits", "count=7", "--name", "witness"]);
    system.defined("witness", WITNESS);
    system
}

/// A new object with slots of every kind.
fn victim(system: &System, friend: &Json) -> String {
    let slots = json!({
        "count": 3, "text": "a text", "flag": true, "rows": [1, 2, 3], "map": {"a": 1, "b": 2},
        "nest": [[1], [2, 3]], "deep": {"a": {"b": 1}}, "friend": friend,
        "total": 4, "age": 30, "height": 5, "level": 1, "name": "Ada", "title": "Dr", "label": "b 2", "note": "7",
        "items": [3, 1], "scores": [4, 4, 5], "steps": [1], "parts": [2, 2], "prices": {"a": 3}, "ages": {"a": 1, "c": 4},
        "links": {"b": 0}, "stock": {"a": 0, "b": 5},
    });
    let made = system.rpc("new", json!({"parent": "traits", "slots": slots}));
    made["result"]["object"]
        .as_str()
        .unwrap_or_else(|| panic!("{made}"))
        .to_owned()
}

#[test]
fn no_attack_of_the_corpus_gets_out() {
    let system = jailed();
    let attacks = cases("attacks");
    assert!(attacks.len() >= 120, "{} attacks", attacks.len());
    let (mark, secret) = (system.folder().join("mark"), system.folder().join("secret"));
    let word = "the-word-that-nobody-inside-may-say";
    fs::write(&secret, word).unwrap();
    let friend = system.rpc(
        "new",
        json!({"parent": "traits", "slots": {"count": 1, "rows": [1]}}),
    )["result"]["object"]
        .clone();
    let friend = json!({ "$ref": friend });
    let kernel = system.kernel_pid();
    let witness = system.result(&["send", "witness", "tell"]);
    let traits = system.inspect("traits");
    let lobby = system.inspect("lobby");
    let mut refused = 0;
    let mut passed = Vec::new();
    for attack in &attacks {
        let source = attack
            .source
            .replace("@MARK@", mark.to_str().unwrap())
            .replace("@SECRET@", secret.to_str().unwrap());
        match refusals(&system, &source).is_empty() {
            true => passed.push(format!("{}/{}", attack.file, attack.name)),
            false => refused += 1,
        }
        let victim = victim(&system, &friend);
        let before = system.rpc("inspect", json!({"object": victim}))["result"].clone();
        let defined = system.rpc("define", json!({"object": victim, "source": source}));
        let held = system.rpc("inspect", json!({"object": victim}))["result"].clone();
        if defined["error"].is_null() {
            let reply = system.rpc(
                "send",
                json!({"receiver": victim, "selector": "attack", "arguments": []}),
            );
            assert!(!reply.to_string().contains(word), "{}: {reply}", attack.name);
            let after = system.rpc("inspect", json!({"object": victim}))["result"].clone();
            if reply["error"].is_null() {
                // What an answered method changed it has declared: the measured writes say so. Nothing else changed.
                let is_declared = source.contains("_p_changed = True")
                    || source.contains("set_slot")
                    || source.contains("clone");
                assert!(after == held || is_declared, "{}: {reply}", attack.name);
            } else {
                assert_eq!(after, held, "{}: {reply}", attack.name);
            }
        } else {
            assert_eq!(held, before, "{}: {defined}", attack.name);
        }
        // Whichever worker it was, the next method finds everything as it was.
        for _ in 0..3 {
            let told = system.rpc(
                "send",
                json!({"receiver": "witness", "selector": "tell", "arguments": []}),
            );
            assert_eq!(told["result"]["result"], witness, "after {}: {told}", attack.name);
        }
        assert!(!mark.exists(), "{} wrote a file", attack.name);
    }
    assert_eq!(system.kernel_pid(), kernel);
    assert_eq!(
        (system.inspect("traits"), system.inspect("lobby")),
        (traits, lobby)
    );
    println!(
        "{refused} of {} refused before they run; not refused, and contained: {passed:?}",
        attacks.len()
    );
    assert!(
        refused * 10 >= attacks.len() * 9,
        "{refused} of {}: {passed:?}",
        attacks.len()
    );
    system.ok(&["verify"]);
}

#[test]
fn undeclared_changes_are_found_by_the_guard_and_all_of_them_by_measuring() {
    let system = jailed();
    let breaches = cases("covenants.txt");
    assert_eq!(breaches.len(), 100);
    let mut missed = Vec::new();
    for breach in &breaches {
        if refusals(&system, &breach.source).is_empty() {
            missed.push(breach.name.clone());
        }
        let friend = system.rpc(
            "new",
            json!({"parent": "traits", "slots": {"count": 1, "rows": [1]}}),
        )["result"]["object"]
            .clone();
        let victim = victim(&system, &json!({ "$ref": friend }));
        let defined = system.rpc("define", json!({"object": victim, "source": breach.source}));
        assert!(defined["error"].is_null(), "{}: {defined}", breach.name);
        let before = [&victim, friend.as_str().unwrap()]
            .map(|object| system.rpc("inspect", json!({ "object": object })));
        let reply = system.rpc(
            "send",
            json!({"receiver": victim, "selector": "attack", "arguments": []}),
        );
        assert_eq!(
            reply["error"]["data"]["reason"], "undeclared_write",
            "{}: {reply}",
            breach.name
        );
        let after = [&victim, friend.as_str().unwrap()]
            .map(|object| system.rpc("inspect", json!({ "object": object })));
        assert_eq!(before, after, "{}", breach.name);
    }
    println!("the guard missed {} of 100: {missed:?}", missed.len());
    assert!(missed.len() <= 5, "{missed:?}");
}

#[test]
fn plain_methods_are_let_through_and_run() {
    let system = System::without_model().up();
    let clean = cases("clean.txt");
    assert!(clean.len() >= 300, "{}", clean.len());
    let friend = system.rpc(
        "new",
        json!({"parent": "traits", "slots": {"count": 1, "rows": [1], "text": "x"}}),
    )["result"]["object"]
        .clone();
    let mut refused = Vec::new();
    for method in &clean {
        let found = refusals(&system, &method.source);
        if !found.is_empty() {
            refused.push(format!("{}: {found:?}", method.name));
            continue;
        }
        let victim = victim(&system, &json!({ "$ref": friend }));
        let defined = system.rpc("define", json!({"object": victim, "source": method.source}));
        assert!(defined["error"].is_null(), "{}: {defined}", method.name);
        let reply = system.rpc(
            "send",
            json!({"receiver": victim, "selector": "attack", "arguments": []}),
        );
        assert!(reply["error"].is_null(), "{}: {reply}", method.name);
        // What the guard let through as declaring its changes does.
        assert!(number(&reply["result"]["transaction"]) > 0);
    }
    println!("{} of {} refused: {refused:?}", refused.len(), clean.len());
    assert!(refused.len() * 100 <= clean.len() * 3, "{refused:?}");
}
