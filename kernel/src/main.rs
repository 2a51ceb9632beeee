//! The kernel's program; see `run`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kernel::run::main()
}
