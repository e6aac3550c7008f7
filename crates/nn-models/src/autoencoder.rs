//! Autoencoders: a plain one that cleans pictures, and a variational one that draws them.

use crate::blocks::{channels, fits_halving, linear};
use crate::{Model, fit_channels};
use nn_core::run::Executable;
use nn_core::{Session, StepScalars, Value};
use nn_train::nn::{Conv2d, ConvTranspose2d, Layer, Objective, TargetKind};
use nn_train::{Error, Init, Scope, compile};
use serde::{Deserialize, Serialize};

/// Convolutions of stride 2, with ReLU after each.
fn encode(s: &mut Scope, mut x: Value, widths: &[usize]) -> Value {
    for (level, &width) in widths.iter().enumerate() {
        let conv = Conv2d::new(channels(x), width, 3).stride(2).padding(1);
        x = s.scope(&format!("encoder.{level}"), |s| conv.forward(s, x)).relu();
    }
    x
}

/// Transposed convolutions of stride 2 back to pictures of so many channels, with ReLU between them.
fn decode(s: &mut Scope, mut x: Value, widths: &[usize], outputs: usize) -> Value {
    for level in (0..widths.len()).rev() {
        let width = if level == 0 { outputs } else { widths[level - 1] };
        let conv = ConvTranspose2d::new(channels(x), width, 4).stride(2).padding(1);
        x = s.scope(&format!("decoder.{level}"), |s| conv.forward(s, x));
        x = if level == 0 { x } else { x.relu() };
    }
    x
}

fn check_widths(widths: &[usize]) -> Result<(), String> {
    if widths.is_empty() || widths.contains(&0) || widths.len() > 8 {
        return Err(format!("model.config.widths = {widths:?} must be one to eight numbers, none of them 0"));
    }
    Ok(())
}

/// Values as many as the pictures have, as targets.
fn check_pictures(sample: &[usize], targets: TargetKind) -> Result<(), String> {
    let size: usize = sample.iter().product();
    match targets {
        TargetKind::Values { width } if width == size => Ok(()),
        _ => Err(format!("an autoencoder needs pictures of shape {sample:?} as targets, but the data has {targets}")),
    }
}

/// A convolutional autoencoder: pictures `(rows, channels, height, width)` → pictures of the same shape.
///
/// Tensors are named `encoder.0.weight`, …, `decoder.0.bias`; `decoder.0` gives the picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Autoencoder {
    /// Channels after each halving of the picture.
    pub widths: Vec<usize>,
    /// Channels of the pictures; 0 takes the data's.
    pub in_channels: usize,
}

impl Default for Autoencoder {
    fn default() -> Autoencoder {
        Autoencoder { widths: vec![32, 64], in_channels: 0 }
    }
}

impl Layer for Autoencoder {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        if !fits_halving(s, "autoencoder", x, self.widths.len()) {
            return x;
        }
        let inner = encode(s, x, &self.widths);
        decode(s, inner, &self.widths, channels(x))
    }
}

impl Model for Autoencoder {
    fn check(&self) -> Result<(), String> {
        check_widths(&self.widths)
    }

    fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String> {
        check_pictures(sample, targets)?;
        fit_channels(&mut self.in_channels, sample)
    }

    fn outputs(&self) -> Option<usize> {
        None
    }

    fn restores_pictures(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let widths: Vec<String> = self.widths.iter().map(usize::to_string).collect();
        format!("autoencoder {}", widths.join("-"))
    }
}

/// A convolutional variational autoencoder (Kingma and Welling 2013) of pictures with values in 0..=1,
/// `(rows, channels, height, width)` → the same.
///
/// Its loss is its own: the negative evidence lower bound in nats a picture, with Bernoulli pixels and a normal prior
/// whose divergence counts `beta` times. Tensors are named `encoder.0.weight`, …, `mean.weight`,
/// `log_variance.weight`, `expand.weight`, `decoder.0.bias`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vae {
    /// Channels after each halving of the picture.
    pub widths: Vec<usize>,
    /// Numbers that stand for a picture.
    pub latent: usize,
    /// The weight of the divergence from the prior.
    pub beta: f32,
    /// Channels of the pictures; 0 takes the data's.
    pub in_channels: usize,
}

impl Default for Vae {
    fn default() -> Vae {
        Vae { widths: vec![32, 64], latent: 16, beta: 1.0, in_channels: 0 }
    }
}

impl Vae {
    /// The mean and the logarithm of the variance, `(rows, latent)` each.
    fn encode(&self, s: &mut Scope, x: Value) -> (Value, Value) {
        let inner = encode(s, x, &self.widths);
        let mean = linear(s, "mean", inner, self.latent, Init::LinearDefault);
        (mean, linear(s, "log_variance", inner, self.latent, Init::LinearDefault))
    }

    /// Logits of the pixels for `z (rows, latent)`; `picture` is `[channels, height, width]`.
    fn decode(&self, s: &mut Scope, z: Value, picture: [usize; 3]) -> Value {
        let [colours, height, width] = picture;
        let last = self.widths.last().copied().unwrap_or(1);
        let (height, width) = (height >> self.widths.len(), width >> self.widths.len());
        let expanded = linear(s, "expand", z, last * height * width, Init::LinearDefault).relu();
        let inner = expanded.reshape([z.shape()[0], last, height, width]);
        decode(s, inner, &self.widths, colours)
    }

    /// Draws `count` pictures of shape `[channels, height, width]`, one after the other, with the weights that the
    /// session keeps.
    ///
    /// # Errors
    /// If the session keeps no weights of this model, or the device fails.
    pub fn sample(
        &self,
        session: &mut Session,
        picture: [usize; 3],
        count: usize,
        seed: u32,
    ) -> Result<Vec<f32>, Error> {
        let mut drawn = compile(session, false, 0, |s| {
            let stream = s.next_stream();
            let z = s.trace().random_normal([count, self.latent], stream);
            let logits = self.decode(s, z, picture);
            s.output("pictures", logits.sigmoid());
            Ok(())
        })?;
        session.run(&mut drawn.program, &[], StepScalars::new(1, seed, 0.0))?;
        read(session, &mut drawn.program, "pictures")
    }
}

/// An output's values.
pub(crate) fn read(session: &mut Session, program: &mut Executable, name: &str) -> Result<Vec<f32>, Error> {
    let values = session.output(program, name)?;
    Ok(values.as_f32()?.to_vec())
}

impl Layer for Vae {
    /// The pictures as they come back from the mean.
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        if !fits_halving(s, "vae", x, self.widths.len()) {
            return x;
        }
        let shape = x.shape();
        let (mean, _) = self.encode(s, x);
        self.decode(s, mean, [shape[1], shape[2], shape[3]]).sigmoid()
    }

    fn judge(&self, s: &mut Scope, x: Value, _objective: &Objective) -> (Value, Value) {
        if !fits_halving(s, "vae", x, self.widths.len()) {
            return (x, x);
        }
        let shape = x.shape();
        let (mean, log_variance) = self.encode(s, x);
        let stream = s.next_stream();
        let noise = s.trace().random_normal(mean.shape(), stream);
        let z = mean + noise * (log_variance * 0.5).exp();
        let logits = self.decode(s, z, [shape[1], shape[2], shape[3]]);
        // −log p(x|z) of Bernoulli pixels from logits, and the divergence from the prior in closed form.
        let surprise = (logits.softplus() - logits * x).sum(&[1, 2, 3]);
        let divergence = (log_variance.exp() + mean * mean - log_variance - 1.0).sum(&[1]) * 0.5;
        (logits.sigmoid(), (surprise + divergence * self.beta).mean_all())
    }
}

impl Model for Vae {
    fn check(&self) -> Result<(), String> {
        check_widths(&self.widths)?;
        if self.latent == 0 || !(self.beta.is_finite() && self.beta >= 0.0) {
            return Err("model.config.latent must be above 0, and model.config.beta 0 or more".into());
        }
        Ok(())
    }

    fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String> {
        check_pictures(sample, targets)?;
        fit_channels(&mut self.in_channels, sample)
    }

    fn outputs(&self) -> Option<usize> {
        None
    }

    fn has_own_loss(&self) -> bool {
        true
    }

    fn restores_pictures(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let widths: Vec<String> = self.widths.iter().map(usize::to_string).collect();
        format!("vae {} latent {}", widths.join("-"), self.latent)
    }
}
