//! JSON-RPC 2.0, a document a line, so that any language attaches with its standard library.
//!
//! Methods are the calls of the command line (`send`, `inspect`, `new`, `set`, `define`, `guard`, `thoughts`, `status`, `verify`,
//! `pack`, `backup`, `export`, `import`, `branch_…`, `adapter_…`, `memory_…`; `blob_…` for contents, in chunks of base64) with named parameters; a result is the document that `batos … --json` prints. A failure of the image is a JSON-RPC error whose
//! `data` is that document. With the parameters `client` (32 hex digits) and `sequence`, a repeat is answered, not run again; with
//! `branch` a send, look or edit is one of that branch.

use std::sync::Arc;
use std::time::Instant;

use interprocess::local_socket::tokio::Stream;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use shared::base64;
use shared::bridge::{AdapterHold, BlobName, CHUNK_BYTES, Call, Chunk, Fault, WishText};
use shared::document;
use shared::frame::{FrameError, MAX_PAYLOAD_BYTES};
use shared::id::{ClientId, ObjectId, ThoughtId, TransactionId, TransferId};
use shared::json::from_json;
use shared::reason;
use shared::value::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::server::{Course, finish};
use crate::image::blob::digest_of;
use crate::image::record::RequestId;
use crate::kernel::{Asker, Kernel};
use crate::requests::{Requests, UnderWay};
use crate::transfers::Transfers;

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
/// The image answered with an error; `data` says which.
const IMAGE_ERROR: i64 = 1;
const MAX_REQUESTS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RpcRequest {
    jsonrpc: String,
    /// Absent in a notification, which gets no reply.
    #[serde(default)]
    id: Option<Json>,
    method: String,
    #[serde(default)]
    params: Map<String, Json>,
}

/// A failure in JSON-RPC's own terms.
struct RpcError {
    code: i64,
    message: String,
    data: Option<Json>,
}

pub async fn converse(
    kernel: Arc<Kernel>,
    first: u8,
    stream: Stream,
    mut course: watch::Receiver<Course>,
) -> Result<(), FrameError> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let (outgoing, mut queue) = mpsc::channel::<Json>(64);
    // Sets, so that they end with this conversation, however that ends.
    let (mut writing, mut reading) = (JoinSet::new(), JoinSet::new());
    writing.spawn(async move {
        while let Some(document) = queue.recv().await {
            let mut line = document.to_string();
            line.push('\n');
            if writer.write_all(line.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let mut requests = JoinSet::new();
    let transfers = Arc::new(Transfers::default());
    let (incoming, mut lines) = mpsc::channel::<Vec<u8>>(1);
    reading.spawn(async move {
        let mut line = vec![first];
        loop {
            let mut limited = (&mut reader).take(MAX_PAYLOAD_BYTES as u64 + 1);
            let Ok(read) = limited.read_until(b'\n', &mut line).await else {
                return;
            };
            let ended = read == 0;
            if incoming.send(std::mem::take(&mut line)).await.is_err() || ended {
                return;
            }
        }
    });
    loop {
        while requests.try_join_next().is_some() {}
        tokio::select! {
            line = lines.recv(), if requests.len() < MAX_REQUESTS => {
                let Some(line) = line else { break };
                if line.len() > MAX_PAYLOAD_BYTES {
                    let error = RpcError {
                        code: INVALID_REQUEST,
                        message: format!("a line is longer than the {MAX_PAYLOAD_BYTES} bytes that are allowed"),
                        data: None,
                    };
                    let _ = outgoing.send(error.document(Json::Null)).await;
                    break;
                }
                if !line.trim_ascii().is_empty() {
                    let answering = Answering { outgoing: outgoing.clone(), under_way: Requests::begin(&kernel) };
                    requests.spawn(answer(kernel.clone(), transfers.clone(), line, answering));
                }
            }
            _ = requests.join_next(), if requests.len() >= MAX_REQUESTS => {}
            _ = course.changed() => break,
        }
    }
    reading.abort_all();
    finish(&mut requests, &mut course).await;
    drop(outgoing);
    while writing.join_next().await.is_some() {}
    Ok(())
}

/// Where a reply goes.
struct Answering {
    outgoing: mpsc::Sender<Json>,
    under_way: UnderWay<Kernel>,
}

async fn answer(kernel: Arc<Kernel>, transfers: Arc<Transfers>, line: Vec<u8>, answering: Answering) {
    let begun = Instant::now();
    let (id, result) = match parse(&line) {
        Err(refused) => {
            let (id, error) = *refused;
            (Some(id), Err(error))
        }
        Ok(request) => match call(request.method.as_str(), request.params) {
            Err(error) => (request.id, Err(error)),
            Ok((call, request_id)) => {
                let branch = match &call {
                    Call::InBranch { branch, .. } => Some(branch.clone()),
                    _ => None,
                };
                let asker = Asker {
                    author: "json-rpc".into(),
                    request: request_id,
                    transfers,
                    events: None,
                    reporter: Arc::default(),
                };
                let result = kernel.call(asker, call).await;
                let elapsed_ms = begun.elapsed().as_millis() as u64;
                (
                    request.id,
                    result
                        .map(|answer| document::answer(&answer, elapsed_ms))
                        .map(|document| match branch {
                            Some(branch) => document::in_branch(document, &branch),
                            None => document,
                        })
                        .map_err(image_error),
                )
            }
        },
    };
    let Some(id) = id else { return };
    let reply = match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => error.document(id),
    };
    let _ = answering.outgoing.send(reply).await;
    drop(answering.under_way);
}

fn parse(line: &[u8]) -> Result<RpcRequest, Box<(Json, RpcError)>> {
    let document: Json = serde_json::from_slice(line).map_err(|error| {
        (
            Json::Null,
            fail(
                PARSE_ERROR,
                format!("this line is not one JSON document: {error}"),
            ),
        )
    })?;
    let id = document.get("id").cloned().unwrap_or(Json::Null);
    let request: RpcRequest = serde_json::from_value(document).map_err(|error| {
        (
            id.clone(),
            fail(INVALID_REQUEST, format!("not a JSON-RPC 2.0 request: {error}")),
        )
    })?;
    if request.jsonrpc != "2.0" {
        return Err(Box::new((
            id,
            fail(INVALID_REQUEST, "\"jsonrpc\" must be \"2.0\"".into()),
        )));
    }
    Ok(request)
}

/// The call that a method and its parameters mean, and its request id.
fn call(method: &str, params: Map<String, Json>) -> Result<(Call, Option<RequestId>), RpcError> {
    let mut params = Params(params);
    let request = params.request_id()?;
    let call = match method {
        "send" => Call::Send {
            receiver: params.text("receiver")?,
            selector: params.text("selector")?,
            arguments: params.values("arguments")?,
            deadline_ms: params.number("deadline_ms")?,
        },
        "inspect" => Call::Inspect {
            object: params.text("object")?,
        },
        "new" => Call::New {
            parent: params.text("parent")?,
            slots: params.slots("slots")?,
            name: params.optional_text("name")?,
        },
        "set" => Call::Set {
            object: params.text("object")?,
            slot: params.text("slot")?,
            value: params.value("value")?,
        },
        "define" => Call::Define {
            object: params.text("object")?,
            source: params.text("source")?,
        },
        "guard" => Call::Guard {
            source: params.text("source")?,
        },
        "thoughts" => Call::Thoughts {
            id: params.number("id")?.map(ThoughtId),
        },
        "missions" => Call::Missions,
        "codex" => Call::Codex,
        "codex_import" => Call::CodexImport {
            text: params.text("text")?,
            dry_run: params.flag("dry_run")?,
        },
        "cancel" => Call::Cancel {
            id: ThoughtId(
                params
                    .number("id")?
                    .ok_or_else(|| fail(INVALID_PARAMS, "the parameter id is missing".into()))?,
            ),
        },
        "view" => Call::View {
            object: params.text("object")?,
            fresh: params.flag("fresh")?,
            workflow: params.optional_text("workflow")?,
            deadline_ms: params.number("deadline_ms")?,
        },
        "why" => Call::Why {
            object: params.text("object")?,
            selector: params.text("selector")?,
        },
        "wish" => Call::Wish {
            object: params.text("object")?,
            selector: params.text("selector")?,
            wish: match params.flag("drop")? {
                true => None,
                false => Some(WishText {
                    intent: params.optional_text("intent")?,
                    examples: params.optional_texts("examples")?,
                }),
            },
        },
        "wishes" => Call::Wishes {
            object: params.text("object")?,
            selector: params.optional_text("selector")?,
        },
        "status" => Call::Status,
        "history" => Call::History {
            object: params.text("object")?,
            slot: params.optional_text("slot")?,
            limit: params.limit()?,
        },
        "log" => Call::Log {
            from: params.optional_text("from")?,
            limit: params.limit()?,
        },
        "inspect_at" => Call::InspectAt {
            object: params.text("object")?,
            at: params.text("at")?,
        },
        "diff" => Call::Diff {
            from: params.text("from")?,
            to: params.text("to")?,
        },
        "undo" => Call::Undo {
            transaction: TransactionId(params.number("transaction")?.unwrap_or(0)),
        },
        "verify" => Call::Verify,
        "digest" => Call::Digest,
        "pack" => Call::Pack,
        "backup" => Call::Backup {
            folder: params.text("folder")?,
        },
        "export" => Call::Export {
            objects: params.texts("objects")?,
            depth: params
                .number("depth")?
                .map(|depth| u32::try_from(depth).unwrap_or(u32::MAX)),
            folder: params.text("folder")?,
        },
        "import" => Call::Import {
            folder: params.text("folder")?,
            name: params.optional_text("name")?,
        },
        "blob_begin" => Call::BlobBegin,
        "blob_write" => Call::BlobWrite {
            transfer: params.transfer()?,
            offset: params.needed_number("offset")?,
            bytes: params.chunk("base64")?,
        },
        "blob_end" => Call::BlobEnd {
            transfer: params.transfer()?,
        },
        "blob_open" => Call::BlobOpen {
            blob: params.blob_name()?,
        },
        "blob_read" => Call::BlobRead {
            transfer: params.transfer()?,
            offset: params.needed_number("offset")?,
        },
        "branch_new" => Call::BranchNew {
            name: params.text("name")?,
        },
        "branch_list" => Call::BranchList,
        "branch_show" => Call::BranchShow {
            name: params.text("name")?,
        },
        "branch_drop" => Call::BranchDrop {
            name: params.text("name")?,
        },
        "branch_commit" => Call::BranchCommit {
            name: params.text("name")?,
        },
        "adapter_import" => Call::AdapterImport {
            name: params.text("name")?,
            weights: match params.value("weights")? {
                Value::Blob(blob) => blob,
                other => {
                    let message = format!("the parameter weights must be a blob, not a {}", other.kind());
                    return Err(fail(INVALID_PARAMS, message));
                }
            },
            config: params.optional_text("config")?.unwrap_or_default(),
            replaces: params.number("replaces")?,
        },
        "adapter_list" => Call::AdapterList {
            name: params.optional_text("name")?,
        },
        "adapter_drop" => Call::AdapterDrop {
            name: params.text("name")?,
        },
        "adapter_stage" | "adapter_pin" | "adapter_unpin" => Call::AdapterHold {
            name: params.text("name")?,
            hold: match method {
                "adapter_stage" => AdapterHold::Stage,
                "adapter_pin" => AdapterHold::Pin,
                _ => AdapterHold::Unpin,
            },
        },
        "figures" => Call::Figures,
        "memory_add" => Call::MemoryText {
            source: params.optional_text("source")?,
            text: params.text("text")?,
            meta: params.pairs("meta")?,
        },
        "memory_search" => Call::MemorySearch {
            question: params.text("question")?,
            k: u32::try_from(params.number("k")?.unwrap_or(10)).unwrap_or(u32::MAX),
            filters: params.pairs("filter")?,
            at: params.optional_text("at")?,
        },
        "memory_show" => Call::MemoryShow {
            object: params.text("object")?,
        },
        "memory_forget" => Call::MemoryForget {
            object: params.text("object")?,
        },
        "memory_stats" => Call::MemoryStats,
        "memory_encode" => Call::MemoryEncode {
            from: ObjectId(params.number("from")?.unwrap_or(0)),
        },
        other => {
            let known = "send, inspect, new, set, define, guard, thoughts, status, history, log, inspect_at, diff, undo, verify, \
                         pack, backup, export, import, blob_begin, blob_write, blob_end, blob_open, blob_read, \
                         branch_new, branch_list, branch_show, branch_drop, branch_commit, adapter_import, adapter_list, \
                         adapter_drop, adapter_stage, adapter_pin, adapter_unpin, memory_add, memory_search, memory_show, \
                         memory_forget, memory_stats, memory_encode, figures";
            return Err(fail(
                METHOD_NOT_FOUND,
                format!("there is no method {other:?}; there are {known}"),
            ));
        }
    };
    let branch = params.optional_text("branch")?;
    params.end(method)?;
    let call = match branch {
        None => call,
        Some(branch) => call.in_branch(branch).ok_or_else(|| {
            fail(
                INVALID_PARAMS,
                format!("{method} cannot be done in a branch; send, inspect, new, set and define can"),
            )
        })?,
    };
    Ok((call, request))
}

/// Named parameters, taken one by one; what is left over is an error.
struct Params(Map<String, Json>);

impl Params {
    fn text(&mut self, name: &str) -> Result<String, RpcError> {
        self.optional_text(name)?
            .ok_or_else(|| fail(INVALID_PARAMS, format!("the parameter {name} is missing")))
    }

    /// How many transactions are wanted; 50 unless it is said.
    fn limit(&mut self) -> Result<u32, RpcError> {
        let limit = self.number("limit")?.unwrap_or(50);
        Ok(u32::try_from(limit).unwrap_or(u32::MAX))
    }

    fn optional_text(&mut self, name: &str) -> Result<Option<String>, RpcError> {
        match self.0.remove(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(_) => Err(fail(
                INVALID_PARAMS,
                format!("the parameter {name} must be a string"),
            )),
        }
    }

    /// Absent is false.
    fn flag(&mut self, name: &str) -> Result<bool, RpcError> {
        match self.0.remove(name) {
            None | Some(Json::Null) => Ok(false),
            Some(Json::Bool(flag)) => Ok(flag),
            Some(_) => Err(fail(
                INVALID_PARAMS,
                format!("the parameter {name} must be true or false"),
            )),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, RpcError> {
        match self.0.remove(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Number(number)) if number.is_u64() => Ok(number.as_u64()),
            Some(_) => Err(fail(
                INVALID_PARAMS,
                format!("the parameter {name} must be a whole number from 0"),
            )),
        }
    }

    fn optional_texts(&mut self, name: &str) -> Result<Vec<String>, RpcError> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(_) => self.texts(name),
        }
    }

    fn texts(&mut self, name: &str) -> Result<Vec<String>, RpcError> {
        let texts = match self.0.remove(name) {
            Some(Json::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        texts.ok_or_else(|| {
            fail(
                INVALID_PARAMS,
                format!("the parameter {name} must be an array of strings"),
            )
        })
    }

    /// An object of strings.
    fn pairs(&mut self, name: &str) -> Result<Vec<(String, String)>, RpcError> {
        let pairs = match self.0.remove(name) {
            None | Some(Json::Null) => Some(Vec::new()),
            Some(Json::Object(members)) => members
                .into_iter()
                .map(|(key, value)| Some((key, value.as_str()?.to_owned())))
                .collect(),
            Some(_) => None,
        };
        pairs.ok_or_else(|| {
            fail(
                INVALID_PARAMS,
                format!("the parameter {name} must be an object of strings"),
            )
        })
    }

    fn needed_number(&mut self, name: &str) -> Result<u64, RpcError> {
        self.number(name)?
            .ok_or_else(|| fail(INVALID_PARAMS, format!("the parameter {name} is missing")))
    }

    fn transfer(&mut self) -> Result<TransferId, RpcError> {
        self.needed_number("transfer").map(TransferId)
    }

    fn chunk(&mut self, name: &str) -> Result<Chunk, RpcError> {
        let bytes = base64::decode(&self.text(name)?).ok_or_else(|| {
            fail(
                INVALID_PARAMS,
                format!("the parameter {name} is not base64 with padding"),
            )
        })?;
        match bytes.len() {
            length if length > CHUNK_BYTES => Err(fail(
                INVALID_PARAMS,
                format!("the parameter {name} holds {length} bytes; at most {CHUNK_BYTES} travel at once"),
            )),
            _ => Ok(Chunk(bytes)),
        }
    }

    /// `digest`, or `object` and `slot`.
    fn blob_name(&mut self) -> Result<BlobName, RpcError> {
        match self.optional_text("digest")? {
            None => Ok(BlobName::Slot {
                object: self.text("object")?,
                slot: self.text("slot")?,
            }),
            Some(digest) => digest_of(&digest).map(BlobName::Digest).ok_or_else(|| {
                fail(
                    INVALID_PARAMS,
                    "the parameter digest must be 64 lower-case hex digits".into(),
                )
            }),
        }
    }

    fn value(&mut self, name: &str) -> Result<Value, RpcError> {
        let json = self
            .0
            .remove(name)
            .ok_or_else(|| fail(INVALID_PARAMS, format!("the parameter {name} is missing")))?;
        from_json(&json).map_err(|error| fail(INVALID_PARAMS, format!("the parameter {name}: {error}")))
    }

    fn values(&mut self, name: &str) -> Result<Vec<Value>, RpcError> {
        if !self.0.contains_key(name) {
            return Ok(Vec::new());
        }
        match self.value(name)? {
            Value::List(values) => Ok(values),
            _ => Err(fail(
                INVALID_PARAMS,
                format!("the parameter {name} must be an array"),
            )),
        }
    }

    fn slots(&mut self, name: &str) -> Result<Vec<(String, Value)>, RpcError> {
        match self.0.remove(name) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::Object(members)) => members
                .into_iter()
                .map(|(slot, json)| match from_json(&json) {
                    Ok(value) => Ok((slot, value)),
                    Err(error) => Err(fail(INVALID_PARAMS, format!("the slot {slot}: {error}"))),
                })
                .collect(),
            Some(_) => Err(fail(
                INVALID_PARAMS,
                format!("the parameter {name} must be an object"),
            )),
        }
    }

    fn request_id(&mut self) -> Result<Option<RequestId>, RpcError> {
        let (client, sequence) = (self.optional_text("client")?, self.number("sequence")?);
        match (client, sequence) {
            (None, None) => Ok(None),
            (Some(client), Some(sequence)) => match u128::from_str_radix(&client, 16) {
                Ok(number) if client.len() == 32 => Ok(Some(RequestId {
                    client: ClientId(number.to_be_bytes()),
                    sequence,
                })),
                _ => Err(fail(
                    INVALID_PARAMS,
                    "the parameter client must be 32 hex digits".into(),
                )),
            },
            _ => Err(fail(INVALID_PARAMS, "client and sequence go together".into())),
        }
    }

    fn end(self, method: &str) -> Result<(), RpcError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(extra) => Err(fail(
                INVALID_PARAMS,
                format!("{method} has no parameter {extra:?}"),
            )),
        }
    }
}

impl RpcError {
    fn document(self, id: Json) -> Json {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = self.data {
            error["data"] = data;
        }
        json!({ "jsonrpc": "2.0", "id": id, "error": error })
    }
}

fn fail(code: i64, message: String) -> RpcError {
    let data = Fault::new(reason::BAD_REQUEST, message.clone());
    RpcError {
        code,
        message,
        data: Some(document::fault(&data)),
    }
}

fn image_error(fault: Fault) -> RpcError {
    RpcError {
        code: IMAGE_ERROR,
        message: fault.message.clone(),
        data: Some(document::fault(&fault)),
    }
}
