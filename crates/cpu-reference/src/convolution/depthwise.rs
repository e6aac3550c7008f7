//! Convolution with one input channel in each group: sums over one plane, without a matrix product.

use super::{Convolution, with_scratch};
use crate::real::Real;

/// Numbers that are computed side by side.
const LANES: usize = 16;

/// Height and width of the plane that the kernel moves over: the image with the zeros around it.
fn padded(sizes: &Convolution) -> [usize; 2] {
    [0, 1]
        .map(|axis| (sizes.output[axis] - 1) * sizes.stride[axis] + (sizes.kernel[axis] - 1) * sizes.dilation[axis] + 1)
}

/// Lends the image with the zeros around it, in rows of the padded width.
fn with_padded<T: Real, R>(sizes: &Convolution, input: &[T], work: impl FnOnce(&[T], usize) -> R) -> R {
    let [height, width] = padded(sizes);
    let [top, left] = sizes.before;
    with_scratch(height * width, |plane| {
        plane.fill(T::ZERO);
        let rows = plane.chunks_exact_mut(width).skip(top);
        for (row, input) in rows.zip(input.chunks_exact(sizes.input[1])) {
            if let Some(row) = row.get_mut(left..) {
                let count = row.len().min(input.len());
                row[..count].copy_from_slice(&input[..count]);
            }
        }
        work(plane, width)
    })
}

/// The output channels of one group of one image.
pub(super) fn forward<T: Real>(sizes: &Convolution, input: &[T], weight: &[T], output: &mut [T]) {
    let [area, taps] = [sizes.output_area(), sizes.depth()];
    let [down, across] = sizes.stride;
    with_padded(sizes, input, |plane, width| {
        for (weight, output) in weight.chunks_exact(taps).zip(output.chunks_exact_mut(area)) {
            for (y, row) in output.chunks_exact_mut(sizes.output[1]).enumerate() {
                for (block, values) in row.chunks_mut(LANES).enumerate() {
                    let mut sums = [T::ZERO; LANES];
                    for (r, weight) in weight.chunks_exact(sizes.kernel[1]).enumerate() {
                        let start = (y * down + r * sizes.dilation[0]) * width + block * LANES * across;
                        for (s, weight) in weight.iter().enumerate() {
                            let from = &plane[start + s * sizes.dilation[1]..];
                            add_product(&mut sums, *weight, from, across, values.len());
                        }
                    }
                    values.copy_from_slice(&sums[..values.len()]);
                }
            }
        }
    });
}

/// Adds `weight` times the first `count` elements, each so far from the one before, to the sums.
#[inline]
fn add_product<T: Real>(sums: &mut [T; LANES], weight: T, elements: &[T], stride: usize, count: usize) {
    match elements.first_chunk::<LANES>() {
        Some(elements) if stride == 1 => {
            for (sum, element) in sums.iter_mut().zip(elements) {
                *sum += weight * *element;
            }
        }
        _ => {
            for (sum, element) in sums[..count].iter_mut().zip(elements.iter().step_by(stride)) {
                *sum += weight * *element;
            }
        }
    }
}

/// Adds to the gradient of one group of one image.
pub(super) fn input_gradient<T: Real>(sizes: &Convolution, dy: &[T], weight: &[T], dx: &mut [T]) {
    let [height, width] = sizes.input;
    let [down, across] = sizes.stride;
    let [top, left] = sizes.before;
    for (weight, dy) in weight.chunks_exact(sizes.depth()).zip(dy.chunks_exact(sizes.output_area())) {
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
                if across == 1 {
                    for (sum, value) in dx.iter_mut().zip(&row[low..high]) {
                        *sum += *weight * *value;
                    }
                } else {
                    for (sum, value) in dx.iter_mut().step_by(across).zip(&row[low..high]) {
                        *sum += *weight * *value;
                    }
                }
            }
        }
    }
}

/// The gradient of one group's weights by one image, written or added.
pub(super) fn weight_gradient<T: Real>(sizes: &Convolution, input: &[T], dy: &[T], dw: &mut [T], add: bool) {
    let [down, across] = sizes.stride;
    with_padded(sizes, input, |plane, width| {
        for (dw, dy) in dw.chunks_exact_mut(sizes.depth()).zip(dy.chunks_exact(sizes.output_area())) {
            for (tap, dw) in dw.iter_mut().enumerate() {
                let (r, s) = (tap / sizes.kernel[1], tap % sizes.kernel[1]);
                let mut sums = [T::ZERO; LANES];
                for (y, row) in dy.chunks_exact(sizes.output[1]).enumerate() {
                    let start = (y * down + r * sizes.dilation[0]) * width + s * sizes.dilation[1];
                    add_products(&mut sums, row, &plane[start..], across);
                }
                let sum = sums.into_iter().fold(T::ZERO, |sum, value| sum + value);
                *dw = if add { *dw + sum } else { sum };
            }
        }
    });
}

/// Adds the products of two rows to the sums, each to that of its place.
#[inline]
fn add_products<T: Real>(sums: &mut [T; LANES], row: &[T], elements: &[T], stride: usize) {
    if stride != 1 {
        for (place, (value, element)) in row.iter().zip(elements.iter().step_by(stride)).enumerate() {
            sums[place % LANES] += *value * *element;
        }
        return;
    }
    let elements = &elements[..row.len()];
    let (blocks, rest) = row.as_chunks::<LANES>();
    let (element_blocks, element_rest) = elements.as_chunks::<LANES>();
    for (values, elements) in blocks.iter().zip(element_blocks) {
        for ((sum, value), element) in sums.iter_mut().zip(values).zip(elements) {
            *sum += *value * *element;
        }
    }
    for ((sum, value), element) in sums.iter_mut().zip(rest).zip(element_rest) {
        *sum += *value * *element;
    }
}
