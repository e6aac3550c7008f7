// Cross-entropy of rows of logits with class numbers, and what its gradient needs of each row: its maximum and the sum of
// exp(x - max).
//
// The loss is log(sum) + max - x[target]; weighted and smoothed it is the sum of q * (log(sum) + max - x) over the
// classes, where q is weight * confidence at the target and weight * each everywhere. WIDTH / LANES rows a workgroup. A
// target out of range gives NaN, and so does a row with a NaN, with +infinity, or of -infinity only; an ignored one
// gives 0. The workgroups are folded in two dimensions.

const WIDTH: u32 = 256u; // invocations of a workgroup
const LANES: u32 = 256u; // those of a row: a power of two, at most WIDTH
const IGNORING: u32 = 0u; // 1 if there is a class whose rows are ignored
const SMOOTHING: u32 = 0u; // 1 if `each` is not 0
const WEIGHTED: u32 = 0u; // 1 if classes have weights: otherwise `weight` and `total` are not read

struct Parameters {
    rows: u32,
    columns: u32,
    ignored: u32,
    confidence: f32,
    each: f32,
    logits_offset: u32,
    targets_offset: u32,
    weight_offset: u32,
    total_offset: u32,
    loss_offset: u32,
    statistics_offset: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>; // (rows, columns)
@group(0) @binding(1) var<storage, read> targets: array<u32>; // (rows)
@group(0) @binding(2) var<storage, read> weight: array<f32>; // (columns)
@group(0) @binding(3) var<storage, read> total: array<f32>; // their sum
@group(0) @binding(4) var<storage, read_write> loss: array<f32>; // (rows)
@group(0) @binding(5) var<storage, read_write> statistics: array<f32>; // (rows, 2)
@group(0) @binding(6) var<uniform> parameters: Parameters;

//!include shared/numbers.wgsl
//!include shared/exponential.wgsl
//!include shared/row.wgsl
//!include shared/classes.wgsl

@compute @workgroup_size(WIDTH)
fn cross_entropy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let row = (group.y * groups.x + group.x) * (WIDTH / LANES) + invocation / LANES;
    let lane = invocation % LANES;
    // Invocations beyond the last row have nothing to do but to wait with the others.
    let columns = select(0u, parameters.columns, row < parameters.rows);
    let start = parameters.logits_offset + row * columns;

    var largest = -positive_infinity();
    for (var column = lane; column < columns; column += LANES) {
        largest = maximum(largest, logits[start + column]);
    }
    largest = row_maximum(invocation, largest);

    var sum = 0.0;
    var distances = 0.0;
    for (var column = lane; column < columns; column += LANES) {
        let distance = largest - logits[start + column];
        sum += exponential(-distance);
        if (SMOOTHING == 1u) {
            distances += weight_of(column) * distance;
        }
    }
    sum = row_sum(invocation, sum);
    if (SMOOTHING == 1u) {
        distances = row_sum(invocation, distances);
    }

    if (lane == 0u && row < parameters.rows) {
        let class_number = targets[parameters.targets_offset + row];
        let logarithm = log(sum);
        let target_class = min(class_number, columns - 1u);
        var value = own_weight(target_class) * ((largest - logits[start + target_class]) + logarithm);
        if (SMOOTHING == 1u) {
            value += parameters.each * (distances + weight_of_all(columns) * logarithm);
        }
        let defined = is_finite(largest);
        value = select(not_a_number(), value, defined && class_number < columns);
        loss[parameters.loss_offset + row] = select(value, 0.0, is_ignored(class_number));
        let place = parameters.statistics_offset + 2u * row;
        statistics[place] = select(not_a_number(), largest, defined);
        statistics[place + 1u] = select(not_a_number(), sum, defined);
    }
}
