//! How long the scheduler lets a thread run before others have their turn (sched_setattr(2)).
//!
//! Whoever wakes up waits until the thread that runs has used its slice up, whatever their priorities, unless its own slice is shorter
//! (Linux 6.12, `PREEMPT_SHORT`). So what nobody waits for asks for a long one: everybody else comes at once.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::time::Duration;

use nix::libc::{SYS_sched_getattr, SYS_sched_setattr, c_long, sched_attr, syscall};

/// The longest that Linux grants.
pub const LONGEST: Duration = Duration::from_millis(100);

/// Gives the calling thread, and what it starts from now on, such a slice; its priority stays. Older systems than Linux 6.12 take no notice.
pub fn ask_for(slice: Duration) -> io::Result<()> {
    let mut held = of_this_thread()?;
    held.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
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
    fn a_slice_leaves_the_priority_as_it_is() {
        // In a thread of its own, which ends with what it asked for.
        let (before, after) = thread::spawn(|| {
            rustix::process::setpriority_process(None, 3).unwrap();
            let before = of_this_thread().unwrap();
            ask_for(LONGEST).unwrap();
            (before, of_this_thread().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((before.sched_nice, after.sched_nice), (3, 3));
        assert_eq!(before.sched_policy, after.sched_policy);
        // Older systems say nothing of slices.
        assert!([0, LONGEST.as_nanos() as u64].contains(&after.sched_runtime));
    }
}
