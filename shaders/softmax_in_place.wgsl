// Softmax of rows, or its logarithm, written over the rows themselves: see softmax.wgsl.
//
// WIDTH / LANES rows a workgroup. Every element is read and replaced by one invocation.

const WIDTH: u32 = 256u; // invocations of a workgroup
const LANES: u32 = 256u; // those of a row: a power of two, at most WIDTH
const LOGARITHM: u32 = 0u; // 1 for the logarithm

struct Parameters {
    rows: u32,
    columns: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read_write> output: array<f32>; // (rows, columns)
@group(0) @binding(1) var<uniform> parameters: Parameters;

//!include shared/numbers.wgsl
//!include shared/exponential.wgsl
//!include shared/row.wgsl

fn input_at(place: u32) -> f32 {
    return output[parameters.output_offset + place];
}

//!include shared/softmax.wgsl

@compute @workgroup_size(WIDTH)
fn softmax_in_place(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    softmax_of_row(invocation, (group.y * groups.x + group.x) * (WIDTH / LANES) + invocation / LANES);
}
