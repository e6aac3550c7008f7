// Copy of a strided view to another, of elements of four bytes: contiguous copies, concatenation, slices.
//
// One invocation copies one element; count invocations, in workgroups folded in two dimensions.

const WIDTH: u32 = 256u;

struct Parameters {
    sizes: array<vec4<u32>, 2>,
    input_strides: array<vec4<u32>, 2>,
    output_strides: array<vec4<u32>, 2>,
    rank: u32,
    count: u32,
    input_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<u32>; // strided (sizes)
@group(0) @binding(1) var<storage, read_write> output: array<u32>; // strided (sizes)
@group(0) @binding(2) var<uniform> parameters: Parameters;

@compute @workgroup_size(WIDTH)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    if (element >= parameters.count) {
        return;
    }
    var rest = element;
    var input_index = parameters.input_offset;
    var output_index = parameters.output_offset;
    // The rank is at least 1; the outermost dimension needs no division.
    for (var dimension = parameters.rank - 1u; dimension > 0u; dimension--) {
        let size = parameters.sizes[dimension >> 2u][dimension & 3u];
        let place = rest % size;
        rest /= size;
        input_index += place * parameters.input_strides[dimension >> 2u][dimension & 3u];
        output_index += place * parameters.output_strides[dimension >> 2u][dimension & 3u];
    }
    input_index += rest * parameters.input_strides[0].x;
    output_index += rest * parameters.output_strides[0].x;
    output[output_index] = input[input_index];
}
