//! Kernels replaced under load: no request fails, none is lost, none is done twice; and a new kernel that is faulty in any way gives
//! way to the old one.
//!
//! `BATOS_HANDOVERS=1000` for the long form (`./scripts/handovers`), `BATOS_HANDOVER_SEED` to repeat one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::harness::{System, program, until};
use crate::load::{Load, Verdict};

const CLIENTS: usize = 4;
const LIMIT: Duration = Duration::from_millis(800);
const CONFIGURATION: &str = "[supervision]\nhealth_deadline_ms = 4000\n\
    [handover]\nprobation_ms = 100\npromote_ms = 800\nanswer_ms = 800\n";

/// A kernel's program of the test's own, and its digest.
struct Program {
    path: PathBuf,
    sha256: String,
}

impl Program {
    fn of(path: PathBuf, bytes: &[u8]) -> Program {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let sha256 = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Program { path, sha256 }
    }

    /// The kernel under another name. Without what only a debugger reads, so that staging it takes less.
    fn kernel(system: &System) -> Program {
        let path = system.folder().join("kernel");
        let stripped = Command::new("strip")
            .arg("-o")
            .arg(&path)
            .arg(program("kernel"))
            .status();
        let bytes = match stripped {
            Ok(status) if status.success() => fs::read(&path).unwrap(),
            _ => fs::read(program("kernel")).unwrap(),
        };
        Program::of(path, &bytes)
    }

    /// A kernel with a fault.
    fn faulty(system: &System, fault: &str) -> Program {
        let mut bytes = fs::read(program("examples/faulty_kernel")).unwrap();
        bytes.extend(format!("\nFAULT={fault}\nKERNEL={}\n", program("kernel").display()).bytes());
        Program::of(system.folder().join(format!("faulty-{fault}")), &bytes)
    }

    /// Drops an instruction for it and waits for its result.
    fn instruct(&self, system: &System, id: &str) -> Json {
        let document = json!({"schema": 1, "id": id,
            "target": {"kind": "kernel", "path": self.path, "sha256": self.sha256}});
        let inbox = system.home().join("channel/inbox");
        fs::write(inbox.join(format!(".{id}")), document.to_string()).unwrap();
        fs::rename(inbox.join(format!(".{id}")), inbox.join(format!("{id}.json"))).unwrap();
        let path = system.home().join(format!("channel/results/{id}.result.json"));
        until(&format!("a result of {id}"), || {
            serde_json::from_slice(&fs::read(&path).ok()?).ok()
        })
    }
}

/// When the handover was at the point where no kernel serves, and a moment around it.
fn moments(result: &Json) -> String {
    let steps = result["steps"].as_array().unwrap().iter();
    let told = steps.map(|step| {
        let took = step["ended"].as_u64().unwrap() - step["begun"].as_u64().unwrap();
        format!("{} {took} ms", step["step"].as_str().unwrap())
    });
    told.collect::<Vec<_>>().join(", ")
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn planned_handovers_under_load_fail_nothing() {
    let handovers = variable("BATOS_HANDOVERS").unwrap_or(50);
    let seed = variable("BATOS_HANDOVER_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1);
    eprintln!("BATOS_HANDOVER_SEED={seed}");
    let system = System::without_model().configure(CONFIGURATION).up();
    let kernel = Program::kernel(&system);
    let load = Load::begin(&system, CLIENTS);
    let mut state = seed;
    let mut spans = Vec::new();
    for number in 0..handovers {
        let before = load.answered();
        until("requests are answered", || {
            (load.answered() > before + 20).then_some(())
        });
        // Not to wait for anything: to begin at another moment each time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        thread::sleep(Duration::from_millis(state % 20));
        let from = Instant::now();
        let result = kernel.instruct(&system, &format!("h{number}"));
        assert_eq!(result["outcome"], "applied", "{result}");
        assert_eq!(
            result["steps"][4]["step"], "yield",
            "not a handover without a gap: {result}"
        );
        spans.push((from, Instant::now()));
        if number % 50 == 0 {
            eprintln!("{number}: {}", moments(&result));
        }
    }
    let epoch = system.status()["kernel"]["epoch"].as_u64().unwrap();
    let verdict = load.end(&system);
    let mut pauses: Vec<Duration> = spans
        .iter()
        .map(|(from, to)| verdict.longest_wait(*from, *to))
        .collect();
    pauses.sort_unstable();
    eprintln!(
        "{handovers} handovers; longest wait of a client in one: p50 {:?}, p99 {:?}, most {:?}",
        pauses[pauses.len() / 2],
        pauses[pauses.len() * 99 / 100],
        pauses[pauses.len() - 1]
    );
    verdict.assert_clean();
    assert_eq!(
        epoch,
        handovers + 1,
        "each handover is one epoch, and nothing was started besides"
    );
    let verified = system.ok(&["verify"]);
    assert_eq!(verified["faults"], json!([]));
}

/// What the new kernel does wrong, what the instruction comes to, and how long clients may wait.
struct Fault(&'static str, &'static str, Duration);

const AT_ONCE: Duration = Duration::from_secs(1);
const AFTER_LIMIT: Duration = Duration::from_millis(1800);

const FAULTS: [Fault; 15] = [
    Fault("rehearse_crash", "failed", AT_ONCE),
    Fault("rehearse_hang", "failed", AT_ONCE),
    Fault("rehearse_refuse", "failed", AT_ONCE),
    Fault("standby_crash", "failed", AT_ONCE),
    Fault("standby_hang", "failed", AT_ONCE),
    Fault("hello_rubbish", "failed", AT_ONCE),
    Fault("canary_wrong", "failed", AT_ONCE),
    Fault("promote_crash", "rolled_back", AT_ONCE),
    Fault("promote_hang", "rolled_back", AFTER_LIMIT),
    Fault("promoted_crash", "rolled_back", AT_ONCE),
    Fault("promoted_mute", "rolled_back", AFTER_LIMIT),
    Fault("serving_wrong", "rolled_back", AT_ONCE),
    Fault("probation_crash", "rolled_back", AT_ONCE),
    Fault("probation_hang", "rolled_back", AFTER_LIMIT),
    Fault("probation_wrong", "rolled_back", AT_ONCE),
];

#[test]
fn a_faulty_kernel_gives_way_to_the_old_one() {
    assert_eq!(AFTER_LIMIT, LIMIT + AT_ONCE);
    let system = System::without_model().configure(CONFIGURATION).up();
    let load = Load::begin(&system, CLIENTS);
    let old = system.kernel_pid();
    let mut spans = Vec::new();
    for Fault(name, outcome, wait) in FAULTS {
        let program = Program::faulty(&system, name);
        let from = Instant::now();
        let result = program.instruct(&system, name);
        spans.push((name, from, Instant::now(), wait));
        eprintln!("{name}: {} ({})", result["message"], moments(&result));
        assert_eq!(result["outcome"], *outcome, "{name}: {result}");
        // The same process: it was never started anew.
        assert_eq!(system.kernel_pid(), old, "{name}: {result}");
        let before = load.answered();
        until("requests are answered", || {
            (load.answered() > before + 20).then_some(())
        });
    }
    let verdict: Verdict = load.end(&system);
    for (name, from, to, wait) in spans {
        let longest = verdict.longest_wait(from, to);
        eprintln!("{name}: a client waited {longest:?}");
        assert!(longest <= wait, "{name}: a client waited {longest:?}");
    }
    verdict.assert_clean();
    assert!(left_over(&system.home(), old).is_empty(), "kernels are left over");
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));
}

/// Kernels of a home besides that one.
fn left_over(home: &Path, kernel: i32) -> Vec<i32> {
    let is_kernel = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(b"--standby".len()).any(|part| part == b"--standby")
    };
    let mut found = crate::harness::processes_of(home);
    found.retain(|pid| *pid != kernel && is_kernel(pid));
    found
}
