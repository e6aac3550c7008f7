// Elements by index along one axis, of four bytes each. An index out of range gives NaN.
//
// The input may come in several launches, the one with its first places first: each later one writes only what it finds
// in its places.
//
// One invocation copies one element; outer * count * inner invocations, in workgroups folded in two dimensions.

const WIDTH: u32 = 256u;

struct Parameters {
    outer: u32,
    size: u32, // places of the axis that are bound
    first_place: u32, // places before those
    count: u32, // indices along the axis
    inner: u32,
    axis_stride: u32, // between neighbours along the axis, of all operands
    input_outer_stride: u32,
    output_outer_stride: u32, // of the indices, too
    input_offset: u32,
    indices_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<u32>; // (outer, size, inner)
@group(0) @binding(1) var<storage, read> indices: array<u32>; // (outer, count, inner)
@group(0) @binding(2) var<storage, read_write> output: array<u32>; // (outer, count, inner)
@group(0) @binding(3) var<uniform> parameters: Parameters;

@compute @workgroup_size(WIDTH)
fn gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    let column = element % parameters.inner;
    let row = element / parameters.inner;
    let outer = row / parameters.count;
    if (outer >= parameters.outer) {
        return;
    }
    let along = (row % parameters.count) * parameters.axis_stride + column;
    let chosen = outer * parameters.output_outer_stride + along;
    // An index before the places bound wraps round to a large number.
    let place = indices[parameters.indices_offset + chosen] - parameters.first_place;
    var value = 0x7fc00000u;
    if (place < parameters.size) {
        let start = parameters.input_offset + outer * parameters.input_outer_stride;
        value = input[start + place * parameters.axis_stride + column];
    } else if (parameters.first_place > 0u) {
        return;
    }
    output[parameters.output_offset + chosen] = value;
}
