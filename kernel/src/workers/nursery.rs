//! Threads that start processes and do nothing else.
//!
//! - A worker asks to be killed when its parent ends, and to Linux the parent is the thread that forked (prctl(2), `PR_SET_PDEATHSIG`).
//!   Threads of the runtime come and go with what blocks; these stay as long as the process.
//! - A fork takes milliseconds, in which a thread of the runtime would carry out nothing else.
//! - What is forked has its thread's priority from its first moment: loading an interpreter for a thought gives way to sends, too.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::process::Work;

/// Whoever starts processes for sends, and for thoughts.
static NURSERIES: [OnceLock<Sender<Order>>; 2] = [OnceLock::new(), OnceLock::new()];

struct Order {
    command: Command,
    /// Of the runtime that hears of the child's end.
    runtime: Handle,
    child: oneshot::Sender<io::Result<Child>>,
}

/// Starts a process for such work; the command is dropped before this returns, and with it the parent's copies of what the child got.
pub async fn start(command: Command, work: Work) -> io::Result<Child> {
    let (child, started) = oneshot::channel();
    let order = Order {
        command,
        runtime: Handle::current(),
        child,
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
    sender.send(order).map_err(|_| gone())?;
    started.await.map_err(|_| gone())?
}

fn open(work: Work) -> io::Result<Sender<Order>> {
    let (sender, orders) = channel();
    thread::Builder::new()
        .name("nursery".into())
        .spawn(move || serve(work, &orders))?;
    Ok(sender)
}

fn serve(work: Work, orders: &Receiver<Order>) {
    // Of this thread alone, as Linux has it.
    let priority = rustix::process::setpriority_process(None, work.nice());
    if let Err(error) = priority {
        tracing::warn!(%error, ?work, "workers begin with the kernel's own priority");
    }
    while let Ok(mut order) = orders.recv() {
        let _entered = order.runtime.enter();
        let child = order.command.spawn();
        drop(order.command);
        // Whoever gave up waiting has the child killed.
        let _ = order.child.send(child);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A process that asks to be killed when its parent ends, as workers do.
    fn dependent() -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "sleep", "60"]);
        command
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
        let mut child = runtime.block_on(started).unwrap().unwrap();
        let id = child.id().unwrap();
        // Time to ask for it.
        thread::sleep(Duration::from_millis(300));
        drop(runtime);
        thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none(), "it was killed");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(id).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }

    #[test]
    fn what_is_started_for_thoughts_gives_way_and_what_is_started_for_sends_does_not() {
        let runtime = runtime();
        for work in [Work::Thoughts, Work::Sends] {
            let mut command = Command::new("nice");
            command.stdout(std::process::Stdio::piped());
            let child = runtime.block_on(start(command, work)).unwrap();
            let told = runtime.block_on(child.wait_with_output()).unwrap().stdout;
            assert_eq!(String::from_utf8(told).unwrap().trim(), work.nice().to_string());
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_each_time() {
        let runtime = runtime();
        for _ in 0..2 {
            let failed = runtime.block_on(start(Command::new("/nonexistent"), Work::Sends));
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
