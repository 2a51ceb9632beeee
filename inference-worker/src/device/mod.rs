//! A Llama in the memory of an accelerator, by candle: the same numbers as `model` has on the processor, in fewer bits.
//!
//! Parts in reading order: `place` (which accelerator), `weights` (checkpoint to tensors), `batch` (which rows look at which positions),
//! `adapters` (what a fine-tuning adds), this file (the forward pass). How such a worker is built and measured: docs/gpu.md.
//!
//! Shapes: m rows (tokens) of the batch; a slot is one position of one block of the cache.

mod adapters;
mod batch;
pub mod place;
pub mod weights;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::rope;

use crate::adapter::{Group, Product};
use crate::model::Row;
use crate::model::cache::POSITIONS;
use crate::model::shape::Shape;

use adapters::{Adapters, Stretch};
use batch::{Batch, Prompt, Texts};

/// A checkpoint's weights, and the keys and values of all requests.
pub struct Llama {
    pub shape: Shape,
    device: Device,
    /// Of weights, keys and values; norms and scores are made in 32 bits.
    kind: DType,
    /// `[vocabulary][hidden]`.
    embed_tokens: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    /// None when the embedding is used for it, too.
    lm_head: Option<Tensor>,
    rope_speeds: Vec<f32>,
    cache: Vec<Past>,
    adapters: Adapters,
    logits: Vec<f32>,
}

struct Layer {
    input_layernorm: Tensor,
    post_attention_layernorm: Tensor,
    /// By [`Product`], `[rows][columns]`.
    products: [Tensor; Product::ALL.len()],
}

/// Keys and values of a layer, `[slots][key-value heads · head dimension]`.
struct Past {
    keys: Tensor,
    values: Tensor,
}

impl Llama {
    /// Memory that the weights take there.
    pub fn bytes(&self) -> u64 {
        let of = |tensor: &Tensor| (tensor.elem_count() * tensor.dtype().size_in_bytes()) as u64;
        let layers = self.layers.iter().map(|layer| {
            let norms = of(&layer.input_layernorm) + of(&layer.post_attention_layernorm);
            layer.products.iter().map(of).sum::<u64>() + norms
        });
        layers.sum::<u64>() + of(&self.embed_tokens) + of(&self.norm) + self.lm_head.as_ref().map_or(0, of)
    }

    /// Memory of a block of the cache there.
    pub fn block_bytes(&self) -> u64 {
        let Shape {
            layers,
            key_value_heads,
            head_dimension,
            ..
        } = self.shape;
        (2 * layers * key_value_heads * head_dimension * POSITIONS * self.kind.size_in_bytes()) as u64
    }

    /// Takes the memory for so many blocks.
    pub fn take_blocks(&mut self, blocks: usize) -> Result<()> {
        let size = (
            blocks * POSITIONS,
            self.shape.key_value_heads * self.shape.head_dimension,
        );
        let past = |_| {
            Ok(Past {
                keys: Tensor::zeros(size, self.kind, &self.device)?,
                values: Tensor::zeros(size, self.kind, &self.device)?,
            })
        };
        self.cache = (0..self.shape.layers).map(past).collect::<Result<_>>()?;
        Ok(())
    }

    /// As [`crate::model::Llama::forward`]: the logits of the wanted rows in their order, `[wanted][vocabulary]`.
    pub fn forward(&mut self, rows: &[Row<'_>]) -> Result<&mut [f32]> {
        let m = rows.len();
        let epsilon = self.shape.norm_epsilon;
        let batch = Batch::of(rows, &self.device, &self.rope_speeds, self.kind)?;
        let slots = self.slots(&batch)?;
        let stretches = self
            .adapters
            .stretches(rows, &self.shape, &self.device, self.kind)?;
        let mut x = self.embed_tokens.index_select(&batch.tokens, 0)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let product = |input: &Tensor, products: &[Product]| {
                let outputs = products.iter().map(|product| {
                    let plain = input.matmul(&layer.products[*product as usize].t()?)?;
                    adapted(&stretches, index, *product, input, plain)
                });
                outputs.collect::<Result<Vec<Tensor>>>()
            };
            let normed = rms_norm(&x, &layer.input_layernorm, epsilon)?;
            let qkv = product(&normed, Group::QueryKeyValue.products())?;
            let queries = self.turned(&qkv[0], self.shape.heads, &batch)?;
            let keys = self.turned(&qkv[1], self.shape.key_value_heads, &batch)?;
            let keys = keys.transpose(0, 1)?.contiguous()?.reshape((m, ()))?;
            self.cache[index].keys.scatter_set(&slots, &keys, 0)?;
            self.cache[index]
                .values
                .scatter_set(&slots, &qkv[2].contiguous()?, 0)?;
            let mixed = self.attend(&queries, &self.cache[index], &batch)?;
            x = (x + &product(&mixed, Group::Output.products())?[0])?;
            let normed = rms_norm(&x, &layer.post_attention_layernorm, epsilon)?;
            let inner = product(&normed, Group::GateUp.products())?;
            let inner = (silu(&inner[0])? * &inner[1])?;
            x = (x + &product(&inner, Group::Down.products())?[0])?;
        }
        self.logits.clear();
        if let Some(wanted) = &batch.wanted {
            let x = rms_norm(&x.index_select(wanted, 0)?, &self.norm, epsilon)?;
            let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens);
            let logits = x.matmul(&head.t()?)?.to_dtype(DType::F32)?;
            self.logits = logits.flatten_all()?.to_vec1()?;
        }
        Ok(&mut self.logits)
    }

    /// Where the rows' keys and values go, for each of a row's elements: `[m][key-value heads · head dimension]`.
    fn slots(&self, batch: &Batch) -> Result<Tensor> {
        let width = self.shape.key_value_heads * self.shape.head_dimension;
        batch
            .slots
            .unsqueeze(1)?
            .broadcast_as((batch.slots.elem_count(), width))?
            .contiguous()
    }

    /// `[m][heads · head dimension]` as turned heads, `[heads][m][head dimension]`.
    fn turned(&self, values: &Tensor, heads: usize, batch: &Batch) -> Result<Tensor> {
        let m = values.dim(0)?;
        let heads = values
            .reshape((m, heads, self.shape.head_dimension))?
            .transpose(0, 1)?
            .contiguous()?;
        rope(&heads.unsqueeze(0)?, &batch.cosines, &batch.sines)?.squeeze(0)
    }

    /// What each row's heads see, `[m][heads · head dimension]`.
    fn attend(&self, queries: &Tensor, past: &Past, batch: &Batch) -> Result<Tensor> {
        let mut parts = Vec::with_capacity(batch.prompts.len() + 1);
        for prompt in &batch.prompts {
            parts.push(self.attend_prompt(queries, past, prompt)?);
        }
        if let Some(texts) = &batch.texts {
            parts.push(self.attend_texts(queries, past, texts)?);
        }
        let mixed = Tensor::cat(&parts, 0)?;
        match &batch.order {
            Some(order) => mixed.index_select(order, 0),
            None => Ok(mixed),
        }
    }

    /// Rows of one sequence, each of which sees what stands before it.
    fn attend_prompt(&self, queries: &Tensor, past: &Past, prompt: &Prompt) -> Result<Tensor> {
        let (kv, d) = (self.shape.key_value_heads, self.shape.head_dimension);
        let (n, group) = (prompt.rows.len(), self.shape.heads / kv);
        let length = prompt.slots.elem_count();
        let of = |past: &Tensor| {
            let found = past.index_select(&prompt.slots, 0)?;
            found.reshape((length, kv, d))?.transpose(0, 1)?.contiguous()
        };
        let queries = queries.narrow(1, prompt.rows.start, n)?.contiguous()?;
        let queries = queries.reshape((kv, group * n, d))?;
        let scores = queries.matmul(&of(&past.keys)?.transpose(1, 2)?)?;
        let scores = self.scaled(&scores)?.reshape((kv * group, n, length))?;
        let shares = softmax_last_dim(&scores.broadcast_add(&prompt.mask)?)?.to_dtype(self.kind)?;
        let mixed = shares
            .reshape((kv, group * n, length))?
            .matmul(&of(&past.values)?)?;
        let mixed = mixed.reshape((kv * group, n, d))?.transpose(0, 1)?;
        mixed.contiguous()?.reshape((n, kv * group * d))
    }

    /// The next token of several sequences, those that are shorter filled up to the longest.
    fn attend_texts(&self, queries: &Tensor, past: &Past, texts: &Texts) -> Result<Tensor> {
        let (kv, d) = (self.shape.key_value_heads, self.shape.head_dimension);
        let (count, group) = (texts.rows.elem_count(), self.shape.heads / kv);
        let of = |past: &Tensor| {
            let found = past.index_select(&texts.slots, 0)?;
            found
                .reshape((count, texts.longest, kv, d))?
                .transpose(1, 2)?
                .contiguous()
        };
        let queries = queries
            .index_select(&texts.rows, 1)?
            .transpose(0, 1)?
            .contiguous()?;
        let queries = queries.reshape((count, kv, group, d))?;
        let scores = queries.matmul(&of(&past.keys)?.transpose(2, 3)?)?;
        let scores = self.scaled(&scores)?.broadcast_add(&texts.mask)?;
        let shares = softmax_last_dim(&scores)?.to_dtype(self.kind)?;
        shares
            .matmul(&of(&past.values)?)?
            .reshape((count, kv * group * d))
    }

    fn scaled(&self, scores: &Tensor) -> Result<Tensor> {
        scores.to_dtype(DType::F32)? * (self.shape.head_dimension as f64).powf(-0.5)
    }
}

/// A product's output with what the rows' adapters add to it.
fn adapted(
    stretches: &[Stretch<'_>],
    layer: usize,
    product: Product,
    input: &Tensor,
    plain: Tensor,
) -> Result<Tensor> {
    let width = plain.dim(D::Minus1)?;
    let mut added = Vec::with_capacity(stretches.len());
    let mut is_any = false;
    for stretch in stretches {
        let input = input.narrow(0, stretch.rows.start, stretch.rows.len())?;
        let addition = stretch.addition(layer, product, &input)?;
        is_any |= addition.is_some();
        added.push(match addition {
            Some(addition) => addition,
            None => Tensor::zeros((stretch.rows.len(), width), plain.dtype(), plain.device())?,
        });
    }
    match is_any {
        true => plain + Tensor::cat(&added, 0)?,
        false => Ok(plain),
    }
}

#[cfg(test)]
mod tests;
