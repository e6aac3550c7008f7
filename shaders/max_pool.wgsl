// The largest element of each window of a plane and its place row·width + column in the plane. NaN is larger than all;
// of equals the first is taken, of several NaN the last.
//
// One invocation computes one window; workgroups lie folded in two dimensions. A loop iteration for each row of the
// window and each of its elements.

const WIDTH: u32 = 256u;

@group(0) @binding(0) var<storage, read> input: array<f32>; // (planes, height, width)
@group(0) @binding(1) var<storage, read_write> output: array<f32>; // (planes, output height, output width)
@group(0) @binding(2) var<storage, read_write> indices: array<u32>; // (planes, output height, output width)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/numbers.wgsl
//!include shared/pool.wgsl

@compute @workgroup_size(WIDTH)
fn max_pool(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    let area = output_area();
    if (element >= parameters.planes * area) {
        return;
    }
    let window = element % area;
    let plane = parameters.input_offset + element / area * input_area();
    let window_row = window / parameters.output_width;
    let window_column = window % parameters.output_width;
    let rows = span_of(vertical(), window_row);
    let columns = span_of(horizontal(), window_column);
    let top = start_of(vertical(), window_row);
    let left = start_of(horizontal(), window_column);
    var best: f32;
    var place: u32;
    if (CONTINUE == 1u) {
        best = output[parameters.output_offset + element];
        place = indices[parameters.indices_offset + element];
    } else {
        place = (top + rows.first * DILATION_Y) * parameters.input_width + left + columns.first * DILATION_X;
        best = input[plane + place];
    }
    let row_end = min(rows.end, parameters.row_end);
    let column_end = min(columns.end, parameters.column_end);
    for (var row = max(rows.first, parameters.first_row); row < row_end; row++) {
        let line = (top + row * DILATION_Y) * parameters.input_width + left;
        for (var column = max(columns.first, parameters.first_column); column < column_end; column++) {
            let candidate = line + column * DILATION_X;
            let value = input[plane + candidate];
            if (is_nan(value) || (!is_nan(best) && value > best)) {
                best = value;
                place = candidate;
            }
        }
    }
    output[parameters.output_offset + element] = best;
    indices[parameters.indices_offset + element] = place;
}
