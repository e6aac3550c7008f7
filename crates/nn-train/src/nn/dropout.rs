//! Dropout (Srivastava et al., 2014).

use super::Layer;
use crate::scope::Scope;
use nn_core::Value;

/// In training, sets elements to 0 with probability `p` and scales the others by 1/(1−p); else the identity.
/// `torch.nn.Dropout`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    p: f32,
}

impl Dropout {
    /// Drops with probability `p`, in 0 ≤ p < 1.
    pub fn new(p: f32) -> Dropout {
        Dropout { p }
    }
}

impl Layer for Dropout {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        if !(0.0..1.0).contains(&self.p) {
            s.trace().fail("dropout", format!("the probability {} is not in 0 ≤ p < 1", self.p));
        }
        // The stream is taken in any case, so that layers after this one draw the same numbers without it.
        let stream = s.next_stream();
        if s.training() && self.p > 0.0 { x.dropout(self.p, stream) } else { x }
    }
}
