//! `verify`, `pack` and `reindex`, with a kernel and without one.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use shared::bridge::{Call, Event, Unit};

use crate::harness::{System, number, text};

#[test]
fn an_image_is_verified_packed_and_reindexed_to_the_same_digest() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=1", "--name", "kept"]);
    let lost = system.ok(&["new", "traits", "n=2"]);
    for n in 0..50 {
        system.ok(&["set", "kept", "n", &n.to_string()]);
    }
    let before = system.ok(&["verify"]);
    assert_eq!(before["faults"], serde_json::json!([]));
    let packed = system.ok(&["pack"]);
    assert_eq!(number(&packed["collected"]), 1, "{packed}");
    assert!(number(&packed["base"]) > 50);
    system.refused(&["inspect", text(&lost["object"])], "no_object");
    system.refused(
        &[
            "set",
            "kept",
            "to",
            &format!("{{\"$ref\":\"{}\"}}", text(&lost["object"])),
        ],
        "no_object",
    );
    assert_eq!(system.inspect("kept")["slots"]["n"]["value"], 49);
    let after = system.ok(&["verify"]);
    assert_eq!(number(&after["objects"]), number(&before["objects"]) - 1);
    // The steward has the kernel open: its index is not for others.
    assert_eq!(system.batos(&["reindex"]).code, 4);
    system.ok(&["down"]);
    let alone = system.ok(&["verify"]);
    assert_eq!(alone["digest"], after["digest"]);
    let again = system.ok(&["reindex"]);
    assert_eq!(again["digest"], after["digest"]);
    fs::remove_dir_all(system.home().join("image/index")).unwrap();
    system.start();
    assert_eq!(system.inspect("kept")["slots"]["n"]["value"], 49);
    assert_eq!(system.ok(&["verify"])["digest"], after["digest"]);
}

/// The log after a base counts, too; and a newest segment without a record is the end of it.
#[test]
fn what_came_after_a_pack_is_reindexed() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=1", "--name", "kept"]);
    system.ok(&["pack"]);
    system.ok(&["set", "kept", "n", "2"]);
    let verified = system.ok(&["verify"]);
    system.ok(&["down"]);
    assert_eq!(system.ok(&["reindex"])["digest"], verified["digest"]);
    system.start();
    // Nothing to collect: the pack leaves a newest segment that is empty, and a kill adds nothing to it.
    system.ok(&["pack"]);
    let verified = system.ok(&["verify"]);
    system.kill_all();
    assert_eq!(system.ok(&["reindex"])["digest"], verified["digest"]);
}

#[test]
fn entries_of_an_earlier_moment_are_shown() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "--name", "book"]);
    system.defined(
        "book",
        "def note(self, key, value):\n    self[key] = value\n    self._p_changed = True\n    return len(self)\n",
    );
    system.ok(&["send", "book", "note", "\"a\"", "1"]);
    let then = system.ok(&["send", "book", "note", "\"b\"", "2"])["transaction"].to_string();
    system.ok(&["send", "book", "note", "\"b\"", "3"]);
    system.ok(&["send", "book", "note", "\"c\"", "4"]);
    let now = system.inspect("book");
    let past = system.ok(&["inspect", "book", "--at", &then]);
    assert_eq!(now["entries"]["count"], 3, "{now}");
    let then = serde_json::json!({"count": 2, "first": [["a", 1], ["b", 2]]});
    assert_eq!(past["entries"], then, "{past}");
}

/// A method inside a list or a map is a method: it goes by the guard like one that is a slot.
#[test]
fn a_method_inside_another_value_goes_by_the_guard() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "--name", "box"]);
    let bad = r#"{"$method":"def leak(self):\n    import os\n    return os.environ"}"#;
    for value in [format!("[1, {bad}]"), format!(r#"{{"deep": [{bad}]}}"#)] {
        system.refused(&["set", "box", "tools", &value], "guard_refused");
        system.refused(&["new", "traits", &format!("tools={value}")], "guard_refused");
    }
    system.ok(&[
        "set",
        "box",
        "tools",
        r#"[{"$method":"def one(self):\n    return 1"}]"#,
    ]);
}

/// A flipped byte in acknowledged history stops a start and names file and place; it is never taken for a torn end.
#[test]
fn damaged_history_is_named_and_not_opened() {
    let system = System::without_model().up();
    for n in 0..20 {
        system.ok(&["set", "genesis", "n", &n.to_string()]);
    }
    system.ok(&["down"]);
    let image = system.home().join("image");
    let segment = image.join("log/00000000000000000001.log");
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&segment)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 700).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], 700).unwrap();
    // The index is ahead of that place, so only a look at all of the log finds it.
    let found = system.batos(&["verify"]);
    assert_eq!(found.code, 1, "{found:?}");
    let faults = found.document["faults"].to_string();
    assert!(
        faults.contains("00000000000000000001.log") && faults.contains("byte"),
        "{faults}"
    );
    fs::remove_dir_all(image.join("index")).unwrap();
    let up = system.batos(&["up"]);
    assert_ne!(up.code, 0, "{up:?}");
}

/// Whoever watches a pack, a backup or an export is told its steps, before the answer.
#[test]
fn long_work_says_how_far_it_is() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=1", "--name", "kept"]);
    let mut client = system.client(Duration::from_secs(5));
    let mut steps = |call: Call| {
        let mut steps = Vec::new();
        let mut watch = |event| match event {
            Event::Progress(progress) => steps.push(progress),
            Event::Thought(event) => panic!("{event:?}"),
        };
        client.call(call, Some(&mut watch)).unwrap();
        steps
    };
    let folder = |name: &str| system.folder().join(name).display().to_string();
    let packing = steps(Call::Pack);
    let told: Vec<&str> = packing.iter().map(|step| step.step.as_str()).collect();
    for step in [
        "cutting the log",
        "marking what the roots reach",
        "writing the objects",
        "replaying the log",
    ] {
        assert!(told.contains(&step), "{told:?}");
    }
    let objects = packing
        .iter()
        .find(|step| step.step == "writing the objects")
        .unwrap();
    assert_eq!(objects.unit, Unit::Objects);
    assert!(objects.total > Some(1), "{objects:?}");
    for (call, step) in [
        (Call::Verify, "checking objects and their contents"),
        (
            Call::Backup {
                folder: folder("backup"),
            },
            "copying the contents",
        ),
        (
            Call::Export {
                objects: vec!["kept".into()],
                depth: None,
                folder: folder("export"),
            },
            "writing the objects",
        ),
        (
            Call::Import {
                folder: folder("export"),
                name: None,
            },
            "reading the objects",
        ),
    ] {
        let told = steps(call);
        assert!(told.iter().any(|told| told.step == step), "{step}: {told:?}");
    }
}
