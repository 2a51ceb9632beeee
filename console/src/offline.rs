//! `batos verify`, `batos reindex` and `batos restore` while no kernel runs: the kernel's program does the work, once, and ends.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use shared::exit;
use shared::home::Home;

use crate::failure::Failure;
use crate::meter::size;
use crate::output::Report;

/// True when somebody answers at the kernel's socket.
pub fn has_kernel(home: &Home) -> bool {
    UnixStream::connect(home.kernel_socket()).is_ok()
}

/// Opens the image as a start would and names every fault.
pub fn verify(home: &Home) -> Result<Report, Failure> {
    let (document, exit) = run(home, "verify")?;
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
pub fn reindex(home: &Home) -> Result<Report, Failure> {
    if has_kernel(home) {
        return Err(Failure::start(
            "a kernel has this image open; stop it by `batos down`, then reindex",
            exit::IN_USE,
        ));
    }
    let (document, exit) = run(home, "reindex")?;
    let text = format!(
        "the index is new; digest {}",
        document["digest"].as_str().unwrap_or_default()
    );
    Ok(Report { document, text, exit })
}

/// Puts the image of a backup into a home that has none, or whose own is then moved aside.
pub fn restore(home: &Home, folder: &Path, replace: bool) -> Result<Report, Failure> {
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
    let (document, exit) = finish(command, &home.image())?;
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
fn run(home: &Home, work: &str) -> Result<(Json, u8), Failure> {
    let image = home.image();
    if !image.join("log").is_dir() {
        return Err(Failure::start(
            format!("there is no image at {}", image.display()),
            exit::UNUSABLE,
        ));
    }
    let mut command = Command::new(program()?);
    command.arg(work);
    finish(command, &image)
}

fn finish(mut command: Command, image: &Path) -> Result<(Json, u8), Failure> {
    let done = command
        .args(["--json", "--image"])
        .arg(image)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::start(
                format!("{:?} cannot be run: {error}", command.get_program()),
                exit::ERROR,
            )
        })?;
    let code = done.status.code().unwrap_or(i32::from(exit::ERROR)) as u8;
    match serde_json::from_slice(&done.stdout) {
        Ok(document) => Ok((document, code)),
        Err(_) => {
            let told = String::from_utf8_lossy(&done.stderr);
            let last = told.lines().last().unwrap_or("it said nothing");
            let message = last.split_once("ERROR ").map_or(last, |(_, message)| message);
            Err(Failure::start(message.to_owned(), code))
        }
    }
}

/// The kernel's program, beside this one.
fn program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().and_then(std::fs::canonicalize);
    let own = own.map_err(|error| Failure::internal(format!("this program cannot be found: {error}")))?;
    Ok(own.with_file_name("kernel"))
}
