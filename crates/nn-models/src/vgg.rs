//! Plain deep networks (Simonyan and Zisserman 2014), as torchvision has them.

use crate::blocks::channels;
use crate::{Model, fit_classifier};
use nn_core::Value;
use nn_train::nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Layer, Linear, MaxPool2d, Relu, Sequential, TargetKind,
};
use nn_train::{Init, Scope};
use serde::{Deserialize, Serialize};

/// `torchvision.models.VGG`: pictures `(rows, channels, height, width)` → logits `(rows, classes)`.
///
/// Tensors are named as torchvision's, `features.0.weight`, `classifier.6.bias`, and begin as there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vgg {
    /// The channels of each convolution of 3×3, by stages; a pool of 2×2 ends each stage.
    pub stages: Vec<Vec<usize>>,
    /// Whether a batch norm follows each convolution.
    pub batch_norm: bool,
    /// Height and width to which the last stage's pictures are averaged.
    pub pool: usize,
    /// Features of the two hidden layers of the classifier.
    pub hidden: usize,
    /// The share of hidden features that training sets to 0.
    pub dropout: f32,
    /// Channels of the pictures; 0 takes the data's.
    pub in_channels: usize,
    /// Outputs; 0 takes the data's classes.
    pub num_classes: usize,
}

impl Default for Vgg {
    fn default() -> Vgg {
        Vgg::vgg16(1000)
    }
}

impl Vgg {
    fn of(convolutions: [usize; 5], num_classes: usize) -> Vgg {
        let stages =
            convolutions.iter().zip([64, 128, 256, 512, 512]).map(|(&count, width)| vec![width; count]).collect();
        Vgg { stages, batch_norm: false, pool: 7, hidden: 4096, dropout: 0.5, in_channels: 3, num_classes }
    }

    /// `torchvision.models.vgg11`; with `batch_norm`, `vgg11_bn`.
    pub fn vgg11(num_classes: usize) -> Vgg {
        Vgg::of([1, 1, 2, 2, 2], num_classes)
    }

    /// `torchvision.models.vgg16`; with `batch_norm`, `vgg16_bn`.
    pub fn vgg16(num_classes: usize) -> Vgg {
        Vgg::of([2, 2, 3, 3, 3], num_classes)
    }

    fn features(&self, mut channels: usize) -> Sequential {
        let mut layers = Sequential::new();
        for stage in &self.stages {
            for &width in stage {
                let conv = Conv2d::new(channels, width, 3).padding(1).init(Init::KaimingNormalFanOut, Init::Zeros);
                layers = layers.add(conv);
                if self.batch_norm {
                    layers = layers.add(BatchNorm2d::new(width));
                }
                layers = layers.add(Relu);
                channels = width;
            }
            layers = layers.add(MaxPool2d::new(2));
        }
        layers
    }

    fn classifier(&self, features: usize) -> Sequential {
        let linear =
            |inputs, outputs| Linear::new(inputs, outputs).init(Init::Normal { mean: 0.0, std: 0.01 }, Init::Zeros);
        Sequential::new()
            .add(linear(features, self.hidden))
            .add(Relu)
            .add(Dropout::new(self.dropout))
            .add(linear(self.hidden, self.hidden))
            .add(Relu)
            .add(Dropout::new(self.dropout))
            .add(linear(self.hidden, self.num_classes))
    }
}

impl Layer for Vgg {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let features = self.features(channels(x));
        let x = s.scope("features", |s| features.forward(s, x));
        let x = AdaptiveAvgPool2d::new([self.pool, self.pool]).forward(s, x);
        let (rows, width) = (x.shape()[0], x.shape().iter().skip(1).product());
        s.scope("classifier", |s| self.classifier(width).forward(s, x.reshape([rows, width])))
    }
}

impl Model for Vgg {
    fn check(&self) -> Result<(), String> {
        if self.stages.is_empty() || self.stages.iter().any(|stage| stage.is_empty() || stage.contains(&0)) {
            return Err(
                "model.config.stages needs at least one stage, and in each at least one number of channels".into()
            );
        }
        if self.pool == 0 || self.hidden == 0 {
            return Err("model.config.pool and model.config.hidden must be above 0".into());
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
        let stages: Vec<String> = self.stages.iter().map(|stage| format!("{}x{}", stage.len(), stage[0])).collect();
        format!("vgg {}{}", stages.join("-"), if self.batch_norm { " bn" } else { "" })
    }
}
