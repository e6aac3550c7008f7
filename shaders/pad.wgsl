// Padding: a strided view inside a larger contiguous tensor that is filled with a value; elements of four
// bytes.
//
// One invocation writes one output element; count invocations, in workgroups folded in two dimensions.

const WIDTH: u32 = 256u;

struct Parameters {
    output_sizes: array<vec4<u32>, 2>,
    before: array<vec4<u32>, 2>,
    input_sizes: array<vec4<u32>, 2>,
    input_strides: array<vec4<u32>, 2>,
    rank: u32,
    count: u32, // output elements
    value: u32, // the bits of the filling
    input_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<u32>; // strided (input_sizes)
@group(0) @binding(1) var<storage, read_write> output: array<u32>; // contiguous (output_sizes)
@group(0) @binding(2) var<uniform> parameters: Parameters;

@compute @workgroup_size(WIDTH)
fn pad(
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
    var inside = true;
    for (var left = parameters.rank; left > 0u; left--) {
        let dimension = left - 1u;
        let size = parameters.output_sizes[dimension >> 2u][dimension & 3u];
        // A place before the view wraps round to a large number.
        let place = rest % size - parameters.before[dimension >> 2u][dimension & 3u];
        rest /= size;
        inside = inside && place < parameters.input_sizes[dimension >> 2u][dimension & 3u];
        input_index += place * parameters.input_strides[dimension >> 2u][dimension & 3u];
    }
    var value = parameters.value;
    if (inside) {
        value = input[input_index];
    }
    output[parameters.output_offset + element] = value;
}
