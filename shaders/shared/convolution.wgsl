// The parameters that all kernels of convolutions share, and the places of channels. Sizes count what one launch
// works on; strides and offsets are in elements. Channels are counted within their group.

const KERNEL_HEIGHT: u32 = 1u;
const KERNEL_WIDTH: u32 = 1u;
const STRIDE_Y: u32 = 1u;
const STRIDE_X: u32 = 1u;
const CONTINUE: u32 = 0u; // 1: the result holds the sums over earlier depths, which are gone on from

const KERNEL_AREA: u32 = KERNEL_HEIGHT * KERNEL_WIDTH;

struct Parameters {
    batch: u32,
    groups: u32,
    inputs: u32, // channels of the input
    outputs: u32, // channels of the output
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    before_y: u32, // padding
    before_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    first_depth: u32, // the part of the sums
    depth_end: u32,
    input_batch_stride: u32,
    input_group_stride: u32,
    output_batch_stride: u32,
    output_group_stride: u32,
    weight_group_stride: u32,
    weight_output_stride: u32,
    input_offset: u32,
    output_offset: u32,
    weight_offset: u32,
}

fn input_area() -> u32 {
    return parameters.input_height * parameters.input_width;
}

fn output_area() -> u32 {
    return parameters.output_height * parameters.output_width;
}

// Where a group of channels of an image of the input begins.
fn input_start(image: u32, channel_group: u32) -> u32 {
    let place = image * parameters.input_batch_stride + channel_group * parameters.input_group_stride;
    return parameters.input_offset + place;
}

// Where a group of channels of an image of the output begins.
fn output_start(image: u32, channel_group: u32) -> u32 {
    let place = image * parameters.output_batch_stride + channel_group * parameters.output_group_stride;
    return parameters.output_offset + place;
}

// Where the weights of a group of channels begin.
fn weight_start(channel_group: u32) -> u32 {
    return parameters.weight_offset + channel_group * parameters.weight_group_stride;
}
