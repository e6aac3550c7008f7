//! What several models are made of.

use nn_core::Value;
use nn_train::nn::{BatchNorm2d, Conv2d, Layer, Linear};
use nn_train::{Init, Scope};

/// A convolution without bias as torchvision's models begin it: for the ReLU after it, by the fan-out.
pub(crate) fn conv(s: &mut Scope, name: &str, x: Value, outputs: usize, kernel: usize, stride: usize) -> Value {
    let layer = Conv2d::new(channels(x), outputs, kernel).stride(stride).padding(kernel / 2).bias(false);
    s.scope(name, |s| layer.init(Init::KaimingNormalFanOut, Init::Zeros).forward(s, x))
}

/// Batch normalisation over the channels of `x`.
pub(crate) fn norm(s: &mut Scope, name: &str, x: Value) -> Value {
    s.scope(name, |s| BatchNorm2d::new(channels(x)).forward(s, x))
}

/// A linear layer over all that `x` holds in a row; the bias begins as PyTorch's does.
pub(crate) fn linear(s: &mut Scope, name: &str, x: Value, outputs: usize, weight: Init) -> Value {
    let (rows, inputs) = (x.shape()[0], x.shape().iter().skip(1).product::<usize>());
    let bound = 1.0 / (inputs.max(1) as f64).sqrt();
    let layer = Linear::new(inputs, outputs).init(weight, Init::Uniform { low: -bound, high: bound });
    s.scope(name, |s| layer.forward(s, x.reshape([rows, inputs])))
}

/// The number of channels of `(rows, channels, …)`.
pub(crate) fn channels(x: Value) -> usize {
    x.shape().get(1).copied().unwrap_or(1)
}

/// Whether pictures can be halved so many times; a mistake of the model's user if not.
pub(crate) fn fits_halving(s: &mut Scope, model: &str, x: Value, times: usize) -> bool {
    let (shape, unit) = (x.shape(), 1 << times);
    let fits = matches!(shape[..], [_, _, height, width] if height % unit == 0 && width % unit == 0);
    if !fits {
        let message = format!(
            "it halves pictures {times} times, so it takes (rows, channels, height, width) with height and width that \
             are multiples of {unit}, not {shape}"
        );
        s.trace().fail(model, message);
    }
    fits
}
