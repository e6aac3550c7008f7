//! Softmax and log-softmax of contiguous rows.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::real::Real;
use crate::row::{LANES, Map, Sum, Term, largest, map, sums};

/// Elements worth handing to another thread.
pub(crate) const TASK: usize = 1 << 13;

/// `output = exp(x − max) / Σ exp(x − max)` in each row; `input` and `output` are `(rows, columns)`. Without an input the
/// rows lie in `output`, and are replaced.
///
/// A row with a NaN, with +∞, or of −∞ only is NaN, as in PyTorch; other −∞ entries give 0.
///
/// # Panics
/// If the lengths are not equal multiples of `columns` ("internal: …").
pub fn softmax<T: Real>(input: Option<&[T]>, columns: usize, output: &mut [T]) {
    each_task(input, columns, output, false);
}

/// `output = x − max − ln Σ exp(x − max)` in each row; `input` and `output` are as for [`softmax`].
///
/// A row with a NaN, with +∞, or of −∞ only is NaN, as in PyTorch; other −∞ entries stay −∞.
///
/// # Panics
/// If the lengths are not equal multiples of `columns` ("internal: …").
pub fn log_softmax<T: Real>(input: Option<&[T]>, columns: usize, output: &mut [T]) {
    each_task(input, columns, output, true);
}

/// exp(x − maximum), whose sum softmax divides by.
pub(crate) struct Exponentials<T> {
    pub(crate) maximum: T,
}

impl<T: Real> Term<T, 1, 1> for Exponentials<T> {
    #[inline(always)]
    fn of(&self, [values]: [&[T; LANES]; 1]) -> [[T; LANES]; 1] {
        [values.map(|value| (value - self.maximum).exp())]
    }

    #[inline(always)]
    fn fillers(&self) -> [T; 1] {
        [T::NEG_INFINITY]
    }
}

/// The same, written down and added up: a block's in their own precision, before they join the sum.
pub(crate) struct Kept<T> {
    maximum: T,
    block: [T; LANES],
    pub(crate) sum: Sum,
}

impl<T: Real> Kept<T> {
    #[inline(always)]
    pub(crate) fn new(maximum: T) -> Kept<T> {
        Kept { maximum, block: [T::ZERO; LANES], sum: Sum::new() }
    }
}

impl<T: Real> Map<T> for Kept<T> {
    #[inline(always)]
    fn of(&mut self, values: &[T; LANES]) -> [T; LANES] {
        let exponentials = values.map(|value| (value - self.maximum).exp());
        for (sum, exponential) in self.block.iter_mut().zip(&exponentials) {
            *sum += *exponential;
        }
        exponentials
    }

    #[inline(always)]
    fn block_is_over(&mut self) {
        self.sum.add(&self.block);
        self.block = [T::ZERO; LANES];
    }

    #[inline(always)]
    fn filler(&self) -> T {
        T::NEG_INFINITY
    }
}

/// (x − maximum) − logarithm.
struct Shifted<T> {
    maximum: T,
    logarithm: T,
}

impl<T: Real> Map<T> for Shifted<T> {
    #[inline(always)]
    fn of(&mut self, values: &[T; LANES]) -> [T; LANES] {
        values.map(|value| (value - self.maximum) - self.logarithm)
    }

    #[inline(always)]
    fn filler(&self) -> T {
        T::ZERO
    }
}

/// Some rows of a softmax or of its logarithm.
struct Rows<'a, T> {
    input: Option<&'a [T]>,
    columns: usize,
    output: &'a mut [T],
    logarithm: bool,
}

impl<T: Real> WithSimd for Rows<'_, T> {
    type Output = ();

    // Its loops are compiled for the vectors of this machine.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (number, output) in self.output.chunks_exact_mut(self.columns).enumerate() {
            let input = self.input.map(|input| &input[number * self.columns..][..self.columns]);
            let maximum = largest(input.unwrap_or(output));
            if self.logarithm {
                let [sum] = sums([input.unwrap_or(output)], &Exponentials { maximum });
                map(input, output, &mut Shifted { maximum, logarithm: T::from_f64(sum.ln()) });
            } else {
                let mut kept = Kept::new(maximum);
                map(input, output, &mut kept);
                let scale = T::from_f64(1.0 / kept.sum.total());
                output.iter_mut().for_each(|value| *value *= scale);
            }
        }
    }
}

/// Computes the rows, in parallel where there are enough of them.
fn each_task<T: Real>(input: Option<&[T]>, columns: usize, output: &mut [T], logarithm: bool) {
    let elements = input.map_or(output.len(), <[T]>::len);
    assert!(
        columns > 0 && elements == output.len() && elements.is_multiple_of(columns),
        "internal: rows of {columns} columns, {elements} elements in, {} out",
        output.len()
    );
    let task = (TASK / columns).max(1) * columns;
    let run_task = |(number, output): (usize, &mut [T])| {
        let input = input.map(|input| &input[number * task..][..output.len()]);
        Arch::new().dispatch(Rows { input, columns, output, logarithm });
    };
    if output.len() <= task {
        run_task((0, output));
    } else {
        output.par_chunks_mut(task).enumerate().for_each(run_task);
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
        softmax(Some(data), columns, &mut output);
        assert_close(&output, &expected, tolerance);
        log_softmax(Some(data), columns, &mut output);
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
    fn rows_in_place_have_the_same_bits() {
        for columns in [1, 16, 33, 1000] {
            let data: Vec<f32> = values(9 * columns, 16);
            for kernel in [softmax::<f32>, log_softmax::<f32>] {
                let (mut apart, mut within) = (vec![0.0; data.len()], data.clone());
                kernel(Some(&data), columns, &mut apart);
                kernel(None, columns, &mut within);
                assert_eq!(apart, within);
            }
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
        softmax(Some(&input), 4, &mut output);
        assert_eq!(output[..4], [0.5, 0.0, 0.5, 0.0]);
        assert_eq!(output[4..8], [0.0, 0.5, 0.0, 0.5]);
        assert!(output[8..].iter().all(|value| value.is_nan()));
        log_softmax(Some(&input), 4, &mut output);
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
            softmax(Some(&data), 301, &mut output);
            output
        });
    }
}
