//! Code that got past every guard: it may break its own process, and nothing else.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shared::activation::{Mode, Outcome, ToWorker};
use shared::frame;
use shared::value::Value;

use crate::stage::{End, Stage, answered, int};

/// Climbs from an empty tuple to the loader of builtin modules.
const CLIMB: &str = "    loader = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'BuiltinImporter'][0]\n";

fn climbing(body: &str) -> String {
    let lines: Vec<String> = body.lines().map(|line| format!("    {line}\n")).collect();
    format!("def m(self):\n{CLIMB}{}", lines.concat())
}

fn killed_by_filter(body: &str) {
    match Stage::new().end_of(&climbing(body)) {
        End::Died(Some(libc::SIGSYS)) => {}
        other => panic!("{body}: {other:?}"),
    }
}

fn refused(body: &str, kind: &str) {
    let mut stage = Stage::new();
    let error = stage.raised(&climbing(body));
    assert_eq!(error.kind, kind, "{body}: {error:?}");
    assert_eq!(stage.answer("def m(self):\n    return 1\n"), int(1));
}

#[test]
fn the_jail_says_what_it_is() {
    let jail = Stage::new().jail.clone();
    for part in ["no_new_privs", "landlock V", "512 MiB", "seccomp", "probed"] {
        assert!(jail.contains(part), "{jail}");
    }
}

#[test]
fn files_are_out_of_reach() {
    refused(
        "return loader.load_module('_io').open('/etc/passwd').read()",
        "PermissionError",
    );
    refused(
        "return loader.load_module('posix').open('/etc/passwd', 0)",
        "PermissionError",
    );
    refused(
        "return loader.load_module('posix').listdir('/')",
        "PermissionError",
    );
    refused("return loader.load_module('posix').stat('/')", "PermissionError");
    refused(
        "return loader.load_module('posix').unlink('/tmp/x')",
        "PermissionError",
    );
    refused(
        "return loader.load_module('posix').mkdir('/tmp/x')",
        "PermissionError",
    );
    refused("return loader.load_module('posix').chdir('/')", "PermissionError");
    refused("return loader.load_module('posix').pipe()", "PermissionError");
    refused("return loader.load_module('posix').dup(3)", "PermissionError");
    refused(
        "return loader.load_module('posix').write(2, b'x')",
        "PermissionError",
    );
    refused("return loader.load_module('posix').read(0, 1)", "PermissionError");
    refused(
        "b = loader.load_module('builtins')\nreturn b.open('/proc/self/maps').read()",
        "PermissionError",
    );
}

#[test]
fn imports_find_nothing() {
    for name in ["ctypes", "socket", "os", "subprocess", "mmap", "_ctypes"] {
        refused(
            &format!("return loader.load_module('builtins').__import__('{name}')"),
            "ModuleNotFoundError",
        );
    }
}

#[test]
fn processes_network_and_signals_kill() {
    killed_by_filter("return loader.load_module('posix').fork()");
    killed_by_filter("return loader.load_module('posix').execv('/bin/true', ['true'])");
    killed_by_filter("return loader.load_module('posix').system('true')");
    killed_by_filter("return loader.load_module('posix').posix_spawn('/bin/true', ['true'], {})");
    killed_by_filter("return loader.load_module('posix').kill(loader.load_module('posix').getppid(), 9)");
    killed_by_filter("return loader.load_module('posix').kill(1, 9)");
    killed_by_filter("return loader.load_module('posix').memfd_create('x')");
    killed_by_filter("return loader.load_module('posix').pidfd_open(1)");
    killed_by_filter("s = loader.load_module('_socket')\nreturn s.socket(s.AF_INET, s.SOCK_STREAM)");
    refused(
        "s = loader.load_module('_socket')\nreturn s.socket(fileno=3)",
        "PermissionError",
    );
    killed_by_filter("return loader.load_module('posix').setuid(0)");
    // A thread is a process to the filter.
    killed_by_filter("t = loader.load_module('_thread')\nreturn t.start_new_thread(self.m, ())");
}

#[test]
fn limits_cannot_be_raised_nor_priorities() {
    refused("return loader.load_module('posix').nice(-5)", "PermissionError");
    refused(
        "return loader.load_module('posix').sched_setaffinity(0, [0])",
        "PermissionError",
    );
    refused("return loader.load_module('time').sleep(1)", "PermissionError");
}

/// Garbage on the socket is seen as a bad frame by the kernel, who then kills.
#[test]
fn the_socket_carries_only_frames() {
    let mut stage = Stage::new();
    let body = "return loader.load_module('posix').write(3, b'garbage in the place of a frame')";
    match stage.end_of(&climbing(body)) {
        End::BadFrame => {}
        other => panic!("{other:?}"),
    }
}

/// The test kills at its deadline, as the kernel does by pidfd.
fn killable(source: &str) {
    let mut stage = Stage::new();
    stage.method(1, "m", source);
    let begun = Instant::now();
    // As a method that is installed: the jail alone stands in its way.
    match stage.send_with(1, "m", vec![], Mode::Proven, Duration::from_millis(700)) {
        End::Killed => assert!(begun.elapsed() < Duration::from_secs(10)),
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn endless_work_is_killed() {
    killable("def m(self):\n    while True:\n        pass\n");
    killable(
        "def m(self):\n    while True:\n        try:\n            while True:\n                pass\n        except:\n            pass\n",
    );
    killable(&climbing(
        "i = loader.load_module('itertools')\nreturn sum(i.repeat(0))",
    ));
    killable("def m(self):\n    return 9 ** 9 ** 9\n");
    killable("def m(self):\n    return max(i for i in iter(int, 1))\n");
}

#[test]
fn processor_time_ends() {
    let mut stage = Stage::with(&["--cpu-seconds", "1"]);
    match stage.end_of("def m(self):\n    return 10 ** 10 ** 8\n") {
        End::Died(Some(libc::SIGXCPU | libc::SIGKILL)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn memory_ends() {
    for body in [
        "x = 'x' * 10 ** 10",
        "x = []\n    while True:\n        x.append('y' * 100000 + str(len(x)))",
        "x = [0] * 10 ** 9",
        "x = b'ab' * 10 ** 9",
        "x = {}\n    i = 0\n    while True:\n        i += 1\n        x[i] = [i] * 1000",
    ] {
        let mut stage = Stage::with(&["--memory-mib", "96"]);
        match stage.end_of(&format!("def m(self):\n    {body}\n")) {
            End::Finished(finished) => {
                let Outcome::Raised(raised) = finished.outcome else {
                    panic!("{:?}", finished.outcome)
                };
                assert_eq!(raised.kind, "MemoryError", "{raised:?}");
                assert_eq!(stage.answer("def m(self):\n    return 1\n"), int(1));
            }
            End::Died(_) => {}
            other => panic!("{body}: {other:?}"),
        }
    }
}

/// The end may be an exception or a death, within time.
fn ends(source: &str) -> Option<String> {
    match Stage::new().end_of(source) {
        End::Finished(finished) => match finished.outcome {
            Outcome::Raised(raised) => Some(raised.kind),
            Outcome::Answered(value) => Some(format!("{value:?}")),
            other => panic!("{other:?}"),
        },
        End::Died(_) => None,
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn depth_ends() {
    let recursion = Some("RecursionError".to_owned());
    assert_eq!(
        ends("def m(self):\n    def f(n):\n        return f(n + 1)\n    return f(0)\n"),
        recursion
    );
    assert_eq!(ends("def m(self):\n    return self.m()\n"), recursion);
    assert_eq!(
        ends("def m(self):\n    return sorted([1, 2], key=lambda x: self.m())\n"),
        recursion
    );
    let nested =
        "def m(self):\n    a = []\n    for i in range(1000000):\n        a = [a]\n    return repr(a)\n";
    assert_eq!(ends(nested), recursion);
    let nested = "def m(self):\n    a = []\n    for i in range(1000000):\n        a = [a]\n    self.a = a\n";
    assert_eq!(ends(nested), Some("NotPersistent".to_owned()));
    let source = format!(
        "def m(self):\n    return {}1{}\n",
        "(".repeat(5000),
        ")".repeat(5000)
    );
    assert!(matches!(
        ends(&source).as_deref(),
        Some("SyntaxError" | "MemoryError") | None
    ));
    let source = format!("def m(self):\n    return {}1\n", "-".repeat(50_000));
    assert!(matches!(
        ends(&source).as_deref(),
        Some("SyntaxError" | "MemoryError" | "RecursionError") | None
    ));
    let source = format!("def m(self):\n    return {}1\n", "1+".repeat(50_000));
    assert!(matches!(
        ends(&source).as_deref(),
        Some("RecursionError" | "Int(50001)") | None
    ));
}

#[test]
fn odd_exceptions_are_reported() {
    let mut stage = Stage::new();
    let base =
        "    e = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'BaseException'][0]\n";
    let with = |body: &str| format!("def m(self):\n{base}    {body}\n");
    assert_eq!(stage.raised(&with("raise e('x')")).kind, "BaseException");
    for kind in ["SystemExit", "KeyboardInterrupt", "GeneratorExit"] {
        let body = format!("raise [c for c in e.__subclasses__() if c.__name__ == '{kind}'][0]('x')");
        assert_eq!(stage.raised(&with(&body)).kind, kind);
    }
    // Classes are beyond builtins, but `type` is not beyond reach.
    let class = |body: &str, rest: &str| {
        format!("def m(self):\n    def f(*a):\n        {body}\n    t = ().__class__.__class__\n    {rest}\n")
    };
    let source = class("return 1 / 0", "raise t('E', (Exception,), {'__str__': f})()");
    assert_eq!(stage.raised(&source).message, "(its message cannot be shown)");
    let source = class("return self.x", "t('D', (), {'__del__': f})()\n    return 1");
    assert_eq!(stage.answer(&source), int(1));
    let source = class(
        "self.z = 1",
        "self.y = t('D', (), {'__del__': f})()\n    self.y = 1\n    return 1",
    );
    let finished = stage.run(&source);
    answered(&finished.outcome, int(1));
    let source = class("return 1 / 0", "return t('Q', (), {'__eq__': f})() in [1]");
    assert_eq!(stage.raised(&source).kind, "ZeroDivisionError");
    let source = class("return 1", "self.k = t('I', (int,), {'__index__': f})(5)");
    assert_eq!(stage.raised(&source).kind, "NotPersistent");
    assert_eq!(
        stage.raised("def m(self):\n    raise MemoryError\n").kind,
        "MemoryError"
    );
    assert_eq!(stage.answer("def m(self):\n    return 1\n"), int(1));
}

/// CPython prints warnings; there is nowhere to print.
#[test]
fn warnings_are_silent() {
    let mut stage = Stage::new();
    assert_eq!(
        stage.answer("def m(self):\n    return '\\d' is 1 or len('\\N{BULLET}')\n"),
        int(1)
    );
    assert_eq!(
        stage.answer("def m(self):\n    return len('a'.encode('utf-16-le').decode('UTF-16-LE'))\n"),
        int(1)
    );
}

#[test]
fn frames_lead_nowhere() {
    let walk = "def m(self):\n    def g():\n        yield f.gi_frame.f_back\n    f = g()\n    for frame in f:\n        \
                while frame.f_back:\n            frame = frame.f_back\n        return frame.f_globals['__builtins__']['open']\n";
    assert_eq!(Stage::new().raised(walk).kind, "KeyError");
}

#[test]
fn leaving_the_interpreter_is_a_death() {
    let mut stage = Stage::new();
    match stage.end_of(&climbing("loader.load_module('posix')._exit(0)")) {
        End::Died(None) => {}
        other => panic!("{other:?}"),
    }
    killed_or_dead(&climbing("loader.load_module('posix').abort()"));
    killed_or_dead(&climbing("loader.load_module('faulthandler')._sigsegv()"));
}

fn killed_or_dead(source: &str) {
    match Stage::new().end_of(source) {
        End::Died(Some(_)) => {}
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn a_closed_socket_is_a_quiet_end() {
    let mut stage = Stage::new();
    stage.socket.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(stage.child.wait().unwrap().code(), Some(0));
    let mut stage = Stage::new();
    stage.socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let status = stage.child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(1), None));
    let mut stage = Stage::new();
    frame::write(&mut stage.socket, &ToWorker::Allocated(shared::id::ObjectId(1))).unwrap();
    assert_eq!(stage.child.wait().unwrap().code(), Some(1));
}

/// The operating system counts the thread that spawned it as the parent; see docs/sandbox.md.
#[test]
fn it_dies_with_its_parent() {
    let mut stage = std::thread::spawn(Stage::new).join().unwrap();
    assert_eq!(stage.child.wait().unwrap().signal(), Some(libc::SIGKILL));
}

#[test]
fn nothing_of_the_process_is_open() {
    let stage = Stage::new();
    let status = std::fs::read_to_string(format!("/proc/{}/status", stage.child.id())).unwrap();
    for line in [
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "Threads:\t1",
    ] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    if let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", stage.child.id())) {
        let names: Vec<_> = descriptors.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["3"]);
    }
}

#[test]
fn started_by_hand_it_says_why_not() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_method-worker"));
        let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = run(&["--no-such"]);
    assert!(
        code == Some(2) && message.contains("unknown argument"),
        "{code:?} {message}"
    );
    let (code, message) = run(&[]);
    assert!(
        code == Some(1) && message.contains("descriptor 3"),
        "{code:?} {message}"
    );
}

/// 16 MiB of arguments arrive, or the process dies; both are within its limits.
#[test]
fn large_frames_are_borne() {
    let mut stage = Stage::new();
    stage.method(1, "m", "def m(self, t):\n    return len(t)\n");
    let large = Value::Text("x".repeat(12 << 20));
    match stage.send(1, "m", vec![large], Mode::Proven) {
        End::Finished(finished) => answered(&finished.outcome, int(12 << 20)),
        other => panic!("{other:?}"),
    }
}
