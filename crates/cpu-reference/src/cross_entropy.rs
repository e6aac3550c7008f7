//! Cross-entropy of rows of logits with class numbers, and its gradient.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::real::Real;
use crate::row::{LANES, Map, Term, largest, map, sums};
use crate::softmax::{Exponentials, TASK};

/// How much rows and classes count.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a, T> {
    /// Rows of this class count for nothing: loss and gradient are 0.
    pub ignored: Option<u32>,
    /// The share of a row's target that all classes have alike, from 0 to 1; the row's own class has the rest.
    pub smoothing: f64,
    /// The weight of each class; 1 without.
    pub weight: Option<&'a [T]>,
    /// The sum of the weights: the number of classes without.
    pub total: f64,
}

/// What the logits of a row are compared with: `own` at its class and `each`, times their weights, at all classes.
#[derive(Clone, Copy)]
struct Target {
    class: usize,
    own: f64,
    each: f64,
}

impl<T: Real> Counted<'_, T> {
    /// All rows and classes alike, and nothing smoothed.
    pub fn plain(columns: usize) -> Counted<'static, T> {
        Counted { ignored: None, smoothing: 0.0, weight: None, total: columns as f64 }
    }

    /// None if there is no such class.
    fn target(&self, class: u32, columns: usize) -> Option<Target> {
        let (class, each) = (class as usize, self.smoothing / columns as f64);
        let weight =
            if class < columns { self.weight.map_or(1.0, |weight| weight[class].to_f64()) } else { return None };
        Some(Target { class, own: (1.0 - self.smoothing) * weight, each })
    }
}

/// The losses of rows of logits, and what the gradient needs.
///
/// `loss[row] = Σ q·(ln Σ exp(x) − x)` over the classes, where `q` is `weight·(1 − smoothing)` at the row's target and
/// `weight·smoothing/columns` more at every class: without options `ln Σ exp(x) − x[target]`. `statistics` becomes the largest
/// logit and the sum of exponentials of what the others differ from it by, or NaN twice for a row that has no softmax.
/// `logits` is `(rows, columns)`, `targets` and `loss` are `(rows)`, `statistics` is `(rows, 2)`. A target that is not below
/// `columns` gives a loss of NaN.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn cross_entropy<T: Real>(
    logits: &[T],
    columns: usize,
    targets: &[u32],
    counted: &Counted<'_, T>,
    loss: &mut [T],
    statistics: &mut [T],
) {
    check(logits.len(), columns, targets.len(), [loss.len(), statistics.len()], counted);
    let rows = (TASK / columns).max(1);
    let outputs = loss.par_chunks_mut(rows).zip(statistics.par_chunks_mut(2 * rows));
    let tasks = outputs.zip(logits.par_chunks(rows * columns)).zip(targets.par_chunks(rows));
    tasks.for_each(|(((loss, statistics), logits), targets)| {
        Arch::new().dispatch(Losses { logits, columns, targets, counted, loss, statistics });
    });
}

/// The gradient of [`cross_entropy`] times that of each row's loss: `(softmax(x)·Σ q − q)·dloss`. Without logits they lie
/// in `dlogits`, and are replaced. An ignored row gives zeros, whatever its logits; a target that is not below `columns` gives
/// a row of NaN.
///
/// # Panics
/// If the lengths do not agree ("internal: …").
pub fn cross_entropy_gradient<T: Real>(
    logits: Option<&[T]>,
    columns: usize,
    targets: &[u32],
    statistics: &[T],
    dloss: &[T],
    counted: &Counted<'_, T>,
    dlogits: &mut [T],
) {
    check(dlogits.len(), columns, targets.len(), [dloss.len(), statistics.len()], counted);
    let given = logits.map_or(dlogits.len(), <[T]>::len);
    assert!(given == dlogits.len(), "internal: {given} logits have {} gradients", dlogits.len());
    let rows = (TASK / columns).max(1);
    let tasks = dlogits.par_chunks_mut(rows * columns).zip(targets.par_chunks(rows)).enumerate();
    tasks.for_each(|(number, (dlogits, targets))| {
        let logits = logits.map(|logits| &logits[number * rows * columns..][..dlogits.len()]);
        let statistics = &statistics[2 * number * rows..];
        let dloss = &dloss[number * rows..];
        Arch::new().dispatch(Gradients { logits, columns, targets, statistics, dloss, counted, dlogits });
    });
}

fn check<T>(logits: usize, columns: usize, targets: usize, others: [usize; 2], counted: &Counted<'_, T>) {
    assert!(
        columns > 0 && logits == targets * columns && others == [targets, 2 * targets],
        "internal: {logits} logits in rows of {columns}, {targets} targets, {others:?} losses and statistics"
    );
    let weights = counted.weight.map_or(columns, <[T]>::len);
    assert!(weights == columns, "internal: {weights} weights of {columns} classes");
}

struct Losses<'a, T> {
    logits: &'a [T],
    columns: usize,
    targets: &'a [u32],
    counted: &'a Counted<'a, T>,
    loss: &'a mut [T],
    statistics: &'a mut [T],
}

impl<T: Real> WithSimd for Losses<'_, T> {
    type Output = ();

    // Its loops are compiled for the vectors of this machine.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let outputs = self.loss.iter_mut().zip(self.statistics.as_chunks_mut::<2>().0);
        let rows = self.logits.chunks_exact(self.columns).zip(self.targets);
        for ((row, class), (loss, statistics)) in rows.zip(outputs) {
            let maximum = largest(row);
            let [sum] = sums([row], &Exponentials { maximum });
            *statistics = if sum.is_nan() { [T::NAN; 2] } else { [maximum, T::from_f64(sum)] };
            let target = self.counted.target(*class, self.columns);
            *loss = match target {
                _ if self.counted.ignored == Some(*class) => T::ZERO,
                Some(Target { class, own, each }) => {
                    let distance = maximum.to_f64() - row[class].to_f64();
                    let logarithm = sum.ln();
                    let mut total = own * (distance + logarithm);
                    if each > 0.0 {
                        let distances = distances(row, maximum, self.counted.weight);
                        total += each * (distances + self.counted.total * logarithm);
                    }
                    T::from_f64(total)
                }
                None => T::NAN,
            };
        }
    }
}

/// maximum − x.
struct Distances<T> {
    maximum: T,
}

impl<T: Real> Term<T, 1, 1> for Distances<T> {
    #[inline(always)]
    fn of(&self, [values]: [&[T; LANES]; 1]) -> [[T; LANES]; 1] {
        [values.map(|value| self.maximum - value)]
    }

    #[inline(always)]
    fn fillers(&self) -> [T; 1] {
        [self.maximum]
    }
}

/// The same times a weight.
struct WeightedDistances<T> {
    maximum: T,
}

impl<T: Real> Term<T, 2, 1> for WeightedDistances<T> {
    #[inline(always)]
    fn of(&self, [values, weights]: [&[T; LANES]; 2]) -> [[T; LANES]; 1] {
        [from_fn(|lane| weights[lane] * (self.maximum - values[lane]))]
    }

    #[inline(always)]
    fn fillers(&self) -> [T; 2] {
        [self.maximum, T::ZERO]
    }
}

/// Σ weight·(maximum − x).
#[inline(always)]
fn distances<T: Real>(row: &[T], maximum: T, weight: Option<&[T]>) -> f64 {
    let Some(weight) = weight else { return sums([row], &Distances { maximum })[0] };
    sums([row, weight], &WeightedDistances { maximum })[0]
}

struct Gradients<'a, T> {
    logits: Option<&'a [T]>,
    columns: usize,
    targets: &'a [u32],
    statistics: &'a [T],
    dloss: &'a [T],
    counted: &'a Counted<'a, T>,
    dlogits: &'a mut [T],
}

/// exp(x − maximum)·scale − shift.
struct Probabilities<T> {
    maximum: T,
    scale: T,
    shift: T,
}

impl<T: Real> Map<T> for Probabilities<T> {
    #[inline(always)]
    fn of(&mut self, values: &[T; LANES]) -> [T; LANES] {
        values.map(|value| (value - self.maximum).exp() * self.scale - self.shift)
    }

    #[inline(always)]
    fn filler(&self) -> T {
        T::ZERO
    }
}

impl<T: Real> WithSimd for Gradients<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let rows = self.dlogits.chunks_exact_mut(self.columns).zip(self.targets).enumerate();
        for (number, (gradient, class)) in rows {
            let target = match self.counted.target(*class, self.columns) {
                _ if self.counted.ignored == Some(*class) => {
                    gradient.fill(T::ZERO);
                    continue;
                }
                None => {
                    gradient.fill(T::NAN);
                    continue;
                }
                Some(target) => target,
            };
            let logits = self.logits.map(|logits| &logits[number * self.columns..][..self.columns]);
            let (maximum, sum) = (self.statistics[2 * number], self.statistics[2 * number + 1].to_f64());
            let dloss = self.dloss[number].to_f64();
            let scale = T::from_f64(dloss * (target.own + target.each * self.counted.total) / sum);
            let each = T::from_f64(dloss * target.each);
            let shift = if self.counted.weight.is_some() { T::ZERO } else { each };
            map(logits, gradient, &mut Probabilities { maximum, scale, shift });
            if let (Some(weight), true) = (self.counted.weight, target.each > 0.0) {
                gradient.iter_mut().zip(weight).for_each(|(value, weight)| *value -= each * *weight);
            }
            gradient[target.class] -= T::from_f64(dloss * target.own);
        }
    }
}

#[cfg(test)]
#[path = "cross_entropy_tests.rs"]
mod tests;
