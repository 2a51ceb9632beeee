//! Large collections with the real programs: the prototypes from the shell, and many clients at once.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use shared::bridge::{Answer, Call};
use shared::client::Client;
use shared::value::Value;

use crate::harness::System;

const CLIENTS: usize = 8;

fn system() -> System {
    System::without_model().up()
}

fn send(client: &mut Client, receiver: &str, selector: &str, arguments: Vec<Value>) -> Value {
    let call = Call::Send {
        receiver: receiver.into(),
        selector: selector.into(),
        arguments,
        deadline_ms: None,
    };
    match client.call(call, None) {
        Ok(Answer::Sent { result, .. }) => result,
        other => panic!("{receiver} {selector}: {other:?}"),
    }
}

#[test]
fn the_prototypes_work_from_the_shell() {
    let system = system();
    system.ok(&["new", "ordered_map", "--name", "index"]);
    let send = |arguments: &[&str]| system.result(&[&["send", "index"], arguments].concat());
    for (name, value) in [
        ("\"a\"", "1"),
        ("\"c\"", "[3]"),
        ("\"b\"", "2"),
        ("7", "\"seven\""),
    ] {
        assert_eq!(send(&["put", name, value]), json!(null));
    }
    assert_eq!(send(&["get", "\"a\""]), 1);
    assert_eq!(send(&["keys"]), json!([7, "a", "b", "c"]));
    assert_eq!(
        send(&["between", "\"b\"", "\"z\""]),
        json!([["b", 2], ["c", [3]]])
    );
    assert_eq!(send(&["prefix", "\"a\""]), json!([["a", 1]]));
    assert_eq!(
        (send(&["first"]), send(&["last"])),
        (json!([7, "seven"]), json!(["c", [3]]))
    );
    assert_eq!(send(&["remove", "7"]), "seven");
    assert_eq!(send(&["size"]), 3);
    let inspected = system.inspect("index");
    assert_eq!(
        inspected["entries"],
        json!({"count": 3, "first": [["a", 1], ["b", 2], ["c", [3]]]})
    );
    assert_eq!(
        system.inspect("ordered_map")["entries"],
        json!({"count": 0, "first": []})
    );
    system.refused(&["send", "index", "remove", "7"], "method_raised");
    // Changes of entries are declared like all others, and what is changed in place is kept.
    system.defined(
        "index",
        "def grow(self, key):\n    self[key].append(len(self))\n    self._p_changed = True\n    return self[key]\n",
    );
    assert_eq!(send(&["grow", "\"c\""]), json!([3, 3]));
    assert_eq!(send(&["get", "\"c\""]), json!([3, 3]));
    system.kill_all();
    system.start();
    assert_eq!(system.inspect("index")["entries"]["count"], 3);
    assert_eq!(send(&["get", "\"c\""]), json!([3, 3]));
}

#[test]
fn eight_clients_lose_nothing() {
    let system = system();
    for prototype in ["counter", "queue", "bag"] {
        system.ok(&["new", prototype, "--name", &format!("the_{prototype}")]);
    }
    let rounds = 40;
    let each = |work: &(dyn Fn(usize, &mut Client) + Sync)| {
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let mut client = system.client(Duration::from_secs(30));
                scope.spawn(move || work(number, &mut client));
            }
        });
    };
    let conflicts = || system.status()["kernel"]["conflicts"].as_u64().unwrap();
    each(&|number, client| {
        for round in 0..rounds {
            let amount = (number * rounds + round) as i64;
            send(client, "the_counter", "add", vec![Value::Int(amount)]);
            send(client, "the_queue", "push", vec![Value::Int(amount)]);
            send(
                client,
                "the_bag",
                "add",
                vec![Value::Text(format!("w{}", amount % 3))],
            );
        }
    });
    let total = (CLIENTS * rounds) as i64;
    assert_eq!(conflicts(), 0, "additions merge");
    assert_eq!(
        system.result(&["send", "the_counter", "value"]),
        total * (total - 1) / 2
    );
    assert_eq!(system.result(&["send", "the_queue", "size"]), total);
    assert_eq!(system.result(&["send", "the_bag", "size"]), total);
    assert_eq!(
        system.result(&["send", "the_bag", "distinct"]),
        json!(["w0", "w1", "w2"])
    );
    // Half of it is popped by all at once; nobody gets what another got.
    let popped = Mutex::new(Vec::new());
    each(&|_, client| {
        for _ in 0..rounds / 2 {
            match send(client, "the_queue", "pop", vec![]) {
                Value::Int(amount) => popped.lock().unwrap().push(amount),
                other => panic!("{other:?}"),
            }
        }
    });
    let popped = popped.into_inner().unwrap();
    let different: BTreeSet<i64> = popped.iter().copied().collect();
    assert_eq!(
        (popped.len() as i64, different.len() as i64),
        (total / 2, total / 2)
    );
    assert_eq!(system.result(&["send", "the_queue", "size"]), total / 2);
    eprintln!("{} pops made {} conflicts", total / 2, conflicts());
}

/// By hand: `cargo test --release -p system-tests --test system a_million -- --ignored --nocapture`.
#[test]
#[ignore = "fills a map with a million keys and prints what ranges of it cost"]
fn a_million_keys() {
    let system = system();
    system.ok(&["new", "ordered_map", "--name", "index"]);
    system.defined(
        "index",
        "def fill(self, start, count):\n    for at in range(start, start + count):\n        self[f\"key-{at:07d}\"] = at\n    self._p_changed = True\n",
    );
    let mut client = system.client(Duration::from_secs(30));
    let (total, batch) = (1_000_000, 20_000);
    let begun = Instant::now();
    for start in (0..total).step_by(batch) {
        let arguments = vec![Value::Int(start as i64), Value::Int(batch as i64)];
        send(&mut client, "index", "fill", arguments);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{total} puts, {batch} a message: {seconds:.1} s, {:.0} a second",
        total as f64 / seconds
    );
    for what in ["right after", "indexed"] {
        let mut measure = |what: &str, selector: &str, arguments: &dyn Fn(i64) -> Vec<Value>| {
            let mut times: Vec<Duration> = (0..300)
                .map(|round| {
                    let begun = Instant::now();
                    send(&mut client, "index", selector, arguments(round * 3_001 % 999_000));
                    begun.elapsed()
                })
                .collect();
            times.sort();
            println!("  {what}: median {:?}, 99th of 100 {:?}", times[150], times[296]);
        };
        println!("{what}:");
        let name = |at: i64| Value::Text(format!("key-{at:07}"));
        measure("one key", "get", &|at| vec![name(at)]);
        measure("a range of 100", "between", &|at| vec![name(at), name(at + 100)]);
        measure("a prefix of 100", "prefix", &|at| {
            vec![Value::Text(format!("key-{:05}", at / 100))]
        });
        measure("the first 100 from a key on", "items", &|at| {
            vec![name(at), Value::None, Value::Int(100)]
        });
        measure("the last", "last", &|_| vec![]);
        measure("the size", "size", &|_| vec![]);
        thread::sleep(Duration::from_secs(5));
    }
}
