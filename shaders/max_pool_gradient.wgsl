// The gradient of max pooling: dx at a place is the sum of dy over the windows that took their element there.
//
// One invocation computes one element of dx; workgroups lie folded in two dimensions. It looks at the windows that it
// lies in, always in the same order: a loop iteration for each row of them and each window.

const WIDTH: u32 = 256u;

@group(0) @binding(0) var<storage, read> dy: array<f32>; // (planes, output height, output width)
@group(0) @binding(1) var<storage, read> indices: array<u32>; // (planes, output height, output width), places in a plane
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // (planes, height, width)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/pool.wgsl

@compute @workgroup_size(WIDTH)
fn max_pool_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    let area = input_area();
    if (element >= parameters.planes * area) {
        return;
    }
    let place = element % area;
    let plane = element / area * output_area();
    let rows = windows_over_row(place / parameters.input_width);
    let columns = windows_over_column(place % parameters.input_width);
    var sum = 0.0;
    if (CONTINUE == 1u) {
        sum = dx[parameters.input_offset + element];
    }
    for (var row = rows.first; row < rows.end; row++) {
        let line = plane + row * parameters.output_width;
        for (var column = columns.first; column < columns.end; column++) {
            if (indices[parameters.indices_offset + line + column] == place) {
                sum += dy[parameters.output_offset + line + column];
            }
        }
    }
    dx[parameters.input_offset + element] = sum;
}
