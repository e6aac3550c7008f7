// The gradient of cross-entropy: (softmax(x) * sum of q - q) * dloss, with the maxima and sums that cross_entropy.wgsl found.
//
// One invocation an element, a workgroup 256 of them. A target out of range gives a row of NaN, and so does a row without
// softmax; an ignored one gives zeros. The workgroups are folded in two dimensions.

const IGNORING: u32 = 0u; // 1 if there is a class whose rows are ignored
const SMOOTHING: u32 = 0u; // 1 if `each` is not 0
const WEIGHTED: u32 = 0u; // 1 if classes have weights: otherwise `weight` and `total` are not read

struct Parameters {
    rows: u32,
    columns: u32,
    ignored: u32,
    confidence: f32,
    each: f32,
    logits_offset: u32,
    targets_offset: u32,
    statistics_offset: u32,
    dloss_offset: u32,
    weight_offset: u32,
    total_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>; // (rows, columns)
@group(0) @binding(1) var<storage, read> targets: array<u32>; // (rows)
@group(0) @binding(2) var<storage, read> statistics: array<f32>; // (rows, 2)
@group(0) @binding(3) var<storage, read> dloss: array<f32>; // (rows)
@group(0) @binding(4) var<storage, read> weight: array<f32>; // (columns)
@group(0) @binding(5) var<storage, read> total: array<f32>; // their sum
@group(0) @binding(6) var<storage, read_write> output: array<f32>; // (rows, columns)
@group(0) @binding(7) var<uniform> parameters: Parameters;

//!include shared/numbers.wgsl
//!include shared/exponential.wgsl
//!include shared/classes.wgsl
//!include shared/cross_entropy_gradient.wgsl

@compute @workgroup_size(256)
fn cross_entropy_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = (group.y * groups.x + group.x) * 256u + invocation;
    if (index < parameters.rows * parameters.columns) {
        output[parameters.output_offset + index] = gradient(index, logits[parameters.logits_offset + index]);
    }
}
