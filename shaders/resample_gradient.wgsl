// The gradient of resampling along the middle one of three axes: for each input element the weighted sum of the gradients of
// the results that it takes part in, which are neighbours.
//
// One invocation computes one sum; outer · inputs · inner invocations, in workgroups folded in two dimensions.

const WIDTH: u32 = 256u;
const CONTINUE: u32 = 0u; // 1: the result holds the sums over earlier results, which are gone on from

struct Parameters {
    count: u32, // sums
    inputs: u32, // input elements along the axis
    first_input: u32, // which of the axis is the first
    outputs: u32, // results along the axis that this launch sums over
    first_output: u32, // which of the axis is the first
    inner: u32,
    dy_stride: u32, // elements from one outer index to the next
    dx_stride: u32,
    row_stride: u32, // elements between neighbours along the axis
    dy_offset: u32,
    lows_offset: u32,
    parts_offset: u32,
    firsts_offset: u32,
    ends_offset: u32,
    dx_offset: u32,
    whole: u32, // the distance of neighbours in the unit of parts
    inverse: f32, // 1 / whole
}

@group(0) @binding(0) var<storage, read> dy: array<f32>; // (outer, outputs, inner)
@group(0) @binding(1) var<storage, read> lows: array<u32>; // (outputs): the input at or before each result
@group(0) @binding(2) var<storage, read> parts: array<u32>; // (outputs): how far beyond it the result lies
@group(0) @binding(3) var<storage, read> firsts: array<u32>; // (inputs): the first result that an input takes part in
@group(0) @binding(4) var<storage, read> ends: array<u32>; // (inputs): the one after the last
@group(0) @binding(5) var<storage, read_write> dx: array<f32>; // (outer, inputs, inner)
@group(0) @binding(6) var<uniform> parameters: Parameters;

@compute @workgroup_size(WIDTH)
fn resample_gradient(
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
    let place = row % parameters.inputs;
    let outer = row / parameters.inputs;
    let input = parameters.first_input + place;
    let first = parameters.first_output;
    let begin = max(firsts[parameters.firsts_offset + place], first);
    let end = min(ends[parameters.ends_offset + place], first + parameters.outputs);
    let start = parameters.dy_offset + outer * parameters.dy_stride + column;
    let target_place =
        parameters.dx_offset + outer * parameters.dx_stride + place * parameters.row_stride + column;
    var sum = 0.0;
    if (CONTINUE == 1u) {
        sum = dx[target_place];
    }
    for (var result = begin; result < end; result++) {
        let index = result - first;
        let part = parts[parameters.parts_offset + index];
        let is_near = lows[parameters.lows_offset + index] == input;
        let weight = f32(select(part, parameters.whole - part, is_near)) * parameters.inverse;
        sum += dy[start + index * parameters.row_stride] * weight;
    }
    dx[target_place] = sum;
}
