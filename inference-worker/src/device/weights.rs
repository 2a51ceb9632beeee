//! A checkpoint's tensors as candle's, in the accelerator's numbers. Quantised ones are widened: what fits there is not what limits it.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use super::adapters::Adapters;
use super::place::Accelerator;
use super::{Layer, Llama};
use crate::adapter::Product;
use crate::checkpoint::stored::Stored;
use crate::checkpoint::{EMBEDDING, HEAD, NORM};
use crate::crew::Crew;
use crate::meters::METERS;
use crate::model::matrix::Rows;
use crate::model::shape::Shape;

/// Rows that a thread widens at a time.
const ROWS_AT_ONCE: usize = 64;

/// What is brought over: the tensors have the names and shapes that the configuration needs.
pub struct Load<'a> {
    pub tensors: &'a HashMap<String, Stored>,
    pub shape: Shape,
    pub is_tied: bool,
    pub rope_speeds: Vec<f32>,
    pub crew: Crew,
}

impl Load<'_> {
    pub fn onto(self, (device, kind): Accelerator) -> Result<Llama, String> {
        let tensor = |name: &str, kind: DType| {
            self.tensor(name, &device, kind)
                .map_err(|what| format!("{name}: {what}"))
        };
        let layers = (0..self.shape.layers).map(|layer| {
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            let mut products = Vec::with_capacity(Product::ALL.len());
            for product in Product::ALL {
                products.push(tensor(&name(product.name()), kind)?);
            }
            Ok(Layer {
                input_layernorm: tensor(&name("input_layernorm"), kind)?,
                post_attention_layernorm: tensor(&name("post_attention_layernorm"), kind)?,
                products: products
                    .try_into()
                    .map_err(|_| "a layer has other products".to_owned())?,
            })
        });
        let layers = layers.collect::<Result<Vec<_>, String>>()?;
        Ok(Llama {
            embed_tokens: tensor(EMBEDDING, kind)?,
            layers,
            norm: tensor(NORM, kind)?,
            lm_head: match self.is_tied {
                true => None,
                false => Some(tensor(HEAD, kind)?),
            },
            shape: self.shape,
            rope_speeds: self.rope_speeds,
            cache: Vec::new(),
            adapters: Adapters::default(),
            logits: Vec::new(),
            device,
            kind,
        })
    }

    fn tensor(&self, name: &str, device: &Device, kind: DType) -> Result<Tensor, String> {
        let stored = self.tensors.get(name).ok_or("it is lacking")?;
        let (rows, columns) = (stored.rows(), stored.columns());
        let mut values = vec![0.0_f32; rows * columns];
        let failed = std::sync::Mutex::new(None);
        self.crew
            .fill(&mut values, ROWS_AT_ONCE * columns, |piece, values| {
                for (row, values) in values.chunks_mut(columns).enumerate() {
                    match stored.plain_row(piece * ROWS_AT_ONCE + row) {
                        Ok(found) => values.copy_from_slice(&found),
                        Err(what) => {
                            *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(what);
                        }
                    }
                }
            });
        METERS.loaded(stored.bytes());
        if let Some(what) = failed
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            return Err(what);
        }
        Tensor::from_vec(values, stored.shape.as_slice(), &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(kind)?.to_device(device))
            .map_err(|error| error.to_string())
    }
}
