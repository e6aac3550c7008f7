//! Samples of the elementwise table: every row on smooth ground, at odd sizes, broadcast, strided, and on outliers.

use super::samples::{Samples, tensor, whole};
use crate::graph::Value;
use crate::tensor::Tensor;

type Unary = fn(Value) -> Value;

/// Name, function, where it is smooth, and whether outliers are within f32's range.
const UNARY: &[(&str, Unary, f32, f32, bool)] = &[
    ("negate", |x| -x, -3.0, 3.0, true),
    ("abs", |x| x.abs(), 0.1, 3.0, true),
    ("exp", |x| x.exp(), -3.0, 3.0, false),
    ("log", |x| x.log(), 0.2, 5.0, false),
    ("sqrt", |x| x.sqrt(), 0.2, 5.0, false),
    ("rsqrt", |x| x.rsqrt(), 0.2, 5.0, false),
    ("sin", |x| x.sin(), -3.0, 3.0, false),
    ("cos", |x| x.cos(), -3.0, 3.0, false),
    ("erf", |x| x.erf(), -3.0, 3.0, true),
    ("tanh", |x| x.tanh(), -3.0, 3.0, true),
    ("sigmoid", |x| x.sigmoid(), -4.0, 4.0, true),
    ("relu", |x| x.relu(), 0.1, 3.0, true),
    ("gelu", |x| x.gelu(), -3.0, 3.0, true),
    ("gelu_tanh", |x| x.gelu_tanh(), -3.0, 3.0, true),
    ("silu", |x| x.silu(), -3.0, 3.0, true),
    ("gelu_slope", |x| x.gelu_slope(), -3.0, 3.0, true),
    ("gelu_tanh_slope", |x| x.gelu_tanh_slope(), -3.0, 3.0, true),
    ("silu_slope", |x| x.silu_slope(), -3.0, 3.0, true),
    ("softplus", |x| x.softplus(), -4.0, 4.0, true),
    ("leaky_relu", |x| x.leaky_relu(0.1), -3.0, -0.1, true),
    ("elu", |x| x.elu(0.7), -3.0, -0.1, true),
    ("contiguous", |x| x.contiguous(), -3.0, 3.0, true),
    ("to_f32", |x| x.to_f32(), -3.0, 3.0, true),
];

/// Numbers that break careless kernels. No denormals: devices may flush them.
const OUTLIERS: [f32; 14] = [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 1e4, -1e4, 88.0, -88.0, 0.5, -0.5, f32::NAN, 20.0];

pub(super) fn add(samples: &mut Samples) {
    for &(name, function, low, high, outliers) in UNARY {
        for (label, shape) in
            [("plain", vec![3, 5]), ("one element", vec![]), ("odd size", vec![257]), ("rank 4", vec![2, 3, 1, 7])]
        {
            let x = samples.uniform(shape, low, high);
            samples.smooth(name, label, vec![x], move |x| function(x[0]));
        }
        let x = samples.uniform([5, 67], low, high);
        samples.smooth(name, "transposed", vec![x], move |x| function(x[0].transpose()));
        if outliers {
            let x = tensor([14], &OUTLIERS);
            samples.forward(name, "outliers", vec![x], move |x| function(x[0]));
        }
    }
    for (name, function) in [("exp", (|x| x.exp()) as Unary), ("sqrt", |x| x.sqrt()), ("log", |x| x.log())] {
        let x = tensor([7], &[f32::NAN, 1.0, 40.0, 0.01, 1e-20, 2.0, 0.99]);
        samples.forward(name, "outliers", vec![x], move |x| function(x[0]));
    }
    for (name, function) in [("sign", (|x| x.sign()) as Unary), ("floor", |x| x.floor()), ("relu", |x| x.relu())] {
        let x = tensor([8], &[-2.5, -0.0, 0.0, 0.3, 7.0, -1e4, 1e4, f32::NAN]);
        samples.forward(name, "steps", vec![x], move |x| function(x[0]));
        let x = samples.uniform([3, 85], -4.0, 4.0);
        samples.forward(name, "odd size", vec![x], move |x| function(x[0]));
    }
    binary(samples);
    of_optimisers(samples);
    whole_numbers(samples);
    random(samples);
    // More workgroups than one dimension of a grid holds; an element left out would be 0 and the smallest.
    let row = samples.uniform([257], 0.5, 1.0);
    samples
        .forward("add", "grid beyond 65,535 groups", vec![row], |x| (x[0].broadcast_to([65_537, 257]) + 1.0).min(&[1]));
}

fn of_optimisers(samples: &mut Samples) {
    let inputs: Vec<Tensor> = (0..4).map(|_| samples.uniform([3, 85], -2.0, 2.0)).collect();
    samples.smooth("weighted_sum", "odd size", inputs, |x| x[0].weighted_sum(x[1], x[2], x[3]));
    let inputs: Vec<Tensor> = (0..2).map(|_| samples.uniform([5, 67], -2.0, 2.0)).collect();
    samples.smooth("weighted_sum", "transposed", inputs, |x| x[0].transpose().weighted_sum(0.9, x[1].transpose(), 0.1));
    let (value, mean, square) =
        (samples.uniform([3, 85], -2.0, 2.0), samples.uniform([3, 85], -2.0, 2.0), samples.uniform([3, 85], 0.0, 2.0));
    samples.forward("adam_step", "odd size", vec![value, mean, square], |x| {
        x[0].adam_step(0.99, x[1], 1e-3, x[2], 1.5, 1e-8)
    });
    let square = tensor([5], &[0.0, 1e-12, 1e-20, 1e-30, 4.0]);
    let (value, mean) = (samples.uniform([5], -2.0, 2.0), samples.uniform([5], -1e-6, 1e-6));
    samples.forward("adam_step", "small squares", vec![value, mean, square], |x| {
        x[0].adam_step(1.0, x[1], 1e-3, x[2], 30.0, 1e-8)
    });
}

fn binary(samples: &mut Samples) {
    type Binary = fn(Value, Value) -> Value;
    const BINARY: &[(&str, Binary)] = &[
        ("add", |a, b| a + b),
        ("subtract", |a, b| a - b),
        ("multiply", |a, b| a * b),
        ("divide", |a, b| a / b),
        ("pow", |a, b| a.pow(b)),
        ("minimum", |a, b| a.minimum(b)),
        ("maximum", |a, b| a.maximum(b)),
    ];
    for &(name, function) in BINARY {
        // Apart by at least 0.2, so that minimum and maximum have no kink nearby.
        let pair = |samples: &mut Samples, a: Vec<usize>, b: Vec<usize>| {
            vec![samples.uniform(a, 0.2, 2.0), samples.uniform(b, 2.2, 3.0)]
        };
        let inputs = pair(samples, vec![4, 7], vec![4, 7]);
        samples.smooth(name, "plain", inputs, move |x| function(x[0], x[1]));
        let inputs = pair(samples, vec![], vec![]);
        samples.smooth(name, "one element", inputs, move |x| function(x[1], x[0]));
        let inputs = pair(samples, vec![2, 1, 5], vec![3, 1]);
        samples.smooth(name, "broadcast", inputs, move |x| function(x[0], x[1]));
        let inputs = pair(samples, vec![5, 53], vec![53, 5]);
        samples.smooth(name, "transposed", inputs, move |x| function(x[0].transpose(), x[1]));
        let inputs = pair(samples, vec![6, 9], vec![4, 7]);
        samples.smooth(name, "sliced", inputs, move |x| function(x[0].slice(&[1, 2], [4, 7]), x[1]));
        let a = tensor([8], &[1.0, -2.0, f32::NAN, 3.0, 0.0, 1e4, -1e4, 2.0]);
        let b = tensor([8], &[f32::NAN, 2.0, 2.0, 3.0, 2.0, -1e4, 2.0, -3.0]);
        if name == "pow" {
            let b = tensor([8], &[f32::NAN, 2.0, 2.0, 3.0, 0.0, 2.0, 3.0, -3.0]);
            samples.forward(name, "signs", vec![a, b], move |x| function(x[0], x[1]));
        } else {
            samples.forward(name, "outliers", vec![a, b], move |x| function(x[0], x[1]));
        }
    }
    let x = samples.uniform([40], -0.9, 0.9);
    samples.smooth("clamp", "inside", vec![x], |x| x[0].clamp(-1.0, 1.0));
    let x = tensor([7], &[-3.0, -0.5, 0.25, 2.0, f32::NAN, 1e4, -1e4]);
    samples.forward("clamp", "outliers", vec![x], |x| x[0].clamp(-1.0, 1.0));
    let x = tensor([3], &[-3.0, 0.5, 2.0]);
    samples.smooth("clamp", "outside", vec![x], |x| x[0].clamp(-1.0, 1.0));
    let inputs = vec![samples.uniform([6, 5], 0.1, 2.0), samples.uniform([6, 5], -2.0, -0.1)];
    samples.smooth("select", "by a mask", inputs, |x| x[0].greater(1.0).select(x[0], x[1]));
    type Compare = fn(Value, Value) -> Value;
    const COMPARE: &[(&str, Compare)] = &[
        ("less", |a, b| a.less(b)),
        ("less_equal", |a, b| a.less_equal(b)),
        ("greater", |a, b| a.greater(b)),
        ("greater_equal", |a, b| a.greater_equal(b)),
        ("equal", |a, b| a.equal(b)),
        ("not_equal", |a, b| a.not_equal(b)),
    ];
    for &(name, function) in COMPARE {
        let a = tensor([7], &[1.0, 2.0, 3.0, -0.0, -5.0, 1e4, 0.5]);
        let b = tensor([7], &[2.0, 2.0, 1.0, 0.0, 5.0, -1e4, 0.5]);
        samples.forward(name, "all cases", vec![a, b], move |x| function(x[0], x[1]));
        let (a, b) = (samples.indices([3, 100], 4), samples.indices([3, 100], 4));
        samples.forward(name, "whole numbers", vec![a, b], move |x| function(x[0], x[1]));
    }
}

fn whole_numbers(samples: &mut Samples) {
    type Binary = fn(Value, Value) -> Value;
    const WHOLE: &[(&str, Binary)] = &[
        ("add", |a, b| a + b),
        ("subtract", |a, b| a - b),
        ("multiply", |a, b| a * b),
        ("minimum", |a, b| a.minimum(b)),
        ("maximum", |a, b| a.maximum(b)),
        ("select", |a, b| a.less(b).select(b, a)),
    ];
    let signed = |values: &[i32]| Tensor::from_i32([values.len()], values).ok();
    for &(name, function) in WHOLE {
        let inputs = vec![whole([4], &[1, 7, u32::MAX, 0]), whole([4], &[2, 7, 5, u32::MAX])];
        samples.forward(name, "u32 wraps", inputs, move |x| function(x[0], x[1]));
        if let (Some(a), Some(b)) = (signed(&[-3, 7, i32::MAX, i32::MIN]), signed(&[2, -7, 5, -1])) {
            samples.forward(name, "i32 wraps", vec![a, b], move |x| function(x[0], x[1]));
        }
    }
    let x = tensor([5], &[0.0, 1.9, 7.0, 65_536.5, 3e9]);
    samples.forward("to_u32", "towards zero", vec![x], |x| x[0].to_u32());
    let x = tensor([5], &[-1.9, 1.9, 7.0, -65_536.5, 2e9]);
    samples.forward("to_i32", "towards zero", vec![x], |x| x[0].to_i32());
    let x = whole([4], &[0, 1, 1 << 24, 77]);
    samples.forward("to_f32", "from u32", vec![x.clone()], |x| x[0].to_f32());
    samples.forward("to_i32", "from u32", vec![x], |x| x[0].to_i32());
}

fn random(samples: &mut Samples) {
    // Bits must be the same everywhere, so any error is one too many.
    let seed = whole([], &[12_345]);
    samples.forward("random_bits", "odd size", vec![seed.clone()], |x| {
        x[0].random_bits(x[0].recorder().scalar_u32(3), x[0].recorder().scalar_u32(9), [3, 173])
    });
    samples.forward("unit_interval", "odd size", vec![seed], |x| {
        x[0].random_bits(x[0].recorder().scalar_u32(1), x[0].recorder().scalar_u32(2), [1025]).unit_interval()
    });
}
