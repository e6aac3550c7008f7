//! Convolution with one input channel in each group: sums over one plane, without a matrix product.

use pulp::Arch;

use super::{Convolution, pad, padded, surround, with_scratch};
use crate::real::Real;

/// Numbers that are computed side by side.
const LANES: usize = 32;

/// A plane whose rows are read from any element on, a block of lanes at a time.
struct Plane<'a, T> {
    /// The elements, and as many more as a block reads beyond the last.
    values: &'a [T],
    width: usize,
}

/// Lends a plane with zeros behind it.
fn with_plane<T: Real, R>([height, width]: [usize; 2], work: impl FnOnce(&mut [T], usize) -> R) -> R {
    with_scratch(height * width + LANES, |values| {
        values[height * width..].fill(T::ZERO);
        work(values, height * width)
    })
}

/// Lends the image with the zeros around it.
fn with_padded<T: Real, R>(sizes: &Convolution, input: &[T], work: impl FnOnce(Plane<'_, T>) -> R) -> R {
    let [height, width] = padded(sizes);
    with_plane([height, width], |values, count| {
        pad(sizes, input, &mut values[..count]);
        work(Plane { values, width })
    })
}

/// Writes, or adds, to each element of `output` the sum of a plane's elements times the weights, each so far from the
/// element's own.
#[inline(always)]
fn sum<T: Real>(
    plane: &Plane<'_, T>,
    weights: impl Iterator<Item = (usize, T)> + Clone,
    [down, across]: [usize; 2],
    columns: usize,
    add: bool,
    output: &mut [T],
) {
    for (y, row) in output.chunks_exact_mut(columns).enumerate() {
        for (block, values) in row.chunks_mut(LANES).enumerate() {
            let start = y * down * plane.width + block * LANES * across;
            let mut sums = [T::ZERO; LANES];
            if add {
                sums[..values.len()].copy_from_slice(values);
            }
            for (distance, weight) in weights.clone() {
                let elements = &plane.values[start + distance..];
                match elements.first_chunk::<LANES>() {
                    Some(elements) if across == 1 => {
                        for (sum, element) in sums.iter_mut().zip(elements) {
                            *sum += weight * *element;
                        }
                    }
                    _ => {
                        for (sum, element) in sums[..values.len()].iter_mut().zip(elements.iter().step_by(across)) {
                            *sum += weight * *element;
                        }
                    }
                }
            }
            values.copy_from_slice(&sums[..values.len()]);
        }
    }
}

/// The output channels of one group of one image.
pub(super) fn forward<T: Real>(sizes: &Convolution, input: &[T], weight: &[T], output: &mut [T]) {
    with_padded(sizes, input, |plane| {
        let distance = |tap: usize| {
            let (r, s) = (tap / sizes.kernel[1], tap % sizes.kernel[1]);
            r * sizes.dilation[0] * plane.width + s * sizes.dilation[1]
        };
        let distances: Vec<usize> = (0..sizes.depth()).map(distance).collect();
        Arch::new().dispatch(|| {
            let channels = weight.chunks_exact(sizes.depth()).zip(output.chunks_exact_mut(sizes.output_area()));
            for (weight, output) in channels {
                let weights = distances.iter().copied().zip(weight.iter().copied());
                sum(&plane, weights, sizes.stride, sizes.output[1], false, output);
            }
        });
    });
}

/// The gradient of one group of one image, which begins as zeros.
pub(super) fn input_gradient<T: Real>(sizes: &Convolution, dy: &[T], weight: &[T], dx: &mut [T]) {
    let reach = [0, 1].map(|axis| (sizes.kernel[axis] - 1) * sizes.dilation[axis]);
    let channels = weight.chunks_exact(sizes.depth()).zip(dy.chunks_exact(sizes.output_area()));
    if sizes.stride != [1, 1] || reach[0] < sizes.before[0] || reach[1] < sizes.before[1] {
        return channels.for_each(|(weight, dy)| spread(sizes, dy, weight, dx));
    }
    // With stride 1 it is the convolution of dy, with zeros around it, with the kernel turned round.
    let size = [0, 1].map(|axis| sizes.input[axis] + reach[axis]);
    let before = [0, 1].map(|axis| reach[axis] - sizes.before[axis]);
    let distance = |tap: usize| {
        let (r, s) = (tap / sizes.kernel[1], tap % sizes.kernel[1]);
        (reach[0] - r * sizes.dilation[0]) * size[1] + reach[1] - s * sizes.dilation[1]
    };
    let distances: Vec<usize> = (0..sizes.depth()).map(distance).collect();
    with_plane(size, |values, count| {
        for (weight, dy) in channels {
            surround(dy, sizes.output, before, size, &mut values[..count]);
            let plane = Plane { values: &*values, width: size[1] };
            Arch::new().dispatch(|| {
                let weights = distances.iter().copied().zip(weight.iter().copied());
                sum(&plane, weights, [1, 1], sizes.input[1], true, &mut *dx);
            });
        }
    });
}

/// Adds what one output channel's gradient makes of the input's, row by row.
fn spread<T: Real>(sizes: &Convolution, dy: &[T], weight: &[T], dx: &mut [T]) {
    let [height, width] = sizes.input;
    let [down, across] = sizes.stride;
    let [top, left] = sizes.before;
    for (y, row) in dy.chunks_exact(sizes.output[1]).enumerate() {
        for (tap, weight) in weight.iter().enumerate() {
            let (r, s) = (tap / sizes.kernel[1], tap % sizes.kernel[1]);
            let place = (y * down + r * sizes.dilation[0]).wrapping_sub(top);
            if place >= height {
                continue;
            }
            let right = s * sizes.dilation[1];
            // The columns whose element lies in the row.
            let low = left.saturating_sub(right).div_ceil(across);
            let high = (width + left).saturating_sub(right).div_ceil(across).min(row.len());
            if low >= high {
                continue;
            }
            let dx = &mut dx[place * width..][..width][low * across + right - left..];
            for (sum, value) in dx.iter_mut().step_by(across).zip(&row[low..high]) {
                *sum += *weight * *value;
            }
        }
    }
}

/// The gradient of one group's weights by one image, written or added.
pub(super) fn weight_gradient<T: Real>(sizes: &Convolution, input: &[T], dy: &[T], dw: &mut [T], add: bool) {
    let [down, across] = sizes.stride;
    with_padded(sizes, input, |plane| {
        Arch::new().dispatch(|| {
            for (dw, dy) in dw.chunks_exact_mut(sizes.depth()).zip(dy.chunks_exact(sizes.output_area())) {
                for (tap, dw) in dw.iter_mut().enumerate() {
                    let (r, s) = (tap / sizes.kernel[1], tap % sizes.kernel[1]);
                    let mut sums = [T::ZERO; LANES];
                    for (y, row) in dy.chunks_exact(sizes.output[1]).enumerate() {
                        let start = (y * down + r * sizes.dilation[0]) * plane.width + s * sizes.dilation[1];
                        add_products(&mut sums, row, &plane.values[start..], across);
                    }
                    let sum = sums.into_iter().fold(T::ZERO, |sum, value| sum + value);
                    *dw = if add { *dw + sum } else { sum };
                }
            }
        });
    });
}

/// Adds the products of two rows to the sums, each to that of its place.
#[inline(always)]
fn add_products<T: Real>(sums: &mut [T; LANES], row: &[T], elements: &[T], stride: usize) {
    if stride != 1 {
        for (values, elements) in row.chunks(LANES).zip(elements.chunks(LANES * stride)) {
            for ((sum, value), element) in sums.iter_mut().zip(values).zip(elements.iter().step_by(stride)) {
                *sum += *value * *element;
            }
        }
        return;
    }
    for (values, elements) in row.chunks(LANES).zip(elements.chunks(LANES)) {
        match (values.first_chunk::<LANES>(), elements.first_chunk::<LANES>()) {
            (Some(values), Some(elements)) => {
                for ((sum, value), element) in sums.iter_mut().zip(values).zip(elements) {
                    *sum += *value * *element;
                }
            }
            _ => {
                for ((sum, value), element) in sums.iter_mut().zip(values).zip(elements) {
                    *sum += *value * *element;
                }
            }
        }
    }
}
