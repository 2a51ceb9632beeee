//! The JSON documents that `batos … --json` prints and that JSON-RPC answers: one form for both.

use serde_json::{Map, Value as Json, json};

use crate::bridge::{Answer, Fault, Finding, KernelStatus, ObjectView, ThoughtEvent, ThoughtView};
use crate::json::to_json;

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
    }
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
                "changed": slot.changed.0,
            });
            (slot.name.clone(), shown)
        })
        .collect();
    json!({
        "ok": true,
        "object": view.object.id.to_string(),
        "name": view.name,
        "version": view.object.version.0,
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

/// The kernel about itself.
pub fn kernel_status(status: &KernelStatus) -> Json {
    let (model, fault) = match &status.model {
        Ok(model) => (json!(model), Json::Null),
        Err(fault) => (Json::Null, json!(fault)),
    };
    json!({
        "ok": true,
        "version": status.version,
        "pid": status.pid,
        "epoch": status.epoch.0,
        "uptime_ms": status.uptime_ms,
        "last_transaction": status.last_transaction.0,
        "objects": status.objects,
        "log_bytes": status.log_bytes,
        "clients": status.clients,
        "method_workers": status.method_workers,
        "sends": status.sends,
        "conflicts": status.conflicts,
        "missions_open": status.missions_open,
        "model": model,
        "model_fault": fault,
    })
}
