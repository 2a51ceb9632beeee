//! An image that an older program made gets what a newer program's genesis has more, and keeps what a person changed.

use std::process::Command;

use serde_json::json;

use crate::harness::{System, repository, slot_names, until};
use crate::scripted::{Act, Scripted};

/// Made by a kernel whose genesis had 30 objects: no views, no workflows for them. Then `orchestrator.token_budget`, `pllm.temperature` and
/// `cycle.fail` were changed by hand, and `account` was made.
const OLD: &str = "tests/fixtures/image-of-30-objects.tar.gz";

fn old() -> Scripted {
    let mut scripted = Scripted::up(|_| Act::Refuse("engine", "nobody may ask"));
    scripted.stop();
    let home = scripted.system.home();
    std::fs::remove_dir_all(home.join("image")).unwrap();
    let unpacked = Command::new("tar")
        .arg("xzf")
        .arg(repository().join(OLD))
        .arg("-C")
        .arg(&home)
        .status()
        .unwrap();
    assert!(unpacked.success());
    scripted.start();
    answers(&scripted.system);
    scripted
}

/// A kernel that renews an image listens, and answers when that is done.
fn answers(system: &System) {
    until("the kernel answers", || {
        (system.batos(&["status"]).code == 0).then_some(())
    });
}

#[test]
fn an_older_image_is_renewed_once() {
    let mut scripted = old();
    let system = &scripted.system;
    // What is new is there and works.
    let shown = system.ok(&["view", "account"]);
    assert_eq!(shown["workflow"], "view_plain");
    let states = slot_names(&system.inspect("states"));
    assert!(states.contains(&"arranging".to_owned()), "{states:?}");
    assert_eq!(
        system.inspect("workflows")["slots"]["order"]["value"],
        json!(["full", "short", "adapted", "view", "view_plain"])
    );
    // What a person changed is as that person left it.
    assert_eq!(
        system.inspect("orchestrator")["slots"]["token_budget"]["value"],
        12345
    );
    assert_eq!(system.inspect("pllm")["slots"]["temperature"]["value"], 0.25);
    let cycle = system.inspect("cycle");
    assert!(cycle["slots"]["fail"].to_string().contains("mine: "), "{cycle}");
    assert!(slot_names(&cycle).contains(&"facet_at".to_owned()), "{cycle}");
    // It was one transaction, of an author of its own; its record and its end are two small ones.
    let log = system.ok(&["log", "--limit", "50"])["transactions"].clone();
    let renewals: Vec<_> = log
        .as_array()
        .unwrap()
        .iter()
        .filter(|transaction| transaction["author"] == "genesis")
        .cloned()
        .collect();
    assert_eq!(renewals.len(), 3, "{log}");
    // The next start finds nothing to do.
    let digest = system.ok(&["digest"])["digest"].clone();
    let log_file = std::fs::read_to_string(system.folder().join("kernel.log")).unwrap();
    assert!(
        log_file.contains("a newer genesis was brought in") && log_file.contains("states.arranging"),
        "{log_file}"
    );
    assert!(
        log_file.contains("kept=\"pllm.temperature orchestrator.token_budget cycle.fail\""),
        "{log_file}"
    );
    scripted.stop();
    scripted.start();
    answers(&scripted.system);
    assert_eq!(scripted.system.ok(&["digest"])["digest"], digest);
    scripted.system.ok(&["verify"]);
}

#[test]
fn a_renewal_that_is_taken_back_stays_so() {
    let mut scripted = old();
    let log = scripted.system.ok(&["log", "--limit", "50"])["transactions"].clone();
    let renewal = log
        .as_array()
        .unwrap()
        .iter()
        .filter(|transaction| transaction["author"] == "genesis")
        .nth(1)
        .unwrap()["transaction"]
        .clone();
    scripted.system.ok(&["undo", &renewal.to_string()]);
    let states = slot_names(&scripted.system.inspect("states"));
    assert!(!states.contains(&"arranging".to_owned()), "{states:?}");
    scripted.stop();
    scripted.start();
    answers(&scripted.system);
    assert_eq!(slot_names(&scripted.system.inspect("states")), states);
    // Until there is a newer genesis still.
    scripted
        .system
        .ok(&["set", "awakening", "offered", "\"an older one\""]);
    scripted.stop();
    scripted.start();
    answers(&scripted.system);
    let states = slot_names(&scripted.system.inspect("states"));
    assert!(states.contains(&"arranging".to_owned()), "{states:?}");
}

#[test]
fn what_was_changed_or_taken_away_stays_so() {
    let mut scripted = Scripted::up(|_| Act::Refuse("engine", "nobody may ask"));
    let system = &scripted.system;
    let fresh = system.ok(&["digest"])["digest"].clone();
    // A new image needs nothing.
    let log = system.ok(&["log"])["transactions"].clone();
    assert!(
        log.as_array()
            .unwrap()
            .iter()
            .all(|transaction| transaction["author"] != "genesis"),
        "{log}"
    );
    system.ok(&["send", "workflows", "remove_slot", "\"view_plain\""]);
    system.ok(&["set", "views", "most_items", "7"]);
    system.ok(&["set", "awakening", "offered", "\"an older one\""]);
    let before = system.inspect("workflows")["slots"].clone();
    scripted.stop();
    scripted.start();
    answers(&scripted.system);
    let system = &scripted.system;
    assert_eq!(system.inspect("workflows")["slots"], before);
    assert_eq!(system.inspect("views")["slots"]["most_items"]["value"], 7);
    assert_ne!(
        system.inspect("awakening")["slots"]["offered"]["value"],
        "an older one"
    );
    assert_ne!(system.ok(&["digest"])["digest"], fresh);
}
