//! The thread that loads adapters: one at a time, beside the decoding thread.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use shared::inference::{Adapter as Wanted, AdapterSummary, InferenceFault};

use super::file::AdapterFile;
use super::packed::Layout;
use super::store::{Store, Task};
use super::{Adapter, Base, Product};

/// Starts it. `wake` is called whenever something was loaded or could not be.
pub fn start(store: Arc<Store>, wake: impl Fn() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("adapters".into())
        .spawn(move || {
            loop {
                match store.next() {
                    Task::End => return,
                    Task::Drop(adapters) => drop_all(&store, adapters),
                    Task::Load { key, wanted, base } => {
                        let mut reserved = 0;
                        let loaded = load(&store, &wanted, &base, &mut reserved);
                        match &loaded {
                            Ok((_, summary)) => tracing::debug!(
                                name = wanted.name,
                                generation = wanted.generation,
                                bytes = summary.bytes,
                                ms = summary.load_ms,
                                "adapter loaded"
                            ),
                            Err(fault) => tracing::warn!(reason = fault.reason, "{}", fault.message),
                        }
                        store.loaded(&key, reserved, loaded);
                        wake();
                    }
                }
            }
        })?;
    Ok(())
}

fn drop_all(store: &Store, adapters: Vec<Arc<Adapter>>) {
    for adapter in adapters {
        let bytes = adapter.bytes();
        drop(adapter);
        store.dropped(bytes);
    }
}

/// Header first, then room, then the content's hash, then its numbers.
fn load(
    store: &Store,
    wanted: &Wanted,
    base: &Base,
    reserved: &mut u64,
) -> Result<(Adapter, AdapterSummary), InferenceFault> {
    let begun = Instant::now();
    let path = Path::new(&wanted.weights.path);
    let about = |reason: &str, what: String| {
        InferenceFault::new(
            reason,
            format!(
                "the adapter {} ({}) cannot be used: {what}",
                wanted.name,
                path.display()
            ),
        )
    };
    // What is wrong with it is so wherever it lies.
    let refused = |what: String| {
        InferenceFault::new(
            "adapter_refused",
            format!("the adapter {} cannot be used: {what}", wanted.name),
        )
    };
    let length = match fs::metadata(path) {
        Ok(data) if data.is_file() => data.len(),
        Ok(_) => return Err(about("adapter_missing", "it is no file".into())),
        Err(error) => return Err(about("adapter_missing", error.to_string())),
    };
    if length != wanted.weights.bytes {
        return Err(about(
            "adapter_damaged",
            format!("it has {length} bytes instead of {}", wanted.weights.bytes),
        ));
    }
    let file = AdapterFile::read(path, &wanted.config, base).map_err(refused)?;
    let layout = Layout::of(&file, base);
    let bytes = layout.bytes();
    drop(store.reserve(&wanted.name, bytes)?);
    *reserved = bytes;
    let mut hasher = blake3::Hasher::new();
    File::open(path)
        .and_then(|file| hasher.update_reader(file).map(|_| ()))
        .map_err(|error| about("adapter_damaged", error.to_string()))?;
    if *hasher.finalize().as_bytes() != wanted.weights.digest {
        return Err(about("adapter_damaged", "its content has another hash".into()));
    }
    let adapter = layout.pack().map_err(refused)?;
    let mut products: Vec<Product> = file.pairs.keys().map(|(_, product)| *product).collect();
    products.sort_unstable();
    products.dedup();
    let summary = AdapterSummary {
        rank: file.pairs.values().map(|pair| pair.rank).max().unwrap_or(0) as u32,
        alpha: file.alpha,
        products: products
            .into_iter()
            .map(|product| product.name().to_owned())
            .collect(),
        parameters: file
            .pairs
            .values()
            .map(|pair| pair.a.elements() + pair.b.elements())
            .sum(),
        bytes,
        base: base.name.clone(),
        load_ms: begun.elapsed().as_millis() as u64,
    };
    Ok((adapter, summary))
}
