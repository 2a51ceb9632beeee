//! `batos console`: read a line, ask the image, show the answer; no error ends it. Input that is no terminal is a script.

use std::io::{self, BufRead, IsTerminal, Read, StdinLock};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use serde_json::Value as Json;
use shared::bridge::Call;
use shared::exit;
use shared::home::Home;
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::command::AnswerView;
use crate::completion::Completion;
use crate::failure::Failure;
use crate::kernel::{Happening, Kernel, Manner};
use crate::line::{self, Line};
use crate::literal;
use crate::output::{self, Report, complain, say};
use crate::progress::Progress;
use crate::status;

/// The only one of the commands that the console has run that can be said in a branch.
const BLOB_PUT: [&str; 2] = ["blob", "put"];
/// Longest line of a script.
const MAX_LINE_BYTES: u64 = (16 << 20) + 4096;

/// With a branch, what is said is said in it.
pub fn run(home: &Home, branch: Option<String>) -> Result<Report, Failure> {
    let mut console = Console {
        home: home.clone(),
        kernel: Kernel::of(home),
        branch,
        interrupt: None,
        input: Input::Script(io::stdin().lock()),
        exit: exit::ANSWERED,
    };
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        console.input = Input::editor(home)?;
        console.interrupt = Some(Interrupt::watch()?);
        say(&format!(
            "BAT OS at {}; `help` shows what can be said, Ctrl-D ends",
            home.path().display()
        ));
        if let Err(failure) = status::kernel(home, std::time::Duration::from_millis(500)) {
            complain(&failure);
        }
    }
    console.input.enter(console.branch.as_deref());
    while let Some(text) = console.input.read(&console.prompt()) {
        match text.and_then(|text| line::parse(&text)) {
            Ok(Line::Quit) => break,
            Ok(line) => console.perform(line),
            Err(failure) => console.fail(&failure),
        }
    }
    let exit = if console.interrupt.is_some() {
        exit::ANSWERED
    } else {
        console.exit
    };
    Ok(Report {
        document: Json::Null,
        text: String::new(),
        exit,
    })
}

struct Console {
    home: Home,
    kernel: Kernel,
    /// Where sends, looks and edits go; `None` is the image itself.
    branch: Option<String>,
    /// On a terminal alone: elsewhere Ctrl-C ends the program as usual.
    interrupt: Option<Interrupt>,
    input: Input,
    /// Of the last failure of a script.
    exit: u8,
}

impl Console {
    fn perform(&mut self, line: Line) {
        match line {
            Line::Empty | Line::Quit => {}
            Line::Help => say(line::HELP),
            Line::Status => match status::run(&self.home) {
                Ok(report) => self.show(&report),
                Err(failure) => self.fail(&failure),
            },
            Line::Call(call) => self.call(call),
            Line::Program(words) => self.program(&words),
            Line::Enter(branch) => {
                self.input.enter(branch.as_deref());
                self.branch = branch;
            }
            Line::Define { object, file } => {
                self.with_source(file, |source| Call::Define { object, source });
            }
            Line::Guard { file } => self.with_source(file, |source| Call::Guard { source }),
        }
    }

    /// Has `batos` itself do it, as a program that Ctrl-C ends.
    fn program(&mut self, words: &[String]) {
        let run = |program: PathBuf| {
            let mut command = Command::new(program);
            command.arg("--home").arg(self.home.path()).args(words);
            if let Some(branch) = self
                .branch
                .as_ref()
                .filter(|_| words.starts_with(&BLOB_PUT.map(str::to_owned)))
            {
                command.arg("--branch").arg(branch);
            }
            if matches!(self.input, Input::Script(_)) {
                // The rest of the script is not its input.
                command.stdin(Stdio::null());
            }
            command.status()
        };
        match std::env::current_exe().and_then(run) {
            Ok(status) if status.success() => {}
            Ok(status) => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                self.exit = code.unwrap_or(exit::ERROR);
            }
            Err(error) => self.fail(&Failure::internal(format!("batos cannot be started: {error}"))),
        }
    }

    fn with_source(&mut self, file: Option<String>, call: impl FnOnce(String) -> Call) {
        let source = match file {
            Some(file) => literal::source(Path::new(&file)).map(Some),
            None => self.input.source(),
        };
        match source {
            Ok(Some(source)) => self.call(call(source)),
            Ok(None) => {}
            Err(failure) => self.fail(&failure),
        }
    }

    fn prompt(&self) -> String {
        match &self.branch {
            Some(branch) => format!("{branch}> "),
            None => "> ".to_owned(),
        }
    }

    fn call(&mut self, call: Call) {
        // What is no send, look or edit is the same everywhere.
        let within = self
            .branch
            .clone()
            .and_then(|branch| call.clone().in_branch(branch));
        let branch = self.branch.clone().filter(|_| within.is_some());
        let call = within.unwrap_or(call);
        let view = AnswerView::of(&call);
        let is_watched = self.interrupt.is_some() && matches!(call, Call::Send { .. });
        let mut progress = Progress::new(output::has_error_colours());
        let result = {
            let mut watch = |event: &_| progress.show(event);
            let interrupt = self.interrupt.as_ref();
            let leave = |sender| {
                if let Some(interrupt) = interrupt {
                    interrupt.arm(sender);
                }
            };
            let watch: Option<&mut dyn FnMut(&_)> = if is_watched { Some(&mut watch) } else { None };
            self.kernel.call(
                call,
                Manner {
                    watch,
                    leave: Some(&leave),
                    patience: None,
                },
            )
        };
        if let Some(interrupt) = &self.interrupt {
            interrupt.disarm();
        }
        progress.end();
        match result {
            Ok(answered) => self.show(&view.report(&answered, branch.as_deref())),
            Err(failure) => self.fail(&failure),
        }
    }

    fn show(&mut self, report: &Report) {
        if report.exit != exit::ANSWERED {
            self.exit = report.exit;
        }
        match output::has_colours() && report.exit == exit::ANSWERED {
            true => say(&format!("\x1b[36m{}\x1b[0m", report.shown())),
            false => say(&report.shown()),
        }
    }

    fn fail(&mut self, failure: &Failure) {
        self.exit = failure.exit_code();
        complain(failure);
    }
}

/// Where lines come from.
enum Input {
    Terminal {
        editor: Box<Editor<Completion, FileHistory>>,
        history: PathBuf,
    },
    Script(StdinLock<'static>),
}

impl Input {
    fn editor(home: &Home) -> Result<Input, Failure> {
        let broken =
            |error: ReadlineError| Failure::internal(format!("the terminal cannot be used: {error}"));
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .build();
        let mut editor = Editor::with_config(config).map_err(broken)?;
        editor.set_helper(Some(Completion::of(home)));
        let history = home.path().join("console-history");
        // Absent at first, and a history that cannot be read is no reason to refuse the console.
        let _ = editor.load_history(&history);
        Ok(Input::Terminal {
            editor: Box::new(editor),
            history,
        })
    }

    /// Completes names as that branch has them.
    fn enter(&mut self, branch: Option<&str>) {
        if let Input::Terminal { editor, .. } = self
            && let Some(completion) = editor.helper_mut()
        {
            completion.enter(branch);
        }
    }

    /// The next line; `None` at the end.
    fn read(&mut self, prompt: &str) -> Option<Result<String, Failure>> {
        match self {
            Input::Terminal { editor, history } => match editor.readline(prompt) {
                Ok(line) => {
                    let _ = editor.append_history(history);
                    Some(Ok(line))
                }
                Err(ReadlineError::Interrupted) => Some(Ok(String::new())),
                Err(_) => None,
            },
            Input::Script(stdin) => read_script_line(stdin).transpose(),
        }
    }

    /// Lines up to an empty one or the end; `None` when cancelled by Ctrl-C or when nothing was typed.
    fn source(&mut self) -> Result<Option<String>, Failure> {
        let mut source = String::new();
        loop {
            let line = match self {
                Input::Terminal { editor, .. } => match editor.readline("... ") {
                    Ok(line) => Some(line),
                    Err(ReadlineError::Interrupted) => return Ok(None),
                    Err(_) => None,
                },
                Input::Script(stdin) => read_script_line(stdin)?,
            };
            match line.filter(|line| !line.trim().is_empty()) {
                Some(line) => {
                    source.push_str(&line);
                    source.push('\n');
                }
                None => return Ok(Some(source).filter(|source| !source.is_empty())),
            }
        }
    }
}

/// `None` at the end of the script. A line that is too long is read to its end and refused.
fn read_script_line(stdin: &mut impl BufRead) -> Result<Option<String>, Failure> {
    let broken = |error: io::Error| Failure::usage(format!("cannot read standard input: {error}"));
    let mut bytes = Vec::new();
    let read = stdin
        .by_ref()
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut bytes)
        .map_err(broken)?;
    if read == 0 {
        return Ok(None);
    }
    if read as u64 == MAX_LINE_BYTES && bytes.last() != Some(&b'\n') {
        stdin.skip_until(b'\n').map_err(broken)?;
        return Err(Failure::too_large(
            "a line is larger than the 16 MiB that are allowed",
        ));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    let line = String::from_utf8(bytes);
    line.map(Some)
        .map_err(|_| Failure::usage("a line of standard input is not UTF-8 text"))
}

/// Ctrl-C while a call runs.
struct Interrupt {
    /// Whom to tell; `None` while nothing is waited for.
    waiting: Arc<Mutex<Option<Sender<Happening>>>>,
}

impl Interrupt {
    fn watch() -> Result<Interrupt, Failure> {
        let failed = |error: io::Error| Failure::internal(format!("cannot watch for Ctrl-C: {error}"));
        let mut signals = Signals::new([SIGINT]).map_err(failed)?;
        let waiting = Arc::new(Mutex::new(None::<Sender<Happening>>));
        let told = waiting.clone();
        let watching = move || {
            for _ in signals.forever() {
                if let Some(sender) = told.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                    let _ = sender.send(Happening::Left);
                }
            }
        };
        thread::Builder::new()
            .name("ctrl-c".to_owned())
            .spawn(watching)
            .map_err(failed)?;
        Ok(Interrupt { waiting })
    }

    fn arm(&self, sender: Sender<Happening>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    }

    fn disarm(&self) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_line_by_line() {
        let mut script: &[u8] = b"a b\n\nc\xFF\nlast";
        let mut next = || read_script_line(&mut script);
        assert_eq!(next().unwrap().as_deref(), Some("a b"));
        assert_eq!(next().unwrap().as_deref(), Some(""));
        assert!(next().is_err());
        assert_eq!(next().unwrap().as_deref(), Some("last"));
        assert_eq!(next().unwrap(), None);
    }
}
