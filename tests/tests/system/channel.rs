//! Upgrade instructions dropped into the channel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::harness::{System, program, text, until};

fn drop_in(system: &System, name: &str, bytes: &[u8]) -> Json {
    let inbox = system.home().join("channel/inbox");
    fs::write(inbox.join(format!(".{name}")), bytes).unwrap();
    fs::rename(inbox.join(format!(".{name}")), inbox.join(format!("{name}.json"))).unwrap();
    result(system, name)
}

fn result(system: &System, name: &str) -> Json {
    let path = system.home().join(format!("channel/results/{name}.result.json"));
    until(&format!("a result {name}"), || {
        serde_json::from_slice(&fs::read(&path).ok()?).ok()
    })
}

/// Another file that is the same program, and its digest.
fn copy_of_kernel(system: &System) -> (PathBuf, String) {
    let path = system.folder().join("new-kernel");
    let bytes = fs::read(program("kernel")).unwrap();
    fs::write(&path, &bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let digest = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    (path, digest)
}

#[test]
fn an_instruction_replaces_the_kernel() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=1", "--name", "thing"]);
    let before = (system.kernel_pid(), system.inspect("thing"));
    let (path, digest) = copy_of_kernel(&system);
    let instruction = json!({"schema": 1, "id": "same-again", "target": {"kind": "kernel", "path": path, "sha256": digest}});
    let applied = drop_in(&system, "upgrade", instruction.to_string().as_bytes());
    assert_eq!(
        (&applied["outcome"], &applied["id"]),
        (&json!("applied"), &json!("same-again")),
        "{applied}"
    );
    let pid = system.kernel_pid();
    assert_ne!(pid, before.0);
    let runs = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(
        runs.starts_with(system.home().join("planks")),
        "{}",
        runs.display()
    );
    assert_eq!(system.inspect("thing"), before.1);
    system.ok(&["set", "thing", "n", "2"]);
    // The choice outlives everything.
    system.kill_all();
    system.start();
    let runs = fs::read_link(format!("/proc/{}/exe", system.kernel_pid())).unwrap();
    assert!(
        runs.starts_with(system.home().join("planks")),
        "{}",
        runs.display()
    );
    let replayed = drop_in(&system, "again", instruction.to_string().as_bytes());
    assert_eq!(
        (&replayed["outcome"], &replayed["reason"]),
        (&json!("refused"), &json!("replayed")),
        "{replayed}"
    );
}

#[test]
fn bad_instructions_change_nothing_and_say_why() {
    let system = System::without_model().up();
    let before = (system.kernel_pid(), system.inspect("lobby"));
    let (path, digest) = copy_of_kernel(&system);
    let good = json!({"schema": 1, "id": "x", "target": {"kind": "kernel", "path": path, "sha256": digest}})
        .to_string();
    let changed = |key: &str, value: Json| {
        let mut document: Json = serde_json::from_str(&good).unwrap();
        document[key] = value;
        document.to_string()
    };
    let target = |key: &str, value: Json| {
        let mut document: Json = serde_json::from_str(&good).unwrap();
        document["target"][key] = value;
        document.to_string()
    };
    let cases = [
        ("half", good[..good.len() / 2].to_owned(), "malformed"),
        ("empty", String::new(), "malformed"),
        ("twice", format!("{good}{good}"), "malformed"),
        ("unknown", changed("colour", json!("red")), "unknown_key"),
        (
            "doubled",
            good.replacen("{\"schema\":1", "{\"schema\":1,\"schema\":1", 1),
            "duplicate_key",
        ),
        ("later", changed("schema", json!(3)), "unsupported_schema"),
        ("expired", changed("expires", json!(1)), "expired"),
        ("other", target("kind", json!("console")), "unsupported_target"),
        (
            "digest",
            target("sha256", json!("0".repeat(64))),
            "digest_mismatch",
        ),
        (
            "absent",
            target("path", json!("/nonexistent/kernel")),
            "program_unusable",
        ),
        ("large", " ".repeat(70_000), "too_large"),
    ];
    for (name, bytes, reason) in cases {
        let result = drop_in(&system, name, bytes.as_bytes());
        assert_eq!(result["reason"], reason, "{name}: {result}");
        assert!(
            ["refused", "failed"].contains(&text(&result["outcome"])),
            "{name}: {result}"
        );
        assert!(text(&result["message"]).len() > 8, "{name}: {result}");
    }
    // Written in place and never finished: half of it is judged.
    fs::write(system.home().join("channel/inbox/slow.json"), &good[..30]).unwrap();
    assert_eq!(result(&system, "slow")["reason"], "malformed");
    assert_eq!((system.kernel_pid(), system.inspect("lobby")), before);
}
