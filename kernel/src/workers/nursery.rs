//! Threads that start processes and do nothing else.
//!
//! - A worker asks to be killed when its parent ends, and to Linux the parent is the thread that forked (prctl(2), `PR_SET_PDEATHSIG`).
//!   Threads of the runtime come and go with what blocks; these stay as long as the process.
//! - A start takes a millisecond, in which a thread of the runtime would carry out nothing else.
//! - What is started has its thread's priority from its first moment: loading an interpreter for a thought gives way to sends, too.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::child::{Child, Order, Started};
use super::process::Work;
use crate::priority;

/// Whoever starts processes for sends, and for thoughts.
static NURSERIES: [OnceLock<Sender<Errand>>; 2] = [OnceLock::new(), OnceLock::new()];

struct Errand {
    order: Order,
    /// Of whoever waits; where nobody does any more, it reaps the process.
    runtime: Handle,
    started: oneshot::Sender<io::Result<Started>>,
}

/// Starts a process for such work; the order is dropped before this returns, and with it the parent's copies of what the child got.
pub async fn start(order: Order, work: Work) -> io::Result<Child> {
    let (sender, started) = oneshot::channel();
    let errand = Errand {
        order,
        runtime: Handle::current(),
        started: sender,
    };
    let nursery = match work {
        Work::Sends => &NURSERIES[0],
        Work::Thoughts => &NURSERIES[1],
    };
    let gone = || io::Error::other("the thread that starts processes has ended");
    let sender = match nursery.get() {
        Some(sender) => sender,
        None => {
            let sender = open(work)?;
            nursery.get_or_init(|| sender)
        }
    };
    sender.send(errand).map_err(|_| gone())?;
    Child::of(started.await.map_err(|_| gone())??)
}

fn open(work: Work) -> io::Result<Sender<Errand>> {
    let (sender, errands) = channel();
    thread::Builder::new()
        .name("nursery".into())
        .spawn(move || serve(work, &errands))?;
    Ok(sender)
}

fn serve(work: Work, errands: &Receiver<Errand>) {
    if work == Work::Thoughts
        && let Err(error) = priority::give_way()
    {
        tracing::warn!(%error, "workers of thoughts begin with the kernel's own priority");
    }
    while let Ok(errand) = errands.recv() {
        let _entered = errand.runtime.enter();
        // Whoever gave up waiting has the process killed.
        let _ = errand.started.send(errand.order.start());
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs::File;
    use std::io::Read;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn order(program: &str, arguments: &[&str]) -> Order {
        let arguments = arguments.iter().map(OsString::from).collect();
        Order::new(Path::new(program), arguments).unwrap()
    }

    /// A process that asks to be killed when its parent ends, as workers do.
    fn dependent() -> Order {
        order("/usr/bin/setpriv", &["--pdeathsig", "KILL", "/bin/sleep", "60"])
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn a_process_outlives_the_threads_of_the_runtime_that_asked_for_it() {
        let runtime = runtime();
        let started = runtime.spawn(async { start(dependent(), Work::Sends).await });
        let child = runtime.block_on(started).unwrap().unwrap();
        let id = child.id().unwrap();
        // It has asked for it when it runs the other program.
        let name = format!("/proc/{id}/comm");
        while std::fs::read_to_string(&name).unwrap() != "sleep\n" {
            thread::yield_now();
        }
        drop(runtime);
        // A signal that comes has come by then.
        thread::sleep(Duration::from_millis(100));
        let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        assert!(!state.contains(") Z "), "it was killed");
    }

    #[test]
    fn what_is_started_for_thoughts_gives_way_and_what_is_started_for_sends_does_not() {
        let runtime = runtime();
        for work in [Work::Thoughts, Work::Sends] {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            let order = order("/bin/sh", &["-c", "/usr/bin/nice >&3"]);
            let mut child = runtime
                .block_on(start(order.handing(&writer, 3).unwrap(), work))
                .unwrap();
            drop(writer);
            let mut told = String::new();
            File::from(reader).read_to_string(&mut told).unwrap();
            let own = rustix::process::getpriority_process(None).unwrap();
            assert_eq!(told.trim(), work.nice().unwrap().max(own).to_string());
            assert!(runtime.block_on(child.wait()).unwrap().success());
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_each_time() {
        let runtime = runtime();
        for _ in 0..2 {
            let failed = runtime.block_on(start(order("/nonexistent", &[]), Work::Sends));
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
