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

/// What layers that drop whole channels do.
fn drop_channels(p: f32, wanted: &str, rank: usize, s: &mut Scope, x: Value) -> Value {
    let shape = x.shape();
    if !(0.0..1.0).contains(&p) {
        s.trace().fail("dropout", format!("the probability {p} is not in 0 ≤ p < 1"));
    } else if shape.rank() != rank {
        s.trace().fail("dropout", format!("the input must be {wanted}, not {shape}"));
        return x;
    }
    let stream = s.next_stream();
    if s.training() && p > 0.0 { x.dropout_channels(p, stream) } else { x }
}

macro_rules! of_channels {
    ($($(#[doc = $doc:literal])+ $name:ident: $rank:literal, $wanted:literal;)*) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name {
            p: f32,
        }

        impl $name {
            /// Drops with probability `p`, in 0 ≤ p < 1.
            pub fn new(p: f32) -> $name {
                $name { p }
            }
        }

        impl Layer for $name {
            fn forward(&self, s: &mut Scope, x: Value) -> Value {
                drop_channels(self.p, $wanted, $rank, s, x)
            }
        })*
    };
}

of_channels! {
    /// In training, sets whole channels of `(batch, channels, length)` to 0 with probability `p` and scales the others by
    /// 1/(1−p); else the identity. `torch.nn.Dropout1d`.
    Dropout1d: 3, "[batch, channels, length]";
    /// In training, sets whole channels of `(batch, channels, height, width)` to 0 with probability `p` and scales the
    /// others by 1/(1−p); else the identity. `torch.nn.Dropout2d`.
    Dropout2d: 4, "[batch, channels, height, width]";
}
