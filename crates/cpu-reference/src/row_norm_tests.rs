//! Normalised rows and their gradients against plain loops, and their bits against the number of threads.

use super::*;
use crate::testing::{assert_close, assert_same_bits, values};

/// Normalised rows and the gradient for `dy`, by the definitions.
fn naive(norm: &RowNorm<'_, f64>, x: &[f64], dy: &[f64]) -> [Vec<f64>; 3] {
    let (mut y, mut statistics, mut dx) = (Vec::new(), Vec::new(), Vec::new());
    for (x, dy) in x.chunks(norm.width).zip(dy.chunks(norm.width)) {
        let average = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let mean = if norm.centred { average(x) } else { 0.0 };
        let squares: Vec<f64> = x.iter().map(|x| (x - mean) * (x - mean)).collect();
        let inverse = 1.0 / (average(&squares) + norm.eps).sqrt();
        let weight = |column: usize| norm.weight.map_or(1.0, |weight| weight[column]);
        let bias = |column: usize| norm.bias.map_or(0.0, |bias| bias[column]);
        let normal: Vec<f64> = x.iter().map(|x| (x - mean) * inverse).collect();
        let g: Vec<f64> = dy.iter().enumerate().map(|(column, dy)| dy * weight(column)).collect();
        let products: Vec<f64> = g.iter().zip(&normal).map(|(g, normal)| g * normal).collect();
        let (sum, product) = (if norm.centred { average(&g) } else { 0.0 }, average(&products));
        y.extend(normal.iter().enumerate().map(|(column, normal)| normal * weight(column) + bias(column)));
        dx.extend(g.iter().zip(&normal).map(|(g, normal)| (g - sum - normal * product) * inverse));
        statistics.extend([mean, inverse]);
    }
    [y, statistics, dx]
}

fn found<T: Real>(norm: &RowNorm<'_, T>, x: &[T], dy: &[T]) -> [Vec<T>; 3] {
    let (mut y, mut statistics) = (vec![T::ZERO; x.len()], vec![T::ZERO; 2 * (x.len() / norm.width)]);
    row_norm(norm, x, &mut y, &mut statistics);
    let mut dx = vec![T::ZERO; x.len()];
    row_norm_gradient(norm, Some(dy), x, &statistics, &mut dx);
    let mut within = dy.to_vec();
    row_norm_gradient(norm, None, x, &statistics, &mut within);
    let bits = |values: &[T]| bytemuck::cast_slice::<T, u8>(values).to_vec();
    assert!(bits(&within) == bits(&dx));
    [y, statistics, dx]
}

fn wide<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

fn every_shape<T: Real>(tolerance: f64, far: f64) {
    for (rows, width) in [(1, 1), (3, 1), (5, 16), (40, 65), (33, 10), (7, 4097), (3000, 3), (700, 128)] {
        let x: Vec<T> = values::<T>(rows * width, 3).iter().map(|x| T::from_f64(x.to_f64() + far)).collect();
        let (dy, weight, bias): (Vec<T>, Vec<T>, Vec<T>) =
            (values(rows * width, 4), values(width, 5), values(width, 6));
        for centred in [true, false] {
            for (weighted, biased) in [(false, false), (true, false), (false, true), (true, true)] {
                let (weight, bias) = (weighted.then_some(&weight[..]), biased.then_some(&bias[..]));
                let norm = RowNorm { width, centred, eps: 0.1, weight, bias };
                let found = found(&norm, &x, &dy);
                let (weight, bias) = (weight.map(wide), bias.map(wide));
                let norm = RowNorm { width, centred, eps: 0.1, weight: weight.as_deref(), bias: bias.as_deref() };
                for (found, expected) in found.iter().zip(naive(&norm, &wide(&x), &wide(&dy))) {
                    assert_close(found, &expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn every_shape_agrees_with_a_plain_loop() {
    every_shape::<f32>(4e-6, 0.0);
    every_shape::<f64>(1e-12, 0.0);
    every_shape::<f64>(1e-9, 1e4);
    // What is 1e3 has the error of that.
    every_shape::<f32>(3e-4, 1e3);
}

#[test]
fn equal_elements_have_no_deviation() {
    let norm = RowNorm { width: 1000, centred: true, eps: 1.0, weight: None, bias: None };
    let [y, statistics, _] = found(&norm, &vec![0.1f32; 3000], &vec![1.0; 3000]);
    assert!(y.iter().all(|y| *y == 0.0));
    assert_eq!(statistics, [0.1, 1.0].repeat(3));
}

#[test]
fn outliers_reach_their_own_row_only() {
    let mut x: Vec<f32> = values(5 * 33, 7);
    (x[3], x[40], x[70]) = (f32::NAN, f32::INFINITY, 1e25);
    for centred in [true, false] {
        let norm = RowNorm { width: 33, centred, eps: 1e-5, weight: None, bias: None };
        let [y, statistics, dx] = found(&norm, &x, &vec![1.0; x.len()]);
        assert!(y[..33].iter().chain(&dx[..33]).all(|value| value.is_nan()));
        assert!(y[40].is_nan() && statistics[1].is_nan());
        assert!(y[99..].iter().chain(&dx[99..]).all(|value| value.is_finite()));
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let (x, dy): (Vec<f32>, Vec<f32>) = (values(900 * 211, 8), values(900 * 211, 9));
    let weight: Vec<f32> = values(211, 10);
    for centred in [true, false] {
        let norm = RowNorm { width: 211, centred, eps: 1e-5, weight: Some(&weight), bias: None };
        assert_same_bits(|| found(&norm, &x, &dy).concat());
    }
}
