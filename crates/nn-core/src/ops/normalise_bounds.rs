//! How exact moments and the sums of a normalisation's gradient are.

use crate::graph::{Accuracy, Arithmetic, CpuCall, CpuInput};
use crate::ops::accuracy::double_sum;
use crate::ops::reduce::{GROUP, split};
use crate::ops::support::strided;
use crate::tensor::{Layout, Shape};
use cpu_reference::{Reduction, Strided};

/// The most additions that a term goes through on a GPU, not counting those to 0.
pub(super) fn additions(count: usize) -> usize {
    // Groups of 64, then the groups; of all elements or, in a workgroup, of every 256th, and a tree of eight levels.
    let grouped = |count: usize| count.min(GROUP) + count.div_ceil(GROUP) - 2;
    let alone = if count <= 4096 { grouped(count) } else { 0 };
    let together = if count > 32 { grouped(count.div_ceil(256)) + 8 } else { 0 };
    // Which of the two it is depends on the layout too.
    alone.max(together)
}

/// Of the magnitudes below. On a GPU, in its units, with k additions in a row and the first mean off by at most
/// δ = (k + 3)·L·unit, where L is the largest element:
/// - the mean errs by its own rounding, and by k + 4 of the mean distance from it, in which the first mean's error cancels;
/// - the variance by k + 3 (difference, square, sum), 1 + 2.5 (correction, division), and by what the sum of differences,
///   which should be n·δ, has wrong: 2(k + 1)·δ·σ ≤ (k + 1)(σ²/4 + 4δ²), and k + 3 of δ² itself;
/// - 1/√(v + eps) by half of that, the addition, the root (4.5) and the division (2.5).
///
/// Four more are for going on from the piece before.
fn units(count: usize) -> f64 {
    1.25 * additions(count) as f64 + 15.0
}

/// Of mean, variance and 1/√(variance + eps), in units of their magnitudes.
pub(super) fn moments(arithmetic: Arithmetic, count: usize) -> Accuracy {
    match arithmetic {
        // What is lost of denormal squares.
        Arithmetic::Gpu => {
            Accuracy { relative: 0.0, absolute: 8.0 * arithmetic.smallest() / arithmetic.unit(), summed: units(count) }
        }
        // A difference, its square and three additions, then in double precision, and rounded at the end; 1/√ is that of
        // the rounded variance.
        _ => Accuracy { summed: 4.0 * double_sum(arithmetic, count + 4) + 3.0, ..Accuracy::relative(1.0) },
    }
}

/// Replaces moments by what their error is measured by: of the mean the mean distance from it, and an eighth of itself;
/// of the others they themselves, and what the first mean's error makes of them.
pub(super) fn moments_magnitudes(call: &mut CpuCall<'_>, axes: &[usize], eps: f64) {
    let layout = call.inputs[0].layout;
    let x = gathered(&call.inputs[0]);
    let mean = CpuInput {
        bytes: &*call.outputs[0],
        layout: &Layout::contiguous(&layout.shape.keep(axes)).broadcast_to(&layout.shape),
    };
    let distances: Vec<f64> = x.iter().zip(gathered(&mean)).map(|(x, mean)| (x - mean).abs()).collect();
    let distance = reduced(Reduction::Sum, &distances, &layout.shape, axes);
    let sizes: Vec<f64> = x.iter().map(|x| x.abs()).collect();
    let largest = reduced(Reduction::Maximum, &sizes, &layout.shape, axes);
    let count: usize = axes.iter().map(|&axis| layout.shape[axis]).product();
    let chain = additions(count) as f64 + 3.0;
    let unit = Arithmetic::Gpu.unit();
    for (place, (distance, largest)) in distance.iter().zip(largest).enumerate() {
        let of_mean = &mut call.output::<f64>(0)[place];
        *of_mean = distance / count as f64 + of_mean.abs() / 8.0;
        let variance = call.output::<f64>(1)[place];
        let error = 5.0 * chain * (chain * unit * largest).powi(2) / units(count);
        call.output::<f64>(1)[place] = variance + error;
        call.output::<f64>(2)[place] *= 1.0 + error / (variance + eps);
    }
}

/// What the error of the sums is measured by: the sums of their terms' absolute values.
pub(super) fn sums_magnitudes(call: &mut CpuCall<'_>, axes: &[usize]) {
    let shape = call.inputs[0].layout.shape.clone();
    let inputs: Vec<Vec<f64>> = call.inputs.iter().map(gathered).collect();
    let gradient = |place: usize| (inputs[0][place] * inputs.get(4).map_or(1.0, |weight| weight[place])).abs();
    let terms: Vec<f64> = (0..shape.elements()).map(gradient).collect();
    let product = |place: usize| terms[place] * ((inputs[1][place] - inputs[2][place]) * inputs[3][place]).abs();
    let products: Vec<f64> = (0..shape.elements()).map(product).collect();
    for (output, terms) in [terms, products].iter().enumerate() {
        call.output(output).copy_from_slice(&reduced(Reduction::Sum, terms, &shape, axes));
    }
}

/// The elements of an input in double precision, one after the other.
fn gathered(input: &CpuInput<'_>) -> Vec<f64> {
    let mut all = vec![0.0_f64; input.layout.shape.elements()];
    let whole = Layout::contiguous(&input.layout.shape);
    cpu_reference::copy(input.buffer(), strided(input.layout), &mut all, &whole.strides, 0);
    all
}

fn reduced(operation: Reduction, values: &[f64], shape: &Shape, axes: &[usize]) -> Vec<f64> {
    let parts = split(shape, &[&Layout::contiguous(shape).strides], axes);
    let mut output = vec![0.0; shape.keep(axes).elements()];
    let kept = Strided { sizes: &parts.kept.0, strides: &parts.kept.1[0], offset: 0 };
    let reduced = Strided { sizes: &parts.reduced.0, strides: &parts.reduced.1[0], offset: 0 };
    cpu_reference::reduce(operation, values, kept, reduced, 1.0, &mut output);
    output
}
