//! An adapter's file of weights: which tensor is what, checked against the base before any number is read.

use std::collections::BTreeMap;
use std::path::Path;

use super::config::Config;
use super::{Base, Product};
use crate::checkpoint::safetensors;
use crate::checkpoint::stored::Stored;
use crate::kernel::low_rank::MAX_RANK;

const MAX_TENSORS: usize = 65_536;
/// In the file's metadata, where there is no file beside it.
const CONFIG_KEY: &str = "adapter_config";

/// Header and configuration of an adapter that fits the base.
pub struct AdapterFile {
    pub pairs: BTreeMap<(usize, Product), Pair>,
    /// Of the first pair.
    pub alpha: f32,
}

/// The two matrices of one product.
pub struct Pair {
    /// `[rank, columns]`
    pub a: Stored,
    /// `[rows, rank]`
    pub b: Stored,
    pub rank: usize,
    pub scale: f32,
}

/// What was found of a pair.
struct Halves {
    module: String,
    a: Option<Stored>,
    b: Option<Stored>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    A,
    B,
}

impl AdapterFile {
    /// Reads the header. `config` is the text beside the file; empty, it is looked for in the metadata.
    pub fn read(path: &Path, config: &str, base: &Base) -> Result<AdapterFile, String> {
        let (tensors, metadata) = safetensors::read_with_metadata(path)?;
        if tensors.len() > MAX_TENSORS {
            return Err(format!("it has {} tensors, {MAX_TENSORS} at most", tensors.len()));
        }
        let config = match (config.is_empty(), metadata.get(CONFIG_KEY)) {
            (false, _) => Config::read(config)?,
            (true, Some(config)) => Config::read(config)?,
            (true, None) => {
                return Err(format!(
                    "there is no adapter_config.json beside it and no {CONFIG_KEY} in its metadata; give --alpha"
                ));
            }
        };
        if let (Some(trained_on), Some(weights)) = (&config.trained_on, &base.weights)
            && trained_on != weights
        {
            return Err(format!(
                "it was trained on other weights of {} (SHA-256 {}…) than those that run here ({}…): it was made for another base",
                base.name,
                shown(&trained_on.chars().take(12).collect::<String>()),
                weights.chars().take(12).collect::<String>(),
            ));
        }
        let mut halves: BTreeMap<(usize, Product), Halves> = BTreeMap::new();
        // In order, so that the same file is always refused for the same tensor.
        for (name, stored) in tensors.into_iter().collect::<BTreeMap<_, _>>() {
            let place = place(&name, base)?;
            let found = halves
                .entry((place.layer, place.product))
                .or_insert_with(|| Halves {
                    module: place.module,
                    a: None,
                    b: None,
                });
            let half = match place.half {
                Half::A => &mut found.a,
                Half::B => &mut found.b,
            };
            if half.replace(stored).is_some() {
                return Err(format!("{} stands there twice", shown(&name)));
            }
        }
        if halves.is_empty() {
            return Err("it has no tensors".into());
        }
        let mut pairs = BTreeMap::new();
        let mut alpha = None;
        for ((layer, product), Halves { module, a, b }) in halves {
            let (Some(a), Some(b)) = (a, b) else {
                return Err(format!("{module} has only one of lora_A and lora_B"));
            };
            let rank = rank(&module, product, &a, &b, base)?;
            let scale = config.scale(&module, rank)?;
            alpha.get_or_insert(config.alpha(&module) as f32);
            pairs.insert((layer, product), Pair { a, b, rank, scale });
        }
        Ok(AdapterFile {
            pairs,
            alpha: alpha.unwrap_or_default(),
        })
    }
}

fn rank(module: &str, product: Product, a: &Stored, b: &Stored, base: &Base) -> Result<usize, String> {
    let (rows, columns) = product.size(&base.shape);
    match (&a.shape[..], &b.shape[..]) {
        ([rank, a_columns], [b_rows, b_rank]) if rank == b_rank && (1..=MAX_RANK).contains(rank) => {
            if (*b_rows, *a_columns) != (rows, columns) {
                return Err(format!(
                    "{module} changes weights of {b_rows} × {a_columns}, those of {} have {rows} × {columns}: it was made for another base",
                    base.name
                ));
            }
            Ok(*rank)
        }
        (a, b) => Err(format!(
            "{module} has lora_A of {a:?} and lora_B of {b:?}; they must be [r, in] and [out, r] with r from 1 to {MAX_RANK}"
        )),
    }
}

struct Place {
    layer: usize,
    product: Product,
    half: Half,
    /// The module's name in the base.
    module: String,
}

/// What a tensor is, by its name; or why it cannot be followed.
fn place(name: &str, base: &Base) -> Result<Place, String> {
    let refuse = |why: &str| Err(format!("it has the tensor {}: {why}", shown(name)));
    let plain = name.strip_prefix("base_model.model.").unwrap_or(name);
    if plain.contains("lora_magnitude_vector") {
        return refuse("DoRA also scales the base's own weights");
    }
    if plain.contains("lora_embedding_") || plain.contains("embed_tokens") {
        return refuse("it changes the embedding of the base");
    }
    if plain.contains("modules_to_save") {
        return refuse("it replaces a whole module of the base");
    }
    if plain.ends_with(".bias") {
        return refuse("it is a bias; a Llama model has none");
    }
    if plain.starts_with("lm_head") {
        return refuse("it changes the output layer, which lies outside of the base's layers");
    }
    let split = [(".lora_A.", Half::A), (".lora_B.", Half::B)]
        .into_iter()
        .find_map(|(word, half)| Some((plain.split_once(word)?, half)));
    let Some(((module, rest), half)) = split else {
        return refuse("only lora_A and lora_B of a layer's products are known");
    };
    if rest != "weight" && rest != "default.weight" {
        return refuse("it must end with lora_A.weight or lora_B.weight");
    }
    let in_layers = module
        .strip_prefix("model.")
        .unwrap_or(module)
        .strip_prefix("layers.");
    let parts = in_layers.and_then(|rest| rest.split_once('.'));
    let found = parts.and_then(|(layer, rest)| {
        let product = Product::ALL.into_iter().find(|product| product.name() == rest)?;
        let is_plain = layer == "0" || !layer.starts_with(['0', '+']);
        Some((layer.parse::<usize>().ok().filter(|_| is_plain)?, product))
    });
    match found {
        None => refuse("a Llama layer has no such product"),
        Some((layer, _)) if layer >= base.shape.layers => refuse(&format!(
            "{} has the layers 0 to {}: it was made for another base",
            base.name,
            base.shape.layers - 1
        )),
        Some((layer, product)) => Ok(Place {
            layer,
            product,
            half,
            module: module.to_owned(),
        }),
    }
}

fn shown(name: &str) -> String {
    name.chars().take(120).collect()
}
