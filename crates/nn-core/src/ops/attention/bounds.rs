//! How exact attention and its gradient are: every rounding on the way, weighed by what it moves.
//!
//! Errors are counted in roundings. Magnitudes say how many there are of what size, for a GPU; the CPU's exponential and
//! its sums take no more of its own, smaller ones.

use crate::graph::{Accuracy, Arithmetic, CpuCall};
use cpu_reference::philox::{philox_word, unit_interval};
use cpu_reference::{Attention, AttentionSizes, Heads};

/// Keys of a GPU's tile; the CPU's are larger.
const TILE: usize = 32;

/// A dropped or denormal weight loses at most this of its product with the largest value.
fn lost(arithmetic: Arithmetic, terms: usize, largest: f64) -> f64 {
    2.0 * terms as f64 * arithmetic.smallest() * (1.0 + largest) / arithmetic.unit()
}

/// Of output and logarithms, in units of the magnitudes below.
pub(super) fn forward(arithmetic: Arithmetic, sizes: &AttentionSizes, largest: f64) -> Accuracy {
    Accuracy { relative: 0.0, absolute: lost(arithmetic, sizes.keys, largest), summed: arithmetic.rounding() }
}

/// Of the three gradients, likewise; `largest` are those of dy, query, key, value.
pub(super) fn gradient(arithmetic: Arithmetic, sizes: &AttentionSizes, largest: &[f64]) -> Accuracy {
    let terms = sizes.keys.max(sizes.queries * sizes.heads / sizes.groups);
    let of_weight = largest[0] * (1.0 + 2.0 * sizes.size as f64 * largest[3]);
    let largest = of_weight * (1.0 + largest[1].max(largest[2]));
    Accuracy { relative: 0.0, absolute: lost(arithmetic, terms, largest), summed: arithmetic.rounding() }
}

/// One query and one key that it sees.
struct Pair {
    key: usize,
    score: f64,
    /// Roundings of the score, in units of 1.
    error: f64,
    /// What dropout multiplies the weight by.
    factor: f64,
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn absolute_product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum()
}

/// The pairs of one row.
fn pairs(attention: &Attention<'_, f64>, batch: usize, head: usize, query: usize) -> Vec<Pair> {
    let AttentionSizes { queries, keys, heads, size, .. } = attention.sizes;
    let scale = f64::from(attention.scale);
    let q = &attention.query.from(batch, query, head)[..size];
    let pair = |key: usize| {
        let k = &attention.key.from(batch, key, attention.group(head))[..size];
        let (mut score, mut reach) = (product(q, k) * scale, absolute_product(q, k) * scale);
        // The products and additions, and the scaling.
        let mut error = reach * (size as f64 + 1.0);
        if let Some(mask) = &attention.mask {
            let [of_batch, of_head, of_query, of_key] = mask.strides;
            let added = mask.values[mask.offset + batch * of_batch + head * of_head + query * of_query + key * of_key];
            score += added;
            reach += added.abs();
            error += reach;
        }
        if let Some(slopes) = attention.slopes {
            let subtracted = slopes[head] * ((query + keys) as f64 - (queries + key) as f64).abs();
            score -= subtracted;
            reach += subtracted.abs();
            error += reach + subtracted.abs();
        }
        let factor = attention.dropout.map_or(1.0, |dropout| {
            let index = ((batch * heads + head) * queries + query) * keys + key;
            let word = philox_word(index as u32, dropout.seed, dropout.step, dropout.stream);
            let kept = unit_interval(word) >= dropout.probability;
            if kept { f64::from(1.0 / (1.0 - dropout.probability)) } else { 0.0 }
        });
        Pair { key, score, error, factor }
    };
    // A mask of −∞ hides a key: nothing of it is rounded.
    attention.seen(query).map(pair).filter(|pair| pair.score != f64::NEG_INFINITY).collect()
}

/// So many roundings of an exponent, as roundings of the power.
fn grown(roundings: f64) -> f64 {
    let unit = Arithmetic::Gpu.unit();
    (roundings * unit).exp_m1() / unit
}

/// Of e to the power of a difference, relative to it: the difference is rounded, and WGSL's exp errs by 3 + 2|x|.
fn of_weight(pair: &Pair, distance: f64) -> f64 {
    grown(pair.error + 3.0 * distance.abs() + 3.0)
}

fn rows(sizes: &AttentionSizes) -> impl Iterator<Item = (usize, usize, usize)> {
    let AttentionSizes { batch, queries, heads, .. } = *sizes;
    (0..batch * queries * heads).map(move |row| (row / heads / queries, row % heads, row / heads % queries))
}

/// Replaces output and logarithms by what their errors are measured by.
pub(super) fn forward_magnitudes(attention: &Attention<'_, f64>, call: &mut CpuCall<'_>) {
    let AttentionSizes { keys, size, .. } = attention.sizes;
    let tiles = keys.div_ceil(TILE) as f64;
    let additions = keys as f64 + tiles;
    for (row, (batch, head, query)) in rows(&attention.sizes).enumerate() {
        let pairs = pairs(attention, batch, head, query);
        let largest = pairs.iter().map(|pair| pair.score).fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        let mut mean = 0.0;
        let mut of_row = vec![0.0; size];
        let blind = largest == f64::NEG_INFINITY;
        // Where the largest score grows, what was summed is rescaled: an exponential and a product a tile.
        let errors = pairs.iter().map(|pair| of_weight(pair, largest - pair.score) + 4.0 * tiles);
        let errors: Vec<f64> = errors.collect();
        for (pair, error) in pairs.iter().zip(&errors).filter(|_| !blind) {
            let weight = (pair.score - largest).exp();
            sum += weight;
            mean += weight * error;
        }
        mean /= sum;
        for (pair, error) in pairs.iter().zip(&errors).filter(|_| !blind) {
            let weight = (pair.score - largest).exp() / sum * pair.factor;
            let value = attention.value.from(batch, pair.key, attention.group(head));
            for (total, value) in of_row.iter_mut().zip(value) {
                // Dropout, the product, the division by the sum.
                *total += weight * value.abs() * (error + mean + 2.0 * additions + 5.0);
            }
        }
        call.output::<f64>(0)[row * size..][..size].copy_from_slice(&of_row);
        let logarithm = sum.ln();
        let of_logarithm = mean + additions + f64::max(4.0, 3.0 * logarithm) + (largest + logarithm).abs();
        call.output::<f64>(1)[row] = if blind { 0.0 } else { of_logarithm };
    }
}

/// Replaces the three gradients by what their errors are measured by.
pub(super) fn gradient_magnitudes(
    attention: &Attention<'_, f64>,
    dy: Heads<'_, f64>,
    given: Heads<'_, f64>,
    call: &mut CpuCall<'_>,
) {
    let AttentionSizes { queries, keys, heads, groups, size, .. } = attention.sizes;
    let (along, across) = (keys as f64, (queries * heads / groups) as f64);
    let scale = f64::from(attention.scale.abs());
    for output in 0..3 {
        call.output::<f64>(output).fill(0.0);
    }
    for (row, (batch, head, query)) in rows(&attention.sizes).enumerate() {
        let dy = &dy.from(batch, query, head)[..size];
        let q = &attention.query.from(batch, query, head)[..size];
        let given = given.from(batch, query, head);
        for pair in pairs(attention, batch, head, query) {
            let group = attention.group(head);
            let Pair { key, factor, score, .. } = pair;
            let (k, v) = (attention.key.from(batch, key, group), &attention.value.from(batch, key, group)[..size]);
            let weight = (score - given[0]).exp();
            // A weight of almost nothing has no error either, however far the score.
            let error = if weight == 0.0 { 0.0 } else { of_weight(&pair, score - given[0]) };
            let difference = (product(dy, v) * factor - given[1]).abs();
            let of_products = (size as f64 + 1.0) * absolute_product(dy, v) * factor;
            let of_score = weight * ((error + 4.0) * difference + of_products) * scale;
            let each = weight * difference * scale;
            let from = ((batch * keys + key) * groups + group) * size;

            for element in 0..size {
                call.output::<f64>(0)[row * size + element] += k[element].abs() * (of_score + along * each);
                call.output::<f64>(1)[from + element] += q[element].abs() * (of_score + across * each);
                call.output::<f64>(2)[from + element] += dy[element].abs() * weight * factor * (error + 1.0 + across);
            }
        }
    }
}
