//! GoogLeNet, the first Inception network (Szegedy et al. 2014), as torchvision has it.

use crate::blocks::{channels, linear};
use crate::{Model, fit_classifier};
use nn_core::Value;
use nn_train::nn::{AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Layer, MaxPool2d, Objective, TargetKind};
use nn_train::{Init, Scope};
use serde::{Deserialize, Serialize};

/// How weights begin.
const NARROW: Init = Init::Normal { mean: 0.0, std: 0.01 };

/// The channels of an Inception block: of its first branch, of the reductions and convolutions of the second and
/// third, and of the fourth.
const BLOCKS: [(&str, [usize; 6]); 9] = [
    ("inception3a", [64, 96, 128, 16, 32, 32]),
    ("inception3b", [128, 128, 192, 32, 96, 64]),
    ("inception4a", [192, 96, 208, 16, 48, 64]),
    ("inception4b", [160, 112, 224, 24, 64, 64]),
    ("inception4c", [128, 128, 256, 24, 64, 64]),
    ("inception4d", [112, 144, 288, 32, 64, 64]),
    ("inception4e", [256, 160, 320, 32, 128, 128]),
    ("inception5a", [256, 160, 320, 32, 128, 128]),
    ("inception5b", [384, 192, 384, 48, 128, 128]),
];

/// `torchvision.models.GoogLeNet`: pictures `(rows, channels, height, width)` → logits `(rows, classes)`.
///
/// With auxiliary heads, training makes the loss small and 0.3 times that of each head. Tensors are named as
/// torchvision's, `inception3a.branch2.0.conv.weight`, `aux1.fc2.bias`, and begin as there (without cutting normal
/// numbers off at two hundred deviations).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GoogLeNet {
    /// Whether there are the two auxiliary heads.
    pub aux_logits: bool,
    /// The share of features before the last layer that training sets to 0.
    pub dropout: f32,
    /// The same in the auxiliary heads.
    pub dropout_aux: f32,
    /// Channels of the pictures; 0 takes the data's.
    pub in_channels: usize,
    /// Outputs; 0 takes the data's classes.
    pub num_classes: usize,
}

impl Default for GoogLeNet {
    fn default() -> GoogLeNet {
        GoogLeNet { aux_logits: true, dropout: 0.2, dropout_aux: 0.7, in_channels: 3, num_classes: 1000 }
    }
}

/// A convolution with batch norm and ReLU.
fn basic(s: &mut Scope, name: &str, x: Value, outputs: usize, kernel: usize, stride: usize) -> Value {
    let conv = Conv2d::new(channels(x), outputs, kernel).stride(stride).padding(kernel / 2).bias(false);
    s.scope(name, |s| {
        let y = s.scope("conv", |s| conv.init(NARROW, Init::Zeros).forward(s, x));
        s.scope("bn", |s| BatchNorm2d::new(outputs).eps(1e-3).forward(s, y)).relu()
    })
}

fn inception(s: &mut Scope, x: Value, [one, reduce3, three, reduce5, five, pooled]: [usize; 6]) -> Value {
    let first = basic(s, "branch1", x, one, 1, 1);
    let second = s.scope("branch2", |s| {
        let x = basic(s, "0", x, reduce3, 1, 1);
        basic(s, "1", x, three, 3, 1)
    });
    // 5×5 in the paper, 3×3 in torchvision, whose weights are meant to fit.
    let third = s.scope("branch3", |s| {
        let x = basic(s, "0", x, reduce5, 1, 1);
        basic(s, "1", x, five, 3, 1)
    });
    let fourth = s.scope("branch4", |s| {
        let x = MaxPool2d::new(3).stride(1).padding(1).ceil_mode(true).forward(s, x);
        basic(s, "1", x, pooled, 1, 1)
    });
    first.concat(&[second, third, fourth], 1)
}

impl GoogLeNet {
    /// The logits, and with auxiliary heads theirs.
    fn heads(&self, s: &mut Scope, x: Value) -> (Value, Vec<Value>) {
        let pool = |s: &mut Scope, x: Value, size: usize| MaxPool2d::new(size).stride(2).ceil_mode(true).forward(s, x);
        let x = basic(s, "conv1", x, 64, 7, 2);
        let x = pool(s, x, 3);
        let x = basic(s, "conv2", x, 64, 1, 1);
        let x = basic(s, "conv3", x, 192, 3, 1);
        let mut x = pool(s, x, 3);
        let mut auxiliary = Vec::new();
        for (name, sizes) in BLOCKS {
            x = match name {
                "inception4a" => pool(s, x, 3),
                "inception5a" => pool(s, x, 2),
                _ => x,
            };
            x = s.scope(name, |s| inception(s, x, sizes));
            match name {
                "inception4a" if self.aux_logits => auxiliary.push(s.scope("aux1", |s| self.auxiliary(s, x))),
                "inception4d" if self.aux_logits => auxiliary.push(s.scope("aux2", |s| self.auxiliary(s, x))),
                _ => {}
            }
        }
        let x = Dropout::new(self.dropout).forward(s, x.mean(&[2, 3]));
        (linear(s, "fc", x, self.num_classes, NARROW), auxiliary)
    }

    fn auxiliary(&self, s: &mut Scope, x: Value) -> Value {
        let x = AdaptiveAvgPool2d::new([4, 4]).forward(s, x);
        let x = basic(s, "conv", x, 128, 1, 1);
        let x = linear(s, "fc1", x, 1024, NARROW).relu();
        let x = Dropout::new(self.dropout_aux).forward(s, x);
        linear(s, "fc2", x, self.num_classes, NARROW)
    }
}

impl Layer for GoogLeNet {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        self.heads(s, x).0
    }

    fn judge(&self, s: &mut Scope, x: Value, objective: &Objective) -> (Value, Value) {
        let (output, auxiliary) = self.heads(s, x);
        let loss = objective.mean(output);
        let heads = auxiliary.iter().filter(|_| s.training());
        (output, heads.fold(loss, |loss, &head| loss + objective.mean(head) * 0.3))
    }
}

impl Model for GoogLeNet {
    fn check(&self) -> Result<(), String> {
        for (name, dropout) in [("dropout", self.dropout), ("dropout_aux", self.dropout_aux)] {
            if !(0.0..1.0).contains(&dropout) {
                return Err(format!("model.config.{name} = {dropout} must be 0 or more and below 1"));
            }
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
        format!("googlenet{}", if self.aux_logits { " with auxiliary heads" } else { "" })
    }
}
