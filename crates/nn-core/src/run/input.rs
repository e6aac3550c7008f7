//! Values that are handed in at a run.

use crate::tensor::{DType, Tensor};
use std::borrow::Cow;

/// Values handed in at a run, in row-major order.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// For an input of type f32.
    F32(&'a [f32]),
    /// For an input of type f32, in double precision; only the f64 oracle takes it.
    F64(&'a [f64]),
    /// For an input of type u32.
    U32(&'a [u32]),
    /// For an input of type i32.
    I32(&'a [i32]),
}

impl<'a> Input<'a> {
    /// The bytes, how many values they are, and of which type.
    pub(super) fn parts(self) -> (&'a [u8], usize, &'static str) {
        match self {
            Input::F32(values) => (bytemuck::cast_slice(values), values.len(), "f32"),
            Input::F64(values) => (bytemuck::cast_slice(values), values.len(), "f64"),
            Input::U32(values) => (bytemuck::cast_slice(values), values.len(), "u32"),
            Input::I32(values) => (bytemuck::cast_slice(values), values.len(), "i32"),
        }
    }
}

macro_rules! from_slices {
    ($($element:ty => $variant:ident),*) => {
        $(
            impl<'a> From<&'a [$element]> for Input<'a> {
                fn from(values: &'a [$element]) -> Input<'a> {
                    Input::$variant(values)
                }
            }

            impl<'a> From<&'a Vec<$element>> for Input<'a> {
                fn from(values: &'a Vec<$element>) -> Input<'a> {
                    Input::$variant(values)
                }
            }

            impl<'a> From<&'a Cow<'_, [$element]>> for Input<'a> {
                fn from(values: &'a Cow<'_, [$element]>) -> Input<'a> {
                    Input::$variant(values)
                }
            }

            impl<'a, const COUNT: usize> From<&'a [$element; COUNT]> for Input<'a> {
                fn from(values: &'a [$element; COUNT]) -> Input<'a> {
                    Input::$variant(values)
                }
            }
        )*
    };
}
from_slices! { f32 => F32, u32 => U32, i32 => I32 }

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(tensor: &'a Tensor) -> Input<'a> {
        match tensor.kind().dtype {
            DType::U32 => Input::U32(bytemuck::cast_slice(tensor.bytes())),
            DType::I32 => Input::I32(bytemuck::cast_slice(tensor.bytes())),
            DType::F32 | DType::F16 => Input::F32(bytemuck::cast_slice(tensor.bytes())),
        }
    }
}
