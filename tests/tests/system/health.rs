//! A new kernel judged by the old one's figures: one that is a little worse is kept and told of, one that is much worse gives way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use shared::bridge::Call;

use crate::harness::{System, program, repository, text, until};
use crate::load::Load;

const CONFIGURATION: &str =
    "[supervision]\nhealth_deadline_ms = 8000\n[handover]\nprobation_ms = 100\nanswer_ms = 2000\n";

/// A kernel that goes wrong in that way.
fn faulty(system: &System, fault: &str) -> (PathBuf, String) {
    let mut bytes = fs::read(program("examples/faulty_kernel")).unwrap();
    bytes.extend(format!("\nFAULT={fault}\nKERNEL={}\n", program("kernel").display()).bytes());
    let path = system.folder().join(format!("faulty-{fault}"));
    fs::write(&path, &bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let digits: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    (path, format!("sha256:{digits}"))
}

/// The result of an instruction with these bounds.
fn instruct(system: &System, fault: &str, health: &Json) -> Json {
    let (path, digest) = faulty(system, fault);
    let created = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let document = json!({"schema": 2, "id": fault, "created": created, "health": health,
        "target": {"kind": "kernel", "path": path, "digest": digest}});
    let file = system.folder().join(format!("{fault}.json"));
    fs::write(&file, document.to_string()).unwrap();
    let reply = system.batos(&["upgrade", "submit", file.to_str().unwrap()]);
    let result = reply.document["result"].clone();
    eprintln!("{fault}: {} {}", result["message"], result["health"]);
    result
}

#[test]
fn a_slower_kernel_is_kept_and_told_of_and_a_slow_one_gives_way() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let load = Load::begin(&system, 2);
    let first = system.kernel_pid();
    let result = instruct(&system, "slow_600", &json!({"probation_ms": 5000}));
    assert_eq!(
        (&result["outcome"], &result["reason"]),
        (&json!("rolled_back"), &json!("health_failed")),
        "{result}"
    );
    assert_eq!(result["health"]["outcome"], "unhealthy", "{result}");
    assert_eq!(system.kernel_pid(), first);
    let bounds = json!({"probation_ms": 3000, "unhealthy": {"latency_percent": 1_000_000}});
    let result = instruct(&system, "slow_150", &bounds);
    assert_eq!(
        (&result["outcome"], &result["reason"]),
        (&json!("applied"), &json!("degraded")),
        "{result}"
    );
    assert_eq!(result["health"]["outcome"], "degraded", "{result}");
    assert!(
        result["health"]["remarks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|remark| text(remark).contains("questions")),
        "{result}"
    );
    let old = &result["health"]["old"];
    assert!(
        old["requests"].as_u64().unwrap() > 50 && old["p50_us"].is_u64(),
        "{old}"
    );
    assert_ne!(system.kernel_pid(), first);
    assert_eq!(system.ok(&["upgrade", "status"])["last"]["reason"], "degraded");
    load.end(&system).assert_clean();
}

#[test]
fn a_kernel_that_leaks_gives_way() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let load = Load::begin(&system, 2);
    let first = system.kernel_pid();
    let compiled = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-pthread", "-o"])
        .args([
            system.home().join("planks/leak.so"),
            repository().join("tests/faults/leak.c"),
        ])
        .status()
        .unwrap();
    assert!(compiled.success());
    let result = instruct(&system, "leaking", &json!({"probation_ms": 10000}));
    assert_eq!(
        (&result["outcome"], &result["reason"]),
        (&json!("rolled_back"), &json!("health_failed")),
        "{result}"
    );
    assert!(text(&result["message"]).contains("MiB of memory"), "{result}");
    assert_eq!(system.kernel_pid(), first);
    load.end(&system).assert_clean();
}

const SLOW: &str = "def slow(self, n):\n    total = 0\n    for i in range(n):\n        total = total + i\n    return total\n";

#[test]
fn a_kernel_whose_requests_fail_gives_way() {
    let system = System::without_model().configure(CONFIGURATION).up();
    system.ok(&["new", "traits", "--name", "thing"]);
    system.defined("thing", SLOW);
    let is_over: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let counts: &'static [AtomicU64; 2] = Box::leak(Box::new([AtomicU64::new(0), AtomicU64::new(0)]));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let mut client = system.client(Duration::from_secs(30));
            thread::spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let call = Call::Send {
                        receiver: "thing".into(),
                        selector: "slow".into(),
                        arguments: vec![shared::value::Value::Int(1_000_000)],
                        deadline_ms: None,
                    };
                    let is_failed = client.call(call, None).is_err();
                    counts[usize::from(is_failed)].fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let answered = || counts[0].load(Ordering::SeqCst);
    until("requests are answered", || (answered() > 20).then_some(()));
    assert_eq!(counts[1].load(Ordering::SeqCst), 0);
    let first = system.kernel_pid();
    let result = instruct(&system, "failing", &json!({"probation_ms": 20000}));
    assert_eq!(
        (&result["outcome"], &result["reason"]),
        (&json!("rolled_back"), &json!("health_failed")),
        "{result}"
    );
    assert!(text(&result["message"]).contains("requests failed"), "{result}");
    assert_eq!(system.kernel_pid(), first);
    // Those that the new kernel failed, and no more.
    let failed = counts[1].load(Ordering::SeqCst);
    let before = answered();
    until("requests are answered again", || {
        (answered() > before + 20).then_some(())
    });
    assert_eq!(counts[1].load(Ordering::SeqCst), failed);
    is_over.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
}
