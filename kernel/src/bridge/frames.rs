//! The binary protocol: `Hello`, `Welcome`, then requests and replies in any order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use interprocess::local_socket::tokio::Stream;
use shared::bridge::{Call, Fault, Hello, Request, ToClient, Welcome};
use shared::frame::{FrameError, asynchronous, encode};
use shared::incoming::Incoming;
use shared::reason;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;

use super::server::{Course, finish};
use crate::image::record::RequestId;
use crate::kernel::{Asker, Kernel};
use crate::reporter::Reporter;
use crate::requests::{Requests, UnderWay};
use crate::transfers::Transfers;

/// Requests of one conversation at the same time.
const MAX_REQUESTS: usize = 256;
/// Frames that wait for a slow reader before its requests wait too.
const OUTGOING: usize = 256;
/// Frames that are ready together are written together, up to so many bytes.
const WRITTEN_AT_ONCE: usize = 256 << 10;

pub async fn converse(
    kernel: Arc<Kernel>,
    first: u8,
    stream: Stream,
    mut course: watch::Receiver<Course>,
) -> Result<(), FrameError> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let hello: Hello = match asynchronous::read_after(first, &mut reader).await {
        Ok(hello) => hello,
        Err(error) => {
            // A peer that speaks another protocol still learns why it is refused, as a frame of ours.
            refuse(&mut writer, &error).await;
            return Err(error);
        }
    };
    let welcome = Welcome {
        kernel: env!("CARGO_PKG_VERSION").into(),
        epoch: kernel.image.state.epoch(),
    };
    asynchronous::write(&mut writer, &welcome).await?;
    let (outgoing, queue) = mpsc::channel::<Vec<u8>>(OUTGOING);
    // A set, so that it ends with this conversation, however that ends.
    let mut writing = JoinSet::new();
    writing.spawn(write_all(queue, writer));
    let mut requests = JoinSet::new();
    let answered = Arc::new(AtomicU64::new(0));
    let mut followers = JoinSet::new();
    let transfers = Arc::new(Transfers::default());
    let mut incoming = Incoming::default();
    let mut result = Ok(());
    'conversation: loop {
        while requests.try_join_next().is_some() {}
        while followers.try_join_next().is_some() {}
        tokio::select! {
            heard = hear(&mut reader, &mut incoming), if requests.len() < MAX_REQUESTS => {
                let mut heard = heard;
                // What came with the same read is begun without waiting.
                loop {
                    let request: Request = match heard {
                        Ok(request) => request,
                        Err(error) => {
                            if !error.is_disconnect() {
                                let _ = outgoing.send(reply(0, Err(bad_request(&error)))).await;
                            }
                            result = Err(error);
                            break 'conversation;
                        }
                    };
                    let asker = Asker {
                        author: hello.program.clone(),
                        request: Some(RequestId {
                            client: hello.client,
                            sequence: request.sequence,
                        }),
                        transfers: transfers.clone(),
                        events: None,
                        reporter: Arc::default(),
                    };
                    let is_endless = matches!(request.call, Call::Follow { .. });
                    let answering = Answering {
                        outgoing: outgoing.clone(),
                        answered: answered.clone(),
                        // What never ends by itself is not waited for.
                        under_way: (!is_endless).then(|| Requests::begin(&kernel)),
                    };
                    let answering = answer(kernel.clone(), asker, request, answering);
                    match is_endless {
                        false => drop(requests.spawn(answering)),
                        // It ends with the conversation at the latest.
                        true => drop(followers.spawn(answering)),
                    }
                    if requests.len() >= MAX_REQUESTS {
                        break;
                    }
                    heard = match incoming.take() {
                        Ok(Some(request)) => Ok(request),
                        Ok(None) => break,
                        Err(error) => Err(error),
                    };
                }
            }
            _ = requests.join_next(), if requests.len() >= MAX_REQUESTS => {}
            _ = course.changed() => break,
        }
    }
    finish(&mut requests, &mut course).await;
    followers.shutdown().await;
    if *course.borrow() != Course::Serving {
        let _ = outgoing.send(leaving(answered.load(Ordering::Relaxed))).await;
    }
    drop(outgoing);
    while writing.join_next().await.is_some() {}
    result
}

/// Where a reply goes, and what is noted of it.
struct Answering {
    outgoing: mpsc::Sender<Vec<u8>>,
    /// The largest sequence of this conversation that has a reply.
    answered: Arc<AtomicU64>,
    under_way: Option<UnderWay<Kernel>>,
}

/// The next request. Nothing is lost when this is broken off.
async fn hear(reader: &mut (impl AsyncRead + Unpin), incoming: &mut Incoming) -> Result<Request, FrameError> {
    loop {
        if let Some(request) = incoming.take()? {
            return Ok(request);
        }
        if reader.read_buf(incoming.room()).await? == 0 {
            return Err(incoming.end());
        }
    }
}

/// Writes what is ready, as much as there is at once, until nobody can send any more or the reader is gone.
async fn write_all(mut queue: mpsc::Receiver<Vec<u8>>, mut writer: impl AsyncWrite + Unpin) {
    while let Some(mut bytes) = queue.recv().await {
        // Others that are about to answer do so first.
        tokio::task::yield_now().await;
        while bytes.len() < WRITTEN_AT_ONCE
            && let Ok(frame) = queue.try_recv()
        {
            bytes.extend_from_slice(&frame);
        }
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn answer(kernel: Arc<Kernel>, mut asker: Asker, request: Request, answering: Answering) {
    let outgoing = &answering.outgoing;
    let sequence = request.sequence;
    let telling = request.watch.then(|| {
        let (events, mut heard) = broadcast::channel(1024);
        asker.events = Some(events);
        asker.reporter = Arc::new(reporter(sequence, outgoing.clone()));
        let outgoing = outgoing.clone();
        tokio::spawn(async move {
            loop {
                match heard.recv().await {
                    Ok(event) => {
                        let Ok(frame) = encode(&ToClient::Event { sequence, event }) else {
                            continue;
                        };
                        let _ = outgoing.send(frame).await;
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        })
    });
    let result = kernel.call(asker, request.call).await;
    // The asker is gone with the call, so its events end; they all go out before the reply.
    if let Some(telling) = telling {
        let _ = telling.await;
    }
    let _ = outgoing.send(reply(sequence, result)).await;
    answering.answered.fetch_max(sequence, Ordering::Relaxed);
    drop(answering.under_way);
}

/// The last word of a conversation that the kernel ends.
fn leaving(answered: u64) -> Vec<u8> {
    let message =
        format!("the kernel hands over or goes down; the last reply here is that of request {answered}");
    reply(0, Err(Fault::new(reason::LEAVING, message)))
}

/// Tells the client how far a request is. Where its reader is slow, it hears less.
fn reporter(sequence: u64, outgoing: mpsc::Sender<Vec<u8>>) -> Reporter {
    Reporter::new(move |progress| {
        if let Ok(frame) = encode(&ToClient::Progress { sequence, progress }) {
            let _ = outgoing.try_send(frame);
        }
    })
}

fn reply(sequence: u64, result: Result<shared::bridge::Answer, Fault>) -> Vec<u8> {
    encode(&ToClient::Reply { sequence, result }).unwrap_or_else(|error| {
        let fault = Fault::new(reason::TOO_LARGE, format!("the answer cannot be sent: {error}"));
        encode(&ToClient::Reply {
            sequence,
            result: Err(fault),
        })
        .unwrap_or_default()
    })
}

fn bad_request(error: &FrameError) -> Fault {
    let word = match error {
        FrameError::TooLarge(_) => reason::TOO_LARGE,
        _ => reason::BAD_REQUEST,
    };
    Fault::new(word, error.to_string())
}

async fn refuse(writer: &mut (impl tokio::io::AsyncWrite + Unpin), error: &FrameError) {
    if !error.is_disconnect() {
        let _ = writer.write_all(&reply(0, Err(bad_request(error)))).await;
        let _ = writer.flush().await;
    }
}
