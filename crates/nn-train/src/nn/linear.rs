//! The fully connected layer.

use super::Layer;
use crate::scope::{Init, Scope, WeightLayout};
use nn_core::Value;

/// `x·Wᵀ + b` over the last dimension: `(…, in)` → `(…, out)`. `torch.nn.Linear`.
///
/// Parameters: `weight [out, in]` and `bias [out]`, both evenly distributed within ±1/√in at first, as PyTorch does.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    bias: bool,
    weight_init: Init,
    bias_init: Init,
}

impl Linear {
    /// A layer from `inputs` to `outputs` features, with a bias.
    pub fn new(inputs: usize, outputs: usize) -> Linear {
        let bound = 1.0 / (inputs.max(1) as f64).sqrt();
        let bias_init = Init::Uniform { low: -bound, high: bound };
        Linear { inputs, outputs, bias: true, weight_init: Init::LinearDefault, bias_init }
    }

    /// With or without a bias.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Linear {
        self.bias = bias;
        self
    }

    /// How weight and bias begin.
    #[must_use]
    pub fn init(mut self, weight: Init, bias: Init) -> Linear {
        (self.weight_init, self.bias_init) = (weight, bias);
        self
    }
}

impl Layer for Linear {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let shape = x.shape();
        if shape.last() != Some(&self.inputs) {
            let message = format!(
                "Linear::new({}, {}) needs {} features in the last dimension, but its input has shape {shape}",
                self.inputs, self.outputs, self.inputs
            );
            s.trace().fail("linear", message);
            return x;
        }
        let weight = s.param("weight", [self.outputs, self.inputs], self.weight_init);
        // One sample without a batch dimension is a matrix of one row.
        let rows = if shape.rank() == 1 { x.reshape([1, self.inputs]) } else { x };
        let product = rows.matmul(weight.transpose());
        let y = if self.bias { product + s.param("bias", [self.outputs], self.bias_init) } else { product };
        let y = s.linear_output(rows, y, WeightLayout::OutputsInputs);
        if shape.rank() == 1 { y.reshape([self.outputs]) } else { y }
    }
}
