//! The method-worker: carries out messages of the image in a CPython that is walled in (M10, M14).
//!
//! In reading order:
//! - [`arguments`]: the command line.
//! - [`interpreter`]: CPython, started isolated and warmed until it needs no file any more.
//! - [`jail`]: the wall. `docs/sandbox.md` draws it.
//! - [`peer`]: the kernel at the other end of descriptor 3. [`progress`]: what it sees without asking.
//! - [`world`], [`run`]: objects kept between runs; what one run has seen and changed.
//! - [`proxy`], [`range`], [`unanswered`], [`primitive`]: what a method sees of the image.
//! - [`send`], [`code`], [`globals`]: carrying out a method.
//! - [`decode`], [`encode`], [`time`], [`blob`], [`measure`], [`holders`]: values into Python and back; the
//!   difference a run made.
//! - [`report`]: an exception as the kernel gets it. [`serve`]: the loop.
//!
//! Non-goals: judging code (the guard does, in the kernel) and committing anything.

mod arguments;
mod blob;
mod code;
mod decode;
mod encode;
mod globals;
mod holders;
mod interpreter;
mod jail;
mod measure;
mod peer;
mod primitive;
mod progress;
mod proxy;
mod range;
mod report;
mod run;
mod send;
mod serve;
mod time;
mod tree;
mod unanswered;
mod world;

use std::io::Write;
use std::process::ExitCode;

use shared::exit;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        let python = interpreter::library();
        println!("method-worker {} (Python {python})", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let arguments = match arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("method-worker: {message}");
            return ExitCode::from(exit::USAGE);
        }
    };
    match serve::serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Once the jail is closed there is no standard error, and `eprintln!` would panic.
            let _ = writeln!(std::io::stderr(), "method-worker: {error}");
            ExitCode::from(exit::ERROR)
        }
    }
}
