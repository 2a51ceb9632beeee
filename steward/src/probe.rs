//! Asks planks whether they serve. A question may wait long in a socket's backlog, so each kind has a thread, and one
//! question at a time.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use shared::bridge::{Answer, Call, KernelFigures, KernelStatus};
use shared::client::Client;
use shared::frame;
use shared::inference::{InferenceEvent, InferenceRequest};

use crate::event::{Event, Probed};
use crate::health::Probe;

/// How long a question follows a kernel that hangs up.
const PATIENCE: Duration = Duration::from_millis(200);
/// Pause after a question that was not answered, so that asking again costs nothing.
const PAUSE: Duration = Duration::from_millis(30);

/// Asks one kind of plank.
pub struct Prober(SyncSender<()>);

impl Prober {
    pub fn kernel(socket: PathBuf, events: Sender<Event>) -> io::Result<Prober> {
        Prober::spawn("kernel-probe", events, move || {
            Probed::Kernel(ask_kernel(&socket))
        })
    }

    pub fn inference(socket: PathBuf, events: Sender<Event>) -> io::Result<Prober> {
        Prober::spawn("inference-probe", events, move || {
            Probed::Inference(ask_inference(&socket).map_err(|error| error.to_string()))
        })
    }

    /// Asks, unless a question is open already.
    pub fn ask(&self) {
        match self.0.try_send(()) {
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => tracing::error!("a probe thread has ended"),
        }
    }

    fn spawn(
        name: &str,
        events: Sender<Event>,
        ask: impl Fn() -> Probed + Send + 'static,
    ) -> io::Result<Prober> {
        // Without room, a question is taken only by a thread that is free.
        let (sender, receiver): (_, Receiver<()>) = sync_channel(0);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            while receiver.recv().is_ok() {
                let probed = ask();
                let failed = matches!(&probed, Probed::Kernel(Err(_)) | Probed::Inference(Err(_)));
                if failed {
                    thread::sleep(PAUSE);
                }
                if events.send(Event::Probed(probed)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Prober(sender))
    }
}

fn ask_kernel(socket: &Path) -> Result<Box<Probe>, String> {
    let begun = Instant::now();
    let program = concat!("steward ", env!("CARGO_PKG_VERSION"));
    let told = |answer| match answer {
        Answer::Figures(figures) => Ok((figures, true)),
        Answer::Status(status) => Ok((of_status(&status), false)),
        other => Err(format!("asked for its figures, it answered {other:?}")),
    };
    let mut client = Client::connect(socket, program, Duration::ZERO).map_err(|error| error.to_string())?;
    let (figures, has_counts) = match client.call(Call::Figures, None) {
        Ok(answer) => told(answer)?,
        // A kernel of an earlier release hangs up on what it does not know.
        Err(_) => {
            let mut client = Client::connect(socket, program, PATIENCE).map_err(|error| error.to_string())?;
            told(
                client
                    .call(Call::Status, None)
                    .map_err(|error| error.to_string())?,
            )?
        }
    };
    Ok(Box::new(Probe {
        figures,
        has_counts,
        asked: begun,
        took: begun.elapsed(),
    }))
}

fn of_status(status: &KernelStatus) -> KernelFigures {
    KernelFigures {
        pid: status.pid,
        epoch: status.epoch,
        last_transaction: status.last_transaction,
        ..KernelFigures::default()
    }
}

/// Any description will do, that no model is loaded among them.
fn ask_inference(socket: &Path) -> Result<(), frame::FrameError> {
    let mut stream = UnixStream::connect(socket)?;
    frame::write(&mut stream, &InferenceRequest::Describe)?;
    loop {
        if let InferenceEvent::Described(_) = frame::read(&mut stream)? {
            return Ok(());
        }
    }
}
