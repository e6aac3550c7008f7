// Resampling along the middle one of three axes: each result is an input element, or lies between two neighbours.
//
// One invocation computes one result; outer · outputs · inner invocations, in workgroups folded in two dimensions.

const WIDTH: u32 = 256u;

struct Parameters {
    count: u32, // results
    outputs: u32, // results along the axis
    inner: u32,
    input_stride: u32, // elements from one outer index to the next
    output_stride: u32,
    row_stride: u32, // elements between neighbours along the axis
    input_offset: u32,
    lows_offset: u32,
    parts_offset: u32,
    output_offset: u32,
    whole: u32, // the distance of neighbours in the unit of parts
    inverse: f32, // 1 / whole
}

@group(0) @binding(0) var<storage, read> input: array<f32>; // (outer, size, inner)
@group(0) @binding(1) var<storage, read> lows: array<u32>; // (outputs): the input at or before each result
@group(0) @binding(2) var<storage, read> parts: array<u32>; // (outputs): how far beyond it the result lies
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // (outer, outputs, inner)
@group(0) @binding(4) var<uniform> parameters: Parameters;

@compute @workgroup_size(WIDTH)
fn resample(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    if (element >= parameters.count) {
        return;
    }
    let column = element % parameters.inner;
    let row = element / parameters.inner;
    let place = row % parameters.outputs;
    let outer = row / parameters.outputs;
    let low = lows[parameters.lows_offset + place];
    let part = parts[parameters.parts_offset + place];
    let start = parameters.input_offset + outer * parameters.input_stride + low * parameters.row_stride + column;
    var value = input[start];
    // A neighbour that does not count may be NaN, or not be there.
    if (part > 0u) {
        let near = f32(parameters.whole - part) * parameters.inverse;
        let far = f32(part) * parameters.inverse;
        value = value * near + input[start + parameters.row_stride] * far;
    }
    let end = outer * parameters.output_stride + place * parameters.row_stride + column;
    output[parameters.output_offset + end] = value;
}
