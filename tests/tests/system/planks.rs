//! Every plank but the kernel replaced under load: nothing fails, nothing is lost; and one that crashes, hangs or answers wrongly gives way to the
//! old one by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use shared::frame;
use shared::inference::{Finish, Generate, InferenceEvent, InferenceRequest};

use crate::harness::{System, program, repository, text, until};
use crate::load::Load;

const CLIENTS: usize = 3;
const CONFIGURATION: &str = "[supervision]\nhealth_deadline_ms = 8000\n[kernel]\nmethod_deadline_ms = 600\n\
    [handover]\nprobation_ms = 700\nanswer_ms = 2000\n";

/// What a plank is replaced by, and what came of it.
fn replace(system: &System, kind: &str, path: &Path, id: &str) -> Json {
    let option = format!("--{kind}");
    let reply = system.batos(&["upgrade", "submit", &option, path.to_str().unwrap(), "--id", id]);
    eprintln!("{id}: {} {}", reply.document["reason"], reply.document["message"]);
    reply.document["result"].clone()
}

/// A program of the workspace under another name, and another digest.
fn other(system: &System, name: &str, number: u32) -> PathBuf {
    let path = system.folder().join(format!("{name}-{number}"));
    let mut bytes = fs::read(program(name)).unwrap();
    bytes.extend(format!("\n{number}\n").bytes());
    put(&path, &bytes);
    path
}

/// A shell script that answers `--version` as such a program does, and then does something else.
fn script(system: &System, name: &str, kind: &str, text: &str) -> PathBuf {
    let path = system.folder().join(name);
    let version = match kind {
        "method-worker" => format!("{kind} 9 (Python 3.11)"),
        _ => format!("{kind} 9"),
    };
    let real = program(kind).display().to_string();
    let log = system
        .home()
        .join(format!("logs/{kind}.log"))
        .display()
        .to_string();
    let text = text.replace("REAL", &real).replace("LOG", &log);
    put(
        &path,
        format!("#!/bin/sh\n[ \"$1\" = --version ] && {{ echo '{version}'; exit 0; }}\n{text}\n").as_bytes(),
    );
    path
}

fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn plank(system: &System, name: &str) -> Json {
    let status = system.status();
    let mut planks = status["steward"]["planks"].as_array().unwrap().iter();
    planks.find(|plank| plank["name"] == name).unwrap().clone()
}

fn exe(pid: i64) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default()
}

/// Texts that are asked for all the time at the socket that workers share, without a second attempt.
struct Writers {
    threads: Vec<thread::JoinHandle<Vec<String>>>,
    is_over: &'static AtomicBool,
    written: &'static AtomicU64,
}

impl Writers {
    fn begin(system: &System, writers: usize) -> Writers {
        let is_over: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let written: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
        let socket = system.home().join("run/inference.sock");
        let begin = |index: usize| {
            let socket = socket.clone();
            thread::spawn(move || {
                let mut failed = Vec::new();
                while !is_over.load(Ordering::SeqCst) {
                    match write(&socket, index as u64) {
                        Ok(()) => drop(written.fetch_add(1, Ordering::SeqCst)),
                        Err(why) => failed.push(why),
                    }
                }
                failed
            })
        };
        Writers {
            threads: (0..writers).map(begin).collect(),
            is_over,
            written,
        }
    }

    /// Until so many more texts were written.
    fn go_on(&self, more: u64) {
        let before = self.written.load(Ordering::SeqCst);
        until("texts are written", || {
            (self.written.load(Ordering::SeqCst) >= before + more).then_some(())
        });
    }

    fn end(self) {
        self.is_over.store(true, Ordering::SeqCst);
        let failed: Vec<String> = self
            .threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        let written = self.written.load(Ordering::SeqCst);
        eprintln!("{written} texts, {} failed", failed.len());
        assert!(failed.is_empty(), "failed: {:?}", &failed[..failed.len().min(5)]);
    }
}

fn write(socket: &Path, seed: u64) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let mut stream = UnixStream::connect(socket).map_err(|error| said(&error))?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let generate = Generate {
        request: 1,
        prompt: "def tell(self):\n    ".into(),
        max_tokens: 120,
        temperature: 1.0,
        top_p: 1.0,
        seed,
        stop: Vec::new(),
        deadline_ms: 60_000,
    };
    frame::write(&mut stream, &InferenceRequest::Generate(generate)).map_err(|error| said(&error))?;
    loop {
        match frame::read(&mut stream).map_err(|error| said(&error))? {
            InferenceEvent::Done {
                finish: Finish::Stop | Finish::MaxTokens,
                ..
            } => return Ok(()),
            InferenceEvent::Text { .. } => {}
            other => return Err(format!("{other:?}")),
        }
    }
}

fn with_model() -> System {
    let system = System::new().configure(CONFIGURATION).up();
    until("a model is loaded", || {
        let told = system.status()["kernel"]["model"].clone();
        told.to_string().contains("parameters").then_some(())
    });
    system
}

#[test]
fn a_worker_and_a_model_are_replaced_while_they_write() {
    let system = with_model();
    let kernel = system.kernel_pid();
    let writers = Writers::begin(&system, 2);
    writers.go_on(3);
    for number in 1..=2 {
        let first = plank(&system, "inference-worker")["pid"].as_i64().unwrap();
        let result = replace(
            &system,
            "inference-worker",
            &other(&system, "inference-worker", number),
            &format!("worker-{number}"),
        );
        assert_eq!(result["outcome"], "applied", "{result}");
        assert_eq!(result["steps"][2]["step"], "switch", "{result}");
        let second = plank(&system, "inference-worker")["pid"].as_i64().unwrap();
        assert_ne!(first, second);
        assert!(
            exe(second).starts_with(system.home().join("planks")),
            "{:?}",
            exe(second)
        );
        until("the old worker has ended", || {
            (!Path::new(&format!("/proc/{first}")).exists()).then_some(())
        });
        writers.go_on(2);
    }
    let model = system.folder().join("model");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(repository().join("inference-worker/seed/model"))
        .unwrap()
        .flatten()
    {
        fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
    }
    fs::write(model.join("NOTE.md"), "another folder").unwrap();
    let result = replace(&system, "model", &model, "model-1");
    assert_eq!(result["outcome"], "applied", "{result}");
    writers.go_on(2);
    writers.end();
    let line = fs::read(format!(
        "/proc/{}/cmdline",
        plank(&system, "inference-worker")["pid"]
    ))
    .unwrap();
    assert!(
        String::from_utf8_lossy(&line).contains("planks/model-"),
        "another model is used"
    );
    assert_eq!(
        system.kernel_pid(),
        kernel,
        "the kernel had nothing to do with it"
    );
    // It is the model of later starts as well.
    system.ok(&["down"]);
    system.start();
    let line = until("an inference-worker runs", || {
        let pid = plank(&system, "inference-worker")["pid"].as_i64()?;
        fs::read(format!("/proc/{pid}/cmdline")).ok()
    });
    assert!(
        String::from_utf8_lossy(&line).contains("planks/model-"),
        "it is forgotten"
    );
}

#[test]
fn a_faulty_worker_gives_way_to_the_old_one() {
    let system = with_model();
    let old = plank(&system, "inference-worker")["pid"].clone();
    let damaged = system.folder().join("damaged");
    fs::create_dir(&damaged).unwrap();
    for entry in fs::read_dir(repository().join("inference-worker/seed/model"))
        .unwrap()
        .flatten()
    {
        let bytes = fs::read(entry.path()).unwrap();
        fs::write(damaged.join(entry.file_name()), &bytes[..bytes.len() / 2]).unwrap();
    }
    // When it is told to serve, it says so in its log.
    let once_serving = |what: &str| {
        format!(
            "n=$(grep -c 'serving' LOG)\n(while [ \"$(grep -c 'serving' LOG)\" -le \"$n\" ]; do sleep 0.02; done; {what}) &\n\
             exec REAL \"$@\""
        )
    };
    let of = |name: &str, text: &str| script(&system, name, "inference-worker", text);
    let cases = [
        (
            "dies",
            "inference-worker",
            of("dies", "exit 3"),
            "failed",
            "standby_failed",
        ),
        (
            "hangs",
            "inference-worker",
            of("hangs", "exec sleep 600"),
            "failed",
            "standby_failed",
        ),
        ("damaged", "model", damaged, "failed", "standby_failed"),
        (
            "dies-late",
            "inference-worker",
            of("dies-late", &once_serving("kill -9 $$")),
            "rolled_back",
            "health_failed",
        ),
        (
            "hangs-late",
            "inference-worker",
            of("hangs-late", &once_serving("kill -STOP $$")),
            "rolled_back",
            "health_failed",
        ),
    ];
    for (id, kind, path, outcome, reason) in &cases {
        let result = replace(&system, kind, path, id);
        assert_eq!(result["outcome"], *outcome, "{id}: {result}");
        assert_eq!(result["reason"], *reason, "{id}: {result}");
        // The same process: it was never started anew.
        assert_eq!(plank(&system, "inference-worker")["pid"], old, "{id}");
        write(&system.home().join("run/inference.sock"), 1).unwrap();
    }
    let (id, kind, path, ..) = &cases[0];
    let result = replace(&system, kind, path, &format!("{id}-again"));
    assert_eq!(result["reason"], "known_bad", "{result}");
}

#[test]
fn method_workers_are_replaced_one_after_the_other() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let kernel = system.kernel_pid();
    let load = Load::begin(&system, CLIENTS);
    for number in 1..=3 {
        let path = other(&system, "method-worker", number);
        let result = replace(&system, "method-worker", &path, &format!("m{number}"));
        assert_eq!(result["outcome"], "applied", "{result}");
        let planks = system.home().join("planks");
        until("only new workers are left", || {
            let status = system.status();
            let workers = status["kernel"]["method_workers"].as_array()?.clone();
            let expected = format!("method-worker-{}", short(&path));
            (workers.len() >= 2
                && workers
                    .iter()
                    .all(|pid| exe(pid.as_i64().unwrap()) == planks.join(&expected)))
            .then_some(())
        });
    }
    assert_eq!(system.kernel_pid(), kernel, "the kernel serves on");
    load.end(&system).assert_clean();
    // Those of later starts.
    system.ok(&["down"]);
    system.start();
    let pid = until("a method-worker runs", || {
        system.status()["kernel"]["method_workers"][0].as_i64()
    });
    assert!(exe(pid).starts_with(system.home().join("planks")));
}

/// The beginning of a file's BLAKE3, as the steward names copies by.
fn short(path: &Path) -> String {
    let told = Command::new(program("batos"))
        .args([
            "upgrade",
            "submit",
            "--output",
            "/dev/stdout",
            "--id",
            "x",
            "--kernel",
        ])
        .arg(path)
        .output()
        .unwrap();
    let document = String::from_utf8_lossy(&told.stdout).into_owned();
    let at = document.find("blake3:").unwrap() + 7;
    document[at..at + 12].to_owned()
}

#[test]
fn faulty_method_workers_give_way_to_the_old_ones() {
    // Those that go wrong do so within it.
    let configuration = CONFIGURATION.replace("probation_ms = 700", "probation_ms = 2500");
    let system = System::without_model().configure(&configuration).up();
    let wrong = system.folder().join("wrong.so");
    let compiled = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-fno-builtin", "-o"])
        .args([&wrong, &repository().join("tests/faults/wrong.c")])
        .status()
        .unwrap();
    assert!(compiled.success());
    let load = Load::begin(&system, CLIENTS);
    let of = |name: &str, text: &str| script(&system, name, "method-worker", text);
    let soon = |what: &str| format!("(sleep 0.9; {what}) &\nexec REAL \"$@\"");
    let cases = [
        ("dies", of("dies", "exit 3"), "failed", "standby_failed"),
        (
            "refuses",
            of("refuses", "exec REAL --unknown"),
            "failed",
            "standby_failed",
        ),
        (
            "wrong",
            of(
                "wrong",
                &format!("exec env LD_PRELOAD={} REAL \"$@\"", wrong.display()),
            ),
            "failed",
            "standby_failed",
        ),
        (
            "crashes",
            of("crashes", &soon("kill -SEGV $$")),
            "rolled_back",
            "health_failed",
        ),
        (
            "hangs",
            of("hangs", &soon("kill -STOP $$")),
            "rolled_back",
            "health_failed",
        ),
    ];
    for (id, path, outcome, reason) in &cases {
        let begun = Instant::now();
        let result = replace(&system, "method-worker", path, id);
        assert_eq!(result["outcome"], *outcome, "{id}: {result}");
        assert_eq!(result["reason"], *reason, "{id}: {result}");
        eprintln!("{id}: {:?}", begun.elapsed());
        until("only old workers are left", || {
            let status = system.status();
            let workers = status["kernel"]["method_workers"].as_array()?.clone();
            (workers.len() >= 2
                && workers
                    .iter()
                    .all(|pid| exe(pid.as_i64().unwrap()) == program("method-worker")))
            .then_some(())
        });
    }
    load.end(&system).assert_clean();
}

/// A package in a wheel, made without any tool.
fn wheel(system: &System, version: &str, source: &str) -> PathBuf {
    let name = format!("baubles-{version}-py3-none-any.whl");
    let path = system.folder().join(&name);
    let made = Command::new("python3")
        .arg("-c")
        .arg(
            "import sys, zipfile\npath, version, source = sys.argv[1:]\nwith zipfile.ZipFile(path, 'w') as wheel:\n    \
             wheel.writestr('baubles.py', source)\n    info = f'baubles-{version}.dist-info'\n    \
             wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: baubles\\nVersion: {version}\\n')\n    \
             wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n    \
             wheel.writestr(f'{info}/RECORD', '')\n",
        )
        .args([path.to_str().unwrap(), version, source])
        .status()
        .unwrap();
    assert!(made.success());
    let requirements = system.folder().join(format!("requirements-{version}.txt"));
    fs::write(&requirements, format!("{}\n", path.display())).unwrap();
    requirements
}

#[test]
fn a_python_environment_is_built_aside_and_switched() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let kernel = system.kernel_pid();
    system.ok(&["new", "traits", "--name", "thing"]);
    let source = "def shine(self, n):\n    return baubles.double(n)\n";
    assert_eq!(system.define("thing", source).document["reason"], "guard_refused");
    let load = Load::begin(&system, CLIENTS);
    let submit = |requirements: &Path, id: &str| {
        let reply = system.batos(&[
            "upgrade",
            "submit",
            "--python",
            requirements.to_str().unwrap(),
            "--allow",
            "baubles.double",
            "--id",
            id,
        ]);
        eprintln!("{id}: {} {}", reply.document["reason"], reply.document["message"]);
        reply.document["result"].clone()
    };
    let first = wheel(&system, "1.0", "def double(n):\n    return 2 * n\n");
    let result = submit(&first, "p1");
    assert_eq!(result["outcome"], "applied", "{result}");
    system.defined("thing", source);
    assert_eq!(system.result(&["send", "thing", "shine", "21"]), 42);
    // What the instruction does not allow is not there.
    let other = "def glow(self):\n    return baubles.secret()\n";
    assert_eq!(system.define("thing", other).document["reason"], "guard_refused");
    // One that cannot be loaded, and one that is not what pip takes.
    let broken = wheel(&system, "2.0", "raise RuntimeError('not on this machine')\n");
    let result = submit(&broken, "p2");
    assert_eq!(
        (&result["outcome"], &result["reason"]),
        (&json!("failed"), &json!("standby_failed")),
        "{result}"
    );
    let nonsense = system.folder().join("nonsense.txt");
    fs::write(&nonsense, "/no/such/package.whl\n").unwrap();
    let result = submit(&nonsense, "p3");
    assert_eq!(result["outcome"], "failed", "{result}");
    assert_eq!(system.result(&["send", "thing", "shine", "21"]), 42);
    let third = wheel(&system, "3.0", "def double(n):\n    return 3 * n\n");
    assert_eq!(submit(&third, "p4")["outcome"], "applied");
    assert_eq!(system.result(&["send", "thing", "shine", "21"]), 63);
    let back = system.ok(&["upgrade", "rollback", "--kind", "python"]);
    assert_eq!(back["result"]["outcome"], "applied", "{back}");
    assert_eq!(system.result(&["send", "thing", "shine", "21"]), 42);
    assert_eq!(system.kernel_pid(), kernel, "the kernel serves on");
    load.end(&system).assert_clean();
    // A kernel that is killed begins with it.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(kernel),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    until("another kernel answers", || {
        (system.kernel_pid() != kernel).then_some(())
    });
    assert_eq!(system.result(&["send", "thing", "shine", "21"]), 42);
}

fn steward(system: &System) -> i64 {
    until("a steward answers", || system.status()["steward"]["pid"].as_i64())
}

#[test]
fn the_steward_becomes_another_and_keeps_what_it_supervises() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let (kernel, pid) = (system.kernel_pid(), steward(&system));
    let worker = plank(&system, "inference-worker")["pid"].clone();
    let load = Load::begin(&system, CLIENTS);
    for number in 1..=3 {
        let path = other(&system, "steward", number);
        let result = replace(&system, "steward", &path, &format!("s{number}"));
        assert_eq!(result["outcome"], "applied", "{result}");
        assert_eq!(steward(&system), pid, "another process");
        let expected = format!("steward-{}", short(&path));
        assert_eq!(exe(pid), system.home().join("planks").join(expected));
        assert_eq!(system.kernel_pid(), kernel, "the kernel was started anew");
        assert_eq!(plank(&system, "inference-worker")["pid"], worker);
    }
    // It supervises: a killed kernel comes back.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(kernel),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    until("another kernel answers", || {
        (system.kernel_pid() != kernel).then_some(())
    });
    load.end(&system).assert_clean();
    system.ok(&["down"]);
    system.start();
    assert!(
        exe(steward(&system)).starts_with(system.home().join("planks")),
        "it is forgotten"
    );
}

#[test]
fn a_faulty_steward_gives_way_to_the_old_one() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let kernel = system.kernel_pid();
    let load = Load::begin(&system, CLIENTS);
    let rehearsed = "[ \"$1\" = rehearse ] && { echo ok; exit 0; }\n";
    let of = |name: &str, text: &str| script(&system, name, "steward", text);
    let cases = [
        ("refuses", of("refuses", "exit 5"), "failed", "rehearsal_failed"),
        (
            "dies",
            of("dies", &format!("{rehearsed}exit 3")),
            "rolled_back",
            "health_failed",
        ),
        (
            "hangs",
            of("hangs", &format!("{rehearsed}exec sleep 600")),
            "rolled_back",
            "health_failed",
        ),
    ];
    for (id, path, outcome, reason) in &cases {
        let begun = Instant::now();
        let option = [
            "upgrade",
            "submit",
            "--no-wait",
            "--steward",
            path.to_str().unwrap(),
            "--id",
            id,
        ];
        system.ok(&option);
        let result = system.home().join(format!("channel/results/{id}.result.json"));
        let result: Json = until("a result", || {
            serde_json::from_slice(&fs::read(&result).ok()?).ok()
        });
        eprintln!("{id}: {} after {:?}", result["message"], begun.elapsed());
        assert_eq!(result["outcome"], *outcome, "{id}: {result}");
        assert_eq!(result["reason"], *reason, "{id}: {result}");
        steward(&system);
        assert_eq!(system.kernel_pid(), kernel, "{id}: the kernel was started anew");
        assert!(text(&result["message"]).len() > 10);
    }
    load.end(&system).assert_clean();
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));
}
