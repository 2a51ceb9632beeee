//! What gives way to what: threads and processes of thoughts to those that serve.
//!
//! Niceness alone is not enough: whoever wakes up waits until the thread that runs has used its slice up, unless its own slice is shorter
//! (Linux 6.12, `PREEMPT_SHORT`). So what nobody waits for asks for a long one as well (sched_setattr(2)), and everybody else comes at once.
//! `SCHED_IDLE` would do more (sends at 100 thoughts: p99 2.5 to 4.3 times idle instead of 4 to 8), but under a full load of sends no trial would end
//! before its deadline.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::time::Duration;

use nix::libc::{SYS_sched_getattr, SYS_sched_setattr, c_long, sched_attr, syscall};

/// How nice thoughts are.
pub const NICE: i32 = 10;
/// The longest slice that Linux grants.
const LONGEST: Duration = Duration::from_millis(100);

/// Makes the calling thread, and what it starts from now on, as nice as thoughts are, or leaves it nicer. There is no way back without privileges.
pub fn be_nice() -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, nicer()?)?)
}

/// How nice what this thread starts for thoughts is: never less than the thread itself, since nobody may be so without privileges.
pub fn nicer() -> io::Result<i32> {
    // Of this thread alone, as Linux has it.
    Ok(rustix::process::getpriority_process(None)?.max(NICE))
}

/// Nice, and with the longest slice: what starts a process takes its time, and lets a thought's own threads and trials come at once, too.
pub fn give_way() -> io::Result<()> {
    be_nice()?;
    let mut held = of_this_thread()?;
    // Systems before Linux 6.12 take no notice.
    held.sched_runtime = LONGEST.as_nanos() as u64;
    let flags = 0;
    // SAFETY: `held` is a whole `sched_attr` whose size it says itself, and is only read; 0 is this thread.
    checked(unsafe { syscall(SYS_sched_setattr, 0, &raw const held, flags) })
}

fn of_this_thread() -> io::Result<sched_attr> {
    let size = size_of::<sched_attr>() as u32;
    let mut held = sched_attr {
        size,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    let flags = 0;
    // SAFETY: as much as `size` says is written, and `held` is as large; 0 is this thread.
    checked(unsafe { syscall(SYS_sched_getattr, 0, &raw mut held, size, flags) })?;
    Ok(held)
}

fn checked(result: c_long) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_gives_way_is_nice_and_keeps_its_policy() {
        // In a thread of its own, which ends with what it asked for.
        let (before, after) = thread::spawn(|| {
            let before = of_this_thread().unwrap();
            give_way().unwrap();
            (before, of_this_thread().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!(after.sched_nice, before.sched_nice.max(NICE));
        assert_eq!(before.sched_policy, after.sched_policy);
        // Older systems say nothing of slices.
        assert!([0, LONGEST.as_nanos() as u64].contains(&after.sched_runtime));
    }
}
