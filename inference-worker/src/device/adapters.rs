//! What adapters add to the products of the rows that have one: `(x·Aᵀ)·(s·B)ᵀ`, their numbers kept beside the model's.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};

use crate::adapter::{Adapter, Group, Product};
use crate::model::Row;
use crate::model::shape::Shape;

/// Adapters there at a time; those used longest ago give way.
const MOST: usize = 64;

/// Those that were used last, the latest at the back, by their serial numbers.
#[derive(Default)]
pub struct Adapters {
    kept: VecDeque<(u64, Arc<Tensors>)>,
}

/// By layer and product: `Aᵀ` `[columns][rank]` and `(s·B)ᵀ` `[rank][rows]`.
struct Tensors {
    layers: Vec<[Option<(Tensor, Tensor)>; Product::ALL.len()]>,
}

/// Neighbouring rows with the same adapter, or without any.
pub struct Stretch<'a> {
    pub rows: Range<usize>,
    adapter: Option<&'a Adapter>,
    tensors: Option<Arc<Tensors>>,
}

impl Adapters {
    /// All rows of a batch, their adapters brought over.
    pub fn stretches<'a>(
        &mut self,
        rows: &[Row<'a>],
        shape: &Shape,
        device: &Device,
        kind: DType,
    ) -> Result<Vec<Stretch<'a>>> {
        let mut found: Vec<Stretch<'a>> = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            match found.last_mut() {
                Some(last) if last.is_of(row.adapter) => last.rows.end += 1,
                _ => found.push(Stretch {
                    rows: at..at + 1,
                    adapter: row.adapter,
                    tensors: row
                        .adapter
                        .map(|adapter| self.bring(adapter, shape, device, kind))
                        .transpose()?,
                }),
            }
        }
        Ok(found)
    }

    fn bring(
        &mut self,
        adapter: &Adapter,
        shape: &Shape,
        device: &Device,
        kind: DType,
    ) -> Result<Arc<Tensors>> {
        let place = self
            .kept
            .iter()
            .position(|(serial, _)| *serial == adapter.serial());
        let kept = match place.and_then(|place| self.kept.remove(place)) {
            Some(kept) => kept,
            None => {
                let layers = (0..shape.layers).map(|layer| of_layer(adapter, layer, shape, device, kind));
                let layers = layers.collect::<Result<_>>()?;
                (adapter.serial(), Arc::new(Tensors { layers }))
            }
        };
        let tensors = kept.1.clone();
        self.kept.push_back(kept);
        if self.kept.len() > MOST {
            self.kept.pop_front();
        }
        Ok(tensors)
    }
}

fn of_layer(
    adapter: &Adapter,
    layer: usize,
    shape: &Shape,
    device: &Device,
    kind: DType,
) -> Result<[Option<(Tensor, Tensor)>; Product::ALL.len()]> {
    let mut found = [const { None }; Product::ALL.len()];
    for group in Group::ALL {
        let Some(of_group) = adapter.group(layer, group) else {
            continue;
        };
        for (place, product) in group.products().iter().enumerate() {
            let (rows, columns) = product.size(shape);
            let Some((a, b)) = of_group.factors(place, rows) else {
                continue;
            };
            let rank = a.len() / columns;
            let a = Tensor::from_vec(a, (rank, columns), &Device::Cpu)?
                .t()?
                .contiguous()?;
            let b = Tensor::from_vec(b, (rows, rank), &Device::Cpu)?
                .t()?
                .contiguous()?;
            let there = |tensor: Tensor| tensor.to_dtype(kind)?.to_device(device);
            found[*product as usize] = Some((there(a)?, there(b)?));
        }
    }
    Ok(found)
}

impl Stretch<'_> {
    fn is_of(&self, adapter: Option<&Adapter>) -> bool {
        match (self.adapter, adapter) {
            (Some(one), Some(other)) => std::ptr::eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }

    /// What is added to a product of its rows, if anything.
    pub fn addition(&self, layer: usize, product: Product, input: &Tensor) -> Result<Option<Tensor>> {
        let tensors = self.tensors.as_ref();
        match tensors.and_then(|tensors| tensors.layers[layer][product as usize].as_ref()) {
            Some((a, b)) => input.contiguous()?.matmul(a)?.matmul(b).map(Some),
            None => Ok(None),
        }
    }
}
