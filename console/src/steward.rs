//! A conversation with the steward: one request and one reply over its control socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use shared::control::{ControlReply, ControlRequest, PlankStatus, StewardStatus};
use shared::frame::{self, FrameError};
use shared::home::Home;

/// A steward answers from memory: longer than this means that it hangs.
const STATUS_DEADLINE: Duration = Duration::from_secs(5);

/// A steward that becomes another program keeps the socket that it listens at, and drops whom it talks with.
const MOST_BROKEN_OFF: u32 = 3;

/// What the steward says about itself; `None` when no steward listens.
pub fn status(home: &Home) -> Option<StewardStatus> {
    match ask(home, ControlRequest::Status, STATUS_DEADLINE) {
        Ok(ControlReply::Status(status)) => Some(status),
        _ => None,
    }
}

/// One request, one reply. A request whose conversation is broken off is made again.
pub fn ask(home: &Home, request: ControlRequest, deadline: Duration) -> Result<ControlReply, FrameError> {
    for _ in 0..MOST_BROKEN_OFF {
        match ask_once(home, &request, deadline) {
            Err(error) if error.is_disconnect() => (),
            done => return done,
        }
    }
    ask_once(home, &request, deadline)
}

fn ask_once(home: &Home, request: &ControlRequest, deadline: Duration) -> Result<ControlReply, FrameError> {
    let mut stream = UnixStream::connect(home.steward_socket())?;
    stream.set_read_timeout(Some(deadline))?;
    stream.set_write_timeout(Some(STATUS_DEADLINE))?;
    frame::write(&mut stream, request)?;
    frame::read(&mut stream)
}

/// The kernel as the steward sees it.
pub fn kernel_plank(status: &StewardStatus) -> Option<&PlankStatus> {
    status.planks.iter().find(|plank| plank.name == "kernel")
}

/// True when nobody listens, so that waiting is in vain.
pub fn is_absent(error: &FrameError) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error, FrameError::Io(error) if matches!(error.kind(), NotFound | ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::{fs, thread};

    use super::*;

    /// Reads one question of each connection and answers those for which there is an answer.
    fn steward(answers: Vec<Option<StewardStatus>>) -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        fs::create_dir_all(home.steward_socket().parent().unwrap()).unwrap();
        let listener = UnixListener::bind(home.steward_socket()).unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _: ControlRequest = frame::read(&mut stream).unwrap();
                if let Some(status) = answer {
                    frame::write(&mut stream, &ControlReply::Status(status)).unwrap();
                }
            }
        });
        (folder, home)
    }

    fn of_process(pid: u32) -> StewardStatus {
        StewardStatus {
            version: "9".to_owned(),
            pid,
            uptime_ms: 0,
            home: String::new(),
            planks: Vec::new(),
            instructions: Vec::new(),
            upgrade: None,
        }
    }

    #[test]
    fn a_question_that_a_new_program_forgot_is_put_again() {
        let (_folder, home) = steward(vec![None, Some(of_process(7))]);
        assert_eq!(status(&home).map(|status| status.pid), Some(7));
    }

    #[test]
    fn one_that_answers_nobody_is_no_steward() {
        let (_folder, home) = steward(vec![None; 1 + MOST_BROKEN_OFF as usize]);
        assert_eq!(status(&home), None);
    }

    #[test]
    fn nobody_listens_in_an_empty_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        assert_eq!(status(&home), None);
    }
}
