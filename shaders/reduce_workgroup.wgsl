// Reduction of a strided view (sum times a scale, maximum or minimum): for long reductions.
//
// One workgroup computes one output element: each invocation folds every WIDTH-th element, then a tree
// of fixed order joins them. kept_count workgroups, folded in two dimensions. An invocation runs about
// reduced_count / WIDTH * reduced_rank loop iterations; split longer reductions in two launches.

const WIDTH: u32 = 256u; // a power of two
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

var<workgroup> partial: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn reduce_workgroup(
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
    let result_place = parameters.output_offset + places.y;
    var value = start_value();
    for (var place = lane; place < parameters.reduced_count; place += WIDTH) {
        value = join(value, prepared(input[start + reduced_offset(place)]));
    }
    partial[lane] = value;
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] = join(partial[lane], partial[lane + half]);
        }
    }
    if (lane == 0u) {
        var total = partial[0];
        if (CONTINUE == 1u) {
            total = join(output[result_place], total);
        }
        output[result_place] = finish(total);
    }
}
