// Rows of a table by index. An index out of range gives a row of NaN.
//
// A table may come in several launches, the one with its first rows first: each later one writes only what it finds in
// its rows.
//
// One invocation copies one element; count * width invocations, in workgroups folded in two dimensions.

const WIDTH: u32 = 256u;

struct Parameters {
    vocabulary: u32,
    first_row: u32, // rows of the table before those bound
    width: u32,
    count: u32,
    table_offset: u32,
    indices_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> table: array<f32>; // (vocabulary, width)
@group(0) @binding(1) var<storage, read> indices: array<u32>; // (count)
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // (count, width)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/numbers.wgsl

@compute @workgroup_size(WIDTH)
fn gather_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    if (element >= parameters.count * parameters.width) {
        return;
    }
    let row = element / parameters.width;
    let column = element % parameters.width;
    // An index before the rows bound wraps round to a large number.
    let place = indices[parameters.indices_offset + row] - parameters.first_row;
    var value = not_a_number();
    if (place < parameters.vocabulary) {
        value = table[parameters.table_offset + place * parameters.width + column];
    } else if (parameters.first_row > 0u) {
        return;
    }
    output[parameters.output_offset + element] = value;
}
