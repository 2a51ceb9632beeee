//! The plain families on slot names that the model has never seen: the answer is right, or the failure is clean.

use serde_json::{Value as Json, json};

use crate::harness::System;

/// Name of the family, slots, selector, arguments, the answer or what a slot must hold afterwards.
struct Case {
    family: &'static str,
    slots: &'static [&'static str],
    selector: &'static str,
    arguments: &'static [&'static str],
    expected: Expected,
}

enum Expected {
    Answer(&'static str),
    Slot(&'static str, &'static str),
    Mentions(&'static [&'static str]),
}

use Expected::{Answer, Mentions, Slot};

const CASES: [Case; 14] = [
    case(
        "read",
        &["zorbles=41", "quimp=\"x\""],
        "get_zorbles",
        &[],
        Answer("41"),
    ),
    case(
        "read",
        &["frandle=\"blue\"", "mizzen=3"],
        "read_frandle",
        &[],
        Answer("\"blue\""),
    ),
    case(
        "set",
        &["zorbles=41", "quimp=\"x\""],
        "set_zorbles",
        &["7"],
        Slot("zorbles", "7"),
    ),
    case(
        "set",
        &["frandle=\"blue\"", "mizzen=3"],
        "set_frandle",
        &["\"red\""],
        Slot("frandle", "\"red\""),
    ),
    case(
        "toggle",
        &["glimmed=false", "quimp=2"],
        "toggle_glimmed",
        &[],
        Slot("glimmed", "true"),
    ),
    case(
        "count up",
        &["snorks=10", "mizzen=\"a\""],
        "increase_snorks",
        &["5"],
        Slot("snorks", "15"),
    ),
    case(
        "count up",
        &["blorps=1"],
        "increment_blorps_by",
        &["4"],
        Slot("blorps", "5"),
    ),
    case(
        "count down",
        &["snorks=10", "mizzen=\"a\""],
        "decrease_snorks",
        &["3"],
        Slot("snorks", "7"),
    ),
    case(
        "append",
        &["wuggets=[\"a\"]", "quimp=2"],
        "append_to_wuggets",
        &["\"b\""],
        Slot("wuggets", "[\"a\",\"b\"]"),
    ),
    case(
        "remove",
        &["wuggets=[\"a\",\"b\"]", "quimp=2"],
        "remove_from_wuggets",
        &["\"a\""],
        Slot("wuggets", "[\"b\"]"),
    ),
    case(
        "sum",
        &["drindles=[4,9,2]", "mizzen=\"a\""],
        "sum_of_drindles",
        &[],
        Answer("15"),
    ),
    case(
        "largest",
        &["drindles=[4,9,2]", "mizzen=\"a\""],
        "largest_of_drindles",
        &[],
        Answer("9"),
    ),
    case(
        "largest",
        &["fropples=[7,30,12]"],
        "max_fropples",
        &[],
        Answer("30"),
    ),
    case(
        "sentence",
        &["plonk=\"Orrin\"", "zorbles=41"],
        "describe_yourself",
        &[],
        Mentions(&["Orrin", "41"]),
    ),
];

const fn case(
    family: &'static str,
    slots: &'static [&'static str],
    selector: &'static str,
    arguments: &'static [&'static str],
    expected: Expected,
) -> Case {
    Case {
        family,
        slots,
        selector,
        arguments,
        expected,
    }
}

#[test]
fn plain_families_on_unseen_names() {
    let system = System::new().up();
    let mut right = 0;
    let mut table = String::new();
    for case in &CASES {
        let verdict = run(&system, case);
        right += usize::from(verdict.is_ok());
        let verdict = verdict.err().unwrap_or_else(|| "right".into());
        table += &format!("{:<11}{:<22}{verdict}\n", case.family, case.selector);
    }
    eprintln!("{table}{right} of {} right", CASES.len());
    assert!(
        right * 10 >= CASES.len() * 6,
        "{right} of {} right:\n{table}",
        CASES.len()
    );
}

fn run(system: &System, case: &Case) -> Result<(), String> {
    let object = system.ok(&[["new", "traits"].as_slice(), case.slots].concat())["object"].clone();
    let object = object.as_str().unwrap().to_owned();
    let before = system.inspect(&object);
    let reply = system.batos(&[["send", &object, case.selector].as_slice(), case.arguments].concat());
    let after = system.inspect(&object);
    if reply.document["ok"] == false {
        assert_eq!(
            reply.document["reason"], "not_understood",
            "{}: {reply:?}",
            case.selector
        );
        assert!(reply.document["thought"].is_u64(), "{}: {reply:?}", case.selector);
        assert_eq!(before, after, "{}: a failure changed the object", case.selector);
        return Err(format!("failed cleanly: {}", reply.document["message"]));
    }
    assert!(reply.document["thought"].is_u64(), "{}: {reply:?}", case.selector);
    let result = &reply.document["result"];
    let parse = |text: &str| -> Json { serde_json::from_str(text).unwrap() };
    let (is_right, shown) = match case.expected {
        Answer(expected) => (*result == parse(expected), result.clone()),
        Slot(slot, expected) => {
            let held = &after["slots"][slot]["value"];
            (*held == parse(expected), held.clone())
        }
        Mentions(words) => {
            let sentence = result.as_str().unwrap_or("");
            (words.iter().all(|word| sentence.contains(word)), json!(sentence))
        }
    };
    match is_right {
        true => Ok(()),
        false => Err(format!("wrong: {shown}")),
    }
}

#[test]
fn what_the_model_cannot_do_fails_and_changes_nothing() {
    let system = System::new().up();
    system.ok(&["new", "traits", "quimp=2", "--name", "thing"]);
    let before = system.inspect("thing");
    let refused = system.refused(&["send", "thing", "open_socket_to_mars", "1"], "not_understood");
    assert_eq!(system.inspect("thing"), before);
    let id = refused["thought"].as_u64().unwrap().to_string();
    let thought = system.ok(&["thoughts", &id])["thoughts"][0].clone();
    assert_eq!(thought["outcome"], "failed", "{thought}");
    assert_ne!(thought["message"], "", "{thought}");
    assert!(thought["model_calls"].as_u64() >= Some(1), "{thought}");
    let last = thought["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        last["state"].as_str().unwrap().to_lowercase(),
        "failed",
        "{thought}"
    );
}

#[test]
fn without_a_model_no_template_answers() {
    let system = System::without_model().up();
    let before = system.inspect("genesis");
    let begun = std::time::Instant::now();
    system.refused(&["send", "genesis", "display_yourself"], "no_model");
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    assert_eq!(system.inspect("genesis"), before);
    let sum = "def sum_up(self, a, b):\n    return a + b\n";
    system.defined("genesis", sum);
    assert_eq!(system.result(&["send", "genesis", "sum_up", "2", "3"]), 5);
}
