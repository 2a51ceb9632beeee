//! Methods by a person's hand: the guard, measured writes, sends between objects, read-only sends.

use serde_json::json;

use crate::harness::{System, number, text};

fn system() -> System {
    System::without_model().up()
}

#[test]
fn the_guard_judges_what_a_person_defines() {
    let system = system();
    system.ok(&["new", "traits", "n=1", "--name", "thing"]);
    let bad = "def leak(self):\n    import os\n    return os.environ\n";
    let before = system.inspect("thing");
    let reply = system.define("thing", bad);
    assert_eq!(reply.document["reason"], "guard_refused", "{reply:?}");
    assert_eq!(reply.code, 1);
    let verdict = system.batos(&["guard", system.source(bad).to_str().unwrap()]);
    assert_eq!(
        (verdict.code, &verdict.document["ok"]),
        (1, &json!(false)),
        "{verdict:?}"
    );
    let findings = verdict.document["findings"].as_array().unwrap();
    assert!(
        findings.iter().any(|f| f["line"] == 2
            && text(&f["rule"]) == "denied_statement"
            && text(&f["message"]).len() > 8),
        "{findings:?}"
    );
    assert_eq!(reply.document["findings"], verdict.document["findings"]);
    assert_eq!(system.inspect("thing"), before);

    let good = "def double(self):\n    return self.n * 2\n";
    let verdict = system.batos(&["guard", system.source(good).to_str().unwrap()]);
    assert_eq!(
        (verdict.code, verdict.document),
        (0, json!({"ok": true, "findings": []}))
    );
    system.defined("thing", good);
    assert_eq!(system.result(&["send", "thing", "double"]), 2);
}

#[test]
fn a_write_must_be_declared() {
    let system = system();
    system.ok(&["new", "traits", "n=1", "--name", "thing"]);
    let reply = system.define(
        "thing",
        "def bump(self):\n    self.n = self.n + 1\n    return self.n\n",
    );
    assert_eq!(reply.document["reason"], "guard_refused", "{reply:?}");
    assert!(
        reply.document["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["rule"] == "undeclared_change"),
        "{reply:?}"
    );
    system.defined(
        "thing",
        "def bump(self):\n    self.n = self.n + 1\n    self._p_changed = True\n    return self.n\n",
    );
    let answer = system.ok(&["send", "thing", "bump"]);
    assert_eq!(answer["result"], 2);
    let slot = system.inspect("thing")["slots"]["n"].clone();
    assert_eq!(
        (&slot["value"], &slot["changed"]),
        (&json!(2), &answer["transaction"])
    );
}

#[test]
fn objects_send_to_one_another_in_one_transaction() {
    let system = system();
    let purse = "def take(self, amount):\n    self.held = self.held - amount\n    self._p_changed = True\n    return self.held\n";
    system.ok(&["new", "traits", "held=10", "--name", "purse"]);
    system.defined("purse", purse);
    let id = system.inspect("purse")["object"].clone();
    let till = format!("till={}", json!({"$ref": id}));
    system.ok(&["new", "traits", &till, "sold=0", "--name", "shop"]);
    let sell = "def sell(self, price):\n    left = self.till.take(price)\n    self.sold = self.sold + price\n    self._p_changed = True\n    return left\n";
    system.defined("shop", sell);
    let answer = system.ok(&["send", "shop", "sell", "4"]);
    assert_eq!(answer["result"], 6);
    let (purse, shop) = (system.inspect("purse"), system.inspect("shop"));
    assert_eq!(
        (&purse["slots"]["held"]["value"], &shop["slots"]["sold"]["value"]),
        (&json!(6), &json!(4))
    );
    assert_eq!(
        purse["slots"]["held"]["changed"],
        shop["slots"]["sold"]["changed"]
    );
    // Delegation: a child uses its parent's method on its own slots.
    system.ok(&["new", "shop", "sold=100", "--name", "branch"]);
    system.ok(&["send", "branch", "sell", "1"]);
    assert_eq!(system.inspect("branch")["slots"]["sold"]["value"], 101);
    assert_eq!(system.inspect("shop")["slots"]["sold"]["value"], 4);
}

#[test]
fn a_read_only_send_makes_no_transaction() {
    let system = system();
    system.ok(&["new", "traits", "n=1", "--name", "thing"]);
    system.defined("thing", "def twice(self):\n    return self.n * 2\n");
    let before = number(&system.ok(&["status"])["kernel"]["last_transaction"]);
    for _ in 0..3 {
        let answer = system.ok(&["send", "thing", "twice"]);
        assert_eq!(number(&answer["transaction"]), before);
    }
    assert_eq!(
        number(&system.ok(&["status"])["kernel"]["last_transaction"]),
        before
    );
    let set = system.ok(&["set", "thing", "n", "5"]);
    assert_eq!(number(&set["transaction"]), before + 1);
    assert_eq!(system.result(&["send", "thing", "twice"]), 10);
}

/// A method that comes with a new object goes by the guard as one that is defined does.
#[test]
fn a_method_in_a_new_objects_slot_goes_by_the_guard() {
    let system = System::without_model().up();
    let hostile = r#"peek={"$method":"def peek(self):\n    import os\n    return os.getcwd()\n"}"#;
    system.refused(&["new", "traits", hostile, "--name", "thing"], "guard_refused");
    system.refused(&["inspect", "thing"], "no_object");
    let plain = r#"peek={"$method":"def peek(self):\n    return self.object_id()\n"}"#;
    system.ok(&["new", "traits", plain, "--name", "thing"]);
    system.ok(&["send", "thing", "peek"]);
}
