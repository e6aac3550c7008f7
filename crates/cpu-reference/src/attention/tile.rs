//! A tile of the scores: some queries of a head by some keys.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::{Attention, Heads, UNSEEING, WeightDropout};
use crate::matmul::multiply;
use crate::philox::{fill_bits, unit_interval};
use crate::real::Real;
use crate::row::{LANES, largest, map};
use crate::softmax::Kept;

/// Queries of a tile.
pub(super) const ROWS: usize = 64;

/// Keys of a tile.
pub(super) const COLUMNS: usize = 256;

/// Some queries of a head by some keys.
pub(super) struct Tile {
    pub(super) batch: usize,
    pub(super) head: usize,
    pub(super) queries: Range<usize>,
    pub(super) keys: Range<usize>,
    /// Whether some query does not see some key.
    partial: bool,
}

impl Tile {
    /// The tiles of these queries and keys, in order.
    pub(super) fn all<T: Real>(
        attention: &Attention<'_, T>,
        batch: usize,
        head: usize,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> impl Iterator<Item = Tile> {
        let [first, last] = [queries.start, queries.end - 1].map(|query| attention.seen(query));
        let seen_by_all = last.start..first.end;
        keys.clone().step_by(COLUMNS).map(move |start| {
            let keys = start..(start + COLUMNS).min(keys.end);
            let partial = keys.start < seen_by_all.start || keys.end > seen_by_all.end;
            Tile { batch, head, queries: queries.clone(), keys, partial }
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.queries.len()
    }

    pub(super) fn columns(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn elements(&self) -> usize {
        self.rows() * self.columns()
    }

    /// The columns that a row sees.
    #[inline(always)]
    fn seen<T: Real>(&self, attention: &Attention<'_, T>, row: usize) -> Range<usize> {
        let seen = attention.seen(self.queries.start + row);
        let start = seen.start.clamp(self.keys.start, self.keys.end);
        let end = seen.end.clamp(start, self.keys.end);
        start - self.keys.start..end - self.keys.start
    }

    /// The products of rows of queries with rows of keys.
    pub(super) fn products<T: Real>(
        &self,
        attention: &Attention<'_, T>,
        left: &Heads<'_, T>,
        right: &Heads<'_, T>,
        output: &mut [T],
    ) {
        let (rows, columns) = (self.rows(), self.columns());
        multiply(
            (left.from(self.batch, self.queries.start, self.head), left.strides[1], 1),
            (right.from(self.batch, self.keys.start, attention.group(self.head)), 1, right.strides[1]),
            [rows, attention.sizes.size, columns],
            (output, columns),
            false,
            false,
        );
    }

    /// `output (rows, size) += weights · right (columns, size)`.
    pub(super) fn add_by_rows<T: Real>(
        &self,
        attention: &Attention<'_, T>,
        weights: &[T],
        (right, stride): (&[T], usize),
        (output, output_stride): (&mut [T], usize),
    ) {
        let (rows, columns, size) = (self.rows(), self.columns(), attention.sizes.size);
        if self.partial && !finite(right, stride, columns, size) {
            for row in 0..rows {
                let output = &mut output[row * output_stride..][..size];
                for column in self.seen(attention, row) {
                    add(output, weights[row * columns + column], &right[column * stride..][..size]);
                }
            }
            return;
        }
        let right = (right, stride, 1);
        let weights = (weights, columns, 1);
        multiply(weights, right, [rows, columns, size], (output, output_stride), true, false);
    }

    /// `output (columns, size) += weightsᵀ · right (rows, size)`.
    pub(super) fn add_by_columns<T: Real>(
        &self,
        attention: &Attention<'_, T>,
        weights: &[T],
        (right, stride): (&[T], usize),
        output: &mut [T],
    ) {
        let (rows, columns, size) = (self.rows(), self.columns(), attention.sizes.size);
        if self.partial && !finite(right, stride, rows, size) {
            for row in 0..rows {
                for column in self.seen(attention, row) {
                    let output = &mut output[column * size..][..size];
                    add(output, weights[row * columns + column], &right[row * stride..][..size]);
                }
            }
            return;
        }
        let right = (right, stride, 1);
        let weights = (weights, 1, columns);
        multiply(weights, right, [columns, rows, size], (output, size), true, false);
    }

    /// What dropout multiplies the weights by; `memory` is as large as the tile.
    pub(super) fn kept<'m, T: Real>(
        &self,
        attention: &Attention<'_, T>,
        dropout: WeightDropout,
        memory: &'m mut [T],
    ) -> &'m [T] {
        let sizes = attention.sizes;
        let WeightDropout { probability, seed, step, stream } = dropout;
        let factor = T::from_f64(f64::from(1.0 / (1.0 - probability)));
        let mut bits = [0; COLUMNS];
        for (row, factors) in memory.chunks_exact_mut(self.columns()).enumerate() {
            let line = (self.batch * sizes.heads + self.head) * sizes.queries + self.queries.start + row;
            let first = line * sizes.keys + self.keys.start;
            let bits = &mut bits[..factors.len()];
            fill_bits(seed, step, stream, first as u32, bits);
            for (value, bits) in factors.iter_mut().zip(bits) {
                *value = if unit_interval(*bits) >= probability { factor } else { T::ZERO };
            }
        }
        memory
    }

    /// Makes scores of a row's products and gives those that the row sees, with −∞ after them up to a whole number of
    /// lanes, so that loops over them need not end element by element, and how many it sees: whoever makes weights of them
    /// leaves 0 beyond, as is elsewhere, since NaN makes NaN of −∞, too.
    #[inline(always)]
    fn scores<'v, T: Real>(
        &self,
        attention: &Attention<'_, T>,
        row: usize,
        values: &'v mut [T],
    ) -> (&'v mut [T], usize) {
        let seen = self.seen(attention, row);
        let end = (seen.start + seen.len().next_multiple_of(LANES)).min(values.len());
        values[..seen.start].fill(T::ZERO);
        values[end..].fill(T::ZERO);
        values[seen.end..end].fill(T::NEG_INFINITY);
        self.score(attention, row, &seen, &mut values[seen.clone()]);
        (&mut values[seen.start..end], seen.len())
    }

    /// Makes scores of a row's products: scaled, with mask and slopes.
    #[inline(always)]
    fn score<T: Real>(&self, attention: &Attention<'_, T>, row: usize, seen: &Range<usize>, values: &mut [T]) {
        let scale = T::from_f64(f64::from(attention.scale));
        for value in values.iter_mut() {
            *value *= scale;
        }
        let (query, first) = (self.queries.start + row, self.keys.start + seen.start);
        if let Some(mask) = &attention.mask {
            let [batch, head, along, stride] = mask.strides;
            let start = mask.offset + self.batch * batch + self.head * head + query * along + first * stride;
            if stride == 1 {
                let added = &mask.values[start..start + values.len()];
                values.iter_mut().zip(added).for_each(|(value, added)| *value += *added);
            } else {
                let added = mask.values[start..].iter().step_by(stride.max(1));
                match stride {
                    0 => values.iter_mut().for_each(|value| *value += mask.values[start]),
                    _ => values.iter_mut().zip(added).for_each(|(value, added)| *value += *added),
                }
            }
        }
        if let Some(slopes) = attention.slopes {
            let slope = slopes[self.head];
            let place = (query + attention.sizes.keys) as i64 - attention.sizes.queries as i64 - first as i64;
            for (column, value) in values.iter_mut().enumerate() {
                let distance = T::from_f64((place - column as i64).abs() as f64);
                *value -= slope * distance;
            }
        }
    }

    /// Makes weights of products: e to the power of the score less the row's logarithm, 0 where nothing is seen.
    pub(super) fn weigh<T: Real>(
        &self,
        attention: &Attention<'_, T>,
        weights: &mut [T],
        logarithms: impl Fn(usize) -> T,
    ) {
        Arch::new().dispatch(Weigh { tile: self, attention, weights, logarithms });
    }

    /// The gradients of the products: `weights · (gradients − means) · scale`, 0 where nothing is seen.
    pub(super) fn differ<T: Real>(
        &self,
        attention: &Attention<'_, T>,
        weights: &[T],
        gradients: &mut [T],
        means: impl Fn(usize) -> T,
    ) {
        Arch::new().dispatch(Differ { tile: self, attention, weights, gradients, means });
    }
}

// Structures, since a closure would not be compiled for the vectors of this machine.

/// [`Tile::weigh`].
struct Weigh<'a, 'b, T, F> {
    tile: &'a Tile,
    attention: &'a Attention<'b, T>,
    weights: &'a mut [T],
    logarithms: F,
}

impl<T: Real, F: Fn(usize) -> T> WithSimd for Weigh<'_, '_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Weigh { tile, attention, weights, logarithms } = self;
        for (row, values) in weights.chunks_exact_mut(tile.columns()).enumerate() {
            let (values, seen) = tile.scores(attention, row, values);
            let logarithm = logarithms(row);
            for value in &mut *values {
                *value = (*value - logarithm).exp();
            }
            values[seen..].fill(T::ZERO);
        }
    }
}

/// [`Tile::differ`].
struct Differ<'a, 'b, T, F> {
    tile: &'a Tile,
    attention: &'a Attention<'b, T>,
    weights: &'a [T],
    gradients: &'a mut [T],
    means: F,
}

impl<T: Real, F: Fn(usize) -> T> WithSimd for Differ<'_, '_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Differ { tile, attention, weights, gradients, means } = self;
        let scale = T::from_f64(f64::from(attention.scale));
        let columns = tile.columns();
        let rows = gradients.chunks_exact_mut(columns).zip(weights.chunks_exact(columns)).enumerate();
        for (row, (gradients, weights)) in rows {
            let seen = tile.seen(attention, row);
            gradients[..seen.start].fill(T::ZERO);
            gradients[seen.end..].fill(T::ZERO);
            let mean = means(row);
            for (gradient, weight) in gradients[seen.clone()].iter_mut().zip(&weights[seen]) {
                *gradient = *weight * (*gradient - mean) * scale;
            }
        }
    }
}

/// [`soften`].
struct Soften<'a, 'b, T, F> {
    attention: &'a Attention<'b, T>,
    tile: &'a Tile,
    weights: &'a mut [T],
    running: &'a mut Running<T>,
    rescale: F,
}

impl<T: Real, F: FnMut(usize, T)> WithSimd for Soften<'_, '_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Soften { attention, tile, weights, running, mut rescale } = self;
        for (row, values) in weights.chunks_exact_mut(tile.columns()).enumerate() {
            let (values, seen) = tile.scores(attention, row, values);
            let before = running.largest[row];
            // A NaN that is passed over makes the sum NaN.
            let mut largest = before.maximum(largest(values));
            if largest == T::NEG_INFINITY {
                if !values.iter().any(|value| value.is_nan()) {
                    values.fill(T::ZERO);
                    continue;
                }
                largest = T::NAN;
            }
            let mut kept = Kept::new(largest);
            map(None, values, &mut kept);
            let sum = T::from_f64(kept.sum.total());
            values[seen..].fill(T::ZERO);
            if largest != before {
                if running.sums[row] != T::ZERO {
                    let factor = (before - largest).exp();
                    rescale(row, factor);
                    running.sums[row] *= factor;
                }
                running.largest[row] = largest;
            }
            running.sums[row] += sum;
        }
    }
}

/// `output += weight · row`.
fn add<T: Real>(output: &mut [T], weight: T, row: &[T]) {
    output.iter_mut().zip(row).for_each(|(output, value)| *output += weight * *value);
}

/// Whether all elements of some rows are numbers.
fn finite<T: Real>(values: &[T], stride: usize, rows: usize, size: usize) -> bool {
    (0..rows).all(|row| {
        // Finite numbers times 0 are 0, all others NaN. Marks and not a sum of products, whose terms would wait for each other.
        values[row * stride..][..size].iter().fold(true, |all, value| all & (*value * T::ZERO == T::ZERO))
    })
}

/// The softmax of some rows as far as their keys have been seen.
pub(super) struct Running<T> {
    largest: [T; ROWS],
    sums: [T; ROWS],
}

impl<T: Real> Default for Running<T> {
    fn default() -> Self {
        Running { largest: [T::NEG_INFINITY; ROWS], sums: [T::ZERO; ROWS] }
    }
}

impl<T: Real> Running<T> {
    /// What a row's result is to be multiplied by, and the logarithm of its sum.
    pub(super) fn finish(&self, row: usize) -> (T, T) {
        let (largest, sum) = (self.largest[row], self.sums[row]);
        match largest == T::NEG_INFINITY {
            true => (T::ZERO, T::from_f64(f64::from(UNSEEING))),
            false => (T::ONE / sum, largest + sum.ln()),
        }
    }
}

/// Makes weights of a tile's products, relative to the largest score seen so far; `rescale` is told where that has grown,
/// by which factor the row's result shrinks.
pub(super) fn soften<T: Real>(
    attention: &Attention<'_, T>,
    tile: &Tile,
    weights: &mut [T],
    running: &mut Running<T>,
    rescale: impl FnMut(usize, T),
) {
    Arch::new().dispatch(Soften { attention, tile, weights, running, rescale });
}
