//! kill -9 at random moments under load, while methods are thought of and the image is packed: no acknowledged write lost,
//! none doubled, no half of a thought left.
//!
//! `BATOS_KILLS=200` for the long form, `BATOS_KILL_SEED` to repeat one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::bridge::Call;
use shared::client::{CallError, Client};
use shared::value::Value;

use crate::harness::System;

const CLIENTS: usize = 3;
/// The numbers are spread over so many objects, so that no list grows long.
const OBJECTS: u64 = 16;
const COUNT_UP: &str = "def count_up(self, number):
    self.total = self.total + 1
    self.seen = self.seen + [number]
    self._p_changed = True
    return self.total
";

#[derive(Default)]
struct Tally {
    acknowledged: Vec<u64>,
    refused: BTreeMap<u64, String>,
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_acknowledged_write_is_lost_or_doubled() {
    let kills = variable("BATOS_KILLS").unwrap_or(30);
    let seed = variable("BATOS_KILL_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1);
    eprintln!("BATOS_KILL_SEED={seed}");
    let system = System::new()
        .configure("[supervision]\ncrash_loop_after = 1000\nrestart_intensity = 1000000\n")
        .up();
    system.ok(&["new", "traits", "--name", "tally"]);
    system.defined("tally", COUNT_UP);
    for index in 0..OBJECTS {
        system.ok(&[
            "new",
            "tally",
            "total=0",
            "seen=[]",
            "--name",
            &format!("c{index}"),
        ]);
    }
    let next = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let lamps = Mutex::new(Vec::new());
    let packs = AtomicU64::new(0);
    let killed = thread::scope(|scope| {
        let mut thinker = system.client(Duration::from_secs(30));
        let mut packer = system.client(Duration::from_secs(30));
        let (is_ended, lit, packed) = (&is_over, &lamps, &packs);
        scope.spawn(move || {
            while !is_ended.load(Ordering::SeqCst) {
                think_once(&mut thinker, lit);
            }
        });
        scope.spawn(move || {
            while !is_ended.load(Ordering::SeqCst) {
                if packer.call(Call::Pack, None).is_ok() {
                    packed.fetch_add(1, Ordering::SeqCst);
                }
                // Not to wait for anything: packs now and then, as a person does.
                thread::sleep(Duration::from_millis(700));
            }
        });
        for _ in 0..CLIENTS {
            let mut client = system.client(Duration::from_secs(30));
            let (next, is_over, tally) = (&next, &is_over, &tally);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let call = Call::Send {
                        receiver: format!("c{}", number % OBJECTS),
                        selector: "count_up".into(),
                        arguments: vec![Value::Int(number as i64)],
                        deadline_ms: None,
                    };
                    match client.call(call, None) {
                        Ok(_) => tally.lock().unwrap().acknowledged.push(number),
                        Err(CallError::Fault(fault)) => {
                            tally.lock().unwrap().refused.insert(number, fault.reason);
                        }
                        Err(error) => panic!("{number} has no answer: {error}"),
                    }
                }
            });
        }
        // Also when it panics, so that the clients end.
        let _over = SetOnDrop(&is_over);
        kill_at_random(&system, kills, seed, &tally)
    });
    judge(&system, &tally.into_inner().unwrap(), next.into_inner(), &killed);
    judge_thoughts(&system, &lamps.into_inner().unwrap(), packs.into_inner());
}

/// Makes a lamp and sends it what it does not understand; notes what the answer was.
fn think_once(client: &mut Client, lamps: &Mutex<Vec<(String, bool)>>) {
    let name = format!("lamp{}", lamps.lock().unwrap().len());
    let made = client.call(
        Call::New {
            parent: "traits".into(),
            slots: vec![("glowing".into(), Value::Bool(false))],
            name: Some(name.clone()),
        },
        None,
    );
    assert!(made.is_ok(), "{name}: {made:?}");
    let sent = client.call(
        Call::Send {
            receiver: name.clone(),
            selector: "toggle_glowing".into(),
            arguments: Vec::new(),
            deadline_ms: None,
        },
        None,
    );
    let is_answered = match sent {
        Ok(_) => true,
        Err(CallError::Fault(_)) => false,
        Err(error) => panic!("{name} has no answer: {error}"),
    };
    lamps.lock().unwrap().push((name, is_answered));
}

/// A toggle that was acknowledged was done once; one that failed left neither method nor change.
fn judge_thoughts(system: &System, lamps: &[(String, bool)], packs: u64) {
    let answered = lamps.iter().filter(|(_, is_answered)| *is_answered).count();
    eprintln!(
        "{} thoughts, {answered} answered; {packs} packs ended",
        lamps.len()
    );
    for (name, is_answered) in lamps {
        let slots = system.inspect(name)["slots"].clone();
        let glowing = slots["glowing"]["value"].as_bool().unwrap();
        if *is_answered {
            assert!(glowing, "{name}: {slots}");
        } else {
            assert!(
                !glowing || slots.get("toggle_glowing").is_some(),
                "{name}: half a thought: {slots}"
            );
        }
    }
    assert!(answered > 0, "no thought was answered: {lamps:?}");
    let verified = system.ok(&["verify"]);
    assert_eq!(verified["faults"], serde_json::json!([]));
}

/// The kills by program. The next one waits until something was acknowledged since, so that all fall under load.
fn kill_at_random(
    system: &System,
    kills: u64,
    seed: u64,
    tally: &Mutex<Tally>,
) -> BTreeMap<&'static str, u64> {
    let mut state = seed;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut killed = BTreeMap::new();
    let mut served = 0;
    for kill_number in 1..=kills {
        crate::harness::until("writes are acknowledged after a kill", || {
            (tally.lock().unwrap().acknowledged.len() > served).then_some(())
        });
        // Not to wait for anything: to hit another moment each time.
        thread::sleep(Duration::from_millis(random() % 150));
        let wanted = match kill_number % 20 {
            0 => "steward",
            _ => ["kernel", "kernel", "method-worker", "inference-worker"][(random() % 4) as usize],
        };
        let candidates = crate::harness::until("something to kill runs", || {
            let running = system.processes();
            let named: Vec<i32> = running
                .iter()
                .filter(|(name, _)| *name == wanted)
                .map(|(_, pid)| *pid)
                .collect();
            (!named.is_empty()).then_some(named)
        });
        let pid = candidates[(random() as usize) % candidates.len()];
        served = tally.lock().unwrap().acknowledged.len();
        if kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
            *killed.entry(wanted).or_insert(0) += 1;
        }
        if wanted == "steward" {
            crate::harness::until("the steward is gone", || {
                crate::harness::is_gone(pid).then_some(())
            });
            system.start();
        }
    }
    killed
}

fn judge(system: &System, tally: &Tally, asked: u64, killed: &BTreeMap<&str, u64>) {
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    for index in 0..OBJECTS {
        let slots = system.inspect(&format!("c{index}"))["slots"].clone();
        let list = slots["seen"]["value"].as_array().unwrap().clone();
        assert_eq!(
            slots["total"]["value"].as_u64(),
            Some(list.len() as u64),
            "c{index}: half a write"
        );
        for number in list {
            *seen.entry(number.as_u64().unwrap()).or_insert(0) += 1;
        }
    }
    let lost: Vec<&u64> = tally
        .acknowledged
        .iter()
        .filter(|number| !seen.contains_key(number))
        .collect();
    let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    let undead: Vec<_> = tally
        .refused
        .iter()
        .filter(|(number, _)| seen.contains_key(number))
        .collect();
    eprintln!(
        "{asked} asked, {} acknowledged, {} refused, kills {killed:?}; lost {}, doubled {}, refused and yet done {}",
        tally.acknowledged.len(),
        tally.refused.len(),
        lost.len(),
        doubled.len(),
        undead.len()
    );
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    assert!(undead.is_empty(), "refused and yet done: {undead:?}");
    assert!(
        tally.acknowledged.len() as u64 > killed.values().sum::<u64>(),
        "hardly any load"
    );
}

#[test]
fn up_works_at_once_after_the_stewards_death() {
    let system = System::without_model().up();
    for round in 1..=5 {
        let steward = system
            .processes()
            .into_iter()
            .find(|(name, _)| *name == "steward")
            .unwrap()
            .1;
        kill(Pid::from_raw(steward), Signal::SIGKILL).unwrap();
        // Not waited for: a person who sees a process killed starts it again.
        let reply = system.batos(&["up"]);
        assert_eq!(reply.code, 0, "round {round}: {reply:?}");
        system.inspect("genesis");
    }
}
