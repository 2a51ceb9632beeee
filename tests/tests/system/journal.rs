//! The steward killed at every state of an upgrade's journal, by `tests/faults/killer.c`: the next one converges within 2 s to one kernel
//! and one result.
//!
//! `BATOS_JOURNAL_ROUNDS=20` for the long form (`./scripts/steward-kills`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::harness::{System, is_gone, kernels, program, repository, text, until};

const LIMIT: Duration = Duration::from_secs(2);
/// Of an upgrade to a kernel that serves; the cold switch is tried in `steward/tests`.
const GOOD_STATES: [&str; 10] = [
    "accepted",
    "staging",
    "preparing",
    "rehearsing",
    "warming",
    "yielding",
    "promoting",
    "probation",
    "choosing",
    "concluded",
];
/// Of one to a kernel that dies when it is promoted.
const BAD_STATES: [&str; 1] = ["reverting"];

fn killer(folder: &Path) -> PathBuf {
    let library = folder.join("killer.so");
    let compiled = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([&library, &repository().join("tests/faults/killer.c")])
        .status()
        .unwrap();
    assert!(compiled.success());
    library
}

/// A program and its digest, in the form of an instruction.
fn new_program(system: &System, name: &str, bytes: &[u8]) -> (PathBuf, String) {
    let path = system.folder().join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let digits: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    (path, format!("sha256:{digits}"))
}

/// Starts a steward that dies at that point.
fn start_dying(system: &System, library: &Path, at: &str) {
    let status = Command::new(program("batos"))
        .arg("--home")
        .arg(system.home())
        .arg("up")
        .env("BATOS_SEED", "/nonexistent/seed")
        .env("LD_PRELOAD", library)
        .env("KILLER_AT", at)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{at}: {status}");
}

fn steward_pid(system: &System) -> i32 {
    let lock = fs::read_to_string(system.home().join("run/steward.lock")).unwrap();
    lock.trim().parse().unwrap()
}

fn results(system: &System) -> Vec<Json> {
    let entries = fs::read_dir(system.home().join("channel/results"))
        .unwrap()
        .flatten();
    entries
        .filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok())
        .collect()
}

#[test]
fn a_steward_killed_in_any_state_converges() {
    let rounds: u32 = std::env::var("BATOS_JOURNAL_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(1);
    let system = System::without_model()
        .configure("[handover]\nprobation_ms = 300\n")
        .up();
    system.ok(&["new", "traits", "n=0", "--name", "thing"]);
    system.ok(&["down"]);
    let library = killer(system.folder());
    let good = new_program(&system, "good", &fs::read(program("kernel")).unwrap());
    let mut faulty = fs::read(program("examples/faulty_kernel")).unwrap();
    let orders = format!("\nFAULT=promote_crash\nKERNEL={}\n", program("kernel").display());
    faulty.extend(orders.bytes());
    let bad = new_program(&system, "bad", &faulty);
    let mut points: Vec<(String, &(PathBuf, String))> = vec![("removal".to_owned(), &good)];
    for moment in ["before", "torn", "after"] {
        points.extend(GOOD_STATES.map(|state| (format!("{state}:{moment}"), &good)));
        points.extend(BAD_STATES.map(|state| (format!("{state}:{moment}"), &bad)));
    }
    let mut took: BTreeMap<String, Duration> = BTreeMap::new();
    let mut number = 0;
    for round in 0..rounds {
        // The short form tears one line.
        for (point, target) in points
            .iter()
            .filter(|(point, _)| rounds > 1 || !point.ends_with(":torn") || point == "choosing:torn")
        {
            number += 1;
            let id = format!("i{number}");
            let outcome = one(&system, &library, point, target, &id, number, &mut took);
            eprintln!("round {round} {point}: {outcome}");
        }
    }
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));
    let longest = took.values().max().unwrap();
    eprintln!("{number} kills, the longest way back {longest:?}");
    assert!(*longest <= LIMIT, "converged too late: {took:?}");
}

fn one(
    system: &System,
    library: &Path,
    point: &str,
    (path, digest): &(PathBuf, String),
    id: &str,
    number: u64,
    took: &mut BTreeMap<String, Duration>,
) -> String {
    start_dying(system, library, point);
    let steward = steward_pid(system);
    let instruction = json!({"schema": 2, "id": id, "sequence": number, "created": 1, "again": true,
        "target": {"kind": "kernel", "path": path, "digest": digest}});
    let inbox = system.home().join("channel/inbox");
    fs::write(inbox.join(format!(".{id}")), instruction.to_string()).unwrap();
    fs::rename(inbox.join(format!(".{id}")), inbox.join(format!("{id}.json"))).unwrap();
    until(&format!("the steward dies at {point}"), || {
        is_gone(steward).then_some(())
    });
    let begun = Instant::now();
    system.start();
    let kernel = system.kernel_pid();
    let back = begun.elapsed();
    let longest = took.entry(point.to_owned()).or_default();
    *longest = back.max(*longest);
    let result = until(&format!("{point}: a result of {id}"), || {
        results(system).into_iter().find(|result| result["id"] == id)
    });
    // A claim that nothing was begun for is carried out anew.
    let is_begun = !["accepted:before", "accepted:torn"].contains(&point);
    let outcome = text(&result["outcome"]).to_owned();
    let chosen = fs::read(system.home().join("planks/current.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Json>(&bytes).ok());
    let is_chosen = chosen.is_some_and(|chosen| chosen["claim"] == result["claim"]);
    assert_eq!(outcome == "applied", is_chosen, "{point}: {result}");
    let expected = match point.split(':').next().unwrap() {
        _ if !is_begun => "applied",
        "accepted" | "staging" | "preparing" | "rehearsing" | "warming" => "failed",
        "yielding" if point != "yielding:after" => "failed",
        "removal" | "concluded" => "applied",
        _ => "rolled_back",
    };
    assert_eq!(outcome, expected, "{point}: {result}");
    let named = results(system).iter().filter(|result| result["id"] == id).count();
    assert_eq!(named, 1, "{point}");
    let claimed = system.home().join("channel/claimed");
    until(&format!("{point}: no claim is left"), || {
        (fs::read_dir(&claimed).unwrap().count() == 0).then_some(())
    });
    if is_begun {
        assert_eq!(kernels(&system.home()), [kernel], "{point}: one writer");
    }
    system.ok(&["set", "thing", "n", &number.to_string()]);
    system.ok(&["down"]);
    assert_eq!(kernels(&system.home()), [] as [i32; 0], "{point}");
    outcome
}
