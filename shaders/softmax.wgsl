// Softmax of rows: exp(x - max) / sum of exp(x - max).
//
// One workgroup computes one row: its maximum, its sum, its values. A row with a NaN, with +infinity,
// or of -infinity only is NaN. `rows` workgroups, folded in two dimensions.

const WIDTH: u32 = 256u; // a power of two

struct Parameters {
    rows: u32,
    columns: u32,
    input_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<f32>; // (rows, columns)
@group(0) @binding(1) var<storage, read_write> output: array<f32>; // (rows, columns)
@group(0) @binding(2) var<uniform> parameters: Parameters;

//!include shared/numbers.wgsl
//!include shared/row.wgsl

@compute @workgroup_size(WIDTH)
fn softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if (row >= parameters.rows) {
        return;
    }
    let columns = parameters.columns;
    let input_start = parameters.input_offset + row * columns;
    let output_start = parameters.output_offset + row * columns;

    var largest = -positive_infinity();
    for (var column = lane; column < columns; column += WIDTH) {
        largest = maximum(largest, input[input_start + column]);
    }
    largest = workgroup_maximum(lane, largest);

    var sum = 0.0;
    for (var column = lane; column < columns; column += WIDTH) {
        sum += exponential(input[input_start + column] - largest);
    }
    sum = workgroup_sum(lane, sum);

    let defined = is_finite(largest);
    for (var column = lane; column < columns; column += WIDTH) {
        let value = exponential(input[input_start + column] - largest) / sum;
        output[output_start + column] = select(not_a_number(), value, defined);
    }
}
