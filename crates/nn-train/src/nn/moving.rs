//! Layers that move elements to other places, or leave them where they are.

use super::{Layer, Padding};
use crate::scope::Scope;
use nn_core::Value;

/// Nothing: what stands where a layer may be left out. `torch.nn.Identity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity;

impl Layer for Identity {
    fn forward(&self, _s: &mut Scope, x: Value) -> Value {
        x
    }
}

/// `(batch, channels·factor², height, width)` → `(batch, channels, height·factor, width·factor)`: each square of the result
/// is made of neighbouring channels. `torch.nn.PixelShuffle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelShuffle(usize);

impl PixelShuffle {
    /// Makes images so many times as high and as wide.
    pub fn new(factor: usize) -> PixelShuffle {
        PixelShuffle(factor)
    }
}

impl Layer for PixelShuffle {
    fn forward(&self, _s: &mut Scope, x: Value) -> Value {
        x.pixel_shuffle(self.0)
    }
}

/// `(batch, channels, height·factor, width·factor)` → `(batch, channels·factor², height, width)`: the way back.
/// `torch.nn.PixelUnshuffle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelUnshuffle(usize);

impl PixelUnshuffle {
    /// Makes images so many times less high and less wide.
    pub fn new(factor: usize) -> PixelUnshuffle {
        PixelUnshuffle(factor)
    }
}

impl Layer for PixelUnshuffle {
    fn forward(&self, _s: &mut Scope, x: Value) -> Value {
        x.pixel_unshuffle(self.0)
    }
}

/// Zeros around the last two dimensions, `(…, height, width)`. `torch.nn.ZeroPad2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroPad2d(Padding);

impl ZeroPad2d {
    /// So many everywhere, or as `[height, width]`, or as `[(top, bottom), (left, right)]`.
    pub fn new(padding: impl Into<Padding>) -> ZeroPad2d {
        ZeroPad2d(padding.into())
    }
}

impl Layer for ZeroPad2d {
    fn forward(&self, s: &mut Scope, x: Value) -> Value {
        let rank = x.shape().rank();
        let Padding::Around(around) = self.0 else {
            s.trace().fail("ZeroPad2d", "padding \"same\" is for convolutions: give it in numbers");
            return x;
        };
        if rank < 2 {
            s.trace().fail("ZeroPad2d", format!("the input must be [.., height, width], not {}", x.shape()));
            return x;
        }
        let mut all = vec![(0, 0); rank];
        all[rank - 2..].copy_from_slice(&around);
        x.pad(&all, 0.0)
    }
}
