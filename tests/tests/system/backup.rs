//! Backup while others write, restore into another home, and what becomes of both when something is killed or damaged.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;
use shared::bridge::Call;
use shared::value::Value;

use crate::harness::{System, is_gone, number, program, text, until};

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A content of so many bytes that do not repeat.
fn content(system: &System, name: &str, bytes: usize) -> PathBuf {
    let path = system.folder().join(name);
    let mut state = bytes as u64 | 1;
    let all: Vec<u8> = (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    fs::write(&path, all).unwrap();
    path
}

/// The state without what a restart adds: the digest says the same for equal states.
fn digest(system: &System) -> Json {
    let verified = system.ok(&["verify"]);
    assert_eq!(verified["faults"], serde_json::json!([]));
    verified["digest"].clone()
}

fn restored(backup: &Path) -> System {
    let system = System::without_model();
    system.ok(&["restore", shown(backup)]);
    system.up()
}

#[test]
fn the_second_backup_copies_little_and_a_restore_equals() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=0", "--name", "thing"]);
    let film = content(&system, "film", 3 << 20);
    system.ok(&["blob", "put", shown(&film), "--object", "thing", "--slot", "film"]);
    let backup = system.folder().join("backup");
    let first = system.ok(&["backup", shown(&backup)]);
    assert!(number(&first["copied_bytes"]) > 3 << 20, "{first}");
    assert_eq!(first["copied_bytes"], first["bytes"]);
    let nothing_new = system.ok(&["backup", shown(&backup)]);
    assert_eq!(nothing_new["copied_bytes"], 0, "{nothing_new}");
    system.ok(&["set", "thing", "n", "1"]);
    let second = system.ok(&["backup", shown(&backup)]);
    assert!((1..1000).contains(&number(&second["copied_bytes"])), "{second}");
    assert_eq!(number(&second["last"]), number(&first["last"]) + 1);
    let state = digest(&system);

    let other = restored(&backup);
    assert_eq!(digest(&other), state);
    assert_eq!(other.inspect("thing")["slots"]["n"]["value"], 1);
    let back = other.folder().join("back");
    other.ok(&["blob", "get", "thing.film", "-o", shown(&back)]);
    assert!(fs::read(&back).unwrap() == fs::read(&film).unwrap());

    // A pack makes a base; the next backup has it and drops the log that it stands for.
    system.ok(&["pack"]);
    system.ok(&["set", "thing", "n", "2"]);
    system.ok(&["backup", shown(&backup)]);
    let state = digest(&system);
    let names: Vec<_> = fs::read_dir(backup.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let packed = restored(&backup);
    assert_eq!(digest(&packed), state);
    assert_eq!(packed.inspect("thing")["slots"]["n"]["value"], 2);
}

#[test]
fn a_backup_runs_while_others_write_and_a_killed_one_leaves_the_former() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=0", "--name", "thing"]);
    let backup = system.folder().join("backup");
    system.ok(&["backup", shown(&backup)]);
    for index in 0..4 {
        let film = content(&system, &format!("film{index}"), (24 << 20) + index);
        system.ok(&["blob", "put", shown(&film)]);
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut client = system.client(Duration::from_secs(30));
        let is_over = &is_over;
        scope.spawn(move || {
            let mut n = 0;
            while !is_over.load(Ordering::SeqCst) {
                n += 1;
                let call = Call::Set {
                    object: "thing".into(),
                    slot: "n".into(),
                    value: Value::Int(n),
                };
                client.call(call, None).unwrap();
            }
        });
        // Also when it panics, so that the writer ends.
        let _over = SetOnDrop(is_over);
        let former = fs::read(backup.join("manifest.json")).unwrap();
        let kernel = system.kernel_pid();
        let mut backing = Command::new(program("batos"))
            .arg("--home")
            .arg(system.home())
            .args(["backup", shown(&backup)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("some of it is copied", || {
            backup.join("new").exists().then_some(())
        });
        // The command too, which would give the request again to the next kernel.
        backing.kill().unwrap();
        backing.wait().unwrap();
        kill(Pid::from_raw(kernel), Signal::SIGKILL).unwrap();
        until("the kernel is gone", || is_gone(kernel).then_some(()));
        let between = fs::read(backup.join("manifest.json")).unwrap();
        let other = System::without_model();
        other.ok(&["restore", shown(&backup)]);
        let whole = system.ok(&["backup", shown(&backup)]);
        assert_eq!(whole["blobs"], 4, "{whole}");
        assert_eq!(former, between, "the kill came too late to say anything");
        let other = other.up();
        assert_eq!(other.inspect("thing")["slots"]["n"]["value"], 0);
        digest(&other);
    });
    let state = restored(&backup);
    digest(&state);
    assert_eq!(state.status()["kernel"]["blobs"], 4);
}

#[test]
fn what_does_not_fit_is_refused() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=0", "--name", "thing"]);
    let film = content(&system, "film", 100_000);
    system.ok(&["blob", "put", shown(&film), "--object", "thing", "--slot", "film"]);
    let backup = system.folder().join("backup");
    system.ok(&["backup", shown(&backup)]);

    // Another image, another folder's files, the image itself.
    let other = System::without_model().up();
    let refused = other.refused(&["backup", shown(&backup)], "bad_argument");
    assert!(text(&refused["message"]).contains("another image"), "{refused}");
    other.refused(&["backup", shown(other.folder())], "bad_argument");
    other.refused(&["backup", shown(&other.home().join("image/b"))], "bad_argument");

    // Another history of the same image.
    let twin = restored(&backup);
    system.ok(&["set", "thing", "n", "1"]);
    system.ok(&["backup", shown(&backup)]);
    for _ in 0..5 {
        twin.ok(&["set", "thing", "n", "2"]);
    }
    let refused = twin.refused(&["backup", shown(&backup)], "bad_argument");
    assert!(text(&refused["message"]).contains("another history"), "{refused}");

    // A home where something runs, or where an image is.
    assert_eq!(twin.batos(&["restore", shown(&backup)]).code, 4);
    twin.ok(&["down"]);
    assert_eq!(twin.batos(&["restore", shown(&backup)]).code, 5);
    assert_eq!(
        twin.batos(&["restore", shown(twin.folder()), "--replace"]).code,
        5
    );
    let replaced = twin.ok(&["restore", shown(&backup), "--replace"]);
    assert!(Path::new(text(&replaced["moved_aside"])).join("log").is_dir());
    twin.start();
    assert_eq!(twin.inspect("thing")["slots"]["n"]["value"], 1);

    // A backup that was damaged: nothing is restored.
    let segment = backup.join("log/00000000000000000001.log");
    for damaged in [segment, blob_of(&backup)] {
        let before = fs::read(&damaged).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&damaged).unwrap();
        file.write_all_at(&[before[500] ^ 1], 500).unwrap();
        let fresh = System::without_model();
        let reply = fresh.batos(&["restore", shown(&backup)]);
        assert_eq!(reply.code, 5, "{reply:?}");
        assert!(text(&reply.document["message"]).contains("damaged"), "{reply:?}");
        assert!(!fresh.home().join("image").exists());
        file.write_all_at(&[before[500]], 500).unwrap();
    }

    // A damaged blob of the image is left out and told, and the rest is backed up.
    let kept = blob_of(&system.home().join("image"));
    fs::write(&kept, "short").unwrap();
    fs::remove_file(blob_of(&backup)).unwrap();
    let reply = system.batos(&["backup", shown(&backup)]);
    assert_eq!(
        (reply.code, &reply.document["ok"]),
        (1, &Json::Bool(false)),
        "{reply:?}"
    );
    assert_eq!(
        reply.document["damaged"].as_array().unwrap().len(),
        1,
        "{reply:?}"
    );
}

fn blob_of(folder: &Path) -> PathBuf {
    let blobs = fs::read_dir(folder.join("blobs")).unwrap();
    let inside = blobs
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap() != "new")
        .unwrap();
    fs::read_dir(inside).unwrap().next().unwrap().unwrap().path()
}
