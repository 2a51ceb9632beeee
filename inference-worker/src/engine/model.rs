//! A model where it runs, and the memory of what it has read.

use shared::inference::InferenceFault;

use crate::adapter::Base;
use crate::device;
use crate::model::cache::Cache;
use crate::model::{Llama, Row, Scratch};

pub enum Model {
    Processor(Box<Processor>),
    Accelerator(Box<device::Llama>),
}

/// What the processor's forward pass works with.
pub struct Processor {
    llama: Llama,
    cache: Cache,
    scratch: Scratch,
}

impl Model {
    pub fn on_processor(llama: Llama) -> Model {
        Model::Processor(Box::new(Processor {
            cache: Cache::new(llama.cache_shape(), 0),
            scratch: Scratch::default(),
            llama,
        }))
    }

    pub fn on_accelerator(llama: device::Llama) -> Model {
        Model::Accelerator(Box::new(llama))
    }

    /// Makes room for so many blocks of cache.
    pub fn take_blocks(&mut self, blocks: usize) -> Result<(), InferenceFault> {
        match self {
            Model::Processor(here) => here.cache = Cache::new(here.llama.cache_shape(), blocks),
            Model::Accelerator(llama) => llama.take_blocks(blocks).map_err(|error| {
                let message = format!("the accelerator has no memory for {blocks} blocks of cache: {error}");
                InferenceFault::new("engine", message)
            })?,
        }
        Ok(())
    }

    /// Runs the batch; the logits of the wanted rows in their order, `[wanted][vocabulary]`.
    pub fn forward(&mut self, rows: &[Row<'_>]) -> Result<&mut [f32], InferenceFault> {
        match self {
            Model::Processor(here) => Ok(here.llama.forward(rows, &mut here.cache, &mut here.scratch)),
            Model::Accelerator(llama) => llama
                .forward(rows)
                .map_err(|error| InferenceFault::new("engine", format!("the accelerator failed: {error}"))),
        }
    }

    /// Memory that the weights take.
    pub fn bytes(&self) -> u64 {
        match self {
            Model::Processor(here) => here.llama.bytes(),
            Model::Accelerator(llama) => llama.bytes(),
        }
    }

    /// Memory of a block of the cache.
    pub fn block_bytes(&self) -> u64 {
        match self {
            Model::Processor(here) => here.llama.cache_shape().block_bytes(),
            Model::Accelerator(llama) => llama.block_bytes(),
        }
    }

    /// Memory that a forward pass used.
    pub fn scratch_bytes(&self) -> u64 {
        match self {
            Model::Processor(here) => here.scratch.bytes(),
            Model::Accelerator(_) => 0,
        }
    }

    /// What an adapter must fit.
    pub fn base(&self, name: &str) -> Base {
        match self {
            Model::Processor(here) => Base::of(name, &here.llama),
            Model::Accelerator(llama) => Base::plain(name, llama.shape),
        }
    }
}
