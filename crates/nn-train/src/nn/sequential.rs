//! Layers one after the other.

use super::Layer;
use crate::scope::Scope;
use nn_core::{DType, Value};

/// Applies layers in order. `torch.nn.Sequential`: parameters are named `0.weight`, `0.bias`, `2.weight`, …
///
/// ```
/// use nn_train::nn::{Linear, Relu, Sequential};
/// let model = Sequential::new().add(Linear::new(64, 32)).add(Relu).add(Linear::new(32, 10));
/// ```
#[derive(Debug, Default)]
pub struct Sequential {
    layers: Vec<Box<dyn Layer>>,
}

impl Sequential {
    /// Without layers: the identity.
    pub fn new() -> Sequential {
        Sequential::default()
    }

    /// With one layer more at the end.
    #[expect(clippy::should_implement_trait, reason = "the usual name in this field; `+` for layers would surprise")]
    #[must_use]
    pub fn add(mut self, layer: impl Layer + 'static) -> Sequential {
        self.layers.push(Box::new(layer));
        self
    }

    /// The number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there is no layer.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

impl From<Vec<Box<dyn Layer>>> for Sequential {
    fn from(layers: Vec<Box<dyn Layer>>) -> Sequential {
        Sequential { layers }
    }
}

impl Layer for Sequential {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let layers = self.layers.iter().enumerate();
        layers.fold(x, |x, (index, layer)| s.scope(&index.to_string(), |s| layer.forward(s, x)))
    }

    fn input_dtype(&self) -> DType {
        self.layers.first().map_or(DType::F32, |layer| layer.input_dtype())
    }
}
