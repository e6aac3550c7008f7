//! Residual networks (He et al. 2015), as torchvision has them.

use crate::blocks::{channels, conv, linear, norm};
use crate::{Model, fit_classifier};
use nn_core::Value;
use nn_train::nn::{Layer, MaxPool2d, TargetKind};
use nn_train::{Init, Scope};
use serde::{Deserialize, Serialize};

/// `torchvision.models.ResNet`: pictures `(rows, channels, height, width)` → logits `(rows, classes)`.
///
/// [`ResNet::resnet18`] to [`ResNet::resnet101`] are the usual ones. Tensors are named as torchvision's, `conv1.weight`,
/// `layer1.0.bn2.running_var`, `layer2.0.downsample.0.weight`, `fc.bias`, and begin as there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResNet {
    /// The kind of residual block.
    pub block: Block,
    /// How many blocks each of the stages has; each stage after the first halves the picture and doubles the channels.
    pub layers: Vec<usize>,
    /// Channels of the first stage.
    pub width: usize,
    /// Channels of the pictures; 0 takes the data's.
    pub in_channels: usize,
    /// Outputs; 0 takes the data's classes.
    pub num_classes: usize,
    /// What comes before the stages.
    pub stem: Stem,
}

/// A residual block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Two convolutions of 3×3.
    #[default]
    Basic,
    /// Convolutions of 1×1, 3×3 and 1×1, with four times as many channels at the end.
    Bottleneck,
}

/// What comes before the stages of a [`ResNet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// A convolution of 7×7 and a pool, both of stride 2.
    #[default]
    Imagenet,
    /// A convolution of 3×3, for small pictures.
    Cifar,
}

impl Default for ResNet {
    fn default() -> ResNet {
        ResNet::resnet18(1000)
    }
}

impl ResNet {
    fn of(block: Block, layers: [usize; 4], num_classes: usize) -> ResNet {
        let stem = Stem::Imagenet;
        ResNet { block, layers: layers.to_vec(), width: 64, in_channels: 3, num_classes, stem }
    }

    /// `torchvision.models.resnet18`.
    pub fn resnet18(num_classes: usize) -> ResNet {
        ResNet::of(Block::Basic, [2, 2, 2, 2], num_classes)
    }

    /// `torchvision.models.resnet34`.
    pub fn resnet34(num_classes: usize) -> ResNet {
        ResNet::of(Block::Basic, [3, 4, 6, 3], num_classes)
    }

    /// `torchvision.models.resnet50`.
    pub fn resnet50(num_classes: usize) -> ResNet {
        ResNet::of(Block::Bottleneck, [3, 4, 6, 3], num_classes)
    }

    /// `torchvision.models.resnet101`.
    pub fn resnet101(num_classes: usize) -> ResNet {
        ResNet::of(Block::Bottleneck, [3, 4, 23, 3], num_classes)
    }

    fn block(&self, s: &mut Scope, x: Value, width: usize, stride: usize) -> Value {
        let (y, outputs) = match self.block {
            Block::Basic => {
                let y = conv(s, "conv1", x, width, 3, stride);
                let y = norm(s, "bn1", y).relu();
                (conv(s, "conv2", y, width, 3, 1), width)
            }
            Block::Bottleneck => {
                let y = conv(s, "conv1", x, width, 1, 1);
                let y = norm(s, "bn1", y).relu();
                let y = conv(s, "conv2", y, width, 3, stride);
                let y = norm(s, "bn2", y).relu();
                (conv(s, "conv3", y, 4 * width, 1, 1), 4 * width)
            }
        };
        let y = norm(s, if self.block == Block::Basic { "bn2" } else { "bn3" }, y);
        let shortcut = if stride == 1 && channels(x) == outputs {
            x
        } else {
            s.scope("downsample", |s| {
                let x = conv(s, "0", x, outputs, 1, stride);
                norm(s, "1", x)
            })
        };
        (y + shortcut).relu()
    }
}

impl Layer for ResNet {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let mut x = match self.stem {
            Stem::Imagenet => conv(s, "conv1", x, self.width, 7, 2),
            Stem::Cifar => conv(s, "conv1", x, self.width, 3, 1),
        };
        x = norm(s, "bn1", x).relu();
        if self.stem == Stem::Imagenet {
            x = MaxPool2d::new(3).stride(2).padding(1).forward(s, x);
        }
        for (stage, &blocks) in self.layers.iter().enumerate() {
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let path = format!("layer{}.{block}", stage + 1);
                x = s.scope(&path, |s| self.block(s, x, self.width << stage, stride));
            }
        }
        linear(s, "fc", x.mean(&[2, 3]), self.num_classes, Init::LinearDefault)
    }
}

impl Model for ResNet {
    fn check(&self) -> Result<(), String> {
        if self.layers.is_empty() || self.layers.contains(&0) || self.layers.len() > 8 {
            let layers = &self.layers;
            return Err(format!(
                "model.config.layers = {layers:?} must be one to eight numbers of blocks, none of them 0"
            ));
        }
        if self.width == 0 {
            return Err(
                "model.config.width = 0 makes no sense; give the channels of the first stage, such as 64".into()
            );
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
        let block = if self.block == Block::Basic { "basic" } else { "bottleneck" };
        let layers: Vec<String> = self.layers.iter().map(usize::to_string).collect();
        format!("resnet {block} {} width {}", layers.join("-"), self.width)
    }
}
