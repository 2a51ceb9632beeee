//! A process that this one starts by `posix_spawn`, which copies no memory.
//!
//! A fork copies the kernel's page tables and then each page that a thread writes to until the child runs its program: whoever sends waits
//! for milliseconds.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

/// Copies of descriptors lie above those numbers that they get in a child, so that none is lost before its turn.
const LEAST_COPY: RawFd = 16;

/// What a process is started with. It has those descriptors, what stands open without FD_CLOEXEC as standard error does, and no environment.
pub struct Order {
    program: CString,
    arguments: Vec<CString>,
    descriptors: Vec<(OwnedFd, RawFd)>,
}

/// A process that was started and may have ended. Whoever drops it kills it; it is always reaped.
#[derive(Debug)]
pub struct Started {
    id: u32,
    descriptor: OwnedFd,
    is_reaped: bool,
}

/// One whose end the runtime hears of.
#[derive(Debug)]
pub struct Child {
    process: AsyncFd<Started>,
    status: Option<ExitStatus>,
}

impl Order {
    pub fn new(program: &Path, arguments: Vec<OsString>) -> io::Result<Order> {
        let program = CString::new(program.as_os_str().as_bytes())?;
        let mut all = vec![program.clone()];
        for argument in arguments {
            all.push(CString::new(argument.into_vec())?);
        }
        let order = Order {
            program,
            arguments: all,
            descriptors: Vec::new(),
        };
        let nothing = File::options().read(true).write(true).open("/dev/null")?;
        order.handing(&nothing, 0)?.handing(&nothing, 1)
    }

    /// Hands a descriptor on under that number; this process's copy closes with the order.
    pub fn handing(mut self, descriptor: &impl AsFd, number: RawFd) -> io::Result<Order> {
        debug_assert!(number < LEAST_COPY);
        let copy = rustix::io::fcntl_dupfd_cloexec(descriptor, LEAST_COPY)?;
        self.descriptors.push((copy, number));
        Ok(self)
    }

    /// Starts it. The parent, for who asks to die with it, is the thread that calls this.
    pub fn start(self) -> io::Result<Started> {
        let mut actions = PosixSpawnFileActions::init()?;
        for (copy, number) in &self.descriptors {
            actions.add_dup2(copy.as_raw_fd(), *number)?;
        }
        let mut attributes = PosixSpawnAttr::init()?;
        attributes
            .set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
        attributes.set_sigmask(&SigSet::empty())?;
        // Rust's own programs begin by ignoring it, and what is ignored stays so.
        let mut defaults = SigSet::empty();
        defaults.add(Signal::SIGPIPE);
        attributes.set_sigdefault(&defaults)?;
        let environment: [&CStr; 0] = [];
        let id = posix_spawn(
            self.program.as_c_str(),
            &actions,
            &attributes,
            &self.arguments,
            &environment,
        )?;
        Started::of(id.as_raw())
    }
}

impl Started {
    fn of(id: i32) -> io::Result<Started> {
        let pid = Pid::from_raw(id).ok_or(io::ErrorKind::NotFound)?;
        // Nobody else reaps it, so the id is still its own.
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Started {
            id: id.unsigned_abs(),
            descriptor,
            is_reaped: false,
        })
    }

    /// How it ended, if it has.
    fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        let ended = wait(&self.descriptor, WaitIdOptions::NOHANG)?;
        self.is_reaped |= ended.is_some();
        Ok(ended)
    }

    fn kill(&self) {
        // One that has ended is as good.
        let _ = pidfd_send_signal(&self.descriptor, rustix::process::Signal::KILL);
    }
}

impl AsRawFd for Started {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        self.kill();
        let Ok(descriptor) = self.descriptor.try_clone() else {
            return;
        };
        // What is killed ends in milliseconds: its memory is given back.
        let reap = move || drop(wait(&descriptor, WaitIdOptions::empty()));
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(reap)),
            Err(_) => reap(),
        }
    }
}

impl Child {
    /// Called within a runtime.
    pub fn of(process: Started) -> io::Result<Child> {
        // SAFETY: `Started` owns its descriptor, never changes it, and closes it only when it is dropped, which `AsyncFd` does after it has
        // forgotten it; nobody else closes it.
        let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }?;
        Ok(Child {
            process,
            status: None,
        })
    }

    /// Its id, until it is reaped.
    pub fn id(&self) -> Option<u32> {
        let process = self.process.get_ref();
        (!process.is_reaped).then_some(process.id)
    }

    /// Returns when it has ended, and says so each time. Nothing is lost when this is broken off.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            let mut ready = self.process.readable_mut().await?;
            self.status = ready.get_inner_mut().reap()?;
            ready.clear_ready();
        }
    }

    /// Kills it, if it still lives, and reaps it.
    pub async fn kill(&mut self) -> io::Result<()> {
        if self.status.is_none() {
            self.process.get_ref().kill();
        }
        self.wait().await.map(drop)
    }
}

/// Reaps a process. `None` where it has not ended and is not waited for.
fn wait(descriptor: &OwnedFd, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
    let status = loop {
        match waitid(WaitId::PidFd(descriptor.as_fd()), WaitIdOptions::EXITED | options) {
            Err(rustix::io::Errno::INTR) => {}
            done => break done?,
        }
    };
    Ok(status.map(|status| {
        // As wait(2) has it: the code in the second byte, or the signal in the first.
        let code = status.exit_status().map(|code| code << 8);
        ExitStatus::from_raw(code.or(status.terminating_signal()).unwrap_or_default())
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn shell(script: &str) -> Order {
        let arguments = ["-c", script].map(OsString::from).to_vec();
        Order::new(Path::new("/bin/sh"), arguments).unwrap()
    }

    fn sleeper() -> Order {
        Order::new(Path::new("/bin/sleep"), vec!["60".into()]).unwrap()
    }

    /// What a script says at descriptor 3.
    fn said(script: &str) -> String {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let started = shell(script).handing(&writer, 3).unwrap().start().unwrap();
        drop(writer);
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        drop(started);
        text
    }

    #[tokio::test]
    async fn its_end_is_told_each_time() {
        let ended = |script| async move {
            let mut child = Child::of(shell(script).start().unwrap()).unwrap();
            assert!(child.id().is_some());
            let first = child.wait().await.unwrap();
            assert_eq!(child.wait().await.unwrap(), first);
            assert_eq!(child.id(), None);
            (first.code(), first.signal())
        };
        assert_eq!(ended("exit 7").await, (Some(7), None));
        assert_eq!(ended("kill -9 $$").await, (None, Some(9)));
        let mut child = Child::of(sleeper().start().unwrap()).unwrap();
        child.kill().await.unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(9));
    }

    #[test]
    fn it_gets_what_it_is_handed_and_nothing_else() {
        let path = std::env::current_exe().unwrap();
        let own = File::open(&path).unwrap();
        let seen = said("ls -l /proc/$$/fd >&3");
        drop(own);
        assert!(seen.contains(" 3 -> pipe:"), "{seen}");
        assert!(!seen.contains(path.to_str().unwrap()), "{seen}");
        assert_eq!(
            said("both=$(readlink /proc/$$/fd/0 /proc/$$/fd/1); echo \"$both\" >&3"),
            "/dev/null\n/dev/null\n"
        );
        assert_eq!(said("tr '\\0' '\\n' < /proc/$$/environ >&3"), "");
        // Neither masked nor ignored, but for the two above 31 that glibc keeps for itself.
        for line in said("grep -E '^Sig(Blk|Ign)' /proc/$$/status >&3").lines() {
            let signals = u64::from_str_radix(line[7..].trim(), 16).unwrap();
            assert_eq!(signals & 0x7fff_ffff, 0, "{line}");
        }
    }

    #[test]
    fn descriptors_never_take_one_anothers_place() {
        let (first, second) = (rustix::pipe::pipe().unwrap(), rustix::pipe::pipe().unwrap());
        let order = shell("echo one >&4; echo two >&3").handing(&second.1, 3).unwrap();
        let started = order.handing(&first.1, 4).unwrap().start().unwrap();
        drop((first.1, second.1));
        for (reader, expected) in [(first.0, "one\n"), (second.0, "two\n")] {
            let mut text = String::new();
            File::from(reader).read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
        drop(started);
    }

    #[test]
    fn what_is_dropped_is_killed_and_reaped() {
        let started = sleeper().start().unwrap();
        let path = format!("/proc/{}", started.id);
        assert!(Path::new(&path).exists());
        drop(started);
        assert!(!Path::new(&path).exists());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let order = Order::new(Path::new("/nonexistent"), Vec::new()).unwrap();
        assert_eq!(order.start().err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
