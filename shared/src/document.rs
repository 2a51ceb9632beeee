//! The JSON documents that `batos … --json` prints and that JSON-RPC answers: one form for both.

use serde_json::{Map, Value as Json, json};

use crate::base64;
use crate::bridge::{
    AdapterHold, AdapterListing, Answer, BranchView, Difference, DocumentView, Fault, Finding, Hit,
    KernelStatus, MissionView, ObjectView, Progress, ThoughtEvent, ThoughtView, TransactionView,
    Verification, WishView,
};
use crate::id::ObjectId;
use crate::inference::{Figures, Manifest, Tier, TierFigures};
use crate::json::to_json;
use crate::spread::quantile_us;
use crate::time;
use crate::value::Value;

/// A success. `elapsed_ms` is what the asker waited.
pub fn answer(answer: &Answer, elapsed_ms: u64) -> Json {
    match answer {
        Answer::Sent {
            result,
            transaction,
            thought,
        } => json!({
            "ok": true,
            "result": to_json(result),
            "transaction": transaction.0,
            "thought": thought.map(|thought| thought.0),
            "elapsed_ms": elapsed_ms,
        }),
        Answer::Object(view) => object(view),
        Answer::Created { object, transaction } => {
            json!({ "ok": true, "object": object.to_string(), "transaction": transaction.0 })
        }
        Answer::Changed {
            object,
            slot,
            transaction,
        } => {
            json!({ "ok": true, "object": object.to_string(), "slot": slot, "transaction": transaction.0 })
        }
        Answer::Verdict { findings: found } => json!({ "ok": found.is_empty(), "findings": findings(found) }),
        Answer::Thoughts(views) => {
            json!({ "ok": true, "thoughts": views.iter().map(thought).collect::<Vec<_>>() })
        }
        Answer::Status(status) => kernel_status(status),
        Answer::Log(views) => {
            json!({ "ok": true, "transactions": views.iter().map(transaction).collect::<Vec<_>>() })
        }
        Answer::Difference {
            from,
            to,
            differences,
        } => json!({
            "ok": true,
            "from": from.0,
            "to": to.0,
            "differences": differences.iter().map(difference).collect::<Vec<_>>(),
        }),
        Answer::Undone { undone, transaction } => {
            json!({ "ok": true, "undone": undone.0, "transaction": transaction.0 })
        }
        Answer::Verified(found) => verification(found),
        Answer::Digested { digest } => json!({ "ok": true, "digest": digest }),
        Answer::Packed(packing) => json!({
            "ok": true,
            "base": packing.base.0,
            "objects": packing.objects,
            "collected": packing.collected,
            "bytes_before": packing.bytes_before,
            "bytes_after": packing.bytes_after,
        }),
        Answer::Transfer { transfer, blob } => {
            let blob = blob.map(|blob| to_json(&Value::Blob(blob)));
            json!({ "ok": true, "transfer": transfer.0, "blob": blob })
        }
        Answer::Arrived { transfer, bytes } => json!({ "ok": true, "transfer": transfer.0, "bytes": bytes }),
        Answer::Content {
            transfer,
            offset,
            bytes,
            is_last,
        } => json!({
            "ok": true,
            "transfer": transfer.0,
            "offset": offset,
            "base64": base64::encode(&bytes.0),
            "is_last": is_last,
        }),
        Answer::Backed(backup) => json!({
            "ok": backup.damaged.is_empty(),
            "folder": backup.folder,
            "image": backup.image,
            "last": backup.last.0,
            "files": backup.files,
            "blobs": backup.blobs,
            "bytes": backup.bytes,
            "copied_bytes": backup.copied_bytes,
            "damaged": backup.damaged,
        }),
        Answer::Exported {
            folder,
            last,
            objects,
            blobs,
        } => json!({ "ok": true, "folder": folder, "last": last.0, "objects": objects, "blobs": blobs }),
        Answer::Imported {
            roots,
            objects,
            transaction,
        } => {
            let roots: Map<String, Json> = roots
                .iter()
                .map(|(name, object)| (name.clone(), json!(object.to_string())))
                .collect();
            json!({ "ok": true, "roots": roots, "objects": objects, "transaction": transaction.0 })
        }
        Answer::Branches(views) => {
            json!({ "ok": true, "branches": views.iter().map(branch).collect::<Vec<_>>() })
        }
        Answer::Branch(view) => json!({ "ok": true, "branch": branch(view) }),
        Answer::BranchShown {
            branch: view,
            differences,
        } => json!({
            "ok": true,
            "branch": branch(view),
            "differences": differences.iter().map(difference).collect::<Vec<_>>(),
        }),
        Answer::BranchDropped { name } => json!({ "ok": true, "dropped": name }),
        Answer::BranchCommitted {
            name,
            sends,
            objects,
            transaction,
        } => json!({
            "ok": true,
            "committed": name,
            "sends": sends,
            "objects": objects,
            "transaction": transaction.0,
        }),
        Answer::View(view) => json!({
            "ok": true,
            "object": view.object.to_string(),
            "name": view.name,
            "record": view.record.to_string(),
            "transaction": view.transaction.0,
            "workflow": view.workflow,
            "drawn_by": view.drawn_by,
            "thought": view.thought.map(|thought| thought.0),
            "html": view.html,
            "svg": view.svg,
        }),
        Answer::Tried(tried) => json!({
            "ok": tried.outcome == "complete",
            "workflow": tried.workflow,
            "receiver": tried.receiver.to_string(),
            "name": tried.name,
            "selector": tried.selector,
            "outcome": tried.outcome,
            "message": tried.message,
            "rounds": tried.rounds,
            "model_calls": tried.model_calls,
            "tokens": tried.tokens,
            "elapsed_ms": tried.elapsed_ms,
            "artifact": tried.artifact,
        }),
        Answer::MemoryDocument(view) => json!({ "ok": true, "document": memory_document(view) }),
        Answer::MemoryAdded(added) => json!({
            "ok": true,
            "document": added.document.to_string(),
            "indexed": added.indexed,
            "chunks": added.chunks,
            "known": added.known,
            "vectors": added.vectors,
            "text_only": added.text_only,
            "transaction": added.transaction.0,
        }),
        Answer::MemoryHits { hits, text_only } => json!({
            "ok": true,
            "hits": hits.iter().map(hit).collect::<Vec<_>>(),
            "text_only": text_only,
            "elapsed_ms": elapsed_ms,
        }),
        Answer::MemoryShown(view) => json!({
            "ok": true,
            "document": memory_document(&view.document),
            "chunks": view.chunks.iter().map(|chunk| json!({
                "chunk": chunk.chunk.to_string(),
                "begin": chunk.begin,
                "end": chunk.end,
                "language": chunk.language,
                "text": chunk.text,
            })).collect::<Vec<_>>(),
        }),
        Answer::MemoryForgotten {
            document,
            chunks,
            transaction,
        } => json!({
            "ok": true,
            "document": document.to_string(),
            "chunks": chunks,
            "transaction": transaction.0,
        }),
        Answer::MemoryStats(figures) => json!({
            "ok": true,
            "documents": figures.documents,
            "chunks": figures.chunks,
            "terms": figures.terms,
            "vectors": figures.vectors,
            "languages": figures.languages.iter().cloned().map(|(name, count)| (name, json!(count))).collect::<Map<_, _>>(),
            "text_bytes": figures.text_bytes,
            "vector_bytes": figures.vector_bytes,
            "encoder": figures.encoder.as_ref().ok(),
            "encoder_fault": figures.encoder.as_ref().err(),
        }),
        Answer::MemoryEncoded(encoded) => json!({
            "ok": true,
            "encoder": encoded.encoder,
            "vectors": encoded.vectors,
            "next": encoded.next.map(|id| id.0),
            "transaction": encoded.transaction.0,
        }),
        Answer::Wishes(views) => {
            json!({ "ok": true, "wishes": views.iter().map(wish).collect::<Vec<_>>() })
        }
        Answer::Missions(views) => {
            json!({ "ok": true, "missions": views.iter().map(mission).collect::<Vec<_>>() })
        }
        Answer::Cancelled { id } => json!({ "ok": true, "cancelled": id.0 }),
        Answer::Followed => json!({ "ok": true }),
        Answer::Why(origin) => json!({
            "ok": true,
            "holder": origin.holder.to_string(),
            "name": origin.name,
            "selector": origin.selector,
            "source": origin.source,
            "transaction": transaction(&origin.transaction),
            "thought": origin.thought.as_ref().map(thought),
        }),
        Answer::Codex { text } => json!({ "ok": true, "codex": text }),
        Answer::CodexImported { changes, transaction } => json!({
            "ok": true,
            "changes": changes,
            "transaction": transaction.map(|transaction| transaction.0),
        }),
        Answer::Blob(blob) => json!({ "ok": true, "blob": to_json(&Value::Blob(*blob)) }),
        Answer::AdapterImported {
            adapter: view,
            transaction,
        } => json!({ "ok": true, "adapter": adapter(view), "transaction": transaction.0 }),
        Answer::Adapters {
            adapters,
            manifest: found,
        } => json!({
            "ok": true,
            "adapters": adapters.iter().map(adapter).collect::<Vec<_>>(),
            "manifest": found.as_ref().map(manifest),
        }),
        Answer::AdapterDropped { name, transaction } => {
            json!({ "ok": true, "dropped": name, "transaction": transaction.0 })
        }
        Answer::AdapterHeld { name, hold } => {
            let hold = match hold {
                AdapterHold::Stage => "stage",
                AdapterHold::Pin => "pin",
                AdapterHold::Unpin => "unpin",
            };
            json!({ "ok": true, "name": name, "hold": hold })
        }
        Answer::Figures(figures) => json!({
            "ok": true,
            "pid": figures.pid,
            "epoch": figures.epoch.0,
            "last_transaction": figures.last_transaction.0,
            "answered": figures.answered,
            "failed": figures.failed,
            "p50_us": quantile_us(&figures.took, 500),
            "p99_us": quantile_us(&figures.took, 990),
        }),
    }
}

/// A document of the memory.
pub fn memory_document(view: &DocumentView) -> Json {
    json!({
        "object": view.document.to_string(),
        "source": view.source,
        "format": view.format,
        "bytes": view.bytes,
        "indexed": view.indexed,
        "is_whole": view.is_whole,
        "chunks": view.chunks,
        "at": view.at.map(time::to_text),
        "author": view.author,
        "trust": view.trust,
        "meta": texts(&view.meta),
        "valid_from": view.valid_from.map(time::to_text),
        "valid_until": view.valid_until.map(time::to_text),
        "supersedes": view.supersedes.map(|id| id.to_string()),
    })
}

/// What was found, and why.
pub fn hit(hit: &Hit) -> Json {
    let terms: Map<String, Json> = hit
        .terms
        .iter()
        .map(|(term, worth)| (term.clone(), json!(rounded(*worth))))
        .collect();
    json!({
        "chunk": hit.chunk.to_string(),
        "document": hit.document.to_string(),
        "source": hit.source,
        "begin": hit.begin,
        "end": hit.end,
        "text": hit.text,
        "score": rounded(hit.score),
        "text_score": rounded(hit.text_score),
        "vector_score": hit.vector_score.map(rounded),
        "terms": terms,
        "at": hit.at.map(time::to_text),
        "author": hit.author,
        "trust": hit.trust,
        "meta": texts(&hit.meta),
        "joined": hit.joined,
    })
}

fn texts(pairs: &[(String, String)]) -> Json {
    let pairs = pairs.iter().map(|(key, value)| (key.clone(), json!(value)));
    Json::Object(pairs.collect())
}

/// To six digits after the point: more are noise.
fn rounded(number: f32) -> f64 {
    (f64::from(number) * 1e6).round() / 1e6
}

/// The document of an answer that was given in a branch: there is no transaction of it yet.
pub fn in_branch(mut document: Json, branch: &str) -> Json {
    if let Some(transaction) = document.get_mut("transaction") {
        *transaction = Json::Null;
    }
    document["branch"] = json!(branch);
    document
}

/// A tier's word.
pub fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Cold => "cold",
        Tier::Loading => "loading",
        Tier::Warm => "warm",
        Tier::Hot => "hot",
    }
}

fn adapter(view: &AdapterListing) -> Json {
    let worker = view.worker.as_ref();
    json!({
        "name": view.name,
        "generation": view.generation,
        "object": view.object.to_string(),
        "weights": to_json(&Value::Blob(view.weights)),
        "rank": view.rank,
        "alpha": view.alpha,
        "products": view.products,
        "base": view.base,
        "bytes": view.bytes,
        "tier": tier(worker.map_or(Tier::Cold, |worker| worker.tier)),
        "pinned": worker.is_some_and(|worker| worker.is_pinned),
        "uses": worker.map_or(0, |worker| worker.uses),
        "in_flight": worker.map_or(0, |worker| worker.in_flight),
    })
}

fn manifest(found: &Manifest) -> Json {
    json!({
        "program_bytes": found.program_bytes,
        "base_bytes": found.base_bytes,
        "cache_bytes": found.cache_bytes,
        "cache_budget_bytes": found.cache_budget_bytes,
        "scratch_bytes": found.scratch_bytes,
        "loading_bytes": found.loading_bytes,
        "warm_bytes": found.warm_bytes,
        "warm_budget_bytes": found.warm_budget_bytes,
        "hot_bytes": found.hot_bytes,
        "hot_budget_bytes": found.hot_budget_bytes,
        "used_bytes": found.used_bytes(),
        "resident_bytes": found.resident_bytes,
    })
}

fn branch(view: &BranchView) -> Json {
    json!({
        "name": view.name,
        "base": view.base.0,
        "begun_unix_ms": view.begun_unix_ms,
        "author": view.author,
        "sends": view.sends,
        "objects": view.objects,
        "bytes": view.bytes,
        "conflicts": view.conflicts,
        "damage": view.damage,
    })
}

fn transaction(view: &TransactionView) -> Json {
    let changes: Vec<Json> = view
        .changes
        .iter()
        .map(|change| {
            let mut shown = place(change.object, change.slot.as_ref(), change.key.as_ref());
            shown["is_new"] = json!(change.is_new);
            shown["removed"] = json!(change.value.is_none());
            shown["value"] = change.value.as_ref().map_or(Json::Null, to_json);
            shown
        })
        .collect();
    json!({
        "transaction": view.transaction.0,
        "unix_ms": view.unix_ms,
        "author": view.author,
        "thought": view.thought.map(|thought| thought.0),
        "undoes": view.undoes.map(|undone| undone.0),
        "collected": view.collected,
        "changes": changes,
        "more_changes": view.more_changes,
    })
}

fn difference(difference: &Difference) -> Json {
    let mut shown = place(
        difference.object,
        difference.slot.as_ref(),
        difference.key.as_ref(),
    );
    shown["is_new"] = json!(difference.is_new);
    for (name, value) in [("old", &difference.old), ("new", &difference.new)] {
        // An absent value is left out; a slot that holds none is null.
        if let Some(value) = value {
            shown[name] = to_json(value);
        }
    }
    shown
}

fn place(object: ObjectId, slot: Option<&String>, key: Option<&Value>) -> Json {
    match (slot, key) {
        (Some(slot), _) => json!({ "object": object.to_string(), "slot": slot }),
        (None, Some(key)) => json!({ "object": object.to_string(), "key": to_json(key) }),
        (None, None) => json!({ "object": object.to_string() }),
    }
}

/// What a verification found; `ok` is false when there is a fault.
pub fn verification(found: &Verification) -> Json {
    let faults: Vec<Json> = found
        .faults
        .iter()
        .map(|fault| json!({ "where": fault.place, "what": fault.what }))
        .collect();
    json!({
        "ok": found.faults.is_empty(),
        "last": found.last.0,
        "chain": found.chain,
        "digest": found.digest,
        "objects": found.objects,
        "entries": found.entries,
        "faults": faults,
        "more_faults": found.more_faults,
    })
}

/// A failure: a stable word and a sentence.
pub fn fault(fault: &Fault) -> Json {
    let mut document = json!({ "ok": false, "reason": fault.reason, "message": fault.message });
    if !fault.findings.is_empty() {
        document["findings"] = findings(&fault.findings);
    }
    if let Some(thought) = fault.thought {
        document["thought"] = json!(thought.0);
    }
    document
}

fn object(view: &ObjectView) -> Json {
    let slots: Map<String, Json> = view
        .object
        .slots
        .iter()
        .map(|slot| {
            let shown = json!({
                "kind": slot.value.detailed_kind(),
                "value": to_json(&slot.value),
                "changed": slot.changed.committed(),
            });
            (slot.name.clone(), shown)
        })
        .collect();
    json!({
        "ok": true,
        "object": view.object.id.to_string(),
        "name": view.name,
        "version": view.object.version.committed(),
        "parents": view.object.parents().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "chain": view.chain,
        "slots": slots,
        "entries": {
            "count": view.entries,
            "first": view.first_entries.iter().map(|(key, value)| json!([to_json(key), to_json(value)])).collect::<Vec<_>>(),
        },
    })
}

fn findings(findings: &[Finding]) -> Json {
    findings
        .iter()
        .map(|finding| json!({ "rule": finding.rule, "line": finding.line, "message": finding.message }))
        .collect()
}

fn thought(view: &ThoughtView) -> Json {
    json!({
        "id": view.id.0,
        "receiver": view.receiver.to_string(),
        "selector": view.selector,
        "outcome": view.outcome,
        "message": view.message,
        "rounds": view.rounds,
        "model_calls": view.model_calls,
        "begun_unix_ms": view.begun_unix_ms,
        "elapsed_ms": view.elapsed_ms,
        "artifact": view.artifact,
        "events": view.events.iter().map(event).collect::<Vec<_>>(),
    })
}

fn wish(view: &WishView) -> Json {
    json!({
        "selector": view.selector,
        "holder": view.holder.to_string(),
        "name": view.name,
        "intent": view.wish.intent,
        "examples": view.wish.examples,
    })
}

fn mission(view: &MissionView) -> Json {
    json!({
        "id": view.id.0,
        "receiver": view.receiver.to_string(),
        "name": view.name,
        "selector": view.selector,
        "state": view.state,
        "priority": view.priority,
        "round": view.round,
        "model_calls": view.model_calls,
        "tokens": view.tokens,
        "token_budget": view.token_budget,
        "begun_unix_ms": view.begun_unix_ms,
        "elapsed_ms": view.elapsed_ms,
        "waiting": view.waiting,
    })
}

/// How far a long work is.
pub fn progress(progress: &Progress) -> Json {
    json!({ "progress": progress })
}

/// Something that happened in a thought.
pub fn event(event: &ThoughtEvent) -> Json {
    json!({
        "thought": event.thought.0,
        "round": event.round,
        "unix_ms": event.unix_ms,
        "kind": event.kind,
        "state": event.state,
        "detail": event.detail,
    })
}

/// What the inference-worker does and has done.
fn figures(figures: &Figures) -> Json {
    let loading = figures
        .loading
        .map(|loading| json!({ "loaded_bytes": loading.loaded_bytes, "all_bytes": loading.all_bytes }));
    let tier = |tier: &TierFigures| {
        json!({
            "name": tier.name, "adapters": tier.adapters, "bytes": tier.bytes, "budget_bytes": tier.budget_bytes,
        })
    };
    json!({
        "loading": loading,
        "active": figures.active,
        "waiting": figures.waiting,
        "ended": {
            "stopped": figures.stopped, "full": figures.full, "late": figures.late,
            "cancelled": figures.cancelled, "failed": figures.failed,
        },
        "read_tokens": figures.read_tokens,
        "shared_tokens": figures.shared_tokens,
        "written_tokens": figures.written_tokens,
        "written_per_second": (f64::from(figures.written_per_second) * 10.0).round() / 10.0,
        "cache": {
            "tokens": figures.cache_tokens, "held_tokens": figures.held_tokens, "kept_tokens": figures.kept_tokens,
        },
        "embed_waiting": figures.embed_waiting,
        "texts": figures.texts,
        "text_tokens": figures.text_tokens,
        "tiers": figures.tiers.iter().map(tier).collect::<Vec<_>>(),
    })
}

/// The kernel about itself.
pub fn kernel_status(status: &KernelStatus) -> Json {
    let told = |what: &Result<String, String>| match what {
        Ok(what) => (json!(what), Json::Null),
        Err(fault) => (Json::Null, json!(fault)),
    };
    let (model, model_fault) = told(&status.model);
    let (embedder, embedder_fault) = told(&status.embedder);
    json!({
        "ok": true,
        "version": status.version,
        "pid": status.pid,
        "epoch": status.epoch.0,
        "uptime_ms": status.uptime_ms,
        "last_transaction": status.last_transaction.0,
        "objects": status.objects,
        "log_bytes": status.log_bytes,
        "blobs": status.blobs,
        "blob_bytes": status.blob_bytes,
        "clients": status.clients,
        "method_workers": status.method_workers,
        "sends": status.sends,
        "conflicts": status.conflicts,
        "missions_open": status.missions_open,
        "model": model,
        "model_fault": model_fault,
        "embedder": embedder,
        "embedder_fault": embedder_fault,
        "inference": status.inference.as_ref().map(figures),
    })
}
