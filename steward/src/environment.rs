//! Python environments of methods: a venv built aside in `planks/` by pip, from a file of requirements.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shared::handover::Environment;
use shared::home::Home;

use crate::durable;
use crate::instruction::Target;
use crate::spawn;
use crate::staging::{Staged, StagingError};
use crate::tree;

const REQUIREMENTS: &str = "requirements.txt";
const DESCRIPTION: &str = "environment.json";
/// Asking a program for its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// `environment.json` in the environment's folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    schema: u32,
    /// Such as `3.11`: that of the method-worker.
    python: String,
    /// Inside the folder.
    packages: String,
    allow: Vec<String>,
}

/// Builds `planks/python-<12 digits>` within `limit`; the digits are of the requirements and of what is allowed. Leaves nothing behind when it
/// fails; what pip says is in `logs/steps.log`.
pub fn build(
    home: &Home,
    target: &Target,
    method_worker: &Path,
    limit: Duration,
) -> Result<Staged, StagingError> {
    let until = Instant::now() + limit;
    let aside = home.planks().join(".python.new");
    let built = build_aside(home, target, method_worker, &aside, until);
    if built.is_err() {
        tree::remove(&aside);
    }
    built
}

/// The environment in a folder of `planks/`.
pub fn load(folder: &Path) -> io::Result<Environment> {
    let description: Description = serde_json::from_slice(&fs::read(folder.join(DESCRIPTION))?)?;
    let packages = folder.join(&description.packages);
    match packages.is_dir() && description.schema == 1 {
        true => Ok(Environment {
            packages: packages.display().to_string(),
            allow: description.allow,
        }),
        false => Err(io::Error::other(format!(
            "{} is no environment",
            folder.display()
        ))),
    }
}

/// What an environment is known by: its digest is that of this file.
pub fn requirements(folder: &Path) -> PathBuf {
    folder.join(REQUIREMENTS)
}

fn build_aside(
    home: &Home,
    target: &Target,
    method_worker: &Path,
    aside: &Path,
    until: Instant,
) -> Result<Staged, StagingError> {
    let unusable = |cause: String| StagingError::Unusable {
        path: target.path.clone(),
        cause,
    };
    tree::remove(aside);
    // Only its bytes are wanted under that name, and their digest.
    let copied = tree::stage(
        target.kind,
        &target.path,
        &target.digest,
        &home.run(),
        left(until),
    )?;
    fs::create_dir(aside)
        .and_then(|()| fs::copy(&copied.path, requirements(aside)))
        .map_err(|error| unusable(error.to_string()))?;
    tree::remove(&copied.path);
    let python = version_of(method_worker).map_err(unusable)?;
    let interpreter = interpreter(&python).map_err(unusable)?;
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let folder = aside.display().to_string();
    run(
        home,
        &words(&[&interpreter, "-m", "venv", "--clear", &format!("{folder}/venv")]),
        until,
    )
    .map_err(unusable)?;
    let pip = words(&[
        &format!("{folder}/venv/bin/python"),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "-r",
        &format!("{folder}/{REQUIREMENTS}"),
    ]);
    run(home, &pip, until).map_err(unusable)?;
    let description = Description {
        schema: 1,
        packages: format!("venv/lib/python{python}/site-packages"),
        python,
        allow: target.allow.clone(),
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(copied.blake3.as_bytes());
    hasher.update(target.allow.join(",").as_bytes());
    let path = home
        .planks()
        .join(format!("python-{}", &hasher.finalize().to_hex()[..12]));
    let placed = serde_json::to_vec_pretty(&description)
        .map_err(io::Error::from)
        .and_then(|bytes| fs::write(aside.join(DESCRIPTION), bytes))
        .and_then(|()| durable::sync_all(aside))
        .and_then(|()| {
            // What lies there is of the same requirements; those who use it have all they need in memory.
            tree::remove(&path);
            fs::rename(aside, &path)
        })
        .and_then(|()| durable::sync_folder(&home.planks()));
    placed.map_err(|error| unusable(error.to_string()))?;
    Ok(Staged {
        version: format!("python {} of {}", description.python, target.path.display()),
        path,
        blake3: copied.blake3,
    })
}

/// Such as `3.11`, of the library that the program is linked with.
fn version_of(method_worker: &Path) -> Result<String, String> {
    let said = spawn::version(method_worker, VERSION_DEADLINE)
        .map_err(|error| format!("{} does not say its Python: {error}", method_worker.display()))?;
    let version = said
        .split_once("(Python ")
        .and_then(|(_, rest)| Some(rest.split_once(')')?.0.to_owned()));
    version.ok_or_else(|| format!("{} does not say its Python: {said:?}", method_worker.display()))
}

/// An interpreter of exactly that version, since packages may be made for one alone.
fn interpreter(version: &str) -> Result<String, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = [format!("python{version}"), "python3".to_owned()];
    let mut tried = Vec::new();
    for folder in std::env::split_paths(&path).chain(["/usr/bin".into(), "/usr/local/bin".into()]) {
        for name in &names {
            let program = folder.join(name);
            if !program.is_absolute() || !program.is_file() || tried.contains(&program) {
                continue;
            }
            let is_right = spawn::version(&program, VERSION_DEADLINE).is_ok_and(|said| {
                said.strip_prefix("Python ")
                    .and_then(|rest| rest.strip_prefix(version))
                    .is_some_and(|rest| rest.starts_with('.'))
            });
            if is_right {
                return Ok(program.display().to_string());
            }
            tried.push(program);
        }
    }
    Err(format!(
        "no python{version} is in PATH, which the method-worker is made for"
    ))
}

fn run(home: &Home, argv: &[String], until: Instant) -> Result<(), String> {
    spawn::command(argv, home, left(until)).map(|_| ())
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_without_its_packages_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).is_err());
        let text = r#"{"schema":1,"python":"3.11","packages":"p","allow":["a.b"]}"#;
        fs::write(folder.path().join(DESCRIPTION), text).unwrap();
        assert!(load(folder.path()).is_err());
        fs::create_dir(folder.path().join("p")).unwrap();
        let found = load(folder.path()).unwrap();
        assert_eq!(found.allow, ["a.b"]);
        assert!(found.packages.ends_with("/p"));
    }
}
