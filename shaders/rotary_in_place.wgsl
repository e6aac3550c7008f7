// Rotary position embedding over the elements themselves: see rotary.wgsl.
//
// One invocation a pair, a workgroup 256 of them. The workgroups are folded in two dimensions.

const INTERLEAVED: u32 = 0u; // 1: the elements of a pair are neighbours; 0: they are `pairs` apart

struct Parameters {
    length: u32,
    heads: u32,
    size: u32,
    pairs: u32,
    count: u32, // invocations with something to do: (batch, length, heads, size - pairs)
    direction: f32, // -1 to turn back
    output_batch_stride: u32,
    output_length_stride: u32,
    cosine_offset: u32,
    sine_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> cosine: array<f32>; // (length, pairs)
@group(0) @binding(1) var<storage, read> sine: array<f32>; // (length, pairs)
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // (batch, length, heads, size)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/rotary.wgsl

@compute @workgroup_size(256)
fn rotary_in_place(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = (group.y * groups.x + group.x) * 256u + invocation;
    if (index >= parameters.count) {
        return;
    }
    let place = place_of(index);
    // The elements that are not rotated stay where they are.
    if (place.number < parameters.pairs) {
        let start = output_start(place);
        let pair = elements_of(place.number);
        let turned = turn(place, vec2<f32>(output[start + pair.x], output[start + pair.y]));
        output[start + pair.x] = turned.x;
        output[start + pair.y] = turned.y;
    }
}
