//! Cumulative sums of contiguous rows.

use rayon::prelude::*;

use crate::real::Real;

/// Elements worth handing to another thread.
const TASK: usize = 1 << 14;

/// Each element of the output is the sum of its row up to there: with the element itself, or without it if `exclusive`;
/// from the end of the row on if `reverse`. `input` and `output` are `(rows, columns)`.
///
/// Sums are accumulated in `f64`, one element after the other, and each result is rounded once.
///
/// # Panics
/// If the lengths are not equal multiples of `columns` ("internal: …").
pub fn cumulative_sum<T: Real>(input: &[T], columns: usize, exclusive: bool, reverse: bool, output: &mut [T]) {
    assert!(
        columns > 0 && input.len() == output.len() && input.len().is_multiple_of(columns),
        "internal: rows of {columns} columns, {} elements in, {} out",
        input.len(),
        output.len()
    );
    let row = |(input, output): (&[T], &mut [T])| {
        let mut sum = 0.0;
        let mut add = |(input, output): (&T, &mut T)| {
            let with = sum + input.to_f64();
            *output = T::from_f64(if exclusive { sum } else { with });
            sum = with;
        };
        let elements = input.iter().zip(output);
        if reverse { elements.rev().for_each(&mut add) } else { elements.for_each(&mut add) }
    };
    let task = (TASK / columns).max(1) * columns;
    let rows = |(input, output): (&[T], &mut [T])| {
        input.chunks_exact(columns).zip(output.chunks_exact_mut(columns)).for_each(row);
    };
    if input.len() <= task {
        rows((input, output));
    } else {
        input.par_chunks(task).zip(output.par_chunks_mut(task)).for_each(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_same_bits, values};

    fn both<T: Real>(rows: usize, columns: usize, tolerance: f64) {
        let data: Vec<T> = values(rows * columns, 31);
        for (exclusive, reverse) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut output = vec![T::NAN; data.len()];
            cumulative_sum(&data, columns, exclusive, reverse, &mut output);
            // By the definition: a sum of its own for each element.
            let expected = data.chunks(columns).flat_map(|row| {
                (0..columns).map(|place| {
                    let terms = match (exclusive, reverse) {
                        (false, false) => &row[..=place],
                        (true, false) => &row[..place],
                        (false, true) => &row[place..],
                        (true, true) => &row[place + 1..],
                    };
                    terms.iter().map(|term| term.to_f64()).sum::<f64>()
                })
            });
            assert_close(&output, &expected.collect::<Vec<f64>>(), tolerance);
        }
    }

    #[test]
    fn every_kind_agrees_with_sums_by_definition() {
        for (rows, columns) in [(1, 1), (4, 1), (1, 7), (5, 33), (300, 70), (2, 1000)] {
            both::<f32>(rows, columns, 1e-6);
            both::<f64>(rows, columns, 1e-13);
        }
    }

    #[test]
    fn nan_and_infinity_go_on_to_the_end_of_their_row() {
        let input = [1.0, f32::NAN, 2.0, 3.0, f32::INFINITY, 1.0, f32::NEG_INFINITY, 0.0];
        let mut output = [0f32; 8];
        cumulative_sum(&input, 4, false, false, &mut output);
        assert!(output[0] == 1.0 && output[1..4].iter().all(|sum| sum.is_nan()));
        assert!(output[4..6] == [f32::INFINITY; 2] && output[6..].iter().all(|sum| sum.is_nan()));
        cumulative_sum(&input, 4, true, true, &mut output);
        assert_eq!(output[1..4], [5.0, 3.0, 0.0]);
        assert!(output[0].is_nan());
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let data: Vec<f32> = values(400 * 301, 32);
        assert_same_bits(|| {
            let mut output = vec![0f32; data.len()];
            cumulative_sum(&data, 301, false, false, &mut output);
            output
        });
    }
}
