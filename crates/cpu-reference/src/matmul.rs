//! Batched matrix product of strided matrices.

use rayon::prelude::*;

use crate::product::{Output, Strided, strided_product};
use crate::real::Real;
use crate::strided::Dimensions;

/// Fewer multiplications than this are done by one thread: waking another costs more.
const PARALLEL_WORK: usize = 1 << 20;

/// A batch of matrices in a slice, with any strides: element `(row, column)` of the matrix at `batch`
/// is `values[offset + Σ batch[d]·batch_strides[d] + row·row_stride + column·column_stride]`.
///
/// A transpose swaps the two strides; a batch stride of 0 uses one matrix for the whole dimension.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    /// The elements.
    pub values: &'a [T],
    /// Elements before the first.
    pub offset: usize,
    /// Elements between rows.
    pub row_stride: usize,
    /// Elements between columns.
    pub column_stride: usize,
    /// Elements between matrices, along each batch dimension.
    pub batch_strides: &'a [usize],
}

impl<T> Matrix<'_, T> {
    /// How many elements the slice must have for these sizes.
    fn reach(&self, batch_sizes: &[usize], rows: usize, columns: usize) -> usize {
        let batch: usize = batch_sizes.iter().zip(self.batch_strides).map(|(size, stride)| (size - 1) * stride).sum();
        let matrix = (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
        self.offset + batch + matrix + 1
    }
}

/// `output[b] = a[b]·b[b]`: `a` is `(batch, m, k)`, `b` is `(batch, k, n)`, `output` is contiguous
/// `(batch, m, n)`. `sizes` is `[m, k, n]`.
///
/// # Panics
/// If the strides lead out of a slice, or a size is 0 ("internal: …").
pub fn matmul<T: Real>(
    a: &Matrix<'_, T>,
    b: &Matrix<'_, T>,
    batch_sizes: &[usize],
    sizes: [usize; 3],
    output: &mut [T],
) {
    let [m, k, n] = sizes;
    let batch: usize = batch_sizes.iter().product();
    assert!(
        batch * m * k * n > 0
            && a.batch_strides.len() == batch_sizes.len()
            && b.batch_strides.len() == batch_sizes.len()
            && a.reach(batch_sizes, m, k) <= a.values.len()
            && b.reach(batch_sizes, k, n) <= b.values.len()
            && output.len() == batch * m * n,
        "internal: a matrix product of {batch}·[{m}, {k}]·[{k}, {n}] does not fit its operands"
    );
    let batches = Dimensions::new(batch_sizes, [a.batch_strides, b.batch_strides]);
    let work = m * n * k;
    let threads = rayon::current_num_threads();
    let matrix = |index: usize, output: &mut [T], parallel: bool| {
        let [a_batch, b_batch] = batches.offsets(index);
        multiply(
            (&a.values[a.offset + a_batch..], a.row_stride, a.column_stride),
            (&b.values[b.offset + b_batch..], b.row_stride, b.column_stride),
            sizes,
            (output, n),
            false,
            parallel,
        );
    };
    let matrices = output.chunks_exact_mut(m * n).enumerate();
    if threads == 1 || batch * work < PARALLEL_WORK {
        matrices.for_each(|(index, output)| matrix(index, output, false));
    } else if batch < 2 * threads && work >= PARALLEL_WORK {
        matrices.for_each(|(index, output)| matrix(index, output, true));
    } else {
        // Enough matrices to go round: whole ones, several a task where they are small.
        let group = (PARALLEL_WORK / work).clamp(1, batch.div_ceil(threads));
        output.par_chunks_mut(m * n * group).enumerate().for_each(|(task, outputs)| {
            for (place, output) in outputs.chunks_exact_mut(m * n).enumerate() {
                matrix(task * group + place, output, false);
            }
        });
    }
}

/// One product, written to the output or added to it. Both operands are (elements from the first on, row stride, column
/// stride), the output is (elements from the first on, row stride).
pub(crate) fn multiply<T: Real>(
    a: (&[T], usize, usize),
    b: (&[T], usize, usize),
    [m, k, n]: [usize; 3],
    (output, output_stride): (&mut [T], usize),
    add: bool,
    parallel: bool,
) {
    let last =
        |rows: usize, columns: usize, strides: (usize, usize)| (rows - 1) * strides.0 + (columns - 1) * strides.1;
    assert!(
        m * k * n > 0
            && last(m, k, (a.1, a.2)) < a.0.len()
            && last(k, n, (b.1, b.2)) < b.0.len()
            && last(m, n, (output_stride, 1)) < output.len()
            && output_stride >= n,
        "internal: a matrix product leads out of its operands"
    );
    let [a, b] = [a, b].map(|(values, row, column)| Strided { values, strides: [row, column] });
    strided_product(&a, &b, [m, k, n], &Output::new(output, output_stride), add, parallel);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_same_bits, dot, indices, values};

    fn naive<T: Real>(a: &Matrix<'_, T>, b: &Matrix<'_, T>, batch_sizes: &[usize], [m, k, n]: [usize; 3]) -> Vec<f64> {
        let mut result = Vec::new();
        for batch in indices(batch_sizes) {
            for row in 0..m {
                for column in 0..n {
                    let mut sum = 0.0;
                    for depth in 0..k {
                        let left =
                            a.offset + dot(&batch, a.batch_strides) + row * a.row_stride + depth * a.column_stride;
                        let right =
                            b.offset + dot(&batch, b.batch_strides) + depth * b.row_stride + column * b.column_stride;
                        sum += a.values[left].to_f64() * b.values[right].to_f64();
                    }
                    result.push(sum);
                }
            }
        }
        result
    }

    /// Each operand straight or transposed, batches of its own or shared.
    fn every_layout<T: Real>(tolerance: f64) {
        let data: Vec<T> = values(40_000, 5);
        let sizes = [[1, 1, 1], [1, 7, 5], [5, 1, 1], [3, 4, 1], [17, 33, 9], [64, 50, 70]];
        for [m, k, n] in sizes {
            for transposed in 0..4 {
                for shared in 0..4 {
                    let batch_sizes = [2, 3];
                    let operand = |bit: usize, rows: usize, columns: usize| {
                        let whole = rows * columns;
                        let strides = match transposed & bit {
                            0 => (columns, 1),
                            _ => (1, rows),
                        };
                        let batch = if shared & bit == 0 { [3 * whole, whole] } else { [whole, 0] };
                        (strides, batch)
                    };
                    let (a_strides, a_batch) = operand(1, m, k);
                    let (b_strides, b_batch) = operand(2, k, n);
                    let a = Matrix {
                        values: &data,
                        offset: 3,
                        row_stride: a_strides.0,
                        column_stride: a_strides.1,
                        batch_strides: &a_batch,
                    };
                    let b = Matrix {
                        values: &data,
                        offset: 100,
                        row_stride: b_strides.0,
                        column_stride: b_strides.1,
                        batch_strides: &b_batch,
                    };
                    let mut output = vec![T::NAN; 6 * m * n];
                    matmul(&a, &b, &batch_sizes, [m, k, n], &mut output);
                    assert_close(&output, &naive(&a, &b, &batch_sizes, [m, k, n]), tolerance);
                }
            }
        }
    }

    #[test]
    fn every_layout_agrees_with_a_plain_loop_in_f32() {
        every_layout::<f32>(2e-5);
    }

    #[test]
    fn every_layout_agrees_with_a_plain_loop_in_f64() {
        every_layout::<f64>(1e-13);
    }

    fn contiguous<T>(values: &[T], columns: usize) -> Matrix<'_, T> {
        Matrix { values, offset: 0, row_stride: columns, column_stride: 1, batch_strides: &[] }
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let data: Vec<f32> = values(1 << 20, 6);
        for [m, k, n] in [[300, 700, 211], [1, 4000, 250], [2000, 500, 1], [37, 9000, 41], [2, 2, 90_000]] {
            assert_same_bits(|| {
                let mut output = vec![0f32; m * n];
                let (a, b) = (contiguous(&data, k), contiguous(&data, n));
                matmul(&a, &b, &[], [m, k, n], &mut output);
                output
            });
            assert_same_bits(|| {
                let mut output = vec![0f32; m * n];
                let mut a = contiguous(&data, 1);
                (a.row_stride, a.column_stride) = (1, m);
                matmul(&a, &contiguous(&data, n), &[], [m, k, n], &mut output);
                output
            });
        }
        assert_same_bits(|| {
            let mut output = vec![0f32; 40 * 33 * 35];
            let (mut a, mut b) = (contiguous(&data, 64), contiguous(&data, 35));
            (a.batch_strides, b.batch_strides) = (&[2112], &[0]);
            matmul(&a, &b, &[40], [33, 64, 35], &mut output);
            output
        });
    }

    #[test]
    fn a_stride_of_zero_repeats_a_row_or_column() {
        let data: Vec<f64> = values(9000, 31);
        for [m, k, n] in [[5, 7, 3], [40, 30, 50], [1, 9, 4]] {
            for (row_stride, column_stride) in [(0, 1), (k, 0), (0, 0)] {
                let a = Matrix { values: &data, offset: 1, row_stride, column_stride, batch_strides: &[] };
                let b = contiguous(&data, n);
                let mut output = vec![0f64; m * n];
                matmul(&a, &b, &[], [m, k, n], &mut output);
                assert_close(&output, &naive(&a, &b, &[], [m, k, n]), 1e-13);
                let b = Matrix { values: &data, offset: 2, row_stride, column_stride, batch_strides: &[] };
                let a = contiguous(&data, k);
                matmul(&a, &b, &[], [m, k, n], &mut output);
                assert_close(&output, &naive(&a, &b, &[], [m, k, n]), 1e-13);
            }
        }
    }

    #[test]
    fn nan_and_infinity_reach_the_output() {
        let a = [1.0f32, f32::NAN, 0.0, f32::INFINITY, 1e4, -1e4];
        let b = [0.0f32, 1.0, 0.0, 2.0];
        let mut output = [0f32; 6];
        matmul(&contiguous(&a, 2), &contiguous(&b, 2), &[], [3, 2, 2], &mut output);
        assert!(output[0].is_nan() && output[1].is_nan() && output[2].is_nan());
        assert_eq!(output[3], f32::INFINITY);
        assert_eq!(output[4..], [0.0, 1e4 - 2e4]);
    }
}
