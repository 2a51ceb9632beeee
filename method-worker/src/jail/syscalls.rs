//! Every system call that the jail treats other than by EPERM, with the reason beside it.
//!
//! Whatever is in neither table fails with EPERM: CPython turns that into `PermissionError` and goes on, which is what
//! tracebacks and lazy look-ups need (`openat`, `stat`, `readlink`, `lseek`, `ioctl` …).

use libc::c_long;

/// A call that is let through, if its arguments obey `rule`.
pub struct Allowed {
    pub number: c_long,
    pub rule: Rule,
    /// Why CPython or Rust needs it. Read by people only.
    #[allow(dead_code)]
    pub reason: &'static str,
}

/// What the arguments must be.
#[derive(Clone, Copy)]
pub enum Rule {
    Any,
    /// Argument 0 is the kernel's socket.
    OnSocket,
    /// On the socket and without an address (argument 4).
    SendOnSocket,
    /// On the socket and without a place for an address (argument 4).
    ReceiveOnSocket,
    /// Argument 2 has no PROT_EXEC.
    NoExecution,
    /// Argument 2 has no PROT_EXEC, argument 3 has MAP_ANONYMOUS: no file is mapped.
    AnonymousNoExecution,
}

const fn allow(number: c_long, rule: Rule, reason: &'static str) -> Allowed {
    Allowed { number, rule, reason }
}

/// Calls that a run needs.
pub const ALLOWED: &[Allowed] = &[
    allow(libc::SYS_read, Rule::OnSocket, "frames from the kernel"),
    allow(libc::SYS_write, Rule::OnSocket, "frames to the kernel"),
    allow(
        libc::SYS_recvfrom,
        Rule::ReceiveOnSocket,
        "frames from the kernel, as Rust reads sockets",
    ),
    allow(
        libc::SYS_sendto,
        Rule::SendOnSocket,
        "frames to the kernel, as Rust writes sockets",
    ),
    allow(
        libc::SYS_mmap,
        Rule::AnonymousNoExecution,
        "memory of the allocators",
    ),
    allow(libc::SYS_munmap, Rule::Any, "memory given back"),
    allow(
        libc::SYS_mremap,
        Rule::Any,
        "large lists and frames that grow; cannot change the protection",
    ),
    allow(libc::SYS_brk, Rule::Any, "memory of the allocator"),
    allow(libc::SYS_madvise, Rule::Any, "memory given back by the allocator"),
    allow(
        libc::SYS_mprotect,
        Rule::NoExecution,
        "the allocator grows its heap",
    ),
    allow(libc::SYS_futex, Rule::Any, "locks: the GIL, the allocator"),
    allow(
        libc::SYS_rt_sigreturn,
        Rule::Any,
        "leaving a signal handler (Rust's, for a stack overflow)",
    ),
    allow(
        libc::SYS_rt_sigaction,
        Rule::Any,
        "abort() and Rust's overflow handler restore the default",
    ),
    allow(libc::SYS_rt_sigprocmask, Rule::Any, "abort()"),
    allow(
        libc::SYS_sigaltstack,
        Rule::Any,
        "Rust gives its signal stack back at the end",
    ),
    allow(libc::SYS_clock_gettime, Rule::Any, "where the vDSO has no clock"),
    allow(libc::SYS_gettimeofday, Rule::Any, "where the vDSO has no clock"),
    allow(libc::SYS_getrandom, Rule::Any, "seeds of Rust's hash tables"),
    allow(
        libc::SYS_restart_syscall,
        Rule::Any,
        "a read that a stop and continue interrupted",
    ),
    allow(libc::SYS_sched_yield, Rule::Any, "spinning locks"),
    allow(libc::SYS_exit, Rule::Any, "the end"),
    allow(libc::SYS_exit_group, Rule::Any, "the end"),
];

/// A call that ends the process at once: no honest method comes near it.
pub struct Hostile {
    pub number: c_long,
    /// What it would be for. Read by people only.
    #[allow(dead_code)]
    pub reason: &'static str,
}

const fn kill(number: c_long, reason: &'static str) -> Hostile {
    Hostile { number, reason }
}

/// Calls that kill. `seccomp` and `prctl` are not among them, since the second filter is set through the first: they get
/// EPERM.
pub const HOSTILE: &[Hostile] = &[
    kill(libc::SYS_execve, "another program"),
    kill(libc::SYS_execveat, "another program"),
    #[cfg(target_arch = "x86_64")]
    kill(libc::SYS_fork, "a process beside the jail's limits"),
    #[cfg(target_arch = "x86_64")]
    kill(libc::SYS_vfork, "a process beside the jail's limits"),
    kill(libc::SYS_clone, "a process or thread"),
    kill(libc::SYS_clone3, "a process or thread"),
    kill(libc::SYS_ptrace, "other processes' memory"),
    kill(libc::SYS_process_vm_readv, "other processes' memory"),
    kill(libc::SYS_process_vm_writev, "other processes' memory"),
    kill(libc::SYS_process_madvise, "other processes' memory"),
    kill(libc::SYS_pidfd_open, "a handle on another process"),
    kill(libc::SYS_pidfd_getfd, "descriptors of another process"),
    kill(libc::SYS_pidfd_send_signal, "signals to others"),
    kill(libc::SYS_kill, "signals to others"),
    kill(
        libc::SYS_tkill,
        "signals to others; abort() dies by it too, as it wants",
    ),
    kill(
        libc::SYS_tgkill,
        "signals to others; abort() dies by it too, as it wants",
    ),
    kill(libc::SYS_rt_sigqueueinfo, "signals to others"),
    kill(libc::SYS_rt_tgsigqueueinfo, "signals to others"),
    kill(libc::SYS_socket, "network"),
    kill(libc::SYS_socketpair, "network"),
    kill(libc::SYS_connect, "network"),
    kill(libc::SYS_bind, "network"),
    kill(libc::SYS_listen, "network"),
    kill(libc::SYS_accept, "network"),
    kill(libc::SYS_accept4, "network"),
    kill(libc::SYS_sendmsg, "passing descriptors"),
    kill(libc::SYS_sendmmsg, "passing descriptors"),
    kill(libc::SYS_recvmsg, "taking descriptors"),
    kill(libc::SYS_recvmmsg, "taking descriptors"),
    kill(libc::SYS_mount, "another file system"),
    kill(libc::SYS_umount2, "another file system"),
    kill(libc::SYS_pivot_root, "another file system"),
    kill(libc::SYS_chroot, "another file system"),
    kill(libc::SYS_open_tree, "another file system"),
    kill(libc::SYS_move_mount, "another file system"),
    kill(libc::SYS_fsopen, "another file system"),
    kill(libc::SYS_fsmount, "another file system"),
    kill(libc::SYS_unshare, "another namespace"),
    kill(libc::SYS_setns, "another namespace"),
    kill(libc::SYS_bpf, "code in the operating system"),
    kill(
        libc::SYS_perf_event_open,
        "a classic way to exploit the operating system",
    ),
    kill(
        libc::SYS_userfaultfd,
        "a classic way to exploit the operating system",
    ),
    kill(libc::SYS_io_uring_setup, "system calls past this filter"),
    kill(libc::SYS_io_uring_enter, "system calls past this filter"),
    kill(libc::SYS_io_uring_register, "system calls past this filter"),
    kill(libc::SYS_memfd_create, "a file without a file system"),
    kill(libc::SYS_memfd_secret, "a file without a file system"),
    kill(libc::SYS_keyctl, "keys of the session"),
    kill(libc::SYS_add_key, "keys of the session"),
    kill(libc::SYS_request_key, "keys of the session"),
    kill(libc::SYS_personality, "memory that is executable when readable"),
    kill(libc::SYS_init_module, "code in the operating system"),
    kill(libc::SYS_finit_module, "code in the operating system"),
    kill(libc::SYS_delete_module, "code in the operating system"),
    kill(libc::SYS_kexec_load, "another operating system"),
    kill(libc::SYS_reboot, "the machine"),
    kill(libc::SYS_swapon, "the machine"),
    kill(libc::SYS_capset, "privileges"),
    kill(libc::SYS_setuid, "privileges"),
    kill(libc::SYS_setgid, "privileges"),
    kill(libc::SYS_setresuid, "privileges"),
    kill(libc::SYS_setresgid, "privileges"),
    #[cfg(target_arch = "x86_64")]
    kill(libc::SYS_arch_prctl, "the thread's registers, cpuid faults"),
    #[cfg(target_arch = "x86_64")]
    kill(
        libc::SYS_modify_ldt,
        "a classic way to exploit the operating system",
    ),
    #[cfg(target_arch = "x86_64")]
    kill(libc::SYS_iopl, "hardware"),
    #[cfg(target_arch = "x86_64")]
    kill(libc::SYS_ioperm, "hardware"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_call_stands_once_and_has_a_reason() {
        let rows = ALLOWED.iter().map(|row| (row.number, row.reason));
        let rows = rows.chain(HOSTILE.iter().map(|row| (row.number, row.reason)));
        let mut seen = HashSet::new();
        for (number, reason) in rows {
            assert!(seen.insert(number), "system call {number} stands twice");
            assert!(!reason.is_empty(), "system call {number} has no reason");
        }
    }
}
