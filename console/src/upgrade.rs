//! `batos upgrade`: instructions written into the channel, and what came of them. The form is that of `docs/upgrade.md`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::{Value as Json, json};
use shared::exit;
use shared::home::Home;

use crate::arguments::{
    UpgradeCommand, UpgradeKind, UpgradePlank, UpgradeRollback, UpgradeSubmit, UpgradeWait,
};
use crate::failure::Failure;
use crate::output::Report;
use crate::steward;

const PAUSE: Duration = Duration::from_millis(20);
/// Whether a steward still runs is asked every so many pauses.
const LOOKS: u32 = 25;

pub fn run(home: &Home, command: UpgradeCommand) -> Result<Report, Failure> {
    match command {
        UpgradeCommand::Submit(submit) => give(home, *submit),
        UpgradeCommand::Status => status(home),
        UpgradeCommand::List { limit } => list(home, limit),
        UpgradeCommand::Rollback(rollback) => go_back(home, rollback),
    }
}

fn give(home: &Home, submit: UpgradeSubmit) -> Result<Report, Failure> {
    match (submit.file, submit.plank.chosen()) {
        (Some(file), _) => {
            let bytes = fs::read(&file).map_err(|error| unreadable(&file, &error))?;
            let mut signature = file.clone().into_os_string();
            signature.push(".minisig");
            let signature = match fs::read(&signature) {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(unreadable(Path::new(&signature), &error)),
            };
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            let stem = stem.trim_start_matches('.');
            drop_in(home, stem, &bytes, signature.as_deref(), &submit.wait)
        }
        (None, Some((kind, path))) => {
            let path = fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
            let digest = digest(&path)?;
            let kind = kind.word();
            let id = submit
                .id
                .unwrap_or_else(|| format!("{kind}-{}-{}", &digest[..12], unix_seconds()));
            let mut document = instruction(&id, kind, &path, &digest);
            if kind == UpgradeKind::Python.word() {
                document["target"]["allow"] = json!(submit.allow);
            }
            if let Some(sequence) = submit.sequence {
                document["sequence"] = json!(sequence);
            }
            if let Some(seconds) = submit.expires_in {
                document["expires"] = json!(unix_seconds().saturating_add(seconds.max(1)));
            }
            if submit.again {
                document["again"] = json!(true);
            }
            let mut steps = Vec::new();
            if submit.verify {
                steps.push(json!({ "do": "verify" }));
            }
            if let Some(folder) = submit.backup {
                let folder = std::path::absolute(&folder).map_err(|error| unreadable(&folder, &error))?;
                steps.push(json!({ "do": "backup", "folder": folder.display().to_string() }));
            }
            if !steps.is_empty() {
                document["steps"] = json!(steps);
            }
            give_or_write(home, &id, &document, submit.output.as_deref(), &submit.wait)
        }
        (None, None) => Err(Failure::usage(
            "name an instruction file, or what is to be replaced, such as --kernel PROGRAM; see `batos upgrade submit --help`",
        )),
    }
}

/// An instruction for the program before, on the base of the one that runs.
fn go_back(home: &Home, rollback: UpgradeRollback) -> Result<Report, Failure> {
    let choice = |name: &str| -> Option<(PathBuf, String)> {
        let bytes = fs::read(home.planks().join(name)).ok()?;
        let document: Json = serde_json::from_slice(&bytes).ok()?;
        let program = home.planks().join(document["program"].as_str()?);
        Some((program, document["blake3"].as_str()?.to_owned()))
    };
    let kind = rollback.kind;
    let Some((program, blake3)) = choice(&kind.record("previous")) else {
        return Err(Failure::refused(
            "no_previous",
            format!(
                "{} names no {}: none was ever replaced in this home by another of its planks",
                home.planks().join(kind.record("previous")).display(),
                kind.word()
            ),
        ));
    };
    let id = format!("rollback-{}-{}", &blake3[..12.min(blake3.len())], unix_seconds());
    // An environment is known by its requirements, and built anew of them.
    let allowed = match kind {
        UpgradeKind::Python => Some(allowed(&program)?),
        _ => None,
    };
    let program = match kind {
        UpgradeKind::Python => program.join("requirements.txt"),
        _ => program,
    };
    let mut document = instruction(&id, kind.word(), &program, &blake3);
    if let Some(allowed) = allowed {
        document["target"]["allow"] = allowed;
    }
    if let Some((_, current)) = choice(&kind.record("current")) {
        document["base"] = json!({ "digest": format!("blake3:{current}") });
    }
    if let Some(sequence) = rollback.sequence {
        document["sequence"] = json!(sequence);
    }
    give_or_write(home, &id, &document, rollback.output.as_deref(), &rollback.wait)
}

fn instruction(id: &str, kind: &str, program: &Path, blake3: &str) -> Json {
    json!({
        "schema": 2, "id": id, "created": unix_seconds(),
        "target": { "kind": kind, "path": program.display().to_string(), "digest": format!("blake3:{blake3}") },
    })
}

/// What methods may use of an environment that an upgrade built.
fn allowed(folder: &Path) -> Result<Json, Failure> {
    let path = folder.join("environment.json");
    let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
    let document: Json = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(document["allow"].clone())
}

impl UpgradeKind {
    /// The word of `docs/upgrade.md`.
    fn word(self) -> &'static str {
        match self {
            UpgradeKind::Kernel => "kernel",
            UpgradeKind::InferenceWorker => "inference-worker",
            UpgradeKind::MethodWorker => "method-worker",
            UpgradeKind::Steward => "steward",
            UpgradeKind::Model => "model",
            UpgradeKind::Python => "python",
        }
    }

    /// The file in `planks/` that names the current one, or the previous.
    fn record(self, which: &str) -> String {
        match self {
            UpgradeKind::Kernel => format!("{which}.json"),
            kind => format!("{which}-{}.json", kind.word()),
        }
    }
}

impl UpgradePlank {
    fn chosen(&self) -> Option<(UpgradeKind, &Path)> {
        [
            (UpgradeKind::Kernel, &self.kernel),
            (UpgradeKind::InferenceWorker, &self.inference_worker),
            (UpgradeKind::MethodWorker, &self.method_worker),
            (UpgradeKind::Steward, &self.steward),
            (UpgradeKind::Model, &self.model),
            (UpgradeKind::Python, &self.python),
        ]
        .into_iter()
        .find_map(|(kind, path)| Some((kind, path.as_deref()?)))
    }
}

/// Into the inbox, or into a file to be signed.
fn give_or_write(
    home: &Home,
    id: &str,
    document: &Json,
    output: Option<&Path>,
    wait: &UpgradeWait,
) -> Result<Report, Failure> {
    let mut text =
        serde_json::to_string_pretty(document).map_err(|error| Failure::internal(error.to_string()))?;
    text.push('\n');
    let Some(output) = output else {
        return drop_in(home, id, text.as_bytes(), None, wait);
    };
    fs::write(output, text).map_err(|error| unreadable(output, &error))?;
    let path = output.display().to_string();
    let told = format!("written to {path}; sign it and give it by `batos upgrade submit {path}`");
    Ok(Report::answered(
        json!({ "ok": true, "id": id, "written": path }),
        told,
    ))
}

/// Puts both files whole into the inbox, the instruction last, and waits for its result unless told not to.
fn drop_in(
    home: &Home,
    stem: &str,
    bytes: &[u8],
    signature: Option<&[u8]>,
    wait: &UpgradeWait,
) -> Result<Report, Failure> {
    if !wait.no_wait && steward::status(home).is_none() {
        return Err(Failure::NoKernel(format!(
            "no steward runs at {}: start it by `batos up`, or leave the instruction there for the next one by --no-wait",
            home.path().display()
        )));
    }
    let name = format!("{stem}.json");
    let before = result(home, stem).map(|result| result["claim"].clone());
    let failed = |error: io::Error| {
        let message = format!("cannot put {name} into {}: {error}", home.inbox().display());
        Failure::refused("not_submitted", message)
    };
    if let Some(signature) = signature {
        put(home, &format!("{name}.minisig"), signature, RenameFlags::empty()).map_err(failed)?;
    }
    put(home, &name, bytes, RenameFlags::RENAME_NOREPLACE).map_err(|error| {
        match error.raw_os_error() == Some(Errno::EEXIST as i32) {
            true => Failure::refused(
                "not_submitted",
                format!("an instruction {name} waits in the inbox already; wait for it, or give this one another name"),
            ),
            false => failed(error),
        }
    })?;
    if wait.no_wait {
        let text =
            format!("{name} is in the inbox; its result will be {stem}.result.json (batos upgrade list)");
        return Ok(Report::answered(json!({ "ok": true, "file": name }), text));
    }
    for look in 1_u32.. {
        match result(home, stem) {
            Some(result) if Some(&result["claim"]) != before.as_ref() => return Ok(told(result)),
            _ => sleep(PAUSE),
        }
        if look.is_multiple_of(LOOKS) && steward::status(home).is_none() {
            // It may have ended after the result: one more look.
            sleep(PAUSE);
            if result(home, stem).is_none_or(|result| Some(&result["claim"]) == before.as_ref()) {
                break;
            }
        }
    }
    Err(Failure::NoKernel(format!(
        "the steward has ended; {name} is finished, or reported as interrupted, by the next one (`batos up`, then `batos upgrade list`)"
    )))
}

fn put(home: &Home, name: &str, bytes: &[u8], flags: RenameFlags) -> io::Result<()> {
    let temporary = home.inbox().join(format!(".{}-{name}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| {
            renameat2(AT_FDCWD, &temporary, AT_FDCWD, &home.inbox().join(name), flags).map_err(Into::into)
        });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn result(home: &Home, stem: &str) -> Option<Json> {
    let bytes = fs::read(home.results().join(format!("{stem}.result.json"))).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn told(result: Json) -> Report {
    let is_applied = result["outcome"] == "applied";
    let document = json!({
        "ok": is_applied, "reason": result["reason"], "message": result["message"], "result": result,
    });
    Report {
        text: line(&document["result"]),
        document,
        exit: if is_applied { exit::ANSWERED } else { exit::ERROR },
    }
}

fn status(home: &Home) -> Result<Report, Failure> {
    let Some(steward) = steward::status(home) else {
        return Err(Failure::NoKernel(format!(
            "no steward runs at {}; what came of earlier instructions: batos upgrade list",
            home.path().display()
        )));
    };
    let waiting: Vec<String> = names(&home.inbox(), ".json")
        .into_iter()
        .filter(|name| !name.starts_with('.'))
        .collect();
    let last = results(home).pop();
    let running = steward.upgrade.map(|upgrade| {
        json!({
            "id": upgrade.id, "file": upgrade.file, "claim": upgrade.claim, "state": upgrade.state,
            "since_ms": upgrade.since_ms,
        })
    });
    let mut text = match &running {
        Some(running) => format!(
            "running  {} ({}): {} for {} ms",
            running["id"].as_str().unwrap_or_default(),
            running["file"].as_str().unwrap_or_default(),
            running["state"].as_str().unwrap_or_default(),
            unix_ms().saturating_sub(running["since_ms"].as_u64().unwrap_or_default()),
        ),
        None => "running  nothing".to_owned(),
    };
    text.push_str(&format!("\nwaiting  {}", waiting.len()));
    if let Some(last) = &last {
        text.push_str(&format!("\nlast     {}", line(last)));
        for remark in last["health"]["remarks"].as_array().into_iter().flatten() {
            let outcome = last["health"]["outcome"].as_str().unwrap_or_default();
            text.push_str(&format!("\n{outcome:<8} {}", remark.as_str().unwrap_or_default()));
        }
    }
    let document = json!({ "ok": true, "running": running, "waiting": waiting, "last": last });
    Ok(Report::answered(document, text))
}

fn list(home: &Home, limit: usize) -> Result<Report, Failure> {
    let mut results = results(home);
    results.drain(..results.len().saturating_sub(limit));
    let lines: Vec<String> = results.iter().map(line).collect();
    let text = match lines.is_empty() {
        true => "no instruction was handled yet".to_owned(),
        false => lines.join("\n"),
    };
    Ok(Report::answered(json!({ "ok": true, "results": results }), text))
}

/// All results, oldest first; what is no result is passed over.
fn results(home: &Home) -> Vec<Json> {
    let mut results: Vec<Json> = names(&home.results(), ".result.json")
        .into_iter()
        .filter_map(|name| serde_json::from_slice(&fs::read(home.results().join(name)).ok()?).ok())
        .collect();
    results.sort_by_key(|result| {
        (
            result["ended"].as_u64(),
            result["claim"].as_str().map(str::to_owned),
        )
    });
    results
}

fn names(folder: &Path, end: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(end))
        .collect();
    names.sort();
    names
}

fn line(result: &Json) -> String {
    let text = |key: &str| result[key].as_str().unwrap_or("-").to_owned();
    let ended = result["ended"].as_i64().unwrap_or_default();
    let time = jiff::Timestamp::from_millisecond(ended)
        .map(|time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
        .unwrap_or_default();
    let took_ms = ended - result["begun"].as_i64().unwrap_or(ended);
    format!(
        "{time}  {:<11} {:<16} {} ({}, {took_ms} ms): {}",
        text("outcome"),
        text("reason"),
        text("id"),
        text("file"),
        text("message")
    )
}

/// Of a file its BLAKE3; of a folder that of the list that `b3sum` prints of its files, in the order of their names.
fn digest(path: &Path) -> Result<String, Failure> {
    let of_file = |path: &Path| {
        let mut hasher = blake3::Hasher::new();
        File::open(path)
            .and_then(|file| hasher.update_reader(file).map(|_| ()))
            .map_err(|error| unreadable(path, &error))?;
        Ok(hasher.finalize().to_hex().to_string())
    };
    if !path.is_dir() {
        return of_file(path);
    }
    let mut names = Vec::new();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .map_err(|error| unreadable(&folder, &error))?
            .flatten()
        {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => names.push(entry.path()),
            }
        }
    }
    let mut lines = Vec::new();
    for file in &names {
        let name = file.strip_prefix(path).unwrap_or(file).display().to_string();
        lines.push((name, of_file(file)?));
    }
    lines.sort();
    let list: String = lines
        .iter()
        .map(|(name, digest)| format!("{digest}  {name}\n"))
        .collect();
    Ok(blake3::hash(list.as_bytes()).to_hex().to_string())
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("{} cannot be used: {error}", path.display()))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

fn unix_seconds() -> u64 {
    unix_ms() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        for path in [home.inbox(), home.results(), home.planks()] {
            fs::create_dir_all(path).unwrap();
        }
        (folder, home)
    }

    #[test]
    fn nothing_is_dropped_where_nobody_listens_unless_asked() {
        let (_folder, home) = home();
        let wait = |no_wait| UpgradeWait { no_wait };
        let refused = drop_in(&home, "a", b"{}", None, &wait(false)).err().unwrap();
        assert_eq!(refused.exit_code(), exit::NO_KERNEL);
        assert_eq!(fs::read_dir(home.inbox()).unwrap().count(), 0);
        drop_in(&home, "a", b"{}", Some(b"signature"), &wait(true))
            .ok()
            .unwrap();
        assert_eq!(names(&home.inbox(), ""), ["a.json", "a.json.minisig"]);
        // What waits is not replaced.
        let refused = drop_in(&home, "a", b"other", None, &wait(true)).err().unwrap();
        assert!(refused.to_string().contains("waits"), "{refused}");
        assert_eq!(fs::read(home.inbox().join("a.json")).unwrap(), b"{}");
        assert_eq!(fs::read_dir(home.inbox()).unwrap().count(), 2);
    }

    #[test]
    fn results_are_listed_oldest_first() {
        let (_folder, home) = home();
        for (name, ended) in [("b", 5000), ("c", 1000), ("a", 9000)] {
            let text = json!({"id": name, "file": "f", "claim": "1-0", "outcome": "failed", "reason": "r", "message": "m",
                "begun": 900, "ended": ended});
            fs::write(
                home.results().join(format!("{name}.result.json")),
                text.to_string(),
            )
            .unwrap();
        }
        fs::write(home.results().join("d.result.json"), "{half").unwrap();
        let report = list(&home, 2).ok().unwrap();
        let ids: Vec<&str> = report.document["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, ["b", "a"]);
        assert!(
            report
                .text
                .starts_with("1970-01-01 00:00:05Z  failed      r                b (f, 4100 ms): m"),
            "{}",
            report.text
        );
    }

    #[test]
    fn there_is_no_way_back_before_the_first_upgrade() {
        let (_folder, home) = home();
        let rollback = UpgradeRollback {
            kind: UpgradeKind::Model,
            output: None,
            sequence: None,
            wait: UpgradeWait { no_wait: true },
        };
        let refused = go_back(&home, rollback).err().unwrap();
        assert!(refused.to_string().contains("previous-model.json names no model"));
    }
}
