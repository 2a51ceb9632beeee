//! What nobody should send, name or hold on disk: an error that says what, and a system that goes on.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use shared::bridge::Hello;
use shared::client::CallError;
use shared::frame;
use shared::id::ClientId;

use crate::harness::{System, program, repository, text};

#[test]
fn no_bytes_on_the_socket_stop_the_kernel() {
    let system = System::without_model().up();
    let kernel = system.kernel_pid();
    let hello = frame::encode(&Hello {
        client: ClientId([7; 16]),
        program: "bad".into(),
    })
    .unwrap();
    let mut version = hello.clone();
    version[4] = 99;
    let mut checksum = hello.clone();
    checksum[12] ^= 1;
    let mut oversized = hello.clone();
    oversized[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut random = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..65_536 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random.push((state >> 56) as u8);
    }
    let second_bad = [hello.clone(), random.clone()].concat();
    let attempts: Vec<&[u8]> = vec![
        b"",
        b"B",
        b"BATF",
        &hello[..hello.len() - 1],
        &hello,
        &version,
        &checksum,
        &oversized,
        &random,
        &second_bad,
        b"{",
        b"[]\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"null\n\n\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in attempts {
        let mut stream = system.socket();
        // The kernel may have closed before all is written.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let begun = Instant::now();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "a bad conversation of {} bytes hangs",
            bytes.len()
        );
        assert_eq!(system.rpc("status", json!({}))["result"]["pid"], kernel);
    }
}

#[test]
fn json_rpc_garbage_is_answered() {
    let system = System::without_model().up();
    let kernel = system.kernel_pid();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_argument = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"send","params":{{"receiver":"lobby","selector":"x","arguments":[{deep}]}}}}"#
    );
    let level_100 = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let too_deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"send","params":{{"receiver":"lobby","selector":"x","arguments":[{level_100}]}}}}"#
    );
    for line in [
        r#"{"jsonrpc":"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"status"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"fly"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"send","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"send","params":{"receiver":5,"selector":"x","arguments":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"status","params":{},"more":1}"#,
        &deep_argument,
        &too_deep,
    ] {
        let reply = system.line(line);
        let shown: String = line.chars().take(90).collect();
        assert!(
            reply["error"]["code"].is_i64() && text(&reply["error"]["message"]).len() > 5,
            "{shown}: {reply}"
        );
    }
    assert_eq!(system.kernel_pid(), kernel);
}

#[test]
fn names_and_arguments_that_make_no_sense() {
    let system = System::without_model().up();
    let kernel = system.kernel_pid();
    let before = system.inspect("lobby");
    system.refused(&["inspect", "nobody"], "no_object");
    system.refused(&["inspect", "#999999"], "no_object");
    system.refused(&["send", "personas.nobody", "x"], "no_object");
    system.refused(&["new", "nobody"], "no_object");
    system.refused(&["set", "nobody", "a", "1"], "no_object");
    system.refused(&["send", "lobby", "not a selector"], "bad_argument");
    system.refused(&["send", "lobby", "__class__"], "bad_argument");
    system.refused(&["thoughts", "999999"], "no_thought");
    system.refused(
        &["send", "lobby", "slot_names", r##"{"$ref":"#999999"}"##],
        "no_object",
    );
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for argument in ["{", "nonsense", "[1,", &deep, "@/nonexistent"] {
        let reply = system.batos(&["send", "lobby", "slot_names", argument]);
        assert_eq!(reply.code, 2, "{reply:?}");
        assert_eq!(reply.document["reason"], "usage", "{reply:?}");
    }
    let large = system.folder().join("large.json");
    fs::write(&large, format!("\"{}\"", "x".repeat(17 << 20))).unwrap();
    let reply = system.batos(&["send", "lobby", "slot_names", &format!("@{}", large.display())]);
    assert!(reply.code == 1 || reply.code == 2, "{reply:?}");
    assert!(text(&reply.document["message"]).len() > 8, "{reply:?}");
    // The same past the command line's own check.
    let mut client = system.client(Duration::ZERO);
    let call = shared::bridge::Call::Send {
        receiver: "lobby".into(),
        selector: "slot_names".into(),
        arguments: vec![shared::value::Value::Text("x".repeat(17 << 20))],
        deadline_ms: None,
    };
    assert!(matches!(client.call(call, None), Err(CallError::Request(_))));
    assert_eq!(system.inspect("lobby"), before);
    assert_eq!(system.kernel_pid(), kernel);
}

#[test]
fn a_home_that_cannot_be_one_is_told() {
    let system = System::without_model();
    fs::write(system.home(), "a file").unwrap();
    let reply = system.batos(&["up"]);
    assert_eq!(reply.code, 5, "{reply:?}");
    assert!(
        text(&reply.document["message"]).contains(system.home().to_str().unwrap()),
        "{reply:?}"
    );
    fs::remove_file(system.home()).unwrap();

    let wrong = System::without_model().configure("[kernel]\nmethod_wrokers = 3\n");
    let reply = wrong.batos(&["up"]);
    assert_eq!(reply.code, 6, "{reply:?}");
    assert!(
        text(&reply.document["message"]).contains("method_wrokers"),
        "{reply:?}"
    );
    let usage = wrong.batos(&["send"]);
    assert_eq!(usage.code, 2, "{usage:?}");
}

/// 100 MB from a file, over a frame and over JSON-RPC: an error each time, no memory taken for it, the kernel goes on.
#[test]
fn a_hundred_megabytes_are_refused_before_they_are_taken_in() {
    const SIZE: usize = 100 << 20;
    let system = System::without_model().up();
    let kernel = system.kernel_pid();
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{kernel}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
    };
    let before = memory();
    let large = system.folder().join("large.json");
    fs::write(&large, format!("\"{}\"", "x".repeat(SIZE))).unwrap();
    let reply = system.batos(&["send", "lobby", "slot_names", &format!("@{}", large.display())]);
    assert_eq!(reply.code, 2, "{reply:?}");
    assert!(text(&reply.document["message"]).contains("MiB"), "{reply:?}");
    let mut frame = b"BATF\x01\x00\x00\x00".to_vec();
    frame.extend((SIZE as u32).to_le_bytes());
    frame.extend([0; 4]);
    for (opening, is_frame) in [
        (frame, true),
        (br#"{"jsonrpc":"2.0","id":1,"method":""#.to_vec(), false),
    ] {
        let mut socket = system.socket();
        socket.write_all(&opening).unwrap();
        let chunk = vec![b'x'; 1 << 20];
        // The kernel may end the connection at any moment of this.
        let written = (0..100).take_while(|_| socket.write_all(&chunk).is_ok()).count();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(written < 100 || !answer.is_empty(), "frame: {is_frame}");
    }
    system.inspect("lobby");
    assert_eq!(system.kernel_pid(), kernel);
    let grown = memory() - before;
    assert!(grown < 80, "the kernel grew by {grown} MiB");
}

#[test]
fn a_home_that_cannot_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let system = System::without_model();
    let folder = system.folder().join("shut");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    // Permissions do not stop root; the folder of processes does.
    let homes = match fs::write(folder.join("try"), "") {
        Ok(()) => vec![PathBuf::from("/proc/batos")],
        Err(_) => vec![folder.clone(), PathBuf::from("/proc/batos")],
    };
    for home in homes {
        let home = home.to_str().unwrap();
        let output = Command::new(program("batos"))
            .args(["--home", home, "--json", "up"])
            .output()
            .unwrap();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(5), "{document}");
        assert!(text(&document["message"]).contains(home), "{document}");
    }
}

#[test]
fn a_home_in_use_is_not_started_twice() {
    let system = System::without_model().up();
    let kernel = system.kernel_pid();
    for name in ["steward", "kernel"] {
        let mut child = Command::new(program(name))
            .arg("--home")
            .arg(system.home())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ended = crate::harness::until("a second start ends", || child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(4), "a second {name}");
    }
    assert_eq!(system.kernel_pid(), kernel);
    system.inspect("genesis");
}

#[test]
fn an_image_of_a_newer_version_is_left_alone() {
    let system = System::without_model().up();
    system.ok(&["down"]);
    let log = system.home().join("image/log/00000000000000000001.log");
    let file = fs::OpenOptions::new().read(true).write(true).open(&log).unwrap();
    file.write_all_at(&99_u32.to_le_bytes(), 8).unwrap();
    let bytes = fs::read(&log).unwrap();
    let reply = system.batos(&["up"]);
    assert_ne!(reply.code, 0, "{reply:?}");
    let told = text(&reply.document["message"]).to_lowercase();
    assert!(told.contains("version") && told.contains("99"), "{reply:?}");
    assert_eq!(fs::read(&log).unwrap(), bytes, "the newer image was written to");
    system.batos(&["down"]);
    file.write_all_at(&2_u32.to_le_bytes(), 8).unwrap();
    system.start();
    system.inspect("genesis");
}

#[test]
fn a_damaged_model_is_named_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(repository().join("inference-worker/seed/model")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    // Staged whole, damaged afterwards.
    let system = System::with_seed(folder.path().to_path_buf()).up();
    system.ok(&["down"]);
    let weights = system.home().join("models/seed/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::remove_file(&weights).unwrap();
    fs::write(&weights, bytes).unwrap();
    system.start();
    let refused = system.refused(&["send", "genesis", "display_yourself"], "no_model");
    assert!(
        text(&refused["message"]).contains("model.safetensors"),
        "{refused}"
    );
    assert_eq!(system.ok(&["status"])["kernel"]["model"], json!(null));
    system.ok(&["set", "genesis", "mood", "\"calm\""]);
    assert_eq!(system.result(&["send", "genesis", "mood"]), "calm");
}
