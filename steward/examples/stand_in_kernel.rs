//! A stand-in for the kernel in the steward's own tests: says its version and answers status requests, nothing else. Bytes
//! appended to a copy of the program change what it does (and its digest): `MUTE` never answers, `DIES` ends at once,
//! `HANGS` and `QUITS` do so after some answers.
#![allow(unsafe_code)]

use std::os::fd::FromRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shared::bridge::{Answer, Hello, KernelStatus, Request, ToClient, Welcome};
use shared::frame::{self, FrameError};
use shared::id::{Epoch, TransactionId};

fn main() -> std::io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("kernel 0.0.0-stand-in");
        return Ok(());
    }
    let program = std::fs::read(std::env::current_exe()?)?;
    if program.ends_with(b"DIES") {
        std::process::exit(5);
    }
    if program.ends_with(b"MUTE") {
        std::thread::sleep(Duration::from_secs(600));
    }
    let after_some = match () {
        () if program.ends_with(b"HANGS") => Some(After::Hang),
        () if program.ends_with(b"QUITS") => Some(After::Quit),
        () => None,
    };
    // SAFETY: the steward passed its listener as descriptor 3, for this process to own.
    let listener = unsafe { UnixListener::from_raw_fd(3) };
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || serve(stream, after_some));
    }
    Ok(())
}

/// So many answers are given before.
const SOME: u32 = 6;
static ANSWERS: AtomicU32 = AtomicU32::new(0);

#[derive(Clone, Copy)]
enum After {
    Hang,
    Quit,
}

fn serve(mut stream: UnixStream, after_some: Option<After>) -> Result<(), FrameError> {
    let _: Hello = frame::read(&mut stream)?;
    frame::write(
        &mut stream,
        &Welcome {
            kernel: "stand-in".to_owned(),
            epoch: Epoch(1),
        },
    )?;
    loop {
        let request: Request = frame::read(&mut stream)?;
        if ANSWERS.fetch_add(1, Ordering::SeqCst) >= SOME {
            match after_some {
                Some(After::Hang) => std::thread::sleep(Duration::from_secs(600)),
                Some(After::Quit) => std::process::exit(5),
                None => {}
            }
        }
        let status = KernelStatus {
            version: "0.0.0".to_owned(),
            pid: std::process::id(),
            epoch: Epoch(1),
            uptime_ms: 0,
            last_transaction: TransactionId(0),
            objects: 0,
            log_bytes: 0,
            blobs: 0,
            blob_bytes: 0,
            clients: 1,
            method_workers: Vec::new(),
            sends: 0,
            conflicts: 0,
            missions_open: 0,
            model: Err("stand-in".to_owned()),
            embedder: Err("stand-in".to_owned()),
            inference: None,
        };
        let result = Ok(Answer::Status(Box::new(status)));
        frame::write(
            &mut stream,
            &ToClient::Reply {
                sequence: request.sequence,
                result,
            },
        )?;
    }
}
