// Normalisation of rows: y = (x - mean) * inverse * weight + bias with inverse = 1/sqrt(variance + eps), or with a mean of 0
// and the mean square instead of the variance; and the mean and inverse of each row.
//
// WIDTH / LANES rows a workgroup: of each its mean, what the elements differ from it by, its values. The workgroups are
// folded in two dimensions.

const WIDTH: u32 = 256u; // invocations of a workgroup
const LANES: u32 = 256u; // those of a row: a power of two, at most WIDTH
const CENTRED: u32 = 1u; // 0: the mean is not taken off
const WEIGHTED: u32 = 0u; // 1 if there is a weight: otherwise `weight` is not read
const BIASED: u32 = 0u; // 1 if there is a bias: otherwise `bias` is not read

struct Parameters {
    rows: u32,
    columns: u32,
    eps: f32,
    input_offset: u32,
    weight_offset: u32,
    bias_offset: u32,
    output_offset: u32,
    statistics_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<f32>; // (rows, columns)
@group(0) @binding(1) var<storage, read> weight: array<f32>; // (columns)
@group(0) @binding(2) var<storage, read> bias: array<f32>; // (columns)
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // (rows, columns)
@group(0) @binding(4) var<storage, read_write> statistics: array<f32>; // (rows, 2): mean and inverse
@group(0) @binding(5) var<uniform> parameters: Parameters;

//!include shared/row_sums.wgsl

@compute @workgroup_size(WIDTH)
fn row_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let row = (group.y * groups.x + group.x) * (WIDTH / LANES) + invocation / LANES;
    let lane = invocation % LANES;
    // Invocations beyond the last row have nothing to do but to wait with the others.
    let columns = select(0u, parameters.columns, row < parameters.rows);
    let start = parameters.input_offset + row * columns;
    let count = f32(parameters.columns);

    var mean = 0.0;
    if (CENTRED == 1u) {
        var sum = 0.0;
        for (var column = lane; column < columns; column += LANES) {
            sum += input[start + column];
        }
        mean = row_sums(invocation, vec2<f32>(sum, 0.0)).x / count;
    }
    var differences = vec2<f32>();
    for (var column = lane; column < columns; column += LANES) {
        let difference = input[start + column] - mean;
        differences += vec2<f32>(difference, difference * difference);
    }
    differences = row_sums(invocation, differences);
    var variance = differences.y / count;
    if (CENTRED == 1u) {
        // The sum of the differences would be 0 but for the rounding of the first mean, which it takes out again.
        let shift = differences.x / count;
        variance = (differences.y - differences.x * shift) / count;
        mean += shift;
    }
    // NaN is kept.
    let inverse = 1.0 / sqrt(select(variance, 0.0, variance < 0.0) + parameters.eps);

    let output_start = parameters.output_offset + row * columns;
    for (var column = lane; column < columns; column += LANES) {
        var value = (input[start + column] - mean) * inverse;
        if (WEIGHTED == 1u) {
            value *= weight[parameters.weight_offset + column];
        }
        if (BIASED == 1u) {
            value += bias[parameters.bias_offset + column];
        }
        output[output_start + column] = value;
    }
    if (lane == 0u && row < parameters.rows) {
        let place = parameters.statistics_offset + 2u * row;
        statistics[place] = mean;
        statistics[place + 1u] = inverse;
    }
}
