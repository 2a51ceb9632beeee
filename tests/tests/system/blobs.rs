//! Contents of any length: to the image and back, kept once, whole or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};
use shared::bridge::{Answer, Call, Chunk};
use shared::client::CallError;

use crate::harness::{System, number, program, text, until};

const MIB: u64 = 1 << 20;
/// How much more memory a transfer may take at its most, on either side: some chunks, and room for allocators.
const MEMORY_KIB: u64 = 32 << 10;

/// A file of bytes that do not repeat.
fn content(system: &System, name: &str, bytes: u64) -> PathBuf {
    let path = system.folder().join(name);
    let mut file = BufWriter::new(File::create(&path).unwrap());
    let mut state = bytes | 1;
    for _ in 0..bytes / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
    path
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The most memory that a process has had, in KiB.
fn peak_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn blob_files(system: &System) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in fs::read_dir(system.home().join("image/blobs")).unwrap() {
        let files = fs::read_dir(folder.unwrap().path()).unwrap();
        found.extend(files.map(|file| file.unwrap().path()));
    }
    found
}

#[test]
fn a_content_goes_and_comes_back_in_bounded_memory_and_is_kept_once() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "--name", "thing"]);
    let file = content(&system, "film", 64 * MIB);
    let kernel = system.kernel_pid();
    let before = peak_kib(kernel);
    let put = system.ok(&["blob", "put", shown(&file), "--object", "thing", "--slot", "film"]);
    assert_eq!(number(&put["blob"]["bytes"]), 64 * MIB);
    let back = system.folder().join("back");
    let got = system.ok(&["blob", "get", "thing.film", "-o", shown(&back)]);
    assert_eq!(got["blob"], put["blob"]);
    assert!(
        fs::read(&file).unwrap() == fs::read(&back).unwrap(),
        "another content came back"
    );
    let grown = peak_kib(kernel).saturating_sub(before);
    assert!(grown < MEMORY_KIB, "the kernel took {grown} KiB more");
    assert_eq!(system.inspect("thing")["slots"]["film"]["value"], put["blob"]);
    // Again, by hash and through a pipe.
    let again = system.ok(&["blob", "put", shown(&back)]);
    assert_eq!(again["blob"], put["blob"]);
    assert_eq!(blob_files(&system).len(), 1);
    assert_eq!(system.status()["kernel"]["blobs"], 1);
    assert_eq!(system.status()["kernel"]["blob_bytes"], 64 * MIB);
    let piped = Command::new(program("batos"))
        .arg("--home")
        .arg(system.home())
        .args(["blob", "get", text(&put["blob"]["$blob"])])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(piped.stdout == fs::read(&file).unwrap(), "{:?}", piped.status);
    // Methods name it, and clones and stored values keep it.
    system.defined("thing", "def film_bytes(self):\n    return self.film.bytes\n");
    assert_eq!(system.result(&["send", "thing", "film_bytes"]), 64 * MIB);
}

#[test]
fn what_is_not_there_or_damaged_is_refused_by_name() {
    let system = System::without_model().up();
    system.ok(&["new", "traits", "n=1", "--name", "thing"]);
    let absent = "ab".repeat(32);
    let value = json!({"$blob": absent, "bytes": 5}).to_string();
    let refused = system.refused(&["set", "thing", "film", &value], "write_refused");
    assert!(text(&refused["message"]).contains(&absent), "{refused}");
    let nested = format!("[{{\"a\":{value}}}]");
    system.refused(&["set", "thing", "film", &nested], "write_refused");
    system.refused(&["blob", "get", &absent, "-o", "/dev/null"], "no_blob");
    system.refused(&["blob", "get", "thing.film", "-o", "/dev/null"], "no_slot");
    system.refused(&["blob", "get", "thing.n", "-o", "/dev/null"], "bad_argument");
    assert_eq!(system.batos(&["blob", "get", "thing.n"]).code, 2);

    let file = content(&system, "film", 3 * MIB);
    let put = system.ok(&["blob", "put", shown(&file), "--object", "thing", "--slot", "film"]);
    let wrong = json!({"$blob": put["blob"]["$blob"], "bytes": 5}).to_string();
    system.refused(&["set", "thing", "film", &wrong], "write_refused");
    let kept = blob_files(&system).remove(0);
    fs::OpenOptions::new()
        .write(true)
        .open(&kept)
        .unwrap()
        .write_all_at(b"x", MIB)
        .unwrap();
    let back = system.folder().join("back");
    let damaged = system.refused(&["blob", "get", "thing.film", "-o", shown(&back)], "blob_damaged");
    assert!(
        text(&damaged["message"]).contains(text(&put["blob"]["$blob"])),
        "{damaged}"
    );
    let verified = system.batos(&["verify"]);
    let faults = verified.document["faults"].to_string();
    assert!(
        faults.contains(".film") && faults.contains("damaged"),
        "{verified:?}"
    );
    assert!(!back.exists(), "a damaged content was handed out as whole");
    system.ok(&["blob", "put", shown(&file)]);
    system.ok(&["blob", "get", "thing.film", "-o", shown(&back)]);
    assert!(fs::read(&file).unwrap() == fs::read(&back).unwrap());
    assert_eq!(system.ok(&["verify"])["faults"], json!([]));
}

#[test]
fn an_upload_that_is_interrupted_leaves_nothing() {
    let system = System::without_model().up();
    let begun = |client: &mut shared::client::Client| {
        let Answer::Transfer { transfer, .. } = client.call(Call::BlobBegin, None).unwrap() else {
            panic!("no transfer");
        };
        let write = Call::BlobWrite {
            transfer,
            offset: 0,
            bytes: Chunk(vec![7; 100_000]),
        };
        client.call(write, None).unwrap();
        transfer
    };
    // The client goes away.
    let mut client = system.client(Duration::from_secs(5));
    begun(&mut client);
    assert_eq!(blob_files(&system).len(), 1);
    drop(client);
    until("the upload's file is gone", || {
        blob_files(&system).is_empty().then_some(())
    });

    // The kernel is killed: the client learns that it must begin again, and the next kernel cleans up.
    let mut client = system.client(Duration::from_secs(20));
    let transfer = begun(&mut client);
    kill(Pid::from_raw(system.kernel_pid()), Signal::SIGKILL).unwrap();
    let end = client.call(Call::BlobEnd { transfer }, None);
    let Err(CallError::Fault(fault)) = end else {
        panic!("{end:?}")
    };
    assert_eq!(fault.reason, "no_transfer");
    assert!(blob_files(&system).is_empty());

    // The same to the command line, under a long upload.
    let file = content(&system, "film", 256 * MIB);
    let putting = Command::new(program("batos"))
        .arg("--home")
        .arg(system.home())
        .args(["--json", "blob", "put", shown(&file)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("some of it has arrived", || {
        (!blob_files(&system).is_empty()).then_some(())
    });
    kill(Pid::from_raw(system.kernel_pid()), Signal::SIGKILL).unwrap();
    let ended = putting.wait_with_output().unwrap();
    let document: Json = serde_json::from_slice(&ended.stdout).unwrap();
    // A file can be read again: the command begins anew by itself, and nothing of the first attempt is left.
    assert_eq!(document["blob"]["bytes"], 256 * MIB, "{document}");
    assert_eq!(blob_files(&system).len(), 1);
}

#[test]
fn contents_travel_by_json_rpc_too() {
    let system = System::without_model().up();
    let mut lines = Lines::of(&system);
    let begun = lines.call("blob_begin", json!({}));
    let transfer = begun["result"]["transfer"].clone();
    let early = lines.call(
        "blob_write",
        json!({"transfer": transfer, "offset": 3, "base64": "aGVsbG8="}),
    );
    assert_eq!(early["error"]["data"]["reason"], "bad_argument", "{early}");
    let transfer = lines.call("blob_begin", json!({}))["result"]["transfer"].clone();
    lines.call(
        "blob_write",
        json!({"transfer": transfer, "offset": 0, "base64": "aGVs"}),
    );
    let wrote = lines.call(
        "blob_write",
        json!({"transfer": transfer, "offset": 3, "base64": "bG8="}),
    );
    assert_eq!(wrote["result"]["bytes"], 5, "{wrote}");
    let ended = lines.call("blob_end", json!({"transfer": transfer}));
    let digest = text(&ended["result"]["blob"]["$blob"]).to_owned();
    let opened = lines.call("blob_open", json!({"digest": digest}));
    assert_eq!(opened["result"]["blob"]["bytes"], 5, "{opened}");
    let transfer = opened["result"]["transfer"].clone();
    let chunk = lines.call("blob_read", json!({"transfer": transfer, "offset": 0}));
    assert_eq!(
        (&chunk["result"]["base64"], &chunk["result"]["is_last"]),
        (&json!("aGVsbG8="), &json!(true)),
        "{chunk}"
    );
    let over = lines.call("blob_read", json!({"transfer": transfer, "offset": 5}));
    assert_eq!(over["error"]["data"]["reason"], "no_transfer", "{over}");
    let bad = lines.call("blob_write", json!({"transfer": 1, "offset": 0, "base64": "a"}));
    assert_eq!(bad["error"]["code"], -32602, "{bad}");
}

/// One conversation of several lines.
struct Lines {
    reader: std::io::BufReader<std::os::unix::net::UnixStream>,
}

impl Lines {
    fn of(system: &System) -> Lines {
        Lines {
            reader: std::io::BufReader::new(system.socket()),
        }
    }

    fn call(&mut self, method: &str, parameters: Json) -> Json {
        use std::io::BufRead;
        let line = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
        self.reader
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        self.reader.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }
}
