//! What a layer does besides products with weights.

use super::for_each_level;
use super::lanes::Lanes;

for_each_level! {
    /// `out` = `x` / √(mean of x² + `epsilon`) · `weight`, a row of equal length each.
    pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) = rms_norm_body
}

for_each_level! {
    /// `x` becomes (`x` + `added` − mean) / √(variance + `epsilon`) · `weight` + `bias`, a row of equal length each.
    pub fn add_and_norm(x: &mut [f32], added: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) = add_and_norm_body
}

for_each_level! {
    /// Each x becomes x · Φ(x), where Φ is the normal distribution: GELU as BERT has it, to 2e-7 of x.
    pub fn gelu(values: &mut [[f32; 16]]) = gelu_body
}

for_each_level! {
    /// `gate` becomes silu(`gate`) · `up`, where silu(x) = x / (1 + e^−x).
    pub fn gate(gate: &mut [[f32; 16]], up: &[[f32; 16]]) = gate_body
}

for_each_level! {
    /// `out` becomes the scalar products of `query` with the columns of `keys`, `[query.len()][32]`, times `scale`.
    pub fn scores(query: &[f32], keys: &[[f32; 32]], scale: f32, out: &mut [f32; 32]) = scores_body
}

for_each_level! {
    /// Scores become weights: e^(score − largest) over the sum of these.
    pub fn soften(scores: &mut [f32]) = soften_body
}

for_each_level! {
    /// Adds to `out` the rows of `values`, `[weights.len()][out.len()]`, each times its weight.
    pub fn mix(weights: &[f32], values: &[f32], out: &mut [f32]) = mix_body
}

for_each_level! {
    /// IEEE half precision to single.
    pub fn widen(halves: &[u16], out: &mut [f32]) = widen_body
}

#[inline(always)]
fn rms_norm_body<L: Lanes>(lanes: L, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let (chunks, rest) = x.as_chunks::<16>();
    let mut squares = [lanes.splat(0.0); 2];
    for (at, chunk) in chunks.iter().enumerate() {
        let chunk = lanes.load(chunk);
        squares[at % 2] = lanes.fma(chunk, chunk, squares[at % 2]);
    }
    let sum = lanes.sum(lanes.add(squares[0], squares[1])) + rest.iter().map(|x| x * x).sum::<f32>();
    let factor = 1.0 / (sum / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * factor * weight;
    }
}

#[inline(always)]
fn add_and_norm_body<L: Lanes>(
    lanes: L,
    x: &mut [f32],
    added: &[f32],
    weight: &[f32],
    bias: &[f32],
    epsilon: f32,
) {
    let count = x.len();
    let (chunks, rest) = x.as_chunks_mut::<16>();
    let (added, added_rest) = added.as_chunks::<16>();
    let mut sum = lanes.splat(0.0);
    for (x, added) in chunks.iter_mut().zip(added) {
        let value = lanes.add(lanes.load(x), lanes.load(added));
        lanes.store(value, x);
        sum = lanes.add(sum, value);
    }
    for (x, added) in rest.iter_mut().zip(added_rest) {
        *x += added;
    }
    let mean = (lanes.sum(sum) + rest.iter().sum::<f32>()) / count as f32;
    let mut squares = lanes.splat(0.0);
    for x in &*chunks {
        let apart = lanes.sub(lanes.load(x), lanes.splat(mean));
        squares = lanes.fma(apart, apart, squares);
    }
    let rest_squares: f32 = rest.iter().map(|x| (x - mean) * (x - mean)).sum();
    let factor = 1.0 / ((lanes.sum(squares) + rest_squares) / count as f32 + epsilon).sqrt();
    for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
        *x = (*x - mean) * factor * weight + bias;
    }
}

/// max(x, 0) − |x| / 2 · erfc(|x| / √2), with erfc by formula 7.1.26 of Abramowitz and Stegun.
#[inline(always)]
fn gelu_body<L: Lanes>(lanes: L, values: &mut [[f32; 16]]) {
    let (zero, one) = (lanes.splat(0.0), lanes.splat(1.0));
    for value in values {
        let x = lanes.load(value);
        let size = lanes.max(x, lanes.sub(zero, x));
        let z = lanes.mul(size, lanes.splat(std::f32::consts::FRAC_1_SQRT_2));
        let t = lanes.div(one, lanes.fma(z, lanes.splat(0.327_591_1), one));
        let mut y = lanes.splat(1.061_405_4);
        for term in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            y = lanes.fma(y, t, lanes.splat(term));
        }
        let power = lanes.exp(lanes.sub(zero, lanes.mul(z, z)));
        let tail = lanes.mul(lanes.mul(y, t), power);
        let lost = lanes.mul(lanes.mul(size, lanes.splat(0.5)), tail);
        lanes.store(lanes.sub(lanes.max(x, zero), lost), value);
    }
}

#[inline(always)]
fn gate_body<L: Lanes>(lanes: L, gate: &mut [[f32; 16]], up: &[[f32; 16]]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = lanes.load(gate);
        let below = lanes.add(lanes.splat(1.0), lanes.exp(lanes.sub(lanes.splat(0.0), x)));
        lanes.store(lanes.mul(lanes.div(x, below), lanes.load(up)), gate);
    }
}

/// Two sums of every second element for each half: one alone would wait for itself.
#[inline(always)]
fn scores_body<L: Lanes>(lanes: L, query: &[f32], keys: &[[f32; 32]], scale: f32, out: &mut [f32; 32]) {
    let mut sums = [[lanes.splat(0.0); 2]; 2];
    let (queries, _) = query.as_chunks::<2>();
    let (keys, _) = keys.as_chunks::<2>();
    for (query, keys) in queries.iter().zip(keys) {
        for phase in 0..2 {
            let query = lanes.splat(query[phase]);
            let (halves, _) = keys[phase].as_chunks::<16>();
            for half in 0..2 {
                sums[phase][half] = lanes.fma(query, lanes.load(&halves[half]), sums[phase][half]);
            }
        }
    }
    let (halves, _) = out.as_chunks_mut::<16>();
    for half in 0..2 {
        let sum = lanes.add(sums[0][half], sums[1][half]);
        lanes.store(lanes.mul(sum, lanes.splat(scale)), &mut halves[half]);
    }
}

#[inline(always)]
fn soften_body<L: Lanes>(lanes: L, scores: &mut [f32]) {
    let (chunks, rest) = scores.as_chunks_mut::<16>();
    let mut largest = lanes.splat(f32::NEG_INFINITY);
    for chunk in &*chunks {
        largest = lanes.max(largest, lanes.load(chunk));
    }
    let mut each = [0.0; 16];
    lanes.store(largest, &mut each);
    let most = each
        .iter()
        .chain(&*rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max);
    let mut sum = lanes.splat(0.0);
    for chunk in &mut *chunks {
        let weight = lanes.exp(lanes.sub(lanes.load(chunk), lanes.splat(most)));
        lanes.store(weight, chunk);
        sum = lanes.add(sum, weight);
    }
    let mut total = lanes.sum(sum);
    let mut last = [f32::NEG_INFINITY; 16];
    for (last, score) in last.iter_mut().zip(&*rest) {
        *last = score - most;
    }
    let shifted = lanes.load(&last);
    lanes.store(lanes.exp(shifted), &mut last);
    for (score, weight) in rest.iter_mut().zip(last) {
        *score = weight;
        total += weight;
    }
    let factor = 1.0 / total;
    scores.iter_mut().for_each(|weight| *weight *= factor);
}

#[inline(always)]
fn mix_body<L: Lanes>(lanes: L, weights: &[f32], values: &[f32], out: &mut [f32]) {
    let width = out.len();
    let (fours, rest) = out.as_chunks_mut::<64>();
    let mut done = 0;
    for out in fours {
        mix_chunks::<L, 4>(lanes, weights, values, width, done, out);
        done += 64;
    }
    let (ones, rest) = rest.as_chunks_mut::<16>();
    for out in ones {
        mix_chunks::<L, 1>(lanes, weights, values, width, done, out);
        done += 16;
    }
    for (weight, row) in weights.iter().zip(values.chunks_exact(width)) {
        for (out, value) in rest.iter_mut().zip(&row[done..]) {
            *out += weight * value;
        }
    }
}

/// `N` times sixteen columns, from `first` on.
#[inline(always)]
fn mix_chunks<L: Lanes, const N: usize>(
    lanes: L,
    weights: &[f32],
    values: &[f32],
    width: usize,
    first: usize,
    out: &mut [f32],
) {
    let (out, _) = out.as_chunks_mut::<16>();
    let mut sums = [lanes.splat(0.0); N];
    for n in 0..N {
        sums[n] = lanes.load(&out[n]);
    }
    for (weight, row) in weights.iter().zip(values.chunks_exact(width)) {
        let weight = lanes.splat(*weight);
        let (row, _) = row[first..].as_chunks::<16>();
        if let Some(row) = row.first_chunk::<N>() {
            for n in 0..N {
                sums[n] = lanes.fma(weight, lanes.load(&row[n]), sums[n]);
            }
        }
    }
    for n in 0..N {
        lanes.store(sums[n], &mut out[n]);
    }
}

#[inline(always)]
fn widen_body<L: Lanes>(lanes: L, halves: &[u16], out: &mut [f32]) {
    let (chunks, rest) = halves.as_chunks::<16>();
    let (out_chunks, out_rest) = out.as_chunks_mut::<16>();
    for (halves, out) in chunks.iter().zip(out_chunks) {
        lanes.store(lanes.halves(halves), out);
    }
    let mut last = [0_u16; 16];
    last[..rest.len()].copy_from_slice(rest);
    let mut wide = [0.0; 16];
    lanes.store(lanes.halves(&last), &mut wide);
    out_rest.copy_from_slice(&wide[..out_rest.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Level;

    fn close(found: &[f32], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            let error = (f64::from(*found) - wanted).abs();
            assert!(error <= 2e-6 * wanted.abs().max(1e-3), "{found} {wanted}");
        }
    }

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin() * 3.0).collect()
    }

    #[test]
    fn every_level_does_what_the_formulas_say() {
        for level in Level::every() {
            for count in [1, 8, 16, 33, 80] {
                let (x, weight) = (wave(count, 0.7), wave(count, 0.3));
                let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
                let (x64, weight64) = (wide(&x), wide(&weight));

                let mut out = vec![0.0; count];
                rms_norm(level, &x, &weight, 1e-5, &mut out);
                let mean = x64.iter().map(|x| x * x).sum::<f64>() / count as f64;
                let factor = 1.0 / (mean + f64::from(1e-5_f32)).sqrt();
                close(
                    &out,
                    &x64.iter()
                        .zip(&weight64)
                        .map(|(x, w)| x * factor * w)
                        .collect::<Vec<_>>(),
                );

                let mut soft = x.iter().map(|x| x * 8.0).collect::<Vec<_>>();
                let powers: Vec<f64> = wide(&soft).iter().map(|x| x.exp()).collect();
                soften(level, &mut soft);
                let sum: f64 = powers.iter().sum();
                for (found, power) in soft.iter().zip(&powers) {
                    assert!((f64::from(*found) - power / sum).abs() < 1e-6);
                }

                let values = wave(count * 5, 0.11);
                let mut mixed = vec![1.0; count];
                mix(level, &[0.5, -1.0, 2.0, 0.0, 1.5], &values, &mut mixed);
                for (at, mixed) in mixed.iter().enumerate() {
                    let row = |row: usize| f64::from(values[row * count + at]);
                    let wanted = 1.0 + 0.5 * row(0) - row(1) + 2.0 * row(2) + 1.5 * row(4);
                    assert!((f64::from(*mixed) - wanted).abs() < 1e-5, "{mixed} {wanted}");
                }
            }
            for count in [2, 8, 64, 80] {
                let (query, keys) = (wave(count, 0.7), wave(count * 32, 0.13));
                let keys = keys.as_chunks::<32>().0;
                let mut found = [0.0; 32];
                scores(level, &query, keys, 0.5, &mut found);
                for (at, found) in found.iter().enumerate() {
                    let products = query
                        .iter()
                        .zip(keys)
                        .map(|(a, b)| f64::from(*a) * f64::from(b[at]));
                    let wanted = products.sum::<f64>() * 0.5;
                    assert!((f64::from(*found) - wanted).abs() < 1e-4, "{found} {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_sum_is_normed_to_mean_and_variance() {
        for level in Level::every() {
            for count in [8, 16, 33, 80] {
                let (mut x, added) = (wave(count, 0.7), wave(count, 1.3));
                let (weight, bias) = (wave(count, 0.3), wave(count, 0.9));
                let sums: Vec<f64> = x.iter().zip(&added).map(|(a, b)| f64::from(a + b)).collect();
                let mean = sums.iter().sum::<f64>() / count as f64;
                let variance = sums.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count as f64;
                add_and_norm(level, &mut x, &added, &weight, &bias, 1e-12);
                for (at, found) in x.iter().enumerate() {
                    let wanted =
                        (sums[at] - mean) / variance.sqrt() * f64::from(weight[at]) + f64::from(bias[at]);
                    assert!((f64::from(*found) - wanted).abs() < 1e-5, "{found} {wanted}");
                }
            }
        }
    }

    #[test]
    fn gelu_is_that_of_the_normal_distribution_even_far_out() {
        // Of Python: x * 0.5 * math.erfc(-x / math.sqrt(2)).
        let wanted = [
            (-1e4, 0.0),
            (-6.0, -5.919_525_870e-9),
            (-3.0, -0.004_049_694_095),
            (-1.0, -0.158_655_253_93),
            (-0.1, -0.046_017_216_27),
            (0.0, 0.0),
            (1e-3, 5.003_989_422e-4),
            (0.5, 0.345_731_230_6),
            (1.0, 0.841_344_746_07),
            (2.0, 1.954_499_736_1),
            (5.0, 4.999_998_566_7),
            (1e4, 1e4),
        ];
        for level in Level::every() {
            let mut found = [[0.0; 16]];
            for (found, (x, _)) in found[0].iter_mut().zip(wanted) {
                *found = x;
            }
            gelu(level, &mut found);
            for (found, (x, wanted)) in found[0].iter().zip(wanted) {
                let error = (f64::from(*found) - wanted).abs();
                assert!(error <= 2e-7 * f64::from(x.abs()), "{x}: {found} {wanted}");
            }
        }
    }

    #[test]
    fn halves_of_all_kinds_become_what_they_are() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        for level in Level::every() {
            let mut out = vec![0.0; all.len()];
            widen(level, &all, &mut out);
            for (bits, found) in all.iter().zip(out) {
                let wanted = half::f16::from_bits(*bits).to_f32();
                assert!(
                    found == wanted || found.is_nan() && wanted.is_nan(),
                    "{bits:#x} {found} {wanted}"
                );
            }
        }
    }

    #[test]
    fn the_gate_is_silu_times_up_even_far_out() {
        for level in Level::every() {
            let mut found = [[0.0; 16]];
            for (at, value) in found[0].iter_mut().enumerate() {
                *value = [-200.0, -30.0, -1.0, 0.0, 1e-3, 2.0, 50.0, 1e4][at % 8];
            }
            let before = found[0];
            gate(level, &mut found, &[[2.0; 16]]);
            for (found, x) in found[0].iter().zip(before) {
                let x = f64::from(x);
                let wanted = 2.0 * x / (1.0 + (-x).exp());
                assert!(
                    (f64::from(*found) - wanted).abs() <= 1e-6 * wanted.abs() + 1e-30,
                    "{found} {wanted}"
                );
            }
        }
    }
}
