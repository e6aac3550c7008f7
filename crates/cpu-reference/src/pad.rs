//! Padding: a tensor inside a larger one that is filled with a value.

use rayon::prelude::*;

use crate::copy::copy;
use crate::strided::{Strided, contiguous_strides};

/// Elements worth handing to another thread.
const TASK: usize = 1 << 16;

/// Writes `value` everywhere in `output` (contiguous over `output_sizes`) except from `before` on, where
/// the elements of `view` (of `input`) go.
///
/// # Panics
/// If the view with `before` does not fit into `output_sizes`, or leads out of `input` ("internal: …").
pub fn pad<E: Copy + Send + Sync>(
    input: &[E],
    view: Strided<'_>,
    before: &[usize],
    output_sizes: &[usize],
    value: E,
    output: &mut [E],
) {
    let inside = before.len() == output_sizes.len()
        && view.sizes.len() == output_sizes.len()
        && (0..before.len()).all(|dimension| before[dimension] + view.sizes[dimension] <= output_sizes[dimension]);
    assert!(
        inside && output.len() == output_sizes.iter().product::<usize>(),
        "internal: {view:?} after {before:?} does not fit into {output_sizes:?}"
    );
    output.par_chunks_mut(TASK).for_each(|chunk| chunk.fill(value));
    let strides = contiguous_strides(output_sizes);
    let offset = before.iter().zip(&strides).map(|(place, stride)| place * stride).sum();
    copy(input, view, output, &strides, offset);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{dot, indices};

    fn check(sizes: &[usize], strides: &[usize], before: &[usize], after: &[usize]) {
        let input: Vec<u32> = (10..20_000).collect();
        let output_sizes: Vec<usize> = (0..sizes.len()).map(|d| before[d] + sizes[d] + after[d]).collect();
        let count = output_sizes.iter().product();
        let mut output = vec![0u32; count];
        pad(&input, Strided { sizes, strides, offset: 3 }, before, &output_sizes, 7, &mut output);
        for (place, index) in indices(&output_sizes).iter().enumerate() {
            let inner: Option<Vec<usize>> =
                (0..sizes.len()).map(|d| index[d].checked_sub(before[d]).filter(|place| *place < sizes[d])).collect();
            let expected = inner.map_or(7, |inner| input[3 + dot(&inner, strides)]);
            assert_eq!(output[place], expected, "{sizes:?} at {index:?}");
        }
    }

    #[test]
    fn padding_agrees_with_a_plain_loop() {
        check(&[], &[], &[], &[]);
        check(&[1], &[1], &[0], &[0]);
        check(&[5], &[1], &[2], &[0]);
        check(&[3, 4], &[4, 1], &[1, 2], &[0, 3]);
        check(&[3, 4], &[1, 3], &[0, 0], &[2, 1]);
        check(&[2, 3, 28, 29], &[2436, 812, 29, 1], &[0, 0, 1, 2], &[0, 0, 1, 2]);
        check(&[3, 200], &[0, 1], &[300, 0], &[300, 5]);
    }
}
