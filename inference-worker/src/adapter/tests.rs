//! What is refused, and what tiers, budgets and leases come to.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shared::inference::{
    Adapter as Wanted, AdapterAnswer, AdapterRequest, AdapterView, Contents, Hold, Tier,
};

use super::store::{Attempt, Budgets, Found, Lease, Store};
use std::sync::Arc;

use super::*;
use crate::checkpoint::{self, Weights};
use crate::crew::Crew;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn base(name: &str) -> Base {
    let loaded = checkpoint::load(
        &fixtures().join(name),
        None,
        Weights::AsStored,
        Crew::new(1).unwrap(),
    );
    Base::of(name, &loaded.unwrap_or_else(|fault| panic!("{fault}")).model)
}

/// Why it is refused.
fn refusal(weights: &Path, config: &str, base: &Base) -> String {
    open(weights, config, base).unwrap_err()
}

#[test]
fn what_peft_makes_and_cannot_be_followed_is_refused_with_the_reason() {
    let base = base("llama2");
    for (name, named) in [
        ("dora", "DoRA"),
        ("bias", "bias"),
        ("saved", "whole module"),
        ("head", "output layer"),
        ("embedding", "embedding"),
        ("pissa", "pissa"),
        ("tokens", "embedding"),
    ] {
        let folder = fixtures().join("adapters/refused").join(name);
        let config = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
        let error = refusal(&folder.join("adapter_model.safetensors"), &config, &base);
        assert!(error.contains(named), "{name}: {error}");
        // The tensors alone tell it as well, but for how a training began.
        if name != "pissa" {
            let plain = r#"{"r":2,"lora_alpha":2}"#;
            let error = refusal(&folder.join("adapter_model.safetensors"), plain, &base);
            assert!(error.contains("it has the tensor"), "{name}: {error}");
        }
    }
}

#[test]
fn an_adapter_of_another_base_is_refused() {
    let folder = fixtures().join("adapters/llama3-all");
    let config = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
    let error = refusal(
        &folder.join("adapter_model.safetensors"),
        &config,
        &base("llama2"),
    );
    assert!(error.contains("another base"), "{error}");
    // Of more layers.
    let error = refusal(
        &folder.join("adapter_model.safetensors"),
        &config,
        &base("blocks"),
    );
    assert!(error.contains("another base"), "{error}");
}

/// The same shape, and other numbers in it: nothing but the digest tells it.
#[test]
fn an_adapter_of_other_weights_is_refused() {
    let weights = fixtures().join("adapters/llama2-all/adapter_model.safetensors");
    let config = fixtures().join("adapters/llama2-all/adapter_config.json");
    let mut config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(config).unwrap()).unwrap();
    let (own, other) = ("ab".repeat(32), "cd".repeat(32));
    let mut base = base("llama2");
    base.weights = Some(own.clone());
    config["revision"] = format!("sha256:{other}").into();
    let error = refusal(&weights, &config.to_string(), &base);
    assert!(
        error.contains("other weights") && error.contains("cdcdcdcdcdcd…"),
        "{error}"
    );
    // A branch of a repository is no digest, and a model without a card cannot be compared.
    for (revision, told) in [
        (format!("sha256:{}", own.to_uppercase()), Some(own.clone())),
        ("main".to_owned(), Some(own.clone())),
        (format!("sha256:{other}"), None),
    ] {
        config["revision"] = revision.into();
        base.weights = told;
        open(&weights, &config.to_string(), &base).unwrap();
    }
}

/// A safetensors file of one pair for layer 0 of `llama2`, with something changed.
fn write(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, shape, values) in tensors {
        let from = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header.insert(
            (*name).to_owned(),
            serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [from, data.len()] }),
        );
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

const A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
const CONFIG: &str = r#"{"r":2,"lora_alpha":4}"#;

#[test]
fn hostile_files_are_refused() {
    let base = base("llama2");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let (a, b) = ([0.5_f32; 96], [0.25_f32; 96]);
    write(&path, &[(A, &[2, 48], &a), (B, &[48, 2], &b)]);
    open(&path, CONFIG, &base).unwrap();
    let refused = |named: &str, config: &str| {
        let error = refusal(&path, config, &base);
        assert!(error.contains(named), "{named}: {error}");
    };
    refused("the configuration says 3", r#"{"r":3,"lora_alpha":4}"#);
    refused("give --alpha", "");
    for at in [0, 95] {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut broken = a;
            broken[at] = bad;
            write(&path, &[(A, &[2, 48], &broken), (B, &[48, 2], &b)]);
            refused("not finite", CONFIG);
            write(&path, &[(A, &[2, 48], &a), (B, &[48, 2], &broken)]);
            refused("not finite", CONFIG);
        }
    }
    // Finite, but not once it is multiplied.
    write(&path, &[(A, &[2, 48], &a), (B, &[48, 2], &[3e38; 96])]);
    refused("not finite", r#"{"r":2,"lora_alpha":1000}"#);
    write(&path, &[(A, &[2, 48], &a)]);
    refused("only one of", CONFIG);
    write(&path, &[(A, &[96], &a), (B, &[48, 2], &b)]);
    refused("they must be", CONFIG);
    write(&path, &[(A, &[2, 48], &a), (B, &[96, 1], &b)]);
    refused("they must be", CONFIG);
    write(
        &path,
        &[(A, &[2, 48], &a), (B, &[48, 2], &b), ("evil", &[0], &[])],
    );
    refused("it has the tensor evil", CONFIG);
    write(&path, &[]);
    refused("no tensors", CONFIG);
    let beyond = [A, B].map(|name| name.replace("layers.0", "layers.18446744073709551616"));
    write(&path, &[(&beyond[0], &[2, 48], &a), (&beyond[1], &[48, 2], &b)]);
    refused("no such product", CONFIG);
    let beyond = [A, B].map(|name| name.replace("layers.0", "layers.2"));
    write(&path, &[(&beyond[0], &[2, 48], &a), (&beyond[1], &[48, 2], &b)]);
    refused("layers 0 to 1", CONFIG);
    // A rank that nothing needs, without the memory for it.
    write(&path, &[(A, &[513, 0], &[]), (B, &[0, 513], &[])]);
    refused("r from 1 to 512", r#"{"lora_alpha":4}"#);
    // A header that claims more than there is, and one that is larger than any.
    let whole = std::fs::read(fixtures().join("adapters/llama2-all/adapter_model.safetensors")).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused("truncated", CONFIG);
    for claimed in [whole.len() as u64, 1 << 40, u64::MAX] {
        let mut giant = whole.clone();
        giant[..8].copy_from_slice(&claimed.to_le_bytes());
        std::fs::write(&path, giant).unwrap();
        refused("header claims", CONFIG);
    }
    std::fs::write(&path, []).unwrap();
    refused("too short", CONFIG);
}

/// Whatever stands in header, configuration or numbers: it is opened or refused with a sentence, and nothing panics.
#[test]
fn no_damage_is_more_than_a_refusal() {
    let base = base("llama3");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let found = fixtures().join("adapters/llama3-patterns");
    let weights = std::fs::read(found.join("adapter_model.safetensors")).unwrap();
    let config = std::fs::read(found.join("adapter_config.json")).unwrap();
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let mut random = StdRng::seed_from_u64(5);
    let damage = |bytes: &mut Vec<u8>, within: usize, random: &mut StdRng| {
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..within);
            match random.random_range(0..4) {
                0 => bytes[at] = random.random(),
                1 => bytes[at] = *b"0123456789[]{}\",:-.".get(random.random_range(0..19)).unwrap(),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[random.random_range(0..within)]),
            }
        }
    };
    let (mut opened, mut refused) = (0, 0);
    for round in 0..1500 {
        let (mut weights, mut config) = (weights.clone(), config.clone());
        match round % 3 {
            0 => damage(&mut weights, header, &mut random),
            1 => {
                let within = config.len();
                damage(&mut config, within, &mut random);
            }
            _ => weights.truncate(random.random_range(0..weights.len())),
        }
        std::fs::write(&path, &weights).unwrap();
        match open(&path, &String::from_utf8_lossy(&config), &base) {
            Ok(adapter) => opened += usize::from(adapter.bytes() > 0),
            Err(what) => refused += usize::from(what.len() > 8),
        }
    }
    assert_eq!(opened + refused, 1500);
    // Both ways were tried.
    assert!(opened > 50 && refused > 500, "{opened} {refused}");
}

/// A store with its loader for `llama3`, and the bytes that `llama3-all` takes.
fn store(warm: u64, hot: u64) -> (Arc<Store>, u64) {
    let base = base("llama3");
    let wanted = wanted("any", 1);
    let bytes = open(Path::new(&wanted.weights.path), &wanted.config, &base)
        .unwrap()
        .bytes();
    let store = Store::new(Budgets {
        warm_bytes: warm * bytes,
        hot_bytes: hot * bytes,
    });
    store.set_base(Ok(base));
    loader::start(store.clone(), || {}).unwrap();
    (store, bytes)
}

fn wanted(name: &str, generation: u64) -> Wanted {
    let found = folder::adapter(&fixtures().join("adapters/llama3-all"), None).unwrap();
    Wanted {
        name: name.into(),
        generation,
        ..found
    }
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it never came to that");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn lease(store: &Arc<Store>, name: &str) -> Lease {
    let mut attempt = Attempt::First;
    until(|| {
        let found = store.lease(&wanted(name, 1), attempt);
        attempt = Attempt::Again;
        match found {
            Found::Ready(lease) => Some(lease),
            Found::Later => None,
            Found::Refused(fault) => panic!("{fault}"),
        }
    })
}

fn ask(store: &Arc<Store>, ask: AdapterRequest) -> Result<AdapterAnswer, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime
        .block_on(store.clone().answer(ask))
        .map_err(|fault| fault.reason)
}

fn list(store: &Arc<Store>) -> Vec<AdapterView> {
    match ask(store, AdapterRequest::List) {
        Ok(AdapterAnswer::Listed { adapters, .. }) => adapters,
        other => panic!("{other:?}"),
    }
}

fn tiers(store: &Arc<Store>) -> Vec<(String, Tier)> {
    list(store)
        .into_iter()
        .map(|view| (view.name, view.tier))
        .collect()
}

fn named(tiers: &[(&str, Tier)]) -> Vec<(String, Tier)> {
    tiers
        .iter()
        .map(|(name, tier)| ((*name).to_owned(), *tier))
        .collect()
}

#[test]
fn budgets_hold_and_those_used_longest_ago_give_way() {
    let (store, bytes) = store(2, 1);
    for name in ["a", "b", "c"] {
        lease(&store, name);
    }
    assert_eq!(
        tiers(&store),
        named(&[("a", Tier::Warm), ("b", Tier::Warm), ("c", Tier::Hot)])
    );
    // A is used again, so that b is the oldest when d comes.
    lease(&store, "a");
    lease(&store, "d");
    let found = tiers(&store);
    assert_eq!(found[1], ("b".into(), Tier::Cold), "{found:?}");
    let manifest = store.manifest();
    assert_eq!((manifest.hot_bytes, manifest.loading_bytes), (bytes, 0));
    until(|| (store.manifest().warm_bytes <= 2 * bytes).then_some(()));
    let uses: Vec<u64> = list(&store).iter().map(|view| view.uses).collect();
    assert_eq!(uses, [2, 1, 1, 1]);
}

#[test]
fn what_is_in_use_or_pinned_stays_and_others_wait_for_it() {
    let (store, _) = store(4, 1);
    let first = lease(&store, "a");
    let second = wanted("b", 1);
    assert!(matches!(store.lease(&second, Attempt::First), Found::Later));
    until(|| (tiers(&store)[1].1 == Tier::Warm).then_some(()));
    assert!(matches!(store.lease(&second, Attempt::Again), Found::Later));
    assert_eq!(list(&store)[0].in_flight, 1);
    drop(first);
    assert!(matches!(store.lease(&second, Attempt::Again), Found::Ready(_)));
    let pin = AdapterRequest::Stage {
        adapter: wanted("c", 1),
        hold: Hold::Pinned,
    };
    assert!(
        matches!(ask(&store, pin), Ok(AdapterAnswer::Staged(view)) if view.is_pinned && view.tier == Tier::Hot)
    );
    assert!(matches!(store.lease(&second, Attempt::Again), Found::Later));
    // Where all room is pinned, a second one cannot be.
    let pin = AdapterRequest::Stage {
        adapter: wanted("b", 1),
        hold: Hold::Pinned,
    };
    assert_eq!(ask(&store, pin), Err("busy".into()));
    let unpin = AdapterRequest::Unpin {
        name: "c".into(),
        generation: 1,
    };
    assert_eq!(ask(&store, unpin), Ok(AdapterAnswer::Unpinned));
    assert!(matches!(store.lease(&second, Attempt::Again), Found::Ready(_)));
}

#[test]
fn a_generation_never_changes_and_a_new_one_leaves_leases_as_they_are() {
    let (store, _) = store(4, 4);
    let old = lease(&store, "a");
    let other = Wanted {
        config: wanted("a", 1).config.replace("12", "13"),
        ..wanted("a", 1)
    };
    match store.lease(&other, Attempt::First) {
        Found::Refused(fault) => assert_eq!(fault.reason, "adapter_conflict"),
        _ => panic!("another content passed for the same generation"),
    }
    let new = Wanted {
        generation: 2,
        ..other
    };
    let new = until(|| match store.lease(&new, Attempt::Again) {
        Found::Ready(lease) => Some(lease),
        _ => None,
    });
    // Their prompts are not shared.
    assert_ne!(old.root, new.root);
    assert_eq!(lease(&store, "a").root, old.root);
    assert_eq!(list(&store).len(), 2);
    let forget = AdapterRequest::Forget {
        name: "a".into(),
        generation: None,
    };
    assert_eq!(ask(&store, forget), Ok(AdapterAnswer::Forgotten(2)));
    assert_eq!(list(&store).len(), 2, "leases were cut off");
    drop((old, new));
    assert!(list(&store).is_empty());
    until(|| (store.manifest().warm_bytes + store.manifest().hot_bytes == 0).then_some(()));
}

#[test]
fn what_cannot_be_loaded_is_told_and_tried_again_when_it_is_asked_for_anew() {
    let (store, _) = store(4, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let good = wanted("a", 1);
    let here = Wanted {
        weights: Contents {
            path: path.display().to_string(),
            ..good.weights.clone()
        },
        ..good.clone()
    };
    let stage = |adapter: &Wanted| {
        let adapter = adapter.clone();
        ask(
            &store,
            AdapterRequest::Stage {
                adapter,
                hold: Hold::Warm,
            },
        )
        .map(|_| ())
    };
    assert_eq!(stage(&here), Err("adapter_missing".into()));
    let bytes = std::fs::read(&good.weights.path).unwrap();
    std::fs::write(&path, &bytes[1..]).unwrap();
    assert_eq!(stage(&here), Err("adapter_damaged".into()));
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    assert_eq!(stage(&here), Err("adapter_damaged".into()));
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(stage(&here), Ok(()));
    let refused = Wanted {
        name: "b".into(),
        config: "{}".into(),
        ..good.clone()
    };
    assert_eq!(stage(&refused), Err("adapter_refused".into()));
    // Larger than its budget: refused before memory is taken.
    let other = wanted("c", 1);
    let small = Store::new(Budgets {
        warm_bytes: 1 << 30,
        hot_bytes: 4096,
    });
    small.set_base(Ok(base("llama3")));
    loader::start(small.clone(), || {}).unwrap();
    let too_large = AdapterRequest::Stage {
        adapter: other,
        hold: Hold::Warm,
    };
    assert_eq!(ask(&small, too_large), Err("adapter_too_large".into()));
    assert_eq!(small.manifest().loading_bytes, 0);
}

#[test]
fn however_many_ask_at_once_it_is_loaded_once() {
    let (store, _) = store(8, 8);
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            std::thread::spawn(move || lease(&store, "a"))
        })
        .collect();
    let leases: Vec<Lease> = asking.into_iter().map(|asking| asking.join().unwrap()).collect();
    assert!(
        leases
            .iter()
            .all(|lease| std::ptr::eq::<Adapter>(&**lease, &*leases[0]))
    );
    assert_eq!(list(&store)[0].in_flight, 8);
    assert_eq!(list(&store)[0].uses, 8);
}
