//! Convolution with few channels on a side, down to one in each group: sums over planes, without a matrix product.
//! Columns that a stride puts into different places of windows lie in planes of their own, so that neighbours are read
//! whatever the stride.

use pulp::{Arch, Simd, WithSimd};

use super::planes::Planes;
use super::{Convolution, Share, singles, singles_mut};
use crate::real::Real;

/// Weights whose gradients are summed side by side.
const TAPS: usize = 9;

/// Writes to each element of `output` the sum of the elements times the weights, each so far from the
/// element's own.
struct Sums<'a, T> {
    /// The elements, and as many more as a block of lanes reads beyond the last.
    values: &'a [T],
    /// Elements from one row of the output to the next.
    width: usize,
    distances: &'a [usize],
    weight: &'a [T],
    columns: usize,
    output: &'a mut [T],
}

impl<T: Real> Sums<'_, T> {
    fn run(self) {
        let Sums { values, width, distances, weight, columns, output } = self;
        if let (Some(values), Some(weight)) = (singles(values), singles(weight))
            && let Some(output) = singles_mut(output)
        {
            return Arch::new().dispatch(Sums { values, width, distances, weight, columns, output });
        }
        for (y, row) in output.chunks_exact_mut(columns).enumerate() {
            for (x, sum) in row.iter_mut().enumerate() {
                let elements = &values[y * width + x..];
                let products = distances.iter().zip(weight).map(|(distance, weight)| *weight * elements[*distance]);
                *sum = products.fold(T::ZERO, |sum, product| sum + product);
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

/// Writes channels of so many columns, given for each its weights, one for each distance.
pub(super) fn sums<T: Real>(
    values: &[T],
    width: usize,
    distances: &[usize],
    weights: &[T],
    columns: usize,
    share: Share,
    output: &mut [T],
) {
    let area = output.len() / (weights.len() / distances.len());
    // Rows are shared among threads, whole channels are not.
    let part = if share == Share::Within { columns } else { area };
    share.within(output, part, |number, output| {
        let (channel, row) = (number * part / area, number * part % area / columns);
        let weight = &weights[channel * distances.len()..][..distances.len()];
        Sums { values: &values[row * width..], width, distances, weight, columns, output }.run();
    });
}

/// The gradient of one group's weights by one image, given its planes, written or added.
pub(super) fn weight_gradient<T: Real>(
    sizes: &Convolution,
    planes: &Planes,
    values: &[T],
    dy: &[T],
    dw: &mut [T],
    add: bool,
) {
    let mut sums = vec![T::ZERO; sizes.depth()];
    let (width, distances, columns) = (planes.width(), &planes.offsets[..], sizes.output[1]);
    for (dw, dy) in dw.chunks_exact_mut(sums.len()).zip(dy.chunks_exact(sizes.output_area())) {
        Products { dy, columns, values, width, distances, sums: &mut sums }.run();
        for (dw, &sum) in dw.iter_mut().zip(&sums) {
            *dw = if add { *dw + sum } else { sum };
        }
    }
}
