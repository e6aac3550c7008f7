//! Samples of the normalisation family.

use super::normalise::NormalisedSums;
use super::samples::{Samples, tensor};
use crate::graph::{Value, apply_many};
use crate::tensor::Tensor;

type Output = fn(Value, &[usize]) -> Value;

const MOMENTS: [(&str, Output); 3] = [
    ("mean", |x, axes| x.moments(axes, 0.1).mean),
    ("variance", |x, axes| x.moments(axes, 0.1).variance),
    ("inverse", |x, axes| x.moments(axes, 0.1).inverse_deviation),
];

pub(super) fn add(samples: &mut Samples) {
    moments(samples);
    sums(samples);
    normalised(samples);
}

fn moments(samples: &mut Samples) {
    let x = samples.uniform([3, 4, 5], -2.0, 3.0);
    for axes in [vec![], vec![0], vec![1], vec![2], vec![2, 0], vec![1, 2], vec![0, 1, 2]] {
        for (what, output) in MOMENTS {
            let (label, axes) = (format!("{what} over {axes:?}"), axes.clone());
            samples.smooth("moments", &label, vec![x.clone()], move |x| output(x[0], &axes));
        }
    }
    let x = samples.uniform([3, 4, 5], -2.0, 3.0);
    samples.smooth("moments", "all three", vec![x], |x| {
        let moments = x[0].moments(&[0, 2], 0.1);
        moments.mean * moments.variance + moments.inverse_deviation
    });
    // Rows and columns that don't divide a workgroup, through every path of the lowering.
    for (rows, columns) in [(3, 1031), (257, 33), (130, 70), (5000, 3)] {
        let x = samples.uniform([rows, columns], -2.0, 3.0);
        for axis in [0, 1] {
            for (what, output) in MOMENTS {
                let label = format!("{what} of [{rows}, {columns}] over axis {axis}");
                samples.smooth("moments", &label, vec![x.clone()], move |x| output(x[0], &[axis]));
            }
        }
    }
    // Channels of images, seen through other orders.
    let x = samples.uniform([4, 3, 7, 9], -2.0, 3.0);
    for (what, output) in MOMENTS {
        samples.smooth("moments", &format!("{what} of channels"), vec![x.clone()], move |x| output(x[0], &[0, 2, 3]));
        samples.smooth("moments", &format!("{what}, turned"), vec![x.clone()], move |x| {
            output(x[0].permute(&[2, 0, 3, 1]), &[0, 2])
        });
    }
    // A mean much larger than the deviation, equal elements, outliers.
    for far in [1e4, -3e5] {
        let x = samples.uniform([2, 700], far - 2.0, far + 2.0);
        for (what, output) in MOMENTS {
            let label = format!("{what} around {far}");
            samples.forward("moments", &label, vec![x.clone()], move |x| output(x[0], &[1]));
            samples.forward("moments", &format!("{label}, columns"), vec![x.clone()], move |x| {
                output(x[0].transpose(), &[0])
            });
        }
    }
    let equal = tensor([3, 300], &[[0.1; 300], [-7.3e4; 300], [0.0; 300]].concat());
    let outliers = tensor([2, 5], &[1.0, f32::NAN, 3.0, 1e4, -1e4, 7.0, 7.0, -7.0, 0.0, -7.0]);
    for (what, output) in MOMENTS {
        samples.forward("moments", &format!("{what} of equals"), vec![equal.clone()], move |x| output(x[0], &[1]));
        for axis in [0, 1] {
            let label = format!("{what} of outliers over axis {axis}");
            samples.forward("moments", &label, vec![outliers.clone()], move |x| output(x[0], &[axis]));
        }
    }
}

fn sums(samples: &mut Samples) {
    let of = |axes: &[usize], which: usize, inputs: &[Value]| {
        let shape = inputs[0].shape();
        let spread: Vec<Value> = inputs.iter().map(|input| input.broadcast_to(shape.clone())).collect();
        let [sum, product] = apply_many(NormalisedSums { axes: axes.to_vec() }, &spread);
        // Without the product no gradient would reach x.
        if which == 0 { sum * 2.0 + product } else { product }
    };
    let operands = |samples: &mut Samples, shape: &[usize], statistics: &[usize], weight: Option<&[usize]>| {
        let mut inputs: Vec<Tensor> = (0..2).map(|_| samples.uniform(shape, -2.0, 2.0)).collect();
        inputs.push(samples.uniform(statistics, -0.5, 0.5));
        inputs.push(samples.uniform(statistics, 0.5, 2.0));
        inputs.extend(weight.map(|shape| samples.uniform(shape, -2.0, 2.0)));
        inputs
    };
    type Case<'a> = (&'a [usize], &'a [usize], Option<&'a [usize]>, &'a [usize]);
    const CASES: [Case<'static>; 12] = [
        (&[3, 4, 5], &[1, 4, 1], None, &[0, 2]),
        (&[3, 4, 5], &[1, 4, 1], Some(&[4, 1]), &[0, 2]),
        (&[3, 4, 5], &[3, 4, 1], Some(&[5]), &[2]),
        (&[3, 4, 5], &[3, 4, 1], None, &[0, 1]),
        (&[3, 4, 5], &[3, 4, 5], Some(&[3, 4, 5]), &[]),
        (&[3, 4, 5], &[1, 1, 1], Some(&[1]), &[0, 1, 2]),
        (&[3, 1031], &[3, 1], Some(&[1031]), &[1]),
        (&[3, 1031], &[3, 1], None, &[0]),
        (&[257, 70], &[257, 1], None, &[0]),
        (&[257, 70], &[1, 70], Some(&[70]), &[0]),
        (&[5000, 3], &[5000, 1], None, &[0]),
        (&[5000, 3], &[5000, 1], Some(&[3]), &[1]),
    ];
    for (shape, statistics, weight, axes) in CASES {
        for which in [0, 1] {
            let with = weight.map_or(String::new(), |weight| format!(", weight {weight:?}"));
            let label = format!("{which} of {shape:?}, statistics {statistics:?}{with}, over {axes:?}");
            let inputs = operands(samples, shape, statistics, weight);
            samples.smooth("normalised_sums", &label, inputs, move |x| of(axes, which, x));
        }
    }
    for which in [0, 1] {
        let inputs = operands(samples, &[6, 5, 4], &[5, 1], Some(&[4]));
        samples.smooth("normalised_sums", &format!("{which}, turned"), inputs, move |x| {
            let turned = |value: Value| value.broadcast_to([6, 5, 4]).permute(&[2, 0, 1]);
            of(&[1, 2], which, &[turned(x[0]), turned(x[1]), turned(x[2]), turned(x[3]), turned(x[4])])
        });
        // A mean much larger than what is left of it.
        let mut inputs = operands(samples, &[2, 700], &[2, 1], None);
        inputs[1] = samples.uniform([2, 700], 9_998.0, 10_002.0);
        inputs[2] = tensor([2, 1], &[1e4, 1e4]);
        samples.forward("normalised_sums", &format!("{which}, far"), inputs, move |x| of(&[1], which, x));
        let mut inputs = operands(samples, &[2, 3], &[2, 1], None);
        inputs[0] = tensor([2, 3], &[f32::NAN, 1.0, 1e4, -1e4, 0.0, 1e-30]);
        samples.forward("normalised_sums", &format!("{which}, outliers"), inputs, move |x| of(&[1], which, x));
    }
}

fn normalised(samples: &mut Samples) {
    type Case<'a> = (&'a [usize], &'a [usize], Option<&'a [usize]>);
    // Batch norm, layer norm over one and two axes, instance norm, group norm; plain and with parameters.
    const CASES: [Case<'static>; 10] = [
        (&[6, 4], &[0], Some(&[4])),
        (&[3, 4, 2, 5], &[0, 2, 3], Some(&[4, 1, 1])),
        (&[3, 4, 2, 5], &[0, 2, 3], None),
        (&[3, 4, 5], &[2], Some(&[5])),
        (&[3, 4, 5], &[1, 2], Some(&[4, 5])),
        (&[3, 4, 5], &[2], Some(&[4, 1])),
        (&[3, 2, 2, 5], &[2, 3], Some(&[2, 2, 1])),
        (&[1, 2, 7], &[0, 2], Some(&[2, 1])),
        (&[2, 1, 3], &[1], Some(&[3])),
        (&[67, 130], &[1], Some(&[130])),
    ];
    for (shape, axes, parameter) in CASES {
        let x = samples.uniform(shape, -2.0, 3.0);
        let Some(parameter) = parameter else {
            let label = format!("{shape:?} over {axes:?}");
            samples.smooth("normalised", &label, vec![x], move |x| x[0].normalise(axes, 0.1, None, None));
            continue;
        };
        let (weight, bias) = (samples.uniform(parameter, -2.0, 2.0), samples.uniform(parameter, -2.0, 2.0));
        let label = format!("{shape:?} over {axes:?}, parameters {parameter:?}");
        let inputs = vec![x.clone(), weight.clone(), bias.clone()];
        samples.smooth("normalised", &label, inputs, move |x| x[0].normalise(axes, 0.1, Some(x[1]), Some(x[2])));
        let inputs = vec![x.clone(), weight];
        samples.smooth("normalised", &format!("{label}, no bias"), inputs, move |x| {
            x[0].normalise(axes, 0.1, Some(x[1]), None).tanh()
        });
        samples.smooth("normalised", &format!("{label}, no weight"), vec![x, bias], move |x| {
            x[0].normalise(axes, 0.1, None, Some(x[1]))
        });
    }
    for (label, parameter) in [("channels", vec![4, 1]), ("places", vec![5, 1, 1])] {
        let inputs = vec![samples.uniform([3, 4, 5], -2.0, 3.0), samples.uniform(parameter, 0.5, 2.0)];
        samples.smooth("normalised", &format!("turned, {label}"), inputs, |x| {
            x[0].permute(&[2, 1, 0]).normalise(&[0, 2], 0.1, Some(x[1]), None)
        });
    }
    let x = tensor([2, 4], &[1.0, f32::NAN, 3.0, 1e4, -1e4, 7.0, 7.0, -7.0]);
    samples.forward("normalised", "outliers", vec![x], |x| x[0].normalise(&[1], 1e-5, None, None));
}
