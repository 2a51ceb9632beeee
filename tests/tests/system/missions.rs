//! Missions under way, and the stream of consciousness.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::harness::{System, number, program, text, until};
use crate::scripted::{Act, Scripted};

/// The selector that a prompt asks for.
fn selector(prompt: &str) -> String {
    let message = prompt.split("<|message|>").nth(1).unwrap();
    message.split('(').next().unwrap().to_owned()
}

fn answering(value: &str) -> impl Fn(&str) -> Act + use<> {
    let value = value.to_owned();
    move |prompt: &str| Act::Say(format!("def {}(self):\n    return {value}\n", selector(prompt)))
}

fn missions(system: &System) -> Vec<Json> {
    system.ok(&["missions"])["missions"].as_array().unwrap().clone()
}

#[test]
fn a_cancelled_mission_leaves_nothing_and_frees_the_way() {
    let silent = Arc::new(AtomicBool::new(true));
    let is_silent = silent.clone();
    let scripted = Scripted::up(move |asked| match is_silent.load(Ordering::SeqCst) {
        true => Act::Silence,
        false => answering("42")(&asked.prompt),
    });
    let system = &scripted.system;
    system.ok(&["set", "orchestrator", "thoughts_at_once", "1"]);
    let before = system.ok(&["verify"]);
    thread::scope(|scope| {
        let first = scope.spawn(|| system.batos(&["send", "genesis", "first_thing"]));
        let first_id = until("the model is asked", || {
            missions(system)
                .into_iter()
                .find(|mission| mission["state"] == "synthesizing" && mission["waiting"] == 1)
        });
        let second = scope.spawn(|| system.batos(&["send", "genesis", "second_thing"]));
        let queued = until("the second waits for its turn", || {
            missions(system)
                .into_iter()
                .find(|mission| mission["state"] == "queued")
        });
        assert_eq!(
            (&queued["selector"], &queued["priority"]),
            (&json!("second_thing"), &json!("awaited"))
        );
        assert_eq!(queued["name"], "genesis");
        // One that waits can be cancelled, too.
        let third = scope.spawn(|| system.batos(&["send", "genesis", "third_thing"]));
        let last = until("the third waits", || {
            missions(system)
                .into_iter()
                .find(|mission| mission["selector"] == "third_thing")
        });
        system.ok(&["cancel", &last["id"].to_string()]);
        assert_eq!(third.join().unwrap().document["reason"], "cancelled");
        silent.store(false, Ordering::SeqCst);
        system.ok(&["cancel", &first_id["id"].to_string()]);
        let first = first.join().unwrap();
        assert_eq!(
            (first.code, &first.document["reason"]),
            (1, &json!("cancelled")),
            "{first:?}"
        );
        assert_eq!(second.join().unwrap().document["result"], 42);
        let told = system.ok(&["thoughts", &first_id["id"].to_string()])["thoughts"][0].clone();
        assert_eq!(told["outcome"], "failed");
        system.refused(&["cancel", &first_id["id"].to_string()], "no_thought");
    });
    assert_eq!(missions(system), Vec::<Json>::new());
    system.refused(&["why", "genesis", "first_thing"], "no_slot");
    let after = system.ok(&["verify"]);
    // The cycle of the one that came to be is not reachable, and is there until a pack.
    assert_eq!(number(&after["objects"]), number(&before["objects"]) + 1);
    let why = system.ok(&["why", "genesis", "second_thing"]);
    assert_eq!(why["holder"], system.inspect("genesis")["object"]);
    assert_eq!(why["thought"]["selector"], "second_thing");
    assert_eq!(why["transaction"]["thought"], why["thought"]["id"]);
    assert!(text(&why["source"]).contains("return 42"), "{why}");
}

#[test]
fn a_mission_ends_with_its_budget() {
    let scripted = Scripted::up(|asked| {
        // Never right: the guard refuses what has no name of its own.
        Act::Say(format!(
            "def other_{}(self):\n    return 1 + 2 + 3 + 4\n",
            selector(&asked.prompt)
        ))
    });
    let system = &scripted.system;
    system.ok(&["set", "orchestrator", "token_budget", "20"]);
    let fault = system.refused(&["send", "genesis", "expensive"], "not_understood");
    assert!(text(&fault["message"]).contains("which is its budget"), "{fault}");
    let asked = scripted.asked();
    assert_eq!(asked.len(), 2, "the third round has no tokens left: {asked:?}");
    assert!(asked[1].max_tokens < asked[0].max_tokens, "{asked:?}");
    // Time is a budget as well.
    let silent = Scripted::up(|_| Act::Silence);
    silent.system.ok(&["set", "orchestrator", "seconds_budget", "1"]);
    let fault = silent.system.refused(&["send", "genesis", "slow"], "deadline");
    assert!(text(&fault["message"]).contains("seconds_budget"), "{fault}");
}

/// A model that hangs up, writes what is no frame, or refuses, costs the thought and nothing else.
#[test]
fn a_malformed_model_costs_only_the_thought() {
    let torn = AtomicUsize::new(0);
    let scripted = Scripted::up(move |asked| match selector(&asked.prompt).as_str() {
        // The kernel asks again, as it does when a worker is replaced.
        "torn" => match torn.fetch_add(1, Ordering::SeqCst) {
            0 => Act::HangUp,
            1 => Act::Garbage,
            _ => answering("3")(&asked.prompt),
        },
        "refused" => Act::Refuse("model_damaged", "its weights are not whole"),
        "talk" => Act::Say("I would rather not write Python today.".into()),
        "hostile" => {
            Act::Say("def hostile(self):\n    return ().__class__.__base__.__subclasses__()\n".into())
        }
        "huge" => Act::Say("x".repeat(3 << 20)),
        _ => answering("1")(&asked.prompt),
    });
    let system = &scripted.system;
    let before = system.ok(&["verify"])["objects"].clone();
    system.refused(&["send", "genesis", "refused"], "no_model");
    for selector in ["talk", "hostile", "huge"] {
        system.refused(&["send", "genesis", selector], "not_understood");
    }
    assert_eq!(system.ok(&["verify"])["objects"], before);
    assert_eq!(system.ok(&["send", "genesis", "torn"])["result"], 3);
    assert_eq!(system.ok(&["send", "genesis", "good"])["result"], 1);
}

/// A mission that a kill met is taken up again, and one that was cancelled is not.
#[test]
fn missions_survive_a_kill_and_cancelled_ones_do_not() {
    let silent = Arc::new(AtomicBool::new(true));
    let is_silent = silent.clone();
    let mut scripted = Scripted::up(move |asked| match is_silent.load(Ordering::SeqCst) {
        true => Act::Silence,
        false => answering("7")(&asked.prompt),
    });
    let begun = |scripted: &Scripted, selector: &str| {
        let mut child = Command::new(program("batos"))
            .arg("--home")
            .arg(scripted.system.home())
            .args(["send", "genesis", selector])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let id = until("the mission is under way", || {
            let found = missions(&scripted.system)
                .into_iter()
                .find(|mission| mission["selector"] == selector);
            found
                .filter(|mission| mission["state"] == "synthesizing")
                .map(|mission| number(&mission["id"]))
        });
        (id, move || {
            let _ = child.kill();
            let _ = child.wait();
        })
    };
    let (_, mut gone) = begun(&scripted, "kept");
    let (cancelled, mut other) = begun(&scripted, "dropped");
    scripted.system.ok(&["cancel", &cancelled.to_string()]);
    until("it is over", || {
        (missions(&scripted.system).len() == 1).then_some(())
    });
    scripted.kill();
    gone();
    other();
    silent.store(false, Ordering::SeqCst);
    scripted.start();
    until("the mission is thought to its end", || {
        missions(&scripted.system).is_empty().then_some(())
    });
    assert_eq!(scripted.system.ok(&["send", "genesis", "kept"])["result"], 7);
    scripted.system.refused(&["why", "genesis", "dropped"], "no_slot");
}

const FIELDS: [&str; 13] = [
    "timestamp",
    "cycle_id",
    "transaction_id",
    "mission_brief_hash",
    "event_type",
    "current_state",
    "transition_to",
    "active_persona",
    "llm_prompt",
    "llm_response_raw",
    "artifact_oid",
    "validation_result",
    "final_outcome",
];

#[test]
fn the_stream_tells_every_event_and_its_chain_holds() {
    let mut scripted = Scripted::up(|asked| answering("5")(&asked.prompt));
    let home = scripted.system.home();
    scripted.system.ok(&["send", "genesis", "five"]);
    scripted.stop();
    let path = home.join("audit/thoughts.jsonl");
    let lines: Vec<Json> = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        for field in FIELDS {
            assert!(
                line.as_object().unwrap().contains_key(field),
                "{field} lacks in {line}"
            );
        }
    }
    let of = |kind: &str| {
        lines
            .iter()
            .filter(|line| line["event_type"] == kind)
            .collect::<Vec<_>>()
    };
    let states: Vec<&str> = of("STATE_TRANSITION")
        .iter()
        .map(|line| text(&line["transition_to"]))
        .collect();
    assert_eq!(states, ["idle", "synthesizing", "validating", "complete"]);
    let personas: Vec<&str> = of("STATE_TRANSITION")
        .iter()
        .map(|line| text(&line["active_persona"]))
        .collect();
    assert_eq!(personas, ["orchestrator", "ROBIN", "ALFRED", "orchestrator"]);
    let generated = of("ARTIFACT_GENERATED")[0];
    assert!(
        text(&generated["llm_prompt"]).contains("five")
            && text(&generated["llm_response_raw"]).contains("return 5")
    );
    assert_eq!(
        (
            of("MISSION_BEGUN").len(),
            of("COMMITTED").len(),
            of("MISSION_ENDED").len()
        ),
        (1, 1, 1)
    );
    assert_eq!(of("MISSION_ENDED")[0]["final_outcome"], "complete");
    let system = &scripted.system;
    assert_eq!(
        number(&system.ok(&["thoughts", "--check"])["lines"]),
        lines.len() as u64
    );
    let traces = Command::new(program("batos"))
        .arg("--home")
        .arg(&home)
        .args(["thoughts", "--otlp"])
        .output()
        .unwrap();
    let trace: Json = serde_json::from_slice(&traces.stdout).unwrap();
    let spans = trace["resourceSpans"][0]["scopeSpans"][0]["spans"]
        .as_array()
        .unwrap()
        .clone();
    assert!(
        spans.iter().any(|span| span["name"] == "chat synthesizing"),
        "{trace}"
    );
    // Somebody makes the model have said something else.
    let changed = fs::read_to_string(&path).unwrap().replace("return 5", "return 6");
    fs::write(&path, changed).unwrap();
    let checked = system.batos(&["thoughts", "--check"]);
    assert_eq!(
        (checked.code, checked.document["faults"].as_array().unwrap().len()),
        (1, 1),
        "{checked:?}"
    );
}

#[test]
fn prompts_can_be_left_out() {
    let mut scripted = Scripted::with_arguments(&["--audit-prompts", "digest"], |asked| {
        answering("5")(&asked.prompt)
    });
    scripted.system.ok(&["send", "genesis", "five"]);
    scripted.stop();
    let stream = fs::read_to_string(scripted.system.home().join("audit/thoughts.jsonl")).unwrap();
    assert!(stream.contains("\"llm_response_raw\":\"sha256:"), "{stream}");
    assert!(!stream.contains("return 5"), "{stream}");
}

#[test]
fn thoughts_are_followed_while_they_are_thought() {
    let go = Arc::new(AtomicBool::new(false));
    let may_go = go.clone();
    let scripted = Scripted::up(move |asked| {
        while !may_go.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        answering("9")(&asked.prompt)
    });
    let system = &scripted.system;
    thread::scope(|scope| {
        let sending = scope.spawn(|| system.ok(&["send", "genesis", "nine"]));
        let id = until("it is under way", || {
            missions(system).first().map(|mission| mission["id"].to_string())
        });
        let mut child = Command::new(program("batos"))
            .arg("--home")
            .arg(system.home())
            .args(["--json", "thoughts", &id, "--follow"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It follows once the kernel counts one more conversation.
        until("it is connected", || {
            (number(&system.status()["kernel"]["clients"]) >= 3).then_some(())
        });
        go.store(true, Ordering::SeqCst);
        let lines: Vec<Json> = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        assert!(child.wait().unwrap().success());
        sending.join().unwrap();
        let kinds: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
        assert!(
            kinds.contains(&"ARTIFACT_GENERATED") && kinds.contains(&"MISSION_ENDED"),
            "{kinds:?}"
        );
        assert_eq!(lines.last().unwrap()["ok"], true);
    });
}
