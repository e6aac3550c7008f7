// The gradient of a convolution with one input channel in each group by its weight: dw[o, r, s] = sum over n, y, x of
// dy[n, o, y, x] * input[n, g, i, j] where g is the group of o, i = y·stride + r·dilation − before, and so for j;
// outside of the input are zeros.
//
// One workgroup computes one element; workgroups lie folded in two dimensions. It goes through the images in rounds of
// so many: each invocation sums every 256th place of them, a tree adds those up, and the first invocation adds the
// rounds in order. An invocation runs (places of a round / 256 + 9) loop iterations a round.

const WIDTH: u32 = 256u;
const ROUND: u32 = 1u; // images

@group(0) @binding(0) var<storage, read> input: array<f32>; // (batch, groups, height, width)
@group(0) @binding(1) var<storage, read> dy: array<f32>; // (batch, output channels, height, width)
@group(0) @binding(2) var<storage, read_write> dw: array<f32>; // (output channels, r, s)
@group(0) @binding(3) var<uniform> parameters: Parameters;

var<workgroup> partial: array<f32, WIDTH>;

//!include shared/convolution.wgsl

@compute @workgroup_size(WIDTH)
fn convolution_depthwise_weight_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = group.y * groups.x + group.x;
    if (element >= parameters.groups * parameters.outputs * KERNEL_AREA) {
        return;
    }
    let tap = element % KERNEL_AREA;
    let output_channel = element / KERNEL_AREA % parameters.outputs;
    let channel_group = element / KERNEL_AREA / parameters.outputs;
    let below = tap / KERNEL_WIDTH * parameters.dilation_y - parameters.before_y;
    let beside = tap % KERNEL_WIDTH * parameters.dilation_x - parameters.before_x;
    let to = weight_start(channel_group) + output_channel * parameters.weight_output_stride + tap;
    let area = output_area();
    var total = 0.0;
    if (CONTINUE == 1u) {
        total = dw[to];
    }
    for (var first = parameters.first_depth; first < parameters.depth_end; first += ROUND * area) {
        let end = min(first + ROUND * area, parameters.depth_end);
        var sum = 0.0;
        for (var depth = first + lane; depth < end; depth += WIDTH) {
            let image = depth / area;
            let place = depth % area;
            // A place before the first wraps round to a large number.
            let y = place / parameters.output_width * STRIDE_Y + below;
            let x = place % parameters.output_width * STRIDE_X + beside;
            var value = 0.0;
            if (y < parameters.input_height && x < parameters.input_width) {
                value = input[input_start(image, channel_group) + y * parameters.input_width + x];
            }
            sum += dy[output_start(image, channel_group) + output_channel * area + place] * value;
        }
        partial[lane] = sum;
        workgroupBarrier();
        for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
            if (lane < width) {
                partial[lane] += partial[lane + width];
            }
            workgroupBarrier();
        }
        // The next round writes to partial[0] by the same invocation, and nothing else is read here.
        if (lane == 0u) {
            total += partial[0];
        }
    }
    if (lane == 0u) {
        dw[to] = total;
    }
}
