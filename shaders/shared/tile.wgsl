// A 64x64 tile of a matrix product by a workgroup of 256 invocations, each 4x4 of it, in steps of 16 along the depth.

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;
const QUADS: u32 = 16u; // vectors of four in a tile's side
const PITCH: u32 = 17u; // one more, so that invocations that go along the depth write to other banks

var<workgroup> left_tile: array<vec4<f32>, 272>; // (DEPTH, PITCH): four rows each
var<workgroup> right_tile: array<vec4<f32>, 272>; // (DEPTH, PITCH): four columns each

// Adds the products of what the tiles hold; column i of the matrix is row i of the result.
fn add_products(before: mat4x4<f32>, row_quad: u32, column_quad: u32) -> mat4x4<f32> {
    var sums = before;
    for (var step = 0u; step < DEPTH; step++) {
        let rows = left_tile[step * PITCH + row_quad];
        let columns = right_tile[step * PITCH + column_quad];
        sums[0] += rows.x * columns;
        sums[1] += rows.y * columns;
        sums[2] += rows.z * columns;
        sums[3] += rows.w * columns;
    }
    return sums;
}
