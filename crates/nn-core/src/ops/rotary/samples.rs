//! Samples of rotary position embedding.

use super::RotaryPairing;
use crate::ops::samples::{Samples, tensor};
use crate::tensor::Tensor;

const PAIRINGS: [RotaryPairing; 2] = [RotaryPairing::Half, RotaryPairing::Interleaved];

/// Samples of this family.
pub(in crate::ops) fn add_samples(samples: &mut Samples) {
    // The last has as many elements as need more than one workgroup; some heads are not rotated to their end.
    for (shape, pairs) in
        [([1, 1, 1, 2], 1), ([2, 3, 4, 6], 3), ([2, 5, 1, 7], 2), ([1, 4, 3, 5], 1), ([3, 17, 4, 16], 8)]
    {
        let tables: Vec<Tensor> = (0..2).map(|_| samples.uniform([shape[1], pairs], -1.5, 1.5)).collect();
        let x = samples.uniform(shape, -2.0, 2.0);
        let inputs: Vec<Tensor> = [x].into_iter().chain(tables).collect();
        for pairing in PAIRINGS {
            let label = format!("{pairing:?} of {shape:?}, {pairs} pairs");
            samples.smooth("rotary", &label, inputs.clone(), move |x| x[0].rotary(x[1], x[2], pairing));
            // Of what nothing else needs, and back.
            samples.smooth("rotary", &format!("{label}, in place"), inputs.clone(), move |x| {
                (x[0] * 0.5).rotary(x[1], x[2], pairing).tanh()
            });
        }
    }
    // Keys among queries, keys and values; and heads before positions.
    let tables: Vec<Tensor> = (0..2).map(|_| samples.uniform([5, 2], -1.0, 1.0)).collect();
    let all = samples.uniform([2, 5, 3, 4, 6], -2.0, 2.0);
    let turned = samples.uniform([2, 4, 5, 6], -2.0, 2.0);
    for pairing in PAIRINGS {
        let inputs: Vec<Tensor> = [all.clone()].into_iter().chain(tables.clone()).collect();
        samples.smooth("rotary", &format!("{pairing:?} of a part"), inputs, move |x| {
            let part = x[0].slice(&[0, 0, 1, 0, 0], [2, 5, 1, 4, 6]).reshape([2, 5, 4, 6]);
            part.rotary(x[1], x[2], pairing)
        });
        let inputs: Vec<Tensor> = [turned.clone()].into_iter().chain(tables.clone()).collect();
        samples.smooth("rotary", &format!("{pairing:?} of heads before positions"), inputs, move |x| {
            x[0].permute(&[0, 2, 1, 3]).rotary(x[1], x[2], pairing)
        });
    }
    let x = tensor([1, 2, 1, 3], &[f32::NAN, 1.0, 1e30, -1e30, 1e-30, f32::INFINITY]);
    let tables = [tensor([2, 1], &[0.5, 1e10]), tensor([2, 1], &[-0.5, 0.0])];
    let inputs: Vec<Tensor> = [x].into_iter().chain(tables).collect();
    samples.forward("rotary", "outliers", inputs, |x| x[0].rotary(x[1], x[2], RotaryPairing::Half));
}
