//! Layers and losses: functions that add nodes to a graph.

mod activation;
mod dropout;
mod flatten;
mod linear;
pub mod loss;
mod norm;
mod sequential;

pub use crate::scope::Init;
pub use activation::{Elu, Gelu, GeluTanh, LeakyRelu, Relu, Sigmoid, Silu, Softmax, Softplus, Tanh};
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use linear::Linear;
pub use loss::{Loss, TargetKind};
pub use norm::{BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm1d, InstanceNorm2d, LayerNorm};
pub use sequential::Sequential;

use crate::scope::Scope;
use nn_core::Value;
use std::fmt::Debug;

/// A part of a model: hyper-parameters, and a function from a value to a value.
///
/// Parameters are declared on the scope in `forward`; a layer holds none itself.
pub trait Layer: Debug + Send + Sync {
    /// Adds the layer's computation on `x` to the graph. Shapes that don't fit are reported when the trace ends.
    fn forward(&self, s: &mut Scope, x: Value) -> Value;
}

impl Layer for Box<dyn Layer> {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        (**self).forward(s, x)
    }
}
