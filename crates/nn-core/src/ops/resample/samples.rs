//! Samples of resampling: both modes, both conventions of corners, larger and smaller, by sizes and by factors.

use super::{Extent, Ratio, Resample, Rule, gradient, tables};
use crate::graph::Value;
use crate::ops::samples::Samples;

const MODES: [(&str, Resample, bool); 3] = [
    ("nearest", Resample::Nearest, false),
    ("linear", Resample::Linear, false),
    ("linear, corners aligned", Resample::Linear, true),
];

/// Samples of this family.
pub(in crate::ops) fn add_samples(samples: &mut Samples) {
    for (name, mode, corners) in MODES {
        for (input, output) in [([3, 4], [6, 8]), ([4, 5], [7, 3]), ([6, 2], [6, 5]), ([1, 5], [4, 1])] {
            let x = samples.uniform([2, 2, input[0], input[1]], -2.0, 2.0);
            let label = format!("{name}, {input:?} to {output:?}");
            let resized = move |x: Value| x.upsample2d(Extent::Size(output), mode, corners);
            samples.smooth("resample", &label, vec![x], move |x| resized(x[0]));
        }
        for factors in [[2.0, 2.0], [1.3, 0.5], [3.0, 2.5]] {
            let x = samples.uniform([1, 2, 5, 4], -2.0, 2.0);
            let label = format!("{name}, times {factors:?}");
            samples
                .smooth("resample", &label, vec![x], move |x| x[0].upsample2d(Extent::Factor(factors), mode, corners));
        }
        let x = samples.uniform([2, 3, 7], -2.0, 2.0);
        let label = format!("{name}, one dimension");
        samples.smooth("resample", &label, vec![x], move |x| x[0].upsample1d(Extent::Size([18]), mode, corners));
        let x = samples.uniform([9, 3, 8, 9], -2.0, 2.0);
        let label = format!("{name}, many");
        samples.forward("resample", &label, vec![x], move |x| x[0].upsample2d(Extent::Size([12, 10]), mode, corners));
    }
    let x = samples.uniform([2, 3, 4, 2], -2.0, 2.0);
    for axes in [vec![1], vec![3, 0], vec![0, 1, 2, 3]] {
        samples.smooth("resample", &format!("reversed along {axes:?}"), vec![x.clone()], move |x| x[0].flip(&axes));
    }
    for (input, output, inner) in [(3, 8, 1), (8, 3, 4), (5, 12, 2), (1, 6, 3), (40, 60, 3)] {
        let step = Ratio::new(input as u64, output as u64);
        for rule in [Rule::Nearest { step }, Rule::Linear { step }, Rule::Corners] {
            let dy = samples.uniform([4, output, inner], -2.0, 2.0);
            let label = format!("{input} to {output} by {inner}, {rule:?}");
            samples.smooth("resample_gradient", &label, vec![dy], move |dy| transposed(dy[0], rule, input, output));
        }
    }
}

/// The gradient on its own.
fn transposed(dy: Value, rule: Rule, input: usize, output: usize) -> Value {
    let dx = tables(dy.recorder(), rule, input, output).and_then(|(axis, places)| gradient(axis, dy, places));
    dx.unwrap_or_else(|message| {
        dy.recorder().fail("resample_gradient", message);
        dy
    })
}
