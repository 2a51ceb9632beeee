//! BERT: the forward pass of a batch of texts, in numbered steps. Names are those of the checkpoint.
//!
//! Shapes: m rows (tokens) of all texts one after the other, none filled up; `[tiles][m][16]` for what comes out of a product.

use std::cell::RefCell;
use std::ops::Range;

use super::settings::{Pooling, Sizes};
use crate::crew::Crew;
use crate::kernel::Level;
use crate::kernel::tile::ROWS;
use crate::kernel::vector::{add_and_norm, gelu, mix, scores, soften};
use crate::model::matrix::Matrix;

/// Keys that [`scores`] takes at once.
const KEYS: usize = 32;

pub struct Bert {
    pub sizes: Sizes,
    pub pooling: Pooling,
    pub weights: Weights,
    pub level: Level,
    pub crew: Crew,
}

pub struct Weights {
    /// `[vocabulary][hidden]`
    pub words: Vec<f32>,
    /// `[positions][hidden]`, each with the row of the first kind of text added.
    pub positions: Vec<f32>,
    pub norm: Norm,
    pub layers: Vec<Layer>,
}

pub struct Layer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub attention_output: Linear,
    pub attention_norm: Norm,
    pub intermediate: Linear,
    pub output: Linear,
    pub output_norm: Norm,
}

pub struct Linear {
    /// `F32`.
    pub weight: Matrix,
    /// `[tiles][16]`
    pub bias: Vec<[f32; ROWS]>,
}

pub struct Norm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Memory that one forward pass after another uses.
#[derive(Default)]
pub struct Scratch {
    x: Vec<f32>,
    plain: Vec<f32>,
    product: Vec<[f32; ROWS]>,
    by_head: Vec<f32>,
}

/// Memory of a thread: keys of one text by dimension, its values, the scores of one token, a query.
#[derive(Default)]
struct Room {
    keys: Vec<[f32; KEYS]>,
    values: Vec<f32>,
    scores: Vec<f32>,
    query: Vec<f32>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::new(Room::default());
}

impl Bert {
    /// A vector of length 1 for each text; a text has at least one token and at most as many as there are positions, each in the
    /// vocabulary. Numbers are not finite when the weights' sums are not.
    pub fn forward(&self, texts: &[Vec<u32>], scratch: &mut Scratch) -> Vec<Vec<f32>> {
        let Sizes { hidden, inner, .. } = self.sizes;
        let mut begin = 0;
        let spans: Vec<Range<usize>> = texts
            .iter()
            .map(|text| {
                begin += text.len();
                begin - text.len()..begin
            })
            .collect();
        let m = begin;
        let Scratch {
            x,
            plain,
            product,
            by_head,
        } = scratch;

        // 1. Embedding of word and position, normed: x [m][hidden].
        x.clear();
        plain.clear();
        for text in texts {
            for token in text {
                x.extend_from_slice(&self.weights.words[*token as usize * hidden..][..hidden]);
            }
            plain.extend_from_slice(&self.weights.positions[..text.len() * hidden]);
        }
        self.add_and_norm(x, plain, &self.weights.norm);

        for layer in &self.weights.layers {
            // 2. Queries, keys and values in one region: [tiles of q, k, v][m][16].
            self.products(&[&layer.query, &layer.key, &layer.value], x, m, product, false);
            // 3. Attention of each token to all of its text: [heads][m][head dimension].
            self.attention(&spans, m, product, by_head);
            let dimension = self.sizes.head_dimension();
            plain.resize(m * hidden, 0.0);
            self.crew.fill(plain, self.at_once(m) * hidden, |piece, rows| {
                for (row, out) in rows.chunks_mut(hidden).enumerate() {
                    let row = piece * self.at_once(m) + row;
                    for (head, out) in out.chunks_mut(dimension).enumerate() {
                        out.copy_from_slice(&by_head[(head * m + row) * dimension..][..dimension]);
                    }
                }
            });
            // 4. Its output is added to x, and normed.
            self.products(&[&layer.attention_output], plain, m, product, false);
            self.rows_of(product, m, hidden, plain);
            self.add_and_norm(x, plain, &layer.attention_norm);
            // 5. The inner layer with GELU: [m][inner].
            self.products(&[&layer.intermediate], x, m, product, true);
            self.rows_of(product, m, inner, plain);
            // 6. Back to [m][hidden], added to x, and normed.
            self.products(&[&layer.output], plain, m, product, false);
            self.rows_of(product, m, hidden, plain);
            self.add_and_norm(x, plain, &layer.output_norm);
        }

        // 7. One vector a text.
        spans
            .into_iter()
            .map(|span| self.pool(&x[span.start * hidden..span.end * hidden]))
            .collect()
    }

    /// Rows that are worth a piece of their own.
    fn at_once(&self, m: usize) -> usize {
        self.crew.at_once(m, 2 * self.sizes.hidden)
    }

    /// Products with `values`, `[m][columns]`, biases added: `[tiles][m][16]`.
    fn products(
        &self,
        linears: &[&Linear],
        values: &[f32],
        m: usize,
        out: &mut Vec<[f32; ROWS]>,
        is_gelu: bool,
    ) {
        let columns = linears[0].weight.columns();
        let tiles: usize = linears.iter().map(|linear| linear.weight.tiles()).sum();
        out.resize(tiles * m, [0.0; ROWS]);
        let at_once = self.crew.at_once(tiles, ROWS * columns * m);
        self.crew.fill(out, at_once * m, |piece, out| {
            for (tile, out) in out.chunks_mut(m).enumerate() {
                let mut tile = piece * at_once + tile;
                let mut linear = linears[0];
                for next in &linears[1..] {
                    if tile < linear.weight.tiles() {
                        break;
                    }
                    tile -= linear.weight.tiles();
                    linear = next;
                }
                linear
                    .weight
                    .tile_panel(self.level, tile, values, &linear.bias[tile], out);
                if is_gelu {
                    gelu(self.level, out);
                }
            }
        });
    }

    /// `[tiles][m][16]` as `[m][width]`.
    fn rows_of(&self, product: &[[f32; ROWS]], m: usize, width: usize, out: &mut Vec<f32>) {
        out.resize(m * width, 0.0);
        let at_once = self.at_once(m);
        self.crew.fill(out, at_once * width, |piece, rows| {
            for (row, out) in rows.chunks_mut(width).enumerate() {
                for (tile, out) in out.chunks_mut(ROWS).enumerate() {
                    out.copy_from_slice(&product[tile * m + piece * at_once + row][..out.len()]);
                }
            }
        });
    }

    /// x becomes the norm of x + `added`, row by row.
    fn add_and_norm(&self, x: &mut [f32], added: &[f32], norm: &Norm) {
        let hidden = self.sizes.hidden;
        let at_once = self.at_once(x.len() / hidden);
        self.crew.fill(x, at_once * hidden, |piece, rows| {
            for (row, x) in rows.chunks_mut(hidden).enumerate() {
                let added = &added[(piece * at_once + row) * hidden..][..hidden];
                add_and_norm(
                    self.level,
                    x,
                    added,
                    &norm.weight,
                    &norm.bias,
                    self.sizes.norm_epsilon,
                );
            }
        });
    }

    /// A piece is a head: `[m][head dimension]` of all texts.
    fn attention(&self, spans: &[Range<usize>], m: usize, product: &[[f32; ROWS]], out: &mut Vec<f32>) {
        let dimension = self.sizes.head_dimension();
        out.resize(self.sizes.heads * m * dimension, 0.0);
        let part = self.sizes.hidden.div_ceil(ROWS) * m;
        self.crew.fill(out, m * dimension, |head, out| {
            ROOM.with_borrow_mut(|room| {
                let columns = head * dimension..(head + 1) * dimension;
                let heads = Heads {
                    queries: &product[..part],
                    keys: &product[part..2 * part],
                    values: &product[2 * part..],
                    m,
                    columns,
                };
                for span in spans {
                    let out = &mut out[span.start * dimension..span.end * dimension];
                    self.attention_of(span, &heads, room, out);
                }
            });
        });
    }

    /// One head of one text.
    fn attention_of(&self, span: &Range<usize>, heads: &Heads<'_>, room: &mut Room, out: &mut [f32]) {
        let dimension = self.sizes.head_dimension();
        let count = span.len();
        let Room {
            keys,
            values,
            scores: line,
            query,
        } = room;
        query.resize(dimension, 0.0);
        keys.clear();
        keys.resize(count.div_ceil(KEYS) * dimension, [0.0; KEYS]);
        values.resize(count * dimension, 0.0);
        for (at, row) in span.clone().enumerate() {
            heads.take(heads.keys, row, query);
            for (column, value) in query.iter().enumerate() {
                keys[at / KEYS * dimension + column][at % KEYS] = *value;
            }
            heads.take(heads.values, row, &mut values[at * dimension..][..dimension]);
        }
        let scale = 1.0 / (dimension as f32).sqrt();
        line.resize(count.next_multiple_of(KEYS), 0.0);
        for (row, out) in span.clone().zip(out.chunks_mut(dimension)) {
            heads.take(heads.queries, row, query);
            for (keys, found) in keys.chunks(dimension).zip(line.as_chunks_mut().0) {
                scores(self.level, query, keys, scale, found);
            }
            soften(self.level, &mut line[..count]);
            out.fill(0.0);
            mix(self.level, &line[..count], values, out);
        }
    }

    fn pool(&self, rows: &[f32]) -> Vec<f32> {
        let hidden = self.sizes.hidden;
        // The length that follows makes a sum as good as a mean.
        let mut vector = rows[..hidden].to_vec();
        if self.pooling == Pooling::Mean {
            for row in rows[hidden..].chunks(hidden) {
                vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
        let length = vector
            .iter()
            .map(|value| f64::from(*value).powi(2))
            .sum::<f64>()
            .sqrt();
        let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
        vector
            .iter_mut()
            .for_each(|value| *value = (f64::from(*value) * factor) as f32);
        vector
    }
}

/// The columns of one head in the products of all.
struct Heads<'a> {
    queries: &'a [[f32; ROWS]],
    keys: &'a [[f32; ROWS]],
    values: &'a [[f32; ROWS]],
    m: usize,
    columns: Range<usize>,
}

impl Heads<'_> {
    /// A row's columns, which may begin and end within a tile.
    fn take(&self, product: &[[f32; ROWS]], row: usize, out: &mut [f32]) {
        let mut column = self.columns.start;
        let mut out = out;
        while !out.is_empty() {
            let from = column % ROWS;
            let count = (ROWS - from).min(out.len());
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&product[column / ROWS * self.m + row][from..from + count]);
            out = later;
            column += count;
        }
    }
}
