//! The sums of a normalisation's gradient down the columns of a matrix whose rows have one mean and deviation each: what the
//! weight and bias of layer norm take.
//!
//! Every element is read once. A tile of columns stays in registers for a few rows; chunks of rows, whose number follows
//! from the shape alone, are summed apart and joined in order.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::SumsInput;
use crate::real::Real;
use crate::row::LANES;

/// Columns whose sums stay in registers.
const TILE: usize = 8 * LANES;
/// Rows that are added in their own precision before they join a sum in `f64`: a term takes part in seven additions.
const ROWS: usize = 8;
/// Elements that are worth a chunk of their own, and the most chunks.
const CHUNK: usize = 1 << 14;
const CHUNKS: usize = 32;

/// Sums down the columns of two matrices.
pub(super) struct Columns<'a, T> {
    /// dy and x from their first element on, and how far apart their rows lie.
    matrices: [(&'a [T], usize); 2],
    /// Mean and 1/deviation of each row, likewise.
    statistics: [(&'a [T], usize); 2],
    rows: usize,
    width: usize,
}

impl<'a, T: Real> Columns<'a, T> {
    /// None if the sums are none of these.
    pub(super) fn of(inputs: &[SumsInput<'a, T>; 5], kept: &[usize], reduced: &[usize]) -> Option<Columns<'a, T>> {
        let (&[width], &[rows]) = (kept, reduced) else { return None };
        let along = inputs.map(|input| input.kept[0]);
        let down = inputs.map(|input| input.reduced[0]);
        let weight = inputs[4].values.get(inputs[4].offset);
        let plain = along == [1, 1, 0, 0, 0] && down[4] == 0 && weight == Some(&T::ONE);
        let view = |input: usize| (&inputs[input].values[inputs[input].offset..], down[input]);
        let columns = Columns { matrices: [view(0), view(1)], statistics: [view(2), view(3)], rows, width };
        (plain && rows > 1 && width >= LANES).then_some(columns)
    }

    /// Σ dy and Σ dy·(x − mean)·inverse of each column.
    pub(super) fn sums(&self, sums: &mut [T], products: &mut [T]) {
        let least = (CHUNK / self.width).max(self.rows.div_ceil(CHUNKS));
        let rows = least.next_multiple_of(ROWS).min(self.rows);
        let mut partial = vec![0.0; self.rows.div_ceil(rows) * 2 * self.width];
        partial.par_chunks_mut(2 * self.width).enumerate().for_each(|(chunk, sums)| {
            let last = self.rows.min((chunk + 1) * rows);
            Arch::new().dispatch(Chunk { columns: self, rows: chunk * rows..last, sums });
        });
        Arch::new().dispatch(Joined { partial, sums, products });
    }
}

struct Chunk<'a, T> {
    columns: &'a Columns<'a, T>,
    rows: std::ops::Range<usize>,
    /// The sums of all columns, then those of the products.
    sums: &'a mut [f64],
}

impl<T: Real> WithSimd for Chunk<'_, T> {
    type Output = ();

    // Its loops are compiled for the vectors of this machine.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Columns { matrices: [(dy, dy_stride), (x, x_stride)], statistics, width, .. } = *self.columns;
        let (sums, products) = self.sums.split_at_mut(width);
        for first in self.rows.clone().step_by(ROWS) {
            let rows = first..self.rows.end.min(first + ROWS);
            let mut numbers = [[T::ZERO; 2]; ROWS];
            for (numbers, row) in numbers.iter_mut().zip(rows.clone()) {
                *numbers = statistics.map(|(values, stride)| values[row * stride]);
            }
            let mut start = 0;
            while start < width {
                let (sums, products) = (&mut sums[start..], &mut products[start..]);
                let inputs = [&dy[start..], &x[start..]];
                let rows = Rows { inputs, strides: [dy_stride, x_stride], rows: rows.clone(), numbers: &numbers };
                start += match width - start {
                    TILE.. => rows.add::<TILE>(sums, products),
                    LANES.. => rows.add::<LANES>(sums, products),
                    _ => rows.add::<1>(sums, products),
                };
            }
        }
    }
}

/// A few rows of both matrices.
struct Rows<'a, T> {
    inputs: [&'a [T]; 2],
    strides: [usize; 2],
    rows: std::ops::Range<usize>,
    /// The mean and 1/deviation of each.
    numbers: &'a [[T; 2]; ROWS],
}

impl<T: Real> Rows<'_, T> {
    /// Adds their first columns to the sums; returns how many.
    #[inline(always)]
    fn add<const WIDTH: usize>(self, sums: &mut [f64], products: &mut [f64]) -> usize {
        let (mut held, mut held_products) = ([T::ZERO; WIDTH], [T::ZERO; WIDTH]);
        for (row, [mean, inverse]) in self.rows.zip(self.numbers) {
            let [dy, x] = from_fn(|input| self.inputs[input][row * self.strides[input]..].first_chunk::<WIDTH>());
            let (Some(dy), Some(x)) = (dy, x) else { panic!("internal: row {row} ends early") };
            for lane in 0..WIDTH {
                held[lane] += dy[lane];
                held_products[lane] += dy[lane] * ((x[lane] - *mean) * *inverse);
            }
        }
        for lane in 0..WIDTH {
            sums[lane] += held[lane].to_f64();
            products[lane] += held_products[lane].to_f64();
        }
        WIDTH
    }
}

/// The sums of all chunks, in their order.
struct Joined<'a, T> {
    partial: Vec<f64>,
    sums: &'a mut [T],
    products: &'a mut [T],
}

impl<T: Real> WithSimd for Joined<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _simd: S) {
        let (total, others) = self.partial.split_at_mut(2 * self.sums.len());
        for part in others.chunks_exact(total.len()) {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += *part);
        }
        let outputs = self.sums.iter_mut().chain(self.products.iter_mut());
        outputs.zip(&*total).for_each(|(output, total)| *output = T::from_f64(*total));
    }
}
