//! Resampling: images and rows made larger or smaller by the nearest element or by linear interpolation, one axis after the
//! other; and elements in reverse order.

mod kernel;
mod samples;
mod table;

use crate::graph::{Backward, Op, OpKind, Trace, Value, apply};
use crate::ops::support::{check_axes, one};
use crate::tensor::{DType, Tensor, TensorType};
use table::{Ratio, Rule, Table};

pub(super) use samples::add_samples;

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["resample", "resample_gradient"];

/// What stands between the elements of an image that is made larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resample {
    /// The nearest element before, again. `mode="nearest"` of PyTorch.
    #[default]
    Nearest,
    /// What lies on a straight line between neighbours, along each axis. `mode="linear"` and `mode="bilinear"`.
    Linear,
}

/// How large a resampled image is, along its last `N` axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent<const N: usize> {
    /// So many elements.
    Size([usize; N]),
    /// So many times the elements there are, rounded down.
    Factor([f64; N]),
}

/// How one axis is resampled: `(outer, input, inner)` to `(outer, output, inner)`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    rule: Rule,
    input: usize,
    output: usize,
    /// The distance of neighbours in the unit of the table's parts.
    whole: u32,
    /// The most results that an input takes part in.
    most: usize,
}

/// `input, lows, parts → output`.
#[derive(Debug)]
struct Forward(Axis);

/// `dy, lows, parts, firsts, ends → dx`.
#[derive(Debug)]
struct Gradient(Axis);

impl Axis {
    /// Whether results lie between inputs.
    fn is_linear(&self) -> bool {
        matches!(self.rule, Rule::Linear { .. } | Rule::Corners)
    }

    /// The result of either operator, which makes `to` elements of `from` along the axis.
    fn infer(&self, inputs: &[TensorType], from: usize, to: usize) -> Result<Vec<TensorType>, String> {
        let x = &inputs[0];
        if x.dtype != DType::F32 || x.shape.rank() != 3 || x.shape[1] != from {
            return Err(format!("internal: an axis of {from} elements is resampled, but the input is {x}"));
        }
        let tables = inputs[1..].iter().enumerate();
        let fits = |place: usize| if place < 2 { self.output } else { self.input };
        match tables.into_iter().find(|(place, kind)| **kind != TensorType::new(DType::U32, [fits(*place)])) {
            Some((_, kind)) => {
                Err(format!("internal: a table of {} to {} elements is {kind}", self.input, self.output))
            }
            None => one(DType::F32, [x.shape[0], to, x.shape[2]]),
        }
    }
}

impl Op for Forward {
    fn name(&self) -> &'static str {
        NAMES[0]
    }

    fn attributes(&self) -> String {
        format!("{:?}", self.0)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        self.0.infer(inputs, self.0.input, self.0.output)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let dy = backward.dy();
        let dx = gradient(self.0, dy, [backward.inputs[1], backward.inputs[2]]);
        if let Err(message) = &dx {
            dy.recorder().fail(NAMES[1], message.as_str());
        }
        vec![dx.ok(), None, None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Op for Gradient {
    fn name(&self) -> &'static str {
        NAMES[1]
    }

    fn attributes(&self) -> String {
        format!("{:?}", self.0)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        self.0.infer(inputs, self.0.output, self.0.input)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let [lows, parts] = [1, 2].map(|place| backward.inputs[place]);
        let dy = apply(Forward(self.0), &[backward.dy(), lows, parts])[0];
        vec![Some(dy), None, None, None, None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

fn constant(trace: Trace, numbers: &[u32]) -> Result<Value, String> {
    let tensor = Tensor::from_u32([numbers.len()], numbers).map_err(|error| error.to_string())?;
    Ok(trace.constant(&tensor))
}

/// The gradient by the input of what `lows` and `parts` say.
fn gradient(axis: Axis, dy: Value, [lows, parts]: [Value; 2]) -> Result<Value, String> {
    let table = Table::new(axis.rule, axis.input, axis.output)?;
    let [firsts, ends] = [&table.firsts, &table.ends].map(|numbers| constant(dy.recorder(), numbers));
    Ok(apply(Gradient(axis), &[dy, lows, parts, firsts?, ends?])[0])
}

/// The sizes along an axis, and its first two tables.
fn tables(trace: Trace, rule: Rule, input: usize, output: usize) -> Result<(Axis, [Value; 2]), String> {
    let table = Table::new(rule, input, output)?;
    let axis = Axis { rule, input, output, whole: table.whole, most: table.most() };
    Ok((axis, [constant(trace, &table.lows)?, constant(trace, &table.parts)?]))
}

/// The value with `output` elements along an axis that it has.
#[track_caller]
fn along(value: Value, axis: usize, rule: Rule, output: usize) -> Result<Value, String> {
    let mut shape = value.shape().to_vec();
    let input = shape[axis];
    let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
    let (sizes, [lows, parts]) = tables(value.recorder(), rule, input, output)?;
    let rows: [usize; 3] = [outer, input, inner];
    let result = apply(Forward(sizes), &[value.reshape(rows), lows, parts])[0];
    shape[axis] = output;
    Ok(result.reshape(shape))
}

fn in_f32(value: Value) -> Result<(), String> {
    let dtype = value.dtype();
    if dtype == DType::F32 { Ok(()) } else { Err(format!("it is for f32, not {dtype:?}; cast it first")) }
}

/// What `upsample1d` and `upsample2d` have in common.
#[track_caller]
fn upsample<const N: usize>(
    value: Value,
    extent: Extent<N>,
    mode: Resample,
    align_corners: bool,
) -> Result<Value, String> {
    in_f32(value)?;
    let shape = value.shape();
    if shape.rank() != N + 2 {
        let field = if N == 1 { "length" } else { "height, width" };
        return Err(format!("the input must be [batch, channels, {field}], not {shape}"));
    }
    if align_corners && mode == Resample::Nearest {
        return Err("corners are aligned in linear interpolation only: leave align_corners out, or take Linear".into());
    }
    let mut axes = Vec::new();
    for place in 0..N {
        let input = shape[2 + place];
        let (output, step) = match extent {
            Extent::Size(sizes) => (sizes[place], Ratio::new(input as u64, sizes[place].max(1) as u64)),
            Extent::Factor(factors) => {
                let factor = factors[place];
                if !(factor.is_finite() && factor > 0.0) {
                    return Err(format!("the factor must be a positive number, not {factor}"));
                }
                let Ratio { above, below } = Ratio::nearest(factor);
                ((input as f64 * factor).floor() as usize, Ratio { above: below, below: above })
            }
        };
        if output == 0 {
            return Err(format!("{extent:?} leaves nothing of {shape}"));
        }
        let rule = match mode {
            Resample::Nearest => Rule::Nearest { step },
            Resample::Linear if align_corners => Rule::Corners,
            Resample::Linear => Rule::Linear { step },
        };
        axes.push((2 + place, rule, input, output));
    }
    // What grows least comes first, so that little is made for the next axis; of equals the inner one.
    axes.sort_by(|a, b| (a.3 as f64 / a.2 as f64).total_cmp(&(b.3 as f64 / b.2 as f64)).then(b.0.cmp(&a.0)));
    // With as many results as inputs nothing moves. PyTorch has one exception: a factor a little above 1 stretches
    // sequences that take the nearest.
    let moves = |rule: &Rule, input: usize, output: usize| match rule {
        Rule::Nearest { step } if N == 1 => input != output || step.above != step.below,
        _ => input != output,
    };
    axes.retain(|(_, rule, input, output)| moves(rule, *input, *output));
    axes.into_iter().try_fold(value, |value, (axis, rule, _, output)| along(value, axis, rule, output))
}

/// The result, or the value itself once the mistake is noted.
#[track_caller]
fn noted(value: Value, what: &str, result: Result<Value, String>) -> Value {
    result.unwrap_or_else(|message| {
        value.recorder().fail(what, message);
        value
    })
}

impl Value {
    /// `(batch, channels, height, width)` with another height and width, all `f32`. With
    /// `align_corners`, which is for linear interpolation, the centres of the corner elements stay where they are; without it
    /// the corners of the image do. `torch.nn.functional.interpolate` with `mode="nearest"` or `"bilinear"`, of a
    /// size or a scale factor, which counts as given (`recompute_scale_factor=None`).
    ///
    /// Places are computed in whole numbers: where PyTorch's rounding of one in `f32` takes the element before the nearest,
    /// this does not.
    #[track_caller]
    pub fn upsample2d(self, extent: Extent<2>, mode: Resample, align_corners: bool) -> Value {
        noted(self, "upsample2d", upsample(self, extent, mode, align_corners))
    }

    /// The same over one dimension: `(batch, channels, length)`. `torch.nn.functional.interpolate` with `mode="nearest"`
    /// or `"linear"`.
    #[track_caller]
    pub fn upsample1d(self, extent: Extent<1>, mode: Resample, align_corners: bool) -> Value {
        noted(self, "upsample1d", upsample(self, extent, mode, align_corners))
    }

    /// The elements of an `f32` tensor in reverse order along some axes. `torch.flip`.
    #[track_caller]
    pub fn flip(self, axes: &[usize]) -> Value {
        let flipped = check_axes(axes, &self.shape()).and_then(|()| in_f32(self)).and_then(|()| {
            let long = axes.iter().filter(|&&axis| self.shape()[axis] > 1);
            long.into_iter().try_fold(self, |value, &axis| along(value, axis, Rule::Reversed, value.shape()[axis]))
        });
        noted(self, "flip", flipped)
    }
}
