// Convolution with one input channel in each group: output[n, o, y, x] = sum over r, s of weight[o, r, s] * input[n, g,
// i, j] where g is the group of o, i = y·stride + r·dilation − before, and so for j; outside of the input are zeros.
//
// One invocation computes one element; workgroups lie folded in two dimensions. The depth goes over (r, s): a loop
// iteration each.

const WIDTH: u32 = 256u;

@group(0) @binding(0) var<storage, read> input: array<f32>; // (batch, groups, height, width)
@group(0) @binding(1) var<storage, read> weight: array<f32>; // (output channels, r, s)
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // (batch, output channels, height, width)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/convolution.wgsl

@compute @workgroup_size(WIDTH)
fn convolution_depthwise(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    let area = output_area();
    if (element >= parameters.batch * parameters.groups * parameters.outputs * area) {
        return;
    }
    let place = element % area;
    let plane = element / area;
    let output_channel = plane % parameters.outputs;
    let channel_group = plane / parameters.outputs % parameters.groups;
    let image = plane / parameters.outputs / parameters.groups;
    let source = input_start(image, channel_group);
    let to = output_start(image, channel_group) + output_channel * area + place;
    let weights = weight_start(channel_group) + output_channel * parameters.weight_output_stride;
    let top = place / parameters.output_width * STRIDE_Y - parameters.before_y;
    let left = place % parameters.output_width * STRIDE_X - parameters.before_x;
    var sum = 0.0;
    if (CONTINUE == 1u) {
        sum = output[to];
    }
    for (var tap = parameters.first_depth; tap < parameters.depth_end; tap++) {
        // A place before the first wraps round to a large number.
        let y = top + tap / KERNEL_WIDTH * parameters.dilation_y;
        let x = left + tap % KERNEL_WIDTH * parameters.dilation_x;
        var value = 0.0;
        if (y < parameters.input_height && x < parameters.input_width) {
            value = input[source + y * parameters.input_width + x];
        }
        sum += weight[weights + tap] * value;
    }
    output[to] = sum;
}
