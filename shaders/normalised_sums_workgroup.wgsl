// Σ dy and Σ dy·(x − mean)·inverse over strided views, with dy multiplied by a weight if there is one: for many elements.
//
// One workgroup computes the two sums of one output element: each invocation adds up every WIDTH-th element, then a
// tree of fixed order joins them. kept_count workgroups, folded in two dimensions. An invocation runs about
// reduced_count / WIDTH · (1 + reduced_rank) loop iterations.

const WIDTH: u32 = 256u; // a power of two
const GROUP: u32 = 64u; // elements that an invocation adds up before they join its total
const WEIGHTED: u32 = 0u; // 1: dy is multiplied by the weight first
const CONTINUE: u32 = 0u; // 1: the outputs hold the sums of earlier elements, which are gone on from

struct Parameters {
    kept_sizes: array<vec4<u32>, 2>,
    kept_strides: array<vec4<u32>, 8>, // of dy, x, mean, inverse along each dimension
    kept_other_strides: array<vec4<u32>, 8>, // of weight and the outputs
    reduced_sizes: array<vec4<u32>, 2>,
    reduced_strides: array<vec4<u32>, 8>, // of dy, x, mean, inverse
    reduced_weight_strides: array<vec4<u32>, 2>,
    offsets: vec4<u32>, // of dy, x, mean, inverse
    weight_offset: u32,
    kept_rank: u32,
    reduced_rank: u32,
    kept_count: u32,
    reduced_count: u32,
    sum_offset: u32,
    product_offset: u32,
}

@group(0) @binding(0) var<storage, read> dy: array<f32>; // strided (kept, reduced), as the other inputs are
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> inverse: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<f32>; // read if WEIGHTED is 1
@group(0) @binding(5) var<storage, read_write> sum_output: array<f32>; // strided (kept)
@group(0) @binding(6) var<storage, read_write> product_output: array<f32>; // strided (kept)
@group(0) @binding(7) var<uniform> parameters: Parameters;

//!include shared/normalised_sums.wgsl

var<workgroup> partial: array<vec2<f32>, WIDTH>;

@compute @workgroup_size(WIDTH)
fn normalised_sums_workgroup(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.y * groups.x + group.x;
    if (index >= parameters.kept_count) {
        return;
    }
    let start = kept_places(index);
    var total = vec2<f32>();
    for (var first = lane; first < parameters.reduced_count; first += WIDTH * GROUP) {
        var sums = vec2<f32>();
        let end = min(first + WIDTH * GROUP, parameters.reduced_count);
        for (var place = first; place < end; place += WIDTH) {
            sums += terms(start, place);
        }
        total += sums;
    }
    partial[lane] = total;
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    if (lane == 0u) {
        finish(start, partial[0]);
    }
}
