//! Convolution with one input channel in each group: sums over one plane, without a matrix product. Columns that a stride
//! puts into different places of windows lie in planes of their own, so that neighbours are read whatever the stride.

use pulp::{Arch, Simd, WithSimd};

use super::{Convolution, pad, padded, singles, singles_mut, surround, with_scratch};
use crate::real::Real;

/// Numbers that are computed side by side.
const LANES: usize = 32;

/// Weights whose gradients are summed side by side.
const TAPS: usize = 9;

/// Writes, or adds, to each element of `output` the sum of the elements times the weights, each so far from the
/// element's own.
struct Sums<'a, T> {
    /// The elements, and as many more as a block of lanes reads beyond the last.
    values: &'a [T],
    /// Elements from one row of the output to the next.
    width: usize,
    distances: &'a [usize],
    weight: &'a [T],
    columns: usize,
    add: bool,
    output: &'a mut [T],
}

impl<T: Real> Sums<'_, T> {
    fn run(self) {
        let Sums { values, width, distances, weight, columns, add, output } = self;
        if let (Some(values), Some(weight)) = (singles(values), singles(weight))
            && let Some(output) = singles_mut(output)
        {
            return Arch::new().dispatch(Sums { values, width, distances, weight, columns, add, output });
        }
        for (y, row) in output.chunks_exact_mut(columns).enumerate() {
            for (x, sum) in row.iter_mut().enumerate() {
                let elements = &values[y * width + x..];
                let products = distances.iter().zip(weight).map(|(distance, weight)| *weight * elements[*distance]);
                *sum = products.fold(if add { *sum } else { T::ZERO }, |sum, product| sum + product);
            }
        }
    }
}

/// Neighbouring elements, two vectors of them at a time.
impl WithSimd for Sums<'_, f32> {
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
                let elements = &self.values[y * self.width + block * 2 * lanes..];
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

/// Writes for each distance the sum of the products of `dy`, in rows of so many columns, and the elements so far on.
struct Products<'a, T> {
    dy: &'a [T],
    columns: usize,
    values: &'a [T],
    /// Elements from one row to the next.
    width: usize,
    distances: &'a [usize],
    sums: &'a mut [T],
}

impl<T: Real> Products<'_, T> {
    fn run(self) {
        let Products { dy, columns, values, width, distances, sums } = self;
        if let (Some(dy), Some(values)) = (singles(dy), singles(values))
            && let Some(sums) = singles_mut(sums)
        {
            return Arch::new().dispatch(Products { dy, columns, values, width, distances, sums });
        }
        for (sum, distance) in sums.iter_mut().zip(distances) {
            let rows = dy.chunks_exact(columns).enumerate();
            *sum = rows.fold(T::ZERO, |sum, (y, row)| {
                let elements = &values[y * width + distance..];
                row.iter().zip(elements).fold(sum, |sum, (value, element)| sum + *value * *element)
            });
        }
    }
}

impl WithSimd for Products<'_, f32> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        for (sums, distances) in self.sums.chunks_mut(TAPS).zip(self.distances.chunks(TAPS)) {
            // Those beyond the last are the first again.
            let mut places = [distances[0]; TAPS];
            places[..distances.len()].copy_from_slice(distances);
            let mut held = [simd.splat_f32s(0.0); TAPS];
            for (y, row) in self.dy.chunks_exact(self.columns).enumerate() {
                for (block, values) in row.chunks(lanes).enumerate() {
                    let elements = &self.values[y * self.width + block * lanes..];
                    let count = values.len();
                    let values = simd.partial_load_f32s(values);
                    for (sum, place) in held.iter_mut().zip(places) {
                        // What is beyond the row may be infinite: it isn't read, not even to meet a zero.
                        let elements = simd.partial_load_f32s(&elements[place..][..count]);
                        *sum = simd.mul_add_e_f32s(values, elements, *sum);
                    }
                }
            }
            for (sum, vector) in sums.iter_mut().zip(held) {
                *sum = bytemuck::cast_slice::<S::f32s, f32>(&[vector]).iter().sum();
            }
        }
    }
}

/// An image with the zeros around it: for each remainder of its columns by the stride a plane of every such column.
struct Planes<'a, T> {
    values: &'a [T],
    /// Of each plane.
    width: usize,
    /// For each weight how far the element that it meets lies from that of the first.
    distances: Vec<usize>,
}

/// Lends the planes of an image.
fn with_planes<T: Real, R>(sizes: &Convolution, input: &[T], work: impl FnOnce(Planes<'_, T>) -> R) -> R {
    let [height, whole] = padded(sizes);
    let across = sizes.stride[1];
    let width = whole.div_ceil(across);
    let distance = |tap: usize| {
        let (down, right) = (tap / sizes.kernel[1] * sizes.dilation[0], tap % sizes.kernel[1] * sizes.dilation[1]);
        (right % across * height + down) * width + right / across
    };
    let distances = (0..sizes.depth()).map(distance).collect();
    let (planes, image) = (across * height * width, height * whole);
    // With stride 1 the image is the plane.
    let image = if across == 1 { 0 } else { image };
    with_scratch(planes + LANES + image, |scratch| {
        let (values, image) = scratch.split_at_mut(planes + LANES);
        values[planes..].fill(T::ZERO);
        if across == 1 {
            pad(sizes, input, &mut values[..planes]);
        } else {
            pad(sizes, input, image);
            for (remainder, plane) in values[..planes].chunks_exact_mut(height * width).enumerate() {
                for (row, image) in plane.chunks_exact_mut(width).zip(image.chunks_exact(whole)) {
                    let elements = image.iter().skip(remainder).step_by(across);
                    // Where the last column lacks an element no weight meets it.
                    row.iter_mut().zip(elements).for_each(|(value, element)| *value = *element);
                }
            }
        }
        work(Planes { values, width, distances })
    })
}

/// The output channels of one group of one image.
pub(super) fn forward<T: Real>(sizes: &Convolution, input: &[T], weight: &[T], output: &mut [T]) {
    with_planes(sizes, input, |Planes { values, width, distances }| {
        let (width, distances, columns) = (sizes.stride[0] * width, &distances[..], sizes.output[1]);
        for (weight, output) in weight.chunks_exact(sizes.depth()).zip(output.chunks_exact_mut(sizes.output_area())) {
            Sums { values, width, distances, weight, columns, add: false, output }.run();
        }
    });
}

/// The gradient of one group's weights by one image, written or added.
pub(super) fn weight_gradient<T: Real>(sizes: &Convolution, input: &[T], dy: &[T], dw: &mut [T], add: bool) {
    let mut sums = vec![T::ZERO; sizes.depth()];
    with_planes(sizes, input, |Planes { values, width, distances }| {
        let (width, distances, columns) = (sizes.stride[0] * width, &distances[..], sizes.output[1]);
        for (dw, dy) in dw.chunks_exact_mut(sums.len()).zip(dy.chunks_exact(sizes.output_area())) {
            Products { dy, columns, values, width, distances, sums: &mut sums }.run();
            for (dw, &sum) in dw.iter_mut().zip(&sums) {
                *dw = if add { *dw + sum } else { sum };
            }
        }
    });
}

/// The rows, or columns, of an input that the same weights meet: those a stride apart.
struct Class {
    first: usize,
    count: usize,
    /// The kernel's places that meet them, and where each finds its element of `dy` for the first of them.
    taps: Vec<(usize, usize)>,
}

/// The classes of an axis, the zeros that they need before `dy`, and its size with those.
fn classes(sizes: &Convolution, axis: usize) -> (Vec<Class>, usize, usize) {
    let (stride, size, before) = (sizes.stride[axis], sizes.input[axis], sizes.before[axis]);
    let zeros = (sizes.kernel[axis] - 1) * sizes.dilation[axis] / stride;
    let class = |first: usize| {
        let reach = |tap: usize| tap * sizes.dilation[axis];
        let meets = |tap: &usize| reach(*tap) % stride == (first + before) % stride;
        let place = |tap: usize| (tap, (first + before) / stride + zeros - reach(tap) / stride);
        let taps = (0..sizes.kernel[axis]).filter(meets).map(place).collect();
        Class { first, count: (size - first).div_ceil(stride), taps }
    };
    let length = zeros + (size - 1 + before) / stride + 1;
    ((0..stride.min(size)).map(class).collect(), zeros, length)
}

/// A class of rows and one of columns: the first element and how many there are, and of each weight that they meet its
/// number and where it finds its element of `dy` for the first of them.
struct Pair {
    first: [usize; 2],
    count: [usize; 2],
    weights: Vec<usize>,
    distances: Vec<usize>,
}

/// Which weights each element of the input meets, made once for all images.
pub(super) struct InputGradient {
    pairs: Vec<Pair>,
    /// Zeros before dy, and its size with them.
    before: [usize; 2],
    size: [usize; 2],
}

impl InputGradient {
    pub(super) fn of(sizes: &Convolution) -> InputGradient {
        let ((rows, top, height), (columns, left, width)) = (classes(sizes, 0), classes(sizes, 1));
        let pair = |(row, column): (&Class, &Class)| {
            let taps = row.taps.iter().flat_map(|r| column.taps.iter().map(move |s| (r, s)));
            let tap = |((r, y), (s, x)): (&(usize, usize), &(usize, usize))| (r * sizes.kernel[1] + s, y * width + x);
            let (weights, distances) = taps.map(tap).unzip();
            Pair { first: [row.first, column.first], count: [row.count, column.count], weights, distances }
        };
        let pairs = rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column))).map(pair).collect();
        InputGradient { pairs, before: [top, left], size: [height, width] }
    }

    /// Adds the gradient of one group of one image.
    pub(super) fn add<T: Real>(&self, sizes: &Convolution, dy: &[T], weight: &[T], dx: &mut [T]) {
        let ([down, across], count) = (sizes.stride, self.size[0] * self.size[1]);
        let apart = self.pairs.len() > 1;
        // The first pair has the most elements.
        let part = if apart { self.pairs[0].count.iter().product() } else { 0 };
        let mut met = Vec::with_capacity(sizes.depth());
        with_scratch(count + LANES + part, |scratch| {
            let (values, part) = scratch.split_at_mut(count + LANES);
            values[count..].fill(T::ZERO);
            for (weight, dy) in weight.chunks_exact(sizes.depth()).zip(dy.chunks_exact(sizes.output_area())) {
                surround(dy, sizes.output, self.before, self.size, &mut values[..count]);
                for Pair { first, count: [rows, columns], weights, distances } in &self.pairs {
                    met.clear();
                    met.extend(weights.iter().map(|number| weight[*number]));
                    let (values, width, columns) = (&*values, self.size[1], *columns);
                    let output = if apart { &mut part[..rows * columns] } else { &mut *dx };
                    Sums { values, width, distances, weight: &met, columns, add: !apart, output }.run();
                    for (y, sums) in part.chunks_exact(columns).take(if apart { *rows } else { 0 }).enumerate() {
                        let row = &mut dx[(first[0] + y * down) * sizes.input[1]..][..sizes.input[1]];
                        let elements = row[first[1]..].iter_mut().step_by(across);
                        elements.zip(sums).for_each(|(dx, sum)| *dx += *sum);
                    }
                }
            }
        });
    }
}
