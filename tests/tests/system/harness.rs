//! One system in a temporary home, and the real `batos` that drives it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};
use shared::client::Client;
use tempfile::TempDir;

/// No single command may take longer.
const COMMAND_DEADLINE: Duration = Duration::from_secs(200);
const PAUSE: Duration = Duration::from_millis(20);

/// A home of its own; everything that runs in it ends when this is dropped.
pub struct System {
    folder: TempDir,
    seed: PathBuf,
}

/// What a command of `batos` came to.
#[derive(Debug)]
pub struct Reply {
    pub code: i32,
    pub document: Json,
    pub stderr: String,
}

impl System {
    /// An empty home with the repository's seed model.
    pub fn new() -> System {
        System::with_seed(repository().join("inference-worker/seed/model"))
    }

    /// An empty home for which there is no model.
    pub fn without_model() -> System {
        System::with_seed(PathBuf::from("/nonexistent/seed"))
    }

    /// An empty home with another model.
    pub fn with_seed(seed: PathBuf) -> System {
        let folder = tempfile::Builder::new().prefix("bat").tempdir().unwrap();
        System { folder, seed }
    }

    pub fn configure(self, text: &str) -> System {
        fs::create_dir_all(self.home()).unwrap();
        fs::write(self.home().join("steward.toml"), text).unwrap();
        self
    }

    /// Started.
    pub fn up(self) -> System {
        self.start();
        self
    }

    pub fn start(&self) -> Json {
        self.ok(&["up"])
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("h")
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn batos(&self, arguments: &[&str]) -> Reply {
        let child = Command::new(program("batos"))
            .arg("--home")
            .arg(self.home())
            .arg("--json")
            .args(arguments)
            .env("BATOS_SEED", &self.seed)
            .env_remove("BATOS_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let (done, wait) = mpsc::channel();
        thread::spawn(move || done.send(child.wait_with_output()));
        let output = match wait.recv_timeout(COMMAND_DEADLINE) {
            Ok(output) => output.unwrap(),
            Err(_) => {
                let _ = kill(pid, Signal::SIGKILL);
                panic!("batos {arguments:?} did not end within {COMMAND_DEADLINE:?}");
            }
        };
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let stdout = String::from_utf8_lossy(&output.stdout);
        let document = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("batos {arguments:?} printed {stdout:?}, which is not one document ({error}); {stderr}")
        });
        Reply {
            code: output.status.code().unwrap_or(-1),
            document,
            stderr,
        }
    }

    /// The document of a command that must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Json {
        let reply = self.batos(arguments);
        assert!(
            reply.code == 0 && reply.document["ok"] == true,
            "batos {arguments:?}: {} {} {}",
            reply.code,
            reply.document,
            reply.stderr
        );
        reply.document
    }

    /// The document of a command that the image must refuse for that reason, with a sentence.
    pub fn refused(&self, arguments: &[&str], reason: &str) -> Json {
        let reply = self.batos(arguments);
        assert_eq!(reply.document["ok"], false, "batos {arguments:?}: {reply:?}");
        assert_eq!(reply.document["reason"], reason, "batos {arguments:?}: {reply:?}");
        assert_eq!(reply.code, 1, "batos {arguments:?}: {reply:?}");
        assert!(text(&reply.document["message"]).len() > 8, "{reply:?}");
        reply.document
    }

    pub fn result(&self, arguments: &[&str]) -> Json {
        self.ok(arguments)["result"].clone()
    }

    pub fn inspect(&self, object: &str) -> Json {
        self.ok(&["inspect", object])
    }

    /// `define`, from a file.
    pub fn define(&self, object: &str, source: &str) -> Reply {
        let file = self.source(source);
        self.batos(&["define", object, file.to_str().unwrap()])
    }

    pub fn defined(&self, object: &str, source: &str) {
        let reply = self.define(object, source);
        assert_eq!(reply.document["ok"], true, "{source}\n{reply:?}");
    }

    pub fn source(&self, source: &str) -> PathBuf {
        let file = self.folder().join("source.py");
        fs::write(&file, source).unwrap();
        file
    }

    pub fn client(&self, patience: Duration) -> Client {
        Client::connect(&self.home().join("run/kernel.sock"), "system-tests", patience).unwrap()
    }

    pub fn socket(&self) -> UnixStream {
        let stream = UnixStream::connect(self.home().join("run/kernel.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub fn status(&self) -> Json {
        self.batos(&["status"]).document
    }

    /// The kernel that answers, waited for.
    pub fn kernel_pid(&self) -> i32 {
        until("a kernel answers", || pid(&self.status()["kernel"]["pid"]))
    }

    /// Process ids by program; what does not run is absent.
    pub fn processes(&self) -> Vec<(&'static str, i32)> {
        let status = self.status();
        let mut found = Vec::new();
        found.extend(pid(&status["steward"]["pid"]).map(|pid| ("steward", pid)));
        for plank in status["steward"]["planks"].as_array().into_iter().flatten() {
            let name = match plank["name"].as_str() {
                Some("kernel") => "kernel",
                _ => "inference-worker",
            };
            found.extend(pid(&plank["pid"]).map(|pid| (name, pid)));
        }
        for worker in status["kernel"]["method_workers"]
            .as_array()
            .into_iter()
            .flatten()
        {
            found.extend(pid(worker).map(|pid| ("method-worker", pid)));
        }
        found
    }

    /// kill -9 of everything, workers first; returns when all are gone.
    pub fn kill_all(&self) {
        let processes = until("kernel, method-workers and steward run", || {
            let processes = self.processes();
            let runs = |name| processes.iter().any(|(running, _)| *running == name);
            (runs("kernel") && runs("method-worker") && runs("steward")).then_some(processes)
        });
        for (_, pid) in processes.iter().rev() {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        for (_, pid) in processes {
            until("a killed process is gone", || is_gone(pid).then_some(()));
        }
    }

    /// A call by JSON-RPC on a connection of its own: the reply document.
    pub fn rpc(&self, method: &str, parameters: Json) -> Json {
        self.line(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).to_string())
    }

    /// One line to the kernel, one line back.
    pub fn line(&self, line: &str) -> Json {
        let mut stream = self.socket();
        stream.write_all(line.as_bytes()).unwrap();
        stream.write_all(b"\n").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{answer:?} to a line: {error}"))
    }
}

impl System {
    /// Of a test that fails: the logs, the instructions and their journals outlive the home.
    fn keep_traces(&self) {
        let kept = std::env::temp_dir().join(format!("batos-failed-{}", std::process::id()));
        // Programs are large, and known by the choices beside them.
        let planks = fs::read_dir(self.home().join("planks"))
            .into_iter()
            .flatten()
            .flatten();
        let choices = planks
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|it| it == "json"));
        let copied = fs::create_dir_all(&kept).and_then(|()| {
            Command::new("cp")
                .arg("-r")
                .args(["logs", "channel"].map(|name| self.home().join(name)))
                .args(choices)
                .arg(&kept)
                .stderr(Stdio::null())
                .status()
        });
        if copied.is_ok() {
            eprintln!("-- logs and instructions: {}", kept.display());
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if thread::panicking() {
            for name in ["kernel.log", "steward.log"] {
                let log = fs::read_to_string(self.home().join("logs").join(name)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(12).collect();
                eprintln!("-- {name}");
                lines.iter().rev().for_each(|line| eprintln!("{line}"));
            }
            self.keep_traces();
        }
        let down = Command::new(program("batos"))
            .arg("--home")
            .arg(self.home())
            .arg("down")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        if let Ok(mut down) = down {
            let deadline = Instant::now() + Duration::from_secs(20);
            while let Ok(None) = down.try_wait()
                && Instant::now() < deadline
            {
                thread::sleep(PAUSE);
            }
            let _ = down.kill();
            let _ = down.wait();
        }
        // Whatever still names this home on its command line.
        for pid in processes_of(&self.home()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Asks until there is something, at most half a minute.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(PAUSE);
    }
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// A program of the workspace, built with the same profile as this test.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join(name);
    assert!(
        path.is_file(),
        "{} is missing: first `cargo build --workspace --bins` with this profile",
        path.display()
    );
    path
}

pub fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_else(|| panic!("{json} is not text"))
}

pub fn number(json: &Json) -> u64 {
    json.as_u64().unwrap_or_else(|| panic!("{json} is not a number"))
}

/// The names of an object's slots as `inspect` shows them.
pub fn slot_names(inspected: &Json) -> Vec<String> {
    inspected["slots"].as_object().unwrap().keys().cloned().collect()
}

/// True when no thread of such a process is left; a zombie whose last thread has ended counts as gone.
pub fn is_gone(pid: i32) -> bool {
    let Some(fields) = fields(pid) else {
        return true;
    };
    let is_ended = fields.starts_with(['Z', 'X']);
    is_ended && fs::read_dir(format!("/proc/{pid}/task")).map_or(true, |threads| threads.count() <= 1)
}

/// What `/proc/PID/stat` has from the state on.
fn fields(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

fn pid(json: &Json) -> Option<i32> {
    json.as_i64().and_then(|pid| i32::try_from(pid).ok())
}

pub fn processes_of(home: &Path) -> Vec<i32> {
    let home = home.as_os_str().as_encoded_bytes();
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id() as i32)
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(home.len().max(1)).any(|part| part == home)
        })
        .collect()
}

/// Kernels that serve a home or stand by for it. What one of them has forked to become a worker still has its arguments, and is none.
pub fn kernels(home: &Path) -> Vec<i32> {
    let is_kernel = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .any(|word| word == b"--inference-socket")
    };
    let parent = |pid: i32| -> Option<i32> { fields(pid)?.split(' ').nth(1)?.parse().ok() };
    let mut found = processes_of(home);
    found.retain(is_kernel);
    let all = found.clone();
    found.retain(|pid| !is_gone(*pid) && parent(*pid).is_some_and(|parent| !all.contains(&parent)));
    found
}
