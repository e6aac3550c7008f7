//! Samples of every operator: inputs, and a function that applies it.
//!
//! `tests/every_op.rs` and the doctor walk this list. A family adds its samples in its own file.

use super::{
    along, attention, beside, convolution, cross_entropy, cumulative_sum, detach, elementwise_samples, matmul,
    normalise_samples, pool, reduce, resample, rotary, row_norm, rows, shape, softmax, sort,
};
use crate::graph::Value;
use crate::tensor::{DType, Shape, Tensor};
use cpu_reference::philox::Philox;

type Build = Box<dyn Fn(&[Value]) -> Value + Send + Sync>;

/// One use of an operator.
pub struct Sample {
    /// The operator's name.
    pub op: &'static str,
    /// What is special about this use.
    pub label: String,
    /// The inputs' values.
    pub inputs: Vec<Tensor>,
    /// Applies the operator.
    pub build: Build,
    /// Whether the function is smooth around the inputs, so that its gradient can be compared with differences.
    pub smooth: bool,
}

/// Collects samples, with inputs drawn from a generator of a fixed seed.
pub(super) struct Samples {
    random: Philox,
    list: Vec<Sample>,
}

impl Samples {
    /// Values evenly distributed in `low..high`.
    pub(super) fn uniform(&mut self, shape: impl Into<Shape>, low: f32, high: f32) -> Tensor {
        let shape = shape.into();
        let values: Vec<f32> = (0..shape.elements()).map(|_| low + (high - low) * self.random.uniform()).collect();
        tensor(shape, &values)
    }

    /// Indices below `limit`.
    pub(super) fn indices(&mut self, shape: impl Into<Shape>, limit: u32) -> Tensor {
        let shape = shape.into();
        let values: Vec<u32> = (0..shape.elements()).map(|_| self.random.below(limit)).collect();
        whole(shape, &values)
    }

    /// Adds a sample whose gradient is compared with finite differences.
    pub(super) fn smooth(
        &mut self,
        op: &'static str,
        label: &str,
        inputs: Vec<Tensor>,
        build: impl Fn(&[Value]) -> Value + Send + Sync + 'static,
    ) {
        let label = label.to_string();
        self.list.push(Sample { op, label, inputs, build: Box::new(build), smooth: true });
    }

    /// Adds a sample that is only computed forward.
    pub(super) fn forward(
        &mut self,
        op: &'static str,
        label: &str,
        inputs: Vec<Tensor>,
        build: impl Fn(&[Value]) -> Value + Send + Sync + 'static,
    ) {
        self.smooth(op, label, inputs, build);
        if let Some(sample) = self.list.last_mut() {
            sample.smooth = false;
        }
    }
}

/// A tensor of f32; the caller's values fit the shape.
pub(super) fn tensor(shape: impl Into<Shape>, values: &[f32]) -> Tensor {
    let shape = shape.into();
    Tensor::from_f32(shape.clone(), values)
        .unwrap_or_else(|_| Tensor::zeros(crate::tensor::TensorType::new(DType::F32, shape)))
}

/// A tensor of u32; the caller's values fit the shape.
pub(super) fn whole(shape: impl Into<Shape>, values: &[u32]) -> Tensor {
    let shape = shape.into();
    Tensor::from_u32(shape.clone(), values)
        .unwrap_or_else(|_| Tensor::zeros(crate::tensor::TensorType::new(DType::U32, shape)))
}

/// All samples of all operators.
pub fn samples() -> Vec<Sample> {
    let mut samples = Samples { random: Philox::new(2026, 1), list: Vec::new() };
    elementwise_samples::add(&mut samples);
    shape::add_samples(&mut samples);
    beside::add_samples(&mut samples);
    reduce::add_samples(&mut samples);
    matmul::add_samples(&mut samples);
    softmax::add_samples(&mut samples);
    cross_entropy::add_samples(&mut samples);
    rows::add_samples(&mut samples);
    convolution::add_samples(&mut samples);
    normalise_samples::add(&mut samples);
    row_norm::add_samples(&mut samples);
    rotary::add_samples(&mut samples);
    pool::add_samples(&mut samples);
    resample::add_samples(&mut samples);
    detach::add_samples(&mut samples);
    cumulative_sum::add_samples(&mut samples);
    along::add_samples(&mut samples);
    sort::add_samples(&mut samples);
    attention::add_samples(&mut samples);
    samples.list
}
