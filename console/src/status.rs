//! `batos status`: the steward's part and the kernel's part, each also without the other.

use std::time::Duration;

use serde_json::{Value as Json, json};
use shared::bridge::{Answer, Call, KernelStatus};
use shared::control::StewardStatus;
use shared::home::Home;
use shared::{document, exit, reason};

use crate::failure::Failure;
use crate::kernel::{Kernel, Manner};
use crate::output::Report;
use crate::{render, steward};

/// A status that takes longer says that nobody answers.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The same without a steward, which nobody can make better by waiting.
const PATIENCE_ALONE: Duration = Duration::from_millis(300);

pub fn run(home: &Home) -> Result<Report, Failure> {
    let steward = steward::status(home);
    let kernel = kernel(
        home,
        if steward.is_some() {
            PATIENCE
        } else {
            PATIENCE_ALONE
        },
    );
    let mut document = match &kernel {
        Ok(_) => json!({ "ok": true }),
        Err(failure) => json!({ "ok": false, "reason": reason::NO_KERNEL, "message": failure.to_string() }),
    };
    document["home"] = json!(home.path().display().to_string());
    document["steward"] = steward.as_ref().map_or(Json::Null, steward_document);
    document["kernel"] = kernel.as_ref().map_or(Json::Null, |status| {
        let mut part = document::kernel_status(status);
        if let Some(members) = part.as_object_mut() {
            members.shift_remove("ok");
        }
        part
    });
    let kernel_text = match &kernel {
        Ok(status) => render::kernel(status),
        Err(failure) => format!("kernel   {failure}"),
    };
    let text = format!(
        "home     {}\n{}\n{kernel_text}",
        home.path().display(),
        render::steward(steward.as_ref())
    );
    let exit = if kernel.is_ok() {
        exit::ANSWERED
    } else {
        exit::NO_KERNEL
    };
    Ok(Report { document, text, exit })
}

/// What the kernel says about itself, within `patience`.
pub fn kernel(home: &Home, patience: Duration) -> Result<KernelStatus, Failure> {
    let manner = Manner {
        patience: Some(patience),
        ..Manner::plain()
    };
    match Kernel::of(home).call(Call::Status, manner)?.answer {
        Answer::Status(status) => Ok(*status),
        other => Err(Failure::internal(format!(
            "the kernel answered a status request by {other:?}"
        ))),
    }
}

fn steward_document(status: &StewardStatus) -> Json {
    let planks: Vec<Json> = status
        .planks
        .iter()
        .map(|plank| {
            json!({
                "name": plank.name, "path": plank.path, "pid": plank.pid, "state": plank.state,
                "restarts": plank.restarts, "last_exit": plank.last_exit,
            })
        })
        .collect();
    let instructions: Vec<Json> = status
        .instructions
        .iter()
        .map(|(file, outcome)| json!({ "file": file, "outcome": outcome }))
        .collect();
    json!({
        "version": status.version, "pid": status.pid, "uptime_ms": status.uptime_ms, "home": status.home,
        "planks": planks, "instructions": instructions,
        "upgrade": status.upgrade.as_ref().map(|upgrade| json!({ "id": upgrade.id, "state": upgrade.state })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_running_is_told_in_full() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        let report = run(&home).ok().unwrap();
        assert_eq!(report.exit, 3);
        assert_eq!(
            (&report.document["ok"], &report.document["reason"]),
            (&json!(false), &json!("no_kernel"))
        );
        assert_eq!(
            (&report.document["steward"], &report.document["kernel"]),
            (&Json::Null, &Json::Null)
        );
        assert!(report.text.contains("steward  not running"), "{}", report.text);
    }
}
