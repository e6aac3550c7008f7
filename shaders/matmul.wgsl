// Batched matrix product: output[b] = left[b] * right[b], of strided operands (any transpose, any batch
// broadcast by a stride of 0).
//
// One workgroup computes a 64x64 tile of one product, each invocation 4x4 of it, in steps of 16 along the
// depth that go through workgroup memory. Groups: (ceil(n / 64), ceil(m / 64), batch), where a batch beyond
// the limit of the grid is done in rounds. The lowering refuses more than 65,535 tiles along m or n.
// An invocation runs about k loop iterations per batch round.

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;
const QUADS: u32 = 16u; // vectors of four in a tile's side
const CONTINUE: u32 = 0u; // 1: the output holds the sums over earlier depths, which are gone on from

struct Parameters {
    batch_sizes: vec4<u32>, // 1 for unused dimensions
    left_batch_strides: vec4<u32>,
    right_batch_strides: vec4<u32>,
    output_batch_strides: vec4<u32>,
    m: u32,
    n: u32,
    k: u32,
    batch: u32,
    left_row_stride: u32,
    left_column_stride: u32,
    right_row_stride: u32,
    right_column_stride: u32,
    output_row_stride: u32,
    left_offset: u32,
    right_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> left: array<f32>; // strided (batch, m, k)
@group(0) @binding(1) var<storage, read> right: array<f32>; // strided (batch, k, n)
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // strided (batch, m, n), columns side by side
@group(0) @binding(3) var<uniform> parameters: Parameters;

var<workgroup> left_tile: array<vec4<f32>, 256>; // (DEPTH, QUADS): four rows each
var<workgroup> right_tile: array<vec4<f32>, 256>; // (DEPTH, QUADS): four columns each

fn read_left(start: u32, row: u32, depth: u32) -> f32 {
    if (row < parameters.m && depth < parameters.k) {
        return left[start + row * parameters.left_row_stride + depth * parameters.left_column_stride];
    }
    return 0.0;
}

fn read_right(start: u32, depth: u32, column: u32) -> f32 {
    if (depth < parameters.k && column < parameters.n) {
        return right[start + depth * parameters.right_row_stride + column * parameters.right_column_stride];
    }
    return 0.0;
}

fn write_row(start: u32, row: u32, column: u32, values: vec4<f32>) {
    if (row >= parameters.m) {
        return;
    }
    let first = start + row * parameters.output_row_stride + column;
    if (column < parameters.n) {
        output[first] = values.x;
    }
    if (column + 1u < parameters.n) {
        output[first + 1u] = values.y;
    }
    if (column + 2u < parameters.n) {
        output[first + 2u] = values.z;
    }
    if (column + 3u < parameters.n) {
        output[first + 3u] = values.w;
    }
}

// What is there to go on from; columns beyond the last are never written.
fn read_row(start: u32, row: u32, column: u32) -> vec4<f32> {
    if (row >= parameters.m) {
        return vec4<f32>();
    }
    let first = start + row * parameters.output_row_stride + column;
    let left = parameters.n - min(column, parameters.n);
    var values = vec4<f32>();
    if (left > 0u) {
        values.x = output[first];
    }
    if (left > 1u) {
        values.y = output[first + 1u];
    }
    if (left > 2u) {
        values.z = output[first + 2u];
    }
    if (left > 3u) {
        values.w = output[first + 3u];
    }
    return values;
}

@compute @workgroup_size(256)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first_row = group.y * TILE;
    let first_column = group.x * TILE;
    let low = lane % QUADS;
    let high = lane / QUADS;
    // Each invocation loads one vector of each tile per step; neighbours go along the contiguous side.
    let left_along_depth = parameters.left_column_stride == 1u;
    let left_depth = select(high, low, left_along_depth);
    let left_quad = select(low, high, left_along_depth);
    let right_along_depth = parameters.right_row_stride == 1u;
    let right_depth = select(high, low, right_along_depth);
    let right_quad = select(low, high, right_along_depth);
    let sizes = parameters.batch_sizes;

    for (var batch = group.z; batch < parameters.batch; batch += groups.z) {
        let last = batch % sizes.w;
        let rest_last = batch / sizes.w;
        let third = rest_last % sizes.z;
        let rest_third = rest_last / sizes.z;
        let place = vec4<u32>(rest_third / sizes.y, rest_third % sizes.y, third, last);
        let left_start = parameters.left_offset + dot(place, parameters.left_batch_strides);
        let right_start = parameters.right_offset + dot(place, parameters.right_batch_strides);

        var sum_0 = vec4<f32>();
        var sum_1 = vec4<f32>();
        var sum_2 = vec4<f32>();
        var sum_3 = vec4<f32>();
        let output_start = parameters.output_offset + dot(place, parameters.output_batch_strides);
        let output_row = first_row + high * 4u;
        let output_column = first_column + low * 4u;
        if (CONTINUE == 1u) {
            sum_0 = read_row(output_start, output_row, output_column);
            sum_1 = read_row(output_start, output_row + 1u, output_column);
            sum_2 = read_row(output_start, output_row + 2u, output_column);
            sum_3 = read_row(output_start, output_row + 3u, output_column);
        }
        for (var first_depth = 0u; first_depth < parameters.k; first_depth += DEPTH) {
            let row = first_row + left_quad * 4u;
            let depth = first_depth + left_depth;
            left_tile[left_depth * QUADS + left_quad] = vec4<f32>(
                read_left(left_start, row, depth),
                read_left(left_start, row + 1u, depth),
                read_left(left_start, row + 2u, depth),
                read_left(left_start, row + 3u, depth),
            );
            let column = first_column + right_quad * 4u;
            let other_depth = first_depth + right_depth;
            right_tile[right_depth * QUADS + right_quad] = vec4<f32>(
                read_right(right_start, other_depth, column),
                read_right(right_start, other_depth, column + 1u),
                read_right(right_start, other_depth, column + 2u),
                read_right(right_start, other_depth, column + 3u),
            );
            workgroupBarrier();
            for (var step = 0u; step < DEPTH; step++) {
                let rows = left_tile[step * QUADS + high];
                let columns = right_tile[step * QUADS + low];
                sum_0 += rows.x * columns;
                sum_1 += rows.y * columns;
                sum_2 += rows.z * columns;
                sum_3 += rows.w * columns;
            }
            // The next step overwrites the tiles.
            workgroupBarrier();
        }

        write_row(output_start, output_row, output_column, sum_0);
        write_row(output_start, output_row + 1u, output_column, sum_1);
        write_row(output_start, output_row + 2u, output_column, sum_2);
        write_row(output_start, output_row + 3u, output_column, sum_3);
    }
}
