//! Everything at once, by a seed: kernels hand over, planks are replaced and killed, the steward is killed, the inbox is filled with junk, the image
//! packed and backed up, while clients ask. In the end their history and the image agree: nothing acknowledged is lost, nothing was done twice.
//!
//! `BATOS_CHAOS_MINUTES=60` for the long form (`./scripts/soak`), `BATOS_CHAOS_SEED` to repeat one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};

use crate::harness::{System, is_gone, program, repository, until};
use crate::load::Load;

const CLIENTS: usize = 4;
const SHORT: Duration = Duration::from_secs(20);
const CONFIGURATION: &str = "[supervision]\nhealth_deadline_ms = 8000\nhang_ms = 3000\ncrash_loop_after = 1000\nrestart_intensity = 1000000\n\
    [handover]\nprobation_ms = 200\nanswer_ms = 2000\n";
/// What may be given to the inbox and is none.
const JUNK: [&str; 6] = ["half", "link", "pipe", "large", "writable", "strange"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    HandOver,
    BadKernel,
    Worker,
    MethodWorker,
    Model,
    Steward,
    KillKernel,
    HangKernel,
    KillWorker,
    KillMethodWorker,
    KillSteward,
    Junk,
    Pack,
    Backup,
}

const ACTS: [Act; 19] = [
    Act::HandOver,
    Act::HandOver,
    Act::HandOver,
    Act::BadKernel,
    Act::Worker,
    Act::MethodWorker,
    Act::Model,
    Act::Steward,
    Act::KillKernel,
    Act::KillKernel,
    Act::KillKernel,
    Act::HangKernel,
    Act::KillWorker,
    Act::KillMethodWorker,
    Act::KillMethodWorker,
    Act::KillSteward,
    Act::Junk,
    Act::Pack,
    Act::Backup,
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

/// What instructions name: two of each, so that each is always another one.
struct Stock {
    kernels: [PathBuf; 2],
    bad_kernels: Vec<PathBuf>,
    workers: [PathBuf; 2],
    method_workers: [PathBuf; 2],
    stewards: [PathBuf; 2],
    models: [PathBuf; 2],
}

impl Stock {
    fn of(system: &System) -> Stock {
        let folder = system.folder();
        let two = |name: &str| -> [PathBuf; 2] {
            let stripped = folder.join(name);
            let status = Command::new("strip")
                .arg("-o")
                .arg(&stripped)
                .arg(program(name))
                .status();
            if !status.is_ok_and(|status| status.success()) {
                fs::copy(program(name), &stripped).unwrap();
            }
            [0, 1].map(|number| {
                let mut bytes = fs::read(&stripped).unwrap();
                bytes.extend(format!("\n{number}\n").bytes());
                put(&folder.join(format!("{name}-{number}")), &bytes)
            })
        };
        let bad = ["promote_crash", "probation_hang", "standby_crash", "canary_wrong"].map(|fault| {
            let mut bytes = fs::read(program("examples/faulty_kernel")).unwrap();
            bytes.extend(format!("\nFAULT={fault}\nKERNEL={}\n", program("kernel").display()).bytes());
            put(&folder.join(format!("bad-{fault}")), &bytes)
        });
        let models = [0, 1].map(|number| {
            let model = folder.join(format!("model-{number}"));
            fs::create_dir(&model).unwrap();
            for entry in fs::read_dir(repository().join("inference-worker/seed/model"))
                .unwrap()
                .flatten()
            {
                fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
            }
            fs::write(model.join("NUMBER"), number.to_string()).unwrap();
            model
        });
        Stock {
            kernels: two("kernel"),
            bad_kernels: bad.to_vec(),
            workers: two("inference-worker"),
            method_workers: two("method-worker"),
            stewards: two("steward"),
            models,
        }
    }
}

fn put(path: &Path, bytes: &[u8]) -> PathBuf {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_path_buf()
}

struct Chaos<'a> {
    system: &'a System,
    stock: Stock,
    random: Random,
    number: u64,
    /// Ids of instructions, each of which must have one result.
    given: BTreeSet<String>,
    done: BTreeMap<Act, u64>,
    outcomes: BTreeMap<String, u64>,
}

impl Chaos<'_> {
    fn act(&mut self) {
        let act = ACTS[self.random.below(ACTS.len() as u64) as usize];
        *self.done.entry(act).or_insert(0) += 1;
        let which = self.random.below(2) as usize;
        match act {
            Act::HandOver => self.give("kernel", self.stock.kernels[which].clone()),
            Act::BadKernel => {
                let at = self.random.below(self.stock.bad_kernels.len() as u64) as usize;
                self.give("kernel", self.stock.bad_kernels[at].clone());
            }
            Act::Worker => self.give("inference-worker", self.stock.workers[which].clone()),
            Act::MethodWorker => self.give("method-worker", self.stock.method_workers[which].clone()),
            Act::Model => self.give("model", self.stock.models[which].clone()),
            Act::Steward => self.give("steward", self.stock.stewards[which].clone()),
            Act::KillKernel => self.kill("kernel"),
            Act::HangKernel => self.signal("kernel", Signal::SIGSTOP),
            Act::KillWorker => self.kill("inference-worker"),
            Act::KillMethodWorker => self.kill("method-worker"),
            Act::KillSteward => self.kill("steward"),
            Act::Junk => self.junk(),
            Act::Pack => drop(self.system.batos(&["pack"])),
            Act::Backup => {
                let folder = self.system.folder().join("backup");
                self.system.batos(&["backup", folder.to_str().unwrap()]);
            }
        }
    }

    /// An instruction; half of the time something is killed before it has its result.
    fn give(&mut self, kind: &str, path: PathBuf) {
        self.number += 1;
        let id = format!("chaos-{}", self.number);
        let option = format!("--{kind}");
        let path = path.display().to_string();
        let words = [
            "upgrade",
            "submit",
            "--no-wait",
            "--again",
            "--id",
            &id,
            &option,
            &path,
        ];
        let reply = self.system.batos(&words);
        assert_eq!(reply.code, 0, "{reply:?}");
        self.given.insert(id.clone());
        if self.random.below(2) == 0 {
            // Not to wait for anything: to hit another moment each time.
            thread::sleep(Duration::from_millis(self.random.below(1500)));
            let wanted =
                ["kernel", "inference-worker", "method-worker", "steward"][self.random.below(4) as usize];
            self.kill(wanted);
        }
        let system = self.system;
        let result = until(&format!("a result of {id}"), || {
            let path = system.home().join(format!("channel/results/{id}.result.json"));
            serde_json::from_slice::<Json>(&fs::read(path).ok()?).ok()
        });
        let told = format!("{kind} {} {}", result["outcome"], result["reason"]).replace('"', "");
        *self.outcomes.entry(told).or_insert(0) += 1;
    }

    fn kill(&mut self, wanted: &str) {
        self.signal(wanted, Signal::SIGKILL);
    }

    fn signal(&mut self, wanted: &str, signal: Signal) {
        let running = self.system.processes();
        let named: Vec<i32> = running
            .iter()
            .filter(|(name, _)| *name == wanted)
            .map(|(_, pid)| *pid)
            .collect();
        if named.is_empty() {
            return;
        }
        let pid = named[self.random.below(named.len() as u64) as usize];
        let _ = kill(Pid::from_raw(pid), signal);
        if wanted == "steward" {
            until("the steward is gone", || is_gone(pid).then_some(()));
            // Of itself, when a sentry watched it; else somebody starts it.
            let system = self.system;
            until("a steward runs", || {
                (system.batos(&["up"]).code == 0).then_some(())
            });
        }
    }

    fn junk(&mut self) {
        self.number += 1;
        let inbox = self.system.home().join("channel/inbox");
        let path = inbox.join(format!("junk-{}.json", self.number));
        match JUNK[self.random.below(JUNK.len() as u64) as usize] {
            "half" => fs::write(path, "{\"schema\":2,\"id\":").unwrap(),
            "link" => std::os::unix::fs::symlink("/etc/passwd", path).unwrap(),
            "pipe" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "large" => fs::write(path, vec![b'{'; 8 << 20]).unwrap(),
            "writable" => {
                fs::write(&path, "{}").unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
            }
            _ => fs::write(path, [0xFF; 300]).unwrap(),
        }
    }
}

#[test]
fn chaos_loses_and_doubles_nothing() {
    let variable = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let length = variable("BATOS_CHAOS_MINUTES").map_or(SHORT, |minutes| Duration::from_secs(60 * minutes));
    let seed = variable("BATOS_CHAOS_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1);
    eprintln!("BATOS_CHAOS_SEED={seed}");
    let system = System::new().configure(CONFIGURATION).up();
    let stock = Stock::of(&system);
    let load = Load::begin(&system, CLIENTS);
    let mut chaos = Chaos {
        system: &system,
        stock,
        random: Random(seed | 1),
        number: 0,
        given: BTreeSet::new(),
        done: BTreeMap::new(),
        outcomes: BTreeMap::new(),
    };
    let begun = Instant::now();
    let mut told = Instant::now();
    while begun.elapsed() < length {
        chaos.act();
        let before = load.answered();
        until("requests are answered", || {
            (load.answered() > before).then_some(())
        });
        if told.elapsed() > Duration::from_secs(60) {
            eprintln!("{:?}: {:?}", begun.elapsed(), chaos.done);
            told = Instant::now();
        }
    }
    eprintln!("{:?}\n{:?}", chaos.done, chaos.outcomes);
    let verdict = load.end(&system);
    verdict.assert_clean();
    for id in &chaos.given {
        let stem = format!("{id}.");
        let results = fs::read_dir(system.home().join("channel/results"))
            .unwrap()
            .flatten();
        let count = results
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&stem))
            .count();
        assert_eq!(count, 1, "{id} has {count} results");
    }
    until("every plank is ready", || {
        let status = system.status();
        let planks = status["steward"]["planks"].as_array()?.clone();
        planks.iter().all(|plank| plank["state"] == "ready").then_some(())
    });
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));
    eprintln!("seed {seed}: sound after {:?}", begun.elapsed());
}
