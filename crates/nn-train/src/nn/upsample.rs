//! Images and rows made larger or smaller.

use super::{Layer, Pair};
use crate::scope::Scope;
use nn_core::Value;
use nn_core::ops::{Extent, Resample};

/// A factor for height and width, or one for each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors(pub [f64; 2]);

impl From<i32> for Factors {
    fn from(both: i32) -> Factors {
        Factors([f64::from(both); 2])
    }
}

impl From<usize> for Factors {
    fn from(both: usize) -> Factors {
        Factors([both as f64; 2])
    }
}

impl From<f64> for Factors {
    fn from(both: f64) -> Factors {
        Factors([both; 2])
    }
}

impl From<[usize; 2]> for Factors {
    fn from(factors: [usize; 2]) -> Factors {
        Factors(factors.map(|factor| factor as f64))
    }
}

impl From<[f64; 2]> for Factors {
    fn from(factors: [f64; 2]) -> Factors {
        Factors(factors)
    }
}

/// Another size of `(batch, channels, height, width)`, or of `(batch, channels, length)`, which takes the last of two
/// numbers. By the nearest element at first, see [`Upsample::mode`]. `torch.nn.Upsample`.
///
/// ```
/// use nn_core::ops::Resample;
/// use nn_train::nn::{Conv2d, Sequential, Upsample};
/// let decoder = Sequential::new()
///     .add(Upsample::scale(2))
///     .add(Conv2d::new(32, 16, 3).padding(1))
///     .add(Upsample::scale([1.5, 2.0]).mode(Resample::Linear))
///     .add(Upsample::size([64, 64]).mode(Resample::Linear).align_corners(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Upsample {
    extent: Extent<2>,
    mode: Resample,
    align_corners: bool,
}

impl Upsample {
    fn to(extent: Extent<2>) -> Upsample {
        Upsample { extent, mode: Resample::Nearest, align_corners: false }
    }

    /// So many times the size, rounded down; the factor need not be whole.
    pub fn scale(factors: impl Into<Factors>) -> Upsample {
        Upsample::to(Extent::Factor(factors.into().0))
    }

    /// To this size.
    pub fn size(sizes: impl Into<Pair>) -> Upsample {
        Upsample::to(Extent::Size(sizes.into().0))
    }

    /// By the nearest element, or by linear interpolation along each axis, which for images is PyTorch's `"bilinear"`.
    #[must_use]
    pub fn mode(mut self, mode: Resample) -> Upsample {
        self.mode = mode;
        self
    }

    /// Whether the centres of the outermost elements stay where they are, and not the image's edges. For linear
    /// interpolation.
    #[must_use]
    pub fn align_corners(mut self, align_corners: bool) -> Upsample {
        self.align_corners = align_corners;
        self
    }
}

impl Layer for Upsample {
    fn forward(&self, _s: &mut Scope, x: Value) -> Value {
        if x.shape().rank() != 3 {
            return x.upsample2d(self.extent, self.mode, self.align_corners);
        }
        let along = match self.extent {
            Extent::Size([_, size]) => Extent::Size([size]),
            Extent::Factor([_, factor]) => Extent::Factor([factor]),
        };
        x.upsample1d(along, self.mode, self.align_corners)
    }
}
