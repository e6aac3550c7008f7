//! Reductions of strided views: sum, mean (a scaled sum), maximum, minimum.
//!
//! Sums are accumulated in `f64`, in an order that depends on the shape alone: chunks of fixed length,
//! joined in order, so that the threads only decide who computes a chunk.

use std::array::from_fn;
use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::real::Real;
use crate::strided::{Dimensions, Strided};

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// The sum, times a scale: 1 for a sum, 1/n for a mean.
    Sum,
    /// The sum of the squares, times the scale.
    SumOfSquares,
    /// The largest element; NaN if there is one.
    Maximum,
    /// The smallest element; NaN if there is one.
    Minimum,
}

/// Reduced elements in a chunk; longer reductions are made of several. Never changed by the threads.
const CHUNK: usize = 1 << 15;
/// Columns whose accumulators stay in the cache while rows are added, and elements of a chunk of them.
const COLUMNS: usize = 1024;
const CHUNK_OF_COLUMNS: usize = 4 * CHUNK;
/// Accumulators of a contiguous run: so many vectors of so many, so that additions don't wait for each other.
const LANES: usize = 8;
const VECTORS: usize = 4;
/// Elements worth handing to another thread.
const TASK: usize = 1 << 15;

/// Reduces `input` over the dimensions of `reduced` for each element of `kept`.
///
/// Output element `i` (contiguous over `kept.sizes`) is the reduction of the input at
/// `kept.offset + reduced.offset + kept index·kept.strides + reduced index·reduced.strides`, over all
/// reduced indices. No reduced dimensions is a reduction of one element. `scale` multiplies a sum.
///
/// # Panics
/// If the views lead out of `input` or `output` has not one element per kept one ("internal: …").
pub fn reduce<T: Real>(
    operation: Reduction,
    input: &[T],
    kept: Strided<'_>,
    reduced: Strided<'_>,
    scale: f64,
    output: &mut [T],
) {
    assert!(
        output.len() == kept.count() && reduced.count() > 0,
        "internal: a reduction of {kept:?} over {reduced:?} has {} outputs",
        output.len()
    );
    let views = Views {
        input: &input[(kept.offset + reduced.offset).min(input.len())..],
        kept: Dimensions::new(kept.sizes, [kept.strides]),
        reduced: Dimensions::new(reduced.sizes, [reduced.strides]),
    };
    match operation {
        Reduction::Sum => views.fold::<Sum>(scale, output),
        Reduction::SumOfSquares => views.fold::<SumOfSquares>(scale, output),
        Reduction::Maximum => views.fold::<Maximum>(scale, output),
        Reduction::Minimum => views.fold::<Minimum>(scale, output),
    }
}

/// How elements are folded into one.
trait Fold<T: Real> {
    /// What is carried from element to element.
    type Carried: Copy + Send + Sync;
    const START: Self::Carried;
    fn step(carried: Self::Carried, value: T) -> Self::Carried;
    fn join(left: Self::Carried, right: Self::Carried) -> Self::Carried;
    fn finish(carried: Self::Carried, scale: f64) -> T;
}

struct Sum;
struct SumOfSquares;
struct Maximum;
struct Minimum;

impl<T: Real> Fold<T> for Sum {
    type Carried = f64;
    const START: f64 = 0.0;
    #[inline(always)]
    fn step(carried: f64, value: T) -> f64 {
        carried + value.to_f64()
    }
    #[inline(always)]
    fn join(left: f64, right: f64) -> f64 {
        left + right
    }
    fn finish(carried: f64, scale: f64) -> T {
        T::from_f64(carried * scale)
    }
}

impl<T: Real> Fold<T> for SumOfSquares {
    type Carried = f64;
    const START: f64 = 0.0;
    #[inline(always)]
    fn step(carried: f64, value: T) -> f64 {
        carried + value.to_f64() * value.to_f64()
    }
    #[inline(always)]
    fn join(left: f64, right: f64) -> f64 {
        left + right
    }
    fn finish(carried: f64, scale: f64) -> T {
        T::from_f64(carried * scale)
    }
}

impl<T: Real> Fold<T> for Maximum {
    type Carried = T;
    const START: T = T::NEG_INFINITY;
    #[inline(always)]
    fn step(carried: T, value: T) -> T {
        carried.maximum(value)
    }
    #[inline(always)]
    fn join(left: T, right: T) -> T {
        left.maximum(right)
    }
    fn finish(carried: T, _: f64) -> T {
        carried
    }
}

impl<T: Real> Fold<T> for Minimum {
    type Carried = T;
    const START: T = T::INFINITY;
    #[inline(always)]
    fn step(carried: T, value: T) -> T {
        carried.minimum(value)
    }
    #[inline(always)]
    fn join(left: T, right: T) -> T {
        left.minimum(right)
    }
    fn finish(carried: T, _: f64) -> T {
        carried
    }
}

struct Views<'a, T> {
    /// From the views' first element on.
    input: &'a [T],
    kept: Dimensions<1>,
    reduced: Dimensions<1>,
}

impl<T: Real> Views<'_, T> {
    fn fold<F: Fold<T>>(&self, scale: f64, output: &mut [T]) {
        let (columns, [column_stride]) = self.kept.innermost();
        let (run, [run_stride]) = self.reduced.innermost();
        // Memory is walked along its contiguous dimension: down the columns where that is a kept one.
        if column_stride == 1 && columns > 1 && run > 1 && run_stride != 1 {
            self.fold_columns::<F>(scale, output);
        } else {
            self.fold_each::<F>(scale, output);
        }
    }

    /// One output at a time, each along its runs.
    fn fold_each<F: Fold<T>>(&self, scale: f64, output: &mut [T]) {
        let count = self.reduced.count();
        let task = (TASK / count).max(1);
        let fold_task = |(number, outputs): (usize, &mut [T])| {
            if self.reduced.rank == 1 && self.reduced.innermost().1 == [1] && count <= CHUNK {
                return Arch::new().dispatch(Runs::<T, F> {
                    views: self,
                    first: number * task,
                    scale,
                    outputs,
                    fold: PhantomData,
                });
            }
            for (place, output) in outputs.iter_mut().enumerate() {
                let [start] = self.kept.offsets(number * task + place);
                *output = F::finish(self.fold_one::<F>(start, count), scale);
            }
        };
        if output.len() <= task {
            output.chunks_mut(task).enumerate().for_each(fold_task);
        } else {
            output.par_chunks_mut(task).enumerate().for_each(fold_task);
        }
    }

    /// The whole reduction for the output whose elements begin at `start`.
    fn fold_one<F: Fold<T>>(&self, start: usize, count: usize) -> F::Carried {
        let chunk = |first: usize| self.fold_chunk::<F>(start, first, CHUNK.min(count - first));
        if count <= CHUNK {
            return chunk(0);
        }
        let parts: Vec<F::Carried> =
            (0..count.div_ceil(CHUNK)).into_par_iter().map(|number| chunk(number * CHUNK)).collect();
        parts.into_iter().fold(F::START, F::join)
    }

    fn fold_chunk<F: Fold<T>>(&self, start: usize, first: usize, count: usize) -> F::Carried {
        let [stride] = self.reduced.innermost().1;
        let mut carried = F::START;
        self.reduced.runs(first, count, |[offset], run| {
            let part = match stride {
                1 => fold_slice::<T, F>(&self.input[start + offset..start + offset + run]),
                _ => (0..run)
                    .fold(F::START, |carried, place| F::step(carried, self.input[start + offset + place * stride])),
            };
            carried = F::join(carried, part);
        });
        carried
    }

    /// Blocks of neighbouring outputs at a time, adding whole rows of them.
    fn fold_columns<F: Fold<T>>(&self, scale: f64, output: &mut [T]) {
        let (columns, _) = self.kept.innermost();
        let kept_outer = self.kept.outer();
        let width = columns.min(COLUMNS);
        let rows = self.reduced.count();
        // A chunk has a fixed number of rows, by the shape alone.
        let rows_per_chunk = (CHUNK_OF_COLUMNS / width).max(1);
        let block = |number: usize, first_column: usize, outputs: &mut [T]| {
            let start = kept_outer.offsets(number)[0] + first_column;
            let chunk = |first_row: usize| {
                let count = rows_per_chunk.min(rows - first_row);
                self.fold_rows::<F>(start, outputs.len(), first_row, count)
            };
            let chunks = rows.div_ceil(rows_per_chunk);
            let parts: Vec<Vec<F::Carried>> = match chunks {
                1 => vec![chunk(0)],
                _ => (0..chunks).into_par_iter().map(|number| chunk(number * rows_per_chunk)).collect(),
            };
            let mut total = vec![F::START; outputs.len()];
            for part in parts {
                for (total, part) in total.iter_mut().zip(part) {
                    *total = F::join(*total, part);
                }
            }
            for (output, total) in outputs.iter_mut().zip(total) {
                *output = F::finish(total, scale);
            }
        };
        let row_of_outputs = |(number, outputs): (usize, &mut [T])| {
            let blocks = outputs.chunks_mut(width).enumerate();
            blocks.for_each(|(place, outputs)| block(number, place * width, outputs));
        };
        let whole_work = output.len() * rows;
        let rows_of_outputs = output.len() / columns;
        if whole_work <= TASK {
            output.chunks_mut(columns).enumerate().for_each(row_of_outputs);
        } else if rows_of_outputs >= 2 * rayon::current_num_threads() {
            let least = (TASK / (columns * rows)).max(1);
            output.par_chunks_mut(columns).with_min_len(least).enumerate().for_each(row_of_outputs);
        } else {
            for (number, outputs) in output.chunks_mut(columns).enumerate() {
                outputs
                    .par_chunks_mut(width)
                    .enumerate()
                    .for_each(|(place, outputs)| block(number, place * width, outputs));
            }
        }
    }

    /// Folds `count` rows of `width` neighbouring columns.
    fn fold_rows<F: Fold<T>>(&self, start: usize, width: usize, first_row: usize, count: usize) -> Vec<F::Carried> {
        let [stride] = self.reduced.innermost().1;
        let mut carried = vec![F::START; width];
        self.reduced.runs(first_row, count, |[offset], run| {
            let input = &self.input[start + offset..start + offset + (run - 1) * stride + width];
            Arch::new().dispatch(Rows::<T, F> { input, stride, run, carried: &mut carried });
        });
        carried
    }
}

/// Folds so many rows, each into the elements of `carried`.
struct Rows<'a, T: Real, F: Fold<T>> {
    input: &'a [T],
    stride: usize,
    run: usize,
    carried: &'a mut [F::Carried],
}

// The loops are plain; dispatching compiles them for the processor's widest vectors.
impl<T: Real, F: Fold<T>> WithSimd for Rows<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for row in 0..self.run {
            let row = &self.input[row * self.stride..][..self.carried.len()];
            for (carried, value) in self.carried.iter_mut().zip(row) {
                *carried = F::step(*carried, *value);
            }
        }
    }
}

/// Folds the contiguous run of each of these outputs.
struct Runs<'a, T: Real, F: Fold<T>> {
    views: &'a Views<'a, T>,
    first: usize,
    scale: f64,
    outputs: &'a mut [T],
    fold: PhantomData<F>,
}

impl<T: Real, F: Fold<T>> WithSimd for Runs<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Runs { views, first, scale, outputs, .. } = self;
        let count = views.reduced.count();
        for (place, output) in outputs.iter_mut().enumerate() {
            let [start] = views.kept.offsets(first + place);
            let run = Run::<T, F>(&views.input[start..start + count], PhantomData);
            *output = F::finish(F::join(F::START, run.with_simd(simd)), scale);
        }
    }
}

/// Folds a contiguous run in interleaved parts, joined as a tree.
struct Run<'a, T: Real, F: Fold<T>>(&'a [T], PhantomData<F>);

impl<T: Real, F: Fold<T>> WithSimd for Run<'_, T, F> {
    type Output = F::Carried;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> F::Carried {
        let mut parts = [[F::START; LANES]; VECTORS];
        let (vectors, rest) = self.0.as_chunks::<LANES>();
        let (blocks, others) = vectors.as_chunks::<VECTORS>();
        for block in blocks {
            for (part, values) in parts.iter_mut().zip(block) {
                *part = from_fn(|lane| F::step(part[lane], values[lane]));
            }
        }
        for (part, values) in parts.iter_mut().zip(others) {
            *part = from_fn(|lane| F::step(part[lane], values[lane]));
        }
        let [first, second, third, mut last] = parts;
        for (lane, value) in last.iter_mut().zip(rest) {
            *lane = F::step(*lane, *value);
        }
        let all: [F::Carried; LANES] =
            from_fn(|lane| F::join(F::join(first[lane], second[lane]), F::join(third[lane], last[lane])));
        let half: [F::Carried; LANES / 2] = from_fn(|lane| F::join(all[lane], all[lane + LANES / 2]));
        F::join(F::join(half[0], half[2]), F::join(half[1], half[3]))
    }
}

fn fold_slice<T: Real, F: Fold<T>>(values: &[T]) -> F::Carried {
    Arch::new().dispatch(Run::<T, F>(values, PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_same_bits, dot, indices, values};

    fn naive(operation: Reduction, input: &[f64], kept: Strided<'_>, reduced: Strided<'_>, scale: f64) -> Vec<f64> {
        let offset = kept.offset + reduced.offset;
        let one = |index: Vec<usize>| {
            let elements = indices(reduced.sizes)
                .into_iter()
                .map(|inner| input[offset + dot(&index, kept.strides) + dot(&inner, reduced.strides)]);
            let elements: Vec<f64> = elements.collect();
            let nan = elements.iter().any(|value| value.is_nan());
            match operation {
                Reduction::Sum => elements.iter().sum::<f64>() * scale,
                Reduction::SumOfSquares => elements.iter().map(|value| value * value).sum::<f64>() * scale,
                _ if nan => f64::NAN,
                Reduction::Maximum => elements.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Reduction::Minimum => elements.iter().copied().fold(f64::INFINITY, f64::min),
            }
        };
        indices(kept.sizes).into_iter().map(one).collect()
    }

    type Case<'a> = (&'a [usize], &'a [usize], &'a [usize], &'a [usize]);

    /// (kept sizes, kept strides, reduced sizes, reduced strides)
    const CASES: [Case<'static>; 14] = [
        (&[], &[], &[], &[]),
        (&[1], &[1], &[1], &[1]),
        (&[5], &[1], &[], &[]),
        (&[], &[], &[1001], &[1]),
        (&[], &[], &[150_001], &[1]),
        (&[7], &[13], &[13], &[1]),
        (&[13], &[1], &[7], &[13]),
        (&[300], &[1], &[411], &[300]),
        (&[10], &[1], &[9_001], &[10]),
        (&[4, 6], &[30, 1], &[5], &[6]),
        (&[6], &[1], &[4, 5], &[30, 6]),
        (&[5], &[6], &[4, 6], &[30, 1]),
        (&[3, 8], &[0, 2], &[2, 9], &[100, 0]),
        (&[70, 3], &[2, 140], &[2, 50], &[1, 420]),
    ];

    fn every_case<T: Real>(data: &[T], tolerance: f64) {
        let exact: Vec<f64> = data.iter().map(|value| value.to_f64()).collect();
        for (kept_sizes, kept_strides, reduced_sizes, reduced_strides) in CASES {
            let kept = Strided { sizes: kept_sizes, strides: kept_strides, offset: 2 };
            let reduced = Strided { sizes: reduced_sizes, strides: reduced_strides, offset: 1 };
            let mean = 1.0 / reduced.count() as f64;
            for (operation, scale) in [
                (Reduction::Sum, 1.0),
                (Reduction::Sum, mean),
                (Reduction::SumOfSquares, mean),
                (Reduction::Maximum, 9.0),
                (Reduction::Minimum, 9.0),
            ] {
                let mut output = vec![T::ZERO; kept.count()];
                reduce(operation, data, kept, reduced, scale, &mut output);
                let expected = naive(operation, &exact, kept, reduced, scale);
                assert_close(&output, &expected, tolerance);
            }
        }
    }

    #[test]
    fn every_case_agrees_with_a_plain_loop() {
        every_case::<f32>(&values(200_000, 7), 1e-6);
        every_case::<f64>(&values(200_000, 8), 1e-12);
    }

    #[test]
    fn outliers_are_kept() {
        let mut data: Vec<f32> = values(200_000, 9);
        for place in (0..200_000).step_by(37) {
            data[place] = [1e4, -1e4, f32::INFINITY, 0.0, f32::NAN][place % 5];
        }
        every_case::<f32>(&data, 1e-6);
        let finite: Vec<f32> = data.iter().map(|value| if value.is_finite() { *value } else { 1.0 }).collect();
        every_case::<f32>(&finite, 1e-6);
    }

    #[test]
    fn long_sums_in_f32_are_accurate() {
        let input = vec![0.1f32; 3_000_000];
        for (kept, reduced) in [(1, 3_000_000), (3, 1_000_000)] {
            let mut output = vec![0f32; kept];
            let kept = Strided { sizes: &[kept], strides: &[1], offset: 0 };
            let reduced = Strided { sizes: &[reduced], strides: &[kept.sizes[0]], offset: 0 };
            reduce(Reduction::Sum, &input, kept, reduced, 1.0, &mut output);
            let exact = f64::from(0.1f32) * reduced.count() as f64;
            for value in output {
                assert!((f64::from(value) - exact).abs() <= exact * 6e-8, "{value}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let data: Vec<f32> = values(600_000, 10);
        for (rows, columns) in [(1, 600_000), (600_000, 1), (60_000, 10), (775, 774), (10, 60_000)] {
            for over_rows in [true, false] {
                assert_same_bits(|| {
                    let row = (&[rows][..], &[columns][..]);
                    let column = (&[columns][..], &[1][..]);
                    let (kept, reduced) = if over_rows { (column, row) } else { (row, column) };
                    let mut output = vec![0f32; kept.0[0]];
                    let view = |(sizes, strides)| Strided { sizes, strides, offset: 0 };
                    reduce(Reduction::Sum, &data, view(kept), view(reduced), 1.0, &mut output);
                    output
                });
            }
        }
    }
}
