//! Kernels replaced under load: no request fails, none is lost, none is done twice; and a new kernel that is faulty in any way gives
//! way to the old one.
//!
//! `BATOS_HANDOVERS=1000` for the long form (`./scripts/handovers`), `BATOS_HANDOVER_SEED` to repeat one.

use std::fs;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use shared::bridge::Call;
use shared::client::CallError;
use shared::frame;
use shared::handover::{FromKernel, ToKernel};
use shared::value::Value;

use crate::harness::{System, is_gone, kernels, program, text, until};
use crate::load::Load;

const CLIENTS: usize = 4;
const LIMIT: Duration = Duration::from_millis(800);
const CONFIGURATION: &str = "[supervision]\nhealth_deadline_ms = 4000\n\
    [handover]\nprobation_ms = 100\npromote_ms = 800\nanswer_ms = 800\n";

/// A kernel's program of the test's own, and its digest.
struct Program {
    path: PathBuf,
    sha256: String,
}

impl Program {
    fn of(path: PathBuf, bytes: &[u8]) -> Program {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let sha256 = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Program { path, sha256 }
    }

    /// The kernel under another name. Without what only a debugger reads, so that staging it takes less.
    fn kernel(system: &System) -> Program {
        let path = system.folder().join("kernel");
        let stripped = Command::new("strip")
            .arg("-o")
            .arg(&path)
            .arg(program("kernel"))
            .status();
        let bytes = match stripped {
            Ok(status) if status.success() => fs::read(&path).unwrap(),
            _ => fs::read(program("kernel")).unwrap(),
        };
        Program::of(path, &bytes)
    }

    /// A kernel with a fault.
    fn faulty(system: &System, fault: &str) -> Program {
        let mut bytes = fs::read(program("examples/faulty_kernel")).unwrap();
        bytes.extend(format!("\nFAULT={fault}\nKERNEL={}\n", program("kernel").display()).bytes());
        Program::of(system.folder().join(format!("faulty-{fault}")), &bytes)
    }

    /// Drops an instruction for it and waits for its result.
    fn instruct(&self, system: &System, id: &str) -> Json {
        self.drop_in(system, id);
        result(system, id)
    }

    fn drop_in(&self, system: &System, id: &str) {
        let document = json!({"schema": 1, "id": id,
            "target": {"kind": "kernel", "path": self.path, "sha256": self.sha256}});
        let inbox = system.home().join("channel/inbox");
        fs::write(inbox.join(format!(".{id}")), document.to_string()).unwrap();
        fs::rename(inbox.join(format!(".{id}")), inbox.join(format!("{id}.json"))).unwrap();
    }
}

fn result(system: &System, id: &str) -> Json {
    let path = system.home().join(format!("channel/results/{id}.result.json"));
    until(&format!("a result of {id}"), || {
        serde_json::from_slice(&fs::read(&path).ok()?).ok()
    })
}

/// When the handover was at the point where no kernel serves, and a moment around it.
fn moments(result: &Json) -> String {
    let steps = result["steps"].as_array().unwrap().iter();
    let told = steps.map(|step| {
        let took = step["ended"].as_u64().unwrap() - step["begun"].as_u64().unwrap();
        format!("{} {took} ms", step["step"].as_str().unwrap())
    });
    told.collect::<Vec<_>>().join(", ")
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn planned_handovers_under_load_fail_nothing() {
    let handovers = variable("BATOS_HANDOVERS").unwrap_or(50);
    let seed = variable("BATOS_HANDOVER_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1);
    eprintln!("BATOS_HANDOVER_SEED={seed}");
    let system = System::without_model().configure(CONFIGURATION).up();
    let kernel = Program::kernel(&system);
    let load = Load::begin(&system, CLIENTS);
    let mut state = seed;
    let mut spans = Vec::new();
    for number in 0..handovers {
        let before = load.answered();
        until("requests are answered", || {
            (load.answered() > before + 20).then_some(())
        });
        // Not to wait for anything: to begin at another moment each time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        thread::sleep(Duration::from_millis(state % 20));
        let from = Instant::now();
        let result = kernel.instruct(&system, &format!("h{number}"));
        assert_eq!(result["outcome"], "applied", "{result}");
        assert_eq!(
            result["steps"][4]["step"], "yield",
            "not a handover without a gap: {result}"
        );
        spans.push((from, Instant::now()));
        if number % 50 == 0 {
            eprintln!("{number}: {}", moments(&result));
        }
    }
    let epoch = system.status()["kernel"]["epoch"].as_u64().unwrap();
    let verdict = load.end(&system);
    let mut pauses: Vec<Duration> = spans
        .iter()
        .map(|(from, to)| verdict.longest_wait(*from, *to))
        .collect();
    pauses.sort_unstable();
    eprintln!(
        "{handovers} handovers; longest wait of a client in one: p50 {:?}, p99 {:?}, most {:?}",
        pauses[pauses.len() / 2],
        pauses[pauses.len() * 99 / 100],
        pauses[pauses.len() - 1]
    );
    verdict.assert_clean();
    assert_eq!(
        epoch,
        handovers + 1,
        "each handover is one epoch, and nothing was started besides"
    );
    let verified = system.ok(&["verify"]);
    assert_eq!(verified["faults"], json!([]));
}

/// What the new kernel does wrong, what the instruction comes to, and how long clients may wait.
struct Fault(&'static str, &'static str, Duration);

const AT_ONCE: Duration = Duration::from_secs(1);
const AFTER_LIMIT: Duration = Duration::from_millis(1800);

const FAULTS: [Fault; 15] = [
    Fault("rehearse_crash", "failed", AT_ONCE),
    Fault("rehearse_hang", "failed", AT_ONCE),
    Fault("rehearse_refuse", "failed", AT_ONCE),
    Fault("standby_crash", "failed", AT_ONCE),
    Fault("standby_hang", "failed", AT_ONCE),
    Fault("hello_rubbish", "failed", AT_ONCE),
    Fault("canary_wrong", "failed", AT_ONCE),
    Fault("promote_crash", "rolled_back", AT_ONCE),
    Fault("promote_hang", "rolled_back", AFTER_LIMIT),
    Fault("promoted_crash", "rolled_back", AT_ONCE),
    Fault("promoted_mute", "rolled_back", AFTER_LIMIT),
    Fault("serving_wrong", "rolled_back", AT_ONCE),
    Fault("probation_crash", "rolled_back", AT_ONCE),
    Fault("probation_hang", "rolled_back", AFTER_LIMIT),
    Fault("probation_wrong", "rolled_back", AT_ONCE),
];

#[test]
fn a_faulty_kernel_gives_way_to_the_old_one() {
    assert_eq!(AFTER_LIMIT, LIMIT + AT_ONCE);
    let system = System::without_model().configure(CONFIGURATION).up();
    let load = Load::begin(&system, CLIENTS);
    let old = system.kernel_pid();
    let mut spans = Vec::new();
    for Fault(name, outcome, wait) in FAULTS {
        let program = Program::faulty(&system, name);
        let from = Instant::now();
        let result = program.instruct(&system, name);
        spans.push((name, from, Instant::now(), wait));
        eprintln!("{name}: {} ({})", result["message"], moments(&result));
        assert_eq!(result["outcome"], *outcome, "{name}: {result}");
        // The same process: it was never started anew.
        assert_eq!(system.kernel_pid(), old, "{name}: {result}");
        let before = load.answered();
        until("requests are answered", || {
            (load.answered() > before + 20).then_some(())
        });
    }
    let verdict = load.end(&system);
    let all: Vec<_> = spans.iter().map(|(_, from, to, _)| (*from, *to)).collect();
    let elsewhere = verdict.longest_elsewhere(&all);
    eprintln!("between them a client waited {elsewhere:?} at most");
    for (name, from, to, wait) in spans {
        let longest = verdict.longest_wait(from, to);
        eprintln!("{name}: a client waited {longest:?}");
        assert!(longest <= wait + elsewhere, "{name}: a client waited {longest:?}");
    }
    verdict.assert_clean();
    assert_eq!(kernels(&system.home()), [old], "kernels are left over");
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));
}

/// Thoughts that are under way when a kernel yields go on in the next one; who waits for them is answered.
#[test]
fn a_thought_goes_on_in_the_new_kernel() {
    let system = System::new().configure(CONFIGURATION).up();
    let kernel = Program::kernel(&system);
    let is_over = AtomicBool::new(false);
    let (answers, parked) = thread::scope(|scope| {
        let mut client = system.client(Duration::from_secs(60));
        let is_ended = &is_over;
        let thinking = scope.spawn(move || {
            let mut answers = Vec::new();
            while !is_ended.load(Ordering::SeqCst) {
                let name = format!("lamp{}", answers.len());
                let slots = vec![("glowing".into(), Value::Bool(false))];
                let made = Call::New {
                    parent: "traits".into(),
                    slots,
                    name: Some(name.clone()),
                };
                client.call(made, None).unwrap();
                let call = Call::Send {
                    receiver: name.clone(),
                    selector: "toggle_glowing".into(),
                    arguments: Vec::new(),
                    deadline_ms: None,
                };
                answers.push((name, client.call(call, None)));
            }
            answers
        });
        let _over = SetOnDrop(&is_over);
        let mut parked = 0;
        for number in 0..8 {
            let result = kernel.instruct(&system, &format!("t{number}"));
            assert_eq!(result["outcome"], "applied", "{result}");
            let said = text(&result["steps"][4]["message"]).to_owned();
            parked += said.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
        (thinking.join().unwrap(), parked)
    });
    eprintln!(
        "{} thoughts, {parked} of them were under way when a kernel yielded",
        answers.len()
    );
    assert!(parked > 0, "no thought was under way at any handover");
    for (name, answer) in answers {
        match answer {
            Ok(_) => assert_eq!(system.inspect(&name)["slots"]["glowing"]["value"], true, "{name}"),
            // The small model may fail; a handover may not.
            Err(CallError::Fault(fault)) => assert_eq!(fault.reason, "not_understood", "{name}: {fault:?}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));
}

/// A content on its way belongs to a connection; `batos blob` begins it again.
#[test]
fn contents_on_their_way_arrive() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let kernel = Program::kernel(&system);
    let (given, got) = (system.folder().join("given"), system.folder().join("got"));
    let bytes: Vec<u8> = (0..24u32 << 20)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    fs::write(&given, &bytes).unwrap();
    let is_over = AtomicBool::new(false);
    let rounds = thread::scope(|scope| {
        let (system, is_ended, given, got) = (&system, &is_over, &given, &got);
        let carrying = scope.spawn(move || {
            let mut rounds = 0;
            while !is_ended.load(Ordering::SeqCst) {
                let put = system.ok(&["blob", "put", given.to_str().unwrap()]);
                let digest = text(&put["blob"]["$blob"]).to_owned();
                system.ok(&["blob", "get", &digest, "-o", got.to_str().unwrap()]);
                rounds += 1;
            }
            rounds
        });
        let _over = SetOnDrop(&is_over);
        for number in 0..5 {
            let result = kernel.instruct(system, &format!("b{number}"));
            assert_eq!(result["outcome"], "applied", "{result}");
        }
        is_over.store(true, Ordering::SeqCst);
        carrying.join().unwrap()
    });
    eprintln!("{rounds} times there and back");
    assert!(fs::read(&got).unwrap() == bytes, "another content came back");
}

/// What the steward's log tells of.
const STEPS: [&str; 8] = [
    "prepare", "rehearse", "warm", "yield", "yield", "promote", "promote", "prove",
];

/// Waits, without a pause, until something stands in a log behind an offset.
fn until_told(log: &Path, from: usize, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let told = || {
        let bytes = fs::read(log).unwrap();
        String::from_utf8_lossy(&bytes[from.min(bytes.len())..]).contains(what)
    };
    while !told() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::yield_now();
    }
}

/// The steward is killed anywhere in a handover: the kernels alone come to one of them that serves.
#[test]
fn kernels_need_no_steward_to_end_in_one_writer() {
    let system = System::without_model().configure(CONFIGURATION).up();
    let kernel = Program::kernel(&system);
    let load = Load::begin(&system, CLIENTS);
    for (round, step) in STEPS.into_iter().enumerate() {
        let steward = system
            .processes()
            .into_iter()
            .find(|(name, _)| *name == "steward")
            .unwrap()
            .1;
        let log = system.home().join("logs/steward.log");
        let begun = fs::metadata(&log).unwrap().len() as usize;
        kernel.drop_in(&system, &format!("k{round}"));
        // In the state that follows this step, or soon after.
        until_told(&log, begun, &format!("step=\"{step}\""));
        kill(Pid::from_raw(steward), Signal::SIGKILL).unwrap();
        until("the steward is gone", || is_gone(steward).then_some(()));
        let before = load.answered();
        until("requests are answered without a steward", || {
            (load.answered() > before + 50).then_some(())
        });
        until("one kernel is left", || {
            (kernels(&system.home()).len() == 1).then_some(())
        });
        system.start();
        let result = result(&system, &format!("k{round}"));
        eprintln!("after {step}: {} {}", result["outcome"], result["message"]);
        let runs = fs::read_link(format!("/proc/{}/exe", system.kernel_pid())).unwrap();
        let is_chosen = runs.starts_with(system.home().join("planks"));
        if result["outcome"] == "applied" {
            assert!(is_chosen, "{result}: {}", runs.display());
        }
        // The other one stands by until it is told to go.
        until("one kernel is left", || {
            (kernels(&system.home()).len() == 1).then_some(())
        });
    }
    let verdict = load.end(&system);
    verdict.assert_clean();
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));
}

/// A kernel whose steward was killed can be kept by the next one: it says who it is, and gives the listening socket back.
#[test]
fn a_later_steward_can_have_the_channel_and_the_socket() {
    let system = System::without_model().up();
    let kernel = system.kernel_pid();
    let steward = system
        .processes()
        .into_iter()
        .find(|(name, _)| *name == "steward")
        .unwrap()
        .1;
    kill(Pid::from_raw(steward), Signal::SIGKILL).unwrap();
    let path = system.home().join(format!("run/kernel-{kernel}.control"));
    let mut channel = UnixStream::connect(path).unwrap();
    let hello: FromKernel = frame::read(&mut channel).unwrap();
    assert!(
        matches!(hello, FromKernel::Hello { pid, protocol: 1, .. } if pid as i32 == kernel),
        "{hello:?}"
    );
    let serving: FromKernel = frame::read(&mut channel).unwrap();
    assert!(matches!(serving, FromKernel::Serving { .. }), "{serving:?}");
    frame::write(&mut channel, &ToKernel::Lend).unwrap();
    let mut bytes = [0; 4096];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let heard = recvmsg::<()>(
        channel.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::empty(),
    )
    .unwrap();
    let mut passed = heard.cmsgs().unwrap().filter_map(|message| match message {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    });
    let listener = passed.next().unwrap();
    let link = fs::read_link(format!("/proc/self/fd/{listener}")).unwrap();
    let kernels = fs::read_link(format!("/proc/{kernel}/fd/3")).unwrap();
    assert_eq!(link, kernels, "it is the socket that the kernel listens on");
    let heard = heard.bytes;
    let lent: FromKernel = frame::read(&mut &bytes[..heard]).unwrap();
    assert!(matches!(lent, FromKernel::Lent), "{lent:?}");
    // Such a channel is as good as the first one.
    frame::write(&mut channel, &ToKernel::Yield { finish_ms: 10 }).unwrap();
    let refused: FromKernel = frame::read(&mut channel).unwrap();
    assert!(matches!(refused, FromKernel::Refused { .. }), "{refused:?}");
    frame::write(&mut channel, &ToKernel::Prepare).unwrap();
    let prepared: FromKernel = frame::read(&mut channel).unwrap();
    assert!(matches!(prepared, FromKernel::Prepared { .. }), "{prepared:?}");
}

/// kill -9 of kernels under load, and how soon the next one answers.
#[test]
fn a_killed_kernel_is_back_soon_and_nothing_is_lost() {
    let kills = variable("BATOS_KERNEL_KILLS").unwrap_or(12);
    let system = System::without_model()
        .configure("[supervision]\ncrash_loop_after = 1000\nrestart_intensity = 1000000\n")
        .up();
    let load = Load::begin(&system, CLIENTS);
    let mut back = Vec::new();
    for number in 0..kills {
        let before = load.answered();
        until("requests are answered", || {
            (load.answered() > before + 20).then_some(())
        });
        // Not to wait for anything: to hit another moment each time.
        thread::sleep(Duration::from_millis(number * 37 % 150));
        let pid = kernels(&system.home()).first().copied();
        let Some(pid) = pid else { continue };
        let before = Instant::now();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        until("it is gone", || is_gone(pid).then_some(()));
        let answered = load.answered();
        // Replies that were under way may still arrive, one a client.
        until("the next kernel answers", || {
            (load.answered() > answered + CLIENTS as u64).then_some(())
        });
        back.push(before.elapsed());
    }
    let verdict = load.end(&system);
    back.sort_unstable();
    eprintln!(
        "{} kills; back in service: p50 {:?}, most {:?}",
        back.len(),
        back[back.len() / 2],
        back[back.len() - 1]
    );
    verdict.assert_clean();
    assert!(back.len() as u64 * 2 > kills, "hardly any kill");
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
