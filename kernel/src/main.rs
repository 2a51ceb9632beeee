//! The kernel's program; see `run`.

use std::process::ExitCode;

/// Requests are many small things that other threads give back; the system's allocator takes a tenth of a send for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kernel::run::main()
}
