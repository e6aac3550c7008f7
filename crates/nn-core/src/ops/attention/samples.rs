//! Samples of attention.

use super::{Attention, Forward, Gradient, rows};
use crate::graph::{Value, apply, apply_many};
use crate::ops::samples::{Samples, tensor};
use crate::tensor::Tensor;

/// How a sample is done; its mask and slopes are drawn.
#[derive(Clone, Copy, Default)]
struct How {
    scale: Option<f32>,
    causal: bool,
    window: Option<usize>,
    dropout: f32,
    /// The mask's shape.
    mask: Option<[usize; 4]>,
    slopes: bool,
}

impl How {
    fn options(&self, mask: Option<Value>, slopes: Option<Value>) -> Attention {
        let How { scale, causal, window, dropout, .. } = *self;
        Attention { scale, causal, window, mask, slopes, dropout, stream: 7 }
    }
}

/// Adds a sample of attention, and one of its gradient.
fn add(samples: &mut Samples, label: &str, sizes: [usize; 6], how: How) {
    let [batch, queries, keys, heads, groups, size] = sizes;
    let mut inputs = vec![
        samples.uniform([batch, queries, heads, size], -1.5, 1.5),
        samples.uniform([batch, keys, groups, size], -1.5, 1.5),
        samples.uniform([batch, keys, groups, size], -1.5, 1.5),
    ];
    // Constants, so that no gradient is asked of them.
    let mask = how.mask.map(|shape| samples.uniform(shape, -2.0, 1.0));
    let slopes = how.slopes.then(|| samples.uniform([heads], 0.0, 0.5));
    let build = move |x: &[Value]| {
        let constant = |tensor: &Tensor| x[0].recorder().constant(tensor);
        how.options(mask.as_ref().map(constant), slopes.as_ref().map(constant))
    };
    let whole = build.clone();
    let label = format!("{label}, {sizes:?}");
    samples.smooth("attention", &label, inputs.clone(), move |x| x[0].attention(x[1], x[2], &whole(x)));
    inputs.push(samples.uniform([batch, queries, heads, size], -1.0, 1.0));
    samples.smooth("attention_gradient", &label, inputs, move |x| gradient(&build(x), x));
}

/// The three gradients in a row, of query, key, value and dy.
fn gradient(options: &Attention, x: &[Value]) -> Value {
    let Ok((settings, inputs)) = options.inputs([x[0], x[1], x[2]]) else { return x[0] };
    let [y, logarithms] = apply_many(Forward(settings), &inputs);
    let rows = rows(y, logarithms, x[3], options.slopes);
    let mut extras = inputs[3..].to_vec();
    if settings.sloped {
        extras.remove(usize::from(settings.masked));
    }
    let gradients = apply(Gradient(settings), &[&[x[3], x[0], x[1], x[2], rows], &extras[..]].concat());
    let flat: Vec<Value> = gradients.iter().map(|dx| dx.reshape([dx.shape().elements()])).collect();
    flat[0].concat(&flat[1..], 0)
}

/// Samples of this family.
pub(in crate::ops) fn add_samples(samples: &mut Samples) {
    let plain = How::default();
    let causal = How { causal: true, ..plain };
    for sizes in [[1, 1, 1, 1, 1, 1], [2, 5, 5, 2, 2, 5], [1, 33, 35, 1, 1, 33], [1, 3, 4, 1, 1, 80]] {
        add(samples, "plain", sizes, plain);
    }
    add(samples, "causal", [2, 7, 7, 2, 2, 5], causal);
    add(samples, "causal", [1, 40, 70, 1, 1, 4], causal);
    add(samples, "without keys", [1, 6, 3, 2, 1, 3], causal);
    add(samples, "window", [1, 70, 70, 1, 1, 3], How { window: Some(20), ..causal });
    add(samples, "window without order", [1, 9, 6, 1, 1, 3], How { window: Some(2), ..plain });
    add(samples, "groups", [2, 5, 6, 6, 2, 4], plain);
    add(samples, "one group", [1, 34, 5, 3, 1, 4], causal);
    add(samples, "mask of keys", [2, 4, 5, 2, 2, 3], How { mask: Some([2, 1, 1, 5]), ..plain });
    let scaled = How { scale: Some(0.7), ..plain };
    add(samples, "whole mask", [2, 4, 5, 2, 1, 3], How { mask: Some([2, 2, 4, 5]), ..scaled });
    add(samples, "slopes", [1, 6, 8, 4, 2, 3], How { slopes: true, ..causal });
    add(samples, "dropout", [2, 6, 7, 2, 2, 3], How { dropout: 0.4, ..plain });
    let everything = How { dropout: 0.3, window: Some(5), slopes: true, mask: Some([2, 1, 6, 1]), ..causal };
    add(samples, "everything", [2, 6, 7, 2, 2, 3], everything);
    // Slices of a common projection, as models make them.
    let x = samples.uniform([2, 6, 3 * 8], -1.5, 1.5);
    samples.smooth("attention", "common projection", vec![x], move |x| {
        let part = |place: usize| x[0].slice(&[0, 0, 8 * place], [2, 6, 8]).reshape([2, 6, 2, 4]);
        part(0).attention(part(1), part(2), &causal.options(None, None))
    });
    let q = tensor([1, 3, 1, 2], &[40.0, -30.0, 1e-3, 2.0, f32::NAN, 1.0]);
    let k = tensor([1, 4, 1, 2], &[1.0, 0.5, -1.0, 2.0, 0.0, 0.0, 3.0, -1.0]);
    let v = tensor([1, 4, 1, 2], &[1e4, -1e4, 1e-4, f32::NAN, 0.0, 2.0, -3.0, 1e-40]);
    samples.forward("attention", "outliers", vec![q.clone(), k.clone(), v.clone()], move |x| {
        x[0].attention(x[1], x[2], &causal.options(None, None))
    });
    // A mask that hides all keys of the first query, and one of the second.
    let minus = f32::NEG_INFINITY;
    let mask = tensor([3, 4], &[minus, minus, minus, minus, 0.0, minus, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let v = tensor([1, 4, 1, 2], &[1.0, -1.0, 2.0, 0.5, 0.0, 2.0, -3.0, 1.5]);
    samples.forward("attention", "hidden by the mask", vec![q, k, v, mask], move |x| {
        x[0].attention(x[1], x[2], &plain.options(Some(x[3]), None))
    });
}
