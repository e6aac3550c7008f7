// The sum over each window of a plane, divided.
//
// One invocation computes one window; workgroups lie folded in two dimensions. A loop iteration for each row of the
// window and each of its elements.

const WIDTH: u32 = 256u;

@group(0) @binding(0) var<storage, read> input: array<f32>; // (planes, height, width)
@group(0) @binding(1) var<storage, read_write> output: array<f32>; // (planes, output height, output width)
@group(0) @binding(2) var<uniform> parameters: Parameters;

//!include shared/pool.wgsl
//!include shared/average_pool.wgsl

const LAST: u32 = 1u; // 0: later launches go on, and the last of them divides

@compute @workgroup_size(WIDTH)
fn average_pool(
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
    var sum = 0.0;
    if (CONTINUE == 1u) {
        sum = output[parameters.output_offset + element];
    }
    let row_end = min(rows.end, parameters.row_end);
    let column_end = min(columns.end, parameters.column_end);
    for (var row = max(rows.first, parameters.first_row); row < row_end; row++) {
        let line = plane + (top + row) * parameters.input_width + left;
        for (var column = max(columns.first, parameters.first_column); column < column_end; column++) {
            sum += input[line + column];
        }
    }
    if (LAST == 1u) {
        sum = sum / divisor_of(window_row, window_column);
    }
    output[parameters.output_offset + element] = sum;
}
