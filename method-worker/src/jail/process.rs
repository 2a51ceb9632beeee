//! What the process is to others: nobody's tracer, nobody's heir, without privileges and descriptors.
#![allow(unsafe_code)]

use super::{JailError, check};
use crate::peer::DESCRIPTOR;

/// `_LINUX_CAPABILITY_VERSION_3` of `linux/capability.h`.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Dies with the kernel, cannot be traced by others of the same user, can gain no privilege, drops those it has.
pub fn detach() -> Result<(), JailError> {
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
    // SAFETY: setpriority takes integers only; 0 is this process.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice as libc::c_int) };
    check("priority", result.into())
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
