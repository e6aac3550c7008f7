// The gradient of a convolution with one input channel in each group by its input: dx[n, g, i, j] = sum over the
// group's o and over r, s of weight[o, r, s] * dy[n, o, y, x] where y·stride + r·dilation = i + before, and so for x;
// where there is no such y or x, zeros.
//
// One invocation computes one element; workgroups lie folded in two dimensions. The depth goes over (o, r, s): a loop
// iteration each.

const WIDTH: u32 = 256u;

@group(0) @binding(0) var<storage, read> dy: array<f32>; // (batch, output channels, height, width)
@group(0) @binding(1) var<storage, read> weight: array<f32>; // (output channels, r, s)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // (batch, groups, height, width)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/convolution.wgsl

@compute @workgroup_size(WIDTH)
fn convolution_depthwise_input_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    let area = input_area();
    if (element >= parameters.batch * parameters.groups * area) {
        return;
    }
    let place = element % area;
    let channel_group = element / area % parameters.groups;
    let image = element / area / parameters.groups;
    let source = output_start(image, channel_group);
    let to = input_start(image, channel_group) + place;
    let weights = weight_start(channel_group);
    let bottom = place / parameters.input_width + parameters.before_y;
    let right = place % parameters.input_width + parameters.before_x;
    var sum = 0.0;
    if (CONTINUE == 1u) {
        sum = dx[to];
    }
    for (var depth = parameters.first_depth; depth < parameters.depth_end; depth++) {
        let channel = depth / KERNEL_AREA;
        let tap = depth % KERNEL_AREA;
        // Sizes are below 2³¹: a distance beyond is one below zero.
        let y = bottom - tap / KERNEL_WIDTH * parameters.dilation_y;
        let x = right - tap % KERNEL_WIDTH * parameters.dilation_x;
        let row = y / STRIDE_Y;
        let column = x / STRIDE_X;
        let ahead = y < 0x80000000u && x < 0x80000000u;
        var value = 0.0;
        if (ahead && y % STRIDE_Y == 0u && x % STRIDE_X == 0u) {
            if (row < parameters.output_height && column < parameters.output_width) {
                value = dy[source + channel * output_area() + row * parameters.output_width + column];
            }
        }
        sum += weight[weights + channel * parameters.weight_output_stride + tap] * value;
    }
    dx[to] = sum;
}
