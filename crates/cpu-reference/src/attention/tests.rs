//! Attention against plain loops.

use super::*;
use crate::testing::{assert_close, assert_same_bits, values};

/// Owned operands.
struct Case<T> {
    sizes: AttentionSizes,
    memory: [Vec<T>; 3],
    mask: Option<Vec<T>>,
    slopes: Option<Vec<T>>,
    causal: bool,
    window: Option<usize>,
    dropout: Option<WeightDropout>,
}

fn heads<T>(values: &[T], rows: usize, heads: usize, size: usize) -> Heads<'_, T> {
    Heads { values, offset: 0, strides: [rows * heads * size, heads * size, size] }
}

impl<T: Real> Case<T> {
    fn new(sizes: [usize; 6], seed: u64) -> Case<T> {
        let [batch, queries, keys, heads, groups, size] = sizes;
        let of_keys = batch * keys * groups * size;
        let memory = [batch * queries * heads * size, of_keys, of_keys];
        let memory = [0, 1, 2].map(|place| values(memory[place], seed + place as u64));
        let sizes = AttentionSizes { batch, queries, keys, heads, groups, size };
        Case { sizes, memory, mask: None, slopes: None, causal: false, window: None, dropout: None }
    }

    fn attention(&self) -> Attention<'_, T> {
        let AttentionSizes { queries, keys, heads: count, groups, size, .. } = self.sizes;
        let mask = self.mask.as_ref().map(|values| Bias { values, offset: 0, strides: [0, 0, keys, 1] });
        Attention {
            sizes: self.sizes,
            query: heads(&self.memory[0], queries, count, size),
            key: heads(&self.memory[1], keys, groups, size),
            value: heads(&self.memory[2], keys, groups, size),
            scale: 0.3,
            causal: self.causal,
            window: self.window,
            mask,
            slopes: self.slopes.as_deref(),
            dropout: self.dropout,
        }
    }

    /// The weights (batch, heads, queries, keys), before and with dropout.
    fn weights(&self) -> [Vec<f64>; 2] {
        let AttentionSizes { batch, queries, keys, heads, groups, size } = self.sizes;
        let [q, k, _] = &self.memory;
        let mut all = [Vec::new(), Vec::new()];
        for b in 0..batch {
            for h in 0..heads {
                for i in 0..queries {
                    let place = (i + keys) as i64 - queries as i64;
                    let score = |j: usize| {
                        let distance = place - j as i64;
                        if self.causal && distance < 0 || self.window.is_some_and(|most| distance >= most as i64) {
                            return f64::NEG_INFINITY;
                        }
                        let query = ((b * queries + i) * heads + h) * size;
                        let key = ((b * keys + j) * groups + h / (heads / groups)) * size;
                        let product = (0..size).map(|d| q[query + d].to_f64() * k[key + d].to_f64()).sum::<f64>();
                        let mask = self.mask.as_ref().map_or(0.0, |mask| mask[i * keys + j].to_f64());
                        let slope = self.slopes.as_ref().map_or(0.0, |slopes| slopes[h].to_f64());
                        product * f64::from(0.3_f32) + mask - slope * distance.abs() as f64
                    };
                    let scores: Vec<f64> = (0..keys).map(score).collect();
                    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
                    for (j, score) in scores.iter().enumerate() {
                        let weight = if largest == f64::NEG_INFINITY { 0.0 } else { (score - largest).exp() / sum };
                        let index = ((b * heads + h) * queries + i) * keys + j;
                        let factor = self.dropout.map_or(1.0, |dropout| {
                            let WeightDropout { probability, seed, step, stream } = dropout;
                            let bits = crate::philox::philox_word(index as u32, seed, step, stream);
                            let kept = crate::philox::unit_interval(bits) >= probability;
                            if kept { f64::from(1.0 / (1.0 - probability)) } else { 0.0 }
                        });
                        all[0].push(weight);
                        all[1].push(weight * factor);
                    }
                }
            }
        }
        all
    }

    fn forward(&self) -> [Vec<T>; 2] {
        let AttentionSizes { batch, queries, heads, size, .. } = self.sizes;
        let mut output = vec![T::NAN; batch * queries * heads * size];
        let mut logs = vec![T::NAN; batch * queries * heads];
        attention(&self.attention(), &mut output, &mut logs);
        [output, logs]
    }

    fn gradient(&self) -> [Vec<T>; 3] {
        let AttentionSizes { queries, heads: count, size, .. } = self.sizes;
        let [y, logs] = self.forward();
        let dy: Vec<T> = values(y.len(), 99);
        let mut rows = Vec::new();
        for (row, log) in logs.iter().enumerate() {
            let mut sum = T::ZERO;
            (0..size).for_each(|d| sum += dy[row * size + d] * y[row * size + d]);
            rows.extend([*log, sum]);
        }
        let mut gradients = [0, 1, 2].map(|place: usize| vec![T::NAN; self.memory[place].len()]);
        let [dq, dk, dv] = &mut gradients;
        let (dy, rows) = (heads(&dy, queries, count, size), heads(&rows, queries, count, 2));
        attention_gradient(&self.attention(), dy, rows, [dq, dk, dv]);
        gradients
    }

    fn check(&self, tolerance: f64) {
        let AttentionSizes { batch, queries, keys, heads, groups, size } = self.sizes;
        let [q, k, v] = [0, 1, 2].map(|place| self.memory[place].iter().map(|x| x.to_f64()).collect::<Vec<f64>>());
        let [plain, weights] = self.weights();
        let mut y = vec![0.0; q.len()];
        let places = || {
            (0..batch * heads * queries * keys).map(move |index| {
                let (j, i, h) = (index % keys, index / keys % queries, index / keys / queries % heads);
                let b = index / keys / queries / heads;
                let query = ((b * queries + i) * heads + h) * size;
                (index, query, ((b * keys + j) * groups + h / (heads / groups)) * size)
            })
        };
        for (index, query, key) in places() {
            (0..size).for_each(|d| y[query + d] += weights[index] * v[key + d]);
        }
        assert_close(&self.forward()[0], &y, tolerance);
        let dy: Vec<f64> = values::<T>(y.len(), 99).iter().map(|x| x.to_f64()).collect();
        let mut expected = [vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]];
        for (index, query, key) in places() {
            let factor = if plain[index] == 0.0 { 0.0 } else { weights[index] / plain[index] };
            let of_weight: f64 = (0..size).map(|d| dy[query + d] * v[key + d]).sum();
            let mean: f64 = (0..size).map(|d| dy[query + d] * y[query + d]).sum();
            let of_score = plain[index] * (of_weight * factor - mean) * f64::from(0.3_f32);
            for d in 0..size {
                expected[0][query + d] += of_score * k[key + d];
                expected[1][key + d] += of_score * q[query + d];
                expected[2][key + d] += weights[index] * dy[query + d];
            }
        }
        for (found, expected) in self.gradient().iter().zip(&expected) {
            assert_close(found, expected, 4.0 * tolerance);
        }
    }
}

/// Ordinary cases, and some of large scores.
fn cases<T: Real>() -> [Vec<Case<T>>; 2] {
    let (mut all, mut steep) = (Vec::new(), Vec::new());
    for sizes in [
        [1, 1, 1, 1, 1, 1],
        [2, 3, 5, 4, 2, 3],
        [1, 130, 130, 2, 1, 5],
        [2, 70, 300, 2, 2, 8],
        [1, 1, 600, 3, 1, 16],
        [1, 5, 2, 2, 2, 4],
        [1, 90, 700, 3, 3, 33],
    ] {
        for (causal, window) in [(false, None), (true, None), (true, Some(3)), (false, Some(200)), (true, Some(0))] {
            let mut case = Case::new(sizes, 5);
            (case.causal, case.window) = (causal, window);
            all.push(case);
        }
        let mut case = Case::new(sizes, 6);
        case.mask = Some(values(sizes[1] * sizes[2], 7));
        case.slopes = Some(values(sizes[3], 8));
        steep.push(case);
        let mut case = Case::new(sizes, 6);
        case.mask = Some(values(sizes[1] * sizes[2], 7));
        // So that the most distant key gets a few units: f32 scores of hundreds would leave weights of few digits.
        let slopes = values::<T>(sizes[3], 8).iter().map(|slope| *slope / T::from_f64(sizes[2] as f64)).collect();
        case.slopes = Some(slopes);
        case.dropout = Some(WeightDropout { probability: 0.3, seed: 3, step: 4, stream: 5 });
        case.causal = true;
        all.push(case);
    }
    [all, steep]
}

#[test]
fn outputs_and_gradients_agree_with_plain_loops() {
    let [ordinary, _] = cases::<f32>();
    ordinary.iter().for_each(|case| case.check(5e-6));
    let [ordinary, steep] = cases::<f64>();
    ordinary.iter().chain(&steep).for_each(|case| case.check(1e-13));
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    for sizes in [[1, 700, 700, 2, 1, 16], [8, 130, 130, 4, 2, 16], [1, 1, 3000, 8, 2, 32]] {
        let mut case = Case::<f32>::new(sizes, 9);
        case.causal = true;
        assert_same_bits(|| case.forward().concat());
        assert_same_bits(|| case.gradient().concat());
    }
}

#[test]
fn nan_reaches_those_who_see_it_and_no_others() {
    let mut case = Case::<f32>::new([1, 9, 9, 1, 1, 4], 10);
    case.causal = true;
    for place in [1, 2] {
        let before = std::mem::replace(&mut case.memory[place][5 * 4], f32::NAN);
        let y = &case.forward()[0];
        assert!(y[..5 * 4].iter().all(|value| value.is_finite()));
        assert!((5..9).all(|row| y[row * 4].is_nan()));
        let dq = &case.gradient()[0];
        assert!(dq[..5 * 4].iter().all(|value| value.is_finite()) && dq[5 * 4].is_nan());
        case.memory[place][5 * 4] = before;
    }
    case.memory[0][5 * 4] = f32::NAN;
    let [y, logs] = case.forward();
    assert!((0..9).all(|row| y[row * 4].is_nan() == (row == 5) && logs[row].is_nan() == (row == 5)));
    let [_, dk, dv] = case.gradient();
    for gradient in [dk, dv] {
        assert!((0..9).all(|row| gradient[row * 4].is_nan() == (row <= 5)));
    }
}

#[test]
fn a_query_that_sees_no_key_gives_zeros() {
    // The first three of five queries lie before both keys.
    let mut case = Case::<f32>::new([1, 5, 2, 1, 1, 4], 11);
    case.causal = true;
    let [y, logs] = case.forward();
    assert_eq!(y[..12], [0.0; 12]);
    assert!(y[12..].iter().all(|value| *value != 0.0) && logs[..3] == [UNSEEING; 3]);
    assert_eq!(case.gradient()[0][..12], [0.0; 12]);
    case.causal = false;
    case.mask = Some(vec![f32::NEG_INFINITY; 10]);
    assert_eq!(case.forward()[0], [0.0; 20]);
    assert!(case.gradient().iter().flatten().all(|value| *value == 0.0));
}
