//! The steward as a systemd service: what it says to a notify socket, what it takes from it, and the units.

use std::collections::BTreeSet;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::Pid;

use crate::harness::{System, program, repository, until};

/// Passes descriptor 0 on as systemd does: as number 3, to the process that it becomes.
const PASS: &str = "import os, sys
os.dup2(0, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='kernel')
os.execv(sys.argv[1], sys.argv[1:])
";

struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// What came in one datagram: its lines, and how many descriptors.
fn heard(socket: &UnixDatagram) -> (Vec<String>, Vec<OwnedFd>) {
    let mut bytes = [0; 4096];
    let mut space = cmsg_space!([RawFd; 8]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::empty(),
    )
    .unwrap();
    let mut descriptors = Vec::new();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(raw) = control {
            descriptors.extend(raw);
        }
    }
    let length = message.bytes;
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    let owned = descriptors.into_iter().map(own).collect();
    (text.lines().map(str::to_owned).collect(), owned)
}

#[allow(unsafe_code)]
fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: it has just come by a socket, for this process to own.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

#[test]
fn systemd_is_told_what_happens() {
    let system = System::without_model();
    let notify = system.folder().join("notify");
    let socket = UnixDatagram::bind(&notify).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let service = Command::new(program("steward"))
        .arg("--home")
        .arg(system.home())
        .env("BATOS_SEED", "/nonexistent/seed")
        .env("NOTIFY_SOCKET", &notify)
        .env("WATCHDOG_USEC", "400000")
        .stdin(Stdio::null())
        .spawn();
    let mut service = Service(service.unwrap());
    let mut stored: BTreeSet<String> = BTreeSet::new();
    let mut signs = Vec::new();
    let mut is_ready = false;
    while !is_ready || signs.len() < 5 {
        let (lines, descriptors) = heard(&socket);
        for line in &lines {
            match line.as_str() {
                "READY=1" => {
                    is_ready = true;
                    assert!(
                        lines.contains(&"STATUS=the kernel serves".to_owned()),
                        "{lines:?}"
                    );
                }
                "WATCHDOG=1" => signs.push(Instant::now()),
                "FDSTORE=1" => assert_eq!(descriptors.len(), 1),
                other => {
                    if let Some(name) = other.strip_prefix("FDNAME=") {
                        stored.insert(name.to_owned());
                    }
                }
            }
        }
    }
    let names = ["inference", "kernel", "steward"].map(str::to_owned);
    assert_eq!(stored, BTreeSet::from(names));
    let pauses = signs.windows(2).map(|two| two[1] - two[0]);
    let longest = pauses.max().unwrap();
    assert!(
        longest < Duration::from_millis(400),
        "a sign of life after {longest:?}"
    );
    kill(Pid::from_raw(service.0.id() as i32), Signal::SIGTERM).unwrap();
    while !heard(&socket).0.contains(&"STOPPING=1".to_owned()) {}
    assert!(service.0.wait().unwrap().success());
}

/// The socket of systemd is served, and outlives the steward.
#[test]
fn a_socket_that_systemd_passes_is_served() {
    let system = System::without_model();
    let path = system.folder().join("kernel.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // Somebody who came before anything ran.
    let early = UnixStream::connect(&path).unwrap();
    for _ in 0..2 {
        let stdin: OwnedFd = listener.try_clone().unwrap().into();
        let service = Command::new("python3")
            .args(["-c", PASS])
            .arg(program("steward"))
            .arg("--home")
            .arg(system.home())
            .env("BATOS_SEED", "/nonexistent/seed")
            .stdin(stdin)
            .spawn();
        let mut service = Service(service.unwrap());
        until("the kernel serves the socket", || {
            shared::client::Client::connect(&path, "system-tests", Duration::ZERO).ok()
        });
        assert!(!system.home().join("run/kernel.sock").exists());
        kill(Pid::from_raw(service.0.id() as i32), Signal::SIGTERM).unwrap();
        assert!(service.0.wait().unwrap().success());
        assert!(path.exists(), "the file is systemd's");
    }
    drop(early);
}

#[test]
fn the_units_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["--user", "--system"] {
        let units = folder.path().join(kind);
        let bin = folder.path().join("prefix/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::copy(program("steward"), bin.join("steward")).unwrap();
        let written = Command::new(repository().join("scripts/install-service"))
            .args([kind, "--socket", "--output"])
            .arg(&units)
            .arg("--prefix")
            .arg(folder.path().join("prefix"))
            .arg("--home")
            .arg(folder.path().join("home"))
            .output()
            .unwrap();
        assert!(written.status.success(), "{written:?}");
        let service = std::fs::read_to_string(units.join("batos.service")).unwrap();
        assert!(!service.contains('@'), "{service}");
        assert!(service.contains(&format!("--home {}", folder.path().join("home").display())));
        verify(kind, &units, folder.path());
    }
    let refused = Command::new(repository().join("scripts/install-service"))
        .args(["--output", "/tmp/x", "--home", "/a b"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

fn verify(kind: &str, units: &Path, folder: &Path) {
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .args((kind == "--user").then_some("--user"))
        .args([units.join("batos.service"), units.join("batos.socket")])
        .env("XDG_RUNTIME_DIR", folder)
        .output();
    match verified {
        Err(error) => eprintln!("SKIPPED: systemd-analyze: {error}"),
        Ok(verified) => {
            let told = String::from_utf8_lossy(&verified.stderr).into_owned();
            let ours: Vec<&str> = told.lines().filter(|line| line.contains("batos.")).collect();
            assert!(verified.status.success() && ours.is_empty(), "{kind}: {told}");
        }
    }
}
