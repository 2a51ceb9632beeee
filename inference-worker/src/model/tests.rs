//! Logits against those that `transformers` computed (tests/fixtures/make.py), however the tokens are batched.

use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};

use super::cache::{Cache, POSITIONS};
use super::matrix::{Matrix, Rows};
use super::{Llama, Row, Scratch};
use crate::adapter::Adapter;
use crate::checkpoint::{self, Checkpoint, Weights};
use crate::crew::Crew;
use crate::expected::{expected, fixture, largest_difference, rows};
use crate::kernel::Level;
use crate::kernel::tile::Format;

mod adapted;

fn checkpoint_of(name: &str) -> PathBuf {
    match name {
        "seed" => Path::new(env!("CARGO_MANIFEST_DIR")).join("seed/model"),
        name => fixture(name),
    }
}

fn load(path: &Path, weights: Weights, threads: usize) -> Checkpoint {
    match checkpoint::load(path, None, weights, Crew::new(threads).unwrap()) {
        Ok(checkpoint) => checkpoint,
        Err(fault) => panic!("{fault}"),
    }
}

/// Logits after each token, the tokens given in stretches of these lengths, the last one as often as needed.
fn logits(model: &Llama, tokens: &[u32], stretches: &[usize]) -> Vec<Vec<f32>> {
    logits_with(model, None, tokens, stretches)
}

fn logits_with(
    model: &Llama,
    adapter: Option<&Adapter>,
    tokens: &[u32],
    stretches: &[usize],
) -> Vec<Vec<f32>> {
    let blocks: Vec<u32> = (0..tokens.len().div_ceil(POSITIONS) as u32).rev().collect();
    let mut cache = Cache::new(model.cache_shape(), blocks.len());
    let mut scratch = Scratch::default();
    let mut found = Vec::new();
    let mut stretches = stretches
        .iter()
        .copied()
        .chain(std::iter::repeat(stretches[stretches.len() - 1]));
    while found.len() < tokens.len() {
        let from = found.len();
        let to = tokens.len().min(from + stretches.next().unwrap());
        let rows: Vec<Row<'_>> = rows(tokens, from..to, &blocks, adapter).collect();
        let logits = model.forward(&rows, &mut cache, &mut scratch);
        found.extend(logits.chunks(model.shape.vocabulary).map(<[f32]>::to_vec));
    }
    found
}

/// Mean Kullback-Leibler divergence of `b` from `a`, in nats.
fn divergence(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let log_softmax = |logits: &[f32]| {
        let most = logits.iter().copied().fold(f32::MIN, f32::max);
        let total: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
        logits
            .iter()
            .map(|logit| f64::from(logit - most) - total.ln())
            .collect::<Vec<f64>>()
    };
    let each = a.iter().zip(b).map(|(a, b)| {
        let (a, b) = (log_softmax(a), log_softmax(b));
        a.iter().zip(b).map(|(a, b)| a.exp() * (a - b)).sum::<f64>()
    });
    each.sum::<f64>() / a.len() as f64
}

#[test]
fn plain_weights_give_the_logits_of_transformers() {
    for name in ["llama3", "llama2", "heads", "blocks", "seed"] {
        let (tokens, wanted) = expected(name);
        for level in Level::every() {
            let mut checkpoint = load(&checkpoint_of(name), Weights::AsStored, 2);
            checkpoint.model.level = level;
            let found = logits(&checkpoint.model, &tokens, &[tokens.len()]);
            let difference = largest_difference(&found, &wanted);
            assert!(difference <= 1e-3, "{name} on {}: {difference}", level.name());
        }
    }
}

#[test]
fn quantised_weights_stay_near() {
    // `blocks` has Q4_K and Q6_K; the sizes of the others are no multiples of 256, and some are none of 32.
    for name in ["blocks", "llama3", "llama2", "heads", "seed"] {
        let (tokens, wanted) = expected(name);
        for weights in [Weights::Q8_0, Weights::Q4K] {
            for level in Level::every() {
                let mut checkpoint = load(&checkpoint_of(name), weights, 2);
                checkpoint.model.level = level;
                let divergence = divergence(&wanted, &logits(&checkpoint.model, &tokens, &[tokens.len()]));
                // Six million well-trained parameters do not bear four bits; what is lost is the format's, see below.
                let most = if (name, weights) == ("seed", Weights::Q4K) {
                    0.15
                } else {
                    1e-2
                };
                assert!(
                    divergence <= most,
                    "{name} {weights:?} on {}: {divergence}",
                    level.name()
                );
            }
        }
    }
}

#[test]
fn what_four_bits_lose_is_lost_by_the_format_and_not_by_the_arithmetic() {
    let (tokens, _) = expected("seed");
    let quantised = load(&checkpoint_of("seed"), Weights::Q4K, 2).model;
    let found = logits(&quantised, &tokens, &[tokens.len()]);
    // The same values as plain numbers.
    let mut plain = load(&checkpoint_of("seed"), Weights::AsStored, 2).model;
    let plain_of = |matrix: &Matrix| Matrix::pack(&quantised.crew, &Unpacked(matrix), Format::F32).unwrap();
    plain.embed_tokens = plain_of(&quantised.embed_tokens);
    plain.lm_head = quantised.lm_head.as_ref().map(plain_of);
    for (plain, quantised) in plain.layers.iter_mut().zip(&quantised.layers) {
        for (plain, quantised) in [
            (&mut plain.q_proj, &quantised.q_proj),
            (&mut plain.k_proj, &quantised.k_proj),
            (&mut plain.v_proj, &quantised.v_proj),
            (&mut plain.o_proj, &quantised.o_proj),
            (&mut plain.gate_proj, &quantised.gate_proj),
            (&mut plain.up_proj, &quantised.up_proj),
            (&mut plain.down_proj, &quantised.down_proj),
        ] {
            assert_eq!(quantised.format(), Format::Q4K);
            *plain = plain_of(quantised);
        }
    }
    let divergence = divergence(&logits(&plain, &tokens, &[tokens.len()]), &found);
    assert!(divergence <= 1e-2, "{divergence}");
}

/// A matrix's rows as plain numbers.
struct Unpacked<'a>(&'a Matrix);

impl Rows for Unpacked<'_> {
    fn kind(&self) -> GgmlDType {
        GgmlDType::F32
    }
    fn rows(&self) -> usize {
        self.0.rows()
    }
    fn columns(&self) -> usize {
        self.0.columns()
    }
    fn read(&self, row: usize, into: &mut [u8]) -> Result<(), String> {
        let mut plain = vec![0.0; self.0.columns()];
        self.0.row(row, &mut plain);
        for (bytes, value) in into.as_chunks_mut().0.iter_mut().zip(plain) {
            *bytes = f32::to_le_bytes(value);
        }
        Ok(())
    }
}

/// candle's own Llama with the seed model.
struct Theirs {
    model: candle_transformers::models::llama::Llama,
    config: candle_transformers::models::llama::Config,
}

impl Theirs {
    fn load() -> Theirs {
        use candle_transformers::models::llama::{Llama, LlamaConfig};
        let folder = checkpoint_of("seed");
        let config: LlamaConfig =
            serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
        let config = config.into_config(false);
        let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
        let variables =
            candle_nn::VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu).unwrap();
        Theirs {
            model: Llama::load(variables, &config).unwrap(),
            config,
        }
    }

    /// Logits after the last of these tokens, with `text` more chosen greedily; answers those tokens, too.
    fn run(&self, prompt: &[u32], text: usize) -> (Vec<u32>, Vec<f32>) {
        use candle_transformers::models::llama::Cache;
        let mut cache = Cache::new(true, DType::F32, &self.config, &Device::Cpu).unwrap();
        let (mut tokens, mut position) = (prompt.to_vec(), 0);
        loop {
            let input = Tensor::new(&tokens[position..], &Device::Cpu)
                .unwrap()
                .unsqueeze(0)
                .unwrap();
            let logits = self.model.forward(&input, position, &mut cache).unwrap();
            let logits: Vec<f32> = logits.squeeze(0).unwrap().to_vec1().unwrap();
            if tokens.len() == prompt.len() + text {
                return (tokens[prompt.len()..].to_vec(), logits);
            }
            position = tokens.len();
            tokens.push(largest(&logits));
        }
    }
}

fn largest(logits: &[f32]) -> u32 {
    let best = (0..logits.len())
        .rev()
        .max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    best.unwrap() as u32
}

#[test]
fn another_implementation_says_the_same_over_a_long_text() {
    let tokens: Vec<u32> = (0..600_u32).map(|at| at * at * 31 % 2048).collect();
    let (_, wanted) = Theirs::load().run(&tokens, 0);
    let ours = load(&checkpoint_of("seed"), Weights::AsStored, 2);
    let found = logits(&ours.model, &tokens, &[256, 300, 1]);
    let difference = largest_difference(&found[599..], &[wanted]);
    assert!(difference <= 2e-3, "{difference}");
}

/// The worker ran on candle's Llama at first: what the seed model wrote then, it writes now, token by token.
#[test]
fn the_seed_model_writes_what_it_wrote_before() {
    let theirs = Theirs::load();
    let ours = load(&checkpoint_of("seed"), Weights::AsStored, 2);
    let slots = "title:text total:int price:float open:bool words:list[text] pages:map[int]";
    let messages = [
        "add_to_total(int)",
        "increment_total()",
        "toggle_open()",
        "describe()",
        "is_open()",
        "set_title(text)",
        "count_words()",
        "longest_word()",
        "double_price()",
        "display_yourself()",
        "reset_total()",
        "has_word(text)",
        "sum_of_pages()",
        "append_word(text)",
        "fly_to_the_moon()",
    ];
    for message in messages {
        let prompt = format!(
            "<|covenant|>state lives in slots; a change ends with self._p_changed = True\n<|receiver|>#12\n\
             <|slots|>{slots}\n<|parents|>traits\n<|message|>{message}\n<|method|>"
        );
        let prompt = ours.tokenizer.encode(prompt, false).unwrap().get_ids().to_vec();
        let (text, _) = theirs.run(&prompt, 48);
        let all: Vec<u32> = prompt.iter().chain(&text).copied().collect();
        let found = logits(&ours.model, &all, &[prompt.len(), 1]);
        let chosen: Vec<u32> = found[prompt.len() - 1..]
            .iter()
            .map(|logits| largest(logits))
            .collect();
        assert_eq!(chosen[..text.len()], text, "{message}");
    }
}

#[test]
fn however_tokens_are_batched_the_logits_are_the_same_bits() {
    for (name, weights) in [
        ("llama3", Weights::AsStored),
        ("heads", Weights::AsStored),
        ("seed", Weights::Q8_0),
        ("seed", Weights::Q4K),
    ] {
        let (tokens, _) = expected(name);
        let checkpoint = load(&checkpoint_of(name), weights, 3);
        let at_once = logits(&checkpoint.model, &tokens, &[tokens.len()]);
        for stretches in [&[1][..], &[20, 3, 1], &[33, 64]] {
            assert_eq!(
                logits(&checkpoint.model, &tokens, stretches),
                at_once,
                "{name} {weights:?} {stretches:?}"
            );
        }
    }
}

#[test]
fn sequences_in_one_batch_do_not_see_each_other() {
    let (tokens, _) = expected("llama3");
    let model = &load(&checkpoint_of("llama3"), Weights::AsStored, 2).model;
    let other: Vec<u32> = tokens.iter().rev().copied().collect();
    let alone = [logits(model, &tokens, &[1]), logits(model, &other, &[1])];
    let tables: [Vec<u32>; 2] = [vec![5, 0, 3], vec![1, 4, 2]];
    let mut cache = Cache::new(model.cache_shape(), 6);
    let mut scratch = Scratch::default();
    for step in 0..30 {
        // The first gives two tokens a time, the second one, and its logits are not always wanted.
        let row = |sequence: usize, position: usize, is_wanted| Row {
            token: [&tokens, &other][sequence][position],
            position,
            blocks: &tables[sequence],
            is_wanted,
            adapter: None,
        };
        let rows = [
            row(0, 2 * step, false),
            row(0, 2 * step + 1, true),
            row(1, step, step % 3 == 0),
        ];
        let found = model.forward(&rows, &mut cache, &mut scratch);
        assert_eq!(found[..96], alone[0][2 * step + 1]);
        if step % 3 == 0 {
            assert_eq!(found[96..], alone[1][step]);
        }
    }
}

/// Writes a fixture's checkpoint as GGUF: query and key rows in pairs, rope divisors, a SentencePiece tokenizer.
fn write_gguf(name: &str, path: &Path, kind: GgmlDType) {
    let folder = checkpoint_of(name);
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let whole = |key: &str| config[key].as_u64().unwrap() as u32;
    let heads = whole("num_attention_heads");
    let dimension = config["head_dim"]
        .as_u64()
        .map_or(whole("hidden_size") / heads, |size| size as u32);
    let tensors = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap();
    let mut named: Vec<(String, QTensor)> = Vec::new();
    for (name, tensor) in &tensors {
        let mut tensor = tensor.to_dtype(DType::F32).unwrap();
        if name.contains("q_proj") || name.contains("k_proj") {
            let (rows, columns) = tensor.dims2().unwrap();
            let pairs = dimension as usize / 2;
            tensor = tensor
                .reshape((rows / pairs / 2, 2, pairs, columns))
                .unwrap()
                .transpose(1, 2)
                .unwrap()
                .contiguous()
                .unwrap()
                .reshape((rows, columns))
                .unwrap();
        }
        let mut theirs = name.replace("model.layers.", "blk.");
        for (ours, gguf) in [
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ] {
            theirs = theirs.replace(ours, gguf);
        }
        let kind = if tensor.rank() == 1 { GgmlDType::F32 } else { kind };
        named.push((theirs, QTensor::quantize(&tensor, kind).unwrap()));
    }
    if name == "llama3" {
        let plain = super::rope::speeds(dimension as usize, 500_000.0, &super::rope::Scaling::None);
        let scaled = &load(&folder, Weights::AsStored, 1).model.rope_speeds;
        let divisors: Vec<f32> = plain
            .iter()
            .zip(scaled)
            .map(|(plain, scaled)| plain / scaled)
            .collect();
        let divisors = Tensor::new(divisors, &Device::Cpu).unwrap();
        named.push((
            "rope_freqs.weight".into(),
            QTensor::quantize(&divisors, GgmlDType::F32).unwrap(),
        ));
    }
    let theta = config["rope_parameters"]["rope_theta"]
        .as_f64()
        .unwrap_or(10_000.0);
    let words = (0..whole("vocab_size")).map(|id| Value::String(format!("w{id}")));
    let metadata: Vec<(&str, Value)> = vec![
        ("general.architecture", Value::String("llama".into())),
        ("llama.embedding_length", Value::U32(whole("hidden_size"))),
        (
            "llama.feed_forward_length",
            Value::U32(whole("intermediate_size")),
        ),
        ("llama.block_count", Value::U32(whole("num_hidden_layers"))),
        ("llama.attention.head_count", Value::U32(heads)),
        (
            "llama.attention.head_count_kv",
            Value::U32(whole("num_key_value_heads")),
        ),
        ("llama.attention.key_length", Value::U32(dimension)),
        (
            "llama.attention.layer_norm_rms_epsilon",
            Value::F32(config["rms_norm_eps"].as_f64().unwrap() as f32),
        ),
        (
            "llama.context_length",
            Value::U32(whole("max_position_embeddings")),
        ),
        ("llama.rope.freq_base", Value::F32(theta as f32)),
        ("tokenizer.ggml.model", Value::String("llama".into())),
        ("tokenizer.ggml.tokens", Value::Array(words.collect())),
        (
            "tokenizer.ggml.scores",
            Value::Array(vec![Value::F32(0.0); whole("vocab_size") as usize]),
        ),
        (
            "tokenizer.ggml.token_type",
            Value::Array(vec![Value::I32(1); whole("vocab_size") as usize]),
        ),
        ("tokenizer.ggml.eos_token_id", Value::U32(2)),
    ];
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let named: Vec<(&str, &QTensor)> = named
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    gguf_file::write(&mut std::fs::File::create(path).unwrap(), &metadata, &named).unwrap();
}

#[test]
fn a_gguf_file_that_a_hash_names_must_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    write_gguf("llama3", &path, GgmlDType::F32);
    let hash = blake3::hash(&std::fs::read(&path).unwrap());
    let load =
        |path: &Path, hash| checkpoint::load(path, Some(hash), Weights::AsStored, Crew::new(2).unwrap());
    assert!(load(&path, hash).is_ok());
    for (path, hash) in [(&*path, blake3::hash(b"another")), (&fixture("llama3"), hash)] {
        let fault = load(path, hash).err().unwrap();
        assert!(fault.message.contains("hash"), "{fault}");
    }
}

#[test]
fn a_gguf_file_is_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    for (name, kind, weights) in [
        ("llama3", GgmlDType::F32, Weights::AsStored),
        ("llama2", GgmlDType::F32, Weights::AsStored),
        ("seed", GgmlDType::F16, Weights::AsStored),
        ("seed", GgmlDType::Q8_0, Weights::Q8_0),
        ("seed", GgmlDType::Q5K, Weights::AsStored),
    ] {
        write_gguf(name, &path, kind);
        let (tokens, wanted) = expected(name);
        let found = logits(&load(&path, Weights::AsStored, 2).model, &tokens, &[tokens.len()]);
        if weights == Weights::Q8_0 {
            let own = logits(
                &load(&checkpoint_of(name), weights, 2).model,
                &tokens,
                &[tokens.len()],
            );
            assert_eq!(found, own, "{name} {kind:?}");
        } else if kind == GgmlDType::F32 || kind == GgmlDType::F16 {
            let difference = largest_difference(&found, &wanted);
            assert!(difference <= 2e-3, "{name} {kind:?}: {difference}");
        } else {
            let divergence = divergence(&wanted, &found);
            assert!(divergence <= 5e-2, "{name} {kind:?}: {divergence}");
        }
    }
}
