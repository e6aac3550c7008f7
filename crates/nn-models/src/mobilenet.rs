//! MobileNetV2 (Sandler et al. 2018), as torchvision has it.

use crate::blocks::channels;
use crate::{Model, fit_classifier};
use nn_core::Value;
use nn_train::nn::{BatchNorm2d, Conv2d, Dropout, Layer, Linear, TargetKind};
use nn_train::{Init, Scope};
use serde::{Deserialize, Serialize};

/// Expansion, channels, blocks and stride of the stages.
const STAGES: [[usize; 4]; 7] =
    [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];

/// `torchvision.models.MobileNetV2`: pictures `(rows, channels, height, width)` → logits `(rows, classes)`.
///
/// Tensors are named as torchvision's, `features.1.conv.0.0.weight`, `classifier.1.bias`, and begin as there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MobileNetV2 {
    /// A factor on all channels.
    pub width_mult: f64,
    /// The share of features before the last layer that training sets to 0.
    pub dropout: f32,
    /// Channels of the pictures; 0 takes the data's.
    pub in_channels: usize,
    /// Outputs; 0 takes the data's classes.
    pub num_classes: usize,
}

impl Default for MobileNetV2 {
    fn default() -> MobileNetV2 {
        MobileNetV2 { width_mult: 1.0, dropout: 0.2, in_channels: 3, num_classes: 1000 }
    }
}

/// The multiple of 8 nearest to `channels`, but at least 8 and no more than a tenth below.
fn divisible(channels: f64) -> usize {
    let rounded = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * channels { rounded + 8 } else { rounded }
}

/// A convolution and its batch norm, at the places `first` and `second` of a sequence.
fn conv_norm(s: &mut Scope, names: [&str; 2], x: Value, conv: Conv2d, outputs: usize) -> Value {
    let conv = conv.bias(false).init(Init::KaimingNormalFanOut, Init::Zeros);
    let y = s.scope(names[0], |s| conv.forward(s, x));
    s.scope(names[1], |s| BatchNorm2d::new(outputs).forward(s, y))
}

fn relu6(x: Value) -> Value {
    x.clamp(0.0, 6.0)
}

fn inverted_residual(s: &mut Scope, x: Value, expansion: usize, outputs: usize, stride: usize) -> Value {
    let inputs = channels(x);
    let width = inputs * expansion;
    let y = s.scope("conv", |s| {
        let (mut y, mut place) = (x, 0);
        if expansion != 1 {
            y = relu6(s.scope("0", |s| conv_norm(s, ["0", "1"], y, Conv2d::new(inputs, width, 1), width)));
            place = 1;
        }
        let depthwise = Conv2d::new(width, width, 3).stride(stride).padding(1).groups(width);
        y = relu6(s.scope(&place.to_string(), |s| conv_norm(s, ["0", "1"], y, depthwise, width)));
        let names = [(place + 1).to_string(), (place + 2).to_string()];
        conv_norm(s, [&names[0], &names[1]], y, Conv2d::new(width, outputs, 1), outputs)
    });
    if stride == 1 && inputs == outputs { x + y } else { y }
}

impl Layer for MobileNetV2 {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let width = |channels: usize| divisible(channels as f64 * self.width_mult);
        let x = s.scope("features", |s| {
            let stem = Conv2d::new(channels(x), width(32), 3).stride(2).padding(1);
            let mut x = relu6(s.scope("0", |s| conv_norm(s, ["0", "1"], x, stem, width(32))));
            let mut place = 1;
            for [expansion, outputs, blocks, stride] in STAGES {
                for block in 0..blocks {
                    let stride = if block == 0 { stride } else { 1 };
                    x = s.scope(&place.to_string(), |s| inverted_residual(s, x, expansion, width(outputs), stride));
                    place += 1;
                }
            }
            let last = divisible(1280.0 * self.width_mult.max(1.0));
            let conv = Conv2d::new(channels(x), last, 1);
            relu6(s.scope(&place.to_string(), |s| conv_norm(s, ["0", "1"], x, conv, last)))
        });
        s.scope("classifier", |s| {
            let x = Dropout::new(self.dropout).forward(s, x.mean(&[2, 3]));
            let layer = Linear::new(channels(x), self.num_classes);
            let layer = layer.init(Init::Normal { mean: 0.0, std: 0.01 }, Init::Zeros);
            s.scope("1", |s| layer.forward(s, x))
        })
    }
}

impl Model for MobileNetV2 {
    fn check(&self) -> Result<(), String> {
        if !(self.width_mult.is_finite() && self.width_mult > 0.0) {
            return Err(format!("model.config.width_mult = {} must be above 0", self.width_mult));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("model.config.dropout = {} must be 0 or more and below 1", self.dropout));
        }
        Ok(())
    }

    fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String> {
        fit_classifier(&mut self.in_channels, &mut self.num_classes, sample, targets)
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.num_classes).filter(|&classes| classes > 0)
    }

    fn describe(&self) -> String {
        format!("mobilenet_v2 width {}", self.width_mult)
    }
}
