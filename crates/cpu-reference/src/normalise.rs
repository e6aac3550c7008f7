//! Mean and variance of strided views, and the two sums that the gradient of a normalisation takes.
//!
//! Everything is accumulated in `f64`. Long reductions are made of chunks that stay in the cache, whose length and order
//! follow from the shapes alone; the threads only decide who computes a chunk.

mod columns;

use rayon::prelude::*;

use crate::real::Real;
use crate::strided::{Dimensions, Strided};
use columns::Columns;

/// Reduced elements in a chunk; longer reductions are made of several. Never changed by the threads.
const CHUNK: usize = 1 << 14;
/// Columns whose accumulators stay in the cache while rows are added.
const COLUMNS: usize = 256;
/// Independent accumulators of a contiguous run, so that additions don't wait for each other.
const LANES: usize = 8;
/// Elements worth handing to another thread.
const TASK: usize = 1 << 15;

/// Mean and (biased) variance of `input` over the dimensions of `reduced` for each element of `kept`, and
/// 1/√(variance + `eps`). Views and outputs as [`crate::reduce()`] has them.
///
/// # Panics
/// If the views lead out of `input` or an output has not one element per kept one ("internal: …").
pub fn moments<T: Real>(input: &[T], kept: Strided<'_>, reduced: Strided<'_>, eps: f64, outputs: [&mut [T]; 3]) {
    let [mean, variance, inverse] = outputs;
    assert!(
        mean.len() == kept.count() && variance.len() == kept.count() && inverse.len() == kept.count(),
        "internal: moments of {kept:?} over {reduced:?} have {} outputs",
        mean.len()
    );
    let of = OfElements { input: &input[(kept.offset + reduced.offset).min(input.len())..] };
    let kept = Dimensions::new(kept.sizes, [kept.strides]);
    fold(&of, &kept, &Dimensions::new(reduced.sizes, [reduced.strides]), mean, variance);
    let finish = |(inverse, variance): (&mut [T], &[T])| {
        for (inverse, variance) in inverse.iter_mut().zip(variance) {
            *inverse = T::from_f64(1.0 / (variance.to_f64() + eps).sqrt());
        }
    };
    inverse.par_chunks_mut(TASK).zip(variance.par_chunks(TASK)).for_each(finish);
}

/// One input of [`normalised_sums`]: a buffer and where in it the view begins.
#[derive(Clone, Copy, Debug)]
pub struct SumsInput<'a, T> {
    /// The whole buffer.
    pub values: &'a [T],
    /// Strides along the kept dimensions.
    pub kept: &'a [usize],
    /// Strides along the reduced dimensions.
    pub reduced: &'a [usize],
    /// Elements before the first.
    pub offset: usize,
}

/// Σ g and Σ g·(x − mean)·inverse over the reduced dimensions for each kept element, where g is dy·weight. `inputs` are
/// dy, x, mean, inverse and weight; a weight of 1 is one number with strides of 0.
///
/// # Panics
/// If the views lead out of their buffers or an output has not one element per kept one ("internal: …").
pub fn normalised_sums<T: Real>(
    inputs: [SumsInput<'_, T>; 5],
    kept_sizes: &[usize],
    reduced_sizes: &[usize],
    outputs: [&mut [T]; 2],
) {
    let [sums, products] = outputs;
    let count: usize = kept_sizes.iter().product();
    assert!(
        sums.len() == count && products.len() == count,
        "internal: sums of {kept_sizes:?} over {reduced_sizes:?} have {} outputs",
        sums.len()
    );
    if let Some(columns) = Columns::of(&inputs, kept_sizes, reduced_sizes) {
        return columns.sums(sums, products);
    }
    let of = OfProducts { inputs: inputs.map(|input| &input.values[input.offset.min(input.values.len())..]) };
    let kept = Dimensions::new(kept_sizes, inputs.map(|input| input.kept));
    let reduced = Dimensions::new(reduced_sizes, inputs.map(|input| input.reduced));
    fold(&of, &kept, &reduced, sums, products);
}

/// What is folded into two numbers.
trait Fold<const N: usize>: Sync {
    /// What is carried from chunk to chunk.
    type Carried: Copy + Send + Sync;
    const START: Self::Carried;
    /// Whether neighbouring kept elements lie side by side, so that rows of them can be added at once.
    fn side_by_side(strides: [usize; N]) -> bool;
    /// One kept element that begins at `start`: so many reduced elements from the one of this number on.
    fn chunk(&self, start: [usize; N], reduced: &Dimensions<N>, first: usize, count: usize) -> Self::Carried;
    /// As [`Fold::chunk`], for as many neighbouring kept elements as there are in `carried`.
    fn rows(
        &self,
        start: [usize; N],
        strides: [usize; N],
        reduced: &Dimensions<N>,
        rows: std::ops::Range<usize>,
        carried: &mut [Self::Carried],
    );
    fn join(left: Self::Carried, right: Self::Carried) -> Self::Carried;
    fn finish(carried: Self::Carried) -> [f64; 2];
}

fn add<const N: usize>(left: [usize; N], right: [usize; N]) -> [usize; N] {
    std::array::from_fn(|view| left[view] + right[view])
}

fn scaled<const N: usize>(strides: [usize; N], by: usize) -> [usize; N] {
    strides.map(|stride| stride * by)
}

fn fold<T: Real, F: Fold<N>, const N: usize>(
    of: &F,
    kept: &Dimensions<N>,
    reduced: &Dimensions<N>,
    first: &mut [T],
    second: &mut [T],
) {
    let (columns, strides) = kept.innermost();
    let (run, run_strides) = reduced.innermost();
    // Memory is walked along its contiguous dimension: down the columns where that is a kept one.
    let by_columns = F::side_by_side(strides) && columns > 1 && run > 1 && run_strides[0] != 1;
    let count = reduced.count();
    let (width, least) = if by_columns { (columns, columns) } else { (COLUMNS, (TASK / count).max(1)) };
    // A task writes whole rows of columns, or some outputs.
    let task = least.max(TASK / count / width * width).max(1);
    let fold_task = |(number, (first, second)): (usize, (&mut [T], &mut [T]))| {
        let begin = number * task;
        if !by_columns {
            for (place, outputs) in first.iter_mut().zip(second).enumerate() {
                let carried = fold_one(of, kept.offsets(begin + place), reduced, count);
                write::<T, F, N>(carried, outputs);
            }
            return;
        }
        for place in (0..first.len()).step_by(columns) {
            let row = place..place + columns;
            let start = kept.offsets(begin + place);
            fold_columns(of, start, strides, reduced, &mut first[row.clone()], &mut second[row]);
        }
    };
    if first.len() <= task {
        first.chunks_mut(task).zip(second.chunks_mut(task)).enumerate().for_each(fold_task);
    } else {
        first.par_chunks_mut(task).zip(second.par_chunks_mut(task)).enumerate().for_each(fold_task);
    }
}

fn write<T: Real, F: Fold<N>, const N: usize>(carried: F::Carried, (first, second): (&mut T, &mut T)) {
    let [a, b] = F::finish(carried);
    (*first, *second) = (T::from_f64(a), T::from_f64(b));
}

/// All of the output whose elements begin at `start`.
fn fold_one<F: Fold<N>, const N: usize>(
    of: &F,
    start: [usize; N],
    reduced: &Dimensions<N>,
    count: usize,
) -> F::Carried {
    if count <= CHUNK {
        return of.chunk(start, reduced, 0, count);
    }
    let chunk = |number: usize| of.chunk(start, reduced, number * CHUNK, CHUNK.min(count - number * CHUNK));
    let parts: Vec<F::Carried> = (0..count.div_ceil(CHUNK)).into_par_iter().map(chunk).collect();
    parts.into_iter().fold(F::START, F::join)
}

/// A row of neighbouring outputs, in blocks of columns.
fn fold_columns<T: Real, F: Fold<N>, const N: usize>(
    of: &F,
    start: [usize; N],
    strides: [usize; N],
    reduced: &Dimensions<N>,
    first: &mut [T],
    second: &mut [T],
) {
    let width = first.len().min(COLUMNS);
    let count = reduced.count();
    // A chunk has a fixed number of rows, by the shape alone.
    let rows = (CHUNK / width).max(1);
    let block = |(number, (first, second)): (usize, (&mut [T], &mut [T]))| {
        let start = add(start, scaled(strides, number * width));
        let chunk = |number: usize| {
            let mut carried = vec![F::START; first.len()];
            of.rows(start, strides, reduced, number * rows..count.min((number + 1) * rows), &mut carried);
            carried
        };
        let mut total = chunk(0);
        let later: Vec<Vec<F::Carried>> = (1..count.div_ceil(rows)).into_par_iter().map(chunk).collect();
        for part in later {
            total.iter_mut().zip(part).for_each(|(total, part)| *total = F::join(*total, part));
        }
        for (carried, outputs) in total.into_iter().zip(first.iter_mut().zip(second)) {
            write::<T, F, N>(carried, outputs);
        }
    };
    let blocks = first.par_chunks_mut(width).zip(second.par_chunks_mut(width)).enumerate();
    blocks.for_each(block);
}

/// The sum of `f(0), f(1), …` in `LANES` interleaved parts, joined in order.
#[inline(always)]
fn sum_of<const M: usize>(count: usize, f: impl Fn(usize) -> [f64; M]) -> [f64; M] {
    let mut lanes = [[0.0; LANES]; M];
    let whole = count / LANES * LANES;
    for begin in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            let terms = f(begin + lane);
            for (lanes, term) in lanes.iter_mut().zip(terms) {
                lanes[lane] += term;
            }
        }
    }
    for place in whole..count {
        for (lanes, term) in lanes.iter_mut().zip(f(place)) {
            lanes[place - whole] += term;
        }
    }
    lanes.map(|lanes| lanes.into_iter().fold(0.0, |sum, lane| sum + lane))
}

/// Elements that are added in their own precision before they join a sum in `f64`.
const BLOCK: usize = 64;
/// Partial sums of a block, each of a few elements.
const PARTS: usize = 16;

/// As [`sum_of`] for terms in the elements' own precision: each goes through three additions in it.
#[inline(always)]
fn sum_of_blocks<T: Real, const M: usize>(values: &[T], f: impl Fn(T) -> [T; M]) -> [f64; M] {
    let mut lanes = [[0.0_f64; PARTS]; M];
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    for block in blocks {
        let mut parts = [[T::ZERO; PARTS]; M];
        for values in block.as_chunks::<PARTS>().0 {
            for place in 0..PARTS {
                let terms = f(values[place]);
                for (parts, term) in parts.iter_mut().zip(terms) {
                    parts[place] += term;
                }
            }
        }
        for (lanes, parts) in lanes.iter_mut().zip(parts) {
            lanes.iter_mut().zip(parts).for_each(|(lane, part)| *lane += part.to_f64());
        }
    }
    for (place, value) in rest.iter().enumerate() {
        for (lanes, term) in lanes.iter_mut().zip(f(*value)) {
            lanes[place % PARTS] += term.to_f64();
        }
    }
    lanes.map(|lanes| lanes.into_iter().fold(0.0, |sum, lane| sum + lane))
}

/// Mean and variance.
struct OfElements<'a, T> {
    /// From the view's first element on.
    input: &'a [T],
}

/// How many elements there were, their mean, and the sum of squares of what they differ from it by.
#[derive(Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// From a first mean, and the sum and the sum of squares of what the elements differ from it by: the sum would be 0
    /// but for the rounding of the first mean, which it takes out again.
    fn corrected(count: f64, first_mean: f64, [sum, squares]: [f64; 2]) -> Moments {
        let shift = sum / count;
        let squares = squares - sum * shift;
        // NaN is kept.
        Moments { count, mean: first_mean + shift, squares: if squares < 0.0 { 0.0 } else { squares } }
    }
}

impl<T: Real> Fold<1> for OfElements<'_, T> {
    type Carried = Moments;
    const START: Moments = Moments { count: 0.0, mean: 0.0, squares: 0.0 };

    fn side_by_side([stride]: [usize; 1]) -> bool {
        stride == 1
    }

    fn chunk(&self, [start]: [usize; 1], reduced: &Dimensions<1>, first: usize, count: usize) -> Moments {
        let [stride] = reduced.innermost().1;
        let mut sum = 0.0;
        reduced.runs(first, count, |[offset], run| {
            let input = &self.input[start + offset..];
            sum += match stride {
                1 => sum_of_blocks(&input[..run], |value| [value])[0],
                _ => sum_of(run, |place| [input[place * stride].to_f64()])[0],
            };
        });
        // Rounded, so that what elements differ from it by is right in their own precision.
        let mean = T::from_f64(sum / count as f64);
        let terms = |value: T| {
            let difference = value - mean;
            [difference, difference * difference]
        };
        let mut sums = [0.0; 2];
        reduced.runs(first, count, |[offset], run| {
            let input = &self.input[start + offset..];
            let part = match stride {
                1 => sum_of_blocks(&input[..run], terms),
                _ => sum_of(run, |place| terms(input[place * stride]).map(T::to_f64)),
            };
            sums = [sums[0] + part[0], sums[1] + part[1]];
        });
        Moments::corrected(count as f64, mean.to_f64(), sums)
    }

    fn rows(
        &self,
        [start]: [usize; 1],
        _strides: [usize; 1],
        reduced: &Dimensions<1>,
        rows: std::ops::Range<usize>,
        carried: &mut [Moments],
    ) {
        let width = carried.len();
        let [stride] = reduced.innermost().1;
        let count = rows.len();
        let each_row = |visit: &mut dyn FnMut(&[T])| {
            reduced.runs(rows.start, count, |[offset], run| {
                for row in 0..run {
                    let begin = start + offset + row * stride;
                    visit(&self.input[begin..begin + width]);
                }
            });
        };
        let mut mean = vec![0.0; width];
        each_row(&mut |row| mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value.to_f64()));
        mean.iter_mut().for_each(|sum| *sum /= count as f64);
        let (mut sums, mut squares) = (vec![0.0; width], vec![0.0; width]);
        each_row(&mut |row| {
            let sums = sums.iter_mut().zip(&mut squares);
            for ((sum, squares), (value, mean)) in sums.zip(row.iter().zip(&mean)) {
                let difference = value.to_f64() - mean;
                *sum += difference;
                *squares += difference * difference;
            }
        });
        for (place, carried) in carried.iter_mut().enumerate() {
            *carried = Moments::corrected(count as f64, mean[place], [sums[place], squares[place]]);
        }
    }

    /// As Chan et al. (1983) join the variances of two samples.
    fn join(left: Moments, right: Moments) -> Moments {
        if left.count == 0.0 {
            return right;
        }
        let count = left.count + right.count;
        let part = right.count / count;
        let apart = right.mean - left.mean;
        let squares = left.squares + right.squares + apart * apart * left.count * part;
        Moments { count, mean: left.mean + apart * part, squares }
    }

    fn finish(carried: Moments) -> [f64; 2] {
        [carried.mean, carried.squares / carried.count]
    }
}

/// The two sums of a normalisation's gradient.
struct OfProducts<'a, T> {
    /// dy, x, mean, inverse and weight, each from its view's first element on.
    inputs: [&'a [T]; 5],
}

impl<T: Real> Fold<5> for OfProducts<'_, T> {
    type Carried = [f64; 2];
    const START: [f64; 2] = [0.0; 2];

    fn side_by_side([dy, x, mean, inverse, weight]: [usize; 5]) -> bool {
        dy == 1 && x == 1 && mean <= 1 && inverse <= 1 && weight <= 1
    }

    fn chunk(&self, start: [usize; 5], reduced: &Dimensions<5>, first: usize, count: usize) -> [f64; 2] {
        let strides = reduced.innermost().1;
        let mut sums = [0.0; 2];
        reduced.runs(first, count, |offsets, run| {
            let from = add(start, offsets);
            let [dy, x, mean, inverse, weight] = std::array::from_fn(|view| &self.inputs[view][from[view]..]);
            let part = match strides {
                // The statistics are those of the run: what is the same all along is multiplied in at its end.
                [1, 1, 0, 0, weighted @ (0 | 1)] => {
                    let (dy, x, shift) = (&dy[..run], &x[..run], mean[0].to_f64());
                    let term = |gradient: f64, place: usize| [gradient, gradient * (x[place].to_f64() - shift)];
                    let (sums, factor) = if weighted == 1 {
                        let weight = &weight[..run];
                        (sum_of(run, |place| term(dy[place].to_f64() * weight[place].to_f64(), place)), 1.0)
                    } else {
                        (sum_of(run, |place| term(dy[place].to_f64(), place)), weight[0].to_f64())
                    };
                    [sums[0] * factor, sums[1] * factor * inverse[0].to_f64()]
                }
                [a, b, c, d, e] => sum_of(run, |place| {
                    let gradient = dy[place * a].to_f64() * weight[place * e].to_f64();
                    let difference = x[place * b].to_f64() - mean[place * c].to_f64();
                    [gradient, gradient * (difference * inverse[place * d].to_f64())]
                }),
            };
            sums = [sums[0] + part[0], sums[1] + part[1]];
        });
        sums
    }

    fn rows(
        &self,
        start: [usize; 5],
        strides: [usize; 5],
        reduced: &Dimensions<5>,
        rows: std::ops::Range<usize>,
        carried: &mut [[f64; 2]],
    ) {
        let width = carried.len();
        let along = reduced.innermost().1;
        let (mut sums, mut products) = (vec![0.0; width], vec![0.0; width]);
        reduced.runs(rows.start, rows.len(), |offsets, run| {
            for row in 0..run {
                let from = add(add(start, offsets), scaled(along, row));
                let [dy, x, mean, inverse, weight] = std::array::from_fn(|view| &self.inputs[view][from[view]..]);
                let (dy, x) = (&dy[..width], &x[..width]);
                let all = sums.iter_mut().zip(&mut products).zip(dy.iter().zip(x));
                if strides[2..] == [0, 0, 0] {
                    // One mean, inverse and weight for the row.
                    let (mean, weight) = (mean[0].to_f64(), weight[0].to_f64());
                    let inverse = inverse[0].to_f64();
                    for ((sum, product), (dy, x)) in all {
                        let gradient = dy.to_f64() * weight;
                        *sum += gradient;
                        *product += gradient * ((x.to_f64() - mean) * inverse);
                    }
                } else {
                    for (place, ((sum, product), (dy, x))) in all.enumerate() {
                        let gradient = dy.to_f64() * weight[place * strides[4]].to_f64();
                        let difference = x.to_f64() - mean[place * strides[2]].to_f64();
                        *sum += gradient;
                        *product += gradient * (difference * inverse[place * strides[3]].to_f64());
                    }
                }
            }
        });
        for (carried, sums) in carried.iter_mut().zip(sums.into_iter().zip(products)) {
            *carried = [sums.0, sums.1];
        }
    }

    fn join(left: [f64; 2], right: [f64; 2]) -> [f64; 2] {
        [left[0] + right[0], left[1] + right[1]]
    }

    fn finish(carried: [f64; 2]) -> [f64; 2] {
        carried
    }
}

#[cfg(test)]
#[path = "normalise_tests.rs"]
mod tests;
