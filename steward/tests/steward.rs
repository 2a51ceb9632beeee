//! The real steward with a stand-in for the kernel: supervision, its own death, the channel.
#![allow(clippy::unwrap_used, reason = "this whole file is a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use shared::bridge::{Answer, Call};
use shared::client::Client;
use shared::control::{ControlReply, ControlRequest, PlankStatus, StewardStatus};
use shared::frame;

/// A system in a temporary folder; everything is ended with it.
struct System {
    folder: tempfile::TempDir,
    steward: Option<Child>,
}

impl System {
    fn new() -> System {
        let folder = tempfile::tempdir().unwrap();
        let programs = folder.path().join("bin");
        fs::create_dir(&programs).unwrap();
        // A copy and not a link: the program's folder is where it looks for the others.
        fs::copy(env!("CARGO_BIN_EXE_steward"), programs.join("steward")).unwrap();
        fs::copy(stand_in(), programs.join("kernel")).unwrap();
        let worker = programs.join("inference-worker");
        fs::write(&worker, "#!/bin/sh\necho no model here\nexec sleep 600\n").unwrap();
        fs::set_permissions(&worker, fs::Permissions::from_mode(0o755)).unwrap();
        System {
            folder,
            steward: None,
        }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.folder.path().join("bin/steward"));
        command
            .arg("--home")
            .arg(self.home())
            .env("BATOS_SEED", "/no/seed")
            .stdin(Stdio::null());
        command
    }

    fn start(&mut self) -> u32 {
        self.steward = Some(self.command().spawn().unwrap());
        self.ready()
    }

    /// The kernel's process id, once it answers.
    fn ready(&self) -> u32 {
        self.wait_for(|system| {
            Some(system.plank("kernel")?)
                .filter(|plank| plank.state == "ready")?
                .pid
        })
    }

    fn wait_for<T>(&self, what: impl Fn(&System) -> Option<T>) -> T {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if let Some(found) = what(self) {
                return found;
            }
            sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(self.home().join("logs/steward.log")).unwrap_or_default();
        panic!("not within 20 s; {:?}\n{log}", self.status());
    }

    fn control(&self, request: ControlRequest) -> Option<ControlReply> {
        let mut stream = UnixStream::connect(self.home().join("run/steward.sock")).ok()?;
        frame::write(&mut stream, &request).ok()?;
        frame::read(&mut stream).ok()
    }

    fn status(&self) -> Option<StewardStatus> {
        match self.control(ControlRequest::Status)? {
            ControlReply::Status(status) => Some(status),
            ControlReply::Stopped => None,
        }
    }

    fn plank(&self, name: &str) -> Option<PlankStatus> {
        self.status()?.planks.into_iter().find(|plank| plank.name == name)
    }

    /// Kills the steward alone.
    fn kill_steward(&mut self) {
        let mut steward = self.steward.take().unwrap();
        steward.kill().unwrap();
        steward.wait().unwrap();
    }

    /// A new kernel program with that tail, and an instruction for it in the inbox.
    fn instruct(&self, id: &str, tail: &str) {
        let program = self.folder.path().join(format!("new-{id}"));
        let mut bytes = fs::read(stand_in()).unwrap();
        bytes.extend(tail.as_bytes());
        fs::write(&program, &bytes).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let digest = blake3::hash(&bytes).to_hex();
        let path = program.display();
        let text = format!(
            r#"{{"schema":1,"id":"{id}","target":{{"kind":"kernel","path":"{path}","blake3":"{digest}"}}}}"#
        );
        let temporary = self.home().join("channel/inbox/.new");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, self.home().join(format!("channel/inbox/{id}.json"))).unwrap();
    }

    fn result(&self, stem: &str) -> Value {
        let path = self.home().join(format!("channel/results/{stem}.result.json"));
        self.wait_for(|_| serde_json::from_slice(&fs::read(&path).ok()?).ok())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(mut steward) = self.steward.take() {
            let _ = kill(Pid::from_raw(steward.id() as i32), Signal::SIGTERM);
            let _ = steward.wait();
        }
    }
}

fn stand_in() -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_steward")).parent().unwrap();
    profile.join("examples/stand_in_kernel")
}

fn answering_pid(home: &Path) -> u32 {
    let mut client = Client::connect(&home.join("run/kernel.sock"), "test", Duration::from_secs(5)).unwrap();
    match client.call(Call::Status, None).unwrap() {
        Answer::Status(status) => status.pid,
        other => panic!("{other:?}"),
    }
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_killed_kernel_comes_back_and_stop_ends_everything() {
    let mut system = System::new();
    let first = system.start();
    let worker = system.plank("inference-worker").unwrap();
    assert!(worker.last_exit.contains("/no/seed"), "{worker:?}");
    kill(Pid::from_raw(first as i32), Signal::SIGKILL).unwrap();
    let begun = Instant::now();
    let second = answering_pid(&system.home());
    assert_ne!(first, second);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let kernel = system.wait_for(|system| system.plank("kernel").filter(|plank| plank.restarts == 1));
    assert_eq!(kernel.last_exit, "killed by SIGKILL");
    let mode = |name: &str| {
        fs::metadata(system.home().join("run").join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        [mode("kernel.sock"), mode("inference.sock"), mode("steward.sock")],
        [0o600; 3]
    );
    let second_steward = system.command().output().unwrap();
    assert_eq!(second_steward.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&second_steward.stderr).contains("already in use"));
    assert_eq!(system.control(ControlRequest::Stop), Some(ControlReply::Stopped));
    assert!(!is_alive(second) && !is_alive(worker.pid.unwrap()));
    assert!(system.steward.take().unwrap().wait().unwrap().success());
    assert!(!system.home().join("run/kernel.sock").exists());
    let log = fs::read_to_string(system.home().join("logs/inference-worker.log")).unwrap();
    assert_eq!(log, "no model here\n");
}

#[test]
fn a_killed_steward_leaves_the_kernel_and_the_next_one_takes_over() {
    for is_recorded in [true, false] {
        let mut system = System::new();
        let first = system.start();
        let worker = system.plank("inference-worker").unwrap().pid.unwrap();
        system.kill_steward();
        assert_eq!(
            answering_pid(&system.home()),
            first,
            "the kernel serves on without its steward"
        );
        if !is_recorded {
            fs::remove_file(system.home().join("run/planks.json")).unwrap();
            // A script's arguments begin with its interpreter's, so it is found by record alone.
            kill(Pid::from_raw(worker as i32), Signal::SIGKILL).unwrap();
        }
        // The worker is a script, which nobody would start with an interpreter's arguments: it is ended and started anew.
        let second = system.start();
        assert_eq!(second == first, is_recorded, "adopted, or ended and started anew");
        assert_eq!(is_alive(first), is_recorded);
        assert!(!is_alive(worker));
        assert_eq!(answering_pid(&system.home()), second);
        // It is supervised: its death is seen and its stop waited for.
        kill(Pid::from_raw(second as i32), Signal::SIGKILL).unwrap();
        let third = system.wait_for(|system| {
            let pid = system
                .plank("kernel")
                .filter(|plank| plank.state == "ready")?
                .pid?;
            (pid != second).then_some(pid)
        });
        system.kill_steward();
        system.start();
        assert_eq!(answering_pid(&system.home()), third);
        assert_eq!(system.control(ControlRequest::Stop), Some(ControlReply::Stopped));
        assert!(!is_alive(third));
        system.steward.take().unwrap().wait().unwrap();
    }
}

#[test]
fn a_new_kernel_is_chosen_and_stays_chosen() {
    let mut system = System::new();
    let first = system.start();
    system.instruct("good", "tail");
    let result = system.result("good");
    assert_eq!(result["outcome"], "applied", "{result}");
    let steps: Vec<_> = result["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["stage", "drain", "prove", "choose"]);
    assert!(!is_alive(first));
    fs::remove_file(system.folder.path().join("new-good")).unwrap();
    let chosen = system.plank("kernel").unwrap();
    assert!(chosen.path.contains("/planks/kernel-"), "{chosen:?}");
    system.instruct("good", "other");
    system.wait_for(|system| Some(()).filter(|()| system.result("good")["reason"] == "replayed"));
    system.kill_steward();
    system.start();
    assert_eq!(system.plank("kernel").unwrap().path, chosen.path);
    assert_eq!(system.control(ControlRequest::Stop), Some(ControlReply::Stopped));
    system.steward.take().unwrap().wait().unwrap();
    fs::write(&chosen.path, "damaged").unwrap();
    system.start();
    assert!(system.plank("kernel").unwrap().path.ends_with("bin/kernel"));
    let log = fs::read_to_string(system.home().join("logs/steward.log")).unwrap();
    assert!(log.contains("is damaged: its BLAKE3"));
}

#[test]
fn a_bad_kernel_is_rolled_back() {
    let mut system = System::new();
    fs::create_dir(system.home()).unwrap();
    fs::write(
        system.home().join("steward.toml"),
        "[supervision]\nhealth_deadline_ms = 1500\n",
    )
    .unwrap();
    system.start();
    for (id, tail) in [
        ("dies", "DIES"),
        ("mute", "MUTE"),
        ("hangs", "HANGS"),
        ("quits", "QUITS"),
    ] {
        system.instruct(id, tail);
        let result = system.result(id);
        eprintln!("{id}: {}", result["message"]);
        assert_eq!(result["outcome"], "rolled_back", "{result}");
        assert_eq!(result["reason"], "health_failed");
        assert!(
            result["message"].as_str().unwrap().contains("serves again"),
            "{result}"
        );
        assert_eq!(system.ready(), answering_pid(&system.home()));
        assert!(system.plank("kernel").unwrap().path.ends_with("bin/kernel"));
    }
}

/// The steward is killed at random moments of upgrades; each instruction still gets one result, and it tells what runs.
#[test]
fn an_upgrade_survives_the_steward() {
    let mut system = System::new();
    system.start();
    for round in 0..12u64 {
        let id = format!("round-{round}");
        system.instruct(&id, &id);
        sleep(Duration::from_millis(300 + round * 230));
        system.kill_steward();
        system.start();
        let result = system.result(&id);
        let path = system.plank("kernel").unwrap().path;
        let digest = blake3::hash(&fs::read(&path).unwrap()).to_hex();
        let wanted =
            blake3::hash(&fs::read(system.folder.path().join(format!("new-{id}"))).unwrap()).to_hex();
        match result["outcome"].as_str().unwrap() {
            "applied" => assert_eq!(digest, wanted, "{result}"),
            "rolled_back" | "failed" => {
                assert_eq!(result["reason"], "interrupted");
                assert_ne!(digest, wanted, "{result}");
            }
            other => panic!("{other}: {result}"),
        }
        eprintln!("{id}: {} {}", result["outcome"], result["reason"]);
    }
    assert_eq!(
        fs::read_dir(system.home().join("channel/results"))
            .unwrap()
            .count(),
        12
    );
    assert_eq!(
        fs::read_dir(system.home().join("channel/claimed"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_is_wrong_at_start_is_said_with_its_exit_code() {
    let check = |prepare: &dyn Fn(&System), code: i32, words: &str| {
        let system = System::new();
        prepare(&system);
        let output = system.command().output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(words), "{text}");
    };
    check(
        &|system| fs::write(system.home(), "a file").unwrap(),
        5,
        "is not a folder",
    );
    let configuration = |system: &System| {
        fs::create_dir(system.home()).unwrap();
        fs::write(
            system.home().join("steward.toml"),
            "[kernel]\nmethod_wrokers = 3\n",
        )
        .unwrap();
    };
    check(&configuration, 6, "method_wrokers");
    let socket = |system: &System| fs::create_dir_all(system.home().join("run/kernel.sock/x")).unwrap();
    check(&socket, 5, "cannot listen at");
}
