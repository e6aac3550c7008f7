//! Pooling over one or two dimensions: the largest element or the mean of each window, and their gradients.

mod kernel;
mod samples;
mod values;

use crate::graph::{Backward, Op, OpKind, Value, apply, apply_many};
use crate::ops::support::one;
use crate::tensor::{DType, Shape, TensorType};
use cpu_reference::{Divisor, PoolAxis, Windows};

pub(super) use samples::add_samples;

/// The operators of this family.
pub(super) const NAMES: &[&str] =
    &["max_pool", "max_pool_gradient", "max_pool_gather", "average_pool", "average_pool_gradient"];

/// Windows that move over the last two dimensions of an input, (height, width).
///
/// ```
/// use nn_core::ops::PoolOptions;
/// let halving = PoolOptions { stride: [2, 2], padding: [1, 1], ..PoolOptions::new([3, 3]) };
/// assert_eq!(PoolOptions::new([3, 3]).stride, [3, 3]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolOptions {
    /// Elements of a window.
    pub kernel: [usize; 2],
    /// Elements of the input from window to window.
    pub stride: [usize; 2],
    /// Elements before the input and after it that windows may have, at most half of the kernel: nothing for the
    /// maximum, zeros for the mean.
    pub padding: [usize; 2],
    /// Elements of the input between neighbours in a window; 1 for the mean.
    pub dilation: [usize; 2],
    /// Whether a last window that reaches beyond the padded input is kept, if it begins within the input or the padding
    /// before it.
    pub ceil_mode: bool,
    /// Whether the mean counts the padding.
    pub count_include_pad: bool,
    /// What the mean divides by instead of the number of elements. `divisor_override` of PyTorch.
    pub divisor: Option<usize>,
}

impl PoolOptions {
    /// Windows side by side, as PyTorch's by default: no padding, dilation 1, means that count padding.
    pub const fn new(kernel: [usize; 2]) -> PoolOptions {
        PoolOptions {
            kernel,
            stride: kernel,
            padding: [0, 0],
            dilation: [1, 1],
            ceil_mode: false,
            count_include_pad: true,
            divisor: None,
        }
    }

    /// The same along the width, and nothing special along a height of 1.
    fn of_rows(&self) -> PoolOptions {
        let [kernel, stride, dilation] = [self.kernel, self.stride, self.dilation].map(|pair| [1, pair[1]]);
        PoolOptions { kernel, stride, padding: [0, self.padding[1]], dilation, ..*self }
    }

    /// The windows over an input of this height and width.
    fn axes(&self, size: [usize; 2], names: [&str; 2]) -> Result<[PoolAxis; 2], String> {
        let axes = [self.axis(0, size[0], names[0])?, self.axis(1, size[1], names[1])?];
        check_area(&axes).map(|()| axes)
    }

    fn axis(&self, axis: usize, input: usize, name: &str) -> Result<PoolAxis, String> {
        let [kernel, stride, padding, dilation] =
            [self.kernel, self.stride, self.padding, self.dilation].map(|pair| pair[axis]);
        if kernel == 0 || stride == 0 || dilation == 0 {
            let given = format!("{kernel}, {stride} and {dilation}");
            return Err(format!("kernel, stride and dilation must be at least 1, but for the {name} they are {given}"));
        }
        if padding > kernel / 2 {
            return Err(format!(
                "the padding {padding} of the {name} must be at most half of the kernel's {kernel} elements"
            ));
        }
        let reach = dilation.saturating_mul(kernel - 1).saturating_add(1);
        let padded = input.saturating_add(2 * padding);
        if [reach, padded, stride].into_iter().any(|size| size > i32::MAX as usize) {
            return Err(format!("a {name} of {input} with these windows is beyond what a kernel can address"));
        }
        let room = padded as i64 - reach as i64 + if self.ceil_mode { stride as i64 - 1 } else { 0 };
        if room < 0 {
            return Err(format!(
                "the input is smaller than a window: its {name} is {input}, {padded} with padding, and the window's \
                 {kernel} elements at a dilation of {dilation} reach over {reach}; pool less, or use a smaller kernel"
            ));
        }
        let mut output = room as usize / stride + 1;
        if self.ceil_mode && (output - 1) * stride >= input + padding {
            output -= 1;
        }
        let axis = PoolAxis { input, output, windows: Windows::Regular { kernel, stride, padding, dilation } };
        // Windows without gaps always reach into the input.
        let empty = if dilation == 1 { None } else { (0..output).find(|&window| axis.window(window).1 == 0) };
        match empty {
            Some(window) => Err(format!(
                "window {window} along the {name} of {input} has nothing but padding, since its dilation is {dilation}; \
                 use less padding or dilation"
            )),
            None => Ok(axis),
        }
    }

    fn divisor(&self) -> Result<Divisor, String> {
        if self.dilation != [1, 1] {
            return Err(format!("means are over windows without gaps, but the dilation is {:?}", self.dilation));
        }
        match self.divisor {
            Some(given) => match u32::try_from(given) {
                Ok(given) if given > 0 => Ok(Divisor::Given(given)),
                _ => Err(format!("the divisor must be from 1 to {}, not {given}", u32::MAX)),
            },
            None if self.count_include_pad => Ok(Divisor::Padded),
            None => Ok(Divisor::Inside),
        }
    }
}

/// So many windows over an input of this height and width, of about equal size.
fn adaptive(size: [usize; 2], output: [usize; 2]) -> Result<[PoolAxis; 2], String> {
    if output.contains(&0) {
        return Err(format!("the size must be at least 1, not {output:?}"));
    }
    for (input, output) in size.into_iter().zip(output) {
        // The kernels multiply places of one by sizes of the other.
        let product = (input.saturating_add(1)).saturating_mul(output.saturating_add(1));
        if product.saturating_add(input.max(output)) > u32::MAX as usize {
            return Err(format!("pooling {input} elements to {output} is beyond what a kernel can address"));
        }
    }
    let axes = [0, 1].map(|axis| PoolAxis { input: size[axis], output: output[axis], windows: Windows::Adaptive });
    check_area(&axes).map(|()| axes)
}

fn check_area(axes: &[PoolAxis; 2]) -> Result<(), String> {
    let area = axes[0].input.saturating_mul(axes[1].input);
    if area > u32::MAX as usize {
        return Err(format!("a plane of {area} elements is beyond what a kernel can address"));
    }
    Ok(())
}

/// `x` → the largest element of each window, and its place in its plane.
#[derive(Debug)]
struct MaxPool([PoolAxis; 2]);

/// `dy, indices → dx` of [`MaxPool`].
#[derive(Debug)]
struct MaxPoolGradient([PoolAxis; 2]);

/// `x, indices →` the elements at those places.
#[derive(Debug)]
struct MaxPoolGather([PoolAxis; 2]);

/// `x` → the sum over each window, divided.
#[derive(Debug)]
struct AveragePool([PoolAxis; 2], Divisor);

/// `dy → dx` of [`AveragePool`].
#[derive(Debug)]
struct AveragePoolGradient([PoolAxis; 2], Divisor);

/// The shape beside the windows; the given one is of the planes before pooling, or after it.
fn pooled(input: &TensorType, axes: &[PoolAxis; 2], backward: bool) -> Result<Shape, String> {
    if input.dtype != DType::F32 {
        return Err(format!("it is for f32, not {input}; cast it first"));
    }
    let sizes = [axes.map(|axis| axis.input), axes.map(|axis| axis.output)];
    let (from, to) = if backward { (sizes[1], sizes[0]) } else { (sizes[0], sizes[1]) };
    match input.shape[..] {
        [batch, channels, height, width] if [height, width] == from => Ok(Shape::from([batch, channels, to[0], to[1]])),
        _ => Err(format!("the input must be [batch, channels, {}, {}], not {}", from[0], from[1], input.shape)),
    }
}

fn check_indices(indices: &TensorType, shape: &Shape) -> Result<(), String> {
    let wanted = TensorType::new(DType::U32, shape.clone());
    if *indices == wanted { Ok(()) } else { Err(format!("the indices must be {wanted}, not {indices}")) }
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        NAMES[0]
    }

    fn attributes(&self) -> String {
        format!("{:?}", self.0)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let shape = pooled(&inputs[0], &self.0, false)?;
        Ok(vec![TensorType::new(DType::F32, shape.clone()), TensorType::new(DType::U32, shape)])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let dx = |dy| apply(MaxPoolGradient(self.0), &[dy, backward.outputs[1]])[0];
        vec![backward.gradients[0].map(dx)]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Op for MaxPoolGradient {
    fn name(&self) -> &'static str {
        NAMES[1]
    }

    fn attributes(&self) -> String {
        format!("{:?}", self.0)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        check_indices(&inputs[1], &inputs[0].shape)?;
        one(DType::F32, pooled(&inputs[0], &self.0, true)?)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(apply(MaxPoolGather(self.0), &[backward.dy(), backward.inputs[1]])[0]), None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Op for MaxPoolGather {
    fn name(&self) -> &'static str {
        NAMES[2]
    }

    fn attributes(&self) -> String {
        format!("{:?}", self.0)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let shape = pooled(&inputs[0], &self.0, false)?;
        check_indices(&inputs[1], &shape)?;
        one(DType::F32, shape)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(apply(MaxPoolGradient(self.0), &[backward.dy(), backward.inputs[1]])[0]), None]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Op for AveragePool {
    fn name(&self) -> &'static str {
        NAMES[3]
    }

    fn attributes(&self) -> String {
        format!("{:?} by {:?}", self.0, self.1)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        one(DType::F32, pooled(&inputs[0], &self.0, false)?)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(apply(AveragePoolGradient(self.0, self.1), &[backward.dy()])[0])]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Op for AveragePoolGradient {
    fn name(&self) -> &'static str {
        NAMES[4]
    }

    fn attributes(&self) -> String {
        format!("{:?} by {:?}", self.0, self.1)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        one(DType::F32, pooled(&inputs[0], &self.0, true)?)
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(apply(AveragePool(self.0, self.1), &[backward.dy()])[0])]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

fn max_pool(axes: [PoolAxis; 2], x: Value) -> [Value; 2] {
    apply_many(MaxPool(axes), &[x])
}

fn average_pool(axes: [PoolAxis; 2], divisor: Divisor, x: Value) -> Value {
    apply(AveragePool(axes, divisor), &[x])[0]
}
