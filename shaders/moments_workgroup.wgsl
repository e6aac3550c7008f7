// Mean, variance and 1/√(variance + eps) of strided views: for many elements.
//
// One workgroup computes the three of one view: each invocation adds up every WIDTH-th element, a tree of fixed order
// joins the sums; then the same with what the elements differ from their mean by. kept_count workgroups, folded in two
// dimensions. An invocation runs about 2 · reduced_count / WIDTH · (1 + reduced_rank) loop iterations.

const WIDTH: u32 = 256u; // a power of two
const GROUP: u32 = 64u; // elements that an invocation adds up before they join its total
const CONTINUE: u32 = 0u; // 1: the outputs hold the results of earlier elements, which are gone on from
const UNFINISHED: u32 = 0u; // 1: later elements will go on from the outputs

struct Parameters {
    kept_sizes: array<vec4<u32>, 2>,
    kept_strides: array<vec4<u32>, 2>,
    output_strides: array<vec4<u32>, 2>,
    reduced_sizes: array<vec4<u32>, 2>,
    reduced_strides: array<vec4<u32>, 2>,
    kept_rank: u32,
    reduced_rank: u32,
    kept_count: u32,
    reduced_count: u32,
    before_count: u32, // elements that the outputs hold the results of
    eps: f32,
    input_offset: u32,
    mean_offset: u32,
    variance_offset: u32,
    inverse_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<f32>; // strided (kept, reduced)
@group(0) @binding(1) var<storage, read_write> mean_output: array<f32>; // strided (kept)
@group(0) @binding(2) var<storage, read_write> variance_output: array<f32>; // strided (kept)
@group(0) @binding(3) var<storage, read_write> inverse_output: array<f32>; // strided (kept), 1/√(variance + eps)
@group(0) @binding(4) var<uniform> parameters: Parameters;

//!include shared/kept.wgsl
//!include shared/reduced.wgsl
//!include shared/moments.wgsl

var<workgroup> partial: array<vec2<f32>, WIDTH>;

// The sums over the workgroup, by a tree of fixed order; all invocations must call it.
fn workgroup_sums(lane: u32, value: vec2<f32>) -> vec2<f32> {
    partial[lane] = value;
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    workgroupBarrier();
    let result = partial[0];
    // `partial` may be used again.
    workgroupBarrier();
    return result;
}

@compute @workgroup_size(WIDTH)
fn moments_workgroup(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.y * groups.x + group.x;
    if (index >= parameters.kept_count) {
        return;
    }
    let places = kept_places(index);
    let start = parameters.input_offset + places.x;
    let count = f32(parameters.reduced_count);
    var total = 0.0;
    for (var first = lane; first < parameters.reduced_count; first += WIDTH * GROUP) {
        var sum = 0.0;
        let end = min(first + WIDTH * GROUP, parameters.reduced_count);
        for (var place = first; place < end; place += WIDTH) {
            sum += input[start + reduced_offset(place)];
        }
        total += sum;
    }
    let first_mean = workgroup_sums(lane, vec2<f32>(total, 0.0)).x / count;
    var differences = vec2<f32>();
    for (var first = lane; first < parameters.reduced_count; first += WIDTH * GROUP) {
        var sums = vec2<f32>();
        let end = min(first + WIDTH * GROUP, parameters.reduced_count);
        for (var place = first; place < end; place += WIDTH) {
            let difference = input[start + reduced_offset(place)] - first_mean;
            sums += vec2<f32>(difference, difference * difference);
        }
        differences += sums;
    }
    differences = workgroup_sums(lane, differences);
    if (lane == 0u) {
        finish(places.y, corrected(first_mean, differences, count));
    }
}
