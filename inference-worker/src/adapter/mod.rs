//! Adapters: weights that a fine-tuning added to the model's, brought in beside it while it runs.
//!
//! Parts in reading order: `config` (adapter_config.json), `file` (the tensors, checked against the base), `packed` (as the kernels
//! read them), `folder` (a PEFT folder on disk as a request would name it), `store` (leases), `ledger` (tiers and budgets), `loader` (the thread
//! that loads), `manifest` (what the process uses). Formats and names: docs/adapters.md.

mod config;
mod file;
pub mod folder;
mod ledger;
pub mod loader;
pub mod manifest;
mod packed;
pub mod store;

pub use packed::{Adapter, GroupOf};

use crate::kernel::tile::Format;
use crate::model::Llama;
use crate::model::shape::Shape;

/// A product of a layer that can be adapted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Product {
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
}

/// Products that are made of the same input, in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    QueryKeyValue,
    Output,
    GateUp,
    Down,
}

impl Product {
    pub const ALL: [Product; 7] = [
        Product::Q,
        Product::K,
        Product::V,
        Product::O,
        Product::Gate,
        Product::Up,
        Product::Down,
    ];

    /// Its name in a checkpoint, behind the layer's.
    pub fn name(self) -> &'static str {
        match self {
            Product::Q => "self_attn.q_proj",
            Product::K => "self_attn.k_proj",
            Product::V => "self_attn.v_proj",
            Product::O => "self_attn.o_proj",
            Product::Gate => "mlp.gate_proj",
            Product::Up => "mlp.up_proj",
            Product::Down => "mlp.down_proj",
        }
    }

    /// Rows and columns of its weights.
    pub fn size(self, shape: &Shape) -> (usize, usize) {
        let queries = shape.heads * shape.head_dimension;
        let keys = shape.key_value_heads * shape.head_dimension;
        match self {
            Product::Q => (queries, shape.hidden),
            Product::K | Product::V => (keys, shape.hidden),
            Product::O => (shape.hidden, queries),
            Product::Gate | Product::Up => (shape.inner, shape.hidden),
            Product::Down => (shape.hidden, shape.inner),
        }
    }
}

impl Group {
    pub const ALL: [Group; 4] = [Group::QueryKeyValue, Group::Output, Group::GateUp, Group::Down];

    /// In the order in which the forward pass has them.
    pub fn products(self) -> &'static [Product] {
        match self {
            Group::QueryKeyValue => &[Product::Q, Product::K, Product::V],
            Group::Output => &[Product::O],
            Group::GateUp => &[Product::Gate, Product::Up],
            Group::Down => &[Product::Down],
        }
    }
}

/// What an adapter must fit.
#[derive(Clone, Debug)]
pub struct Base {
    pub name: String,
    pub shape: Shape,
    /// The SHA-256 of its weights in hexadecimal, where its card tells it.
    pub weights: Option<String>,
    /// For each layer and group, whether its input comes as blocks of eight bits.
    quantised: Vec<[bool; 4]>,
}

impl Base {
    pub fn of(name: &str, model: &Llama) -> Base {
        let quantised = model.layers.iter().map(|layer| {
            let any = |formats: &[Format]| formats.iter().any(|format| format.is_quantised());
            [
                any(&[
                    layer.q_proj.format(),
                    layer.k_proj.format(),
                    layer.v_proj.format(),
                ]),
                any(&[layer.o_proj.format()]),
                any(&[layer.gate_proj.format(), layer.up_proj.format()]),
                any(&[layer.down_proj.format()]),
            ]
        });
        Base {
            name: name.to_owned(),
            shape: model.shape,
            weights: None,
            quantised: quantised.collect(),
        }
    }

    /// Of a model whose inputs are plain numbers everywhere.
    pub fn plain(name: &str, shape: Shape) -> Base {
        Base {
            name: name.to_owned(),
            shape,
            weights: None,
            quantised: vec![[false; 4]; shape.layers],
        }
    }

    fn is_quantised(&self, layer: usize, group: Group) -> bool {
        self.quantised[layer][group as usize]
    }
}

/// Loads one at once, for tests.
#[cfg(test)]
pub fn open(weights: &std::path::Path, config: &str, base: &Base) -> Result<Adapter, String> {
    let file = file::AdapterFile::read(weights, config, base)?;
    packed::Layout::of(&file, base).pack()
}

#[cfg(test)]
mod tests;
