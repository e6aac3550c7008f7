// The index of the largest or smallest element along one dimension of a strided view.
//
// One workgroup computes one output element: each invocation searches every WIDTH-th element, then a tree
// joins them. The first of equals; the first NaN if there is one. kept_count workgroups, folded in two
// dimensions.

const WIDTH: u32 = 256u; // a power of two
const OPERATION: u32 = 1u; // 1 maximum, 2 minimum

struct Parameters {
    kept_sizes: array<vec4<u32>, 2>,
    kept_strides: array<vec4<u32>, 2>,
    output_strides: array<vec4<u32>, 2>,
    kept_rank: u32,
    kept_count: u32,
    reduced_size: u32,
    reduced_stride: u32,
    input_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<f32>; // strided (kept, reduced)
@group(0) @binding(1) var<storage, read_write> output: array<u32>; // strided (kept)
@group(0) @binding(2) var<uniform> parameters: Parameters;

//!include shared/numbers.wgsl
//!include shared/kept.wgsl

var<workgroup> best_values: array<f32, WIDTH>;
var<workgroup> best_indices: array<u32, WIDTH>;

const NONE: u32 = 0xffffffffu;

// Whether the right element is to be taken rather than the left; an index of NONE is no element.
fn right_wins(left: f32, left_index: u32, right: f32, right_index: u32) -> bool {
    if (right_index == NONE || left_index == NONE) {
        return right_index != NONE;
    }
    let left_nan = is_nan(left);
    let right_nan = is_nan(right);
    if (left_nan || right_nan) {
        return right_nan && (!left_nan || right_index < left_index);
    }
    let better = select((right < left), (right > left), OPERATION == 1u);
    return better || (right == left && right_index < left_index);
}

@compute @workgroup_size(WIDTH)
fn arg_reduce(
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
    var best = 0.0;
    var best_index = NONE;
    for (var place = lane; place < parameters.reduced_size; place += WIDTH) {
        let value = input[start + place * parameters.reduced_stride];
        if (right_wins(best, best_index, value, place)) {
            best = value;
            best_index = place;
        }
    }
    best_values[lane] = best;
    best_indices[lane] = best_index;
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) {
            let other = lane + half;
            if (right_wins(best_values[lane], best_indices[lane], best_values[other], best_indices[other])) {
                best_values[lane] = best_values[other];
                best_indices[lane] = best_indices[other];
            }
        }
    }
    if (lane == 0u) {
        output[parameters.output_offset + places.y] = best_indices[0];
    }
}
