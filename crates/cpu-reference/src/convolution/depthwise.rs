//! Convolution with one input channel in each group: sums over one plane, without a matrix product.

use pulp::{Arch, Simd, WithSimd};

use super::{Convolution, pad, padded, singles, singles_mut, surround, with_scratch};
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
struct Sums<'a, T> {
    plane: &'a Plane<'a, T>,
    distances: &'a [usize],
    weight: &'a [T],
    stride: [usize; 2],
    columns: usize,
    add: bool,
    output: &'a mut [T],
}

impl<T: Real> Sums<'_, T> {
    fn run(self) {
        let Sums { plane, distances, weight, stride, columns, add, output } = self;
        if let ([down, 1], Some(values), Some(weight)) = (stride, singles(plane.values), singles(weight))
            && let Some(output) = singles_mut(output)
        {
            let plane = Plane { values, width: down * plane.width };
            return Arch::new().dispatch(VectorSums { plane, distances, weight, columns, add, output });
        }
        let [down, across] = stride;
        for (y, row) in output.chunks_exact_mut(columns).enumerate() {
            for (block, values) in row.chunks_mut(LANES).enumerate() {
                let start = y * down * plane.width + block * LANES * across;
                let mut sums = [T::ZERO; LANES];
                if add {
                    sums[..values.len()].copy_from_slice(values);
                }
                for (distance, weight) in distances.iter().zip(weight) {
                    let elements = plane.values[start + distance..].iter().step_by(across);
                    for (sum, element) in sums[..values.len()].iter_mut().zip(elements) {
                        *sum += *weight * *element;
                    }
                }
                values.copy_from_slice(&sums[..values.len()]);
            }
        }
    }
}

/// The same in f32 with neighbouring elements, two vectors of them at a time.
struct VectorSums<'a> {
    /// The width is that from one row of the output to the next.
    plane: Plane<'a, f32>,
    distances: &'a [usize],
    weight: &'a [f32],
    columns: usize,
    add: bool,
    output: &'a mut [f32],
}

impl WithSimd for VectorSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        for (y, row) in self.output.chunks_exact_mut(self.columns).enumerate() {
            for (block, values) in row.chunks_mut(2 * lanes).enumerate() {
                let (low, high) = values.split_at_mut(lanes.min(values.len()));
                let mut sums = [simd.splat_f32s(0.0); 2];
                if self.add {
                    sums = [simd.partial_load_f32s(low), simd.partial_load_f32s(high)];
                }
                // A block reads beyond its last element, which changes no other.
                let elements = &self.plane.values[y * self.plane.width + block * 2 * lanes..];
                for (distance, weight) in self.distances.iter().zip(self.weight) {
                    let elements: &[S::f32s] = bytemuck::cast_slice(&elements[*distance..][..2 * lanes]);
                    let weight = simd.splat_f32s(*weight);
                    sums[0] = simd.mul_add_e_f32s(weight, elements[0], sums[0]);
                    sums[1] = simd.mul_add_e_f32s(weight, elements[1], sums[1]);
                }
                simd.partial_store_f32s(low, sums[0]);
                simd.partial_store_f32s(high, sums[1]);
            }
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
        let (plane, distances, stride, columns) = (&plane, &distances[..], sizes.stride, sizes.output[1]);
        for (weight, output) in weight.chunks_exact(sizes.depth()).zip(output.chunks_exact_mut(sizes.output_area())) {
            Sums { plane, distances, weight, stride, columns, add: false, output }.run();
        }
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
            let plane = &Plane { values: &*values, width: size[1] };
            let (distances, output) = (&distances[..], &mut *dx);
            let (stride, columns) = ([1, 1], sizes.input[1]);
            Sums { plane, distances, weight, stride, columns, add: true, output }.run();
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
    with_padded(sizes, input, |plane| {
        for (dw, dy) in dw.chunks_exact_mut(sizes.depth()).zip(dy.chunks_exact(sizes.output_area())) {
            for (tap, dw) in dw.iter_mut().enumerate() {
                let (r, s) = (tap / sizes.kernel[1], tap % sizes.kernel[1]);
                let values = &plane.values[r * sizes.dilation[0] * plane.width + s * sizes.dilation[1]..];
                let (stride, columns) = (sizes.stride, sizes.output[1]);
                let sum = Product { dy, columns, values, width: plane.width, stride }.sum();
                *dw = if add { *dw + sum } else { sum };
            }
        }
    });
}

/// The sum of the products of dy, in rows of so many columns, and the elements of a plane from some element on.
struct Product<'a, T> {
    dy: &'a [T],
    columns: usize,
    values: &'a [T],
    width: usize,
    stride: [usize; 2],
}

impl<T: Real> Product<'_, T> {
    fn sum(self) -> T {
        let [down, across] = self.stride;
        if let (1, Some(dy), Some(values)) = (across, singles(self.dy), singles(self.values)) {
            let sum =
                Arch::new().dispatch(VectorProduct { dy, columns: self.columns, values, width: down * self.width });
            return T::from_f64(f64::from(sum));
        }
        let mut sums = [T::ZERO; LANES];
        for (y, row) in self.dy.chunks_exact(self.columns).enumerate() {
            let elements = &self.values[y * down * self.width..];
            for (values, elements) in row.chunks(LANES).zip(elements.chunks(LANES * across)) {
                for ((sum, value), element) in sums.iter_mut().zip(values).zip(elements.iter().step_by(across)) {
                    *sum += *value * *element;
                }
            }
        }
        sums.into_iter().fold(T::ZERO, |sum, value| sum + value)
    }
}

/// The same in f32 with neighbouring elements.
struct VectorProduct<'a> {
    dy: &'a [f32],
    columns: usize,
    values: &'a [f32],
    /// From one row to the next.
    width: usize,
}

impl WithSimd for VectorProduct<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let lanes = S::F32_LANES;
        let mut sums = simd.splat_f32s(0.0);
        for (y, row) in self.dy.chunks_exact(self.columns).enumerate() {
            let elements = &self.values[y * self.width..][..self.columns];
            for (values, elements) in row.chunks(lanes).zip(elements.chunks(lanes)) {
                let [values, elements] = [values, elements].map(|slice| simd.partial_load_f32s(slice));
                sums = simd.mul_add_e_f32s(values, elements, sums);
            }
        }
        bytemuck::cast_slice::<S::f32s, f32>(&[sums]).iter().sum()
    }
}
