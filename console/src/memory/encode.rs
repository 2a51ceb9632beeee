//! `batos memory encode`: chunks that have no vector of the encoder that answers get theirs, some at a time.

use std::time::Instant;

use serde_json::json;
use shared::bridge::{Answer, Call, MemoryFigures, Progress, Unit};
use shared::exit;
use shared::home::Home;
use shared::id::ObjectId;

use super::add::ask;
use crate::failure::Failure;
use crate::kernel::Kernel;
use crate::output::Report;
use crate::step::Step;

pub fn run(home: &Home, json: bool) -> Result<Report, Failure> {
    let begun = Instant::now();
    let mut kernel = Kernel::of(home);
    let before = figures(&mut kernel)?;
    let mut step = Step::new(!json);
    let (mut vectors, mut encoder) = (0, String::new());
    let mut from = Some(ObjectId(0));
    while let Some(id) = from {
        let encoded = match ask(&mut kernel, Call::MemoryEncode { from: id })? {
            Answer::MemoryEncoded(encoded) => encoded,
            other => return Err(Failure::internal(format!("the kernel answered {other:?}"))),
        };
        vectors += encoded.vectors;
        encoder = encoded.encoder;
        from = encoded.next;
        step.show(&Progress {
            step: "encoding".into(),
            done: vectors,
            // Vectors of another encoder are made anew, so there may be more.
            total: Some(before.chunks - before.vectors.min(before.chunks)),
            unit: Unit::Chunks,
        });
    }
    step.end();
    let text = match vectors {
        0 => format!("every chunk has its vector by {encoder}, or is too short for one"),
        1 => format!("1 chunk got its vector by {encoder}"),
        vectors => format!("{vectors} chunks got their vectors by {encoder}"),
    };
    Ok(Report {
        document: json!({
            "ok": true,
            "encoder": encoder,
            "vectors": vectors,
            "elapsed_ms": begun.elapsed().as_millis() as u64,
        }),
        text,
        exit: exit::ANSWERED,
    })
}

fn figures(kernel: &mut Kernel) -> Result<MemoryFigures, Failure> {
    match ask(kernel, Call::MemoryStats)? {
        Answer::MemoryStats(figures) => Ok(figures),
        other => Err(Failure::internal(format!("the kernel answered {other:?}"))),
    }
}
