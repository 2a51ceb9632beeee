//! Who may depend on whom, read from every crate's Cargo.toml.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::repository;

const PROGRAMS: [&str; 5] = [
    "kernel",
    "method-worker",
    "inference-worker",
    "steward",
    "console",
];

/// The names under every `dependencies` table of a manifest.
fn dependencies(member: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(repository().join(member).join("Cargo.toml")).unwrap();
    let mut names = BTreeSet::new();
    let mut is_inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_inside = table.ends_with("dependencies");
            if let Some((_, name)) = table.split_once("dependencies.") {
                names.insert(name.to_owned());
            }
        } else if is_inside && !line.starts_with('#') {
            let name: String = line
                .chars()
                .take_while(|c| c.is_alphanumeric() || "-_".contains(*c))
                .collect();
            names.extend((!name.is_empty()).then_some(name));
        }
    }
    names
}

#[test]
fn programs_share_only_what_they_may() {
    for program in PROGRAMS {
        let names = dependencies(program);
        assert!(
            names.contains("shared"),
            "{program} does not use shared: {names:?}"
        );
        assert!(
            names.iter().all(|name| !PROGRAMS.contains(&name.as_str())),
            "{program}: {names:?}"
        );
        assert_eq!(
            names.contains("guard"),
            program == "kernel",
            "{program} and the guard: {names:?}"
        );
    }
    let guard = dependencies("guard");
    assert!(
        !guard.contains("shared") && guard.iter().all(|name| !PROGRAMS.contains(&name.as_str())),
        "{guard:?}"
    );
}

#[test]
fn heavy_parts_stand_in_one_program_each() {
    let homes = [
        ("lmdb", "kernel"),
        ("pyo3", "method-worker"),
        ("candle", "inference-worker"),
        ("notify", "steward"),
    ];
    for (part, home) in homes {
        for member in PROGRAMS.iter().chain(&["shared", "guard", "vocabulary"]) {
            let uses = dependencies(member)
                .iter()
                .any(|name| name.starts_with(part) && !name.starts_with("notify-"));
            assert_eq!(uses, *member == home, "{member} and {part}");
        }
    }
}
