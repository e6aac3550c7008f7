// The gradient of row_norm.wgsl by its input, written over dy: see row_norm_gradient.wgsl.
//
// WIDTH / LANES rows a workgroup. Every element of dy is read and replaced by one invocation.

const WIDTH: u32 = 256u; // invocations of a workgroup
const LANES: u32 = 256u; // those of a row: a power of two, at most WIDTH
const CENTRED: u32 = 1u; // 0: the mean is not taken off
const WEIGHTED: u32 = 0u; // 1 if there is a weight: otherwise `weight` is not read

struct Parameters {
    rows: u32,
    columns: u32,
    x_offset: u32,
    statistics_offset: u32,
    weight_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>; // (rows, columns)
@group(0) @binding(1) var<storage, read> statistics: array<f32>; // (rows, 2): mean and inverse
@group(0) @binding(2) var<storage, read> weight: array<f32>; // (columns)
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // (rows, columns)
@group(0) @binding(4) var<uniform> parameters: Parameters;

//!include shared/row_sums.wgsl

fn dy_at(place: u32) -> f32 {
    return output[parameters.output_offset + place];
}

//!include shared/row_norm_gradient.wgsl

@compute @workgroup_size(WIDTH)
fn row_norm_gradient_in_place(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    gradient_of_row(invocation, (group.y * groups.x + group.x) * (WIDTH / LANES) + invocation / LANES);
}
