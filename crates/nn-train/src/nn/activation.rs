//! Activations as layers.

use super::Layer;
use crate::scope::Scope;
use nn_core::Value;

macro_rules! activations {
    ($($(#[doc = $doc:literal])+ $name:ident = $method:ident;)*) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        impl Layer for $name {
            fn forward(&self, _s: &mut Scope, x: Value) -> Value {
                x.$method()
            }
        })*
    };
}

activations! {
    /// 0 for negative elements. `torch.nn.ReLU`.
    Relu = relu;
    /// x·Φ(x), by the error function. `torch.nn.GELU()`.
    Gelu = gelu;
    /// x·Φ(x) by the tanh approximation. `torch.nn.GELU(approximate="tanh")`.
    GeluTanh = gelu_tanh;
    /// x·sigmoid(x). `torch.nn.SiLU`.
    Silu = silu;
    /// The hyperbolic tangent. `torch.nn.Tanh`.
    Tanh = tanh;
    /// 1/(1+e⁻ˣ). `torch.nn.Sigmoid`.
    Sigmoid = sigmoid;
    /// log(1+eˣ). `torch.nn.Softplus()`.
    Softplus = softplus;
}

/// `slope`·x for negative elements. `torch.nn.LeakyReLU`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyRelu {
    /// The slope below 0.
    pub slope: f32,
}

impl Default for LeakyRelu {
    fn default() -> LeakyRelu {
        LeakyRelu { slope: 0.01 }
    }
}

impl Layer for LeakyRelu {
    fn forward(&self, _s: &mut Scope, x: Value) -> Value {
        x.leaky_relu(self.slope)
    }
}

/// `alpha`·(eˣ−1) for negative elements. `torch.nn.ELU`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elu {
    /// Minus the limit for large negative elements.
    pub alpha: f32,
}

impl Default for Elu {
    fn default() -> Elu {
        Elu { alpha: 1.0 }
    }
}

impl Layer for Elu {
    fn forward(&self, _s: &mut Scope, x: Value) -> Value {
        x.elu(self.alpha)
    }
}

/// Exponentials divided by their sum along an axis. `torch.nn.Softmax`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// The axis; 0 is the batch.
    pub axis: usize,
}

impl Layer for Softmax {
    fn forward(&self, _s: &mut Scope, x: Value) -> Value {
        x.softmax(self.axis)
    }
}
