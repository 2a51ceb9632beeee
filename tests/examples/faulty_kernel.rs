//! A kernel that goes wrong at a chosen point of a handover, for `tests/tests/system/handovers.rs`: the real kernel, with somebody in
//! the middle of its control channel who lets it crash, hang or lie.
//!
//! The end of the program's own file says what to do: lines `FAULT=…` and `KERNEL=…`, the real program. The process that the
//! steward started becomes the real kernel; its child is the one in the middle, and ends with either of them.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    reason = "a test's own program, which forks before it has threads"
)]

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, abort, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, fork, getpid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::bridge::{Answer, Fault, Hello, Request, ToClient, Welcome};
use shared::frame;
use shared::handover::{FromKernel, ToKernel};
use shared::id::Epoch;

const LISTENER: i32 = 3;
const CONTROL: i32 = 4;
/// Whether the real kernel has said so.
static SERVES: AtomicBool = AtomicBool::new(false);

fn main() {
    let (fault, kernel) = orders();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let first = arguments.first().map_or("", String::as_str);
    match (first, fault.as_str()) {
        ("--version", _) => println!("kernel 0.0.0-{fault}"),
        ("rehearse", "rehearse_crash") => abort(),
        ("rehearse", "rehearse_hang") => hang(),
        ("rehearse", "rehearse_refuse") => exit(5),
        ("rehearse", _) => become_kernel(&kernel, &arguments),
        // In time for nothing that takes long.
        (_, "failing") => become_kernel(&kernel, &hasty(&arguments)),
        (_, "leaking") => leak(&kernel, &arguments),
        (_, "standby_crash") => abort(),
        (_, "standby_hang") => hang(),
        _ => stand_between(&fault, &kernel, &arguments),
    }
}

/// What the end of this program's file says.
fn orders() -> (String, PathBuf) {
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let end = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]).into_owned();
    let line = |key: &str| {
        let found = end.lines().rev().find_map(|line| line.strip_prefix(key));
        found
            .unwrap_or_else(|| panic!("no {key} at the end of this program"))
            .to_owned()
    };
    (line("FAULT="), PathBuf::from(line("KERNEL=")))
}

fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(600));
    }
}

fn become_kernel(kernel: &Path, arguments: &[String]) -> ! {
    panic!("{}", Command::new(kernel).args(arguments).exec());
}

/// With another deadline of methods.
fn hasty(arguments: &[String]) -> Vec<String> {
    let mut changed = arguments.to_vec();
    let at = changed
        .iter()
        .position(|word| word == "--method-deadline-ms")
        .unwrap();
    changed[at + 1] = "10".to_owned();
    changed
}

/// The real kernel with a library in it whose constructor takes memory without end; beside this program.
fn leak(kernel: &Path, arguments: &[String]) -> ! {
    let library = std::env::current_exe().unwrap().with_file_name("leak.so");
    let started = Command::new(kernel)
        .args(arguments)
        .env("LD_PRELOAD", library)
        .exec();
    panic!("{started}");
}

fn stand_between(fault: &str, kernel: &Path, arguments: &[String]) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let pid = getpid();
    // Only the one who lies to probes needs to hear what clients say.
    let slowness = fault.strip_prefix("slow_").and_then(|ms| ms.parse().ok());
    let front = (fault == "probation_wrong" || slowness.is_some()).then(|| {
        let address = SocketAddr::from_abstract_name(format!("batos-behind-{pid}")).unwrap();
        let behind = UnixListener::bind_addr(&address).unwrap();
        (address, behind)
    });
    // SAFETY: this process has one thread, so the child may do anything; both descriptors were passed by the steward.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { .. } => {
            replace(&theirs, CONTROL);
            if let Some((_, behind)) = &front {
                replace(behind, LISTENER);
            }
            become_kernel(kernel, arguments)
        }
        ForkResult::Child => {
            drop(theirs);
            let steward = unsafe { UnixStream::from(OwnedFd::from_raw_fd(CONTROL)) };
            let listener = unsafe { UnixListener::from(OwnedFd::from_raw_fd(LISTENER)) };
            if let Some((address, behind)) = front {
                drop(behind);
                let slowness = slowness.map(Duration::from_millis);
                thread::spawn(move || answer_for(&listener, &address, slowness));
            } else {
                drop(listener);
            }
            let (from_steward, to_steward) = (steward.try_clone().unwrap(), steward);
            let (from_kernel, to_kernel) = (ours.try_clone().unwrap(), ours);
            let (down, up) = (fault.to_owned(), fault.to_owned());
            thread::spawn(move || pass(from_steward, to_kernel, |message| go_down(&down, message, pid)));
            pass(from_kernel, to_steward, |message| go_up(&up, message, pid));
        }
    }
}

fn replace(descriptor: &impl AsRawFd, number: i32) {
    // SAFETY: before exec, in the only thread; nothing of this process uses those numbers any more.
    assert_ne!(unsafe { nix::libc::dup2(descriptor.as_raw_fd(), number) }, -1);
}

/// What to do with a message.
enum Do<T> {
    Pass(T),
    PassThen(T, fn(Pid), Pid),
    Keep,
    Rubbish,
}

/// Passes messages on until either end is gone, then ends this process.
fn pass<T: Serialize + DeserializeOwned>(
    mut from: UnixStream,
    mut to: UnixStream,
    judge: impl Fn(T) -> Do<T>,
) {
    while let Ok(message) = frame::read::<T>(&mut from) {
        let passed = match judge(message) {
            Do::Pass(message) => frame::write(&mut to, &message).is_ok(),
            Do::PassThen(message, then, pid) => {
                let passed = frame::write(&mut to, &message).is_ok();
                then(pid);
                passed
            }
            Do::Keep => true,
            Do::Rubbish => to.write_all(&[0x55; 64]).is_ok(),
        };
        if !passed {
            break;
        }
    }
    exit(0);
}

fn go_down(fault: &str, message: ToKernel, kernel: Pid) -> Do<ToKernel> {
    match (fault, &message) {
        ("promote_crash", ToKernel::Promote) => {
            crash(kernel);
            Do::Keep
        }
        ("promote_hang", ToKernel::Promote) => {
            stop(kernel);
            Do::Keep
        }
        _ => Do::Pass(message),
    }
}

fn go_up(fault: &str, message: FromKernel, kernel: Pid) -> Do<FromKernel> {
    match (fault, message) {
        ("hello_rubbish", FromKernel::Hello { .. }) => Do::Rubbish,
        ("canary_wrong", FromKernel::Answered { question, .. }) => Do::Pass(FromKernel::Answered {
            question,
            result: Err(Fault::new("no_object", "what is that?")),
        }),
        ("promoted_crash", FromKernel::Serving { .. }) => {
            crash(kernel);
            Do::Keep
        }
        ("promoted_mute", FromKernel::Serving { .. }) => Do::Keep,
        ("serving_wrong", FromKernel::Serving { last, .. }) => Do::Pass(FromKernel::Serving {
            epoch: Epoch(0),
            last,
        }),
        ("probation_crash", message @ FromKernel::Serving { .. }) => {
            Do::PassThen(message, crash_later, kernel)
        }
        // Before it is passed on: probation may be over before this process has its turn again.
        ("probation_hang", message @ FromKernel::Serving { .. }) => {
            stop(kernel);
            Do::Pass(message)
        }
        (_, message) => {
            SERVES.fetch_or(matches!(message, FromKernel::Serving { .. }), Ordering::SeqCst);
            Do::Pass(message)
        }
    }
}

fn crash(kernel: Pid) {
    let _ = kill(kernel, Signal::SIGKILL);
}

fn crash_later(kernel: Pid) {
    thread::sleep(Duration::from_millis(20));
    crash(kernel);
}

fn stop(kernel: Pid) {
    let _ = kill(kernel, Signal::SIGSTOP);
}

/// Takes the kernel's clients, once it serves, and passes them on; to the steward's questions it lies.
fn answer_for(listener: &UnixListener, behind: &SocketAddr, slowness: Option<Duration>) {
    loop {
        // The socket is the steward's, and its kernels have made it one that does not wait.
        thread::sleep(Duration::from_millis(1));
        if !SERVES.load(Ordering::SeqCst) {
            continue;
        }
        while let Ok((client, _)) = listener.accept() {
            if let Ok(kernel) = UnixStream::connect_addr(behind) {
                thread::spawn(move || match slowness {
                    Some(slowness) => {
                        thread::sleep(slowness);
                        tunnel(client, kernel);
                    }
                    None => converse(client, kernel),
                });
            }
        }
    }
}

fn converse(mut client: UnixStream, mut kernel: UnixStream) {
    let mut first = [0; 1];
    if client.read_exact(&mut first).is_err() {
        return;
    }
    if first[0] != b'B' {
        let _ = kernel.write_all(&first);
        return tunnel(client, kernel);
    }
    let mut whole = first.chain(&client);
    let Ok(hello) = frame::read::<Hello>(&mut whole) else {
        return;
    };
    let _ = frame::write(&mut kernel, &hello);
    if !hello.program.starts_with("steward") {
        return tunnel(client, kernel);
    }
    let Ok(welcome) = frame::read::<Welcome>(&mut kernel) else {
        return;
    };
    let _ = frame::write(&mut client, &welcome);
    while let Ok(request) = frame::read::<Request>(&mut client) {
        let _ = frame::write(&mut kernel, &request);
        let Ok(mut reply) = frame::read::<ToClient>(&mut kernel) else {
            return;
        };
        match &mut reply {
            ToClient::Reply {
                result: Ok(Answer::Status(status)),
                ..
            } => status.epoch = Epoch(0),
            ToClient::Reply {
                result: Ok(Answer::Figures(figures)),
                ..
            } => figures.epoch = Epoch(0),
            _ => {}
        }
        let _ = frame::write(&mut client, &reply);
    }
}

fn tunnel(client: UnixStream, kernel: UnixStream) {
    let (mut from, mut to) = (client.try_clone().unwrap(), kernel.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let (mut from, mut to) = (kernel, client);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
