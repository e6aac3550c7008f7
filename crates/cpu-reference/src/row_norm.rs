//! Normalisation of contiguous rows by their mean and deviation or by their root mean square, and its gradient.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::real::Real;
use crate::row::{LANES, Term, sums};

#[cfg(test)]
#[path = "row_norm_tests.rs"]
mod tests;

/// Elements worth handing to another thread.
const TASK: usize = 1 << 14;

/// What rows are normalised by.
#[derive(Clone, Copy, Debug)]
pub struct RowNorm<'a, T> {
    /// Elements of a row.
    pub width: usize,
    /// Whether the mean is taken off, and the deviation is from it; else it is the root mean square.
    pub centred: bool,
    /// What is added to the mean square.
    pub eps: f64,
    /// A factor for each column; 1 without.
    pub weight: Option<&'a [T]>,
    /// What is added to each column at last.
    pub bias: Option<&'a [T]>,
}

/// `output = (x − mean)·inverse·weight + bias` in each row, and the two numbers of each row, `(rows, 2)`: its mean, or 0 if
/// it is not taken off, and `inverse = 1/√(Σ (x − mean)²/width + eps)`. `input` and `output` are `(rows, width)`.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn row_norm<T: Real>(norm: &RowNorm<'_, T>, input: &[T], output: &mut [T], statistics: &mut [T]) {
    norm.check(input.len(), output.len(), statistics.len());
    let rows = norm.task_rows();
    let outputs = output.par_chunks_mut(rows * norm.width).zip(statistics.par_chunks_mut(2 * rows));
    outputs.zip(input.par_chunks(rows * norm.width)).for_each(|((output, statistics), input)| {
        Arch::new().dispatch(Forward { norm, input, output, statistics });
    });
}

/// The gradient of [`row_norm`] by its input: with `g = dy·weight` and `x̂ = (x − mean)·inverse` of each row it is
/// `(g − Σ g/width − x̂·Σ (g·x̂)/width)·inverse`, without the first sum if the mean is not taken off. `dy`, `x` and `dx` are
/// `(rows, width)`, `statistics` are those of the rows. Without `dy` it lies in `dx`, and is replaced.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn row_norm_gradient<T: Real>(norm: &RowNorm<'_, T>, dy: Option<&[T]>, x: &[T], statistics: &[T], dx: &mut [T]) {
    norm.check(x.len(), dx.len(), statistics.len());
    let given = dy.map_or(dx.len(), <[T]>::len);
    assert!(given == dx.len(), "internal: {given} gradients of {} elements", dx.len());
    let rows = norm.task_rows();
    dx.par_chunks_mut(rows * norm.width).enumerate().for_each(|(number, dx)| {
        let part = number * rows * norm.width..number * rows * norm.width + dx.len();
        let (dy, x) = (dy.map(|dy| &dy[part.clone()]), &x[part]);
        Arch::new().dispatch(Backward { norm, dy, x, statistics: &statistics[2 * number * rows..], dx });
    });
}

impl<T: Real> RowNorm<'_, T> {
    fn check(&self, input: usize, output: usize, statistics: usize) {
        let RowNorm { width, weight, bias, .. } = *self;
        let fits = |parameter: Option<&[T]>| parameter.is_none_or(|parameter| parameter.len() == width);
        assert!(
            width > 0 && input == output && input.is_multiple_of(width) && statistics == 2 * (input / width),
            "internal: rows of {width}, {input} elements in, {output} out, {statistics} statistics"
        );
        assert!(fits(weight) && fits(bias), "internal: weight or bias are not as long as rows of {width}");
    }

    fn task_rows(&self) -> usize {
        (TASK / self.width).max(1)
    }
}

/// x.
struct Elements;

impl<T: Real> Term<T, 1, 1> for Elements {
    #[inline(always)]
    fn of(&self, [values]: [&[T; LANES]; 1]) -> [[T; LANES]; 1] {
        [*values]
    }

    #[inline(always)]
    fn fillers(&self) -> [T; 1] {
        [T::ZERO]
    }
}

/// x − mean, and its square.
struct Differences<T> {
    mean: T,
}

impl<T: Real> Term<T, 1, 2> for Differences<T> {
    #[inline(always)]
    fn of(&self, [values]: [&[T; LANES]; 1]) -> [[T; LANES]; 2] {
        let differences = values.map(|value| value - self.mean);
        [differences, differences.map(|difference| difference * difference)]
    }

    #[inline(always)]
    fn fillers(&self) -> [T; 1] {
        [self.mean]
    }
}

/// x².
struct Squares;

impl<T: Real> Term<T, 1, 1> for Squares {
    #[inline(always)]
    fn of(&self, [values]: [&[T; LANES]; 1]) -> [[T; LANES]; 1] {
        [values.map(|value| value * value)]
    }

    #[inline(always)]
    fn fillers(&self) -> [T; 1] {
        [T::ZERO]
    }
}

/// Mean and mean square of what the elements differ from it by.
#[inline(always)]
fn moments<T: Real>(row: &[T], centred: bool) -> [f64; 2] {
    // A product takes a fifth of a quotient's time, which shows where rows are short.
    let part = 1.0 / row.len() as f64;
    if !centred {
        return [0.0, sums([row], &Squares)[0] * part];
    }
    // Rounded, so that what elements differ from it by is right in their own precision; their sum, which would be 0 but
    // for that, takes it out again.
    let first = T::from_f64(sums([row], &Elements)[0] * part);
    let [sum, squares] = sums([row], &Differences { mean: first });
    let shift = sum * part;
    let variance = (squares - sum * shift) * part;
    // NaN is kept.
    [first.to_f64() + shift, if variance < 0.0 { 0.0 } else { variance }]
}

struct Forward<'a, T> {
    norm: &'a RowNorm<'a, T>,
    input: &'a [T],
    output: &'a mut [T],
    statistics: &'a mut [T],
}

impl<T: Real> WithSimd for Forward<'_, T> {
    type Output = ();

    // Its loops are compiled for the vectors of this machine.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let RowNorm { width, centred, eps, weight, bias } = *self.norm;
        let rows = self.output.chunks_exact_mut(width).zip(self.input.chunks_exact(width));
        for ((output, input), statistics) in rows.zip(self.statistics.as_chunks_mut::<2>().0) {
            let [mean, square] = moments(input, centred);
            let (mean, inverse) = (T::from_f64(mean), T::from_f64(1.0 / (square + eps).sqrt()));
            *statistics = [mean, inverse];
            let elements = output.iter_mut().zip(input);
            match (weight, bias) {
                (None, None) => elements.for_each(|(output, x)| *output = (*x - mean) * inverse),
                (Some(weight), None) => {
                    elements.zip(weight).for_each(|((output, x), weight)| *output = (*x - mean) * inverse * *weight)
                }
                (None, Some(bias)) => {
                    elements.zip(bias).for_each(|((output, x), bias)| *output = (*x - mean) * inverse + *bias);
                }
                (Some(weight), Some(bias)) => elements
                    .zip(weight.iter().zip(bias))
                    .for_each(|((output, x), (weight, bias))| *output = (*x - mean) * inverse * *weight + *bias),
            }
        }
    }
}

/// g and g·(x − mean)·inverse.
struct Products<T> {
    mean: T,
    inverse: T,
}

impl<T: Real> Term<T, 2, 2> for Products<T> {
    #[inline(always)]
    fn of(&self, [dy, x]: [&[T; LANES]; 2]) -> [[T; LANES]; 2] {
        [*dy, from_fn(|lane| dy[lane] * ((x[lane] - self.mean) * self.inverse))]
    }

    #[inline(always)]
    fn fillers(&self) -> [T; 2] {
        [T::ZERO, self.mean]
    }
}

/// The same, where g is dy times a weight.
struct Weighted<T>(Products<T>);

impl<T: Real> Term<T, 3, 2> for Weighted<T> {
    #[inline(always)]
    fn of(&self, [dy, x, weight]: [&[T; LANES]; 3]) -> [[T; LANES]; 2] {
        let gradients = from_fn(|lane| dy[lane] * weight[lane]);
        self.0.of([&gradients, x])
    }

    #[inline(always)]
    fn fillers(&self) -> [T; 3] {
        [T::ZERO, self.0.mean, T::ZERO]
    }
}

struct Backward<'a, T> {
    norm: &'a RowNorm<'a, T>,
    dy: Option<&'a [T]>,
    x: &'a [T],
    statistics: &'a [T],
    dx: &'a mut [T],
}

impl<T: Real> WithSimd for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let RowNorm { width, centred, weight, .. } = *self.norm;
        let part = 1.0 / width as f64;
        let rows = self.dx.chunks_exact_mut(width).zip(self.x.chunks_exact(width));
        for (number, ((dx, x), statistics)) in rows.zip(self.statistics.as_chunks::<2>().0).enumerate() {
            let [mean, inverse] = *statistics;
            let dy = self.dy.map(|dy| &dy[number * width..][..width]);
            let products = Products { mean, inverse };
            let [sum, product] = match weight {
                Some(weight) => sums([dy.unwrap_or(dx), x, weight], &Weighted(products)),
                None => sums([dy.unwrap_or(dx), x], &products),
            };
            let sum = if centred { T::from_f64(sum * part) } else { T::ZERO };
            let product = T::from_f64(product * part);
            let of = |gradient: T, x: T| (gradient - sum - (x - mean) * inverse * product) * inverse;
            match (dy, weight) {
                (None, None) => dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = of(*dx, *x)),
                (None, Some(weight)) => {
                    dx.iter_mut().zip(x.iter().zip(weight)).for_each(|(dx, (x, weight))| *dx = of(*dx * *weight, *x));
                }
                (Some(dy), None) => dx.iter_mut().zip(dy.iter().zip(x)).for_each(|(dx, (dy, x))| *dx = of(*dy, *x)),
                (Some(dy), Some(weight)) => {
                    let elements = dx.iter_mut().zip(dy).zip(x.iter().zip(weight));
                    elements.for_each(|((dx, dy), (x, weight))| *dx = of(*dy * *weight, *x));
                }
            }
        }
    }
}
