//! Elements by index along one axis: gathering them, and adding others to their places.
//!
//! Tensors are seen as `(outer, size, inner)`, where the middle axis is the one that indices are places of.

use rayon::prelude::*;

use crate::real::Real;

/// Elements worth handing to another thread.
const TASK: usize = 1 << 14;

/// `output[o][c][i] = input[o][indices[o][c][i]][i]`; `input` is `(outer, size, inner)`, `indices` and `output` are
/// `(outer, count, inner)`. An index that is not below `size` gives NaN.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn gather<T: Real>(input: &[T], indices: &[u32], [size, count, inner]: [usize; 3], output: &mut [T]) {
    check(input.len(), indices.len(), [size, count, inner], output.len());
    let copy = |(number, (output, indices)): (usize, (&mut [T], &[u32]))| {
        for (place, (output, &index)) in output.iter_mut().zip(indices).enumerate() {
            let element = number * TASK + place;
            let (outer, column) = (element / (count * inner), element % inner);
            let within = (index as usize) < size;
            *output = if within { input[(outer * size + index as usize) * inner + column] } else { T::NAN };
        }
    };
    if output.len() <= TASK {
        copy((0, (output, indices)));
    } else {
        output.par_chunks_mut(TASK).zip(indices.par_chunks(TASK)).enumerate().for_each(copy);
    }
}

/// `output[o][p] = Σ source[o][c] over all c with indices[o][c] = p`, in the order of `c`: the gradient of [`gather`] along
/// the last axis. `source` and `indices` are `(outer, count)`, `output` is `(outer, size)` and is overwritten. An index
/// that is not below `size` adds nothing.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn scatter_add<T: Real>(source: &[T], indices: &[u32], [size, count]: [usize; 2], output: &mut [T]) {
    check(output.len(), indices.len(), [size, count, 1], source.len());
    let add = |((output, source), indices): ((&mut [T], &[T]), &[u32])| {
        output.fill(T::ZERO);
        for (&index, &term) in indices.iter().zip(source) {
            if let Some(sum) = output.get_mut(index as usize) {
                *sum += term;
            }
        }
    };
    each_row(output, source, indices, [size, count], add);
}

/// `output[o][indices[o][c]] = source[o][c]`, all `(outer, size)`. The indices of a row are a permutation: the way back from
/// [`sort`](fn@crate::sort).
///
/// # Panics
/// If the lengths do not agree, or an index is not below `size` ("internal: …").
pub fn permute_back<T: Real>(source: &[T], indices: &[u32], size: usize, output: &mut [T]) {
    check(output.len(), indices.len(), [size, size, 1], source.len());
    let put = |((output, source), indices): ((&mut [T], &[T]), &[u32])| {
        for (&index, &value) in indices.iter().zip(source) {
            assert!((index as usize) < size, "internal: place {index} in a row of {size}");
            output[index as usize] = value;
        }
    };
    each_row(output, source, indices, [size, size], put);
}

/// Runs `work` on the rows of all three, in parallel where there is enough of it.
fn each_row<T: Real>(
    output: &mut [T],
    source: &[T],
    indices: &[u32],
    [size, count]: [usize; 2],
    work: impl Fn(((&mut [T], &[T]), &[u32])) + Sync,
) {
    let rows = (TASK / (size + count)).max(1);
    if output.len() <= rows * size {
        output.chunks_exact_mut(size).zip(source.chunks_exact(count)).zip(indices.chunks_exact(count)).for_each(work);
        return;
    }
    let parts = source.par_chunks(rows * count).zip(indices.par_chunks(rows * count));
    output.par_chunks_mut(rows * size).zip(parts).for_each(|(output, (source, indices))| {
        let rows = output.chunks_exact_mut(size).zip(source.chunks_exact(count)).zip(indices.chunks_exact(count));
        rows.for_each(&work);
    });
}

fn check(whole: usize, indices: usize, [size, count, inner]: [usize; 3], chosen: usize) {
    let outer = whole.checked_div(size * inner).unwrap_or(0);
    assert!(
        outer > 0 && whole == outer * size * inner && chosen == outer * count * inner && indices == chosen && count > 0,
        "internal: {indices} indices into {size} places, {count} times {inner}: {whole} elements, {chosen} chosen"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_same_bits, values};

    fn indices(count: usize, below: usize) -> Vec<u32> {
        let mut random = crate::philox::Philox::new(33, 0);
        (0..count).map(|_| random.below(below as u32)).collect()
    }

    #[test]
    fn gathered_elements_are_those_of_the_input() {
        for [outer, size, count, inner] in [[1, 1, 1, 1], [3, 4, 5, 1], [2, 5, 3, 7], [1, 9, 20_000, 2]] {
            let input: Vec<f32> = values(outer * size * inner, 34);
            // One in so many lies beyond.
            let indices = indices(outer * count * inner, size + 1);
            let mut output = vec![0f32; indices.len()];
            gather(&input, &indices, [size, count, inner], &mut output);
            let mut element = 0;
            for o in 0..outer {
                for _ in 0..count {
                    for i in 0..inner {
                        let expected = match indices[element] as usize {
                            index if index < size => input[o * size * inner + index * inner + i],
                            _ => f32::NAN,
                        };
                        let found = output[element];
                        assert!(found == expected || (found.is_nan() && expected.is_nan()));
                        element += 1;
                    }
                }
            }
        }
    }

    fn scattered<T: Real>(tolerance: f64) {
        for [outer, size, count] in [[1, 1, 1], [3, 4, 5], [700, 9, 40], [2, 5, 20_000], [4, 3000, 2]] {
            let source: Vec<T> = values(outer * count, 35);
            let indices = indices(outer * count, size + 1);
            let mut output = vec![T::NAN; outer * size];
            scatter_add(&source, &indices, [size, count], &mut output);
            let mut expected = vec![0f64; outer * size];
            for (place, index) in indices.iter().enumerate() {
                if (*index as usize) < size {
                    expected[place / count * size + *index as usize] += source[place].to_f64();
                }
            }
            assert_close(&output, &expected, tolerance);
        }
    }

    #[test]
    fn scattered_sums_agree_with_a_plain_loop() {
        scattered::<f32>(5e-5);
        scattered::<f64>(1e-12);
    }

    #[test]
    fn a_permutation_is_undone() {
        let source = [5f32, 6.0, 7.0, 1.0, 2.0, 3.0];
        let mut output = [0f32; 6];
        permute_back(&source, &[2, 0, 1, 0, 2, 1], 3, &mut output);
        assert_eq!(output, [6.0, 7.0, 5.0, 1.0, 3.0, 2.0]);
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let source: Vec<f32> = values(50 * 3000, 36);
        let indices = indices(50 * 3000, 70);
        assert_same_bits(|| {
            let mut sums = vec![0f32; 50 * 70];
            scatter_add(&source, &indices, [70, 3000], &mut sums);
            let mut gathered = vec![0f32; 50 * 3000];
            gather(&sums, &indices, [70, 3000, 1], &mut gathered);
            [sums, gathered].concat()
        });
    }
}
