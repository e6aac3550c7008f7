// The elements of each plane that indices name, as max pooling leaves them; NaN for an index beyond the plane.
//
// One invocation copies one element; workgroups lie folded in two dimensions.

const WIDTH: u32 = 256u;

@group(0) @binding(0) var<storage, read> input: array<f32>; // (planes, height, width)
@group(0) @binding(1) var<storage, read> indices: array<u32>; // (planes, output height, output width), places in a plane
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // (planes, output height, output width)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/numbers.wgsl
//!include shared/pool.wgsl

@compute @workgroup_size(WIDTH)
fn max_pool_gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    let area = output_area();
    if (element >= parameters.planes * area) {
        return;
    }
    let place = indices[parameters.indices_offset + element];
    var value = not_a_number();
    if (place < input_area()) {
        value = input[parameters.input_offset + element / area * input_area() + place];
    }
    output[parameters.output_offset + element] = value;
}
