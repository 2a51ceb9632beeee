//! Branches with the real programs: try and throw away, try and commit, conflicts, kills, packs, backups.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};

use crate::harness::{System, number, program, text, until};

const DEPOSIT: &str = "def deposit(self, amount):\n    self.balance = self.balance + amount\n    self._p_changed = True\n    return self.balance\n";
/// Sends to another object, and makes one: what a branch must see inside a method, too.
const PAY: &str = "def pay(self, other, amount):\n    self.balance = self.balance - amount\n    other.deposit(amount)\n    slip = self.clone()\n    slip.amount = amount\n    self.slip = slip\n    self._p_changed = True\n    return self.balance\n";

/// Two accounts.
fn system() -> System {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "balance=100", "--name", "ada"]);
    system.ok(&["new", "traits", "balance=0", "--name", "bob"]);
    for account in ["ada", "bob"] {
        system.defined(account, DEPOSIT);
        system.defined(account, PAY);
    }
    system
}

fn digest(system: &System) -> Json {
    let verified = system.ok(&["verify"]);
    assert_eq!(verified["faults"], json!([]));
    verified["digest"].clone()
}

fn balance(system: &System, account: &str) -> Json {
    system.inspect(account)["slots"]["balance"]["value"].clone()
}

fn in_branch(system: &System, branch: &str, arguments: &[&str]) -> Json {
    let document = system.ok(&[&["--branch", branch], arguments].concat());
    assert_eq!(document["branch"], branch, "{document}");
    document
}

fn bob(system: &System) -> String {
    json!({"$ref": system.inspect("bob")["object"]}).to_string()
}

fn listed(system: &System) -> Vec<Json> {
    system.ok(&["branch", "list"])["branches"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn what_is_tried_and_thrown_away_leaves_nothing() {
    let system = system();
    let before = digest(&system);
    let begun = system.ok(&["branch", "new", "what_if"]);
    assert_eq!(
        (&begun["branch"]["name"], &begun["branch"]["sends"]),
        (&json!("what_if"), &json!(0))
    );
    let to = bob(&system);
    let sent = in_branch(&system, "what_if", &["send", "ada", "pay", &to, "30"]);
    assert_eq!(
        (&sent["result"], &sent["transaction"]),
        (&json!(70), &json!(null))
    );
    assert_eq!(
        in_branch(&system, "what_if", &["send", "bob", "balance"])["result"],
        30
    );
    let seen = in_branch(&system, "what_if", &["inspect", "ada"]);
    assert_eq!(seen["slots"]["balance"]["value"], 70);
    // The slip that the method made is an object of the branch alone.
    let slip = text(&seen["slots"]["slip"]["value"]["$ref"]).to_owned();
    assert_eq!(
        in_branch(&system, "what_if", &["inspect", &slip])["slots"]["amount"]["value"],
        30
    );
    system.refused(&["inspect", &slip], "no_object");
    in_branch(&system, "what_if", &["set", "bob", "name", "\"Bob\""]);
    in_branch(&system, "what_if", &["new", "traits", "n=1", "--name", "more"]);
    assert_eq!(
        in_branch(&system, "what_if", &["inspect", "more"])["name"],
        "more"
    );
    let file = system.source("def twice(self):\n    return self.balance * 2\n");
    in_branch(&system, "what_if", &["define", "bob", file.to_str().unwrap()]);
    assert_eq!(
        in_branch(&system, "what_if", &["send", "bob", "twice"])["result"],
        60
    );
    // Nobody else sees any of it, whatever worker runs the methods.
    for _ in 0..4 {
        assert_eq!(system.result(&["send", "bob", "balance"]), 0);
    }
    assert_eq!(balance(&system, "ada"), 100);
    system.refused(&["inspect", "more"], "no_object");
    let shown = system.ok(&["branch", "show", "what_if"]);
    let differences = shown["differences"].as_array().unwrap();
    let told = |slot: &str, old: Json, new: Json| {
        let found = differences
            .iter()
            .find(|d| d["slot"] == slot && d["old"] == old && d["new"] == new);
        assert!(found.is_some(), "{slot}: {shown}");
    };
    told("balance", json!(100), json!(70));
    told("balance", json!(0), json!(30));
    told("name", json!(null), json!("Bob"));
    assert_eq!(listed(&system)[0]["sends"], 4);
    assert_eq!(listed(&system)[0]["conflicts"], json!([]));
    assert_eq!(system.ok(&["branch", "drop", "what_if"])["dropped"], "what_if");
    assert_eq!(listed(&system), Vec::<Json>::new());
    assert_eq!(digest(&system), before);
    system.refused(&["branch", "drop", "what_if"], "no_branch");
    system.refused(&["--branch", "what_if", "send", "ada", "balance"], "no_branch");
    assert_eq!(
        fs::read_dir(system.home().join("image/branches"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_is_tried_and_committed_is_one_transaction() {
    let system = system();
    system.ok(&["branch", "new", "b"]);
    let to = bob(&system);
    for amount in ["1", "2", "3"] {
        in_branch(&system, "b", &["send", "ada", "pay", &to, amount]);
    }
    let made = in_branch(&system, "b", &["new", "ada", "--name", "carol"]);
    // The branch outlives every process.
    system.kill_all();
    system.start();
    assert_eq!(in_branch(&system, "b", &["send", "bob", "balance"])["result"], 6);
    // What the branch has not touched goes on, and is seen in it.
    system.ok(&["set", "bob", "mood", "\"well\""]);
    assert_eq!(
        in_branch(&system, "b", &["send", "bob", "mood"])["result"],
        "well"
    );
    let before = number(&system.status()["kernel"]["last_transaction"]);
    let committed = system.ok(&["branch", "commit", "b"]);
    assert_eq!(
        (number(&committed["transaction"]), &committed["sends"]),
        (before + 1, &json!(4))
    );
    assert_eq!(
        (balance(&system, "ada"), balance(&system, "bob")),
        (json!(94), json!(6))
    );
    assert_eq!(system.inspect("carol")["object"], made["object"]);
    assert_eq!(system.result(&["send", "carol", "deposit", "6"]), 100);
    assert_eq!(listed(&system), Vec::<Json>::new());
    let told = system.ok(&["history", "bob", "--limit", "1"]);
    assert!(
        text(&told["transactions"][0]["author"]).ends_with("branch b"),
        "{told}"
    );
    digest(&system);
    // It can be taken back as any other.
    system.refused(&["undo", &committed["transaction"].to_string()], "bound");
}

#[test]
fn a_conflict_names_the_places_and_leaves_the_branch() {
    let system = system();
    for name in ["reads", "writes", "looks"] {
        system.ok(&["branch", "new", name]);
    }
    in_branch(&system, "reads", &["send", "ada", "deposit", "5"]);
    in_branch(&system, "writes", &["set", "ada", "balance", "1000"]);
    // Who only looks depends on nothing.
    in_branch(&system, "looks", &["send", "ada", "balance"]);
    in_branch(&system, "looks", &["set", "bob", "mood", "\"new\""]);
    system.ok(&["send", "ada", "deposit", "1"]);
    let id = text(&system.inspect("ada")["object"]).to_owned();
    for name in ["reads", "writes"] {
        let before = digest(&system);
        let refused = system.refused(&["branch", "commit", name], "conflict");
        assert!(
            text(&refused["message"]).contains(&format!("{id}.balance (ada)")),
            "{refused}"
        );
        assert_eq!(digest(&system), before);
        let view = listed(&system)
            .into_iter()
            .find(|view| view["name"] == name)
            .unwrap();
        assert_eq!(view["conflicts"], json!([format!("{id}.balance (ada)")]));
    }
    // What the branch changed it still shows.
    assert_eq!(
        in_branch(&system, "writes", &["send", "ada", "balance"])["result"],
        1000
    );
    system.ok(&["branch", "commit", "looks"]);
    assert_eq!(system.inspect("bob")["slots"]["mood"]["value"], "new");
    system.ok(&["branch", "drop", "reads"]);
    system.ok(&["branch", "drop", "writes"]);
    assert_eq!(balance(&system, "ada"), 101);
}

#[test]
fn additions_and_appends_merge() {
    let system = System::without_model().up();
    system.ok(&["new", "counter", "--name", "visits"]);
    system.ok(&["new", "queue", "--name", "line"]);
    system.ok(&["branch", "new", "b"]);
    in_branch(&system, "b", &["send", "visits", "add", "5"]);
    in_branch(&system, "b", &["send", "line", "push", "\"mine\""]);
    system.ok(&["send", "visits", "add", "2"]);
    system.ok(&["send", "line", "push", "\"theirs\""]);
    assert_eq!(in_branch(&system, "b", &["send", "visits", "value"])["result"], 7);
    assert_eq!(in_branch(&system, "b", &["send", "line", "size"])["result"], 2);
    system.ok(&["branch", "commit", "b"]);
    assert_eq!(system.result(&["send", "visits", "value"]), 7);
    assert_eq!(system.result(&["send", "line", "pop"]), "theirs");
    assert_eq!(system.result(&["send", "line", "pop"]), "mine");
}

/// kill -9 of the kernel while a branch is written to: what was acknowledged is there, once.
#[test]
fn kills_lose_and_double_nothing_of_a_branch() {
    let system = system();
    system.ok(&["branch", "new", "b"]);
    let (rounds, kills) = (60, 4);
    thread::scope(|scope| {
        let killing = scope.spawn(|| {
            for part in 1..=kills {
                until("the branch has grown", || {
                    let sends = listed(&system)[0]["sends"].as_u64()?;
                    (sends >= part * rounds / (kills + 1)).then_some(())
                });
                let _ = kill(Pid::from_raw(system.kernel_pid()), Signal::SIGKILL);
            }
        });
        for _ in 0..rounds {
            // The client repeats by itself what got no answer.
            in_branch(&system, "b", &["send", "bob", "deposit", "1"]);
        }
        killing.join().unwrap();
    });
    assert_eq!(
        in_branch(&system, "b", &["send", "bob", "balance"])["result"],
        rounds
    );
    assert_eq!(balance(&system, "bob"), 0);
    // The same request again is answered and not done again, in a branch as elsewhere.
    let id = "000102030405060708090a0b0c0d0e0f:1";
    let deposit = ["send", "bob", "deposit", "1", "--request-id", id];
    for _ in 0..2 {
        assert_eq!(in_branch(&system, "b", &deposit)["result"], rounds + 1);
    }
    let commit = [
        "branch",
        "commit",
        "b",
        "--request-id",
        "000102030405060708090a0b0c0d0e0f:2",
    ];
    let first = system.ok(&commit);
    system.kill_all();
    system.start();
    assert_eq!(system.ok(&commit), first);
    assert_eq!(balance(&system, "bob"), rounds + 1);
    digest(&system);
}

#[test]
fn packs_and_backups_keep_branches() {
    let system = system();
    system.ok(&["branch", "new", "b"]);
    let loose = system.ok(&["new", "traits", "n=1"]);
    let reference = json!({"$ref": loose["object"]}).to_string();
    in_branch(&system, "b", &["set", "ada", "to", &reference]);
    assert_eq!(system.ok(&["pack"])["collected"], 0);
    let folder = system.folder().join("backup");
    let folder = folder.to_str().unwrap();
    assert_eq!(system.ok(&["backup", folder])["damaged"], json!([]));
    let other = System::without_model();
    other.ok(&["restore", folder]);
    other.start();
    other.ok(&["branch", "commit", "b"]);
    assert_eq!(other.inspect(text(&loose["object"]))["slots"]["n"]["value"], 1);
    digest(&other);
    system.ok(&["branch", "drop", "b"]);
    assert_eq!(system.ok(&["pack"])["collected"], 1);
    // A damaged file is named, and stops nothing else.
    system.ok(&["branch", "new", "c"]);
    in_branch(&system, "c", &["set", "ada", "to", "1"]);
    in_branch(&system, "c", &["set", "ada", "to", "2"]);
    system.ok(&["down"]);
    let file = system.home().join("image/branches/c.branch");
    let mut bytes = fs::read(&file).unwrap();
    bytes[150] ^= 4;
    fs::write(&file, bytes).unwrap();
    let verified = system.batos(&["verify"]);
    assert_eq!(verified.code, 1);
    assert!(
        verified.document["faults"].to_string().contains("c.branch"),
        "{verified:?}"
    );
    system.start();
    let damage = listed(&system)[0]["damage"].clone();
    assert!(text(&damage).contains("byte"), "{damage}");
    system.refused(&["--branch", "c", "inspect", "ada"], "branch_damaged");
    system.refused(&["branch", "commit", "c"], "branch_damaged");
    system.ok(&["branch", "drop", "c"]);
    digest(&system);
}

#[test]
fn mistakes_are_explained() {
    let system = system();
    for name in ["main", "../x", "a/b", ".", "-x y"] {
        system.refused(&["branch", "new", "--", name], "bad_argument");
    }
    system.ok(&["branch", "new", "b"]);
    system.refused(&["branch", "new", "b"], "bad_argument");
    system.refused(&["branch", "commit", "b"], "bad_argument");
    system.refused(&["branch", "show", "nobody"], "no_branch");
    let missed = system.refused(&["--branch", "b", "send", "ada", "fly"], "not_understood");
    assert!(text(&missed["message"]).contains("define ada FILE"), "{missed}");
    assert_eq!(system.ok(&["thoughts"])["thoughts"], json!([]));
    system.refused(
        &["--branch", "b", "set", "ada", "to", "{\"$ref\":\"#99999\"}"],
        "no_object",
    );
    system.refused(
        &["--branch", "b", "send", "ada", "deposit", "\"x\""],
        "method_raised",
    );
    let usage = system.batos(&["--branch", "b", "pack"]);
    assert_eq!((usage.code, &usage.document["reason"]), (2, &json!("usage")));
    assert_eq!(listed(&system)[0]["sends"], 0);
}

#[test]
fn json_rpc_and_the_console_know_branches() {
    let system = system();
    assert_eq!(
        system.rpc("branch_new", json!({"name": "b"}))["result"]["branch"]["name"],
        "b"
    );
    let sent = system.rpc(
        "send",
        json!({"receiver": "bob", "selector": "deposit", "arguments": [7], "branch": "b"}),
    );
    assert_eq!(
        (
            &sent["result"]["result"],
            &sent["result"]["branch"],
            &sent["result"]["transaction"]
        ),
        (&json!(7), &json!("b"), &json!(null)),
        "{sent}"
    );
    let refused = system.rpc("pack", json!({"branch": "b"}));
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    let script = "bob balance\nbob deposit 1\nbranch use main\nbob balance\nbranch show b\nbranch commit b\nbob balance\n";
    let mut console = Command::new(program("batos"))
        .args(["--branch", "b", "--home"])
        .arg(system.home())
        .arg("console")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    console
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = console.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert!(output.status.success(), "{told}");
    assert_eq!(
        (lines[0], lines[1], lines[2], *lines.last().unwrap()),
        ("7", "8", "0", "8"),
        "{told}"
    );
    assert!(told.contains("balance: 0 → 8"), "{told}");
}

/// What looks after the files goes on beside sends to branches and to the image, and none waits for the other for ever.
#[test]
fn branches_live_through_upkeep() {
    let system = system();
    let folder = system.folder().join("backup");
    for name in ["one", "two"] {
        system.ok(&["branch", "new", name]);
    }
    system.ok(&["new", "traits", "mood=0", "--name", "eve"]);
    let rounds = 60;
    let to = bob(&system);
    thread::scope(|scope| {
        for name in ["one", "two"] {
            let (system, to) = (&system, &to);
            scope.spawn(move || {
                for _ in 0..rounds {
                    in_branch(system, name, &["send", "ada", "pay", to, "1"]);
                }
            });
        }
        let system = &system;
        scope.spawn(move || {
            for round in 0..rounds {
                system.ok(&["branch", "new", "short"]);
                in_branch(system, "short", &["set", "eve", "mood", &round.to_string()]);
                system.ok(&["branch", if round % 2 == 0 { "commit" } else { "drop" }, "short"]);
            }
        });
        for _ in 0..4 {
            system.ok(&["pack"]);
            system.ok(&["backup", folder.to_str().unwrap()]);
            assert_eq!(system.ok(&["verify"])["faults"], json!([]));
        }
    });
    assert_eq!(
        in_branch(&system, "two", &["send", "bob", "balance"])["result"],
        rounds
    );
    assert_eq!(system.inspect("eve")["slots"]["mood"]["value"], rounds - 2);
    system.ok(&["pack"]);
    system.ok(&["branch", "commit", "one"]);
    system.refused(&["branch", "commit", "two"], "conflict");
    assert_eq!(balance(&system, "bob"), rounds);
    digest(&system);
}

/// Eight clients at once in one branch and on the image.
#[test]
fn clients_take_turns_in_a_branch() {
    let system = system();
    system.ok(&["branch", "new", "b"]);
    let rounds = 12;
    thread::scope(|scope| {
        for number in 0..8 {
            let mut client = system.client(Duration::from_secs(30));
            scope.spawn(move || {
                for _ in 0..rounds {
                    let call = shared::bridge::Call::Send {
                        receiver: "bob".into(),
                        selector: "deposit".into(),
                        arguments: vec![shared::value::Value::Int(1)],
                        deadline_ms: None,
                    };
                    let call = match number % 2 {
                        0 => call.in_branch("b".into()).unwrap(),
                        _ => call,
                    };
                    client.call(call, None).unwrap();
                }
            });
        }
    });
    assert_eq!(balance(&system, "bob"), 4 * rounds);
    assert_eq!(listed(&system)[0]["sends"], 4 * rounds);
    system.refused(&["branch", "commit", "b"], "conflict");
    digest(&system);
}
