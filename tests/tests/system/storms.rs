//! kill -9 in the middle of packs, backups, reindexing and restoring, again and again: nothing acknowledged is lost, what was interrupted
//! can be done again, and a backup that was interrupted many times is restored to the same digest.
//!
//! `BATOS_KILLS=200` for the long form, `BATOS_KILL_SEED` to repeat one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;

use crate::faults::scratch;
use crate::harness::{number, program};

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn rounds() -> u64 {
    variable("BATOS_KILLS").unwrap_or(25)
}

/// A random number below a bound, of a seed that is told.
fn random() -> impl FnMut(u64) -> u64 {
    let mut state = variable("BATOS_KILL_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1);
    eprintln!("BATOS_KILL_SEED={state}");
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound.max(1)
    }
}

fn kernel(arguments: &[&str], paths: &[(&str, &Path)]) -> Command {
    let mut command = Command::new(program("kernel"));
    command.args(arguments).env("RUST_LOG", "warn");
    for (name, path) in paths {
        command.arg(name).arg(path);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn done(arguments: &[&str], paths: &[(&str, &Path)]) -> Output {
    let output = kernel(arguments, paths).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output
}

fn verified(image: &Path) -> Json {
    let output = done(&["verify", "--json"], &[("--image", image)]);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Kills a process after so many microseconds; answers whether it was still at work.
fn killed_after(child: &mut Child, pause_us: u64) -> bool {
    // Not to wait for anything: to hit another moment each time.
    thread::sleep(Duration::from_micros(pause_us));
    let was_at_work = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    was_at_work
}

#[test]
fn killed_packs_and_backups_can_be_done_again() {
    let folder = scratch();
    let (image, backup) = (folder.path().join("image"), folder.path().join("backup"));
    let paths: [(&str, &Path); 2] = [("--image", &image), ("--backup", &backup)];
    let mut random = random();
    let (mut acknowledged, mut packed, mut backed) = (0, 0, 0);
    for round in 0..rounds().div_ceil(2) {
        let seed = (random(1 << 30) + 1).to_string();
        let mut child = kernel(
            &["exercise", "--packs", "--transactions", "100000", "--seed", &seed],
            &paths,
        )
        .spawn()
        .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reading = thread::spawn(move || output.lines().map_while(Result::ok).collect::<Vec<String>>());
        assert!(
            killed_after(&mut child, 20_000 + random(200_000)),
            "it ended by itself"
        );
        for line in reading.join().unwrap() {
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match word {
                // A line may be cut by the kill: then it is a smaller number.
                "acknowledged" => acknowledged = acknowledged.max(rest.parse().unwrap_or(0)),
                "packed" => packed += 1,
                "backed" => backed += 1,
                _ => panic!("{line}"),
            }
        }
        let found = verified(&image);
        assert!(
            number(&found["last"]) >= acknowledged,
            "round {round}: {acknowledged} {found}"
        );
    }
    eprintln!("{acknowledged} acknowledged, {packed} packs and {backed} backups ended");
    assert!(acknowledged > 100 && packed > 0 && backed > 0);
    // To the end once more, with a backup as the last thing.
    loop {
        let output = done(&["exercise", "--packs", "--transactions", "60"], &paths);
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(!told.contains("failed"), "{told}");
        if told.contains("backed") {
            break;
        }
    }
    let restored = folder.path().join("restored/image");
    done(
        &["restore", "--json"],
        &[("--image", &restored), ("--from", &backup)],
    );
    let found = verified(&restored);
    // The backup is of a moment of the load: the image at that moment has the same chain hash.
    let chains = done(&["verify", "--json", "--chains"], &[("--image", &image)]);
    let chains: Json = serde_json::from_slice(&chains.stdout).unwrap();
    let there = &chains["chains"][number(&found["last"]).to_string()];
    assert!(there.is_null() || *there == found["chain"], "{found}");
}

#[test]
fn killed_reindexing_and_restoring_can_be_done_again() {
    let folder = scratch();
    let (image, backup) = (folder.path().join("image"), folder.path().join("backup"));
    let paths: [(&str, &Path); 2] = [("--image", &image), ("--backup", &backup)];
    let mut random = random();
    done(
        &["exercise", "--packs", "--transactions", "4000", "--seed", "5"],
        &paths,
    );
    let digest = verified(&image)["digest"].clone();
    let timed = |arguments: &[&str], paths: &[(&str, &Path)]| {
        let begun = Instant::now();
        done(arguments, paths);
        begun.elapsed().as_micros() as u64
    };
    let reindexed = [("--image", image.as_path())];
    let length_us = timed(&["reindex"], &reindexed);
    let mut at_work = 0;
    for round in 0..rounds() {
        let mut child = kernel(&["reindex"], &reindexed).spawn().unwrap();
        at_work += u64::from(killed_after(&mut child, random(length_us)));
        if round % 3 == 0 {
            assert_eq!(verified(&image)["digest"], digest, "round {round}");
        }
    }
    done(&["reindex"], &reindexed);
    assert_eq!(verified(&image)["digest"], digest);

    // What the restored one comes to is said by a restore that nobody kills.
    let first = folder.path().join("first/image");
    let length_us = timed(&["restore"], &[("--image", &first), ("--from", &backup)]);
    let digest = verified(&first)["digest"].clone();
    let second = folder.path().join("second/image");
    for round in 0..rounds() {
        let restoring = [("--image", second.as_path()), ("--from", backup.as_path())];
        let mut child = kernel(&["restore"], &restoring).spawn().unwrap();
        at_work += u64::from(killed_after(&mut child, random(length_us)));
        // Nothing, or all of it.
        if second.exists() {
            assert_eq!(verified(&second)["digest"], digest, "round {round}");
            fs::remove_dir_all(&second).unwrap();
        }
    }
    done(&["restore"], &[("--image", &second), ("--from", &backup)]);
    assert_eq!(verified(&second)["digest"], digest);
    assert!(!second.with_file_name("image.restoring").exists());
    eprintln!("{at_work} of {} kills while it was at work", 2 * rounds());
    assert!(at_work > rounds() / 2);
}
