//! Power cuts in a model of the disk: nothing acknowledged is lost; without one of the syncs the replay says so.
//!
//! The long form is `./scripts/powercut 100000`.

use std::process::{Command, Output};

use crate::harness::{program, repository};

fn powercut(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let recorder = folder.path().join("recorder.so");
    let source = repository().join("tests/powercut/recorder.c");
    let compiled = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([&recorder, &source])
        .args(["-ldl", "-lpthread"])
        .status()
        .unwrap();
    assert!(compiled.success());
    Command::new("/usr/bin/python3")
        .arg("-B")
        .arg(repository().join("tests/powercut/replay.py"))
        .arg("--kernel")
        .arg(program("kernel"))
        .arg("--recorder")
        .arg(&recorder)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn two_thousand_power_cuts_lose_nothing() {
    let output = powercut(&["2000"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("2000 states"), "{told}");
    assert!(told.contains(" 0 lost or wrong"), "{told}");
}

/// Teeth: each of these syncs is needed, and the replay sees that it lacks.
#[test]
fn without_a_sync_the_replay_goes_red() {
    for (load, dropped) in [
        ("--no-packs", ".log"),
        ("--no-packs", "log/"),
        ("--no-packs", "data.mdb"),
        ("--packs", "blobs/"),
        ("--packs", ".base"),
        ("--branches", ".branch"),
        ("--branches", "branches/"),
    ] {
        let output = powercut(&["500", "--seed", "7", load, "--drop-sync", dropped]);
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{dropped}: {told}");
        assert!(
            told.contains("lost") || told.contains("faults"),
            "{dropped}: {told}"
        );
    }
}
