//! Convolution over one or two dimensions, its gradients, and the transposed convolution, which is one of them.

mod kernel;
mod samples;

use crate::graph::{Backward, Op, OpKind, Value, apply};
use crate::ops::support::one;
use crate::tensor::{DType, Shape, TensorType};
use cpu_reference::Convolution as Sizes;

pub(super) use samples::add_samples;

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["convolution", "convolution_input_gradient", "convolution_weight_gradient"];

/// How a kernel moves over the last two dimensions of its input, (height, width).
///
/// ```
/// use nn_core::ops::Convolution;
/// let halving = Convolution { stride: [2, 2], padding: [(1, 1); 2], ..Convolution::default() };
/// assert_eq!(halving.groups, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Elements of the input between places of the kernel.
    pub stride: [usize; 2],
    /// Zeros before and after the input.
    pub padding: [(usize, usize); 2],
    /// Elements of the input between neighbours of the kernel.
    pub dilation: [usize; 2],
    /// Parts of the channels: each part of the output's is computed from the same part of the input's.
    pub groups: usize,
}

impl Default for Convolution {
    /// Stride 1, no padding, dilation 1, one group.
    fn default() -> Convolution {
        Convolution { stride: [1, 1], padding: [(0, 0); 2], dilation: [1, 1], groups: 1 }
    }
}

impl Convolution {
    /// The same along the width, and nothing special along a height of 1.
    fn of_rows(&self) -> Convolution {
        let plain = Convolution::default();
        Convolution {
            stride: [1, self.stride[1]],
            padding: [(0, 0), self.padding[1]],
            dilation: [1, self.dilation[1]],
            ..plain.grouped(self.groups)
        }
    }

    fn grouped(self, groups: usize) -> Convolution {
        Convolution { groups, ..self }
    }

    fn check(&self) -> Result<(), String> {
        let [stride, dilation] = [self.stride, self.dilation];
        if stride.contains(&0) || dilation.contains(&0) || self.groups == 0 {
            let given = format!("{stride:?}, {dilation:?} and {}", self.groups);
            return Err(format!("stride, dilation and groups must be at least 1, but they are {given}"));
        }
        Ok(())
    }

    /// How many elements the kernel reaches over along an axis.
    fn reach(&self, axis: usize, kernel: usize) -> usize {
        self.dilation[axis].saturating_mul(kernel - 1).saturating_add(1)
    }

    /// The sizes of a convolution of `input` `(batch, channels, …)` with `weight` `(outputs, inputs of a group, …)`. Their
    /// dimensions beside batch and channels are the last ones of (height, width).
    fn sizes(&self, input: &[usize], weight: &[usize]) -> Result<Sizes, String> {
        self.check()?;
        let rank = input.len();
        let wanted = if rank == 3 { "[batch, channels, length]" } else { "[batch, channels, height, width]" };
        if !(3..=4).contains(&rank) {
            return Err(format!("the input must be {wanted}, not {}", Shape::from(input)));
        }
        if weight.len() != rank {
            let kernel = if rank == 3 { "length" } else { "height, width" };
            let weight = Shape::from(weight);
            return Err(format!("the weight must be [outputs, inputs of a group, {kernel}], not {weight}"));
        }
        let (channels, outputs, groups) = (input[1], weight[0], self.groups);
        if !channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(format!("{groups} groups don't divide {channels} input and {outputs} output channels"));
        }
        if channels / groups != weight[1] {
            return Err(format!(
                "the input {} has {channels} channels, but the weight {} takes {} in each of {groups} groups",
                Shape::from(input),
                Shape::from(weight),
                weight[1]
            ));
        }
        let mut sizes = Sizes {
            batch: input[0],
            groups,
            inputs: weight[1],
            outputs: outputs / groups,
            input: [1, 1],
            kernel: [1, 1],
            output: [1, 1],
            stride: self.stride,
            before: self.padding.map(|(before, _)| before),
            dilation: self.dilation,
        };
        for (place, axis) in (4 - rank..2).enumerate() {
            let (size, kernel) = (input[2 + place], weight[2 + place]);
            let (before, after) = self.padding[axis];
            let padded = size.saturating_add(before).saturating_add(after);
            let reach = self.reach(axis, kernel);
            let name = if rank == 3 { "length" } else { ["height", "width"][axis] };
            if padded > i32::MAX as usize || self.stride[axis] > i32::MAX as usize {
                return Err(format!("a {name} of {padded} with its padding is beyond what a kernel can address"));
            }
            if reach > padded {
                return Err(format!(
                    "the image is smaller than the kernel's reach: its {name} is {size}, {padded} with padding, and the \
                     kernel's {kernel} elements at a dilation of {} reach over {reach}; pad it, or use a smaller kernel",
                    self.dilation[axis]
                ));
            }
            sizes.input[axis] = size;
            sizes.kernel[axis] = kernel;
            sizes.output[axis] = (padded - reach) / self.stride[axis] + 1;
        }
        Ok(sizes)
    }

    /// The shape that a transposed convolution gives.
    fn transposed_shape(&self, input: &[usize], weight: &[usize], more: [usize; 2]) -> Result<Vec<usize>, String> {
        self.check()?;
        let rank = input.len();
        let wanted = if rank == 3 { "[batch, channels, length]" } else { "[batch, channels, height, width]" };
        if !(3..=4).contains(&rank) {
            return Err(format!("the input must be {wanted}, not {}", Shape::from(input)));
        }
        if weight.len() != rank {
            let kernel = if rank == 3 { "length" } else { "height, width" };
            let weight = Shape::from(weight);
            return Err(format!("the weight must be [inputs, outputs of a group, {kernel}], not {weight}"));
        }
        if input[1] != weight[0] || !input[1].is_multiple_of(self.groups) {
            let (shape, weight) = (Shape::from(input), Shape::from(weight));
            let groups = self.groups;
            return Err(format!(
                "the channels of the input {shape} must be those of the weight {weight}, and {groups} groups divide them"
            ));
        }
        let mut shape = vec![input[0], weight[1] * self.groups];
        for (place, axis) in (4 - rank..2).enumerate() {
            let (size, kernel, stride) = (input[2 + place], weight[2 + place], self.stride[axis]);
            let (before, after) = self.padding[axis];
            let name = if rank == 3 { "length" } else { ["height", "width"][axis] };
            if more[axis] >= stride {
                let more = more[axis];
                return Err(format!(
                    "the output padding {more} must be smaller than the stride {stride} of the {name}"
                ));
            }
            let reach = (size - 1).saturating_mul(stride).saturating_add(self.reach(axis, kernel));
            let padding = before.saturating_add(after);
            let result = reach.saturating_add(more[axis]).checked_sub(padding).filter(|&size| size > 0);
            let Some(result) = result else {
                return Err(format!("the padding ({before}, {after}) leaves nothing of a {name} of {reach}"));
            };
            shape.push(result);
        }
        Ok(shape)
    }
}

/// `input, weight → output`, all of four dimensions.
#[derive(Debug)]
struct Forward(Convolution);

/// `dy, weight → dx`: the gradient of [`Forward`] by an input of this height and width.
#[derive(Debug)]
struct InputGradient {
    options: Convolution,
    size: [usize; 2],
}

/// `input, dy → dw`: the gradient of [`Forward`] by a weight of this height and width.
#[derive(Debug)]
struct WeightGradient {
    options: Convolution,
    size: [usize; 2],
}

/// The three shapes of a convolution: (input, weight, output), given two of them.
trait Sized3 {
    fn sizes(&self, inputs: &[TensorType]) -> Result<Sizes, String>;
}

impl Sized3 for Forward {
    fn sizes(&self, inputs: &[TensorType]) -> Result<Sizes, String> {
        self.0.sizes(&inputs[0].shape, &inputs[1].shape)
    }
}

/// Both shapes, if they have four dimensions as everything that reaches a gradient has.
fn images(inputs: &[TensorType]) -> Result<[&[usize]; 2], String> {
    let [a, b] = [&inputs[0].shape, &inputs[1].shape];
    if a.rank() == 4 && b.rank() == 4 { Ok([a, b]) } else { Err(format!("{a} and {b} must have four dimensions")) }
}

/// The sizes, if the output has this shape.
fn with_output(sizes: Sizes, output: &[usize]) -> Result<Sizes, String> {
    let expected = [sizes.batch, sizes.groups * sizes.outputs, sizes.output[0], sizes.output[1]];
    if output == expected {
        return Ok(sizes);
    }
    Err(format!("the output's gradient is {}, but the output {}", Shape::from(output), Shape::from(expected)))
}

impl Sized3 for InputGradient {
    fn sizes(&self, inputs: &[TensorType]) -> Result<Sizes, String> {
        let [dy, weight] = images(inputs)?;
        let input = [dy[0], weight[1] * self.options.groups, self.size[0], self.size[1]];
        with_output(self.options.sizes(&input, weight)?, dy)
    }
}

impl Sized3 for WeightGradient {
    fn sizes(&self, inputs: &[TensorType]) -> Result<Sizes, String> {
        let [input, dy] = images(inputs)?;
        self.options.check()?;
        let weight = [dy[1], input[1] / self.options.groups, self.size[0], self.size[1]];
        with_output(self.options.sizes(input, &weight)?, dy)
    }
}

fn in_f32(inputs: &[TensorType]) -> Result<(), String> {
    match inputs.iter().find(|input| input.dtype != DType::F32) {
        Some(input) => Err(format!("it is for f32, not {input}; cast it first")),
        None => Ok(()),
    }
}

/// The last two sizes.
fn field(value: Value) -> [usize; 2] {
    let shape = value.shape();
    [shape[2], shape[3]]
}

fn forward(options: Convolution, input: Value, weight: Value) -> Value {
    apply(Forward(options), &[input, weight])[0]
}

fn input_gradient(options: Convolution, dy: Value, weight: Value, size: [usize; 2]) -> Value {
    apply(InputGradient { options, size }, &[dy, weight])[0]
}

fn weight_gradient(options: Convolution, input: Value, dy: Value, size: [usize; 2]) -> Value {
    apply(WeightGradient { options, size }, &[input, dy])[0]
}

impl Op for Forward {
    fn name(&self) -> &'static str {
        NAMES[0]
    }

    fn attributes(&self) -> String {
        format!("{:?}", self.0)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        in_f32(inputs)?;
        if inputs[0].shape.rank() != 4 {
            return Err(format!("the input must be [batch, channels, height, width], not {}", inputs[0].shape));
        }
        let sizes = self.sizes(inputs)?;
        one(DType::F32, [sizes.batch, sizes.groups * sizes.outputs, sizes.output[0], sizes.output[1]])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let (input, weight, dy) = (backward.inputs[0], backward.inputs[1], backward.dy());
        let dx = input_gradient(self.0, dy, weight, field(input));
        vec![Some(dx), Some(weight_gradient(self.0, input, dy, field(weight)))]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Op for InputGradient {
    fn name(&self) -> &'static str {
        NAMES[1]
    }

    fn attributes(&self) -> String {
        format!("{:?} of {:?}", self.options, self.size)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        in_f32(inputs)?;
        let sizes = self.sizes(inputs)?;
        one(DType::F32, [sizes.batch, sizes.groups * sizes.inputs, sizes.input[0], sizes.input[1]])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        // It is linear in both, with the same terms as the convolution: where that has the input, this has its gradient.
        let (dy, weight, input) = (backward.inputs[0], backward.inputs[1], backward.dy());
        let options = self.options;
        vec![Some(forward(options, input, weight)), Some(weight_gradient(options, input, dy, field(weight)))]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Op for WeightGradient {
    fn name(&self) -> &'static str {
        NAMES[2]
    }

    fn attributes(&self) -> String {
        format!("{:?} of {:?}", self.options, self.size)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        in_f32(inputs)?;
        let sizes = self.sizes(inputs)?;
        one(DType::F32, [sizes.groups * sizes.outputs, sizes.inputs, sizes.kernel[0], sizes.kernel[1]])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let (input, dy, weight) = (backward.inputs[0], backward.inputs[1], backward.dy());
        let options = self.options;
        vec![Some(input_gradient(options, dy, weight, field(input))), Some(forward(options, input, weight))]
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

/// The shape with a height of 1 before its last dimension, or without it.
fn raised(value: Value) -> Value {
    let shape = value.shape();
    value.reshape([shape[0], shape[1], 1, shape[2]])
}

fn lowered(value: Value) -> Value {
    let shape = value.shape();
    value.reshape([shape[0], shape[1], shape[3]])
}

impl Value {
    /// Each output channel is a sum over input channels and the places of a kernel that moves over height and width:
    /// `(batch, inputs, height, width)` with `weight` `(outputs, inputs/groups, kernel height, kernel width)` gives
    /// `(batch, outputs, ⌊(height + padding − dilation·(kernel − 1) − 1)/stride⌋ + 1, …)`, all `f32`. The kernel is not
    /// mirrored, and there is no bias: add it, and it fuses with what follows. `torch.nn.functional.conv2d`.
    #[track_caller]
    pub fn conv2d(self, weight: Value, options: &Convolution) -> Value {
        forward(*options, self, weight)
    }

    /// The same over one dimension: `(batch, inputs, length)` with `weight` `(outputs, inputs/groups, kernel length)`. Of
    /// the options the width's count. `torch.nn.functional.conv1d`.
    #[track_caller]
    pub fn conv1d(self, weight: Value, options: &Convolution) -> Value {
        let (shape, kernel, options) = (self.shape(), weight.shape(), options.of_rows());
        let fits = match shape.rank() {
            3 => options.sizes(&shape, &kernel).map(|_| ()),
            _ => Err(format!("the input must be [batch, channels, length], not {shape}")),
        };
        if let Err(message) = fits {
            self.recorder().fail("conv1d", message);
            return self;
        }
        lowered(forward(options, raised(self), raised(weight)))
    }

    /// The transposed convolution, which is the gradient of [`Value::conv2d`] by its input: each element spreads over the
    /// kernel's places. `(batch, inputs, height, width)` with `weight` `(inputs, outputs/groups, kernel height, kernel
    /// width)` gives `(batch, outputs, (height − 1)·stride − padding + dilation·(kernel − 1) + output padding + 1, …)`,
    /// all `f32`. An output padding, smaller than the stride, chooses among the heights that the convolution makes the
    /// same. `torch.nn.functional.conv_transpose2d`.
    #[track_caller]
    pub fn conv_transpose2d(self, weight: Value, options: &Convolution, output_padding: [usize; 2]) -> Value {
        let shape = self.shape();
        let result = match shape.rank() {
            4 => options.transposed_shape(&shape, &weight.shape(), output_padding),
            _ => Err(format!("the input must be [batch, channels, height, width], not {shape}")),
        };
        match result {
            Ok(result) => input_gradient(*options, self, weight, [result[2], result[3]]),
            Err(message) => {
                self.recorder().fail("conv_transpose2d", message);
                self
            }
        }
    }

    /// The same over one dimension: `(batch, inputs, length)` with `weight` `(inputs, outputs/groups, kernel length)`. Of
    /// the options the width's count. `torch.nn.functional.conv_transpose1d`.
    #[track_caller]
    pub fn conv_transpose1d(self, weight: Value, options: &Convolution, output_padding: usize) -> Value {
        let (shape, options) = (self.shape(), options.of_rows());
        let result = match shape.rank() {
            3 => options.transposed_shape(&shape, &weight.shape(), [0, output_padding]),
            _ => Err(format!("the input must be [batch, channels, length], not {shape}")),
        };
        match result {
            Ok(result) => lowered(input_gradient(options, raised(self), raised(weight), [1, result[2]])),
            Err(message) => {
                self.recorder().fail("conv_transpose1d", message);
                self
            }
        }
    }
}
