//! What a killed steward left running. Its planks serve on until they are found here and ended cleanly; then they are started
//! anew, because a listening socket cannot be had back from a dead steward. (Adopting them is a later step.)

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use shared::home::Home;
use tracing::{error, info, warn};

use crate::process::{self, Identity};
use crate::supervisor::{INFERENCE, KERNEL, RecordedPlank, inference_mark, kernel_mark, record_path};

/// Ends the planks of an earlier steward of this home, the kernel first. The caller holds the home's lock.
///
/// A process counts as such a plank when the record names it by id, start time and boot; or, for one that was started just
/// before its steward died, when it is of this user and its arguments begin as only this home's planks' do.
pub fn retire(home: &Home, deadline: Duration) {
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
        for identity in found {
            info!(
                plank = name,
                pid = identity.pid,
                "left by an earlier steward; asked to end"
            );
            match identity.stop(deadline) {
                Ok(true) => {}
                Ok(false) => error!(plank = name, pid = identity.pid, "does not end, even killed"),
                Err(error) => error!(plank = name, pid = identity.pid, "cannot be ended: {error}"),
            }
        }
    }
}

fn recorded(home: &Home) -> Vec<RecordedPlank> {
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
        };
        let mut reused = record(stranger.id() as i32);
        reused.identity.start_ticks -= 1;
        let json = serde_json::to_vec(&[record(recorded.id() as i32), reused]).unwrap();
        fs::write(record_path(&home), json).unwrap();
        retire(&home, Duration::from_secs(2));
        assert!(!recorded.wait().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
