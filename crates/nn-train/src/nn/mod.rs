//! Layers and losses: functions that add nodes to a graph.

mod activation;
mod convolution;
mod dropout;
mod embedding;
mod flatten;
mod gated;
mod linear;
pub mod loss;
mod moving;
mod norm;
mod pool;
mod positions;
mod rotary;
mod sequential;
mod upsample;

pub use crate::scope::Init;
pub use activation::{Elu, Gelu, GeluTanh, LeakyRelu, Relu, Sigmoid, Silu, Softmax, Softplus, Tanh};
pub use convolution::{Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Padding, Pair};
pub use dropout::{Dropout, Dropout1d, Dropout2d};
pub use embedding::Embedding;
pub use flatten::Flatten;
pub use gated::{geglu, glu, swiglu};
pub use linear::Linear;
pub use loss::{IGNORED, Loss, Objective, TargetKind};
pub use moving::{Identity, PixelShuffle, PixelUnshuffle, ZeroPad2d};
pub use norm::{BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm1d, InstanceNorm2d, LayerNorm, RmsNorm};
pub use pool::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AvgPool1d, AvgPool2d,
    GlobalAveragePool, MaxPool1d, MaxPool2d,
};
pub use positions::sinusoidal_positions;
pub use rotary::{RotaryScaling, RotaryTable};
pub use sequential::Sequential;
pub use upsample::{Factors, Upsample};

use crate::scope::Scope;
use nn_core::{DType, Value};
use std::fmt::Debug;

/// A part of a model: hyper-parameters, and a function from a value to a value.
///
/// Parameters are declared on the scope in `forward`; a layer holds none itself.
pub trait Layer: Debug + Send + Sync {
    /// Adds the layer's computation on `x` to the graph. Shapes that don't fit are reported when the trace ends.
    fn forward(&self, s: &mut Scope, x: Value) -> Value;

    /// The element type of the samples it takes: `f32`, or `u32` for models of token ids.
    fn input_dtype(&self) -> DType {
        DType::F32
    }

    /// The model's own name for a tensor of a weight file, or `None` for one that it has no use for, such as a copy of
    /// a tied weight. Other libraries may name them in other ways.
    fn own_name(&self, name: &str) -> Option<String> {
        Some(name.to_string())
    }

    /// The output for a batch, `(rows, …)`, and the scalar that training makes small: the objective's mean loss. A
    /// model whose training is more than that says so here: auxiliary outputs, a prior, a loss of its own
    /// ([`Loss::Own`]). It may declare no parameter that [`Layer::forward`] does not.
    fn judge(&self, s: &mut Scope, x: Value, objective: &Objective) -> (Value, Value) {
        let output = self.forward(s, x);
        (output, objective.mean(output))
    }
}

impl Layer for Box<dyn Layer> {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        (**self).forward(s, x)
    }

    fn input_dtype(&self) -> DType {
        (**self).input_dtype()
    }

    fn own_name(&self, name: &str) -> Option<String> {
        (**self).own_name(name)
    }

    fn judge(&self, s: &mut Scope, x: Value, objective: &Objective) -> (Value, Value) {
        (**self).judge(s, x, objective)
    }
}
