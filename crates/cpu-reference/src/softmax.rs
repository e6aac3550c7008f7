//! Softmax and log-softmax of contiguous rows.

use rayon::prelude::*;

use crate::real::Real;
use crate::reduce::{row_maximum, row_sum};

/// Elements worth handing to another thread.
const TASK: usize = 1 << 12;

/// `output = exp(x − max) / Σ exp(x − max)` in each row; `input` and `output` are `(rows, columns)`.
///
/// A row with a NaN, with +∞, or of −∞ only is NaN, as in PyTorch; other −∞ entries give 0.
///
/// # Panics
/// If the lengths are not equal multiples of `columns` ("internal: …").
pub fn softmax<T: Real>(input: &[T], columns: usize, output: &mut [T]) {
    each_row(input, columns, output, |input, output| {
        let sum = exponentials(input, output).1;
        let scale = T::from_f64(1.0 / sum);
        for value in output {
            *value *= scale;
        }
    });
}

/// `output = x − max − ln Σ exp(x − max)` in each row; `input` and `output` are `(rows, columns)`.
///
/// A row with a NaN, with +∞, or of −∞ only is NaN, as in PyTorch; other −∞ entries stay −∞.
///
/// # Panics
/// If the lengths are not equal multiples of `columns` ("internal: …").
pub fn log_softmax<T: Real>(input: &[T], columns: usize, output: &mut [T]) {
    each_row(input, columns, output, |input, output| {
        let (maximum, sum) = exponentials(input, output);
        let logarithm = T::from_f64(sum.ln());
        for (output, value) in output.iter_mut().zip(input) {
            *output = (*value - maximum) - logarithm;
        }
    });
}

/// Writes exp(x − max) to `output`; returns the maximum and the sum of the exponentials (at least 1, or
/// NaN where the row has no softmax).
pub(crate) fn exponentials<T: Real>(input: &[T], output: &mut [T]) -> (T, f64) {
    let maximum = row_maximum(input);
    for (output, value) in output.iter_mut().zip(input) {
        *output = (*value - maximum).exp();
    }
    (maximum, row_sum(output))
}

/// Runs `work` on each row, in parallel where there is enough of it.
fn each_row<T: Real>(input: &[T], columns: usize, output: &mut [T], work: impl Fn(&[T], &mut [T]) + Sync) {
    assert!(
        columns > 0 && input.len() == output.len() && input.len().is_multiple_of(columns),
        "internal: rows of {columns} columns, {} elements in, {} out",
        input.len(),
        output.len()
    );
    let task = (TASK / columns).max(1) * columns;
    let run_task = |(input, output): (&[T], &mut [T])| {
        let rows = input.chunks_exact(columns).zip(output.chunks_exact_mut(columns));
        rows.for_each(|(input, output)| work(input, output));
    };
    if input.len() <= task {
        run_task((input, output));
    } else {
        input.par_chunks(task).zip(output.par_chunks_mut(task)).for_each(run_task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_same_bits, values};

    fn naive(row: &[f64]) -> Vec<f64> {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - top).exp()).sum();
        row.iter().map(|x| (x - top).exp() / sum).collect()
    }

    fn both<T: Real>(data: &[T], columns: usize, tolerance: f64) {
        let exact: Vec<f64> = data.iter().map(|value| value.to_f64()).collect();
        let expected: Vec<f64> = exact.chunks(columns).flat_map(naive).collect();
        let mut output = vec![T::ZERO; data.len()];
        softmax(data, columns, &mut output);
        assert_close(&output, &expected, tolerance);
        log_softmax(data, columns, &mut output);
        let expected: Vec<f64> = exact
            .chunks(columns)
            .flat_map(|row| {
                let sum: f64 = row.iter().map(|x| x.exp()).sum();
                row.iter().map(move |x| x - sum.ln()).collect::<Vec<f64>>()
            })
            .collect();
        assert_close(&output, &expected, tolerance);
    }

    #[test]
    fn rows_agree_with_a_plain_loop() {
        for (rows, columns) in [(1, 1), (3, 1), (1, 7), (5, 33), (9, 1000), (2, 50_257), (5000, 3)] {
            both::<f32>(&values(rows * columns, 13), columns, 3e-6);
            both::<f64>(&values(rows * columns, 14), columns, 1e-12);
        }
    }

    #[test]
    fn outliers_give_what_pytorch_gives() {
        let nan = f32::NAN;
        let (plus, minus) = (f32::INFINITY, f32::NEG_INFINITY);
        let input = [
            [1e4, -1e4, 1e4, 0.0],
            [minus, 0.0, minus, 0.0],
            [minus, minus, minus, minus],
            [1.0, nan, 0.0, minus],
            [plus, 1.0, 0.0, 0.0],
        ]
        .concat();
        let mut output = vec![0f32; 20];
        softmax(&input, 4, &mut output);
        assert_eq!(output[..4], [0.5, 0.0, 0.5, 0.0]);
        assert_eq!(output[4..8], [0.0, 0.5, 0.0, 0.5]);
        assert!(output[8..].iter().all(|value| value.is_nan()));
        log_softmax(&input, 4, &mut output);
        let half = -std::f32::consts::LN_2;
        assert_eq!(output[..4], [half, -2e4 + half, half, -1e4 + half]);
        assert_eq!(output[4..8], [minus, half, minus, half]);
        assert!(output[8..].iter().all(|value| value.is_nan()));
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let data: Vec<f32> = values(500 * 301, 15);
        assert_same_bits(|| {
            let mut output = vec![0f32; data.len()];
            softmax(&data, 301, &mut output);
            output
        });
    }
}
