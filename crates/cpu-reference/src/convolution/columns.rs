//! The columns of a convolution: for each place of the kernel the elements that it meets, gathered from an image or
//! added back to it. A row of the matrix is one weight's (c, r, s), a column one place.

use rayon::prelude::*;
use std::ops::Range;

use super::Convolution;
use crate::real::Real;

/// Some of the places of an image's output, in row-major order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) first: usize,
    pub(super) count: usize,
}

/// What one weight meets along a row of places: the places of the block, and among those the ones whose element lies in
/// the image, which begin at an element of the channel.
struct Run {
    places: Range<usize>,
    inside: Range<usize>,
    element: usize,
}

impl Block {
    /// The rows of the block, as one weight `(r, s)` meets them.
    #[inline]
    fn runs(self, sizes: &Convolution, r: usize, s: usize, mut visit: impl FnMut(Run)) {
        let [height, width] = sizes.input;
        let row_size = sizes.output[1];
        let (down, right) = (r * sizes.dilation[0], s * sizes.dilation[1]);
        // The columns whose element lies in a row of the image.
        let low = sizes.before[1].saturating_sub(right).div_ceil(sizes.stride[1]);
        let high = (width + sizes.before[1]).saturating_sub(right).div_ceil(sizes.stride[1]);
        let mut place = self.first;
        let end = self.first + self.count;
        while place < end {
            let (y, x) = (place / row_size, place % row_size);
            let next = end.min(place + row_size - x);
            let places = place - self.first..next - self.first;
            let (first, last) = (low.max(x), high.min(x + places.len()));
            let row = (y * sizes.stride[0] + down).wrapping_sub(sizes.before[0]);
            let run = if row < height && first < last {
                let inside = places.start + first - x..places.start + last - x;
                Run { places, inside, element: row * width + first * sizes.stride[1] + right - sizes.before[1] }
            } else {
                Run { inside: places.start..places.start, places, element: 0 }
            };
            visit(run);
            place = next;
        }
    }
}

/// Fills the columns of a block from an image's group of channels.
pub(super) fn gather<T: Real>(sizes: &Convolution, input: &[T], block: Block, columns: &mut [T], parallel: bool) {
    let [height, width] = sizes.kernel;
    let stride = sizes.stride[1];
    let gather_channel = |(input, rows): (&[T], &mut [T])| {
        for (tap, row) in rows.chunks_exact_mut(block.count).enumerate() {
            block.runs(sizes, tap / width, tap % width, |run| {
                row[run.places.start..run.inside.start].fill(T::ZERO);
                row[run.inside.end..run.places.end].fill(T::ZERO);
                let row = &mut row[run.inside];
                if row.is_empty() {
                    return;
                }
                if stride == 1 {
                    let count = row.len();
                    row.copy_from_slice(&input[run.element..][..count]);
                } else {
                    for (value, element) in row.iter_mut().zip(input[run.element..].iter().step_by(stride)) {
                        *value = *element;
                    }
                }
            });
        }
    };
    let channel = height * width * block.count;
    if parallel {
        input.par_chunks_exact(sizes.input_area()).zip(columns.par_chunks_exact_mut(channel)).for_each(gather_channel);
    } else {
        input.chunks_exact(sizes.input_area()).zip(columns.chunks_exact_mut(channel)).for_each(gather_channel);
    }
}

/// Adds the columns of a block to an image's group of channels, each to the elements that it was gathered from.
pub(super) fn add<T: Real>(sizes: &Convolution, columns: &[T], block: Block, dx: &mut [T], parallel: bool) {
    let [height, width] = sizes.kernel;
    let stride = sizes.stride[1];
    let add_channel = |(dx, rows): (&mut [T], &[T])| {
        for (tap, row) in rows.chunks_exact(block.count).enumerate() {
            block.runs(sizes, tap / width, tap % width, |run| {
                let row = &row[run.inside];
                if row.is_empty() {
                    return;
                }
                if stride == 1 {
                    for (sum, value) in dx[run.element..][..row.len()].iter_mut().zip(row) {
                        *sum += *value;
                    }
                } else {
                    for (sum, value) in dx[run.element..].iter_mut().step_by(stride).zip(row) {
                        *sum += *value;
                    }
                }
            });
        }
    };
    let channel = height * width * block.count;
    if parallel {
        dx.par_chunks_exact_mut(sizes.input_area()).zip(columns.par_chunks_exact(channel)).for_each(add_channel);
    } else {
        dx.chunks_exact_mut(sizes.input_area()).zip(columns.chunks_exact(channel)).for_each(add_channel);
    }
}

/// The channels of the input, counted over all groups, with a weight that isn't finite: the zeros beside dy make NaN of it.
pub(super) fn channels_not_finite<T: Real>(sizes: &Convolution, weight: &[T]) -> Vec<usize> {
    let breaks = |weight: &T| (*weight * T::ZERO).is_nan();
    // Counted, so that the compiler makes vectors of it.
    if weight.chunks(1 << 10).all(|weights| weights.iter().filter(|weight| breaks(weight)).count() == 0) {
        return Vec::new();
    }
    let taps = sizes.kernel[0] * sizes.kernel[1];
    let broken = |channel: &usize| {
        let (group, channel) = (channel / sizes.inputs, channel % sizes.inputs);
        let weights = &weight[group * sizes.outputs * sizes.depth()..][..sizes.outputs * sizes.depth()];
        weights.chunks_exact(sizes.depth()).any(|output| output[channel * taps..][..taps].iter().any(breaks))
    };
    (0..sizes.groups * sizes.inputs).filter(broken).collect()
}
