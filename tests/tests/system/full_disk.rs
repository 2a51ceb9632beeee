//! A home on a disk that runs full: sends fail with an error that says so, reads go on, nothing acknowledged is lost, and once there is
//! room again everything goes on by itself.
//!
//! The test runs itself again on a small tmpfs, in a mount namespace of its own; where that is not allowed it says so and tries
//! nothing.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::bridge::{Call, Fault};
use shared::client::{CallError, Client};
use shared::value::Value;

use crate::harness::{System, number, text, until};

const INSIDE: &str = "BATOS_SMALL_DISK";
const DISK: &str = "size=24m,mode=700";

/// Runs the test of that name on a small disk. Answers its folder when this is that run already.
pub fn small_disk(test: &str) -> Option<PathBuf> {
    if let Some(disk) = std::env::var_os(INSIDE) {
        return Some(disk.into());
    }
    let namespace = ["--user", "--map-root-user", "--mount"];
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o {DISK} batos \"$0\" && exec \"$@\"");
    let allowed = Command::new("unshare")
        .args(namespace)
        .args(["sh", "-c", &mount])
        .arg(folder.path())
        .arg("true")
        .output();
    if !allowed.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no tmpfs can be mounted here: {allowed:?}");
        return None;
    }
    let status = Command::new("unshare")
        .args(namespace)
        .args(["sh", "-c", &mount])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, folder.path())
        .env("TMPDIR", folder.path())
        .status()
        .unwrap();
    assert!(status.success(), "on the small disk: {status}");
    None
}

/// Takes all the room that there is.
pub fn fill(disk: &Path) -> PathBuf {
    let ballast = disk.join("ballast");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&ballast)
        .unwrap();
    for bytes in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; bytes]).is_ok() {}
    }
    ballast
}

fn set(client: &mut Client, slot: &str, value: Value) -> Result<(), Fault> {
    let call = Call::Set {
        object: "thing".into(),
        slot: slot.into(),
        value,
    };
    match client.call(call, None) {
        Ok(_) => Ok(()),
        Err(CallError::Fault(fault)) => Err(fault),
        Err(other) => panic!("{other}"),
    }
}

fn pad() -> Value {
    Value::Text("x".repeat(20_000))
}

/// Writes until there is no room; answers the last number that was acknowledged.
fn until_full(client: &mut Client, mut n: i64) -> (i64, Fault) {
    loop {
        if let Err(fault) = set(client, "pad", pad()) {
            return (n, fault);
        }
        n += 1;
        if let Err(fault) = set(client, "n", Value::Int(n)) {
            return (n - 1, fault);
        }
        assert!(n < 10_000, "the disk never runs full");
    }
}

#[test]
fn a_full_disk_is_told_and_passes() {
    let Some(disk) = small_disk("full_disk::a_full_disk_is_told_and_passes") else {
        return;
    };
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=0", "--name", "thing"]);
    system.defined("thing", "def twice(self):\n    return self.n * 2\n");
    let film = system.folder().join("film");
    fs::write(&film, vec![7; 300_000]).unwrap();
    let film = film.to_str().unwrap();
    let backup = system.folder().join("backup");
    let backup = backup.to_str().unwrap();
    system.ok(&["backup", backup]);
    let mut client = system.client(Duration::from_secs(60));

    let ballast = fill(&disk);
    let (mut n, fault) = until_full(&mut client, 0);
    assert_eq!(fault.reason, "image_failed", "{fault:?}");
    assert!(fault.message.contains(".log"), "{fault:?}");
    assert!(fault.message.contains("the disk is full"), "{fault:?}");
    assert!(fault.message.contains("make room"), "{fault:?}");
    // Reads go on: an object, a send that only reads, history, the status.
    assert_eq!(system.inspect("thing")["slots"]["n"]["value"], n);
    assert_eq!(system.result(&["send", "thing", "twice"]), 2 * n);
    assert!(system.ok(&["log"])["transactions"].as_array().unwrap().len() > 1);
    for refused in [
        vec!["blob", "put", film, "--object", "thing", "--slot", "film"],
        vec!["backup", backup],
        vec!["pack"],
        vec!["verify"],
    ] {
        let reply = system.batos(&refused);
        assert_eq!(reply.code, 1, "{refused:?}: {reply:?}");
        assert_eq!(reply.document["reason"], "image_failed", "{refused:?}: {reply:?}");
        let message = text(&reply.document["message"]);
        assert!(message.contains("the disk is full"), "{refused:?}: {message}");
    }
    // It was never down, and goes on by itself.
    let kernel = system.kernel_pid();
    fs::remove_file(&ballast).unwrap();
    n += 1;
    set(&mut client, "n", Value::Int(n)).unwrap();
    assert_eq!(system.kernel_pid(), kernel);
    system.ok(&["blob", "put", film, "--object", "thing", "--slot", "film"]);
    system.ok(&["backup", backup]);
    assert_eq!(system.ok(&["verify"])["faults"], serde_json::json!([]));

    // Killed while the disk is full: the next kernel finds room for its first record in what the log has reserved, and reads go on.
    let ballast = fill(&disk);
    let (last, _) = until_full(&mut client, n);
    kill(Pid::from_raw(kernel), Signal::SIGKILL).unwrap();
    until("another kernel answers", || {
        (system.kernel_pid() != kernel).then_some(())
    });
    assert_eq!(system.inspect("thing")["slots"]["n"]["value"], last);
    let fault = set(&mut client, "pad", Value::Text("x".repeat(400_000))).unwrap_err();
    assert!(fault.message.contains("the disk is full"), "{fault:?}");
    fs::remove_file(&ballast).unwrap();
    set(&mut client, "n", Value::Int(last + 1)).unwrap();
    let verified = system.ok(&["verify"]);
    assert_eq!(verified["faults"], serde_json::json!([]));
    system.ok(&["pack"]);
    assert_eq!(system.result(&["send", "thing", "twice"]), 2 * (last + 1));

    // Without a kernel: an index cannot be made, the old one stays.
    system.ok(&["down"]);
    let ballast = fill(&disk);
    let reply = system.batos(&["reindex"]);
    assert_eq!(reply.code, 5, "{reply:?}");
    assert!(
        reply.stderr.contains("full") || reply.document.to_string().contains("full"),
        "{reply:?}"
    );
    fs::remove_file(&ballast).unwrap();
    let before = system.ok(&["verify"]);
    assert_eq!(system.ok(&["reindex"])["digest"], before["digest"]);
    assert!(number(&before["objects"]) > 1);
}
