//! Cross-entropy of rows of logits with class numbers, and its gradient.

use rayon::prelude::*;

use crate::real::Real;
use crate::softmax::exponentials;

/// Logits worth handing to another thread.
const TASK: usize = 1 << 12;

/// `loss[row] = ln Σ exp(x[row]) − x[row, target[row]]`; `logits` is `(rows, columns)`, `targets` and
/// `loss` are `(rows)`. A target that is not below `columns` gives NaN.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn cross_entropy<T: Real>(logits: &[T], columns: usize, targets: &[u32], loss: &mut [T]) {
    check(logits.len(), columns, targets.len(), loss.len());
    let rows = (TASK / columns).max(1);
    loss.par_chunks_mut(rows).zip(logits.par_chunks(rows * columns)).zip(targets.par_chunks(rows)).for_each(
        |((loss, logits), targets)| {
            let mut scratch = vec![T::ZERO; columns];
            for ((loss, row), target) in loss.iter_mut().zip(logits.chunks_exact(columns)).zip(targets) {
                let (maximum, sum) = exponentials(row, &mut scratch);
                *loss = match row.get(*target as usize) {
                    Some(value) => (maximum - *value) + T::from_f64(sum.ln()),
                    None => T::NAN,
                };
            }
        },
    );
}

/// `dlogits[row] = (softmax(x[row]) − one_hot(target[row]))·dloss[row]`, the gradient of
/// [`cross_entropy`]; `logits` and `dlogits` are `(rows, columns)`, `targets` and `dloss` are `(rows)`.
/// A target that is not below `columns` gives a row of NaN.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn cross_entropy_gradient<T: Real>(logits: &[T], columns: usize, targets: &[u32], dloss: &[T], dlogits: &mut [T]) {
    check(logits.len(), columns, targets.len(), dloss.len());
    assert!(logits.len() == dlogits.len(), "internal: {} logits have {} gradients", logits.len(), dlogits.len());
    let rows = (TASK / columns).max(1);
    dlogits
        .par_chunks_mut(rows * columns)
        .zip(logits.par_chunks(rows * columns))
        .zip(targets.par_chunks(rows))
        .zip(dloss.par_chunks(rows))
        .for_each(|(((dlogits, logits), targets), dloss)| {
            let rows = dlogits.chunks_exact_mut(columns).zip(logits.chunks_exact(columns));
            for (((gradient, row), target), dloss) in rows.zip(targets).zip(dloss) {
                let target = *target as usize;
                if target >= columns {
                    gradient.fill(T::NAN);
                    continue;
                }
                let scale = T::from_f64(1.0 / exponentials(row, gradient).1);
                for value in gradient.iter_mut() {
                    *value *= scale;
                }
                gradient[target] -= T::ONE;
                for value in gradient.iter_mut() {
                    *value *= *dloss;
                }
            }
        });
}

fn check(logits: usize, columns: usize, targets: usize, losses: usize) {
    assert!(
        columns > 0 && logits == targets * columns && losses == targets,
        "internal: {logits} logits in rows of {columns}, {targets} targets, {losses} losses"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_same_bits, values};

    fn targets(rows: usize, columns: usize) -> Vec<u32> {
        (0..rows).map(|row| (row * 7 % columns) as u32).collect()
    }

    fn every_shape<T: Real>(tolerance: f64) {
        for (rows, columns) in [(1, 1), (1, 9), (33, 10), (7, 4097), (3000, 3)] {
            let logits: Vec<T> = values(rows * columns, 16);
            let dloss: Vec<T> = values(rows, 17);
            let targets = targets(rows, columns);
            let mut loss = vec![T::ZERO; rows];
            cross_entropy(&logits, columns, &targets, &mut loss);
            let mut dlogits = vec![T::ZERO; rows * columns];
            cross_entropy_gradient(&logits, columns, &targets, &dloss, &mut dlogits);
            let (mut losses, mut gradients) = (Vec::new(), Vec::new());
            for row in 0..rows {
                let x: Vec<f64> = logits[row * columns..][..columns].iter().map(|x| x.to_f64()).collect();
                let sum: f64 = x.iter().map(|x| x.exp()).sum();
                let target = targets[row] as usize;
                losses.push(sum.ln() - x[target]);
                for (column, x) in x.iter().enumerate() {
                    let hot = if column == target { 1.0 } else { 0.0 };
                    gradients.push((x.exp() / sum - hot) * dloss[row].to_f64());
                }
            }
            assert_close(&loss, &losses, tolerance);
            assert_close(&dlogits, &gradients, tolerance);
        }
    }

    #[test]
    fn every_shape_agrees_with_a_plain_loop() {
        every_shape::<f32>(2e-6);
        every_shape::<f64>(1e-12);
    }

    #[test]
    fn a_bad_target_gives_nan_in_its_row_only() {
        let logits = [0.0f32; 6];
        let mut loss = [0f32; 3];
        cross_entropy(&logits, 2, &[1, 2, u32::MAX], &mut loss);
        assert_eq!(loss[0], std::f32::consts::LN_2);
        assert!(loss[1].is_nan() && loss[2].is_nan());
        let mut dlogits = [0f32; 6];
        cross_entropy_gradient(&logits, 2, &[1, 2, 0], &[1.0; 3], &mut dlogits);
        assert_eq!(dlogits[..2], [0.5, -0.5]);
        assert!(dlogits[2].is_nan() && dlogits[3].is_nan());
        assert_eq!(dlogits[4..], [-0.5, 0.5]);
    }

    #[test]
    fn outliers_stay_finite_or_become_nan() {
        let minus = f32::NEG_INFINITY;
        let logits = [1e4, -1e4, minus, minus, minus, minus, 1.0, f32::NAN, 2.0];
        let mut loss = [0f32; 3];
        cross_entropy(&logits, 3, &[1, 0, 0], &mut loss);
        assert_eq!(loss[0], 2e4);
        assert!(loss[1].is_nan() && loss[2].is_nan());
        let mut dlogits = [0f32; 9];
        cross_entropy_gradient(&logits, 3, &[1, 0, 0], &[2.0; 3], &mut dlogits);
        assert_eq!(dlogits[..3], [2.0, -2.0, 0.0]);
        assert!(dlogits[3..].iter().all(|value| value.is_nan()));
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let logits: Vec<f32> = values(700 * 211, 18);
        let targets = targets(700, 211);
        let dloss: Vec<f32> = values(700, 19);
        assert_same_bits(|| {
            let mut loss = vec![0f32; 700];
            cross_entropy(&logits, 211, &targets, &mut loss);
            let mut dlogits = vec![0f32; logits.len()];
            cross_entropy_gradient(&logits, 211, &targets, &dloss, &mut dlogits);
            [loss, dlogits].concat()
        });
    }
}
