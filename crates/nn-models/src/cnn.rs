//! A small plain convolutional network.

use crate::blocks::channels;
use crate::{Model, fit_classifier};
use nn_core::Value;
use nn_train::Scope;
use nn_train::nn::{BatchNorm2d, Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, Relu, Sequential, TargetKind};
use serde::{Deserialize, Serialize};

/// Stages of a convolution of 3×3, ReLU and a pool of 2×2, then one hidden layer: pictures
/// `(rows, channels, height, width)` → logits `(rows, classes)`.
///
/// Tensors are named as `torch.nn.Sequential` names them: `0.weight` is the first convolution's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cnn {
    /// Channels of each stage's convolution.
    pub channels: Vec<usize>,
    /// Convolutions of each stage; a pool ends the stage.
    pub convolutions: usize,
    /// Whether a batch norm follows each convolution.
    pub batch_norm: bool,
    /// Features of the hidden layer; 0 for none.
    pub hidden: usize,
    /// The share of features before the last layer that training sets to 0.
    pub dropout: f32,
    /// Channels of the pictures; 0 takes the data's.
    pub in_channels: usize,
    /// Outputs; 0 takes the data's classes.
    pub num_classes: usize,
}

impl Default for Cnn {
    fn default() -> Cnn {
        let channels = vec![32, 64];
        Cnn { channels, convolutions: 1, batch_norm: false, hidden: 128, dropout: 0.0, in_channels: 0, num_classes: 0 }
    }
}

impl Cnn {
    /// The layers for pictures of this shape, `[channels, height, width]`.
    fn layers(&self, picture: [usize; 3]) -> Sequential {
        let [mut channels, mut height, mut width] = picture;
        let mut layers = Sequential::new();
        for &outputs in &self.channels {
            for _ in 0..self.convolutions {
                layers = layers.add(Conv2d::new(channels, outputs, 3).padding(1).bias(!self.batch_norm));
                if self.batch_norm {
                    layers = layers.add(BatchNorm2d::new(outputs));
                }
                layers = layers.add(Relu);
                channels = outputs;
            }
            layers = layers.add(MaxPool2d::new(2));
            (height, width) = (height / 2, width / 2);
        }
        layers = layers.add(Flatten);
        let mut features = channels * height * width;
        if self.hidden > 0 {
            layers = layers.add(Linear::new(features, self.hidden)).add(Relu);
            features = self.hidden;
        }
        // Always there, so that the last layer's name does not depend on it.
        layers.add(Dropout::new(self.dropout)).add(Linear::new(features, self.num_classes))
    }
}

impl Layer for Cnn {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let shape = x.shape();
        let [_, _, height, width] = shape[..] else {
            s.trace().fail("cnn", format!("it takes pictures (rows, channels, height, width), not {shape}"));
            return x;
        };
        let smallest = 1 << self.channels.len();
        if height < smallest || width < smallest {
            let message = format!(
                "{} stages halve the picture as often, but it has {height}×{width} pixels; it needs {smallest}×{smallest}",
                self.channels.len()
            );
            s.trace().fail("cnn", message);
            return x;
        }
        self.layers([channels(x), height, width]).forward(s, x)
    }
}

impl Model for Cnn {
    fn check(&self) -> Result<(), String> {
        if self.channels.is_empty() || self.channels.contains(&0) || self.channels.len() > 8 {
            let channels = &self.channels;
            return Err(format!("model.config.channels = {channels:?} must be one to eight numbers, none of them 0"));
        }
        if self.convolutions == 0 {
            return Err("model.config.convolutions = 0 makes no sense; give 1 or more".into());
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
        let channels: Vec<String> = self.channels.iter().map(usize::to_string).collect();
        let times = if self.convolutions > 1 { format!(" {} each", self.convolutions) } else { String::new() };
        format!("cnn {}{times} hidden {}", channels.join("-"), self.hidden)
    }
}
