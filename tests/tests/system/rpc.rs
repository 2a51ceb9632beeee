//! JSON-RPC on the kernel's socket: the same calls and documents, and repeats that run once.

use serde_json::json;

use crate::harness::System;

const BUMP: &str =
    "def bump(self):\n    self.n = self.n + 1\n    self._p_changed = True\n    return self.n\n";

#[test]
fn json_rpc_answers_as_the_command_line_does() {
    let system = System::without_model().up();
    let made = system.rpc(
        "new",
        json!({"parent": "traits", "slots": {"n": 1}, "name": "thing"}),
    );
    assert_eq!(
        (&made["jsonrpc"], &made["id"], &made["result"]["ok"]),
        (&json!("2.0"), &json!(1), &json!(true)),
        "{made}"
    );
    assert_eq!(
        system.rpc("inspect", json!({"object": "thing"}))["result"],
        system.inspect("thing")
    );
    assert_eq!(
        system.rpc("guard", json!({"source": BUMP}))["result"],
        json!({"ok": true, "findings": []})
    );
    assert_eq!(
        system.rpc("define", json!({"object": "thing", "source": BUMP}))["result"]["slot"],
        "bump"
    );
    assert_eq!(
        system.rpc("set", json!({"object": "thing", "slot": "n", "value": 7}))["result"]["slot"],
        "n"
    );
    let sent = system.rpc(
        "send",
        json!({"receiver": "thing", "selector": "bump", "arguments": []}),
    );
    assert_eq!(
        (&sent["result"]["result"], &sent["result"]["thought"]),
        (&json!(8), &json!(null)),
        "{sent}"
    );
    assert_eq!(
        system.rpc("thoughts", json!({}))["result"],
        json!({"ok": true, "thoughts": []})
    );
    assert_eq!(
        system.rpc("status", json!({}))["result"]["pid"],
        system.kernel_pid()
    );
    let missing = system.rpc("inspect", json!({"object": "nobody"}));
    assert_eq!(
        (&missing["error"]["code"], &missing["error"]["data"]["reason"]),
        (&json!(1), &json!("no_object")),
        "{missing}"
    );
}

#[test]
fn a_repeated_request_gets_the_stored_reply_even_after_a_death() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=0", "--name", "thing"]);
    system.defined("thing", BUMP);
    let client = "00112233445566778899aabbccddeeff";
    let bump =
        json!({"receiver": "thing", "selector": "bump", "arguments": [], "client": client, "sequence": 1});
    let first = system.rpc("send", bump.clone())["result"].clone();
    assert_eq!(first["result"], 1);
    let second = system.rpc("send", bump.clone())["result"].clone();
    assert_eq!(
        (&second["result"], &second["transaction"]),
        (&first["result"], &first["transaction"])
    );
    system.kill_all();
    system.start();
    let third = system.rpc("send", bump)["result"].clone();
    assert_eq!(
        (&third["result"], &third["transaction"]),
        (&first["result"], &first["transaction"])
    );
    let by_hand = system.ok(&["send", "thing", "bump", "--request-id", &format!("{client}:1")]);
    assert_eq!(by_hand["result"], 1);
    assert_eq!(system.inspect("thing")["slots"]["n"]["value"], 1);
    assert_eq!(
        system.result(&["send", "thing", "bump", "--request-id", &format!("{client}:2")]),
        2
    );
}
