//! Rows by index: gathering them from a table, and adding gradients back to it.

use rayon::prelude::*;

use crate::real::Real;

/// Elements worth handing to another thread.
const TASK: usize = 1 << 14;

/// `output[i] = table[indices[i]]`; `table` is `(vocabulary, width)`, `indices` is `(count)`, `output` is
/// `(count, width)`. An index that is not below the vocabulary gives a row of NaN.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn gather_rows<T: Real>(table: &[T], width: usize, indices: &[u32], output: &mut [T]) {
    check(table.len(), width, indices.len(), output.len());
    let rows = (TASK / width).max(1);
    output.par_chunks_mut(rows * width).zip(indices.par_chunks(rows)).for_each(|(output, indices)| {
        for (row, index) in output.chunks_exact_mut(width).zip(indices) {
            let start = (*index as usize).saturating_mul(width);
            match table.get(start..start.saturating_add(width)) {
                Some(source) => row.copy_from_slice(source),
                None => row.fill(T::NAN),
            }
        }
    });
}

/// `output[v] = Σ dy[i] over all i with indices[i] = v`, in the order of `i`: the gradient of
/// [`gather_rows`]. `dy` is `(count, width)`, `output` is `(vocabulary, width)` and is overwritten. An
/// index that is not below the vocabulary contributes nothing.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn scatter_add_rows<T: Real>(dy: &[T], width: usize, indices: &[u32], output: &mut [T]) {
    check(output.len(), width, indices.len(), dy.len());
    // Each thread owns a range of rows and reads all indices; every row is summed by one thread, in the
    // order of the indices, so the number of ranges changes no bit.
    let vocabulary = output.len() / width;
    let parts = if dy.len() + output.len() <= TASK { 1 } else { rayon::current_num_threads() };
    let rows = vocabulary.div_ceil(parts).max(1);
    output.par_chunks_mut(rows * width).enumerate().for_each(|(part, output)| {
        output.fill(T::ZERO);
        let first = part * rows;
        for (index, dy) in indices.iter().zip(dy.chunks_exact(width)) {
            let Some(row) = (*index as usize).checked_sub(first) else { continue };
            let Some(output) = output.get_mut(row.saturating_mul(width)..) else { continue };
            for (output, dy) in output.iter_mut().zip(dy) {
                *output += *dy;
            }
        }
    });
}

fn check(table: usize, width: usize, count: usize, rows: usize) {
    assert!(
        width > 0 && table.is_multiple_of(width) && rows == count * width,
        "internal: a table of {table} elements in rows of {width}, {count} indices, {rows} elements"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_same_bits, values};

    fn sample(vocabulary: usize, count: usize) -> Vec<u32> {
        let mut random = crate::philox::Philox::new(20, 0);
        // One in ten is out of range.
        (0..count).map(|_| random.below((vocabulary + vocabulary / 10 + 1) as u32)).collect()
    }

    #[test]
    fn gathered_rows_are_those_of_the_table() {
        for (vocabulary, width, count) in [(1, 1, 1), (5, 3, 17), (100, 64, 1000), (9, 1, 40_000)] {
            let table: Vec<f32> = values(vocabulary * width, 21);
            let indices = sample(vocabulary, count);
            let mut output = vec![0f32; count * width];
            gather_rows(&table, width, &indices, &mut output);
            for (row, index) in indices.iter().enumerate() {
                for column in 0..width {
                    let value = output[row * width + column];
                    match *index as usize {
                        index if index < vocabulary => assert_eq!(value, table[index * width + column]),
                        _ => assert!(value.is_nan()),
                    }
                }
            }
        }
        let mut output = [0f32; 2];
        gather_rows(&[1.0, 2.0], 2, &[u32::MAX], &mut output);
        assert!(output.iter().all(|value| value.is_nan()));
    }

    fn scattered<T: Real>(tolerance: f64) {
        for (vocabulary, width, count) in [(1, 1, 1), (5, 3, 17), (100, 64, 1000), (9, 1, 40_000), (501, 2, 3)] {
            let dy: Vec<T> = values(count * width, 22);
            let indices = sample(vocabulary, count);
            let mut output = vec![T::NAN; vocabulary * width];
            scatter_add_rows(&dy, width, &indices, &mut output);
            let mut expected = vec![0f64; vocabulary * width];
            for (row, index) in indices.iter().enumerate() {
                if (*index as usize) < vocabulary {
                    for column in 0..width {
                        expected[*index as usize * width + column] += dy[row * width + column].to_f64();
                    }
                }
            }
            crate::testing::assert_close(&output, &expected, tolerance);
        }
    }

    #[test]
    fn scattered_rows_agree_with_a_plain_loop() {
        scattered::<f32>(3e-5);
        scattered::<f64>(1e-12);
    }

    #[test]
    fn outliers_reach_their_own_row_only() {
        let mut output = [9f32; 4];
        scatter_add_rows(&[1e4, f32::NAN, -1e4, 1.0, 5.0], 1, &[2, 0, 2, 3, 4], &mut output);
        assert!(output[0].is_nan());
        assert_eq!(output[1..], [0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let dy: Vec<f32> = values(3000 * 64, 23);
        let indices = sample(77, 3000);
        assert_same_bits(|| {
            let mut output = vec![0f32; 77 * 64];
            scatter_add_rows(&dy, 64, &indices, &mut output);
            let mut rows = vec![0f32; 3000 * 64];
            gather_rows(&output, 64, &indices, &mut rows);
            [output, rows].concat()
        });
    }
}
