//! Objects as text and back: exact, also in another image, and never executed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::harness::{System, text};

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file of some bytes.
fn content(system: &System) -> PathBuf {
    let path = system.folder().join("photo");
    fs::write(&path, "not a photo").unwrap();
    path
}

/// The files of an export, without the times and ids of its manifest.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("blobs") {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "py") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.file_name().unwrap().into(), text));
        }
    }
    found.sort();
    found
}

#[test]
fn a_part_of_the_image_goes_into_another_and_comes_back_the_same() {
    let system = System::without_model().up();
    let photo = content(&system);
    // Three objects in a circle, one of them shared; every kind of value; slots in an unusual order.
    let shared = system.ok(&["new", "traits", "title=\"shared\""])["object"].clone();
    let reference = json!({ "$ref": shared }).to_string();
    system.ok(&[
        "new",
        "traits",
        "comment=\"The first.\\nIt has two lines.\"",
        &format!("list=[1,2.5,null,true,\"a\\n\",{reference},{reference}]"),
        "big={\"$int\":\"-99999999999999999999\"}",
        "nan={\"$float\":\"nan\"}",
        "bytes={\"$bytes\":\"00ff\"}",
        "opened={\"$time\":\"2026-11-21T01:22:10.123456Z\"}",
        "map={\"$map\":[[1,2],[{\"$bytes\":\"00\"},[]]]}",
        "class=1",
        "persona={\"$ref\":\"#20\"}",
        "--name",
        "first",
    ]);
    system.ok(&[
        "blob",
        "put",
        shown(&photo),
        "--object",
        "first",
        "--slot",
        "photo",
    ]);
    let first = system.inspect("first")["object"].clone();
    let back = serde_json::json!({ "$ref": first }).to_string();
    system.ok(&["set", text(&shared), "back", &back]);
    system.defined("first", "def double(self, n):\n    # kept\n    return n * 2\n");
    let out = system.folder().join("out");
    let exported = system.ok(&["export", "first", "-o", shown(&out)]);
    assert_eq!(
        (&exported["objects"], &exported["blobs"]),
        (&json!(2), &json!(1)),
        "{exported}"
    );
    let file = fs::read_to_string(out.join("first.py")).unwrap();
    assert!(file.contains("parents = [ref(\"traits\")]"), "{file}");
    assert!(file.contains("persona = ref(\"personas.brick\")"), "{file}");
    assert!(file.contains("def double(self, n):\n    # kept\n"), "{file}");
    system.refused(&["export", "first", "-o", shown(&out)], "bad_argument");

    // Into another image, where the ids are others.
    let other = System::without_model().up();
    other.ok(&["new", "traits"]);
    let imported = other.ok(&["import", shown(&out), "--name", "first"]);
    assert_eq!(imported["objects"], 2, "{imported}");
    assert_eq!(imported["roots"]["first"], other.inspect("first")["object"]);
    assert_eq!(other.result(&["send", "first", "double", "4"]), 8);
    let back = other.folder().join("back");
    other.ok(&["blob", "get", "first.photo", "-o", shown(&back)]);
    assert_eq!(fs::read_to_string(&back).unwrap(), "not a photo");
    let again = other.folder().join("again");
    other.ok(&["export", "first", "-o", shown(&again)]);
    // Objects without a name are called by their ids, which are others there.
    let names = |text: &str| -> String {
        let mut parts = text.split("object_");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push_str("object_");
            out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
        out
    };
    let anonymous = |files: Vec<(PathBuf, String)>| -> Vec<String> {
        files.into_iter().map(|(_, text)| names(&text)).collect()
    };
    assert_eq!(anonymous(files(&out)), anonymous(files(&again)));
    assert_eq!(slots(&system.inspect("first")), slots(&other.inspect("first")));

    // A name that is taken, and a second copy without one.
    other.refused(&["import", shown(&out), "--name", "first"], "bad_argument");
    other.ok(&["import", shown(&out)]);
    assert_eq!(other.ok(&["verify"])["faults"], json!([]));
}

/// Names and values of slots in order, without ids and transactions.
fn slots(inspected: &Json) -> Vec<(String, String)> {
    let slots = inspected["slots"].as_object().unwrap();
    let plain = |value: &Json| {
        let mut text = value.to_string();
        for id in 23..60 {
            text = text.replace(&format!("\"#{id}\""), "\"#X\"");
        }
        text
    };
    slots
        .iter()
        .map(|(name, slot)| (name.clone(), plain(&slot["value"])))
        .collect()
}

#[test]
fn depth_ends_an_export_and_bad_files_are_refused_whole() {
    let system = System::without_model().up();
    let far = system.ok(&["new", "traits", "n=3"])["object"].clone();
    let near = system.ok(&["new", "traits", &format!("next={{\"$ref\":{far}}}")])["object"].clone();
    system.ok(&[
        "new",
        "traits",
        &format!("next={{\"$ref\":{near}}}"),
        "--name",
        "start",
    ]);
    let out = system.folder().join("out");
    assert_eq!(
        system.ok(&["export", "start", "--depth", "1", "-o", shown(&out)])["objects"],
        2
    );
    let objects = system.status()["kernel"]["objects"].clone();
    // What was left out is there in this image; in another it would be another object.
    system.ok(&["import", shown(&out)]);
    let other = System::without_model().up();
    let refused = other.refused(&["import", shown(&out)], "bad_argument");
    assert!(text(&refused["message"]).contains("another image"), "{refused}");

    let start = out.join("start.py");
    let good = fs::read_to_string(&start).unwrap();
    for (bad, reason, said) in [
        ("import os\n", "bad_argument", "line 1"),
        ("x = open(\"/etc/passwd\")\n", "bad_argument", "start.py: line 1"),
        (
            "def f(self):\n    return open(\"/etc/passwd\")\n",
            "guard_refused",
            "start.py",
        ),
        (
            "x = method(\"def f(self):\\n    return eval('1')\\n\")\n",
            "guard_refused",
            "the method x",
        ),
        ("x = ref(\"nobody\")\n", "bad_argument", "nobody"),
        ("parents = 5\n", "write_refused", "parents"),
        (
            "x = blob(\"abababababababababababababababababababababababababababababababab\", 1)\n",
            "write_refused",
            "blob put",
        ),
    ] {
        fs::write(&start, bad).unwrap();
        let refused = system.refused(&["import", shown(&out)], reason);
        assert!(text(&refused["message"]).contains(said), "{refused}");
    }
    let manifest = fs::read_to_string(out.join("manifest.json")).unwrap();
    fs::write(
        out.join("manifest.json"),
        manifest.replace("\"start\"", "\"../start\""),
    )
    .unwrap();
    system.refused(&["import", shown(&out)], "bad_argument");
    fs::write(out.join("manifest.json"), manifest).unwrap();
    fs::write(&start, good).unwrap();
    system.ok(&["import", shown(&out)]);
    let now = system.status()["kernel"]["objects"].as_u64().unwrap();
    assert_eq!(
        now,
        objects.as_u64().unwrap() + 4,
        "a refused import made objects"
    );
}
