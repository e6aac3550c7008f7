// The gradient of a convolution by its input, which is the transposed convolution: result[n, c, i, j] = sum over o, r,
// s of weight[o, c, r, s] * dy[n, o, y, x] where y·stride + r·dilation = i + before, and so for x, by groups of
// channels; where there is no such y or x, zeros.
//
// A product of matrices of which the right one is never stored: rows are input channels, columns are the places of all
// images, the depth goes over (o, r, s). One workgroup computes a 64x64 tile of one group's product; tiles lie folded
// in two dimensions of the grid, those of the same columns side by side. An invocation runs depth · 17/16 loop
// iterations.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // (batch, output channels, height, width)
@group(0) @binding(1) var<storage, read> weight: array<f32>; // (output channels, input channels of a group, r, s)
@group(0) @binding(2) var<storage, read_write> result: array<f32>; // (batch, input channels, height, width)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/convolution.wgsl
//!include shared/tile.wgsl
//!include shared/channels.wgsl

fn read_weight(start: u32, row: u32, depth: u32) -> f32 {
    if (row < parameters.inputs && depth < parameters.depth_end) {
        let place = depth / KERNEL_AREA * parameters.weight_output_stride + row * KERNEL_AREA + depth % KERNEL_AREA;
        return weight[start + place];
    }
    return 0.0;
}

// The element of a channel of dy that begins at `start` which the kernel met at these distances from its first place. A
// distance below zero wraps round to a large number.
fn read_dy(start: u32, y: u32, x: u32, inside: bool) -> f32 {
    if (inside && y % STRIDE_Y == 0u && x % STRIDE_X == 0u) {
        let row = y / STRIDE_Y;
        let column = x / STRIDE_X;
        if (row < parameters.output_height && column < parameters.output_width) {
            return dy[start + row * parameters.output_width + column];
        }
    }
    return 0.0;
}

@compute @workgroup_size(256)
fn convolution_input_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group.y * groups.x + group.x;
    let area = input_area();
    let count = parameters.batch * area;
    let rows = parameters.inputs;
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
    let bottoms = places / parameters.input_width + parameters.before_y;
    let rights = places % parameters.input_width + parameters.before_x;
    let inputs = vec4<u32>(
        output_start(images.x, channel_group),
        output_start(images.y, channel_group),
        output_start(images.z, channel_group),
        output_start(images.w, channel_group),
    );
    let outputs = places + vec4<u32>(
        input_start(images.x, channel_group),
        input_start(images.y, channel_group),
        input_start(images.z, channel_group),
        input_start(images.w, channel_group),
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
        // Weights lie side by side along the depth, elements of dy along the columns.
        let depth = first_depth + low;
        left_tile[low * PITCH + high] = vec4<f32>(
            read_weight(weights, row, depth),
            read_weight(weights, row + 1u, depth),
            read_weight(weights, row + 2u, depth),
            read_weight(weights, row + 3u, depth),
        );
        let other = first_depth + high;
        let tap = other % KERNEL_AREA;
        let channels = inputs + other / KERNEL_AREA * output_area();
        let y = bottoms - tap / KERNEL_WIDTH * parameters.dilation_y;
        let x = rights - tap % KERNEL_WIDTH * parameters.dilation_x;
        // Sizes are below 2³¹: a distance beyond is one below zero.
        let ahead = (y < vec4<u32>(0x80000000u)) & (x < vec4<u32>(0x80000000u));
        let within = inside & ahead & vec4<bool>(other < parameters.depth_end);
        right_tile[high * PITCH + low] = vec4<f32>(
            read_dy(channels.x, y.x, x.x, within.x),
            read_dy(channels.y, y.y, x.y, within.y),
            read_dy(channels.z, y.z, x.z, within.z),
            read_dy(channels.w, y.w, x.w, within.w),
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
