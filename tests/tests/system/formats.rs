//! A kernel of another image format: a backup is made and proved first, and where the new format fails, the image is as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::harness::{System, program, until};
use crate::load::Load;

const CONFIGURATION: &str = "[supervision]\nhealth_deadline_ms = 8000\ncrash_loop_after = 3\n";

fn put(path: &Path, bytes: &[u8]) -> PathBuf {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_path_buf()
}

fn instruct(system: &System, id: &str, path: &Path, format: u32, rollback: &Json) -> Json {
    let digits: String = Sha256::digest(fs::read(path).unwrap())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut document = json!({"schema": 2, "id": id, "created": created,
        "target": {"kind": "image-format", "path": path, "digest": format!("sha256:{digits}"), "format": format}});
    if !rollback.is_null() {
        document["rollback"] = rollback.clone();
    }
    let file = system.folder().join(format!("{id}.json"));
    fs::write(&file, document.to_string()).unwrap();
    let reply = system.batos(&["upgrade", "submit", file.to_str().unwrap()]);
    eprintln!("{id}: {} {}", reply.document["reason"], reply.document["message"]);
    reply.document["result"].clone()
}

/// Writes another number into every segment, as a kernel of that format would, and then cannot serve.
fn ruinous(system: &System, name: &str) -> PathBuf {
    let text = "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'kernel 9'; exit 0; }\n\
        [ \"$1\" = convert ] && exec python3 - \"$3\" <<'EOF'\n\
        import glob, struct, sys\n\
        def sum_of(data):\n    value = 0xFFFFFFFF\n    for byte in data:\n        value ^= byte\n        for _ in range(8):\n            \
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)\n    return value ^ 0xFFFFFFFF\n\
        for path in glob.glob(sys.argv[1] + '/log/*'):\n    with open(path, 'r+b') as file:\n        head = bytearray(file.read(92))\n        \
        head[8:12] = struct.pack('<I', 3)\n        file.seek(0)\n        file.write(head + struct.pack('<I', sum_of(head)))\n\
        EOF\nexit 5\n";
    put(
        &system.folder().join(name),
        text.replace("        import", "import").as_bytes(),
    )
}

#[test]
fn another_format_is_tried_with_a_way_back() {
    let system = System::without_model().configure(CONFIGURATION).up();
    system.ok(&["new", "traits", "n=7", "--name", "thing"]);
    let backup = system.folder().join("backup");
    let back = json!({"image": "backup", "folder": backup});
    let bad = ruinous(&system, "bad");
    let result = instruct(&system, "undeclared", &bad, 3, &Json::Null);
    assert_eq!(
        (&result["outcome"], &result["reason"]),
        (&json!("refused"), &json!("missing_key")),
        "{result}"
    );
    let load = Load::begin(&system, 2);
    // One whose image cannot be served afterwards: everything is as it was.
    let result = instruct(&system, "bad", &bad, 3, &back);
    assert_eq!(
        (&result["outcome"], &result["reason"]),
        (&json!("rolled_back"), &json!("health_failed")),
        "{result}"
    );
    assert_eq!(system.inspect("thing")["slots"]["n"]["value"], 7);
    assert!(backup.join("manifest.json").exists(), "no backup was made first");
    let home = system.home();
    let named = |part: &str| {
        let entries = fs::read_dir(&home).unwrap().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(part))
            .count()
    };
    assert_eq!(
        (
            named("image-failed-"),
            named("image-before-"),
            named("image-trial")
        ),
        (1, 0, 0)
    );
    // One that writes another format than was said.
    let mut bytes = fs::read(program("kernel")).unwrap();
    bytes.extend(b"\nanother\n");
    let good = put(&system.folder().join("good"), &bytes);
    let result = instruct(&system, "other", &good, 3, &back);
    assert_eq!(
        (&result["outcome"], &result["reason"]),
        (&json!("rolled_back"), &json!("conversion_failed")),
        "{result}"
    );
    bytes.extend(b"\nanother\n");
    let good = put(&system.folder().join("good"), &bytes);
    let result = instruct(&system, "good", &good, 2, &back);
    assert_eq!(result["outcome"], "applied", "{result}");
    assert_eq!(named("image-before-"), 0);
    load.end(&system).assert_clean();
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));
}

#[test]
fn without_a_way_back_the_image_stays_as_it_became() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let none = json!({"image": "none", "folder": system.folder().join("backup")});
    let bad = ruinous(&system, "bad");
    let result = instruct(&system, "bad", &bad, 3, &none);
    assert_eq!(result["outcome"], "rolled_back", "{result}");
    // The old kernel says what it is, and changes nothing.
    until("the kernel is given up", || {
        let status = system.status();
        let planks = status["steward"]["planks"].as_array()?.clone();
        (planks[0]["state"] == "crash_loop").then_some(())
    });
    let log = fs::read_to_string(system.home().join("logs/kernel.log")).unwrap();
    assert!(
        log.contains("has format 3, this kernel knows 2: it was made by a newer version"),
        "{log}"
    );
    // The backup is the way out.
    system.ok(&["down"]);
    let backup = system.folder().join("backup");
    system.ok(&["restore", backup.to_str().unwrap(), "--replace"]);
    system.start();
    system.inspect("genesis");
}
