// Reduction of a strided view (sum times a scale, maximum or minimum): for short reductions, and where
// neighbouring outputs read neighbouring elements (sums of columns).
//
// One invocation computes one output element, in groups of GROUP elements so that the rounding errors of
// a long sum stay small. kept_count invocations, in workgroups folded in two dimensions.

const WIDTH: u32 = 64u;
const GROUP: u32 = 64u; // elements added up before they join the total
const OPERATION: u32 = 0u; // 0 sum, 1 maximum, 2 minimum, 3 sum of squares
const CONTINUE: u32 = 0u; // 1: the output holds the result of earlier elements, which is gone on from

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
    scale: f32,
    input_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<f32>; // strided (kept, reduced)
@group(0) @binding(1) var<storage, read_write> output: array<f32>; // strided (kept)
@group(0) @binding(2) var<uniform> parameters: Parameters;

//!include shared/numbers.wgsl
//!include shared/kept.wgsl
//!include shared/reduced.wgsl
//!include shared/reduce.wgsl

@compute @workgroup_size(WIDTH)
fn reduce_invocation(
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
    let result_place = parameters.output_offset + places.y;
    var total = start_value();
    if (CONTINUE == 1u) {
        total = output[result_place];
    }
    for (var first = 0u; first < parameters.reduced_count; first += GROUP) {
        var value = start_value();
        let end = min(first + GROUP, parameters.reduced_count);
        for (var place = first; place < end; place++) {
            value = join(value, prepared(input[start + reduced_offset(place)]));
        }
        total = join(total, value);
    }
    output[result_place] = finish(total);
}
