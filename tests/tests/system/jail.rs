//! What holds when the guard was wrong: hostile methods, installed by `install_refused`.

use serde_json::Value as Json;

use crate::harness::System;

const CONFIGURATION: &str =
    "[kernel]\ninstall_refused = true\nmethod_deadline_ms = 1000\nmethod_memory_mib = 256\n";

/// Reaches the interpreter's own modules without a builtin that the jail keeps back, as escapes do.
const MODULES: &str = "
    found = None
    for c in ().__class__.__base__.__subclasses__():
        try:
            found = c.__init__.__globals__['sys'].modules
            break
        except Exception:
            pass
    if found is None:
        return 'no way out'
";

fn jailed() -> System {
    let system = System::without_model().configure(CONFIGURATION).up();
    system.ok(&["new", "traits", "slot=1", "--name", "victim"]);
    system
}

/// The method is installed, ends for one of those reasons, changes nothing, and the next call is served.
fn is_contained(system: &System, name: &str, body: &str, reasons: &[&str]) {
    system.defined("victim", &format!("def {name}(self):\n{body}"));
    let before = system.inspect("victim");
    let reply = system.batos(&["send", "victim", name]);
    let reason = reply.document["reason"].as_str().unwrap_or("answered");
    eprintln!("{name}: {reason}: {}", reply.document["message"]);
    assert!(
        reasons.contains(&reason),
        "{name}: {reply:?}, expected one of {reasons:?}"
    );
    assert_eq!(reply.code, 1, "{name}: {reply:?}");
    assert_ne!(reply.document["message"], Json::Null);
    assert_eq!(system.inspect("victim"), before, "{name} changed its object");
    assert_eq!(
        system.result(&["send", "victim", "slot_names"])[0],
        "parents",
        "after {name}"
    );
}

#[test]
fn endless_and_boundless_methods_are_stopped() {
    let system = jailed();
    let kernel = system.kernel_pid();
    is_contained(
        &system,
        "spin",
        "    self.slot = 2\n    while True:\n        pass\n",
        &["method_deadline"],
    );
    is_contained(
        &system,
        "stubborn",
        "    while True:\n        try:\n            while True:\n                pass\n        except:\n            pass\n",
        &["method_deadline"],
    );
    is_contained(
        &system,
        "hoard",
        "    held = []\n    while True:\n        held.append(bytes(10000000))\n",
        &["method_memory"],
    );
    is_contained(
        &system,
        "power",
        "    return len(str(9 ** 9 ** 9))\n",
        &["method_deadline", "method_memory", "method_raised"],
    );
    is_contained(
        &system,
        "deep",
        "    def f(n):\n        return f(n + 1)\n    return f(0)\n",
        &["method_raised"],
    );
    is_contained(&system, "again", "    return self.again()\n", &["method_raised"]);
    is_contained(
        &system,
        "fails",
        "    self.slot = 2\n    self._p_changed = True\n    return 1 // 0\n",
        &["method_raised"],
    );
    assert_eq!(system.kernel_pid(), kernel);
}

#[test]
fn files_sockets_and_processes_are_out_of_reach() {
    let system = jailed();
    let kernel = system.kernel_pid();
    let mark = system.folder().join("mark");
    let open = format!("    return open({:?}, 'w').write('x')\n", mark.to_str().unwrap());
    let stopped = ["method_raised", "worker_died", "guard_refused"];
    is_contained(&system, "opens", &open, &stopped);
    is_contained(
        &system,
        "imports",
        "    import os\n    return os.listdir('/')\n",
        &stopped,
    );
    let killed = ["worker_died"];
    let escapes = [
        ("forks", "posix", "fork()", killed.as_slice()),
        ("runs", "posix", "system('true')", &killed),
        ("kills", "posix", "kill(1, 0)", &killed),
        ("lists", "posix", "listdir('/')", &["method_raised"]),
        // No module with sockets is in the process at all.
        ("connects", "_socket", "socket()", &["method_raised"]),
    ];
    for (name, module, call, reasons) in escapes {
        let body = format!("{MODULES}    return 'done ' + str(found['{module}'].{call})\n");
        is_contained(&system, name, &body, reasons);
    }
    let write = format!(
        "{MODULES}    m = found['posix']\n    return m.write(m.open({:?}, 65, 438), b'x')\n",
        mark.to_str().unwrap()
    );
    is_contained(&system, "writes", &write, &stopped);
    is_contained(
        &system,
        "leaves",
        &format!("{MODULES}    found['posix']._exit(0)\n"),
        &stopped,
    );
    assert!(!mark.exists());
    assert_eq!(system.kernel_pid(), kernel);
}

#[test]
fn what_cannot_live_in_an_image_is_refused() {
    let system = jailed();
    is_contained(
        &system,
        "keeps_set",
        "    self.slot = {1, 2}\n    self._p_changed = True\n    return 1\n",
        &["not_persistent"],
    );
    is_contained(
        &system,
        "answers_function",
        "    return lambda: 1\n",
        &["not_persistent"],
    );
    is_contained(
        &system,
        "silent",
        "    self.slot = 2\n    return 1\n",
        &["undeclared_write"],
    );
    is_contained(
        &system,
        "dooms",
        "    self.slot = 2\n    self._p_changed = True\n    self.doom('no')\n    return 1\n",
        &["doomed"],
    );
}
