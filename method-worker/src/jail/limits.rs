//! Resource limits.

use std::fmt;

use nix::sys::resource::{Resource, setrlimit};

use super::JailError;

/// Stack of the main thread: 500 sends inside one another, or 2,500 Python frames, take some 10 MiB.
const STACK_BYTES: u64 = 64 << 20;

/// What one process may use in its life.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Address space. Beyond it Python raises MemoryError (and Rust aborts).
    pub memory_mib: u64,
    /// Processor time of all runs together; at its end the process is killed.
    pub cpu_seconds: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_mib: 512,
            cpu_seconds: 60,
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rlimits ({} MiB, {} s)", self.memory_mib, self.cpu_seconds)
    }
}

/// Sets soft and hard limits, so that nothing raises them again.
pub fn close(limits: &Limits) -> Result<(), JailError> {
    let all = [
        (
            "address space limit",
            Resource::RLIMIT_AS,
            limits.memory_mib << 20,
        ),
        ("processor limit", Resource::RLIMIT_CPU, limits.cpu_seconds),
        ("stack limit", Resource::RLIMIT_STACK, STACK_BYTES),
        ("file size limit", Resource::RLIMIT_FSIZE, 0),
        ("core dump limit", Resource::RLIMIT_CORE, 0),
        ("process limit", Resource::RLIMIT_NPROC, 0),
        ("locked memory limit", Resource::RLIMIT_MEMLOCK, 0),
        ("message queue limit", Resource::RLIMIT_MSGQUEUE, 0),
        // Last: open descriptors stay, new ones are impossible from here.
        ("descriptor limit", Resource::RLIMIT_NOFILE, 0),
    ];
    for (part, resource, value) in all {
        setrlimit(resource, value, value).map_err(|errno| JailError::System {
            part,
            source: errno.into(),
        })?;
    }
    Ok(())
}
