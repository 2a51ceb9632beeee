//! Workflows as living objects: cloned, changed, compared on the same missions without a trace, adopted, dropped.

use serde_json::{Value as Json, json};

use crate::harness::{System, number, text};
use crate::personas::{self, Step};
use crate::scripted::Scripted;

fn names(system: &System) -> Vec<String> {
    let listed = system.ok(&["workflow", "list"])["workflows"].clone();
    let rows = listed.as_array().unwrap().iter();
    rows.map(|row| text(&row["name"]).to_owned()).collect()
}

#[test]
fn a_clone_is_compared_adopted_and_dropped() {
    let scripted = Scripted::speaking(personas::correct);
    let system = &scripted.system;
    assert_eq!(names(system), ["full", "short", "adapted", "view", "view_plain"]);
    let object = text(&system.ok(&["new", "traits", "count=0", "--name", "counted"])["object"]).to_owned();
    let past = system.ok(&["send", "counted", "count_up"])["thought"].clone();
    system.ok(&["workflow", "clone", "full", "quick"]);
    system.refused(&["workflow", "clone", "full", "quick"], "method_raised");
    system.refused(&["workflow", "clone", "none", "other"], "method_raised");
    system.ok(&["set", "workflows.quick", "needs", r#"["method","plan","answer"]"#]);
    // Both think about the same missions: one of the past, and one that nobody has sent yet.
    let file = system.folder().join("missions");
    std::fs::write(&file, "# what is compared\ncounted count_on\n").unwrap();
    let before = (
        system.ok(&["digest"])["digest"].clone(),
        system.inspect("counted"),
    );
    let newest = system.ok(&["status"])["kernel"]["last_transaction"].clone();
    let asked = scripted.asked().len();
    let compared = system.ok(&[
        "workflow",
        "compare",
        "full",
        "quick",
        &past.to_string(),
        "--missions",
        &file.display().to_string(),
    ]);
    // Nothing of it is in the image: no method, no cycle, no mission, no transaction at all.
    assert_eq!(before.0, system.ok(&["digest"])["digest"]);
    assert_eq!(before.1, system.inspect("counted"));
    assert_eq!(newest, system.ok(&["status"])["kernel"]["last_transaction"]);
    assert_eq!(system.ok(&["thoughts"])["thoughts"].as_array().unwrap().len(), 1);
    let missions = compared["missions"].as_array().unwrap();
    assert_eq!(missions.len(), 2);
    for (mission, selector) in missions.iter().zip(["count_up", "count_on"]) {
        assert_eq!(
            (&mission["selector"], &mission["receiver"]),
            (&json!(selector), &json!(object))
        );
        assert_eq!(mission["same"], true, "{mission}");
        for (side, calls) in [("a", 7), ("b", 6)] {
            let tried = &mission[side];
            assert_eq!(
                (&tried["outcome"], &tried["rounds"]),
                (&json!("complete"), &json!(1)),
                "{tried}"
            );
            assert_eq!(tried["model_calls"], calls, "{tried}");
            assert!(
                number(&tried["tokens"]) > 0 && text(&tried["artifact"]).contains(selector),
                "{tried}"
            );
        }
    }
    assert_eq!(compared["totals"]["a"]["model_calls"], 14);
    assert_eq!(compared["totals"]["b"]["complete"], 2);
    assert_eq!(scripted.asked().len(), asked + 26);
    // The stream tells of it, and names no thought.
    let stream = std::fs::read_to_string(system.home().join("audit/thoughts.jsonl")).unwrap();
    let tried: Vec<Json> = stream
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap())
        .filter(|event| event["event_type"] == "WORKFLOW_TRIED")
        .collect();
    assert_eq!(tried.len(), 4);
    assert!(tried.iter().all(|event| event["cycle_id"] == "0.0"));
    // Adopted, it is how the next thought is thought; undo brings the old way back.
    let adopted = system.ok(&["workflow", "adopt", "quick"]);
    assert_eq!(
        adopted["order"],
        json!(["quick", "full", "short", "adapted", "view", "view_plain"])
    );
    let asked = scripted.asked().len();
    system.ok(&["send", "counted", "count_off"]);
    assert!(
        scripted.asked()[asked..]
            .iter()
            .all(|ask| Step::of(ask) != Step::Review)
    );
    let fault = system.refused(&["workflow", "drop", "quick"], "method_raised");
    assert!(text(&fault["message"]).contains("in use"), "{fault}");
    system.ok(&["undo", &adopted["transaction"].to_string()]);
    system.ok(&["workflow", "drop", "quick"]);
    assert_eq!(names(system), ["full", "short", "adapted", "view", "view_plain"]);
    // What some model needs is not taken away.
    system.refused(&["workflow", "drop", "full"], "method_raised");
    let fault = system.refused(&["workflow", "drop", "short"], "method_raised");
    assert!(text(&fault["message"]).contains("no other"), "{fault}");
    system.ok(&["workflow", "adopt", "short"]);
    system.ok(&["workflow", "drop", "full"]);
    system.ok(&["workflow", "drop", "adapted"]);
    let fault = system.refused(&["workflow", "drop", "short"], "method_raised");
    assert!(text(&fault["message"]).contains("last workflow"), "{fault}");
}

#[test]
fn what_a_workflow_cannot_do_is_told_and_leaves_nothing() {
    let scripted = Scripted::up(|asked| match asked.words().contains("count") {
        true => crate::scripted::Act::Say("def count_up(self):\n    return self.no_such_slot\n".into()),
        false => crate::scripted::Act::Refuse("engine", "what is this?"),
    });
    let system = &scripted.system;
    system.ok(&["new", "traits", "count=0", "--name", "counted"]);
    let before = system.ok(&["digest"])["digest"].clone();
    let file = system.folder().join("missions");
    std::fs::write(&file, "counted count_up\ncounted :view\n").unwrap();
    let file = file.display().to_string();
    let compared = system.ok(&["workflow", "compare", "short", "view_plain", "--missions", &file]);
    let (method, view) = (&compared["missions"][0], &compared["missions"][1]);
    assert_eq!(
        (&method["a"]["outcome"], &method["a"]["rounds"]),
        (&json!("failed"), &json!(3))
    );
    assert!(text(&method["a"]["message"]).contains("no_such_slot"), "{method}");
    assert!(
        text(&method["b"]["message"]).contains("is for a view"),
        "{method}"
    );
    assert_eq!(
        (&view["b"]["outcome"], &view["same"]),
        (&json!("complete"), &json!(false))
    );
    let lacking = system.ok(&["workflow", "compare", "full", "view", "--missions", &file]);
    assert!(
        text(&lacking["missions"][0]["a"]["message"])
            .contains("cannot do what the workflow full needs: plan"),
        "{lacking}"
    );
    assert_eq!(system.ok(&["digest"])["digest"], before);
    let reply = system.batos(&["workflow", "compare", "full", "short"]);
    assert_eq!((reply.code, &reply.document["reason"]), (2, &json!("usage")));
    system.refused(&["workflow", "compare", "full", "short", "99"], "no_thought");
}
