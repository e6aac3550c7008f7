// Softmax of rows: exp(x - max) / sum of exp(x - max), or its logarithm.
//
// WIDTH / LANES rows a workgroup: of each its maximum, its sum, its values. A row with a NaN, with +infinity, or of
// -infinity only is NaN. The workgroups are folded in two dimensions.

const WIDTH: u32 = 256u; // invocations of a workgroup
const LANES: u32 = 256u; // those of a row: a power of two, at most WIDTH
const LOGARITHM: u32 = 0u; // 1 for the logarithm

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
//!include shared/exponential.wgsl
//!include shared/row.wgsl

fn input_at(place: u32) -> f32 {
    return input[parameters.input_offset + place];
}

//!include shared/softmax.wgsl

@compute @workgroup_size(WIDTH)
fn softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    softmax_of_row(invocation, (group.y * groups.x + group.x) * (WIDTH / LANES) + invocation / LANES);
}
