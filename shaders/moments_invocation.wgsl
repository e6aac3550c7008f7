// Mean, variance and 1/√(variance + eps) of strided views: for few elements, and where neighbouring outputs read
// neighbouring elements (moments of columns).
//
// One invocation computes the three of one view, from sums in groups of GROUP elements so that their rounding errors
// stay small. kept_count invocations, in workgroups folded in two dimensions.

const WIDTH: u32 = 64u;
const GROUP: u32 = 64u; // elements added up before they join the total
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

@compute @workgroup_size(WIDTH)
fn moments_invocation(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (group.y * groups.x + group.x) * WIDTH + lane;
    if (index >= parameters.kept_count) {
        return;
    }
    let places = kept_places(index);
    let start = parameters.input_offset + places.x;
    let count = f32(parameters.reduced_count);
    var total = 0.0;
    for (var first = 0u; first < parameters.reduced_count; first += GROUP) {
        var sum = 0.0;
        let end = min(first + GROUP, parameters.reduced_count);
        for (var place = first; place < end; place++) {
            sum += input[start + reduced_offset(place)];
        }
        total += sum;
    }
    let first_mean = total / count;
    var differences = vec2<f32>();
    for (var first = 0u; first < parameters.reduced_count; first += GROUP) {
        var sums = vec2<f32>();
        let end = min(first + GROUP, parameters.reduced_count);
        for (var place = first; place < end; place++) {
            let difference = input[start + reduced_offset(place)] - first_mean;
            sums += vec2<f32>(difference, difference * difference);
        }
        differences += sums;
    }
    finish(places.y, corrected(first_mean, differences, count));
}
