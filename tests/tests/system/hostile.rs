//! Hostile and broken input in the inbox: each thing is refused or survived with a result that says so, and the kernel serves on.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Pid, Uid, chown, mkfifo};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::full_disk::{fill, small_disk};
use crate::harness::{System, program, repository, text, until};

const CONFIGURATION: &str = "[handover]\nprobation_ms = 100\n";
const JUNK: u32 = 100_000;

fn inbox(system: &System) -> PathBuf {
    system.home().join("channel/inbox")
}

fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A copy of the kernel, made different by a tail, as the target of an instruction.
fn target(system: &System, tail: &str) -> Json {
    let path = system.folder().join(format!("kernel-{tail}"));
    let mut bytes = fs::read(program("kernel")).unwrap();
    bytes.extend(tail.as_bytes());
    fs::write(&path, &bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let digits: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({"kind": "kernel", "path": path, "digest": format!("sha256:{digits}")})
}

fn instruction(id: &str, target: &Json) -> Json {
    json!({"schema": 2, "id": id, "created": unix_seconds(), "target": target})
}

/// Written aside, then renamed into the inbox.
fn drop_in(system: &System, name: &str, bytes: &str) {
    let aside = inbox(system).join(format!(".{name}"));
    fs::write(&aside, bytes).unwrap();
    fs::rename(aside, inbox(system).join(format!("{name}.json"))).unwrap();
}

fn result(system: &System, name: &str) -> Json {
    let path = system.home().join(format!("channel/results/{name}.result.json"));
    until(&format!("a result {name}"), || {
        serde_json::from_slice(&fs::read(&path).ok()?).ok()
    })
}

fn check(system: &System, name: &str, outcome: &str, reason: &str) {
    let result = result(system, name);
    assert_eq!(
        (&result["outcome"], &result["reason"]),
        (&json!(outcome), &json!(reason)),
        "{name}: {result}"
    );
    assert!(text(&result["message"]).len() > 8, "{name}: {result}");
}

fn steward(system: &System) -> i32 {
    let processes = system.processes();
    processes.iter().find(|(name, _)| *name == "steward").unwrap().1
}

#[test]
fn what_is_no_plain_file_of_ones_own_is_refused_or_left_alone() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let before = system.kernel_pid();
    let target = target(&system, "never");
    let good = instruction("never", &target).to_string();
    let aside = system.folder().join("aside.json");
    fs::write(&aside, &good).unwrap();
    let inbox = inbox(&system);
    symlink(&aside, inbox.join("link.json")).unwrap();
    symlink("/nowhere", inbox.join("dangling.json")).unwrap();
    symlink("/dev/zero", inbox.join("device-link.json")).unwrap();
    mkfifo(&inbox.join("pipe.json"), Mode::S_IRWXU).unwrap();
    fs::create_dir(inbox.join("folder.json")).unwrap();
    let mut left = vec!["folder.json", "pipe.json"];
    for (name, mode) in [("group", 0o664), ("all", 0o666)] {
        let path = inbox.join(format!(".{name}"));
        fs::write(&path, &good).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(path, inbox.join(format!("{name}.json"))).unwrap();
    }
    if Uid::effective().is_root() {
        let path = inbox.join(".stranger");
        fs::write(&path, &good).unwrap();
        chown(&path, Some(Uid::from_raw(65_534)), None).unwrap();
        fs::rename(path, inbox.join("stranger.json")).unwrap();
        let device = inbox.join("device.json");
        if mknod(&device, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5)).is_ok() {
            left.insert(0, "device.json");
        }
        check(&system, "stranger", "refused", "not_trusted");
    } else {
        eprintln!("SKIPPED without root: a file of another user, a device");
    }
    // 64 MiB of which no block is written, and as many of blanks.
    fs::File::create(inbox.join(".sparse"))
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    fs::rename(inbox.join(".sparse"), inbox.join("sparse.json")).unwrap();
    drop_in(&system, "blanks", &" ".repeat(64 << 20));
    drop_in(&system, "half", &good[..good.len() / 2]);
    fs::write(inbox.join("slow.json"), &good[..20]).unwrap();
    for (name, reason) in [
        ("link", "not_a_file"),
        ("dangling", "not_a_file"),
        ("device-link", "not_a_file"),
        ("group", "not_trusted"),
        ("all", "not_trusted"),
        ("sparse", "too_large"),
        ("blanks", "too_large"),
        ("half", "malformed"),
        ("slow", "malformed"),
    ] {
        check(&system, name, "refused", reason);
    }
    assert!(aside.exists(), "the link's target");
    let mut names: Vec<String> = fs::read_dir(&inbox)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, left);
    assert_eq!(system.kernel_pid(), before);
}

#[test]
fn two_at_once_and_the_same_id_twice() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let (one, two) = (target(&system, "one"), target(&system, "two"));
    drop_in(&system, "a", &instruction("a", &one).to_string());
    drop_in(&system, "b", &instruction("b", &two).to_string());
    check(&system, "a", "applied", "applied");
    check(&system, "b", "applied", "applied");
    let (a, b) = (result(&system, "a"), result(&system, "b"));
    assert!(
        b["steps"][0]["begun"].as_u64() >= a["ended"].as_u64(),
        "one after the other: {a} {b}"
    );
    let serves = system.kernel_pid();
    drop_in(&system, "again", &instruction("a", &two).to_string());
    check(&system, "again", "refused", "replayed");
    assert_eq!(system.kernel_pid(), serves);
    // A way back, by the command line.
    let back = system.ok(&["upgrade", "rollback"]);
    assert_eq!(back["result"]["outcome"], "applied", "{back}");
    let status = system.ok(&["upgrade", "status"]);
    assert_eq!(
        (&status["running"], &status["waiting"]),
        (&Json::Null, &json!([]))
    );
    assert_eq!(status["last"]["id"], back["result"]["id"]);
    let list = system.ok(&["upgrade", "list"]);
    assert_eq!(list["results"].as_array().unwrap().len(), 4, "{list}");
    // Steps before the switch; the image has no fault, and the copy is a backup.
    let backup = system.folder().join("backup");
    let submitted = system.ok(&[
        "upgrade",
        "submit",
        "--kernel",
        one["path"].as_str().unwrap(),
        "--verify",
        "--backup",
        backup.to_str().unwrap(),
    ]);
    let steps: Vec<&str> = submitted["result"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| text(&step["step"]))
        .collect();
    assert_eq!(steps[..3], ["verify", "backup", "stage"], "{submitted}");
    assert!(backup.join("manifest.json").exists() || fs::read_dir(&backup).unwrap().count() > 0);
}

#[test]
fn a_good_instruction_is_applied_among_junk() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let good = instruction("good", &target(&system, "good")).to_string();
    let aside = inbox(&system).join(".good");
    fs::write(&aside, good).unwrap();
    for number in 0..JUNK {
        if number == JUNK / 2 {
            fs::rename(&aside, inbox(&system).join("good.json")).unwrap();
        }
        fs::write(inbox(&system).join(format!("junk-{number}.json")), "{junk").unwrap();
    }
    let renamed = fs::metadata(inbox(&system).join("junk-50000.json"))
        .and_then(|data| data.modified())
        .ok();
    let result = result(&system, "good");
    assert_eq!(result["outcome"], "applied", "{result}");
    let begun = result["begun"].as_u64().unwrap();
    let took_ms = result["ended"].as_u64().unwrap() - begun;
    let waited_ms = renamed.map(|at| {
        let at_ms = at.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        begun.saturating_sub(at_ms)
    });
    eprintln!("claimed after {waited_ms:?} ms, applied in {took_ms} ms more");
    assert!(
        waited_ms.unwrap_or(0) + took_ms <= 5000,
        "{waited_ms:?} {took_ms}: {result}"
    );
    // The junk is being refused meanwhile, each with its result.
    until("junk is refused", || {
        let results = fs::read_dir(system.home().join("channel/results")).unwrap();
        (results.count() > 2000).then_some(())
    });
    drop_in(
        &system,
        "better",
        &instruction("better", &target(&system, "better")).to_string(),
    );
    let begun = Instant::now();
    check(&system, "better", "applied", "applied");
    eprintln!("the next one took {:?}", begun.elapsed());
    assert!(begun.elapsed() <= Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// The queue of file events runs over while the steward stands still.
#[test]
fn an_overflow_of_events_loses_nothing() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let limit: u32 = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(16_384);
    let steward = steward(&system);
    let good = instruction("good", &target(&system, "good")).to_string();
    kill(Pid::from_raw(steward), Signal::SIGSTOP).unwrap();
    // Each is created, written and closed.
    for number in 0..limit / 2 {
        fs::write(inbox(&system).join(format!("note-{number}.txt")), "x").unwrap();
    }
    drop_in(&system, "good", &good);
    kill(Pid::from_raw(steward), Signal::SIGCONT).unwrap();
    let begun = Instant::now();
    check(&system, "good", "applied", "applied");
    assert!(begun.elapsed() <= Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_clock_that_jumps_is_told_and_survived() {
    let system = System::without_model().configure(CONFIGURATION);
    let library = system.folder().join("clock.so");
    let compiled = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([&library, &repository().join("tests/faults/clock.c")])
        .status()
        .unwrap();
    assert!(compiled.success());
    let clock = system.folder().join("clock");
    let set = |seconds: i64| {
        fs::write(clock.with_extension("new"), seconds.to_string()).unwrap();
        fs::rename(clock.with_extension("new"), &clock).unwrap();
    };
    set(0);
    let started = Command::new(program("batos"))
        .arg("--home")
        .arg(system.home())
        .arg("up")
        .env("BATOS_SEED", "/nonexistent/seed")
        .env("LD_PRELOAD", &library)
        .env("CLOCK_FILE", &clock)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(started.success());
    let serves = system.kernel_pid();
    let target = target(&system, "good");
    set(-86_400);
    drop_in(&system, "back", &instruction("back", &target).to_string());
    check(&system, "back", "refused", "from_future");
    set(86_400);
    let mut late = instruction("forth", &target);
    late["expires"] = json!(unix_seconds() + 3600);
    drop_in(&system, "forth", &late.to_string());
    check(&system, "forth", "refused", "expired");
    // A file that is being written in place while the clock jumps is still given its time.
    let mut slow = fs::File::create(inbox(&system).join("slow.json")).unwrap();
    let good = instruction("slow", &target).to_string();
    let half = good.len() / 2;
    slow.write_all(&good.as_bytes()[..half]).unwrap();
    set(0);
    slow.write_all(&good.as_bytes()[half..]).unwrap();
    drop(slow);
    assert_eq!(system.kernel_pid(), serves);
    check(&system, "slow", "applied", "applied");
}

#[test]
fn a_full_disk_holds_an_instruction_up_and_nothing_else() {
    let Some(disk) = small_disk("hostile::a_full_disk_holds_an_instruction_up_and_nothing_else") else {
        return;
    };
    let system = System::without_model().configure(CONFIGURATION).up();
    let serves = system.kernel_pid();
    let digits = "0".repeat(64);
    let target = json!({"kind": "kernel", "path": "/bin/true", "digest": format!("blake3:{digits}")});
    let aside = |name: &str| inbox(&system).join(format!(".{name}"));
    fs::write(aside("full"), instruction("full", &target).to_string()).unwrap();
    let ballast = fill(&disk);
    fs::rename(aside("full"), inbox(&system).join("full.json")).unwrap();
    until("it is claimed", || {
        (!inbox(&system).join("full.json").exists()).then_some(())
    });
    // Longer than the steward waits before it tries again.
    thread::sleep(Duration::from_secs(1));
    assert!(!system.home().join("channel/results/full.result.json").exists());
    assert_eq!(system.kernel_pid(), serves);
    fs::remove_file(&ballast).unwrap();
    check(&system, "full", "failed", "not_recorded");
    // Room for the journal, none for a copy.
    fs::write(
        aside("copy"),
        instruction(
            "copy",
            &json!({"kind": "kernel", "path": program("kernel"), "digest": format!("blake3:{digits}")}),
        )
        .to_string(),
    )
    .unwrap();
    let ballast = fill(&disk);
    let room = fs::metadata(&ballast).unwrap().len() - (1 << 20);
    fs::File::options()
        .write(true)
        .open(&ballast)
        .unwrap()
        .set_len(room)
        .unwrap();
    fs::rename(aside("copy"), inbox(&system).join("copy.json")).unwrap();
    check(&system, "copy", "failed", "program_unusable");
    assert!(text(&result(&system, "copy")["message"]).contains("No space left"));
    assert_eq!(system.kernel_pid(), serves);
    assert!(leftovers(&system.home().join("planks")).is_empty());
}

fn leftovers(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "current.json")
        .collect()
}
