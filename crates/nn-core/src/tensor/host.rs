//! Tensors whose values lie in host memory.

use super::{DType, Shape, TensorType};
use crate::Error;

pub use cpu_reference::Bytes;

/// A contiguous tensor in host memory: what goes into a session and comes out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    kind: TensorType,
    bytes: Bytes,
}

impl Tensor {
    /// A tensor of `f32` values in row-major order.
    ///
    /// # Errors
    /// If the number of values is not the product of the sizes.
    pub fn from_f32(shape: impl Into<Shape>, values: &[f32]) -> Result<Tensor, Error> {
        Tensor::from_bytes(TensorType::new(DType::F32, shape), bytemuck::cast_slice(values))
    }

    /// A tensor of `u32` values in row-major order.
    ///
    /// # Errors
    /// If the number of values is not the product of the sizes.
    pub fn from_u32(shape: impl Into<Shape>, values: &[u32]) -> Result<Tensor, Error> {
        Tensor::from_bytes(TensorType::new(DType::U32, shape), bytemuck::cast_slice(values))
    }

    /// A tensor of `i32` values in row-major order.
    ///
    /// # Errors
    /// If the number of values is not the product of the sizes.
    pub fn from_i32(shape: impl Into<Shape>, values: &[i32]) -> Result<Tensor, Error> {
        Tensor::from_bytes(TensorType::new(DType::I32, shape), bytemuck::cast_slice(values))
    }

    /// A tensor from the native-endian bytes of its elements.
    ///
    /// # Errors
    /// If the number of bytes does not fit the type.
    pub fn from_bytes(kind: TensorType, bytes: &[u8]) -> Result<Tensor, Error> {
        if kind.bytes() != bytes.len() {
            let (expected, found) = (kind.shape.elements(), bytes.len() / kind.dtype.bytes());
            return Err(Error::Usage(format!(
                "a tensor of shape {} has {expected} elements, but {found} values were given",
                kind.shape
            )));
        }
        Ok(Tensor { kind, bytes: Bytes::copy_of(bytes) })
    }

    /// A tensor of zeros.
    pub fn zeros(kind: TensorType) -> Tensor {
        let bytes = Bytes::zeroed(kind.bytes());
        Tensor { kind, bytes }
    }

    /// Element type and shape.
    pub fn kind(&self) -> &TensorType {
        &self.kind
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> &Shape {
        &self.kind.shape
    }

    /// The elements as native-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// The elements as `f32`.
    ///
    /// # Errors
    /// If the element type is another one.
    pub fn as_f32(&self) -> Result<&[f32], Error> {
        self.expect(DType::F32).map(bytemuck::cast_slice)
    }

    /// The elements as `u32`.
    ///
    /// # Errors
    /// If the element type is another one.
    pub fn as_u32(&self) -> Result<&[u32], Error> {
        self.expect(DType::U32).map(bytemuck::cast_slice)
    }

    /// The elements as `i32`.
    ///
    /// # Errors
    /// If the element type is another one.
    pub fn as_i32(&self) -> Result<&[i32], Error> {
        self.expect(DType::I32).map(bytemuck::cast_slice)
    }

    fn expect(&self, dtype: DType) -> Result<&[u8], Error> {
        if self.kind.dtype != dtype {
            return Err(Error::Usage(format!("a tensor of type {} was read as {dtype}", self.kind)));
        }
        Ok(self.bytes.as_ref())
    }
}
