//! The jail tries its own bars before it says that it is closed. Only what fails by EPERM can be tried; what kills is
//! tried by the tests.
#![allow(unsafe_code)]

use std::io::Error;
use std::ptr::null_mut;

use libc::c_long;

use crate::peer::DESCRIPTOR;

/// The error names the first bar that gave way.
pub fn check() -> Result<(), String> {
    const PAGE: usize = 4096;
    const EXECUTABLE: i32 = libc::PROT_READ | libc::PROT_EXEC;
    const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let path = c"/".as_ptr();
    let byte = [0u8; 1];
    let core = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: every pointer is valid for what its call reads (a C string, a byte, a limit); a mapping, should one
    // succeed, is new memory; `mprotect` is tried on the null page, which belongs to nobody.
    unsafe {
        refused("open files", || {
            libc::openat(libc::AT_FDCWD, path, libc::O_RDONLY).into()
        })?;
        refused("look for files", || {
            libc::faccessat(libc::AT_FDCWD, path, libc::R_OK, 0).into()
        })?;
        refused("make folders", || libc::mkdirat(libc::AT_FDCWD, path, 0).into())?;
        refused("copy its descriptor", || libc::dup(DESCRIPTOR).into())?;
        refused("write elsewhere", || {
            libc::write(DESCRIPTOR - 1, byte.as_ptr().cast(), 1) as c_long
        })?;
        refused("map code", || {
            libc::mmap(null_mut(), PAGE, EXECUTABLE, PRIVATE, -1, 0) as c_long
        })?;
        refused("map files", || {
            libc::mmap(null_mut(), PAGE, 0, libc::MAP_PRIVATE, DESCRIPTOR, 0) as c_long
        })?;
        refused("make code", || {
            libc::mprotect(null_mut(), PAGE, EXECUTABLE).into()
        })?;
        refused("set limits", || libc::setrlimit(libc::RLIMIT_CORE, &core).into())
    }
}

/// EPERM is the filter's answer; another error would be luck.
fn refused(what: &str, call: impl FnOnce() -> c_long) -> Result<(), String> {
    match (call(), Error::last_os_error()) {
        (-1, error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
        (-1, error) => Err(format!(
            "trying to {what} fails by \"{error}\", not by the filter"
        )),
        _ => Err(format!("code in it can {what}")),
    }
}
