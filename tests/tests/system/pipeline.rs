//! Many messages on their way at once: workers are told them ahead, and one that goes wrong harms no other.

use std::io::Write;
use std::os::unix::net::UnixStream;

use shared::bridge::{Answer, Call, Fault, Hello, Request, ToClient, Welcome};
use shared::frame::encode;
use shared::id::ClientId;
use shared::incoming::Incoming;
use shared::value::Value;

use crate::harness::System;

const CONFIGURATION: &str = "[kernel]\ninstall_refused = true\nmethod_deadline_ms = 1000\n";
const COUNT_UP: &str =
    "def count_up(self):\n    self.n = self.n + 1\n    self._p_changed = True\n    return self.n\n";
const SPIN: &str = "def wrong(self):\n    n = 1\n    while n:\n        pass\n";
/// Ended by the jail.
const FORK: &str = "def wrong(self):
    for c in ().__class__.__base__.__subclasses__():
        try:
            modules = c.__init__.__globals__['sys'].modules
            break
        except Exception:
            pass
    return modules['posix'].fork()
";

/// One connection that asks without waiting.
struct Pipeline {
    stream: UnixStream,
    incoming: Incoming,
}

impl Pipeline {
    fn connect(system: &System) -> Pipeline {
        let hello = Hello {
            client: ClientId([7; 16]),
            program: "pipeline".into(),
        };
        let mut pipeline = Pipeline {
            stream: system.socket(),
            incoming: Incoming::default(),
        };
        pipeline.stream.write_all(&encode(&hello).unwrap()).unwrap();
        let _: Welcome = pipeline.incoming.read(&mut pipeline.stream).unwrap();
        pipeline
    }

    /// Sends all of them in one write; the replies in the order in which they come.
    fn send(&mut self, selectors: &[&str]) -> Vec<(usize, Result<Answer, Fault>)> {
        let mut bytes = Vec::new();
        for (sequence, selector) in (1..).zip(selectors) {
            let call = Call::Send {
                receiver: "thing".into(),
                selector: (*selector).into(),
                arguments: Vec::new(),
                deadline_ms: None,
            };
            let request = Request {
                sequence,
                watch: false,
                call,
            };
            bytes.extend(encode(&request).unwrap());
        }
        self.stream.write_all(&bytes).unwrap();
        selectors
            .iter()
            .map(
                |_| match self.incoming.read::<ToClient>(&mut self.stream).unwrap() {
                    ToClient::Reply { sequence, result } => (sequence as usize - 1, result),
                    other => panic!("{other:?} is no reply"),
                },
            )
            .collect()
    }
}

/// The one in the middle gets its own fault, after all others were answered, each carried out once.
fn one_is_wrong(source: &str, reason: &str) {
    let system = System::without_model().configure(CONFIGURATION).up();
    system.ok(&["new", "traits", "n=0", "--name", "thing"]);
    system.defined("thing", COUNT_UP);
    system.defined("thing", source);
    let mut selectors = vec!["count_up"; 101];
    selectors[50] = "wrong";
    let replies = Pipeline::connect(&system).send(&selectors);
    let mut counts: Vec<Value> = Vec::new();
    for (index, result) in &replies {
        match result {
            Ok(Answer::Sent { result, .. }) => counts.push(result.clone()),
            Ok(other) => panic!("{other:?} to a send"),
            Err(fault) => {
                assert_eq!((*index, fault.reason.as_str()), (50, reason), "{fault:?}");
            }
        }
    }
    counts.sort_by_key(|count| match count {
        Value::Int(count) => *count,
        other => panic!("{other:?} is no count"),
    });
    let expected: Vec<Value> = (1..=100).map(Value::Int).collect();
    assert_eq!(counts, expected, "each one is carried out once");
    assert_eq!(system.result(&["send", "thing", "n"]), 100);
    if reason == "method_deadline" {
        let (last, _) = replies.last().unwrap();
        assert_eq!(*last, 50, "nobody waits for the one that spins");
    }
}

#[test]
fn an_endless_method_holds_nobody_up() {
    one_is_wrong(SPIN, "method_deadline");
}

#[test]
fn a_method_that_ends_its_worker_is_alone_to_blame() {
    one_is_wrong(FORK, "worker_died");
}
