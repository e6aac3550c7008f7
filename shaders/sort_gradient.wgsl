// The gradient of sort: each element of dy goes to where it came from. The indices of a row are a permutation, so that
// every place is written once.
//
// One invocation moves one element of four bytes; rows * count invocations, in workgroups folded in two dimensions.

const WIDTH: u32 = 256u;

struct Parameters {
    rows: u32,
    size: u32, // places of a row that are bound
    first_place: u32, // places before those
    count: u32, // elements of a row that are bound
    stride: u32, // between rows
    dy_offset: u32,
    indices_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> dy: array<u32>; // (rows, count)
@group(0) @binding(1) var<storage, read> indices: array<u32>; // (rows, count)
@group(0) @binding(2) var<storage, read_write> output: array<u32>; // (rows, size)
@group(0) @binding(3) var<uniform> parameters: Parameters;

@compute @workgroup_size(WIDTH)
fn sort_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    let row = element / parameters.count;
    if (row >= parameters.rows) {
        return;
    }
    let start = row * parameters.stride;
    let column = start + element % parameters.count;
    // A place before those bound wraps round to a large number.
    let place = indices[parameters.indices_offset + column] - parameters.first_place;
    if (place < parameters.size) {
        output[parameters.output_offset + start + place] = dy[parameters.dy_offset + column];
    }
}
