//! U-Net (Ronneberger et al. 2015): a class for each pixel.

use crate::blocks::{channels, conv, fits_halving, norm};
use crate::{Model, fit_channels};
use nn_core::Value;
use nn_train::Scope;
use nn_train::nn::{Conv2d, ConvTranspose2d, Layer, MaxPool2d, TargetKind};
use serde::{Deserialize, Serialize};

/// Pictures `(rows, channels, height, width)` → logits `(rows, classes, height, width)`.
///
/// Each level has two convolutions of 3×3 with batch norm and ReLU; a pool of 2×2 leads down, a transposed convolution
/// of stride 2 up, where what the level down had is put beside it. Tensors are named `down.0.conv1.weight`,
/// `down.0.bn1.bias`, `up.0.up.weight`, `up.0.conv2.weight`, `out.weight`; `up.0` belongs to `down.0`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unet {
    /// Channels of each level, from the whole picture down.
    pub widths: Vec<usize>,
    /// Channels of the pictures; 0 takes the data's.
    pub in_channels: usize,
    /// Classes; 0 takes the data's.
    pub num_classes: usize,
}

impl Default for Unet {
    fn default() -> Unet {
        Unet { widths: vec![16, 32, 64], in_channels: 0, num_classes: 0 }
    }
}

fn double_conv(s: &mut Scope, x: Value, width: usize) -> Value {
    let x = conv(s, "conv1", x, width, 3, 1);
    let x = norm(s, "bn1", x).relu();
    let x = conv(s, "conv2", x, width, 3, 1);
    norm(s, "bn2", x).relu()
}

impl Layer for Unet {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        if !fits_halving(s, "unet", x, self.widths.len() - 1) {
            return x;
        }
        let mut levels: Vec<Value> = Vec::with_capacity(self.widths.len());
        let mut x = x;
        for (level, &width) in self.widths.iter().enumerate() {
            if level > 0 {
                x = MaxPool2d::new(2).forward(s, x);
            }
            x = s.scope(&format!("down.{level}"), |s| double_conv(s, x, width));
            levels.push(x);
        }
        for (level, &beside) in levels.iter().enumerate().rev().skip(1) {
            let width = self.widths[level];
            x = s.scope(&format!("up.{level}"), |s| {
                let up = ConvTranspose2d::new(channels(x), width, 2).stride(2);
                let x = s.scope("up", |s| up.forward(s, x));
                double_conv(s, beside.concat(&[x], 1), width)
            });
        }
        s.scope("out", |s| Conv2d::new(channels(x), self.num_classes, 1).forward(s, x))
    }
}

impl Model for Unet {
    fn check(&self) -> Result<(), String> {
        if self.widths.is_empty() || self.widths.contains(&0) || self.widths.len() > 8 {
            let widths = &self.widths;
            return Err(format!("model.config.widths = {widths:?} must be one to eight numbers, none of them 0"));
        }
        Ok(())
    }

    fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String> {
        fit_channels(&mut self.in_channels, sample)?;
        let TargetKind::ClassMaps { count, .. } = targets else {
            return Err(format!(
                "a unet needs a class for each pixel, but the data has {targets}; take a cnn or a resnet"
            ));
        };
        if self.num_classes == 0 {
            self.num_classes = count;
        }
        Ok(())
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.num_classes).filter(|&classes| classes > 0)
    }

    fn describe(&self) -> String {
        let widths: Vec<String> = self.widths.iter().map(usize::to_string).collect();
        format!("unet {}", widths.join("-"))
    }
}
