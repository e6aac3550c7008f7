//! What a tensor is: element type, shape, layout in memory, and values held on the host.

mod host;
mod layout;
pub mod window;

pub use host::{Bytes, Tensor};
pub use layout::Layout;

use std::fmt;
use std::ops::Deref;

/// The most dimensions a tensor may have; shader parameter blocks hold eight sizes.
pub const MAX_RANK: usize = 8;

/// The element types that a graph can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE 754 single precision. The f64 oracle holds these values in double precision.
    F32,
    /// IEEE 754 half precision. Graphs can name it; no kernel computes in it yet.
    F16,
    /// Unsigned 32-bit integers: indices, class labels, masks (0 or 1), random bits.
    U32,
    /// Signed 32-bit integers.
    I32,
}

impl DType {
    /// Bytes of one element on a device.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F16 => 2,
            DType::F32 | DType::U32 | DType::I32 => 4,
        }
    }

    /// Whether values of this type can carry a gradient.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F16)
    }

    /// The name in WGSL and in printed graphs.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::U32 => "u32",
            DType::I32 => "i32",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The sizes of a tensor's dimensions, outermost first; `[]` is a scalar.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The number of elements: the product of all sizes, 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The shape that NumPy's broadcasting gives two shapes, or `None` where they don't fit.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let size = |shape: &Shape, axis: usize| {
            let missing = rank - shape.rank();
            if axis < missing { 1 } else { shape[axis - missing] }
        };
        (0..rank)
            .map(|axis| match (size(self, axis), size(other, axis)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(Shape)
    }

    /// This shape without the given axes (which must be below the rank).
    pub fn without(&self, axes: &[usize]) -> Shape {
        let kept = self.0.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        Shape(kept.map(|(_, &size)| size).collect())
    }

    /// This shape with the given axes set to size 1.
    pub fn keep(&self, axes: &[usize]) -> Shape {
        let size = |(axis, &size): (usize, &usize)| if axes.contains(&axis) { 1 } else { size };
        Shape(self.0.iter().enumerate().map(size).collect())
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Shape {
        Shape(sizes.to_vec())
    }
}

impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Shape {
        Shape(sizes.to_vec())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Shape {
        Shape(sizes)
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Shape {
        shape.clone()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Element type and shape: all that a graph knows of a value before it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// The element type.
    pub dtype: DType,
    /// The sizes of the dimensions.
    pub shape: Shape,
}

impl TensorType {
    /// A type from its parts.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> TensorType {
        TensorType { dtype, shape: shape.into() }
    }

    /// Bytes of the contiguous tensor on a device.
    pub fn bytes(&self) -> usize {
        self.shape.elements() * self.dtype.bytes()
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.dtype, self.shape)
    }
}
