//! `batos verify`, `batos reindex` and `batos restore` while no kernel runs: the kernel's program does the work, once, and ends.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value as Json;
use shared::bridge::Progress;
use shared::exit;
use shared::home::Home;

use crate::failure::Failure;
use crate::meter::size;
use crate::output::Report;
use crate::step::Step;

/// True when somebody answers at the kernel's socket.
pub fn has_kernel(home: &Home) -> bool {
    UnixStream::connect(home.kernel_socket()).is_ok()
}

/// Opens the image as a start would and names every fault.
pub fn verify(home: &Home, wants_progress: bool) -> Result<Report, Failure> {
    let (document, exit) = run(home, "verify", wants_progress)?;
    let mut lines: Vec<String> = Vec::new();
    for fault in document["faults"].as_array().into_iter().flatten() {
        let word = |key: &str| fault[key].as_str().unwrap_or_default().to_owned();
        lines.push(format!("{}: {}", word("where"), word("what")));
    }
    lines.push(format!(
        "{} faults; transaction {}, {} objects, {} entries, digest {}",
        document["faults"].as_array().map_or(0, Vec::len),
        document["last"],
        document["objects"],
        document["entries"],
        document["digest"].as_str().unwrap_or_default()
    ));
    Ok(Report {
        document,
        text: lines.join("\n"),
        exit,
    })
}

/// Makes the index anew.
pub fn reindex(home: &Home, wants_progress: bool) -> Result<Report, Failure> {
    if has_kernel(home) {
        return Err(Failure::start(
            "a kernel has this image open; stop it by `batos down`, then reindex",
            exit::IN_USE,
        ));
    }
    let (document, exit) = run(home, "reindex", wants_progress)?;
    let text = format!(
        "the index is new; digest {}",
        document["digest"].as_str().unwrap_or_default()
    );
    Ok(Report { document, text, exit })
}

/// Walks the audit's chain.
pub fn check(home: &Home) -> Result<Report, Failure> {
    let mut command = Command::new(program()?);
    command
        .arg("thoughts")
        .arg("--json")
        .arg("--audit")
        .arg(home.audit());
    let (document, exit) = answered(command, false)?;
    let mut lines: Vec<&str> = document["faults"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    let verdict = format!(
        "{} faults in {} lines; the last is {} with hash {}",
        lines.len(),
        document["lines"],
        document["last"],
        document["hash"].as_str().unwrap_or_default()
    );
    lines.push(&verdict);
    let text = lines.join("\n");
    Ok(Report { document, text, exit })
}

/// Prints the audit as traces; the kernel's program writes them itself.
pub fn traces(home: &Home) -> Result<Report, Failure> {
    let mut command = Command::new(program()?);
    command
        .arg("thoughts")
        .arg("--otlp")
        .arg("--audit")
        .arg(home.audit());
    let status = command
        .status()
        .map_err(|error| Failure::internal(format!("the kernel's program cannot be run: {error}")))?;
    match status.success() {
        true => Ok(Report {
            document: Json::Null,
            text: String::new(),
            exit: exit::ANSWERED,
        }),
        false => Err(Failure::start("the audit could not be read", exit::ERROR)),
    }
}

/// Puts the image of a backup into a home that has none, or whose own is then moved aside.
pub fn restore(home: &Home, folder: &Path, replace: bool, wants_progress: bool) -> Result<Report, Failure> {
    if has_kernel(home) {
        return Err(Failure::start(
            "a system runs in this home; stop it by `batos down`, then restore",
            exit::IN_USE,
        ));
    }
    let mut command = Command::new(program()?);
    command.arg("restore").arg("--from").arg(folder);
    if replace {
        command.arg("--replace");
    }
    let (document, exit) = finish(command, &home.image(), wants_progress)?;
    let number = |key: &str| document[key].as_u64().unwrap_or_default();
    let mut text = format!(
        "restored at {}: transaction {}, {}, {} blobs",
        home.path().display(),
        number("last"),
        size(number("bytes")),
        number("blobs")
    );
    for digest in document["damaged"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "\nthe blob {} was damaged when the backup was made, and is not here",
            digest.as_str().unwrap_or_default()
        ));
    }
    if let Some(aside) = document["moved_aside"].as_str() {
        text.push_str(&format!("\nthe image that was there is now {aside}"));
    }
    Ok(Report { document, text, exit })
}

/// Runs the kernel's program on the image; answers its document and exit code.
fn run(home: &Home, work: &str, wants_progress: bool) -> Result<(Json, u8), Failure> {
    let image = home.image();
    if !image.join("log").is_dir() {
        return Err(Failure::start(
            format!("there is no image at {}", image.display()),
            exit::UNUSABLE,
        ));
    }
    let mut command = Command::new(program()?);
    command.arg(work);
    finish(command, &image, wants_progress)
}

fn finish(mut command: Command, image: &Path, wants_progress: bool) -> Result<(Json, u8), Failure> {
    command.args(["--progress", "--json", "--image"]).arg(image);
    answered(command, wants_progress)
}

fn answered(mut command: Command, wants_progress: bool) -> Result<(Json, u8), Failure> {
    let program = command.get_program().to_owned();
    let failed = |error| Failure::start(format!("{program:?} cannot be run: {error}"), exit::ERROR);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let heard = child.stderr.take();
    let listening = std::thread::spawn(move || listen(heard, wants_progress));
    let done = child.wait_with_output().map_err(failed)?;
    let last = listening.join().unwrap_or_default();
    let code = done.status.code().unwrap_or(i32::from(exit::ERROR)) as u8;
    match serde_json::from_slice(&done.stdout) {
        Ok(document) => Ok((document, code)),
        Err(_) => {
            let message = last.split_once("ERROR ").map_or(&*last, |(_, message)| message);
            Err(Failure::start(message.to_owned(), code))
        }
    }
}

/// Shows how far the work is; answers the last line that said something else.
fn listen(heard: Option<impl Read>, wants_progress: bool) -> String {
    let mut step = Step::new(wants_progress);
    let mut last = "it said nothing".to_owned();
    for line in heard.into_iter().flat_map(|heard| BufReader::new(heard).lines()) {
        let Ok(line) = line else { break };
        match serde_json::from_str::<Told>(&line) {
            Ok(told) => step.show(&told.progress),
            Err(_) => last = line,
        }
    }
    last
}

/// A line of [`shared::document::progress`].
#[derive(Deserialize)]
struct Told {
    progress: Progress,
}

/// The kernel's program, beside this one.
fn program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().and_then(std::fs::canonicalize);
    let own = own.map_err(|error| Failure::internal(format!("this program cannot be found: {error}")))?;
    Ok(own.with_file_name("kernel"))
}
