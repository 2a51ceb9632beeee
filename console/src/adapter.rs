//! `batos adapter`: what a fine-tuning learned, brought into the image beside the model.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use shared::bridge::{AdapterHold, AdapterListing, Answer, Call};
use shared::document::{self, tier};
use shared::exit;
use shared::home::Home;
use shared::inference::{Manifest, Tier};

use crate::arguments::{AdapterCommand, AdapterImport};
use crate::blob;
use crate::failure::Failure;
use crate::kernel::{Kernel, Manner};
use crate::output::Report;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const MAX_CONFIG_BYTES: u64 = 64 << 10;

/// Runs one of them. `json` is true for a program that wants one document.
pub fn run(home: &Home, command: AdapterCommand, json: bool) -> Result<Report, Failure> {
    let (call, identity) = match command {
        AdapterCommand::Import(import) => return bring(home, import, json),
        AdapterCommand::List => (Call::AdapterList { name: None }, None),
        AdapterCommand::Show { name } => (Call::AdapterList { name: Some(name) }, None),
        AdapterCommand::Drop { name, request } => (Call::AdapterDrop { name }, request.id),
        AdapterCommand::Stage { name } => (hold(name, AdapterHold::Stage), None),
        AdapterCommand::Pin { name } => (hold(name, AdapterHold::Pin), None),
        AdapterCommand::Unpin { name } => (hold(name, AdapterHold::Unpin), None),
    };
    let is_one = matches!(call, Call::AdapterList { name: Some(_) });
    let begun = Instant::now();
    let answer = Kernel::identified(home, identity)
        .call(call, Manner::plain())?
        .answer;
    Ok(report(&answer, is_one, begun))
}

fn hold(name: String, hold: AdapterHold) -> Call {
    Call::AdapterHold { name, hold }
}

/// Streams the weights into a blob, and has the kernel make it an adapter.
fn bring(home: &Home, import: AdapterImport, json: bool) -> Result<Report, Failure> {
    let begun = Instant::now();
    let (weights, config) = parts(&import.from, import.alpha)?;
    let name = match import.name {
        Some(name) => name,
        None => named_by(&import.from)?,
    };
    let mut kernel = Kernel::identified(home, import.request.id);
    let weights = blob::give_file(&mut kernel, &weights, !json)?;
    let call = Call::AdapterImport {
        name,
        weights,
        config,
        replaces: import.replace,
    };
    let answer = kernel.call(call, Manner::plain())?.answer;
    Ok(report(&answer, false, begun))
}

/// What an adapter is called that lies there: the last part of its path, of a file without its ending, in capitals.
fn named_by(from: &Path) -> Result<String, Failure> {
    let unnamed = || Failure::usage(format!("{} has no name of its own; give --name", from.display()));
    let last = match from.is_dir() {
        true => from.file_name(),
        false => from.file_stem().filter(|_| !from.ends_with(WEIGHTS)),
    };
    last.map(|name| name.to_string_lossy().to_uppercase())
        .ok_or_else(unnamed)
}

/// The file of weights, and the configuration's text; empty when the weights themselves must tell it.
fn parts(from: &Path, alpha: Option<f64>) -> Result<(PathBuf, String), Failure> {
    if !from.is_dir() {
        return Ok((from.to_path_buf(), alpha.map(only_alpha).unwrap_or_default()));
    }
    let (weights, config) = (from.join(WEIGHTS), from.join(CONFIG));
    if !weights.is_file() {
        let what = match from.join("adapter_model.bin").exists() {
            true => {
                "only adapter_model.bin, a pickle, which is a program; save it with safe_serialization=True"
                    .to_owned()
            }
            false => format!("no {WEIGHTS}, which PEFT's save_pretrained writes"),
        };
        return Err(Failure::usage(format!("{} holds {what}", from.display())));
    }
    let failed = |what: String| Failure::usage(format!("cannot read {}: {what}", config.display()));
    match fs::metadata(&config) {
        Ok(data) if data.len() > MAX_CONFIG_BYTES => Err(failed(format!(
            "it has {} bytes, {MAX_CONFIG_BYTES} at most",
            data.len()
        ))),
        Ok(_) => {
            let text = fs::read_to_string(&config).map_err(|error| failed(error.to_string()))?;
            Ok((weights, text))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok((weights, alpha.map(only_alpha).unwrap_or_default()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

fn only_alpha(alpha: f64) -> String {
    json!({ "lora_alpha": alpha }).to_string()
}

fn report(answer: &Answer, is_one: bool, begun: Instant) -> Report {
    let document = document::answer(answer, begun.elapsed().as_millis() as u64);
    let text = match answer {
        Answer::AdapterImported { adapter, transaction } => format!(
            "{} is generation {} of {}, made in transaction {transaction}\n{}",
            adapter.object,
            adapter.generation,
            adapter.name,
            details(adapter)
        ),
        Answer::Adapters { adapters, .. } if is_one => {
            let each = adapters
                .iter()
                .map(|adapter| format!("{}\n{}", line(adapter), details(adapter)));
            each.collect::<Vec<_>>().join("\n")
        }
        Answer::Adapters { adapters, manifest } => list(adapters, manifest.as_ref()),
        Answer::AdapterDropped { name, transaction } => {
            format!("the adapter {name} is gone since transaction {transaction}; a pack gives its room back")
        }
        Answer::AdapterHeld { name, hold } => match hold {
            AdapterHold::Stage => format!("{name} is loaded"),
            AdapterHold::Pin => format!("{name} is loaded and stays"),
            AdapterHold::Unpin => format!("{name} may give way again"),
        },
        _ => document.to_string(),
    };
    Report {
        document,
        text,
        exit: exit::ANSWERED,
    }
}

/// A line for each, and what memory is used for.
pub fn list(adapters: &[AdapterListing], manifest: Option<&Manifest>) -> String {
    if adapters.is_empty() {
        return "there is no adapter; `batos adapter import DIR --name NAME` brings one".into();
    }
    let mut lines: Vec<String> = adapters.iter().map(line).collect();
    lines.push(match manifest {
        Some(found) => format!(
            "memory: {} of {} in hot adapters, {} of {} in warm, {} for the model, {} for texts; {} in all",
            mib(found.hot_bytes),
            mib(found.hot_budget_bytes),
            mib(found.warm_bytes + found.loading_bytes),
            mib(found.warm_budget_bytes),
            mib(found.base_bytes),
            mib(found.cache_bytes),
            mib(found.used_bytes()),
        ),
        None => "no inference-worker answers, so nothing is loaded".into(),
    });
    lines.join("\n")
}

fn line(adapter: &AdapterListing) -> String {
    let worker = adapter.worker.as_ref();
    let place = tier(worker.map_or(Tier::Cold, |worker| worker.tier));
    let pinned = if worker.is_some_and(|worker| worker.is_pinned) {
        ", pinned"
    } else {
        ""
    };
    format!(
        "{}  generation {}  {place}{pinned}  {}  rank {}  used {} times, {} in flight",
        adapter.name,
        adapter.generation,
        mib(adapter.bytes),
        adapter.rank,
        worker.map_or(0, |worker| worker.uses),
        worker.map_or(0, |worker| worker.in_flight),
    )
}

fn details(adapter: &AdapterListing) -> String {
    format!(
        "    rank {}, alpha {}, for {}; {} in memory, {} on disk; checked against {}",
        adapter.rank,
        adapter.alpha,
        adapter.products.join(", "),
        mib(adapter.bytes),
        mib(adapter.weights.bytes),
        adapter.base
    )
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use shared::id::ObjectId;
    use shared::inference::AdapterView;
    use shared::value::BlobRef;

    use super::*;

    #[test]
    fn an_adapter_is_called_as_its_folder_or_file() {
        let here = tempfile::tempdir().unwrap();
        let folder = here.path().join("robin_2.1");
        fs::create_dir(&folder).unwrap();
        assert_eq!(named_by(&folder).unwrap(), "ROBIN_2.1");
        assert_eq!(named_by(Path::new("some/brick.safetensors")).unwrap(), "BRICK");
        for unnamed in [&folder.join(WEIGHTS), Path::new("..")] {
            assert!(named_by(unnamed).is_err(), "{}", unnamed.display());
        }
    }

    #[test]
    fn an_adapter_tells_where_it_is_and_what_it_takes() {
        let adapter = AdapterListing {
            object: ObjectId(40),
            name: "ROBIN".into(),
            generation: 2,
            weights: BlobRef {
                digest: [1; 32],
                bytes: 1 << 20,
            },
            rank: 8,
            alpha: 16.0,
            products: vec!["self_attn.q_proj".into()],
            base: "seed".into(),
            bytes: 3 << 19,
            worker: Some(AdapterView {
                name: "ROBIN".into(),
                generation: 2,
                tier: Tier::Hot,
                is_pinned: true,
                summary: None,
                uses: 7,
                in_flight: 1,
            }),
        };
        assert_eq!(
            line(&adapter),
            "ROBIN  generation 2  hot, pinned  1.5 MiB  rank 8  used 7 times, 1 in flight"
        );
        assert!(list(&[adapter], None).contains("no inference-worker"));
    }

    #[test]
    fn a_folder_without_weights_is_told_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let named = |wanted: &str| {
            let failure = parts(folder.path(), None).unwrap_err();
            assert!(failure.to_string().contains(wanted), "{failure}");
        };
        named("save_pretrained");
        fs::write(folder.path().join("adapter_model.bin"), "x").unwrap();
        named("pickle");
        fs::write(folder.path().join(WEIGHTS), "x").unwrap();
        assert_eq!(
            parts(folder.path(), Some(4.0)).unwrap().1,
            r#"{"lora_alpha":4.0}"#
        );
        fs::write(folder.path().join(CONFIG), vec![b' '; 1 << 17]).unwrap();
        named("at most");
    }
}
