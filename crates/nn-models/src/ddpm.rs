//! Denoising diffusion (Ho et al. 2020): pictures drawn from noise, of a class if there are classes.

use crate::autoencoder::read;
use crate::blocks::{channels, fits_halving, linear};
use crate::{Model, fit_channels};
use nn_core::{DType, Input, Session, StepScalars, Tensor, Value};
use nn_train::nn::{Conv2d, GroupNorm, Layer, Objective, TargetKind, Upsample};
use nn_train::{Error, Init, Scope, compile};
use serde::{Deserialize, Serialize};

/// A network that tells the noise in pictures `(rows, channels, height, width)` with values in 0..=1, at any of
/// `steps` levels of noise, and draws pictures by taking it away step by step.
///
/// The network is a U-Net without attention, of residual blocks with group norm and SiLU, told the level by sines of
/// many frequencies and the class by a learned vector. Noise grows by the cosine schedule of Nichol and Dhariwal 2021.
/// Its loss is its own: the mean squared error of the noise. Tensors are named `time.0.weight`, `classes.weight`,
/// `in.weight`, `down.0.conv1.weight`, `middle.norm1.weight`, `up.0.time.weight`, `out.weight`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ddpm {
    /// Channels of each level, from the whole picture down.
    pub widths: Vec<usize>,
    /// Levels of noise.
    pub steps: usize,
    /// Numbers that stand for level and class.
    pub embedding: usize,
    /// Channels of the pictures; 0 takes the data's.
    pub in_channels: usize,
    /// Classes; 0 takes the data's.
    pub num_classes: usize,
}

impl Default for Ddpm {
    fn default() -> Ddpm {
        Ddpm { widths: vec![32, 64], steps: 200, embedding: 64, in_channels: 0, num_classes: 0 }
    }
}

impl Ddpm {
    /// How much of the picture's variance is left at each level, from the lowest.
    fn left(&self) -> Vec<f64> {
        let angle = |step: f64| (step / self.steps as f64 + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2;
        let mut left = 1.0;
        let mut all = Vec::with_capacity(self.steps);
        for step in 0..self.steps {
            let (before, after) = (angle(step as f64).cos().powi(2), angle(step as f64 + 1.0).cos().powi(2));
            left *= (after / before).max(0.001);
            all.push(left);
        }
        all
    }

    /// Rows of a table by level: sines and cosines of the level at many frequencies.
    fn frequencies(&self) -> Vec<f32> {
        let half = self.embedding / 2;
        let wave = |step: usize, place: usize| {
            let frequency = 10_000f64.powf(-((place % half) as f64) / half as f64);
            let angle = step as f64 * frequency;
            (if place < half { angle.sin() } else { angle.cos() }) as f32
        };
        (0..self.steps * 2 * half).map(|place| wave(place / (2 * half), place % (2 * half))).collect()
    }

    /// A row of a table for each level `(rows)`, `u32`: `(rows, width)`.
    fn look_up(&self, s: &mut Scope, table: &[f32], levels: Value) -> Value {
        let width = table.len() / self.steps;
        match Tensor::from_f32([self.steps, width], table) {
            Ok(table) => s.trace().constant(&table).gather_rows(levels),
            Err(error) => {
                s.trace().fail("ddpm", error.to_string());
                levels
            }
        }
    }

    /// The noise in pictures with values about −1..=1, at `levels (rows)` and of `classes (rows)`.
    fn noise(&self, s: &mut Scope, x: Value, levels: Value, classes: Option<Value>) -> Value {
        let waves = self.look_up(s, &self.frequencies(), levels);
        let known = linear(s, "time.0", waves, self.embedding, Init::LinearDefault).silu();
        let mut known = linear(s, "time.1", known, self.embedding, Init::LinearDefault);
        if let Some(classes) = classes {
            let init = Init::Normal { mean: 0.0, std: 1.0 };
            let table = s.scope("classes", |s| s.param("weight", [self.num_classes, self.embedding], init));
            known = known + table.gather_rows(classes);
        }
        let known = known.silu();
        let conv = |s: &mut Scope, name: &str, x: Value, outputs: usize, stride: usize| {
            let conv = Conv2d::new(channels(x), outputs, 3).stride(stride).padding(1);
            s.scope(name, |s| conv.forward(s, x))
        };
        let colours = channels(x);
        let mut x = conv(s, "in", x, self.widths[0], 1);
        let mut levels = Vec::with_capacity(self.widths.len());
        for (level, &width) in self.widths.iter().enumerate() {
            x = s.scope(&format!("down.{level}"), |s| {
                let x = if level > 0 { conv(s, "down", x, width, 2) } else { x };
                residual(s, x, known, width)
            });
            levels.push(x);
        }
        let width = channels(x);
        x = s.scope("middle", |s| residual(s, x, known, width));
        for (level, beside) in levels.into_iter().enumerate().rev() {
            let width = self.widths[level];
            x = s.scope(&format!("up.{level}"), |s| {
                let x = residual(s, beside.concat(&[x], 1), known, width);
                if level == 0 {
                    return x;
                }
                let x = Upsample::scale(2).forward(s, x);
                conv(s, "up", x, self.widths[level - 1], 1)
            });
        }
        let x = group_norm(s, "norm", x).silu();
        conv(s, "out", x, colours, 1)
    }

    /// Classes of the targets, if the model knows classes.
    fn classes(&self, objective: &Objective) -> Option<Value> {
        (self.num_classes > 0).then_some(objective.targets)
    }

    /// Draws a picture of shape `[channels, height, width]` for each class (any numbers where the model knows no
    /// classes), one after the other, with values in 0..=1 and the weights that the session keeps.
    ///
    /// # Errors
    /// If the session keeps no weights of this model, or the device fails.
    pub fn sample(
        &self,
        session: &mut Session,
        picture: [usize; 3],
        classes: &[u32],
        seed: u32,
    ) -> Result<Vec<f32>, Error> {
        let (rows, [colours, height, width]) = (classes.len(), picture);
        let shape = [rows, colours, height, width];
        let mut step = compile(session, false, 0, |s| {
            let x = s.input("x", DType::F32, shape);
            let levels = s.input("levels", DType::U32, [rows]);
            let classes = (self.num_classes > 0).then(|| s.input("classes", DType::U32, [rows]));
            let numbers = s.input("coefficients", DType::F32, [5]);
            let number = |place: usize| numbers.slice(&[place], [1]).reshape([1, 1, 1, 1]);
            let noise = self.noise(s, x, levels, classes);
            // The picture that the noise leaves, kept in its range, and the mean of what lies one level below.
            let clean = (x * number(0) - noise * number(1)).clamp(-1.0, 1.0);
            let stream = s.next_stream();
            let fresh = s.trace().random_normal(shape, stream);
            s.output("next", clean * number(2) + x * number(3) + fresh * number(4));
            Ok(())
        })?;
        let mut start = compile(session, false, 0, |s| {
            // Streams of their own: the first numbers are no step's.
            let stream = 1 << 20;
            s.output("x", s.trace().random_normal(shape, stream));
            Ok(())
        })?;
        session.run(&mut start.program, &[], StepScalars::new(0, seed, 0.0))?;
        let mut x = read(session, &mut start.program, "x")?;
        let left = self.left();
        for level in (0..self.steps).rev() {
            let (here, below) = (left[level], if level > 0 { left[level - 1] } else { 1.0 });
            let kept = here / below;
            let deviation = if level > 0 { ((1.0 - below) / (1.0 - here) * (1.0 - kept)).sqrt() } else { 0.0 };
            let coefficients = [
                1.0 / here.sqrt(),
                (1.0 / here - 1.0).sqrt(),
                below.sqrt() * (1.0 - kept) / (1.0 - here),
                kept.sqrt() * (1.0 - below) / (1.0 - here),
                deviation,
            ]
            .map(|number| number as f32);
            let levels = vec![level as u32; rows];
            let mut inputs = vec![
                ("x", Input::F32(&x)),
                ("levels", Input::U32(&levels)),
                ("coefficients", Input::F32(&coefficients)),
            ];
            if self.num_classes > 0 {
                inputs.push(("classes", Input::U32(classes)));
            }
            session.run(&mut step.program, &inputs, StepScalars::new(level as u32 + 1, seed, 0.0))?;
            x = read(session, &mut step.program, "next")?;
        }
        Ok(x.into_iter().map(|value| (0.5 * value + 0.5).clamp(0.0, 1.0)).collect())
    }
}

fn group_norm(s: &mut Scope, name: &str, x: Value) -> Value {
    let width = channels(x);
    let groups = (1..=8).rev().find(|groups| width.is_multiple_of(*groups)).unwrap_or(1);
    s.scope(name, |s| GroupNorm::new(groups, width).forward(s, x))
}

/// Two convolutions of 3×3, between which what is `known (rows, embedding)` is added, beside the input.
fn residual(s: &mut Scope, x: Value, known: Value, width: usize) -> Value {
    let conv = |s: &mut Scope, name: &str, x: Value, kernel: usize| {
        let conv = Conv2d::new(channels(x), width, kernel).padding(kernel / 2);
        s.scope(name, |s| conv.forward(s, x))
    };
    let y = group_norm(s, "norm1", x).silu();
    let y = conv(s, "conv1", y, 3);
    let told = linear(s, "time", known, width, Init::LinearDefault);
    let y = y + told.reshape([known.shape()[0], width, 1, 1]);
    let y = group_norm(s, "norm2", y).silu();
    let y = conv(s, "conv2", y, 3);
    let beside = if channels(x) == width { x } else { conv(s, "beside", x, 1) };
    y + beside
}

impl Layer for Ddpm {
    /// The noise at the lowest level, of class 0.
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        if !fits_halving(s, "ddpm", x, self.widths.len() - 1) {
            return x;
        }
        let zeros = s.trace().scalar_u32(0).broadcast_to([x.shape()[0]]);
        self.noise(s, x * 2.0 - 1.0, zeros, (self.num_classes > 0).then_some(zeros))
    }

    fn judge(&self, s: &mut Scope, x: Value, objective: &Objective) -> (Value, Value) {
        if !fits_halving(s, "ddpm", x, self.widths.len() - 1) {
            return (x, x);
        }
        let rows = x.shape()[0];
        let stream = s.next_stream();
        let levels = (s.trace().random_uniform([rows], stream) * self.steps as f32).floor().to_u32();
        let stream = s.next_stream();
        let noise = s.trace().random_normal(x.shape(), stream);
        let left = self.left();
        let parts: Vec<f32> = left.iter().flat_map(|&left| [left.sqrt() as f32, (1.0 - left).sqrt() as f32]).collect();
        let parts = self.look_up(s, &parts, levels);
        let part = |place: usize| parts.slice(&[0, place], [rows, 1]).reshape([rows, 1, 1, 1]);
        let noisy = (x * 2.0 - 1.0) * part(0) + noise * part(1);
        let found = self.noise(s, noisy, levels, self.classes(objective));
        let difference = found - noise;
        (found, (difference * difference).mean_all())
    }
}

impl Model for Ddpm {
    fn check(&self) -> Result<(), String> {
        if self.widths.is_empty() || self.widths.contains(&0) || self.widths.len() > 8 {
            let widths = &self.widths;
            return Err(format!("model.config.widths = {widths:?} must be one to eight numbers, none of them 0"));
        }
        if self.steps < 2 || self.embedding < 2 {
            return Err("model.config.steps and model.config.embedding must be at least 2".into());
        }
        Ok(())
    }

    fn fit(&mut self, sample: &[usize], targets: TargetKind) -> Result<(), String> {
        fit_channels(&mut self.in_channels, sample)?;
        match targets {
            TargetKind::Classes { count } if self.num_classes == 0 => self.num_classes = count,
            TargetKind::Classes { .. } => {}
            _ => return Err(format!("a ddpm needs pictures with a class each, but the data has {targets}")),
        }
        Ok(())
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.num_classes).filter(|&classes| classes > 0)
    }

    fn has_own_loss(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let widths: Vec<String> = self.widths.iter().map(usize::to_string).collect();
        format!("ddpm {} in {} steps", widths.join("-"), self.steps)
    }
}
