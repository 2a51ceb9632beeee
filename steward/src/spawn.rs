//! Every process creation of the steward.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use shared::handover::CONTROL_DESCRIPTOR;

use crate::event::Event;
use crate::handover::Control;

/// Where a plank finds its listening socket.
pub const LISTEN_DESCRIPTOR: RawFd = 3;
/// Where a kernel finds its control channel.
const CONTROL: RawFd = 4;
/// A log larger than this is put aside when its plank is started.
const LARGEST_LOG_BYTES: u64 = 16 << 20;
/// What is for the steward alone.
const OWN_ENVIRONMENT: [&str; 6] = [
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// How a plank is started.
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(String, String)>,
    /// Given to the plank as descriptor 3. Above 3 here: see [`crate::listener::reserve_descriptors`].
    pub listener: UnixListener,
    /// Takes the plank's standard output and error, written by the plank itself.
    pub log: PathBuf,
    /// Where what it says by its control channel goes; without, it has none.
    pub events: Option<mpsc::Sender<Event>>,
}

impl Launch {
    /// The same for another program, with more arguments.
    pub fn beside(&self, program: &Path, more: &[&str]) -> io::Result<Launch> {
        Ok(Launch {
            program: program.to_path_buf(),
            arguments: self
                .arguments
                .iter()
                .cloned()
                .chain(more.iter().map(OsString::from))
                .collect(),
            environment: self.environment.clone(),
            listener: self.listener.try_clone()?,
            log: self.log.clone(),
            events: self.events.clone(),
        })
    }
}

/// Starts a plank in a process group of its own, so that a terminal's Ctrl-C reaches the steward alone. It is not tied to
/// the steward's life: a kernel outlives a killed steward. Returns its process id, by which the caller reaps it, and its control
/// channel.
pub fn plank(launch: &Launch) -> io::Result<(i32, Option<Control>)> {
    let log = open_log(&launch.log)?;
    let listener = launch.listener.as_raw_fd();
    let (control, theirs) = match &launch.events {
        Some(events) => {
            let (control, theirs) = Control::open(events.clone())?;
            (Some(control), Some(theirs))
        }
        None => (None, None),
    };
    let passed = theirs.as_ref().map(AsRawFd::as_raw_fd);
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.arguments)
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    for name in OWN_ENVIRONMENT {
        command.env_remove(name);
    }
    if passed.is_some() {
        command.env(CONTROL_DESCRIPTOR, CONTROL.to_string());
    } else {
        command.env_remove(CONTROL_DESCRIPTOR);
    }
    // SAFETY: between fork and exec only dup2 is called, which is async-signal-safe and allocates nothing. What is duplicated
    // lives until after the spawn. Descriptors 3 and 4 are reserved in this process, so that dup2 replaces nothing that the child
    // needs, and differ from those that are duplicated, so that the duplicates survive exec.
    unsafe {
        command.pre_exec(move || {
            if libc::dup2(listener, LISTEN_DESCRIPTOR) == -1 {
                return Err(io::Error::last_os_error());
            }
            match passed.map(|passed| libc::dup2(passed, CONTROL)) {
                Some(-1) => Err(io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
    }
    let pid = command.spawn()?.id() as i32;
    // Its end is the kernel's alone now, so that the kernel's death ends the channel.
    drop(theirs);
    Ok((pid, control))
}

/// The first 4 KiB that `program --version` prints, when it ends well in time.
pub fn version(program: &Path, deadline: Duration) -> Result<String, String> {
    bounded(deadline, "--version", &|| {
        let mut command = Command::new(program);
        command.arg("--version").stderr(Stdio::null());
        Ok(command)
    })
}

/// What `program rehearse` prints, when it ends well in time; what it logs goes to `log`.
pub fn rehearse(program: &Path, image: &Path, log: &Path, deadline: Duration) -> Result<String, String> {
    bounded(deadline, "the rehearsal", &|| {
        let mut command = Command::new(program);
        command
            .args([OsString::from("rehearse"), "--image".into(), image.into()])
            .env_remove(CONTROL_DESCRIPTOR)
            .stderr(open_log(log)?);
        Ok(command)
    })
    .map(|found| found.trim().to_owned())
}

/// The first 4 KiB that a program prints, when it ends well in time.
fn bounded(
    deadline: Duration,
    what: &str,
    command: &dyn Fn() -> io::Result<Command>,
) -> Result<String, String> {
    let until = Instant::now() + deadline;
    let mut child = start(command).map_err(|error| format!("it cannot be started: {error}"))?;
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        thread::spawn(move || {
            let mut text = Vec::new();
            let _ = output.take(4096).read_to_end(&mut text);
            let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
        });
    }
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{what} did not end within {} ms", deadline.as_millis()));
            }
        }
    };
    if !status.success() {
        return Err(format!("{what} ended with {status}"));
    }
    receiver
        .recv_timeout(Duration::from_secs(1))
        .map_err(|_| format!("{what} left its output open"))
}

fn start(command: &dyn Fn() -> io::Result<Command>) -> io::Result<Child> {
    let start = || {
        let mut command = command()?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0);
        command.spawn()
    };
    // A plank that is being spawned on the other thread holds, between its fork and its exec, every descriptor of this
    // process, the one through which this program was just written among them.
    for _ in 0..20 {
        match start() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(10));
            }
            started => return started,
        }
    }
    start()
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|data| data.len() > LARGEST_LOG_BYTES) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    File::options().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_asked_for_in_bounded_time() {
        assert!(
            version(Path::new("/bin/cat"), Duration::from_secs(5))
                .unwrap()
                .starts_with("cat ")
        );
        assert!(
            version(Path::new("/no/such"), Duration::from_secs(5))
                .unwrap_err()
                .contains("started")
        );
        assert!(
            version(Path::new("/bin/false"), Duration::from_secs(5))
                .unwrap_err()
                .contains("exit status")
        );
        let folder = tempfile::tempdir().unwrap();
        let slow = folder.path().join("slow");
        fs::write(&slow, "#!/bin/sh\nexec sleep 60\n").unwrap();
        fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        assert!(
            version(&slow, Duration::from_millis(100))
                .unwrap_err()
                .contains("within 100 ms")
        );
    }

    #[test]
    fn a_large_log_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel.log");
        File::create(&path)
            .unwrap()
            .set_len(LARGEST_LOG_BYTES + 1)
            .unwrap();
        assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), 0);
        assert!(folder.path().join("kernel.log.1").exists());
    }
}
