// Convolution: result[n, o, y, x] = sum over c, r, s of weight[o, c, r, s] * input[n, c, i, j], by groups of channels,
// where i = y·stride + r·dilation − before, and so for j; outside of the input are zeros.
//
// A product of matrices of which the right one is never stored: rows are output channels, columns are the places of all
// images, the depth goes over (c, r, s). One workgroup computes a 64x64 tile of one group's product; tiles lie folded
// in two dimensions of the grid, those of the same columns side by side. An invocation runs depth · 17/16 loop
// iterations.

@group(0) @binding(0) var<storage, read> input: array<f32>; // (batch, channels, height, width)
@group(0) @binding(1) var<storage, read> weight: array<f32>; // (output channels, input channels of a group, r, s)
@group(0) @binding(2) var<storage, read_write> result: array<f32>; // (batch, channels, height, width)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/convolution.wgsl
//!include shared/tile.wgsl
//!include shared/channels.wgsl

fn read_weight(start: u32, row: u32, depth: u32) -> f32 {
    if (row < parameters.outputs && depth < parameters.depth_end) {
        return weight[start + row * parameters.weight_output_stride + depth];
    }
    return 0.0;
}

// An element of a channel that begins at `start`. A place before the first wraps round to a large number.
fn read_input(start: u32, y: u32, x: u32, inside: bool) -> f32 {
    if (inside && y < parameters.input_height && x < parameters.input_width) {
        return input[start + y * parameters.input_width + x];
    }
    return 0.0;
}

@compute @workgroup_size(256)
fn convolution(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group.y * groups.x + group.x;
    let area = output_area();
    let count = parameters.batch * area;
    let rows = parameters.outputs;
    let row_tiles = (rows + TILE - 1u) / TILE;
    let column_tiles = (count + TILE - 1u) / TILE;
    if (tile >= row_tiles * column_tiles * parameters.groups) {
        return;
    }
    let first_row = tile % row_tiles * TILE;
    let first_column = tile / row_tiles % column_tiles * TILE;
    let channel_group = tile / row_tiles / column_tiles;
    let low = lane % QUADS;
    let high = lane / QUADS;

    let columns = first_column + low * 4u + vec4<u32>(0u, 1u, 2u, 3u);
    let inside = columns < vec4<u32>(count);
    let images = columns / area;
    let places = columns % area;
    let tops = places / parameters.output_width * STRIDE_Y - parameters.before_y;
    let lefts = places % parameters.output_width * STRIDE_X - parameters.before_x;
    let inputs = vec4<u32>(
        input_start(images.x, channel_group),
        input_start(images.y, channel_group),
        input_start(images.z, channel_group),
        input_start(images.w, channel_group),
    );
    let outputs = places + vec4<u32>(
        output_start(images.x, channel_group),
        output_start(images.y, channel_group),
        output_start(images.z, channel_group),
        output_start(images.w, channel_group),
    );
    let weights = weight_start(channel_group);
    let row = first_row + high * 4u;

    var sums = mat4x4<f32>();
    if (CONTINUE == 1u) {
        sums[0] = read_row(row, rows, area, outputs, inside);
        sums[1] = read_row(row + 1u, rows, area, outputs, inside);
        sums[2] = read_row(row + 2u, rows, area, outputs, inside);
        sums[3] = read_row(row + 3u, rows, area, outputs, inside);
    }
    for (var first_depth = parameters.first_depth; first_depth < parameters.depth_end; first_depth += DEPTH) {
        // Weights lie side by side along the depth, elements of the input along the columns.
        let depth = first_depth + low;
        left_tile[low * PITCH + high] = vec4<f32>(
            read_weight(weights, row, depth),
            read_weight(weights, row + 1u, depth),
            read_weight(weights, row + 2u, depth),
            read_weight(weights, row + 3u, depth),
        );
        let other = first_depth + high;
        let tap = other % KERNEL_AREA;
        let channels = inputs + other / KERNEL_AREA * input_area();
        let y = tops + tap / KERNEL_WIDTH * parameters.dilation_y;
        let x = lefts + tap % KERNEL_WIDTH * parameters.dilation_x;
        let within = inside & vec4<bool>(other < parameters.depth_end);
        right_tile[high * PITCH + low] = vec4<f32>(
            read_input(channels.x, y.x, x.x, within.x),
            read_input(channels.y, y.y, x.y, within.y),
            read_input(channels.z, y.z, x.z, within.z),
            read_input(channels.w, y.w, x.w, within.w),
        );
        workgroupBarrier();
        sums = add_products(sums, high, low);
        // The next step overwrites the tiles.
        workgroupBarrier();
    }
    write_row(row, rows, area, outputs, inside, sums[0]);
    write_row(row + 1u, rows, area, outputs, inside, sums[1]);
    write_row(row + 2u, rows, area, outputs, inside, sums[2]);
    write_row(row + 3u, rows, area, outputs, inside, sums[3]);
}
