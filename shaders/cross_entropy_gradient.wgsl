// The gradient of cross-entropy: (softmax(x) - one_hot(target)) * dloss, row by row.
//
// One workgroup computes one row. A target out of range gives a row of NaN, and so does a row with a
// NaN, with +infinity, or of -infinity only. `rows` workgroups, folded in two dimensions.

const WIDTH: u32 = 256u; // a power of two

struct Parameters {
    rows: u32,
    columns: u32,
    logits_offset: u32,
    targets_offset: u32,
    dloss_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>; // (rows, columns)
@group(0) @binding(1) var<storage, read> targets: array<u32>; // (rows)
@group(0) @binding(2) var<storage, read> dloss: array<f32>; // (rows)
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // (rows, columns)
@group(0) @binding(4) var<uniform> parameters: Parameters;

//!include shared/numbers.wgsl
//!include shared/row.wgsl

@compute @workgroup_size(WIDTH)
fn cross_entropy_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if (row >= parameters.rows) {
        return;
    }
    let columns = parameters.columns;
    let start = parameters.logits_offset + row * columns;

    var largest = -positive_infinity();
    for (var column = lane; column < columns; column += WIDTH) {
        largest = maximum(largest, logits[start + column]);
    }
    largest = workgroup_maximum(lane, largest);

    var sum = 0.0;
    for (var column = lane; column < columns; column += WIDTH) {
        sum += exponential(logits[start + column] - largest);
    }
    sum = workgroup_sum(lane, sum);

    let class_index = targets[parameters.targets_offset + row];
    let scale = dloss[parameters.dloss_offset + row];
    let defined = class_index < columns && is_finite(largest);
    let output_start = parameters.output_offset + row * columns;
    for (var column = lane; column < columns; column += WIDTH) {
        let probability = exponential(logits[start + column] - largest) / sum;
        let value = (probability - select(0.0, 1.0, column == class_index)) * scale;
        output[output_start + column] = select(not_a_number(), value, defined);
    }
}
