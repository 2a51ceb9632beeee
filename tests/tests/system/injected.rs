//! One thought, one transaction: at every state and every point of failure the objects are as before, or the thought is complete.
//!
//! The short form runs each kind of fault in each step where it can happen; `./scripts/injected N` runs N faults.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::harness::{System, number, until};
use crate::personas::{self, Step};
use crate::scripted::{Act, Asked, Scripted};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    /// The model's own deadline.
    Late,
    Empty,
    Garbled,
    HangUp,
    NoFrame,
    Engine,
    OffSchema,
    Refused,
    Unguarded,
    Unparsable,
    UnknownSlot,
    Loops,
    Hogs,
    Raises,
    Undeclared,
    BreaksCovenant,
    /// Somebody changes what the thought has read.
    Conflict,
    /// Somebody else writes the method.
    Quicker,
    KillWorkers,
    KillKernel,
    /// So many microseconds after the answer: while states run, in the trial, at the commit.
    KillKernelLater(u64),
}

use Wrong::{
    BreaksCovenant, Conflict, Empty, Engine, Garbled, HangUp, Hogs, KillKernel, KillKernelLater, KillWorkers,
    Late, Loops, NoFrame, OffSchema, Quicker, Raises, Refused, Undeclared, Unguarded, UnknownSlot,
    Unparsable,
};

const ANYWHERE: [Wrong; 9] = [
    Late,
    Empty,
    Garbled,
    HangUp,
    NoFrame,
    Engine,
    Conflict,
    Quicker,
    KillWorkers,
];
const OF_METHODS: [Wrong; 8] = [
    Unguarded,
    Unparsable,
    UnknownSlot,
    Loops,
    Hogs,
    Raises,
    Undeclared,
    BreaksCovenant,
];
const STEPS: [Step; 4] = [Step::Plan, Step::Facet, Step::Method, Step::Review];

/// What is to go wrong next.
#[derive(Clone, Copy, Debug)]
struct Fault {
    step: Step,
    wrong: Wrong,
    /// In how many of the answers of that step.
    times: u32,
}

/// What the script does its worst with.
#[derive(Default)]
struct Plot {
    fault: Mutex<Option<Fault>>,
    kernel: AtomicI32,
    receiver: Mutex<String>,
    socket: Mutex<std::path::PathBuf>,
}

impl Plot {
    fn act(&self, asked: &Asked) -> Act {
        let step = Step::of(asked);
        let wrong = {
            let mut fault = self.fault.lock().unwrap();
            match fault.as_mut() {
                Some(fault) if fault.step == step && fault.times > 0 => {
                    fault.times -= 1;
                    fault.wrong
                }
                _ => return personas::correct(asked),
            }
        };
        let head = personas::head(asked);
        let method = |body: &str| Act::Say(format!("{head}\n{body}"));
        match wrong {
            Late => Act::Late,
            Empty => Act::Say(String::new()),
            Garbled => Act::Say("\u{1}{\"archetype\"".into()),
            HangUp => Act::HangUp,
            NoFrame => Act::Garbage,
            Engine => Act::Refuse("engine", "the engine is out of order"),
            OffSchema => Act::Say(json!({"archetype": "none", "verdict": "maybe"}).to_string()),
            Refused => Act::Say(json!({"verdict": "refuse", "reason": "no"}).to_string()),
            Unguarded => method("    return self.__class__\n"),
            Unparsable => method("    return (\n"),
            UnknownSlot => method("    return self.nothing_of_the_kind\n"),
            Loops => method("    while self.count < 1000:\n        n = 1\n    return n\n"),
            Hogs => method(
                "    held = []\n    for n in range(100000):\n        held.append(\"x\" * 1000000 + str(n))\n    return len(held)\n",
            ),
            Raises => method("    return 1 / 0\n"),
            Undeclared => method("    self.count = 5\n    return 5\n"),
            BreaksCovenant => method("    self.count = -1\n    self._p_changed = True\n    return 0\n"),
            Conflict => {
                // A slot that the thought looks at again when it commits.
                let receiver = self.receiver.lock().unwrap().clone();
                self.aside("set", json!({"object": receiver, "slot": "count", "value": 100}));
                personas::correct(asked)
            }
            Quicker => {
                let receiver = self.receiver.lock().unwrap().clone();
                let source = personas::counting(asked);
                self.aside("define", json!({"object": receiver, "source": source}));
                personas::correct(asked)
            }
            KillWorkers => {
                let status = self.aside("status", json!({}));
                for pid in status["method_workers"].as_array().into_iter().flatten() {
                    let _ = kill(Pid::from_raw(pid.as_i64().unwrap() as i32), Signal::SIGKILL);
                }
                personas::correct(asked)
            }
            KillKernel => {
                self.kill();
                personas::correct(asked)
            }
            KillKernelLater(us) => {
                let pid = self.kernel.load(Ordering::SeqCst);
                thread::spawn(move || {
                    thread::sleep(Duration::from_micros(us));
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                });
                personas::correct(asked)
            }
        }
    }

    fn kill(&self) {
        let _ = kill(Pid::from_raw(self.kernel.load(Ordering::SeqCst)), Signal::SIGKILL);
    }

    /// A call of somebody else.
    fn aside(&self, method: &str, parameters: Json) -> Json {
        let socket = self.socket.lock().unwrap().clone();
        let Ok(stream) = UnixStream::connect(socket) else {
            return Json::Null;
        };
        Line::of(stream).call(method, parameters).unwrap_or(Json::Null)["result"].take()
    }
}

/// A conversation by JSON-RPC.
struct Line(BufReader<UnixStream>);

impl Line {
    fn of(stream: UnixStream) -> Line {
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        Line(BufReader::new(stream))
    }

    /// None: the kernel went.
    fn call(&mut self, method: &str, parameters: Json) -> Option<Json> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
        writeln!(self.0.get_mut(), "{request}").ok()?;
        let mut answer = String::new();
        match self.0.read_line(&mut answer) {
            Ok(read) if read > 0 => serde_json::from_str(&answer).ok(),
            _ => None,
        }
    }
}

/// What an object is, as a hash.
fn hash(inspected: &Json) -> Vec<u8> {
    Sha256::digest(inspected["slots"].to_string() + &inspected["entries"].to_string()).to_vec()
}

/// Runs faults against one image.
struct Trials {
    scripted: Scripted,
    plot: Arc<Plot>,
    line: Line,
    sequence: u64,
    /// By kind: how many ended as before, and how many complete.
    told: BTreeMap<String, (u32, u32)>,
}

const CLIENT: &str = "00112233445566778899aabbccddeeff";
const COVENANT: &str = "\n[[covenants]]\nname = \"a count is never negative\"\nbinds = [\"counted.count\"]\nschema = '{\"type\": \"integer\", \"minimum\": 0}'\n";

impl Trials {
    fn new() -> Trials {
        let plot = Arc::<Plot>::default();
        let own = plot.clone();
        let scripted = Scripted::of(
            None,
            &["--method-deadline-ms", "400", "--method-memory-mib", "128"],
            move |asked| own.act(asked),
        );
        let system = &scripted.system;
        *plot.socket.lock().unwrap() = system.home().join("run/kernel.sock");
        plot.kernel.store(scripted.kernel_pid(), Ordering::SeqCst);
        system.ok(&["new", "traits", "count=0", "--name", "counted"]);
        let codex = system.ok(&["codex", "export"])["codex"].clone();
        let file = system.folder().join("codex.toml");
        std::fs::write(&file, codex.as_str().unwrap().to_owned() + COVENANT).unwrap();
        system.ok(&["codex", "import", &file.display().to_string()]);
        let line = Line::of(system.socket());
        Trials {
            scripted,
            plot,
            line,
            sequence: 0,
            told: BTreeMap::new(),
        }
    }

    fn must(&mut self, method: &str, parameters: Json) -> Json {
        let answer = self.line.call(method, parameters.clone());
        let answer = answer.unwrap_or_else(|| panic!("no answer to {method} {parameters}"));
        assert!(answer["error"].is_null(), "{method} {parameters}: {answer}");
        answer["result"].clone()
    }

    /// Of the thinking objects, the receiver, and how many objects there are.
    fn standing(&mut self, receiver: &str) -> (Vec<u8>, Json, u64) {
        let mut hasher = Sha256::new();
        for id in 1..=OBJECTS {
            let inspected = self.must("inspect", json!({"object": format!("#{id}")}));
            hasher.update(hash(&inspected));
        }
        let slots = self.must("inspect", json!({"object": receiver}))["slots"].clone();
        let objects = number(&self.must("status", json!({}))["objects"]);
        (hasher.finalize().to_vec(), slots, objects)
    }

    /// Another kernel, once the old one is gone for certain.
    fn begin_anew(&mut self) {
        self.scripted.kill();
        self.scripted.start();
        self.plot
            .kernel
            .store(self.scripted.kernel_pid(), Ordering::SeqCst);
        self.line = Line::of(self.scripted.system.socket());
    }

    /// One fault, and the judgement of what is left of it.
    fn run(&mut self, fault: Fault) {
        self.sequence += 1;
        let receiver =
            self.must("new", json!({"parent": "counted", "slots": {"count": 0}}))["object"].clone();
        let receiver = receiver.as_str().unwrap().to_owned();
        *self.plot.receiver.lock().unwrap() = receiver.clone();
        let before = self.standing(&receiver);
        *self.plot.fault.lock().unwrap() = Some(fault);
        let message = json!({"receiver": receiver, "selector": "count_up", "arguments": [], "client": CLIENT, "sequence": self.sequence});
        let is_killed = matches!(fault.wrong, KillKernel | KillKernelLater(_));
        let first = self.line.call("send", message.clone());
        // A kill that comes later than the answer has met what follows a commit; a fault whose step was not reached kills nobody.
        let answer = match first.filter(|_| !is_killed) {
            Some(answer) => answer,
            None => {
                self.begin_anew();
                // What a client does whose kernel went: it asks again, and is answered once.
                let again = self.line.call("send", message);
                again.unwrap_or_else(|| panic!("{fault:?}: the new kernel went as well"))
            }
        };
        *self.plot.fault.lock().unwrap() = None;
        let mut line = Line::of(self.scripted.system.socket());
        until("no mission is under way", || {
            let missions = line.call("missions", json!({}))?["result"]["missions"].clone();
            missions.as_array().unwrap().is_empty().then_some(())
        });
        let after = self.standing(&receiver);
        let told = self
            .told
            .entry(format!("{:?}", fault.wrong).split('(').next().unwrap().to_owned())
            .or_default();
        assert_eq!(after.0, before.0, "{fault:?}: the mind's own objects changed");
        let meddled = match fault.wrong {
            Conflict => 100,
            _ => 0,
        };
        if answer["error"].is_null() {
            // Complete: the method, its one run, the cycle.
            told.1 += 1;
            let count = after.1["count"]["value"].as_u64().unwrap();
            assert_eq!(
                answer["result"]["result"],
                format!("count_up {count}"),
                "{fault:?}"
            );
            let begun = if fault.wrong == Conflict { [1, 101] } else { [1, 1] };
            assert!(begun.contains(&count) || count == 100, "{fault:?}: {count}");
            assert!(
                after.1["count_up"]["source"]
                    .to_string()
                    .contains("self.count + 1")
                    || after.1["count_up"]["value"]
                        .to_string()
                        .contains("self.count + 1"),
                "{fault:?}: {}",
                after.1
            );
            let made = after.2 - before.2;
            assert!(
                made == 1 || (fault.wrong == Quicker && made <= 1),
                "{fault:?}: {made} objects"
            );
        } else {
            told.0 += 1;
            assert!(!is_killed, "{fault:?}: {answer}");
            assert_eq!(
                after.2, before.2,
                "{fault:?}: objects are left of a failed thought"
            );
            let mut expected = before.1.clone();
            if meddled != 0 && after.1["count"]["value"] == meddled {
                expected["count"] = after.1["count"].clone();
            }
            if fault.wrong == Quicker {
                expected["count_up"] = after.1["count_up"].clone();
            }
            assert_eq!(after.1, expected, "{fault:?}: {answer}");
        }
    }
}

/// Primordial objects.
const OBJECTS: u64 = 47;

/// Every fault where it can happen, once (and mended by the next round) and in every round (so that the mission fails).
fn everywhere() -> Vec<Fault> {
    let mut faults = Vec::new();
    for step in STEPS {
        let mut wrongs = ANYWHERE.to_vec();
        match step {
            Step::Method => wrongs.extend(OF_METHODS),
            Step::Plan => wrongs.push(OffSchema),
            Step::Review => wrongs.extend([OffSchema, Refused]),
            Step::Facet => {}
        }
        for wrong in wrongs {
            faults.push(Fault {
                step,
                wrong,
                times: 1,
            });
            if !matches!(wrong, HangUp | NoFrame | Conflict | Quicker | KillWorkers) {
                faults.push(Fault {
                    step,
                    wrong,
                    times: 16,
                });
            }
        }
    }
    faults
}

fn kills(each: u32) -> Vec<Fault> {
    let mut faults = Vec::new();
    for step in STEPS {
        faults.push(Fault {
            step,
            wrong: KillKernel,
            times: 1,
        });
        for at in 0..each {
            // From the next state to beyond the commit.
            let us = 300 + u64::from(at) * 40_000 / u64::from(each.max(1));
            faults.push(Fault {
                step,
                wrong: KillKernelLater(us),
                times: 1,
            });
        }
    }
    faults
}

#[test]
fn a_fault_at_any_point_leaves_nothing_or_all() {
    let wanted: usize = std::env::var("BATOS_INJECTED").map_or(0, |text| text.parse().unwrap());
    let mut trials = Trials::new();
    let mut done = 0;
    loop {
        let faults = match wanted {
            0 => [everywhere(), kills(1)].concat(),
            _ => [everywhere(), kills(4)].concat(),
        };
        for fault in faults {
            trials.run(fault);
            done += 1;
        }
        if done >= wanted {
            break;
        }
    }
    let system: &System = &trials.scripted.system;
    system.ok(&["verify"]);
    let (before, complete) = trials
        .told
        .values()
        .fold((0, 0), |(a, b), (before, complete)| (a + before, b + complete));
    println!("{done} faults: {before} left nothing, {complete} were completed, 0 differences");
    for (kind, (before, complete)) in &trials.told {
        println!("  {kind:16} nothing {before:4}  complete {complete:4}");
    }
    assert!(before > 20 && complete > 20, "{:?}", trials.told);
}
