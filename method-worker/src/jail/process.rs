//! What the process is to others: nobody's tracer, nobody's heir, without privileges and descriptors.
#![allow(unsafe_code)]

use super::{JailError, check};
use crate::peer::DESCRIPTOR;

/// `_LINUX_CAPABILITY_VERSION_3` of `linux/capability.h`.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// The slice of one that gives way: longer than the usual one, so that whoever serves comes at once when it wakes (`PREEMPT_SHORT` of Linux 6.12),
/// and shorter than that of a process that only starts, before which it comes. Earlier ones have one slice for all. sched_setattr(2).
const SLICE_NS: u64 = 10_000_000;

/// Keeps no folder in use, dies with the kernel, cannot be traced by others of the same user, can gain no privilege, drops those it has.
pub fn detach() -> Result<(), JailError> {
    std::env::set_current_dir("/").map_err(|source| JailError::System {
        part: "folder",
        source,
    })?;
    // The kernel of BAT OS is the parent; when it went away before this line, the socket says so at the first read.
    prctl(
        "parent death signal",
        libc::PR_SET_PDEATHSIG,
        libc::SIGKILL as libc::c_ulong,
    )?;
    prctl("not dumpable", libc::PR_SET_DUMPABLE, 0)?;
    prctl("no_new_privs", libc::PR_SET_NO_NEW_PRIVS, 1)?;
    let header: [u32; 2] = [CAPABILITY_VERSION_3, 0];
    let none: [u32; 6] = [0; 6];
    // SAFETY: version 3 of capset reads a header of two u32 (version, pid 0 = self) and two sets of three u32.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    check("capabilities", result)
}

/// Gives way to other processes for good; 0 changes nothing.
pub fn give_way(nice: u64) -> Result<(), JailError> {
    if nice == 0 {
        return Ok(());
    }
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice as i32,
        sched_priority: 0,
        sched_runtime: SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: sched_setattr reads `size` bytes of the attributes; 0 is this process, the last 0 no flags.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    check("priority", result)
}

/// Closes every descriptor but the kernel's socket; standard error is gone after it.
pub fn close_descriptors() -> Result<(), JailError> {
    let socket = DESCRIPTOR as libc::c_uint;
    for (first, last) in [(0, socket - 1), (socket + 1, libc::c_uint::MAX)] {
        // SAFETY: no owner of a closed descriptor uses it again: Python's standard streams are removed in
        // `interpreter::settle`, Rust's ignore EBADF, and the landlock ruleset was closed by its owner.
        let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        check("closing descriptors", result)?;
    }
    Ok(())
}

fn prctl(part: &'static str, option: libc::c_int, value: libc::c_ulong) -> Result<(), JailError> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the options used here take integers only.
    let result = unsafe { libc::prctl(option, value, zero, zero, zero) };
    check(part, result.into())
}
