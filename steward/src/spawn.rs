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
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::handover::CONTROL_DESCRIPTOR;
use shared::home::Home;

use crate::cgroup;
use crate::event::Event;
use crate::handover::Control;
use crate::logs::LARGEST_BYTES;
use crate::succession;

/// Where a plank finds its listening socket.
pub const LISTEN_DESCRIPTOR: RawFd = 3;
/// Where a kernel finds its control channel.
const CONTROL: RawFd = 4;
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
    pub limits: Limits,
    /// The file by which a process joins the plank's control group, where it has one.
    pub group: Option<File>,
}

/// Bounds of each process of a plank; `None` for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Heap and anonymous mappings.
    pub memory_bytes: Option<u64>,
    pub open_files: Option<u64>,
    /// 0 to 19.
    pub nice: Option<i32>,
    /// Of all its processes together.
    pub group: cgroup::Bounds,
}

impl Launch {
    /// The same for another program and other arguments.
    pub fn beside(&self, program: &Path, arguments: &[OsString]) -> io::Result<Launch> {
        Ok(Launch {
            program: program.to_path_buf(),
            arguments: arguments.to_vec(),
            environment: self.environment.clone(),
            listener: self.listener.try_clone()?,
            log: self.log.clone(),
            events: self.events.clone(),
            limits: self.limits.clone(),
            group: self.group.as_ref().map(File::try_clone).transpose()?,
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
    for name in OWN_ENVIRONMENT.iter().chain(&succession::OWN_ENVIRONMENT) {
        command.env_remove(name);
    }
    if passed.is_some() {
        command.env(CONTROL_DESCRIPTOR, CONTROL.to_string());
    } else {
        command.env_remove(CONTROL_DESCRIPTOR);
    }
    let limits = launch.limits.clone();
    let group = launch.group.as_ref().map(AsRawFd::as_raw_fd);
    // SAFETY: between fork and exec only system calls are made (dup2, prctl, write, setrlimit, setpriority), which are async-signal-safe and
    // allocate nothing. What is duplicated lives until after the spawn. Descriptors 3 and 4 are reserved in this process, so that dup2
    // replaces nothing that the child needs, and differ from those that are duplicated, so that the duplicates survive exec.
    unsafe {
        command.pre_exec(move || {
            check(libc::dup2(listener, LISTEN_DESCRIPTOR))?;
            if let Some(passed) = passed {
                check(libc::dup2(passed, CONTROL))?;
            }
            if let Some(group) = group {
                // "0" is the process that writes.
                check(libc::write(group, c"0".as_ptr().cast(), 1) as i32)?;
            }
            // A later steward of this user must be able to have the listening socket back; where no Yama is, there is nothing to allow.
            libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY);
            for (resource, limit) in [
                (libc::RLIMIT_DATA, limits.memory_bytes),
                (libc::RLIMIT_NOFILE, limits.open_files),
            ] {
                if let Some(limit) = limit {
                    let both = libc::rlimit {
                        rlim_cur: limit,
                        rlim_max: limit,
                    };
                    check(libc::setrlimit(resource, &both))?;
                }
            }
            match limits.nice {
                Some(nice) => check(libc::setpriority(libc::PRIO_PROCESS, 0, nice)),
                None => Ok(()),
            }
        });
    }
    let pid = command.spawn()?.id() as i32;
    // Its end is the kernel's alone now, so that the kernel's death ends the channel.
    drop(theirs);
    Ok((pid, control))
}

fn check(result: i32) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// 32 hexadecimal digits, drawn anew each time.
pub fn nonce() -> String {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        // Without one, a later steward does not adopt the process.
        Err(_) => String::new(),
    }
}

/// The first 4 KiB that `program --version` prints, when it ends well in time.
pub fn version(program: &Path, deadline: Duration) -> Result<String, String> {
    bounded(deadline, "--version", &|| {
        let mut command = Command::new(program);
        command.arg("--version").stderr(Stdio::null());
        Ok(command)
    })
}

/// What a kernel prints that works on an image that nobody has open, when it ends well in time; what it logs goes to `log`.
pub fn work(program: &Path, words: &[OsString], log: &Path, deadline: Duration) -> Result<String, String> {
    let what = words
        .first()
        .map_or_else(String::new, |word| word.to_string_lossy().into_owned());
    bounded(deadline, &what, &|| {
        let mut command = Command::new(program);
        command
            .args(words)
            .env_remove(CONTROL_DESCRIPTOR)
            .stderr(open_log(log)?);
        Ok(command)
    })
    .map(|found| found.trim().to_owned())
}

/// What `steward rehearse` prints, when it ends well in time.
pub fn rehearse_steward(program: &Path, home: &Home, deadline: Duration) -> Result<String, String> {
    let log = home.logs().join("steward.log");
    bounded(deadline, "the rehearsal", &|| {
        let mut command = Command::new(program);
        command
            .args([OsString::from("rehearse"), "--home".into(), home.path().into()])
            .stderr(open_log(&log)?);
        for name in succession::OWN_ENVIRONMENT {
            command.env_remove(name);
        }
        Ok(command)
    })
    .map(|found| found.trim().to_owned())
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

/// Runs a step's program in the home, without a shell, in a process group that is killed as a whole at the deadline. Its output is appended
/// to `logs/steps.log`. It dies with this process, and with the thread that calls.
pub fn command(argv: &[String], home: &Home, deadline: Duration) -> Result<String, String> {
    let until = Instant::now() + deadline;
    let program = argv.first().map_or("", String::as_str);
    let failed = |error: io::Error| format!("{program} cannot be started: {error}");
    let log = open_log(&home.logs().join("steps.log")).map_err(failed)?;
    let mut command = Command::new(program);
    command
        .args(argv.iter().skip(1))
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .process_group(0);
    for name in OWN_ENVIRONMENT.iter().chain(&succession::OWN_ENVIRONMENT) {
        command.env_remove(name);
    }
    // SAFETY: between fork and exec only prctl is called, which is a system call and nothing else.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let mut child = command.spawn().map_err(failed)?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
            Ok(None) | Err(_) => {
                let _ = kill(Pid::from_raw(-(child.id() as i32)), Signal::SIGKILL);
                let _ = child.wait();
                return Err(format!(
                    "{program} did not end within {} ms and was killed",
                    deadline.as_millis()
                ));
            }
        }
    };
    match status.success() {
        true => Ok(format!("{program} ended well")),
        false => Err(format!("{program} ended with {status}; see logs/steps.log")),
    }
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
    if fs::metadata(path).is_ok_and(|data| data.len() > LARGEST_BYTES) {
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
    fn a_command_is_bounded_and_its_words_are_no_shells() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        fs::create_dir(home.logs()).unwrap();
        let run = |words: &[&str], ms| {
            let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            command(&argv, &home, Duration::from_millis(ms))
        };
        run(&["/bin/echo", "$HOME; pwd"], 60_000).unwrap();
        let log = fs::read_to_string(home.logs().join("steps.log")).unwrap();
        assert_eq!(log, "$HOME; pwd\n");
        assert!(run(&["/bin/false"], 60_000).unwrap_err().contains("steps.log"));
        assert!(run(&["/no/such"], 60_000).unwrap_err().contains("started"));
        // Its children, too.
        let begun = Instant::now();
        let late = run(&["/bin/sh", "-c", "sleep 60 & sleep 60"], 100).unwrap_err();
        assert!(
            late.contains("within 100 ms") && begun.elapsed() < Duration::from_secs(30),
            "{late}"
        );
    }

    #[test]
    fn a_large_log_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel.log");
        File::create(&path).unwrap().set_len(LARGEST_BYTES + 1).unwrap();
        assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), 0);
        assert!(folder.path().join("kernel.log.1").exists());
    }
}
