//! Small things that operators share.

use crate::Error;
use crate::graph::{Value, word};
use crate::tensor::{DType, Layout, Shape, TensorType};
use cpu_reference::Strided;

/// The types of a single output.
pub(super) fn one(dtype: DType, shape: impl Into<Shape>) -> Result<Vec<TensorType>, String> {
    Ok(vec![TensorType::new(dtype, shape)])
}

/// A layout as the CPU kernels take it.
pub(super) fn strided(layout: &Layout) -> Strided<'_> {
    Strided { sizes: &layout.shape, strides: &layout.strides, offset: layout.offset }
}

/// Runs a block with `T` standing for the number format that `f32` values are computed in.
macro_rules! for_precision {
    ($precision:expr, $real:ident => $body:block) => {
        match $precision {
            $crate::graph::Precision::F32 => {
                type $real = f32;
                $body
            }
            $crate::graph::Precision::F64 => {
                type $real = f64;
                $body
            }
        }
    };
}
pub(super) use for_precision;

/// The grid for one invocation an element in workgroups of 256.
pub(super) fn flat_groups(elements: usize) -> Result<[u32; 3], Error> {
    row_groups(elements.div_ceil(256))
}

/// The grid for one workgroup a row, folded in two where there are more than one dimension holds.
pub(super) fn row_groups(rows: usize) -> Result<[u32; 3], Error> {
    word(rows, "the number of workgroups")?;
    Ok(gpu_runtime::fold_groups(rows as u64))
}

/// How many of a workgroup's 256 invocations share a row of so many columns: a power of two, so that each has four columns
/// or a few more, and short rows share a workgroup.
pub(super) fn row_lanes(columns: usize) -> usize {
    (columns / 4).next_power_of_two().clamp(4, 256)
}

/// Resolves an axis list: every axis below the rank, each once.
pub(super) fn check_axes(axes: &[usize], shape: &Shape) -> Result<(), String> {
    for (place, &axis) in axes.iter().enumerate() {
        if axis >= shape.rank() {
            return Err(format!("axis {axis} is beyond the {} dimensions of {shape}", shape.rank()));
        }
        if axes[..place].contains(&axis) {
            return Err(format!("axis {axis} is named twice"));
        }
    }
    Ok(())
}

/// The value with its dimension `axis` moved last, and the order of dimensions that moves it there and back; `None` once an
/// axis beyond the shape is noted as a mistake of the operator `what`.
#[track_caller]
pub(super) fn axis_last(what: &str, value: Value, axis: usize) -> Option<(Value, Vec<usize>)> {
    let shape = value.shape();
    if axis >= shape.rank() {
        refused(value, what, format!("axis {axis} is beyond the dimensions of {shape}"));
        return None;
    }
    let mut order: Vec<usize> = (0..shape.rank()).collect();
    order.swap(axis, shape.rank() - 1);
    Some((reordered(value, &order), order))
}

/// The value with its dimensions in this order; itself if that is the order that they have.
#[track_caller]
pub(super) fn reordered(value: Value, order: &[usize]) -> Value {
    if order.is_sorted() { value } else { value.permute(order) }
}

/// The value itself, once a mistake of the caller is noted.
#[track_caller]
pub(super) fn refused(value: Value, what: &str, message: String) -> Value {
    value.recorder().fail(what, message);
    value
}
