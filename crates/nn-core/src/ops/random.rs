//! Random tensors from the counter-based generator, the same bits on every backend: all compositions.

use crate::graph::{StepScalar, Trace, Value};
use crate::tensor::Shape;

impl Trace {
    /// 32 random bits an element for this step. `stream` tells uses apart: the same stream gives the same numbers.
    #[track_caller]
    fn random_bits(&self, shape: impl Into<Shape>, stream: u32) -> Value {
        let (seed, step) = (self.step_scalar(StepScalar::Seed), self.step_scalar(StepScalar::Step));
        seed.random_bits(step, self.scalar_u32(stream), shape)
    }

    /// Numbers in [0, 1), evenly distributed, new at each step; multiples of 2⁻²⁴, with the same bits on every
    /// device. `torch.rand`.
    #[track_caller]
    pub fn random_uniform(&self, shape: impl Into<Shape>, stream: u32) -> Value {
        self.random_bits(shape, stream).unit_interval()
    }

    /// Normally distributed numbers of mean 0 and deviation 1, new at each step, by Box and Muller's method on
    /// streams `stream` and `stream + 1`. `torch.randn`.
    #[track_caller]
    pub fn random_normal(&self, shape: impl Into<Shape>, stream: u32) -> Value {
        let shape = shape.into();
        // 1 − u lies in (0, 1], where the logarithm is finite.
        let radius = ((-self.random_uniform(shape.clone(), stream) + 1.0).log() * -2.0).sqrt();
        let angle = self.random_uniform(shape, stream.wrapping_add(1)) * std::f32::consts::TAU;
        radius * angle.cos()
    }
}

impl Value {
    /// Sets elements to 0 with the given probability and scales the others to keep the mean; a new choice at each
    /// step, the same in backward as in forward. `torch.nn.functional.dropout` in training.
    #[track_caller]
    pub fn dropout(self, probability: f32, stream: u32) -> Value {
        self.dropout_by(probability, stream, self.shape())
    }

    /// The same for whole channels: `(batch, channels, …)`, of which each channel of each sample is kept or not.
    /// `torch.nn.functional.dropout1d` and `dropout2d` in training.
    #[track_caller]
    pub fn dropout_channels(self, probability: f32, stream: u32) -> Value {
        let shape = self.shape();
        if shape.rank() < 2 {
            self.recorder().fail("dropout_channels", format!("the input must be [batch, channels, ..], not {shape}"));
            return self;
        }
        let sizes = shape.iter().enumerate().map(|(axis, &size)| if axis < 2 { size } else { 1 });
        self.dropout_by(probability, stream, sizes.collect::<Vec<_>>().into())
    }

    /// A choice for each element of `choices`, which is broadcast.
    #[track_caller]
    fn dropout_by(self, probability: f32, stream: u32, choices: Shape) -> Value {
        if !(0.0..1.0).contains(&probability) {
            self.recorder().fail("dropout", format!("the probability {probability} is not in 0..1"));
            return self;
        }
        let keep = self.recorder().random_uniform(choices, stream).greater_equal(probability);
        keep.select(self * (1.0 / (1.0 - probability)), self.zeros_like())
    }
}
