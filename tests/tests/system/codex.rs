//! The codex as a file, and the covenants in it: kept whoever writes.

use std::fs;

use serde_json::{Value as Json, json};

use crate::harness::{System, slot_names, text};
use crate::personas;
use crate::scripted::{Act, Scripted};

const ACCOUNT: &str = r#"
[[covenants]]
name = "a balance is never negative"
binds = ["account.balance"]
schema = '{"type": "number", "minimum": 0}'

[[covenants]]
name = "entries are short texts"
binds = ["account[]"]
schema = '{"type": "string", "maxLength": 5}'
"#;

/// The image's codex and more, as a file.
fn with(system: &System, more: &str) -> String {
    let codex = system.ok(&["codex", "export"])["codex"].clone();
    let path = system.folder().join("codex.toml");
    fs::write(&path, format!("{}\n{more}", text(&codex))).unwrap();
    path.display().to_string()
}

fn lines(imported: &Json) -> Vec<&str> {
    imported["changes"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_codex_goes_out_and_comes_back_and_a_fifth_persona_needs_no_code() {
    let system = System::without_model().up();
    let file = with(&system, "");
    let same = system.ok(&["codex", "import", &file]);
    assert_eq!((lines(&same), &same["transaction"]), (Vec::new(), &Json::Null));
    let brick = system.inspect("personas.brick");
    assert!(
        slot_names(&brick).contains(&"invoke_blueprint_facet".to_owned()),
        "{brick}"
    );
    let asked = system.result(&["send", "personas.brick", "invoke_blueprint_facet", "\"how?\""]);
    assert_eq!(
        (&asked["persona"], &asked["prompt"]),
        (&json!("BRICK"), &json!("how?"))
    );
    assert!(text(&asked["system"]).contains("Draw the structure"), "{asked}");

    let more = "[[personas]]\nname = \"sage\"\ntitle = \"The fifth\"\nmission = \"m\"\nvoice = \"Slow.\"\n\
                [[personas.pillars]]\nname = \"calm\"\nprompt = \"Breathe.\"\n\
                [[dynamics]]\narchetype = \"rest\"\nlead = \"sage\"\nfacets = [\"sage.calm\"]\nweaver = \"robin\"\nauditor = \"alfred\"\n";
    let file = with(&system, more);
    let dry = system.ok(&["codex", "import", &file, "--dry-run"]);
    assert_eq!(dry["transaction"], Json::Null);
    assert_eq!(
        lines(&dry),
        ["personas.sage is new", "orchestrator.dynamics changes"]
    );
    system.refused(&["inspect", "personas.sage"], "no_object");
    let done = system.ok(&["codex", "import", &file]);
    assert_eq!(lines(&done), lines(&dry));
    let asked = system.result(&["send", "personas.sage", "invoke_calm_facet", "\"?\""]);
    assert_eq!(asked["system"], "Slow.\n\nBreathe.");
    // A pillar less, and then the old codex by undo.
    let less = fs::read_to_string(&file)
        .unwrap()
        .replace("\"brick.blueprint\",", "");
    let less = less.replacen("name = \"blueprint\"", "name = \"plan\"", 1);
    fs::write(&file, less).unwrap();
    let changed = system.ok(&["codex", "import", &file]);
    assert!(
        lines(&changed).contains(&"personas.brick.invoke_blueprint_facet goes"),
        "{changed}"
    );
    system.ok(&["undo", &changed["transaction"].to_string()]);
    system.ok(&["send", "personas.brick", "invoke_blueprint_facet", "\"how?\""]);
    // Nonsense is named, and changes nothing.
    fs::write(
        &file,
        "format = 1\n[[personas]]\nname = \"x\"\ncolour = \"red\"\n",
    )
    .unwrap();
    let fault = system.refused(&["codex", "import", &file], "bad_argument");
    assert!(text(&fault["message"]).contains("colour"), "{fault}");
}

#[test]
fn a_covenant_holds_whoever_writes() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "balance=10", "--name", "account"]);
    system.defined(
        "account",
        "def take(self, amount):\n    self.balance = self.balance - amount\n    self._p_changed = True\n    return self.balance\n",
    );
    system.defined(
        "account",
        "def note(self, key, words):\n    self[key] = words\n    self._p_changed = True\n",
    );
    system.ok(&["codex", "import", &with(&system, ACCOUNT)]);
    system.ok(&["new", "account", "balance=3", "--name", "savings"]);
    assert_eq!(system.ok(&["send", "savings", "take", "2"])["result"], 1);
    let broken = |arguments: &[&str]| {
        let fault = system.refused(arguments, "covenant_broken");
        assert!(text(&fault["message"]).contains("breaks the covenant"), "{fault}");
    };
    broken(&["send", "savings", "take", "2"]);
    broken(&["send", "account", "take", "11"]);
    broken(&["set", "savings", "balance", "-1"]);
    broken(&["set", "savings", "balance", "\"much\""]);
    broken(&["new", "account", "balance=-5"]);
    system.ok(&["send", "account", "note", "1", "\"short\""]);
    broken(&["send", "account", "note", "1", "\"too long\""]);
    // What delegates to it only now is held to it, too.
    system.ok(&["new", "traits", "balance=-7", "--name", "stranger"]);
    let parents = json!([{ "$ref": system.inspect("account")["object"] }]).to_string();
    broken(&["set", "stranger", "parents", &parents]);
    // In a branch, and by an undo.
    system.ok(&["branch", "new", "what"]);
    broken(&["--branch", "what", "set", "savings", "balance", "-1"]);
    let raised = system.ok(&["set", "savings", "balance", "5"])["transaction"].to_string();
    assert_eq!(system.inspect("savings")["slots"]["balance"]["value"], 5);
    system.ok(&["undo", &raised]);
    assert_eq!(system.inspect("savings")["slots"]["balance"]["value"], 1);
    // Covenants that are none, or that present data break, do not come in by any way.
    let schema = r#"[{"name":"x","binds":["account.balance"],"schema":"{\"type\":\"nonsense\"}"}]"#;
    system.refused(&["set", "personas.alfred", "covenants", schema], "bad_argument");
    let strict = ACCOUNT.replace("\"minimum\": 0", "\"minimum\": 100");
    let codex = fs::read_to_string(system.folder().join("codex.toml"))
        .unwrap()
        .replace(ACCOUNT, &strict);
    fs::write(system.folder().join("codex.toml"), codex).unwrap();
    let file = system.folder().join("codex.toml").display().to_string();
    let fault = system.refused(&["codex", "import", &file], "covenant_broken");
    assert!(
        text(&fault["message"]).contains("2 values of the image"),
        "{fault}"
    );
    // Without the covenant anything goes again.
    system.ok(&["set", "personas.alfred", "covenants", "[]"]);
    system.ok(&["set", "savings", "balance", "-1"]);
}

/// A thought is told what its method broke, and its correction is what comes to be.
#[test]
fn a_thought_keeps_covenants_and_corrects_itself() {
    let scripted = Scripted::up(|asked| {
        let value = if asked.prompt.contains("breaks the covenant") || asked.seed > 1 {
            "0"
        } else {
            "-1"
        };
        Act::Say(format!(
            "def empty_balance(self):\n    self.balance = {value}\n    self._p_changed = True\n    return self.balance\n"
        ))
    });
    let system = &scripted.system;
    system.ok(&["new", "traits", "balance=10", "--name", "account"]);
    system.ok(&["codex", "import", &with(system, ACCOUNT)]);
    assert_eq!(system.ok(&["send", "account", "empty_balance"])["result"], 0);
    assert_eq!(scripted.asked().len(), 2);
    let thought = system.ok(&["why", "account", "empty_balance"])["thought"].clone();
    let failures: Vec<&str> = thought["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "VALIDATION_FAILURE")
        .map(|event| text(&event["detail"]))
        .collect();
    assert!(
        failures.len() == 1 && failures[0].contains("a balance is never negative"),
        "{thought}"
    );
}

/// A model that speaks is told what binds the receiver before it plans or writes, and nothing of what binds others.
#[test]
fn covenants_are_told_before_anything_is_written() {
    let scripted = Scripted::speaking(personas::correct);
    let system = &scripted.system;
    system.ok(&["new", "traits", "balance=10", "count=0", "--name", "account"]);
    system.ok(&["new", "account", "--name", "savings"]);
    system.ok(&["new", "traits", "count=0", "--name", "other"]);
    system.ok(&["codex", "import", &with(system, ACCOUNT)]);
    system.ok(&["send", "savings", "count_up"]);
    let asked = scripted.asked();
    let told = "- the slot balance: a balance is never negative, {\"type\": \"number\", \"minimum\": 0}\n\
                - each of its entries: entries are short texts, ";
    assert!(
        asked.len() > 4 && asked.iter().all(|ask| ask.words().contains(told)),
        "{}",
        asked[0].words()
    );
    system.ok(&["send", "other", "count_up"]);
    let later = scripted.asked().split_off(asked.len());
    assert!(
        !later.is_empty() && later.iter().all(|ask| !ask.words().contains("JSON Schema")),
        "{}",
        later[0].words()
    );
}
