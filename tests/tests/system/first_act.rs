//! `display_yourself` on an empty home, and after the death of every process.

use serde_json::Value as Json;

use crate::harness::{System, number, slot_names, text};

#[test]
fn a_message_that_nobody_understands_becomes_a_method_and_survives() {
    let system = System::new();
    system.start();
    let before = system.inspect("genesis");
    let answer = system.ok(&["send", "genesis", "display_yourself"]);
    let id = answer["thought"].as_u64().expect("a thought made the method");
    let after = system.inspect("genesis");
    assert_eq!(slot_names(&before).len() + 1, slot_names(&after).len(), "{after}");
    assert_eq!(after["slots"]["display_yourself"]["kind"], "method", "{after}");
    is_display(&answer["result"], &after);

    let thought = system.ok(&["thoughts", &id.to_string()])["thoughts"][0].clone();
    assert_eq!(thought["outcome"], "complete", "{thought}");
    assert!(number(&thought["model_calls"]) >= 1, "{thought}");
    assert!(
        text(&thought["artifact"]).contains("def display_yourself(self"),
        "{thought}"
    );
    let mut states: Vec<String> = Vec::new();
    for event in thought["events"].as_array().unwrap() {
        let state = text(&event["state"]).to_lowercase();
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
    let mut rest = states.iter();
    for state in ["idle", "synthesizing", "validating", "complete"] {
        assert!(
            rest.any(|passed| passed == state),
            "{state} not in order in {states:?}"
        );
    }

    second_send_calls_no_model(&system);
    system.kill_all();
    assert_eq!(system.batos(&["send", "genesis", "display_yourself"]).code, 3);
    let up = system.start();
    assert_eq!(up["was_running"], false);
    assert_eq!(system.inspect("genesis")["slots"], after["slots"]);
    second_send_calls_no_model(&system);
}

fn second_send_calls_no_model(system: &System) {
    let thoughts = system.ok(&["thoughts"])["thoughts"].clone();
    let count = thoughts.as_array().unwrap().len();
    let answer = system.ok(&["send", "genesis", "display_yourself"]);
    assert_eq!(answer["thought"], Json::Null);
    is_display(&answer["result"], &system.inspect("genesis"));
    let later = system.ok(&["thoughts"])["thoughts"].clone();
    assert_eq!(later.as_array().unwrap().len(), count);
    assert_eq!(later[0]["model_calls"], thoughts[0]["model_calls"]);
}

/// Every slot name is told; the method itself may or may not be one of those that it saw.
fn is_display(result: &Json, inspected: &Json) {
    assert_eq!(result["id"], inspected["object"], "{result}");
    let told = result["slots"].as_array().unwrap_or_else(|| panic!("{result}"));
    let mut told: Vec<&str> = told.iter().map(text).collect();
    let slots = slot_names(inspected);
    let mut expected: Vec<&str> = slots.iter().map(String::as_str).collect();
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn up_twice_starts_nothing_twice_and_down_twice_is_no_error() {
    let system = System::without_model();
    let first = system.start();
    let second = system.start();
    assert_eq!(
        (&first["was_running"], &second["was_running"]),
        (&false.into(), &true.into())
    );
    assert_eq!(first["kernel_pid"], second["kernel_pid"]);
    assert_eq!(system.ok(&["down"])["was_running"], true);
    assert_eq!(system.ok(&["down"])["was_running"], false);
    let reply = system.batos(&["status"]);
    assert_eq!(
        (reply.code, &reply.document["ok"]),
        (3, &false.into()),
        "{reply:?}"
    );
    assert!(crate::harness::processes_of(&system.home()).is_empty());
}
