//! A tensor in a file: where it lies, what it is, and its rows on demand. Nothing is mapped: a file that shrinks is an error, not a signal.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;

use crate::model::matrix::{Rows, plain_row};

/// Bounds were checked against the file's length when its header was read.
#[derive(Clone)]
pub struct Stored {
    pub file: Arc<File>,
    pub offset: u64,
    pub kind: GgmlDType,
    /// `[rows, columns]`, or `[columns]` alone.
    pub shape: Vec<usize>,
    pub order: Order,
}

/// How rows stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    AsIs,
    /// GGUF's order of query and key rows: pair i of a head of this dimension stands at 2i and 2i + 1, not at i and i + half.
    Paired(usize),
}

impl Stored {
    /// The shape that the configuration needs.
    pub fn has_shape(&self, name: &str, needed: &[usize]) -> Result<(), String> {
        match self.shape == needed {
            true => Ok(()),
            false => Err(format!(
                "{name} has the shape {:?}, the configuration needs {needed:?}",
                self.shape
            )),
        }
    }

    /// A vector of plain numbers, all finite.
    pub fn plain(&self) -> Result<Vec<f32>, String> {
        self.plain_row(0)
    }

    /// A row of plain numbers, all finite.
    pub fn plain_row(&self, row: usize) -> Result<Vec<f32>, String> {
        let mut bytes = vec![0; self.bytes_per_row()];
        self.read(row, &mut bytes)?;
        let values = plain_row(self.kind, &bytes, self.columns())?;
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err("it holds numbers that are not finite".into())
        }
    }

    /// In the file.
    pub fn bytes(&self) -> u64 {
        (self.rows() * self.bytes_per_row()) as u64
    }

    /// `count` rows from `first` on as plain numbers, one after the other; only of what is not in another order, nor quantised.
    pub fn plain_rows(&self, first: usize, count: usize) -> Result<Vec<f32>, String> {
        let per_row = self.bytes_per_row();
        let mut bytes = vec![0; count * per_row];
        self.file
            .read_exact_at(&mut bytes, self.offset + (first * per_row) as u64)
            .map_err(|error| error.to_string())?;
        plain_row(self.kind, &bytes, count * self.columns())
    }

    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|size| *size as u64).product()
    }
}

impl Rows for Stored {
    fn kind(&self) -> GgmlDType {
        self.kind
    }

    fn rows(&self) -> usize {
        if self.shape.len() > 1 { self.shape[0] } else { 1 }
    }

    fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }

    fn read(&self, row: usize, into: &mut [u8]) -> Result<(), String> {
        let row = match self.order {
            Order::AsIs => row,
            Order::Paired(dimension) => {
                let (head, at) = (row / dimension, row % dimension);
                let half = dimension / 2;
                head * dimension + 2 * (at % half) + at / half
            }
        };
        self.file
            .read_exact_at(into, self.offset + row as u64 * into.len() as u64)
            .map_err(|error| error.to_string())
    }
}
