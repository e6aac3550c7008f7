//! Flattening of samples.

use super::Layer;
use crate::scope::Scope;
use nn_core::Value;

/// Merges all dimensions but the first: `(batch, …)` → `(batch, features)`. `torch.nn.Flatten()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flatten;

impl Layer for Flatten {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        match x.shape().rank() {
            0 => {
                s.trace().fail("flatten", "a scalar has no batch dimension to keep");
                x
            }
            1 => x.reshape([x.shape()[0], 1]),
            _ => x.flatten(1),
        }
    }
}
