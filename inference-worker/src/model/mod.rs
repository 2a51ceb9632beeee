//! Llama: the forward pass of a batch of tokens of any number of sequences, in numbered steps.
//!
//! Parts in reading order: `shape` (sizes), `matrix` (weights), `rope`, `cache` (keys and values), `attention`, `adapted` (what
//! adapters add to a region's products), this file.
//!
//! Shapes: m rows (tokens) of the batch, `[tiles][m][16]` for what comes out of a product with weights.

mod adapted;
mod attention;
pub mod cache;
pub mod matrix;
pub mod rope;
pub mod shape;

use crate::adapter::{Adapter, Group};
use crate::crew::Crew;
use crate::kernel::Level;
use crate::kernel::tile::{BLOCK, Block, Input, ROWS, quantise_tiles};
use crate::kernel::vector;

use adapted::{Adapted, stretches};
use attention::Attention;
use cache::{Cache, CacheShape, POSITIONS, Part, Precision};
use matrix::{Matrix, quantise_rows};
use shape::Shape;

/// Fewer rows than this are normed by the caller alone.
const MANY_ROWS: usize = 16;

/// A checkpoint's weights; the names are those of the checkpoint.
pub struct Llama {
    pub shape: Shape,
    pub embed_tokens: Matrix,
    pub layers: Vec<Layer>,
    pub norm: Vec<f32>,
    /// None when the embedding is used for it, too.
    pub lm_head: Option<Matrix>,
    /// Radians a position, for each pair of a head.
    pub rope_speeds: Vec<f32>,
    pub level: Level,
    pub crew: Crew,
}

pub struct Layer {
    pub input_layernorm: Vec<f32>,
    pub q_proj: Matrix,
    pub k_proj: Matrix,
    pub v_proj: Matrix,
    pub o_proj: Matrix,
    pub post_attention_layernorm: Vec<f32>,
    pub gate_proj: Matrix,
    pub up_proj: Matrix,
    pub down_proj: Matrix,
}

/// One token of the batch.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub token: u32,
    pub position: usize,
    /// The sequence's blocks; that of `position` must be its own.
    pub blocks: &'a [u32],
    /// Whether the logits after it are wanted.
    pub is_wanted: bool,
    /// The sequence's adapter. Neighbours that have the same are worked on together.
    pub adapter: Option<&'a Adapter>,
}

/// Memory that one forward pass after another uses.
#[derive(Default)]
pub struct Scratch {
    x: Vec<f32>,
    normed: Vec<f32>,
    blocks: Vec<Block>,
    product: Vec<[f32; ROWS]>,
    queries: Vec<f32>,
    mixed: Vec<f32>,
    inner: Vec<[f32; ROWS]>,
    /// What the adapters' `A` make of a region's input.
    thin: Vec<[f32; ROWS]>,
    angles: Vec<(f32, f32)>,
    logits: Vec<f32>,
}

impl Scratch {
    /// Memory that it holds.
    pub fn bytes(&self) -> u64 {
        let floats = [&self.x, &self.normed, &self.queries, &self.mixed, &self.logits];
        let tiles = [&self.product, &self.inner, &self.thin];
        let bytes = floats.iter().map(|floats| floats.capacity() * 4).sum::<usize>()
            + tiles
                .iter()
                .map(|tiles| tiles.capacity() * 4 * ROWS)
                .sum::<usize>()
            + self.blocks.capacity() * size_of::<Block>()
            + self.angles.capacity() * 8;
        bytes as u64
    }
}

impl Llama {
    /// Memory that the weights take.
    pub fn bytes(&self) -> u64 {
        let layer = |layer: &Layer| {
            let matrices = [
                &layer.q_proj,
                &layer.k_proj,
                &layer.v_proj,
                &layer.o_proj,
                &layer.gate_proj,
                &layer.up_proj,
                &layer.down_proj,
            ];
            let norms = layer.input_layernorm.len() + layer.post_attention_layernorm.len();
            matrices.iter().map(|matrix| matrix.bytes()).sum::<u64>() + 4 * norms as u64
        };
        let ends = [Some(&self.embed_tokens), self.lm_head.as_ref()];
        self.layers.iter().map(layer).sum::<u64>()
            + ends.into_iter().flatten().map(Matrix::bytes).sum::<u64>()
            + 4 * self.norm.len() as u64
    }

    /// The cache's sizes for this model: whole precision where the weights have it.
    pub fn cache_shape(&self) -> CacheShape {
        let is_quantised = self
            .layers
            .iter()
            .any(|layer| layer.q_proj.format().is_quantised());
        CacheShape {
            layers: self.layers.len(),
            key_value_heads: self.shape.key_value_heads,
            head_dimension: self.shape.head_dimension,
            precision: if is_quantised {
                Precision::Half
            } else {
                Precision::Single
            },
        }
    }

    /// Runs the batch and writes its keys and values; answers the logits of the wanted rows in their order, `[wanted][vocabulary]`.
    ///
    /// Rows of one sequence stand together, positions rising.
    pub fn forward<'s>(
        &self,
        rows: &[Row<'_>],
        cache: &mut Cache,
        scratch: &'s mut Scratch,
    ) -> &'s mut [f32] {
        let Shape {
            hidden,
            heads,
            key_value_heads,
            head_dimension,
            ..
        } = self.shape;
        let m = rows.len();
        let query_width = heads * head_dimension;
        let Scratch {
            x,
            normed,
            blocks,
            product,
            queries,
            mixed,
            inner,
            thin,
            angles,
            logits,
        } = scratch;
        let stretches = stretches(rows);

        // 1. Embedding: x [m][hidden]; angles [m][head dimension / 2].
        x.resize(m * hidden, 0.0);
        self.crew
            .fill(x, self.crew.at_once(m, 8 * hidden) * hidden, |piece, x| {
                let first = piece * self.crew.at_once(m, 8 * hidden);
                for (row, x) in rows[first..].iter().zip(x.chunks_mut(hidden)) {
                    self.embed_tokens.row(row.token as usize, x);
                }
            });
        let pairs = head_dimension / 2;
        angles.resize(m * pairs, (0.0, 0.0));
        for (row, angles) in rows.iter().zip(angles.chunks_mut(pairs)) {
            rope::angles(&self.rope_speeds, row.position, angles);
        }

        for (index, layer) in self.layers.iter().enumerate() {
            let adapted = |group| Adapted::of(&stretches, index, group);
            // 2. Norm: [m][hidden].
            self.norm_rows(x, &layer.input_layernorm, normed);
            // 3. Queries, keys and values in one region: [tiles of q, k, v][m][16].
            let qkv = [&layer.q_proj, &layer.k_proj, &layer.v_proj];
            self.products(
                &qkv,
                normed,
                blocks,
                m,
                &adapted(Group::QueryKeyValue),
                thin,
                product,
            );
            // 4. Turn queries: [m][heads · head dimension]; turn keys, store both.
            let q_tiles = layer.q_proj.tiles();
            let k_tiles = layer.k_proj.tiles();
            queries.resize(m * query_width, 0.0);
            {
                let product = &*product;
                let angles = &*angles;
                let at_once = if m < MANY_ROWS { m } else { 4 };
                self.crew.fill(queries, at_once * query_width, |piece, queries| {
                    for (row, query) in queries.chunks_mut(query_width).enumerate() {
                        let row = piece * at_once + row;
                        gather(product, m, row, query);
                        for head in query.chunks_mut(head_dimension) {
                            rope::turn(head, &angles[row * pairs..][..pairs]);
                        }
                    }
                });
            }
            let width = key_value_heads * head_dimension;
            let mut line = vec![0.0; width];
            for (at, row) in rows.iter().enumerate() {
                let (block, position) = (row.blocks[row.position / POSITIONS], row.position % POSITIONS);
                gather(&product[q_tiles * m..], m, at, &mut line);
                for (head, key) in line.chunks_mut(head_dimension).enumerate() {
                    rope::turn(key, &angles[at * pairs..][..pairs]);
                    cache.write(block, index, head, Part::Keys, position, key);
                }
                gather(&product[(q_tiles + k_tiles) * m..], m, at, &mut line);
                for (head, value) in line.chunks(head_dimension).enumerate() {
                    cache.write(block, index, head, Part::Values, position, value);
                }
            }
            // 5. Attention: [m][heads · head dimension].
            let attention = Attention {
                level: self.level,
                layer: index,
                heads,
                key_value_heads,
                head_dimension,
                rows,
                cache,
                queries,
            };
            attention.run(&self.crew, mixed);
            // 6. Its output is added to x.
            self.products(
                &[&layer.o_proj],
                mixed,
                blocks,
                m,
                &adapted(Group::Output),
                thin,
                product,
            );
            self.add_rows(x, product, m);
            // 7. Norm, and the gated inner layer: [inner / 16][m][16].
            self.norm_rows(x, &layer.post_attention_layernorm, normed);
            self.gated(layer, normed, blocks, m, &adapted(Group::GateUp), thin, inner);
            // 8. Back to [m][hidden], added to x.
            self.down(
                layer,
                normed,
                blocks,
                inner,
                m,
                &adapted(Group::Down),
                thin,
                product,
            );
            self.add_rows(x, product, m);
        }

        // 9. Logits of the wanted rows: [wanted][vocabulary].
        let wanted = rows.iter().enumerate().filter(|(_, row)| row.is_wanted);
        let count = wanted.clone().count();
        for (to, (from, _)) in wanted.enumerate() {
            x.copy_within(from * hidden..(from + 1) * hidden, to * hidden);
        }
        x.truncate(count * hidden);
        self.norm_rows(x, &self.norm, normed);
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens);
        self.products(&[head], normed, blocks, count, &Adapted::default(), thin, product);
        logits.resize(count * head.rows(), 0.0);
        for (row, logits) in logits.chunks_mut(head.rows()).enumerate() {
            gather(product, count, row, logits);
        }
        logits
    }

    /// `out` = norm of each row of `x`, `[m][hidden]`.
    fn norm_rows(&self, x: &[f32], weight: &[f32], out: &mut Vec<f32>) {
        let hidden = weight.len();
        out.resize(x.len(), 0.0);
        let rows = x.len() / hidden;
        let at_once = if rows < MANY_ROWS { rows.max(1) } else { 4 };
        self.crew.fill(out, at_once * hidden, |piece, out| {
            for (row, out) in out.chunks_mut(hidden).enumerate() {
                let x = &x[(piece * at_once + row) * hidden..][..hidden];
                vector::rms_norm(self.level, x, weight, self.shape.norm_epsilon, out);
            }
        });
    }

    /// Products of several matrices of equal columns with `values`, `[m][columns]`, in one region.
    #[allow(clippy::too_many_arguments)]
    fn products(
        &self,
        matrices: &[&Matrix],
        values: &[f32],
        blocks: &mut Vec<Block>,
        m: usize,
        adapted: &Adapted<'_>,
        thin: &mut Vec<[f32; ROWS]>,
        out: &mut Vec<[f32; ROWS]>,
    ) {
        let columns = matrices[0].columns();
        if matrices.iter().any(|matrix| matrix.format().is_quantised()) && m > 0 {
            quantise_rows(&self.crew, self.level, values, columns, blocks);
        }
        self.products_of(matrices, values, blocks, m, adapted, thin, out);
    }

    /// As [`Self::products`], with `blocks` quantised already.
    #[allow(clippy::too_many_arguments)]
    fn products_of(
        &self,
        matrices: &[&Matrix],
        values: &[f32],
        blocks: &[Block],
        m: usize,
        adapted: &Adapted<'_>,
        thin: &mut Vec<[f32; ROWS]>,
        out: &mut Vec<[f32; ROWS]>,
    ) {
        let columns = matrices[0].columns();
        let tiles: usize = matrices.iter().map(|matrix| matrix.tiles()).sum();
        out.resize(tiles * m, [0.0; ROWS]);
        if m == 0 {
            return;
        }
        let at_once = self.crew.at_once(tiles, ROWS * columns * m);
        // Which matrix a tile is of, and which tile of it.
        let place = |mut tile: usize| {
            let mut matrix = 0;
            while tile >= matrices[matrix].tiles() {
                tile -= matrices[matrix].tiles();
                matrix += 1;
            }
            (matrix, tile)
        };
        thin.resize(adapted.length(), [0.0; ROWS]);
        let make = |piece: usize, thin: &mut [[f32; ROWS]]| {
            adapted.make(self.level, piece, values, blocks, m, thin);
        };
        self.crew.fill_after(
            thin,
            adapted.ends(),
            make,
            out,
            at_once * m,
            |piece, out, thin| {
                let first = piece * at_once;
                for (tile, out) in out.chunks_mut(m).enumerate() {
                    let (matrix, tile) = place(first + tile);
                    let matrix = matrices[matrix];
                    matrix.tile_product(self.level, tile, input_of(matrix, values, blocks, m), out);
                }
                if adapted.is_none() {
                    return;
                }
                let thin = thin.get();
                let tiles = out.len() / m;
                let mut done = 0;
                while done < tiles {
                    let (matrix, tile) = place(first + done);
                    let count = (matrices[matrix].tiles() - tile).min(tiles - done);
                    let out = &mut out[done * m..(done + count) * m];
                    adapted.add(self.level, matrix, tile..tile + count, thin, out);
                    done += count;
                }
            },
        );
    }

    /// silu(gate) · up: `inner`, `[inner / 16][m][16]`.
    #[allow(clippy::too_many_arguments)]
    fn gated(
        &self,
        layer: &Layer,
        values: &[f32],
        blocks: &mut Vec<Block>,
        m: usize,
        adapted: &Adapted<'_>,
        thin: &mut Vec<[f32; ROWS]>,
        inner: &mut Vec<[f32; ROWS]>,
    ) {
        let (gate, up) = (&layer.gate_proj, &layer.up_proj);
        let columns = gate.columns();
        if gate.format().is_quantised() || up.format().is_quantised() {
            quantise_rows(&self.crew, self.level, values, columns, blocks);
        }
        let blocks = &*blocks;
        inner.resize(gate.tiles() * m, [0.0; ROWS]);
        let at_once = self.crew.at_once(gate.tiles(), 2 * ROWS * columns * m);
        thin.resize(adapted.length(), [0.0; ROWS]);
        let make = |piece: usize, thin: &mut [[f32; ROWS]]| {
            adapted.make(self.level, piece, values, blocks, m, thin);
        };
        self.crew.fill_after(
            thin,
            adapted.ends(),
            make,
            inner,
            at_once * m,
            |piece, inner, thin| {
                let first = piece * at_once;
                let product = |matrix: &Matrix, tile: usize, out: &mut [[f32; ROWS]]| {
                    let input = input_of(matrix, values, blocks, m);
                    matrix.tile_product(self.level, first + tile, input, out);
                };
                if adapted.is_none() {
                    let mut room = vec![[0.0; ROWS]; m];
                    for (tile, inner) in inner.chunks_mut(m).enumerate() {
                        product(gate, tile, inner);
                        product(up, tile, &mut room);
                        vector::gate(self.level, inner, &room);
                    }
                    return;
                }
                let mut room = vec![[0.0; ROWS]; inner.len()];
                for (tile, (inner, room)) in inner.chunks_mut(m).zip(room.chunks_mut(m)).enumerate() {
                    product(gate, tile, inner);
                    product(up, tile, room);
                }
                let thin = thin.get();
                let tiles = first..first + inner.len() / m;
                adapted.add(self.level, 0, tiles.clone(), thin, inner);
                adapted.add(self.level, 1, tiles, thin, &mut room);
                vector::gate(self.level, inner, &room);
            },
        );
    }

    /// The product of `inner` with `down_proj`.
    #[allow(clippy::too_many_arguments)]
    fn down(
        &self,
        layer: &Layer,
        plain: &mut Vec<f32>,
        blocks: &mut Vec<Block>,
        inner: &[[f32; ROWS]],
        m: usize,
        adapted: &Adapted<'_>,
        thin: &mut Vec<[f32; ROWS]>,
        out: &mut Vec<[f32; ROWS]>,
    ) {
        let columns = layer.down_proj.columns();
        if layer.down_proj.format().is_quantised() {
            blocks.clear();
            blocks.resize(columns / BLOCK * m, Block::ZERO);
            let at_once = self.crew.at_once(columns / BLOCK, m * BLOCK);
            self.crew.fill(blocks, at_once * m, |piece, blocks| {
                for (block, blocks) in blocks.chunks_mut(m).enumerate() {
                    let first = (piece * at_once + block) * 2 * m;
                    quantise_tiles(self.level, &inner[first..first + 2 * m], blocks);
                }
            });
        } else {
            plain.resize(m * columns, 0.0);
            self.crew
                .fill(plain, columns, |row, plain| gather(inner, m, row, plain));
        }
        self.products_of(&[&layer.down_proj], plain, blocks, m, adapted, thin, out);
    }

    /// Adds a product to x.
    fn add_rows(&self, x: &mut [f32], product: &[[f32; ROWS]], m: usize) {
        let hidden = self.shape.hidden;
        let at_once = if m < MANY_ROWS { m } else { 4 };
        self.crew.fill(x, at_once * hidden, |piece, x| {
            for (row, x) in x.chunks_mut(hidden).enumerate() {
                let row = piece * at_once + row;
                for (tile, x) in x.chunks_mut(ROWS).enumerate() {
                    for (x, value) in x.iter_mut().zip(&product[tile * m + row]) {
                        *x += value;
                    }
                }
            }
        });
    }
}

fn input_of<'a>(matrix: &Matrix, values: &'a [f32], blocks: &'a [Block], m: usize) -> Input<'a> {
    if matrix.format().is_quantised() {
        Input::Blocks {
            blocks,
            rows: m,
            first: 0,
        }
    } else {
        Input::Plain {
            values,
            columns: matrix.columns(),
        }
    }
}

/// One row out of `[tiles][m][16]`.
fn gather(product: &[[f32; ROWS]], m: usize, row: usize, out: &mut [f32]) {
    for (tile, out) in out.chunks_mut(ROWS).enumerate() {
        out.copy_from_slice(&product[tile * m + row][..out.len()]);
    }
}

#[cfg(test)]
mod tests;
