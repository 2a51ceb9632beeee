//! Writes, syncs and names that fail, at every point of a load in turn: nothing acknowledged is lost, nothing panics, the error is
//! told, and the next kernel goes on. The calls are made to fail by `tests/faults/faults.c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::harness::{number, program, repository};

const TRANSACTIONS: &str = "60";
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What fails, and how.
struct Fault {
    /// As `faults.c` tells them.
    kinds: &'static str,
    error: i32,
    /// All later ones, too.
    stays: bool,
    /// One call in so many is tried.
    step: usize,
}

/// A folder in memory where there is one: a sweep syncs often.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => tempfile::Builder::new().prefix("batfault").tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    made.unwrap()
}

fn library(folder: &Path) -> PathBuf {
    let library = folder.join("faults.so");
    let compiled = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([&library, &repository().join("tests/faults/faults.c")])
        .arg("-lpthread")
        .status()
        .unwrap();
    assert!(compiled.success());
    library
}

/// One image that is exercised, packed and backed up while a call of it fails.
struct Trial<'a> {
    library: &'a Path,
    folder: TempDir,
}

impl Trial<'_> {
    fn new(library: &Path) -> Trial<'_> {
        let folder = scratch();
        fs::create_dir_all(folder.path().join("image")).unwrap();
        Trial { library, folder }
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn exercise(&self, fault: Option<(&Fault, usize)>, transactions: &str) -> Output {
        let mut command = Command::new(program("kernel"));
        command
            .arg("exercise")
            .arg("--image")
            .arg(self.image())
            .args([
                "--transactions",
                transactions,
                "--seed",
                "3",
                "--packs",
                "--backup",
            ])
            .arg(self.folder.path().join("backup"))
            .env("RUST_LOG", "warn");
        if let Some((fault, at)) = fault {
            command
                .env("LD_PRELOAD", self.library)
                .env("FAULTS_FOLDER", self.folder.path())
                .env("FAULTS_REPORT", self.report())
                .env("FAULTS_KINDS", fault.kinds)
                .env("FAULTS_ERROR", fault.error.to_string())
                .env("FAULTS_AT", at.to_string());
            if fault.stays {
                command.env("FAULTS_ON", "1");
            }
        }
        command.output().unwrap()
    }

    /// Beside the folder whose calls fail.
    fn report(&self) -> PathBuf {
        self.folder.path().with_extension("report")
    }

    fn told(&self) -> String {
        fs::read_to_string(self.report()).unwrap_or_default()
    }

    fn verify(&self) -> Json {
        let output = Command::new(program("kernel"))
            .args(["verify", "--json", "--image"])
            .arg(self.image())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.report());
    }
}

fn acknowledged(output: &Output) -> u64 {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok())
        .max()
        .unwrap_or(0)
}

/// Lets one call after the other fail. Answers how often the kernel gave up.
fn sweep(fault: &Fault) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let whole = Trial::new(&library);
    let output = whole.exercise(Some((fault, 0)), TRANSACTIONS);
    assert!(output.status.success(), "{output:?}");
    let calls: usize = whole
        .told()
        .lines()
        .find_map(|line| line.strip_prefix("calls ")?.parse().ok())
        .unwrap();
    let (next, gave_up) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = 1 + next.fetch_add(1, Ordering::SeqCst) * fault.step;
                    if at > calls {
                        return;
                    }
                    let code = one(&library, fault, at);
                    gave_up.fetch_add(usize::from(code != 0), Ordering::SeqCst);
                }
            });
        }
    });
    eprintln!(
        "{} {}: {} of {calls} calls, the kernel gave up {:?} times",
        fault.kinds,
        fault.error,
        calls.div_ceil(fault.step),
        gave_up
    );
    gave_up.into_inner()
}

fn one(library: &Path, fault: &Fault, at: usize) -> i32 {
    let trial = Trial::new(library);
    let output = trial.exercise(Some((fault, at)), TRANSACTIONS);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let told = trial.told();
    let about = format!("{} {} at {at}: {stderr}{told}", fault.kinds, fault.error);
    // The exit status of a home that cannot be used; never a signal, never a panic.
    let code = output.status.code().unwrap_or_else(|| panic!("{about}"));
    assert!(code == 0 || code == 5, "{code}: {about}");
    assert!(!stderr.contains("panicked"), "{about}");
    if code == 5 {
        let words = std::io::Error::from_raw_os_error(fault.error).to_string();
        let words = words.split(" (").next().unwrap();
        assert!(stderr.contains(words), "{about}");
    }
    let failed_log_sync = told
        .lines()
        .any(|line| line.starts_with("failed s ") && line.contains("/image/log/") && line.ends_with(".log"));
    if failed_log_sync && !fault.stays {
        assert_eq!(code, 5, "it went on after a failed sync of the log: {about}");
    }
    let again = told
        .lines()
        .find(|line| line.starts_with("again ") && line.contains("/image/log"));
    assert_eq!(again, None, "{about}");
    let verified = trial.verify();
    assert_eq!(verified["ok"], true, "{verified} {about}");
    let acknowledged = acknowledged(&output);
    assert!(
        number(&verified["last"]) >= acknowledged,
        "{acknowledged} {verified} {about}"
    );
    if at % 4 == 1 {
        let more = trial.exercise(None, "12");
        assert!(more.status.success(), "{more:?} {about}");
        assert!(
            !String::from_utf8_lossy(&more.stdout).contains("failed"),
            "{more:?} {about}"
        );
        assert_eq!(trial.verify()["ok"], true, "{about}");
    }
    code
}

#[test]
fn a_sync_that_fails_once_is_never_taken_for_done() {
    let fault = Fault {
        kinds: "s",
        error: EIO,
        stays: false,
        step: 1,
    };
    assert!(sweep(&fault) > 10);
}

#[test]
fn a_write_that_fails_once_loses_nothing() {
    let fault = Fault {
        kinds: "wt",
        error: EIO,
        stays: false,
        step: 2,
    };
    sweep(&fault);
}

#[test]
fn a_name_that_cannot_be_made_or_changed_loses_nothing() {
    let fault = Fault {
        kinds: "n",
        error: EIO,
        stays: false,
        step: 1,
    };
    sweep(&fault);
}

#[test]
fn a_disk_that_stays_full_loses_nothing() {
    let fault = Fault {
        kinds: "wn",
        error: ENOSPC,
        stays: true,
        step: 3,
    };
    assert!(sweep(&fault) > 10);
}

/// A limit on the size of files is an error like a full disk, not the end by a signal.
#[test]
fn a_limit_on_file_sizes_is_told() {
    let folder = scratch();
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 1500; exec \"$@\"", "sh"])
        .arg(program("kernel"))
        .args(["exercise", "--transactions", "100000", "--image"])
        .arg(folder.path().join("image"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    // LMDB calls a write that stops halfway an input or output error.
    assert!(
        stderr.contains("File too large") || stderr.contains("Input/output error"),
        "{stderr}"
    );
    let verified = Command::new(program("kernel"))
        .args(["verify", "--json", "--image"])
        .arg(folder.path().join("image"))
        .output()
        .unwrap();
    let verified: Json = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(verified["ok"], true, "{verified}");
    assert!(acknowledged(&output) > 0);
    assert!(number(&verified["last"]) >= acknowledged(&output), "{verified}");
}
