//! The same values, through which no gradient flows.

use crate::graph::{Backward, Op, OpKind, Value, ViewOp, apply};
use crate::ops::samples::Samples;
use crate::tensor::{Layout, TensorType};

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["detach"];

#[derive(Debug)]
struct Detach;

impl Op for Detach {
    fn name(&self) -> &'static str {
        "detach"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        Ok(inputs.to_vec())
    }

    fn gradient(&self, _backward: &Backward<'_>) -> Vec<Option<Value>> {
        vec![None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::View(self)
    }
}

impl ViewOp for Detach {
    fn layout(&self, input: &Layout) -> Option<Layout> {
        Some(input.clone())
    }
}

impl Value {
    /// The same values, seen as constants by gradients. `torch.Tensor.detach`.
    #[track_caller]
    pub fn detach(self) -> Value {
        apply(Detach, &[self])[0]
    }
}

/// Samples of this family.
pub(super) fn add_samples(samples: &mut Samples) {
    let x = samples.uniform([3, 5], -2.0, 2.0);
    // Differences would find a gradient.
    samples.forward("detach", "plain", vec![x.clone()], |x| x[0].detach());
    samples.forward("detach", "of a slice", vec![x], |x| x[0].transpose().slice(&[1, 0], [2, 3]).detach());
}
