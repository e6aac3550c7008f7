// The gradient of a convolution by its weight: dw[o, c, r, s] = sum over n, y, x of dy[n, o, y, x] * input[n, c, i, j],
// by groups of channels, where i = y·stride + r·dilation − before, and so for j; outside of the input are zeros.
//
// A product of matrices of which the right one is never stored: rows are output channels, columns are (c, r, s), the
// depth goes over the places of all images. One workgroup computes a 64x64 tile of one group's product; tiles lie
// folded in two dimensions of the grid. An invocation runs depth · 17/16 loop iterations.

@group(0) @binding(0) var<storage, read> input: array<f32>; // (batch, channels, height, width)
@group(0) @binding(1) var<storage, read> dy: array<f32>; // (batch, channels, height, width)
@group(0) @binding(2) var<storage, read_write> dw: array<f32>; // (output channels, input channels of a group, r, s)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/convolution.wgsl
//!include shared/tile.wgsl

// Element of channel `row` of dy, of which the first channel's lies at `start`.
fn read_dy(start: u32, row: u32, inside: bool) -> f32 {
    if (inside && row < parameters.outputs) {
        return dy[start + row * output_area()];
    }
    return 0.0;
}

// The element that the weight of this column meets, where the kernel's first one meets row `top`, column `left` of
// channels that begin at `start`. A place before the first wraps round to a large number.
fn read_input(start: u32, top: u32, left: u32, column: u32, inside: bool) -> f32 {
    let tap = column % KERNEL_AREA;
    let y = top + tap / KERNEL_WIDTH * parameters.dilation_y;
    let x = left + tap % KERNEL_WIDTH * parameters.dilation_x;
    let within = y < parameters.input_height && x < parameters.input_width;
    if (inside && within && column < parameters.inputs * KERNEL_AREA) {
        return input[start + column / KERNEL_AREA * input_area() + y * parameters.input_width + x];
    }
    return 0.0;
}

// What is there to go on from; columns beyond the last are never written.
fn read_row(start: u32, row: u32, column: u32) -> vec4<f32> {
    var values = vec4<f32>();
    if (row >= parameters.outputs) {
        return values;
    }
    let first = start + row * parameters.weight_output_stride + column;
    let columns = parameters.inputs * KERNEL_AREA;
    if (column < columns) {
        values.x = dw[first];
    }
    if (column + 1u < columns) {
        values.y = dw[first + 1u];
    }
    if (column + 2u < columns) {
        values.z = dw[first + 2u];
    }
    if (column + 3u < columns) {
        values.w = dw[first + 3u];
    }
    return values;
}

fn write_row(start: u32, row: u32, column: u32, values: vec4<f32>) {
    if (row >= parameters.outputs) {
        return;
    }
    let first = start + row * parameters.weight_output_stride + column;
    let columns = parameters.inputs * KERNEL_AREA;
    if (column < columns) {
        dw[first] = values.x;
    }
    if (column + 1u < columns) {
        dw[first + 1u] = values.y;
    }
    if (column + 2u < columns) {
        dw[first + 2u] = values.z;
    }
    if (column + 3u < columns) {
        dw[first + 3u] = values.w;
    }
}

@compute @workgroup_size(256)
fn convolution_weight_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group.y * groups.x + group.x;
    let row_tiles = (parameters.outputs + TILE - 1u) / TILE;
    let column_tiles = (parameters.inputs * KERNEL_AREA + TILE - 1u) / TILE;
    if (tile >= row_tiles * column_tiles * parameters.groups) {
        return;
    }
    let first_row = tile % row_tiles * TILE;
    let first_column = tile / row_tiles % column_tiles * TILE;
    let channel_group = tile / row_tiles / column_tiles;
    let low = lane % QUADS;
    let high = lane / QUADS;
    let weights = weight_start(channel_group);
    let area = output_area();
    let row = first_row + high * 4u;
    let column = first_column + low * 4u;

    var sums = mat4x4<f32>();
    if (CONTINUE == 1u) {
        sums[0] = read_row(weights, row, column);
        sums[1] = read_row(weights, row + 1u, column);
        sums[2] = read_row(weights, row + 2u, column);
        sums[3] = read_row(weights, row + 3u, column);
    }
    for (var first_depth = parameters.first_depth; first_depth < parameters.depth_end; first_depth += DEPTH) {
        // Both operands lie side by side along the depth.
        let depth = first_depth + low;
        let inside = depth < parameters.depth_end;
        let image = depth / area;
        let place = depth % area;
        let outputs = output_start(image, channel_group) + place;
        left_tile[low * PITCH + high] = vec4<f32>(
            read_dy(outputs, row, inside),
            read_dy(outputs, row + 1u, inside),
            read_dy(outputs, row + 2u, inside),
            read_dy(outputs, row + 3u, inside),
        );
        let inputs = input_start(image, channel_group);
        let top = place / parameters.output_width * STRIDE_Y - parameters.before_y;
        let left = place % parameters.output_width * STRIDE_X - parameters.before_x;
        let taps = first_column + high * 4u;
        right_tile[low * PITCH + high] = vec4<f32>(
            read_input(inputs, top, left, taps, inside),
            read_input(inputs, top, left, taps + 1u, inside),
            read_input(inputs, top, left, taps + 2u, inside),
            read_input(inputs, top, left, taps + 3u, inside),
        );
        workgroupBarrier();
        sums = add_products(sums, high, low);
        // The next step overwrites the tiles.
        workgroupBarrier();
    }
    write_row(weights, row, column, sums[0]);
    write_row(weights, row + 1u, column, sums[1]);
    write_row(weights, row + 2u, column, sums[2]);
    write_row(weights, row + 3u, column, sums[3]);
}
