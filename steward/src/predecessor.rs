//! What a killed steward left running: adopted when it is what would be started now and its listening socket can be had back, else ended
//! cleanly before anything is started. Told in `docs/supervision.md`.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use shared::home::Home;
use tracing::{error, info, warn};

use crate::event::Event;
use crate::handover::Control;
use crate::plank::{NONCE, STANDBY};
use crate::process::{self, Identity};
use crate::running::Running;
use crate::spawn::LISTEN_DESCRIPTOR;
use crate::supervisor::{
    ALLOW, INFERENCE, KERNEL, METHOD_WORKER, PACKAGES, RecordedPlank, inference_mark, kernel_mark,
    record_path,
};

/// How long an inference-worker that is not wanted may finish what it writes: the kernel asks again.
const INFERENCE_DEADLINE: Duration = Duration::from_millis(500);

/// What would be started now.
pub struct Wanted<'a> {
    pub name: &'static str,
    pub program: &'a Path,
    pub arguments: &'a [OsString],
    pub environment: &'a [(String, String)],
    /// Where it listens.
    pub socket: PathBuf,
}

/// A process that serves on.
pub struct Adopted {
    pub process: Running,
    pub nonce: String,
    pub control: Option<Control>,
    /// The socket that it listens on.
    pub listener: UnixListener,
}

/// Takes over the recorded process of that name. `None` when there is none, or it is not just what is wanted; the log says why.
pub fn adopt(home: &Home, wanted: &Wanted, events: &Sender<Event>) -> Option<Adopted> {
    let mut known = recorded(home)
        .into_iter()
        .filter(|plank| plank.name == wanted.name);
    let plank = known.next()?;
    match check(home, wanted, &plank, events) {
        Ok(adopted) => Some(adopted),
        Err(cause) => {
            info!(
                plank = wanted.name,
                pid = plank.identity.pid,
                "not adopted: {cause}"
            );
            None
        }
    }
}

fn check(
    home: &Home,
    wanted: &Wanted,
    plank: &RecordedPlank,
    events: &Sender<Event>,
) -> Result<Adopted, String> {
    let pid = plank.identity.pid;
    let descriptor = Pid::from_raw(pid)
        .ok_or("its id is none")
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).map_err(|_| "it has ended"))?;
    // From here on the id is bound to the descriptor's process, or that one has ended.
    if Identity::of(pid).as_ref() != Some(&plank.identity) {
        return Err("it has ended".to_owned());
    }
    let program = wanted.program.canonicalize().ok();
    if program.is_none() || process::program(pid) != program {
        return Err(format!("it does not run {}", wanted.program.display()));
    }
    let parts = |name: &str| -> Vec<Vec<u8>> {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let mut parts: Vec<_> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        parts.pop();
        parts
    };
    let mut arguments = parts("cmdline");
    if arguments.last().is_some_and(|last| last == STANDBY.as_bytes()) {
        arguments.pop();
    }
    let has = arguments.iter().skip(1).map(Vec::as_slice);
    let wants = wanted.arguments.iter().map(|argument| argument.as_bytes());
    if lasting(has) != lasting(wants) {
        return Err("it has other arguments than it would be started with now".to_owned());
    }
    let environment = parts("environ");
    let nonce = (NONCE.to_owned(), plank.nonce.clone());
    for (name, value) in wanted.environment.iter().chain([&nonce]) {
        if plank.nonce.is_empty() || !environment.contains(&format!("{name}={value}").into_bytes()) {
            return Err(format!("its {name} is not {value:?}"));
        }
    }
    let listener = listener(&descriptor, &wanted.socket)?;
    let control = match wanted.name {
        KERNEL => Control::connect(&home.control_socket(pid.unsigned_abs()), events.clone())
            .inspect_err(|error| warn!("the adopted kernel cannot hand over: {error}"))
            .ok(),
        _ => None,
    };
    // This process may have been the earlier steward, before it became this program.
    let process = match process::is_child(pid) {
        true => Running::child(pid),
        false => Running::adopted(pid, descriptor, events.clone())
            .map_err(|error| format!("it cannot be watched: {error}"))?,
    };
    Ok(Adopted {
        process,
        nonce: plank.nonce.clone(),
        control,
        listener,
    })
}

/// Without what a running kernel can be told otherwise.
fn lasting<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    let told = [METHOD_WORKER, PACKAGES, ALLOW].map(str::as_bytes);
    let mut kept = Vec::new();
    while let Some(argument) = arguments.next() {
        match told.contains(&argument) {
            true => drop(arguments.next()),
            false => kept.push(argument),
        }
    }
    kept
}

/// A duplicate of the socket that the process listens on, when it is that of the path.
fn listener(process: &OwnedFd, path: &Path) -> Result<UnixListener, String> {
    let had = pidfd_getfd(process, LISTEN_DESCRIPTOR, PidfdGetfdFlags::empty())
        .map_err(|error| format!("its listening socket cannot be had back: {error}"))?;
    let link = format!("/proc/self/fd/{}", had.as_raw_fd());
    let inode = fs::metadata(link).map_err(|error| error.to_string())?.ino();
    let table = fs::read("/proc/net/unix").map_err(|error| error.to_string())?;
    let is_there = String::from_utf8_lossy(&table).lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(6);
        fields.next() == Some(&inode.to_string()) && fields.next().map(Path::new) == Some(path)
    });
    match is_there && path.symlink_metadata().is_ok() {
        true => Ok(UnixListener::from(had)),
        false => Err(format!("it does not listen at {}", path.display())),
    }
}

/// Ends the planks of an earlier steward of this home that were not adopted, the kernel first. The caller holds the home's lock.
///
/// A process counts as such a plank when the record names it by id, start time and boot; or, for one that was started just
/// before its steward died, when it is of this user and its arguments begin as only this home's planks' do.
pub fn retire(home: &Home, deadline: Duration, adopted: &[i32]) {
    let recorded = recorded(home);
    for (name, mark) in [(KERNEL, kernel_mark(home)), (INFERENCE, inference_mark(home))] {
        let mark: Vec<Vec<u8>> = mark.iter().map(|argument| argument.as_bytes().to_vec()).collect();
        let mut found: Vec<Identity> = recorded
            .iter()
            .filter(|plank| {
                plank.name == name && Identity::of(plank.identity.pid).as_ref() == Some(&plank.identity)
            })
            .map(|plank| plank.identity.clone())
            .collect();
        for identity in process::with_arguments(&mark)
            .into_iter()
            .filter_map(Identity::of)
        {
            if !found.contains(&identity) {
                found.push(identity);
            }
        }
        found.retain(|identity| !adopted.contains(&identity.pid));
        for identity in found {
            info!(
                plank = name,
                pid = identity.pid,
                "left by an earlier steward; asked to end"
            );
            let deadline = match name {
                INFERENCE => deadline.min(INFERENCE_DEADLINE),
                _ => deadline,
            };
            match identity.stop(deadline) {
                Ok(true) => {}
                Ok(false) => error!(plank = name, pid = identity.pid, "does not end, even killed"),
                Err(error) => error!(plank = name, pid = identity.pid, "cannot be ended: {error}"),
            }
        }
    }
}

/// What the record names, whether it runs or not.
pub fn recorded(home: &Home) -> Vec<RecordedPlank> {
    let Ok(bytes) = fs::read(record_path(home)) else {
        return Vec::new();
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        warn!("{} is not readable: {error}", record_path(home).display());
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_recorded_plank_is_ended_and_a_stranger_with_its_id_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        fs::create_dir(home.run()).unwrap();
        let sleep = |arguments: &[std::ffi::OsString]| {
            let mut command = Command::new("/bin/sh");
            command
                .arg("-c")
                .arg("while :; do read line || exit; done")
                .args(arguments)
                .stdin(Stdio::piped());
            command.arg0("kernel").spawn().unwrap()
        };
        let mut recorded = sleep(&[]);
        let mut stranger = sleep(&[]);
        let record = |pid| RecordedPlank {
            name: KERNEL.to_owned(),
            identity: Identity::of(pid).unwrap(),
            nonce: String::new(),
        };
        let mut reused = record(stranger.id() as i32);
        reused.identity.start_ticks -= 1;
        let json = serde_json::to_vec(&[record(recorded.id() as i32), reused]).unwrap();
        fs::write(record_path(&home), json).unwrap();
        retire(&home, Duration::from_secs(2), &[]);
        assert!(!recorded.wait().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
