//! The wall, closed in one order; `docs/sandbox.md` draws it.
//!
//! 1. [`process`]: die with the kernel, not dumpable, no new privileges, no capabilities.
//! 2. [`landlock`]: no right to any path, port or peer; checked by opening a file that was open to it before.
//! 3. [`limits`]: memory, processor time, stack, and zero for files, descriptors, processes, core dumps.
//! 4. [`process::close_descriptors`]: nothing but the socket of the kernel.
//! 5. [`filter`]: the system calls of [`syscalls`].
//! 6. [`probes`]: what must fail does fail.

mod filter;
mod landlock;
mod limits;
mod probes;
mod process;
mod syscalls;

pub use limits::Limits;
pub use process::give_way;

use crate::arguments::Strictness;

/// Why the wall does not stand. Each names the part.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    #[error("{part}: {source}")]
    System {
        part: &'static str,
        source: std::io::Error,
    },
    #[error("{0}")]
    Landlock(String),
    #[error("this machine has no {0}; --allow-weak-jail runs without it")]
    Missing(String),
    #[error("seccomp: {0}")]
    Seccomp(String),
    #[error("the jail leaks: {0}")]
    Leak(String),
}

/// Closes the jail around this process for good and says in words what it consists of.
///
/// After success nothing can be opened any more, standard error included.
pub fn close(limits: &Limits, strictness: Strictness) -> Result<String, JailError> {
    process::detach()?;
    let mut parts = vec!["no_new_privs".to_owned(), "no capabilities".to_owned()];
    match landlock::close()? {
        Ok(words) => parts.push(words),
        Err(missing) if strictness == Strictness::Weak => parts.push(format!("MISSING {missing}")),
        Err(missing) => return Err(JailError::Missing(missing)),
    }
    limits::close(limits)?;
    parts.push(limits.to_string());
    let filters = filter::compile().map_err(JailError::Seccomp)?;
    process::close_descriptors()?;
    parts.push(filter::close(&filters).map_err(JailError::Seccomp)?);
    probes::check().map_err(JailError::Leak)?;
    parts.push("probed".to_owned());
    Ok(parts.join(", "))
}

fn check(part: &'static str, result: libc::c_long) -> Result<(), JailError> {
    match result {
        -1 => Err(JailError::System {
            part,
            source: std::io::Error::last_os_error(),
        }),
        _ => Ok(()),
    }
}
