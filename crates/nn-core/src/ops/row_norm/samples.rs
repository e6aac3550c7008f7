//! Samples of normalised rows.

use super::{RowNorm, RowNormGradient};
use crate::graph::{Value, apply, apply_many};
use crate::ops::samples::{Samples, tensor};

/// The gradient of rows for `dy`, `x` and maybe a weight.
fn gradient(centred: bool, inputs: &[Value]) -> Value {
    let weighted = inputs.len() > 2;
    let op = RowNorm { centred, eps: 0.125, weighted: false, biased: false };
    let [_, statistics] = apply_many(op, &inputs[1..2]);
    let inputs: Vec<Value> = inputs[..2].iter().chain(&[statistics]).chain(&inputs[2..]).copied().collect();
    apply(RowNormGradient { centred, weighted }, &inputs)[0]
}

/// Samples of this family.
pub(in crate::ops) fn add_samples(samples: &mut Samples) {
    for shape in
        [vec![1], vec![4, 1], vec![3, 2, 5], vec![7, 33], vec![5, 16], vec![3, 1031], vec![300, 3], vec![67, 130]]
    {
        let width = shape[shape.len() - 1];
        let (x, dy) = (samples.uniform(shape.clone(), -2.0, 3.0), samples.uniform(shape.clone(), -1.0, 1.5));
        let (weight, bias) = (samples.uniform([width], -2.0, 2.0), samples.uniform([width], -2.0, 2.0));
        let label = format!("{shape:?}");
        let [two, three] = [vec![x.clone(), weight.clone()], vec![x.clone(), weight.clone(), bias.clone()]];
        samples.smooth("layer_norm", &format!("{label}, weight and bias"), three, |x| {
            x[0].layer_norm(Some(x[1]), Some(x[2]), 0.125)
        });
        samples.smooth("rms_norm", &format!("{label}, weight"), two.clone(), |x| x[0].rms_norm(Some(x[1]), 0.125));
        samples.smooth("layer_norm", &format!("{label}, weight"), two, |x| x[0].layer_norm(Some(x[1]), None, 0.125));
        samples.smooth("layer_norm", &format!("{label}, bias"), vec![x.clone(), bias], |x| {
            x[0].layer_norm(None, Some(x[1]), 0.125)
        });
        // What flows back is the result of a launch, which the gradient is written over.
        samples.smooth("layer_norm", &label, vec![x.clone()], |x| x[0].layer_norm(None, None, 0.125).tanh());
        samples.smooth("rms_norm", &label, vec![x.clone()], |x| x[0].rms_norm(None, 0.125).tanh());
        for (centred, op) in [(true, "layer_norm"), (false, "rms_norm")] {
            samples.smooth(op, &format!("{label}, statistics"), vec![x.clone()], move |x| {
                let op = RowNorm { centred, eps: 0.125, weighted: false, biased: false };
                apply_many::<2>(op, &x[..1])[1]
            });
        }
        let (plain, weighted) = (vec![dy.clone(), x.clone()], vec![dy, x, weight]);
        samples.smooth("layer_norm_gradient", &label, plain.clone(), |x| gradient(true, x));
        samples.smooth("rms_norm_gradient", &label, plain, |x| gradient(false, x));
        samples.smooth("layer_norm_gradient", &format!("{label}, weight"), weighted.clone(), |x| gradient(true, x));
        samples.smooth("rms_norm_gradient", &format!("{label}, weight"), weighted, |x| gradient(false, x));
    }
    let x = samples.uniform([4, 3, 5], -2.0, 3.0);
    samples.smooth("layer_norm", "turned", vec![x.clone()], |x| x[0].permute(&[2, 0, 1]).layer_norm(None, None, 0.125));
    samples.smooth("rms_norm", "turned", vec![x], |x| x[0].permute(&[2, 0, 1]).rms_norm(None, 0.125));
    // A mean much larger than the deviation, equal elements, outliers.
    for far in [1e4, -3e5] {
        let x = samples.uniform([2, 700], far - 2.0, far + 2.0);
        samples.forward("layer_norm", &format!("around {far}"), vec![x.clone()], |x| x[0].layer_norm(None, None, 0.1));
        samples.forward("rms_norm", &format!("around {far}"), vec![x], |x| x[0].rms_norm(None, 0.1));
    }
    let equal = tensor([3, 300], &[[0.1; 300], [-7.3e4; 300], [0.0; 300]].concat());
    let outliers = tensor([2, 5], &[1.0, f32::NAN, 3.0, 1e4, -1e4, 7.0, 7.0, -7.0, 0.0, -7.0]);
    for (what, x) in [("equals", equal), ("outliers", outliers)] {
        samples.forward("layer_norm", what, vec![x.clone()], |x| x[0].layer_norm(None, None, 1e-5));
        samples.forward("rms_norm", what, vec![x.clone()], |x| x[0].rms_norm(None, 1e-5));
        let dy = samples.uniform(x.shape().clone(), -1.0, 1.0);
        let inputs = vec![dy, x];
        samples.forward("layer_norm_gradient", what, inputs.clone(), |x| gradient(true, x));
        samples.forward("rms_norm_gradient", what, inputs, |x| gradient(false, x));
    }
}
