//! One call on traced values: made on a trace, or printed as Rust.

use crate::methods::Moment;
use nn_core::graph::{Trace, Value};
use nn_core::ops::{Convolution, CumulativeSum, Extent, PoolOptions, Resample, RotaryPairing};
use nn_core::{DType, StepScalar, Tensor};
use std::fmt;

/// A method by its name.
#[derive(Clone, Copy)]
pub(crate) struct Method<F> {
    pub(crate) name: &'static str,
    pub(crate) apply: F,
}

/// A method without arguments.
pub(crate) type Plain = Method<fn(Value) -> Value>;
/// A method with another value.
pub(crate) type Other = Method<fn(Value, Value) -> Value>;
/// A method with a number.
pub(crate) type Number = Method<fn(Value, f32) -> Value>;
/// A method with axes.
pub(crate) type Axes = Method<fn(Value, &[usize]) -> Value>;
/// A method with one axis.
pub(crate) type Axis = Method<fn(Value, usize) -> Value>;
/// A method with two sizes.
pub(crate) type Sizes = Method<fn(Value, [usize; 2]) -> Value>;
/// A method with windows.
pub(crate) type Pool = Method<fn(Value, &PoolOptions) -> Value>;

/// Makes one value. Operands are numbers of earlier calls.
#[derive(Clone)]
pub(crate) enum Call {
    Input(String, DType, Vec<usize>),
    State(String, Vec<usize>),
    Constant(Tensor),
    Scalar(f32),
    ScalarU32(u32),
    LearningRate,
    Plain(Plain, usize),
    Other(Other, usize, usize),
    Number(Number, usize, f32),
    Clamp(usize, f32, f32),
    Select([usize; 3]),
    Axes(Axes, usize, Vec<usize>),
    Axis(Axis, usize, usize),
    Reshape(usize, Vec<usize>),
    Permute(usize, Vec<usize>),
    Broadcast(usize, Vec<usize>),
    Slice(usize, Vec<usize>, Vec<usize>),
    Concat(usize, Vec<usize>, usize),
    Pad(usize, Vec<(usize, usize)>, f32),
    Scatter(usize, usize, usize),
    Dropout(usize, f32, u32),
    Convolution([usize; 2], Convolution),
    Transposed([usize; 2], Convolution, [usize; 2]),
    Moment(Moment, usize, Vec<usize>, f32),
    /// With maybe a weight and maybe a bias.
    Normalise(usize, Vec<usize>, f32, Option<usize>, Option<usize>),
    /// Of each row, with maybe a weight and maybe a bias.
    LayerNorm(usize, [Option<usize>; 2], f32),
    /// With maybe a weight.
    RmsNorm(usize, Option<usize>, f32),
    /// With cosines and sines.
    Rotary([usize; 3], RotaryPairing),
    Pool(Pool, usize, PoolOptions),
    PoolIndices(usize, PoolOptions),
    Adaptive(Sizes, usize, [usize; 2]),
    Upsample(usize, Extent<2>, Resample, bool),
    UpsampleRows(usize, Extent<1>, Resample, bool),
    Cumulative(usize, usize, CumulativeSum),
    /// The axis, and the indices.
    GatherAlong(usize, usize, usize),
    /// The axis, the indices, and the source.
    ScatterAlong(usize, usize, [usize; 2]),
    /// The axis, whether in descending order, and which of the results.
    Sort(usize, usize, bool, usize),
    /// The axis, how many, whether the largest, and which of the results.
    TopK(usize, usize, usize, bool, usize),
}

impl Call {
    /// Makes the call on a trace; `v` are the values made so far.
    pub(crate) fn apply(&self, trace: &Trace, v: &[Value]) -> Value {
        match self {
            Call::Input(name, dtype, shape) => trace.input(name, *dtype, shape.clone()),
            Call::State(name, shape) => trace.state(name, DType::F32, shape.clone()),
            Call::Constant(tensor) => trace.constant(tensor),
            Call::Scalar(number) => trace.scalar(*number),
            Call::ScalarU32(number) => trace.scalar_u32(*number),
            Call::LearningRate => trace.step_scalar(StepScalar::LearningRate),
            Call::Plain(method, x) => (method.apply)(v[*x]),
            Call::Other(method, x, y) => (method.apply)(v[*x], v[*y]),
            Call::Number(method, x, number) => (method.apply)(v[*x], *number),
            Call::Clamp(x, low, high) => v[*x].clamp(*low, *high),
            Call::Select([mask, x, y]) => v[*mask].select(v[*x], v[*y]),
            Call::Axes(method, x, axes) => (method.apply)(v[*x], axes),
            Call::Axis(method, x, axis) => (method.apply)(v[*x], *axis),
            Call::Reshape(x, shape) => v[*x].reshape(shape.clone()),
            Call::Permute(x, order) => v[*x].permute(order),
            Call::Broadcast(x, shape) => v[*x].broadcast_to(shape.clone()),
            Call::Slice(x, starts, sizes) => v[*x].slice(starts, sizes.clone()),
            Call::Concat(x, others, axis) => {
                v[*x].concat(&others.iter().map(|&other| v[other]).collect::<Vec<_>>(), *axis)
            }
            Call::Pad(x, around, number) => v[*x].pad(around, *number),
            Call::Scatter(x, indices, rows) => v[*x].scatter_add_rows(v[*indices], *rows),
            Call::Dropout(x, probability, stream) => v[*x].dropout(*probability, *stream),
            Call::Convolution([x, weight], options) => v[*x].conv2d(v[*weight], options),
            Call::Transposed([x, weight], options, more) => v[*x].conv_transpose2d(v[*weight], options, *more),
            Call::Moment(moment, x, axes, eps) => moment.of(v[*x].moments(axes, *eps)),
            Call::Normalise(x, axes, eps, weight, bias) => {
                let [weight, bias] = [weight, bias].map(|parameter| parameter.map(|place| v[place]));
                v[*x].normalise(axes, *eps, weight, bias)
            }
            Call::LayerNorm(x, parameters, eps) => {
                let [weight, bias] = parameters.map(|parameter| parameter.map(|place| v[place]));
                v[*x].layer_norm(weight, bias, *eps)
            }
            Call::RmsNorm(x, weight, eps) => v[*x].rms_norm(weight.map(|place| v[place]), *eps),
            Call::Rotary([x, cosine, sine], pairing) => v[*x].rotary(v[*cosine], v[*sine], *pairing),
            Call::Pool(method, x, options) => (method.apply)(v[*x], options),
            Call::PoolIndices(x, options) => v[*x].max_pool2d_with_indices(options)[1],
            Call::Adaptive(method, x, sizes) => (method.apply)(v[*x], *sizes),
            Call::Upsample(x, extent, mode, corners) => v[*x].upsample2d(*extent, *mode, *corners),
            Call::UpsampleRows(x, extent, mode, corners) => v[*x].upsample1d(*extent, *mode, *corners),
            Call::Cumulative(x, axis, options) => v[*x].cumulative_sum_by(*axis, *options),
            Call::GatherAlong(x, axis, indices) => v[*x].gather(*axis, v[*indices]),
            Call::ScatterAlong(x, axis, [indices, source]) => v[*x].scatter_add(*axis, v[*indices], v[*source]),
            Call::Sort(x, axis, descending, result) => v[*x].sort(*axis, *descending)[*result],
            Call::TopK(x, axis, count, largest, result) => v[*x].top_k(*axis, *count, *largest)[*result],
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Input(name, dtype, shape) => write!(formatter, "t.input({name:?}, DType::{dtype:?}, {shape:?})"),
            Call::State(name, shape) => write!(formatter, "t.state({name:?}, DType::F32, {shape:?})"),
            Call::Constant(tensor) => write!(formatter, "t.constant(&{})", tensor_text(tensor)),
            Call::Scalar(number) => write!(formatter, "t.scalar({number:?})"),
            Call::ScalarU32(number) => write!(formatter, "t.scalar_u32({number})"),
            Call::LearningRate => write!(formatter, "t.step_scalar(StepScalar::LearningRate)"),
            Call::Plain(method, x) => write!(formatter, "v{x}.{}()", method.name),
            Call::Other(method, x, y) => write!(formatter, "v{x}.{}(v{y})", method.name),
            Call::Number(method, x, number) => write!(formatter, "v{x}.{}({number:?})", method.name),
            Call::Clamp(x, low, high) => write!(formatter, "v{x}.clamp({low:?}, {high:?})"),
            Call::Select([mask, x, y]) => write!(formatter, "v{mask}.select(v{x}, v{y})"),
            Call::Axes(method, x, axes) => write!(formatter, "v{x}.{}(&{axes:?})", method.name),
            Call::Axis(method, x, axis) => write!(formatter, "v{x}.{}({axis})", method.name),
            Call::Reshape(x, shape) => write!(formatter, "v{x}.reshape({shape:?})"),
            Call::Permute(x, order) => write!(formatter, "v{x}.permute(&{order:?})"),
            Call::Broadcast(x, shape) => write!(formatter, "v{x}.broadcast_to({shape:?})"),
            Call::Slice(x, starts, sizes) => write!(formatter, "v{x}.slice(&{starts:?}, {sizes:?})"),
            Call::Concat(x, others, axis) => {
                let others: Vec<String> = others.iter().map(|other| format!("v{other}")).collect();
                write!(formatter, "v{x}.concat(&[{}], {axis})", others.join(", "))
            }
            Call::Pad(x, around, number) => write!(formatter, "v{x}.pad(&{around:?}, {number:?})"),
            Call::Scatter(x, indices, rows) => write!(formatter, "v{x}.scatter_add_rows(v{indices}, {rows})"),
            Call::Dropout(x, probability, stream) => write!(formatter, "v{x}.dropout({probability:?}, {stream})"),
            Call::Convolution([x, weight], options) => write!(formatter, "v{x}.conv2d(v{weight}, &{options:?})"),
            Call::Transposed([x, weight], options, more) => {
                write!(formatter, "v{x}.conv_transpose2d(v{weight}, &{options:?}, {more:?})")
            }
            Call::Moment(moment, x, axes, eps) => {
                write!(formatter, "v{x}.moments(&{axes:?}, {eps:?}).{}", moment.name())
            }
            Call::Normalise(x, axes, eps, weight, bias) => {
                let [weight, bias] = [*weight, *bias].map(maybe_text);
                write!(formatter, "v{x}.normalise(&{axes:?}, {eps:?}, {weight}, {bias})")
            }
            Call::LayerNorm(x, parameters, eps) => {
                let [weight, bias] = parameters.map(maybe_text);
                write!(formatter, "v{x}.layer_norm({weight}, {bias}, {eps:?})")
            }
            Call::RmsNorm(x, weight, eps) => write!(formatter, "v{x}.rms_norm({}, {eps:?})", maybe_text(*weight)),
            Call::Rotary([x, cosine, sine], pairing) => {
                write!(formatter, "v{x}.rotary(v{cosine}, v{sine}, RotaryPairing::{pairing:?})")
            }
            Call::Pool(method, x, options) => write!(formatter, "v{x}.{}(&{options:?})", method.name),
            Call::PoolIndices(x, options) => write!(formatter, "v{x}.max_pool2d_with_indices(&{options:?})[1]"),
            Call::Adaptive(method, x, sizes) => write!(formatter, "v{x}.{}({sizes:?})", method.name),
            Call::Upsample(x, extent, mode, corners) => {
                write!(formatter, "v{x}.upsample2d(Extent::{extent:?}, Resample::{mode:?}, {corners})")
            }
            Call::UpsampleRows(x, extent, mode, corners) => {
                write!(formatter, "v{x}.upsample1d(Extent::{extent:?}, Resample::{mode:?}, {corners})")
            }
            Call::Cumulative(x, axis, options) => write!(formatter, "v{x}.cumulative_sum_by({axis}, {options:?})"),
            Call::GatherAlong(x, axis, indices) => write!(formatter, "v{x}.gather({axis}, v{indices})"),
            Call::ScatterAlong(x, axis, [indices, source]) => {
                write!(formatter, "v{x}.scatter_add({axis}, v{indices}, v{source})")
            }
            Call::Sort(x, axis, descending, result) => write!(formatter, "v{x}.sort({axis}, {descending})[{result}]"),
            Call::TopK(x, axis, count, largest, result) => {
                write!(formatter, "v{x}.top_k({axis}, {count}, {largest})[{result}]")
            }
        }
    }
}

/// A value that may be missing, as Rust.
fn maybe_text(place: Option<usize>) -> String {
    place.map_or("None".to_string(), |place| format!("Some(v{place})"))
}

/// The elements of a tensor as a Rust list.
pub(crate) fn elements_text(tensor: &Tensor) -> String {
    match tensor.kind().dtype {
        DType::U32 => format!("{:?}", bytemuck::cast_slice::<u8, u32>(tensor.bytes())),
        DType::I32 => format!("{:?}", bytemuck::cast_slice::<u8, i32>(tensor.bytes())),
        DType::F32 | DType::F16 => format!("{:?}", bytemuck::cast_slice::<u8, f32>(tensor.bytes())),
    }
}

/// A tensor as the Rust expression that makes it.
pub(crate) fn tensor_text(tensor: &Tensor) -> String {
    let (dtype, shape) = (tensor.kind().dtype.name(), tensor.shape());
    format!("Tensor::from_{dtype}({shape}, &{})?", elements_text(tensor))
}
