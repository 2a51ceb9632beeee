use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::choice::Choice;
use crate::instruction::Kind;

struct Folder {
    _folder: tempfile::TempDir,
    home: Home,
}

fn folder() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::resolve(Some(folder.path())).unwrap();
    for path in [home.inbox(), home.results(), home.claimed(), home.planks()] {
        fs::create_dir_all(path).unwrap();
    }
    Folder {
        _folder: folder,
        home,
    }
}

fn open(folder: &Folder, choice: Option<&Choice>) -> Channel {
    if let Some(choice) = choice {
        choice.record(Some(choice), &folder.home, Kind::Kernel).unwrap();
    }
    let configuration = configuration::Channel {
        enabled: true,
        allow_under: vec!["/opt".into()],
        public_keys: Vec::new(),
        allow_commands: false,
    };
    Channel::open(&folder.home, &configuration, std::sync::mpsc::channel().0)
}

fn good(id: &str) -> String {
    let digest = "0".repeat(64);
    format!(
        r#"{{"schema":1,"id":"{id}","sequence":5,"target":{{"kind":"kernel","path":"/opt/../opt","blake3":"{digest}"}}}}"#
    )
}

fn result(folder: &Folder, stem: &str) -> serde_json::Value {
    let bytes = fs::read(folder.home.results().join(format!("{stem}.result.json"))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

const RUNNING: &str = "/bin/true";

fn running() -> Chosen {
    Chosen {
        kernel: RUNNING.into(),
        inference: RUNNING.into(),
        method_worker: RUNNING.into(),
        model: RUNNING.into(),
        is_model_chosen: false,
        python: None,
        steward: RUNNING.into(),
    }
}

fn conclude(channel: &mut Channel, accepted: Accepted, outcome: Outcome, reason: &'static str) {
    let report = Report::of(accepted.claim, &accepted.instruction, outcome, reason, "done");
    channel.conclude(report, &accepted.journal);
}

/// Asks until everything has been looked at.
fn settle(channel: &mut Channel) -> Option<Accepted> {
    channel.ask();
    loop {
        let now = Instant::now();
        if channel.due(now) > now + Duration::from_secs(2) {
            return None;
        }
        if let Some(accepted) = channel.next(now, &running()) {
            return Some(accepted);
        }
    }
}

fn count(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

#[test]
fn what_is_refused_gets_a_result_and_is_gone() {
    let folder = folder();
    let inbox = folder.home.inbox();
    fs::write(inbox.join("half.json"), &good("half")[..40]).unwrap();
    fs::write(inbox.join("note.txt"), "not looked at").unwrap();
    fs::write(inbox.join(".hidden.json"), "not looked at").unwrap();
    fs::create_dir(inbox.join("folder.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", inbox.join("link.json")).unwrap();
    fs::write(
        inbox.join("outside.json"),
        good("outside").replace("/opt/../opt", "/etc/passwd"),
    )
    .unwrap();
    fs::write(
        inbox.join("late.json"),
        good("late").replace("\"sequence\":5", "\"expires\":5"),
    )
    .unwrap();
    fs::write(inbox.join(format!("{}.json", "x".repeat(250))), "{}").unwrap();
    let mut channel = open(&folder, None);
    assert!(settle(&mut channel).is_none());
    assert_eq!(result(&folder, "half")["reason"], "malformed");
    assert_eq!(result(&folder, "link")["reason"], "not_a_file");
    assert_eq!(result(&folder, "outside")["reason"], "not_allowed");
    assert_eq!(result(&folder, "late")["reason"], "expired");
    assert_eq!(result(&folder, "late")["id"], "late");
    assert_eq!(count(&folder.home.results()), 5);
    assert_eq!(count(&inbox), 3);
    assert_eq!(count(&folder.home.claimed()), 0);
    assert_eq!(channel.handled.len(), 5);
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn a_file_is_judged_when_it_is_not_changed_any_more() {
    let folder = folder();
    let mut channel = open(&folder, None);
    let path = folder.home.inbox().join("slow.json");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        fs::write(&path, "{").unwrap();
        assert!(channel.next(Instant::now(), &running()).is_none());
        assert_eq!(count(&folder.home.results()), 0);
    }
    fs::write(&path, good("slow")).unwrap();
    assert_eq!(settle(&mut channel).unwrap().instruction.id, "slow");
}

#[test]
fn an_applied_id_and_an_old_sequence_are_refused() {
    let folder = folder();
    let mut channel = open(&folder, None);
    fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
    let accepted = settle(&mut channel).unwrap();
    conclude(&mut channel, accepted, Outcome::Applied, "applied");
    assert_eq!(result(&folder, "a")["outcome"], "applied");
    // A steward started anew knows as much.
    let mut channel = open(&folder, None);
    fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
    fs::write(folder.home.inbox().join("b.json"), good("b")).unwrap();
    assert!(settle(&mut channel).is_none());
    assert_eq!(result(&folder, "a")["reason"], "replayed");
    assert_eq!(result(&folder, "a.1")["outcome"], "applied");
    assert_eq!(result(&folder, "b")["reason"], "stale_sequence");
}

#[test]
fn what_form_2_says_about_time_and_base_and_commands_counts() {
    let folder = folder();
    let now = unix_ms() / 1000;
    let digest = "0".repeat(64);
    let write = |name: &str, more: &str| {
        let text = format!(
            r#"{{"schema":2,"id":"{name}","target":{{"kind":"kernel","path":"/opt/../opt","digest":"sha256:{digest}"}},{more}}}"#
        );
        fs::write(folder.home.inbox().join(format!("{name}.json")), text).unwrap();
    };
    write("future", &format!("\"created\":{}", now + 400));
    write(
        "based",
        &format!("\"created\":{now},\"base\":{{\"digest\":\"blake3:{digest}\"}}"),
    );
    write(
        "command",
        &format!(r#""created":{now},"steps":[{{"do":"command","argv":["/bin/true"]}}]"#),
    );
    let mut channel = open(&folder, None);
    assert!(settle(&mut channel).is_none());
    assert_eq!(result(&folder, "future")["reason"], "from_future");
    assert_eq!(result(&folder, "based")["reason"], "base_mismatch");
    assert_eq!(result(&folder, "command")["reason"], "not_allowed");
    let running = crate::staging::digest(Path::new(RUNNING)).unwrap();
    write(
        "fits",
        &format!(
            "\"created\":{},\"base\":{{\"digest\":\"blake3:{running}\"}}",
            now + 200
        ),
    );
    assert_eq!(settle(&mut channel).unwrap().instruction.id, "fits");
}

/// With a key, what is not signed by it is refused; what is signed once is good once.
#[test]
fn a_key_makes_signatures_needed() {
    let folder = folder();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let configuration = configuration::Channel {
        enabled: true,
        allow_under: Vec::new(),
        public_keys: vec![minisign_verify::PublicKey::from_base64(&pair.pk.to_base64()).unwrap()],
        allow_commands: false,
    };
    let mut channel = Channel::open(&folder.home, &configuration, std::sync::mpsc::channel().0);
    let inbox = folder.home.inbox();
    let drop_in = |name: &str, text: &str, signed: Option<&str>| {
        if let Some(signed) = signed {
            let signature = minisign::sign(None, &pair.sk, signed.as_bytes(), None, None).unwrap();
            fs::write(
                inbox.join(format!("{name}.json.minisig")),
                signature.into_string(),
            )
            .unwrap();
        }
        fs::write(inbox.join(format!("{name}.json")), text).unwrap();
    };
    drop_in("none", &good("none"), None);
    drop_in("other", &good("other"), Some(&good("another")));
    let unnumbered = good("unnumbered").replace("\"sequence\":5,", "");
    drop_in("unnumbered", &unnumbered, Some(&unnumbered));
    drop_in("signed", &good("signed"), Some(&good("signed")));
    let accepted = settle(&mut channel).unwrap();
    assert_eq!(accepted.instruction.id, "signed");
    conclude(&mut channel, accepted, Outcome::Applied, "applied");
    drop_in("signed", &good("signed"), Some(&good("signed")));
    assert!(settle(&mut channel).is_none());
    assert_eq!(result(&folder, "none")["reason"], "unsigned");
    assert_eq!(result(&folder, "none")["id"], "none");
    assert_eq!(result(&folder, "other")["reason"], "bad_signature");
    assert_eq!(result(&folder, "unnumbered")["reason"], "missing_key");
    assert_eq!(result(&folder, "signed")["reason"], "replayed");
    assert_eq!(result(&folder, "signed.1")["outcome"], "applied");
    assert_eq!((count(&inbox), count(&folder.home.claimed())), (0, 0));
}

#[test]
fn files_that_others_may_write_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    for (name, mode) in [("group", 0o664), ("all", 0o646), ("mine", 0o644)] {
        let path = folder.home.inbox().join(format!("{name}.json"));
        fs::write(&path, good(name)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut channel = open(&folder, None);
    let accepted = settle(&mut channel).unwrap();
    assert_eq!(accepted.instruction.id, "mine");
    assert!(settle(&mut channel).is_none());
    assert_eq!(result(&folder, "group")["reason"], "not_trusted");
    assert_eq!(result(&folder, "all")["reason"], "not_trusted");
}

/// The steward dies in each state of handling one claim; the next one finishes it, once.
#[test]
fn a_claim_is_finished_by_its_journal() {
    let check = |states: &[(&str, Value)], is_chosen: bool, outcome: &str, reason: &str| {
        let folder = folder();
        let mut channel = open(&folder, None);
        fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
        let accepted = settle(&mut channel).unwrap();
        for (state, beside) in states {
            accepted.journal.enter(state, beside.clone()).unwrap();
        }
        let choice = Choice {
            schema: 1,
            program: "kernel-1".into(),
            blake3: String::new(),
            instruction: "a".into(),
            claim: match is_chosen {
                true => accepted.claim.name.clone(),
                false => "0-0".into(),
            },
            instead_of: None,
        };
        for _ in 0..2 {
            let mut channel = open(&folder, Some(&choice));
            assert!(settle(&mut channel).is_none(), "{states:?}: carried out again");
            assert_eq!(result(&folder, "a")["outcome"], outcome, "{states:?}");
            assert_eq!(result(&folder, "a")["reason"], reason, "{states:?}");
            assert_eq!(result(&folder, "a")["id"], "a");
            assert_eq!(count(&folder.home.results()), 1);
            assert_eq!(count(&folder.home.claimed()), 0);
        }
        assert_eq!(Applied::load(&folder.home).has("a"), outcome == "applied");
    };
    let none = Value::Null;
    let why = json!({"reason": "health_failed", "message": "it hangs"});
    check(&[], false, "failed", "interrupted");
    for state in ["staging", "preparing", "rehearsing", "warming"] {
        check(&[(state, json!({"step": 1}))], false, "failed", "interrupted");
    }
    for state in [
        "draining",
        "yielding",
        "promoting",
        "starting",
        "choosing",
        "probation",
    ] {
        check(&[(state, none.clone())], false, "rolled_back", "interrupted");
    }
    check(
        &[("starting", none.clone()), ("choosing", none)],
        true,
        "applied",
        "applied",
    );
    for state in ["reverting", "restoring"] {
        check(&[(state, why.clone())], false, "rolled_back", "health_failed");
    }
    let folder = folder();
    let mut channel = open(&folder, None);
    fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
    let accepted = settle(&mut channel).unwrap();
    for (outcome, word) in [(Outcome::Applied, "applied"), (Outcome::Failed, "failed")] {
        let claim = accepted.claim.clone();
        let report = Report::of(claim, &accepted.instruction, outcome, word, "m");
        check(&[("concluded", report.record())], false, word, word);
    }
}

/// A program that was found bad is not tried again, until an instruction says so; when it is good then, it is forgotten.
#[test]
fn what_is_known_to_be_bad_is_not_tried_again() {
    let folder = folder();
    let form_2 = |id: &str, more: &str| {
        let digest = "0".repeat(64);
        let text = format!(
            r#"{{"schema":2,"id":"{id}","created":1,{more}"target":{{"kind":"kernel","path":"/opt/../opt","digest":"blake3:{digest}"}}}}"#
        );
        fs::write(folder.home.inbox().join(format!("{id}.json")), text).unwrap();
    };
    let mut channel = open(&folder, None);
    form_2("first", "");
    let accepted = settle(&mut channel).unwrap();
    conclude(&mut channel, accepted, Outcome::RolledBack, "health_failed");
    // A steward started anew knows as much.
    let mut channel = open(&folder, None);
    form_2("second", "");
    assert!(settle(&mut channel).is_none());
    assert_eq!(result(&folder, "second")["reason"], "known_bad");
    assert!(
        result(&folder, "second")["message"]
            .as_str()
            .unwrap()
            .contains("first")
    );
    form_2("third", r#""again":true,"#);
    let accepted = settle(&mut channel).unwrap();
    conclude(&mut channel, accepted, Outcome::Applied, "applied");
    form_2("fourth", "");
    let accepted = settle(&mut channel).unwrap();
    assert_eq!(accepted.instruction.id, "fourth");
    // A step that failed says nothing about the program.
    conclude(&mut channel, accepted, Outcome::Failed, "step_failed");
    form_2("fifth", "");
    assert!(settle(&mut channel).is_some());
}

/// A claim that nothing was begun for is carried out, as if it had been dropped now; one with a result is not.
#[test]
fn a_claim_without_a_state_is_judged_afresh() {
    let folder = folder();
    fs::write(folder.home.inbox().join("a.json"), good("a")).unwrap();
    Claim::take(&folder.home, "a.json".as_ref(), 1).unwrap();
    let mut channel = open(&folder, None);
    let accepted = settle(&mut channel).unwrap();
    assert_eq!(accepted.instruction.id, "a");
    let claim = accepted.claim.clone();
    let report = Report::of(claim, &accepted.instruction, Outcome::Failed, "x", "m");
    report.write(&folder.home.results(), durable::Sync::Now).unwrap();
    fs::remove_file(accepted.claim.folder().join(journal::NAME)).unwrap();
    assert!(settle(&mut open(&folder, None)).is_none());
    assert_eq!(count(&folder.home.claimed()), 0);
    assert_eq!(count(&folder.home.results()), 1);
}

#[test]
fn a_claim_without_its_file_was_none() {
    let folder = folder();
    fs::create_dir(folder.home.claimed().join("1-0")).unwrap();
    let channel = open(&folder, None);
    assert!(channel.handled.is_empty());
    assert_eq!(count(&folder.home.claimed()), 0);
}

/// A good instruction is found in a flood, and every file of the flood gets its result.
#[test]
fn a_good_one_is_found_among_junk() {
    let folder = folder();
    for number in 0..3000 {
        fs::write(folder.home.inbox().join(format!("{number}.json")), "{junk").unwrap();
    }
    fs::write(folder.home.inbox().join("z.json"), good("z")).unwrap();
    // Else it is too young to be judged when the junk is whole already.
    std::thread::sleep(Duration::from_millis(350));
    let mut channel = open(&folder, None);
    let accepted = settle(&mut channel).unwrap();
    assert_eq!(accepted.instruction.id, "z");
    assert!(count(&folder.home.results()) <= 1, "junk first");
    conclude(&mut channel, accepted, Outcome::Applied, "applied");
    assert!(settle(&mut channel).is_none());
    assert_eq!(count(&folder.home.results()), 3001);
    assert_eq!(
        (count(&folder.home.inbox()), count(&folder.home.claimed())),
        (0, 0)
    );
    assert_eq!(result(&folder, "2999")["reason"], "malformed");
}
