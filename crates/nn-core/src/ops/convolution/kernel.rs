//! How the operators of convolution are computed on both backends, and how exactly.

use super::{Forward, InputGradient, Sized3, Sizes, WeightGradient};
use crate::Error;
use crate::graph::{Accuracy, Arithmetic, CpuCall, GpuCall, GpuPiece, KernelOp, word};
use crate::ops::support::{flat_groups, for_precision, row_groups};
use crate::tensor::TensorType;
use crate::tensor::window::Axis;

/// Rows and columns of a product that one workgroup computes.
const TILE: usize = 64;

/// The longest part of a sum that one launch adds up: seventeen loop iterations for sixteen products stay within 65,535.
const PART: usize = 61_680;

/// Places that a workgroup of the direct weight gradient goes through in a round, about.
const ROUND: usize = 4096;

/// Which of the three it is that is computed from the two others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Result3 {
    Output,
    Input,
    Weight,
}

/// The axes that work is cut along, by place: images, groups, output and input channels of a group; whole are the areas
/// of input and output and the kernel.
const BATCH: usize = 0;
const OUTPUTS: usize = 2;
const INPUTS: usize = 3;

impl Result3 {
    fn shader(self, direct: bool) -> &'static str {
        match (self, direct) {
            (Result3::Output, false) => "convolution",
            (Result3::Input, false) => "convolution_input_gradient",
            (Result3::Weight, false) => "convolution_weight_gradient",
            (Result3::Output, true) => "convolution_depthwise",
            (Result3::Input, true) => "convolution_depthwise_input_gradient",
            (Result3::Weight, true) => "convolution_depthwise_weight_gradient",
        }
    }

    /// Which axis of the work is summed along, and how many products each of its places has.
    fn depth(self, sizes: &Sizes) -> (usize, usize) {
        let area = sizes.kernel[0] * sizes.kernel[1];
        match self {
            Result3::Output => (INPUTS, area),
            Result3::Input => (OUTPUTS, area),
            Result3::Weight => (BATCH, sizes.output[0] * sizes.output[1]),
        }
    }

    /// How many products make one element.
    fn terms(self, sizes: &Sizes) -> usize {
        let (axis, each) = self.depth(sizes);
        [sizes.batch, sizes.groups, sizes.outputs, sizes.inputs][axis] * each
    }
}

/// Whether the kernels that compute element by element are used: a group's product would have one row or depth 1.
fn is_direct(sizes: &Sizes) -> bool {
    sizes.inputs == 1
}

/// Images of a round of the direct weight gradient.
fn round(sizes: &Sizes) -> usize {
    (ROUND / (sizes.output[0] * sizes.output[1])).max(1)
}

fn types(call: &GpuCall) -> Vec<TensorType> {
    call.inputs.iter().map(|input| TensorType::new(input.dtype, input.layout.shape.clone())).collect()
}

/// The launches that compute one of the three.
fn launches(call: &mut GpuCall, sizes: &Sizes, result: Result3) -> Result<(), Error> {
    let area = |[height, width]: [usize; 2]| height * width;
    let [input, output, kernel] = [sizes.input, sizes.output, sizes.kernel].map(area);
    let Sizes { batch, groups, inputs, outputs, .. } = *sizes;
    let input_strides = [groups * inputs * input, inputs * input, 0, input, 1, 0, 0];
    let output_strides = [groups * outputs * output, outputs * output, output, 0, 0, 1, 0];
    let weight_strides = [0, outputs * inputs * kernel, inputs * kernel, kernel, 0, 0, 1];
    let [input_view, weight_view, output_view] = match result {
        Result3::Output => [0, 1, 2],
        Result3::Input => [2, 1, 0],
        Result3::Weight => [0, 2, 1],
    };
    let mut strides = [[0; 7]; 3];
    strides[input_view] = input_strides;
    strides[output_view] = output_strides;
    strides[weight_view] = weight_strides;
    let views = [0, 1, 2].map(|place| call.view(place, strides[place]));
    // Pieces along what is summed add to what the one before left, in the same order as in one launch.
    let whole = [input, output, kernel].map(Axis::whole);
    let images = match result {
        Result3::Weight if is_direct(sizes) => Axis::in_steps(batch, round(sizes)),
        _ => Axis::any(batch),
    };
    let channels = [Axis::in_steps(outputs, TILE), Axis::in_steps(inputs, TILE)];
    let axes = [images, Axis::any(groups), channels[0], channels[1], whole[0], whole[1], whole[2]];
    let (summed, each) = result.depth(sizes);
    for piece in call.cut(&axes, &views)? {
        let depth = piece.sizes[summed] * each;
        // Rounds of the direct weight gradient stay whole.
        let part = match result {
            Result3::Weight if is_direct(sizes) => {
                let round = round(sizes) * each;
                round * (PART / (round.div_ceil(256) + 9)).max(1)
            }
            _ => PART,
        };
        for first in (0..depth).step_by(part) {
            let end = depth.min(first + part);
            let offsets = [input_view, output_view, weight_view].map(|view| piece.offsets[view]);
            let goes_on = piece.starts[summed] > 0 || first > 0;
            launch(call, sizes, result, &piece, offsets, [first, end], goes_on)?;
        }
    }
    Ok(())
}

/// One launch: a piece of the work, and a part of its sums.
fn launch(
    call: &mut GpuCall,
    sizes: &Sizes,
    result: Result3,
    piece: &GpuPiece,
    [input_offset, output_offset, weight_offset]: [u32; 3],
    [first, end]: [usize; 2],
    goes_on: bool,
) -> Result<(), Error> {
    let [batch, groups, outputs, inputs] = [0, 1, 2, 3].map(|axis| piece.sizes[axis]);
    let area = |[height, width]: [usize; 2]| height * width;
    let [input, output, kernel] = [sizes.input, sizes.output, sizes.kernel].map(area);
    let size = |number: usize| word(number, "a size");
    let direct = is_direct(sizes);
    let mut constants = vec![
        ("KERNEL_HEIGHT", size(sizes.kernel[0])?),
        ("KERNEL_WIDTH", size(sizes.kernel[1])?),
        ("STRIDE_Y", size(sizes.stride[0])?),
        ("STRIDE_X", size(sizes.stride[1])?),
        ("CONTINUE", u32::from(goes_on)),
    ];
    // What is computed: elements of the result, or columns of the product and its rows.
    let (elements, rows, columns) = match result {
        Result3::Output => (batch * groups * outputs * output, outputs, batch * output),
        Result3::Input => (batch * groups * inputs * input, inputs, batch * input),
        Result3::Weight => (groups * outputs * inputs * kernel, outputs, inputs * kernel),
    };
    word(elements.max(columns), "the number of elements")?;
    let depth = end - first;
    let (grid, loops) = match result {
        Result3::Weight if direct => {
            constants.push(("ROUND", size(round(sizes))?));
            let round = round(sizes) * output;
            let rounds = depth.div_ceil(round);
            (row_groups(elements)?, rounds * (round.min(depth).div_ceil(256) + 9))
        }
        _ if direct => (flat_groups(elements)?, depth),
        _ => (row_groups(rows.div_ceil(TILE) * columns.div_ceil(TILE) * groups)?, depth.div_ceil(16) * 17),
    };
    let stride = |number: usize| word(number, "a stride");
    call.launch(
        result.shader(direct),
        &constants,
        &[
            ("batch", size(batch)?.into()),
            ("groups", size(groups)?.into()),
            ("inputs", size(inputs)?.into()),
            ("outputs", size(outputs)?.into()),
            ("input_height", size(sizes.input[0])?.into()),
            ("input_width", size(sizes.input[1])?.into()),
            ("output_height", size(sizes.output[0])?.into()),
            ("output_width", size(sizes.output[1])?.into()),
            ("before_y", size(sizes.before[0])?.into()),
            ("before_x", size(sizes.before[1])?.into()),
            ("dilation_y", size(sizes.dilation[0])?.into()),
            ("dilation_x", size(sizes.dilation[1])?.into()),
            ("first_depth", word(first, "the depth")?.into()),
            ("depth_end", word(end, "the depth")?.into()),
            ("input_batch_stride", stride(sizes.groups * sizes.inputs * input)?.into()),
            ("input_group_stride", stride(sizes.inputs * input)?.into()),
            ("output_batch_stride", stride(sizes.groups * sizes.outputs * output)?.into()),
            ("output_group_stride", stride(sizes.outputs * output)?.into()),
            ("weight_group_stride", stride(sizes.outputs * sizes.inputs * kernel)?.into()),
            ("weight_output_stride", stride(sizes.inputs * kernel)?.into()),
            ("input_offset", input_offset.into()),
            ("output_offset", output_offset.into()),
            ("weight_offset", weight_offset.into()),
        ],
        &piece.windows,
        grid,
    )?;
    call.loops(loops);
    Ok(())
}

/// What makes a kernel of an operator whose sizes follow from its inputs.
macro_rules! kernels {
    ($($op:ident: $result:ident by $function:ident;)*) => {
        $(impl KernelOp for $op {
            fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
                let shape = |place: usize| call.inputs[place].layout.shape.clone();
                let kinds = [0, 1].map(|place| TensorType::new(crate::tensor::DType::F32, shape(place)));
                let sizes = self.sizes(&kinds).map_err(Error::Internal)?;
                for_precision!(call.precision, T => {
                    let [a, b] = [0, 1].map(|place| call.inputs[place].elements::<T>());
                    cpu_reference::$function(&sizes, a, b, call.output::<T>(0));
                });
                Ok(())
            }

            fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
                let sizes = self.sizes(&types(call)).map_err(Error::Internal)?;
                launches(call, &sizes, Result3::$result)
            }

            // As many as forward has, whichever of the three: with a stride an element of the input meets fewer weights than
            // there are.
            fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
                self.sizes(inputs).map_or(0, |sizes| {
                    let places = sizes.batch * sizes.groups * sizes.outputs * sizes.output[0] * sizes.output[1];
                    2 * (places * sizes.inputs * sizes.kernel[0] * sizes.kernel[1]) as u64
                })
            }

            fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
                self.sizes(inputs).map_or(Accuracy::UNKNOWN, |sizes| accuracy(&sizes, Result3::$result, arithmetic))
            }
        })*
    };
}

kernels! {
    Forward: Output by convolution;
    InputGradient: Input by convolution_input_gradient;
    WeightGradient: Weight by convolution_weight_gradient;
}

fn accuracy(sizes: &Sizes, result: Result3, arithmetic: Arithmetic) -> Accuracy {
    let terms = result.terms(sizes);
    let roundings = match (result, arithmetic) {
        // Every 256th place of a round, a tree of eight levels, and the rounds one after the other.
        (Result3::Weight, Arithmetic::Gpu) if is_direct(sizes) => {
            let area = sizes.output[0] * sizes.output[1];
            let images = round(sizes).min(sizes.batch);
            (images * area).div_ceil(256) + 8 + sizes.batch.div_ceil(images)
        }
        // One product after the other: each is rounded, and each addition but the first, which is to 0.
        _ => terms,
    };
    Accuracy::sum(arithmetic, terms, roundings)
}
