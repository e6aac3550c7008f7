//! Samples of cross-entropy.

use super::{Counting, CrossEntropy, CrossEntropyGradient, CrossEntropyOptions};
use crate::graph::{Value, apply, apply_many};
use crate::ops::samples::{Samples, tensor, whole};
use crate::tensor::Tensor;

/// The gradient of logits, class indices and the losses' gradient, weighted by constants if there are any.
fn gradient(x: &[Value], ignore_index: Option<u32>, smoothing: f32, weight: Option<&Tensor>) -> Value {
    let counting = Counting { ignore_index, smoothing, weighted: weight.is_some() };
    let weight = weight.map(|weight| x[0].recorder().constant(weight));
    let total = weight.filter(|_| smoothing > 0.0).map(Value::sum_all);
    let weights: Vec<Value> = weight.into_iter().chain(total).collect();
    let [_, statistics] = apply_many(CrossEntropy(counting), &[&x[..2], &weights].concat());
    apply(CrossEntropyGradient(counting), &[&x[..2], &[statistics, x[2]], &weights].concat())[0]
}

/// Samples of this family.
pub(in crate::ops) fn add_samples(samples: &mut Samples) {
    for [rows, classes] in [[1, 1], [1, 2], [7, 10], [33, 257], [300, 3], [4, 1031]] {
        let (logits, targets) = (samples.uniform([rows, classes], -4.0, 4.0), samples.indices([rows], classes as u32));
        let label = format!("[{rows}, {classes}]");
        let both = vec![logits, targets];
        samples.smooth("cross_entropy", &label, both.clone(), |x| x[0].cross_entropy(x[1]));
        let weight = samples.uniform([rows], 0.5, 1.5);
        let inputs = both.into_iter().chain([weight]).collect();
        samples.smooth("cross_entropy_gradient", &label, inputs, |x| gradient(x, None, 0.0, None));
    }
    let (logits, targets) = (samples.uniform([2, 3, 5], -4.0, 4.0), samples.indices([2, 3], 5));
    samples.smooth("cross_entropy", "rank 3", vec![logits, targets], |x| x[0].cross_entropy(x[1]));
    with_options(samples);
    let logits = tensor([4, 3], &[1e4, -1e4, 0.0, f32::NAN, 1.0, 2.0, 80.0, 80.0, -80.0, 1.0, 2.0, 3.0]);
    let inputs = vec![logits, whole([4], &[1, 0, 2, 3]), tensor([4], &[1.0, 1.0, 0.0, 1.0])];
    let outliers = "outliers and an index that is no class";
    samples.forward("cross_entropy", outliers, inputs[..2].to_vec(), |x| x[0].cross_entropy(x[1]));
    samples.forward("cross_entropy_gradient", outliers, inputs, |x| gradient(x, None, 0.0, None));
    let logits = tensor([3, 2], &[f32::NAN, 1.0, 2.0, f32::INFINITY, 0.5, 0.25]);
    let inputs = vec![logits, whole([3], &[7, 7, 1]), tensor([3], &[1.0, f32::NAN, 2.0])];
    let ignored = "ignored rows that are no numbers";
    samples.forward("cross_entropy", ignored, inputs[..2].to_vec(), |x| {
        let options = CrossEntropyOptions { ignore_index: Some(7), label_smoothing: 0.25, weight: None };
        x[0].cross_entropy_with(x[1], &options)
    });
    samples.forward("cross_entropy_gradient", ignored, inputs, |x| gradient(x, Some(7), 0.25, None));
}

fn with_options(samples: &mut Samples) {
    // Numbers that f32 holds, so that the oracle's second derivatives have no other constants.
    for ((rows, classes), (ignored, smoothing, weighted)) in [
        ((7, 10), (Some(3), 0.0, false)),
        ((7, 10), (Some(u32::MAX), 0.25, false)),
        ((9, 4), (None, 0.0, true)),
        ((9, 4), (Some(2), 0.0, true)),
        ((5, 33), (Some(1), 0.125, true)),
        ((3, 70), (None, 1.0, true)),
        ((3, 300), (None, 0.5, false)),
    ] {
        let mut targets: Vec<u32> = (0..rows).map(|row| (row * 3 % classes) as u32).collect();
        targets[rows / 2] = ignored.unwrap_or(0);
        let inputs = vec![samples.uniform([rows, classes], -4.0, 4.0), whole([rows], &targets)];
        let weight = weighted.then(|| samples.uniform([classes], 0.5, 2.0));
        let label = format!("[{rows}, {classes}], ignored {ignored:?}, smoothing {smoothing}, weighted {weighted}");
        let constant = weight.clone();
        samples.smooth("cross_entropy", &label, inputs.clone(), move |x| {
            let weight = constant.as_ref().map(|weight| x[0].recorder().constant(weight));
            let options = CrossEntropyOptions { ignore_index: ignored, label_smoothing: smoothing, weight };
            // Over logits that nothing else needs, so that their gradient takes their place.
            (x[0] * 0.5).cross_entropy_with(x[1], &options)
        });
        let inputs = inputs.into_iter().chain([samples.uniform([rows], 0.5, 1.5)]).collect();
        samples.smooth("cross_entropy_gradient", &label, inputs, move |x| {
            gradient(x, ignored, smoothing, weight.as_ref())
        });
    }
    let inputs = vec![samples.uniform([6, 5], -4.0, 4.0), samples.indices([6], 5), samples.uniform([5], -1.0, 2.0)];
    samples.forward("cross_entropy", "weights of either sign", inputs, |x| {
        let options = CrossEntropyOptions { label_smoothing: 0.3, weight: Some(x[2]), ..Default::default() };
        x[0].cross_entropy_with(x[1], &options)
    });
}
