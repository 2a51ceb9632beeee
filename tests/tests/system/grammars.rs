//! What the model is held to, through the real kernel and the real inference-worker: however wildly it draws, only methods and JSON.

use serde_json::Value as Json;

use crate::harness::{System, text};

/// The id of a state object.
fn state(system: &System, name: &str) -> String {
    let states = system.inspect("states");
    states["slots"][name]["value"]["$ref"]
        .as_str()
        .unwrap_or_else(|| panic!("{states}"))
        .to_owned()
}

/// What the model wrote in a thought.
fn artifacts(system: &System, thought: &Json) -> Vec<String> {
    let id = thought.as_u64().unwrap().to_string();
    let thought = system.ok(&["thoughts", &id])["thoughts"][0].clone();
    let events = thought["events"].as_array().unwrap().clone();
    let made = events
        .iter()
        .filter(|event| event["kind"] == "ARTIFACT_GENERATED");
    made.map(|event| text(&event["detail"]).to_owned()).collect()
}

#[test]
fn a_model_that_draws_wildly_still_writes_the_method_that_was_asked_for() {
    let system = System::new().up();
    for (slot, value) in [
        ("temperature", "4.0"),
        ("correction_temperature", "4.0"),
        ("max_tokens", "60"),
    ] {
        system.ok(&["set", "pllm", slot, value]);
    }
    let object = system.ok(&["new", "traits", "wuggets=[1,2]"])["object"].clone();
    let object = object.as_str().unwrap();
    let mut written = 0;
    for selector in ["sum_of_wuggets", "count_wuggets", "largest_of_wuggets"] {
        let reply = system.batos(&["send", object, selector]);
        for artifact in artifacts(&system, &reply.document["thought"]) {
            let head = format!("def {selector}(self");
            let is_begun = artifact.starts_with(&head) || head.starts_with(&artifact);
            let is_refusal = artifact.starts_with("<|refuse|>");
            assert!(is_begun || is_refusal, "{artifact:?}");
            // The words of a refusal are free: `self.w` in them names nothing.
            let method = if is_refusal {
                String::new()
            } else {
                without_texts(&artifact)
            };
            for named in method.split("self.").skip(1) {
                let end = named.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                // The last name may have been cut.
                let Some(end) = end else { continue };
                let slot = &named[..end];
                let visible = system.ok(&["inspect", object]);
                let is_own = visible["slots"].get(slot).is_some() || slot == "_p_changed" || slot == selector;
                let inherited = system.inspect("traits");
                assert!(
                    is_own || inherited["slots"].get(slot).is_some(),
                    "{slot} in {artifact:?}"
                );
            }
            written += 1;
        }
    }
    assert!(written >= 3, "{written} artifacts");
}

/// A source without its texts, whose words are free, too; what stands in an f-text is not, and stays.
fn without_texts(source: &str) -> String {
    let mut kept = String::new();
    // The quotation mark that ends the text, and whether it is an f-text.
    let mut within: Option<(char, bool)> = None;
    let mut letters = source.chars();
    while let Some(letter) = letters.next() {
        match within {
            Some((_, is_formatted)) if letter == '\\' => {
                let escaped = letters.next();
                kept.extend(escaped.filter(|_| is_formatted));
            }
            Some((end, is_formatted)) => {
                within = within.filter(|_| letter != end);
                kept.extend(is_formatted.then_some(letter));
            }
            None if letter == '"' || letter == '\'' => {
                within = Some((letter, kept.ends_with('f')));
                kept.push(letter);
            }
            None => kept.push(letter),
        }
    }
    kept
}

#[test]
fn a_state_may_ask_for_json_and_gets_what_its_schema_allows() {
    let system = System::new().up();
    let synthesizing = state(&system, "synthesizing");
    let source = r#"
def _process_synthesis_(self, event, payload):
    if event == "enter":
        return {
            "do": "infer",
            "prompt": self.covenant.render(self.brief),
            "max_tokens": 120,
            "temperature": 2.0,
            "seed": 7,
            "grammar": {"json_schema": "{\"type\": \"object\", \"properties\": {\"archetype\": {\"enum\": [\"technical\", \"social\"]}, \"steps\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 9}}, \"required\": [\"archetype\", \"steps\"], \"additionalProperties\": false}"},
        }
    if not payload["ok"]:
        return self.fail(payload["reason"], payload["message"], False)
    return self.fail("planned", payload["text"] + " " + payload["finish"], False)
"#;
    system.defined(&synthesizing, source.trim_start());
    let object = system.ok(&["new", "traits", "quimp=1"])["object"].clone();
    let refused = system.refused(&["send", object.as_str().unwrap(), "plan_it"], "not_understood");
    let [plan] = artifacts(&system, &refused["thought"]).try_into().unwrap();
    let plan: Json = serde_json::from_str(&plan).unwrap_or_else(|error| panic!("{error}: {plan}"));
    assert!(
        ["technical", "social"].contains(&text(&plan["archetype"])),
        "{plan}"
    );
    assert!((1..=9).contains(&plan["steps"].as_u64().unwrap()), "{plan}");
    assert!(text(&refused["message"]).ends_with("stop"), "{refused}");
}

#[test]
fn a_grammar_that_cannot_be_compiled_fails_its_thought_alone() {
    let system = System::new().up();
    let synthesizing = state(&system, "synthesizing");
    let asking = |lark: &str| {
        format!(
            "def _process_synthesis_(self, event, payload):\n    if event == \"enter\":\n        return {{\"do\": \"infer\", \"prompt\": \"x\", \
             \"grammar\": {{\"lark\": {lark:?}}}}}\n    if not payload[\"ok\"]:\n        return self.fail(payload[\"reason\"], \
             payload[\"message\"], False)\n    return self.fail(\"wrote\", payload[\"text\"], False)\n"
        )
    };
    let object = system.ok(&["new", "traits", "quimp=1"])["object"].clone();
    let object = object.as_str().unwrap();
    for (lark, expected) in [
        ("start: nothing", "nothing"),
        ("start: /(/", "cannot be compiled"),
        ("start: \"yes, it works\"", "yes, it works"),
    ] {
        system.defined(&synthesizing, &asking(lark));
        let refused = system.refused(&["send", object, "do_something_else"], "not_understood");
        assert!(text(&refused["message"]).contains(expected), "{lark}: {refused}");
    }
}

/// The real worker answers all asks of a directive together, each held to its own grammar, in their order.
#[test]
fn a_state_may_ask_several_things_at_once() {
    let system = System::new().up();
    let synthesizing = state(&system, "synthesizing");
    let source = r#"
def _process_synthesis_(self, event, payload):
    if event == "enter":
        words = ["red", "green", "blue", "white", "black"]
        return {
            "do": "infer_all",
            "asks": [{"prompt": "x", "temperature": 1.0, "seed": at, "grammar": {"lark": "start: \"" + word + "\""}} for at, word in enumerate(words)]
                + [{"prompt": "y", "grammar": {"json_schema": {"type": "object", "properties": {"n": {"enum": [7]}}, "required": ["n"], "additionalProperties": False}}}],
        }
    texts = [answer["text"] for answer in payload["answers"]]
    return self.fail("told", " ".join(texts) + " " + str(payload["answers"][5]["value"]["n"]), False)
"#;
    system.defined(&synthesizing, source.trim_start());
    let object = system.ok(&["new", "traits", "quimp=1"])["object"].clone();
    let refused = system.refused(&["send", object.as_str().unwrap(), "tell_all"], "not_understood");
    let told = text(&refused["message"]);
    assert!(told.contains("red green blue white black "), "{told}");
    assert!(told.ends_with(" 7"), "{told}");
    let thought = system.ok(&["thoughts", &refused["thought"].to_string()])["thoughts"][0].clone();
    assert_eq!(thought["model_calls"], 6);
}
