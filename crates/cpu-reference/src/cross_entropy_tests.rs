//! Losses and gradients against plain loops, and their bits against the number of threads.

use super::*;
use crate::testing::{assert_close, assert_same_bits, values};

fn targets(rows: usize, columns: usize) -> Vec<u32> {
    (0..rows).map(|row| (row * 7 % columns) as u32).collect()
}

/// Losses, and their gradient times `dloss`, by the definition.
fn naive<T: Real>(
    logits: &[T],
    columns: usize,
    targets: &[u32],
    dloss: &[T],
    counted: &Counted<'_, T>,
) -> [Vec<f64>; 2] {
    let (mut losses, mut gradients) = (Vec::new(), Vec::new());
    for (row, &target) in targets.iter().enumerate() {
        let x: Vec<f64> = logits[row * columns..][..columns].iter().map(|x| x.to_f64()).collect();
        let sum: f64 = x.iter().map(|x| x.exp()).sum();
        let q = |class: usize| {
            let hot = if class == target as usize { 1.0 - counted.smoothing } else { 0.0 };
            let used = if counted.ignored == Some(target) { 0.0 } else { 1.0 };
            let weight = counted.weight.map_or(1.0, |weight| weight[class].to_f64());
            used * weight * (hot + counted.smoothing / columns as f64)
        };
        let all: f64 = (0..columns).map(q).sum();
        losses.push((0..columns).map(|class| q(class) * (sum.ln() - x[class])).sum());
        gradients.extend((0..columns).map(|c| (x[c].exp() / sum * all - q(c)) * dloss[row].to_f64()));
    }
    [losses, gradients]
}

fn every_shape<T: Real>(tolerance: f64) {
    for (rows, columns) in [(1, 1), (1, 9), (33, 10), (40, 65), (7, 4097), (3000, 3)] {
        let logits: Vec<T> = values(rows * columns, 16);
        let dloss: Vec<T> = values(rows, 17);
        let weight: Vec<T> = values(columns, 18);
        let total: f64 = weight.iter().map(|weight| weight.to_f64()).sum();
        let plain = Counted::plain(columns);
        let weighted = Counted { weight: Some(&weight), total, ..plain };
        let targets = targets(rows, columns);
        for counted in [plain, weighted] {
            for (smoothing, ignored) in [(0.0, None), (0.3, Some(0)), (1.0, Some(7)), (0.0, Some(2))] {
                let counted = Counted { smoothing, ignored, ..counted };
                let (mut loss, mut statistics) = (vec![T::ZERO; rows], vec![T::ZERO; 2 * rows]);
                cross_entropy(&logits, columns, &targets, &counted, &mut loss, &mut statistics);
                let mut dlogits = vec![T::ZERO; rows * columns];
                cross_entropy_gradient(Some(&logits), columns, &targets, &statistics, &dloss, &counted, &mut dlogits);
                let [losses, gradients] = naive(&logits, columns, &targets, &dloss, &counted);
                assert_close(&loss, &losses, tolerance);
                assert_close(&dlogits, &gradients, tolerance);
                let mut within = logits.clone();
                cross_entropy_gradient(None, columns, &targets, &statistics, &dloss, &counted, &mut within);
                assert!(within == dlogits);
            }
        }
    }
}

#[test]
fn every_shape_agrees_with_a_plain_loop() {
    every_shape::<f32>(4e-6);
    every_shape::<f64>(1e-12);
}

/// Losses, statistics and gradients.
fn all(logits: &[f32], columns: usize, targets: &[u32], dloss: &[f32], counted: &Counted<'_, f32>) -> [Vec<f32>; 3] {
    let (mut loss, mut statistics) = (vec![0f32; targets.len()], vec![0f32; 2 * targets.len()]);
    cross_entropy(logits, columns, targets, counted, &mut loss, &mut statistics);
    let mut dlogits = vec![0f32; logits.len()];
    cross_entropy_gradient(Some(logits), columns, targets, &statistics, dloss, counted, &mut dlogits);
    [loss, statistics, dlogits]
}

#[test]
fn a_bad_target_gives_nan_in_its_row_only() {
    let [loss, statistics, dlogits] = all(&[0.0; 6], 2, &[1, 2, u32::MAX], &[1.0; 3], &Counted::plain(2));
    assert_eq!(loss[0], std::f32::consts::LN_2);
    assert!(loss[1].is_nan() && loss[2].is_nan());
    assert_eq!(statistics, [0.0, 2.0].repeat(3));
    assert_eq!(dlogits[..2], [0.5, -0.5]);
    assert!(dlogits[2..].iter().all(|value| value.is_nan()));
}

#[test]
fn ignored_rows_are_zero_whatever_they_hold() {
    let counted = Counted { ignored: Some(u32::MAX), ..Counted::plain(2) };
    let [loss, _, dlogits] = all(&[f32::NAN, 1.0, 0.0, 0.0], 2, &[u32::MAX, 1], &[f32::NAN, 1.0], &counted);
    assert_eq!(loss, [0.0, std::f32::consts::LN_2]);
    assert_eq!(dlogits, [0.0, 0.0, 0.5, -0.5]);
}

#[test]
fn outliers_stay_finite_or_become_nan() {
    let minus = f32::NEG_INFINITY;
    let logits = [1e4, -1e4, minus, minus, minus, minus, 1.0, f32::NAN, 2.0, f32::INFINITY, 0.0, 1.0];
    let [loss, statistics, dlogits] = all(&logits, 3, &[1, 0, 0, 1], &[2.0; 4], &Counted::plain(3));
    assert_eq!(loss[0], 2e4);
    assert!(loss[1..].iter().all(|value| value.is_nan()));
    assert_eq!(statistics[..2], [1e4, 1.0]);
    assert!(statistics[2..].iter().all(|value| value.is_nan()));
    assert_eq!(dlogits[..3], [2.0, -2.0, 0.0]);
    assert!(dlogits[3..].iter().all(|value| value.is_nan()));
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let logits: Vec<f32> = values(700 * 211, 18);
    let targets = targets(700, 211);
    let (dloss, weight): (Vec<f32>, Vec<f32>) = (values(700, 19), values(211, 20));
    let counted = Counted { smoothing: 0.1, weight: Some(&weight), total: 1.5, ..Counted::plain(211) };
    assert_same_bits(|| all(&logits, 211, &targets, &dloss, &counted).concat());
}
