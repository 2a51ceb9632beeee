//! Damaged files: every byte of the small ones flipped, samples of the large ones, each file cut short. What is told must name the
//! file; nothing panics, nothing ends by a signal, nothing wrong is taken for right.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;

use crate::faults::scratch;
use crate::harness::{System, program, text, until};

/// Bytes of larger files are sampled.
const FLIPPED_OF_ONE_FILE: usize = 600;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(u64, u8),
    Cut(u64),
}

impl Damage {
    fn inflict(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Damage::Flip(at, mask) => bytes[at as usize] ^= mask,
            Damage::Cut(length) => bytes.truncate(length as usize),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// What may come of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Allowed {
    /// It must be told, with the file's name.
    Told,
    /// It may also be mended or mean nothing; what is there must be as it was.
    ToldOrNothing,
}

/// A program that has ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str]) -> Ended {
    let output = Command::new(program("kernel")).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), None, "{arguments:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr,
    }
}

fn verify(image: &Path) -> Ended {
    run(&["verify", "--json", "--image", image.to_str().unwrap()])
}

fn document(ended: &Ended) -> Json {
    serde_json::from_str(&ended.stdout).unwrap_or(Json::Null)
}

/// A home with every kind of record, and a backup of it; nothing runs.
fn whole() -> System {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=0", "--name", "thing"]);
    system.defined(
        "thing",
        "def count(self):\n    self.n = self.n + 1\n    self._p_changed = True\n    return self.n\n",
    );
    system.defined(
        "thing",
        "def note(self, key, value):\n    self[key] = value\n    self._p_changed = True\n    return len(self)\n",
    );
    let film = system.folder().join("film");
    fs::write(&film, "a short film about a lamp").unwrap();
    let round = |name: &str| {
        system.ok(&["new", "traits", "--name", name]);
        // Nobody reaches it: the next pack collects it.
        system.ok(&["new", "traits", "lost=1"]);
        system.ok(&["send", "thing", "count"]);
        system.ok(&["send", "thing", "note", &format!("\"{name}\""), "1"]);
        let gone = system.ok(&["set", name, "gone", "1"]);
        system.ok(&["undo", &gone["transaction"].to_string()]);
        // There is no model: a mission that fails.
        assert_eq!(system.batos(&["send", name, "nobody_knows"]).code, 1);
        system.ok(&[
            "blob",
            "put",
            film.to_str().unwrap(),
            "--object",
            name,
            "--slot",
            "film",
        ]);
    };
    round("first");
    system.ok(&["pack"]);
    round("second");
    let backup = system.folder().join("backup");
    system.ok(&["backup", backup.to_str().unwrap()]);
    system.ok(&["down"]);
    system
}

/// Every file of a kind under a folder.
fn files(folder: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, is_wanted));
        } else if is_wanted(path.to_str().unwrap()) {
            found.push(path);
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => fs::copy(entry.path(), target).map(|_| ()).unwrap(),
        }
    }
}

/// Flips of all of the first `used` bytes, or of samples, and cuts.
fn damages(used: u64, length: u64) -> Vec<Damage> {
    let step = (used as usize).div_ceil(FLIPPED_OF_ONE_FILE).max(1);
    let flips = (0..used)
        .step_by(step)
        .map(|at| Damage::Flip(at, [0x01, 0x80, 0xff][at as usize % 3]));
    let cuts = [0, 1, used / 3, used / 2, used.saturating_sub(1)];
    flips
        .chain(cuts.into_iter().filter(|at| *at < length).map(Damage::Cut))
        .collect()
}

/// Does every damage to a copy each, by `judge`; panics with what was wrong.
fn each_damage(
    source: &Path,
    file: &Path,
    damages: &[Damage],
    judge: impl Fn(&Path, Damage) -> Result<(), String> + Sync,
) {
    let name = file.strip_prefix(source).unwrap();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(damage) = damages.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let folder = scratch();
                    let victim = folder.path().join("victim");
                    copy(source, &victim);
                    damage.inflict(&victim.join(name));
                    if let Err(what) = judge(&victim, *damage) {
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("{} {damage:?}: {what}", name.display()));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    eprintln!(
        "{}: {} damages, {} wrong",
        name.display(),
        damages.len(),
        wrong.len()
    );
    let shown: Vec<&String> = wrong.iter().take(8).collect();
    assert!(wrong.is_empty(), "{} wrong: {shown:#?}", wrong.len());
}

/// Verifies a damaged image: told by name, or all there.
fn judged(victim: &Path, file: &Path, allowed: Allowed, true_digest: &str) -> Result<(), String> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let ended = verify(victim);
    let told = match ended.code {
        1 => document(&ended)["faults"].to_string(),
        5 => ended.stderr.clone(),
        0 => String::new(),
        _ => return Err(format!("{ended:?}")),
    };
    let is_as_it_was = document(&ended)["digest"] == true_digest;
    match (told.contains(name), allowed) {
        (true, _) => Ok(()),
        (false, Allowed::ToldOrNothing) if ended.code == 0 && is_as_it_was => Ok(()),
        _ => Err(format!("{ended:?}")),
    }
}

#[test]
fn damage_of_the_log_is_told_by_file_and_place() {
    let system = whole();
    let image = system.home().join("image");
    let digest = text(&document(&verify(&image))["digest"]).to_owned();
    for file in files(&image.join("log"), &|path| {
        path.ends_with(".log") || path.ends_with(".base")
    }) {
        let bytes = fs::read(&file).unwrap();
        // The zeros after the records hold nothing.
        let used = 1 + bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
        each_damage(
            &image,
            &file,
            &damages(used, bytes.len() as u64),
            |victim, damage| {
                judged(victim, &file, Allowed::Told, &digest)?;
                if matches!(damage, Damage::Cut(_)) && file.extension().unwrap() == "log" {
                    // Only the index knows that there was more: a newest segment that is cut short looks like a power cut.
                    return Ok(());
                }
                // What cannot be read is never opened, with the index or without.
                let _ = fs::remove_dir_all(victim.join("index"));
                let again = verify(victim);
                match again.code {
                    5 => Ok(()),
                    _ => Err(format!("{damage:?} without an index: {again:?}")),
                }
            },
        );
    }
}

#[test]
fn damage_of_contents_and_of_the_epoch_is_told_or_means_nothing() {
    let system = whole();
    let image = system.home().join("image");
    let digest = text(&document(&verify(&image))["digest"]).to_owned();
    let blobs = files(&image.join("blobs"), &|_| true);
    assert!(!blobs.is_empty());
    for file in blobs {
        let length = fs::metadata(&file).unwrap().len();
        each_damage(&image, &file, &damages(length, length), |victim, _| {
            judged(victim, &file, Allowed::Told, &digest)
        });
    }
    for name in ["epoch", "index/lock.mdb"] {
        let file = image.join(name);
        let length = fs::metadata(&file).unwrap().len();
        each_damage(&image, &file, &damages(length, length), |victim, _| {
            judged(victim, &file, Allowed::ToldOrNothing, &digest)
        });
    }
}

/// LMDB itself trusts its file. Verification looks through it in another process first; whatever is wrong with it, another one is made.
#[test]
fn damage_of_the_index_is_told_and_mended() {
    let system = whole();
    let image = system.home().join("image");
    let digest = text(&document(&verify(&image))["digest"]).to_owned();
    let file = image.join("index/data.mdb");
    let length = fs::metadata(&file).unwrap().len();
    let mut damages = damages(length, length);
    // The heads of the pages hold what LMDB trusts most.
    for page in 0..length / 4096 {
        damages.extend([8, 10, 12, 14, 16, 18, 20, 22].map(|at| Damage::Flip(page * 4096 + at, 0xff)));
        damages.push(Damage::Cut(page * 4096));
    }
    let told = AtomicUsize::new(0);
    each_damage(&image, &file, &damages, |victim, _| {
        let ended = verify(victim);
        told.fetch_add(usize::from(ended.code == 1), Ordering::SeqCst);
        let found = document(&ended);
        if ended.code > 1 || found["digest"] != digest.as_str() {
            return Err(format!("{ended:?}"));
        }
        let again = verify(victim);
        match again.code {
            0 if document(&again)["digest"] == digest.as_str() => Ok(()),
            1 if !found["faults"].to_string().contains("data.mdb") => {
                // Found by comparing alone: `batos reindex` mends it, as the fault says.
                let mended = run(&["reindex", "--image", victim.to_str().unwrap()]);
                match (mended.code, verify(victim).code) {
                    (0, 0) => Ok(()),
                    codes => Err(format!("{codes:?} {mended:?}")),
                }
            }
            _ => Err(format!("again: {again:?}")),
        }
    });
    eprintln!("{told:?} of {} told", damages.len());
    assert!(told.into_inner() > 50);
}

/// A kernel that its index ends comes back by itself with another index.
#[test]
fn a_kernel_that_its_index_ends_comes_back() {
    let system = whole();
    let file = system.home().join("image/index/data.mdb");
    let bytes = fs::metadata(&file).unwrap().len();
    // Cut behind its first pages: reading the rest ends the process.
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(3 * 4096)
        .unwrap();
    assert!(bytes > 10 * 4096);
    system.start();
    assert_eq!(system.inspect("thing")["slots"]["n"]["value"], 2);
    // Ended by a fault in memory while it runs: the next makes the index anew.
    let aside = system.home().join("image/index.damaged");
    fs::remove_dir_all(&aside).unwrap();
    kill(Pid::from_raw(system.kernel_pid()), Signal::SIGABRT).unwrap();
    until("the index was set aside", || aside.is_dir().then_some(()));
    assert_eq!(system.inspect("thing")["slots"]["n"]["value"], 2);
    assert_eq!(system.ok(&["verify"])["faults"], serde_json::json!([]));
}

#[test]
fn damage_of_a_backup_is_told_before_anything_is_restored() {
    let system = whole();
    let backup = system.folder().join("backup");
    let image = system.home().join("image");
    let digest = text(&document(&verify(&image))["digest"]).to_owned();
    let kept = files(&backup, &|path| !path.ends_with("/lock"));
    assert!(kept.len() > 3, "{kept:?}");
    for file in kept {
        let length = fs::metadata(&file).unwrap().len();
        let is_manifest = file.ends_with("manifest.json");
        each_damage(&backup, &file, &damages(length, length), |victim, damage| {
            let image = victim.with_file_name("image");
            let ended = run(&[
                "restore",
                "--image",
                image.to_str().unwrap(),
                "--from",
                victim.to_str().unwrap(),
            ]);
            match ended.code {
                5 if !image.exists()
                    && ended.stderr.contains(file.file_name().unwrap().to_str().unwrap()) =>
                {
                    Ok(())
                }
                // The white space of a manifest says nothing.
                0 if is_manifest && document(&verify(&image))["digest"] == digest.as_str() => {
                    let is_space = matches!(damage, Damage::Flip(..))
                        || matches!(damage, Damage::Cut(at) if at == length - 1);
                    is_space.then_some(()).ok_or(format!("{ended:?}"))
                }
                _ => Err(format!("{ended:?}")),
            }
        });
    }
}
