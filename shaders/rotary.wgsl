// Rotary position embedding: pairs of elements of each head turned by the angles of its position, the others as they are.
//
// One invocation a pair or an element that is not rotated, a workgroup 256 of them. The workgroups are folded in two
// dimensions.

const INTERLEAVED: u32 = 0u; // 1: the elements of a pair are neighbours; 0: they are `pairs` apart

struct Parameters {
    length: u32,
    heads: u32,
    size: u32,
    pairs: u32,
    count: u32, // invocations with something to do: (batch, length, heads, size - pairs)
    direction: f32, // -1 to turn back
    input_batch_stride: u32,
    input_length_stride: u32,
    input_head_stride: u32,
    output_batch_stride: u32,
    output_length_stride: u32,
    input_offset: u32,
    cosine_offset: u32,
    sine_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<f32>; // strided (batch, length, heads, size)
@group(0) @binding(1) var<storage, read> cosine: array<f32>; // (length, pairs)
@group(0) @binding(2) var<storage, read> sine: array<f32>; // (length, pairs)
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // (batch, length, heads, size)
@group(0) @binding(4) var<uniform> parameters: Parameters;

//!include shared/rotary.wgsl

@compute @workgroup_size(256)
fn rotary(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = (group.y * groups.x + group.x) * 256u + invocation;
    if (index >= parameters.count) {
        return;
    }
    let place = place_of(index);
    let read = parameters.input_offset + place.batch * parameters.input_batch_stride
        + place.position * parameters.input_length_stride + place.head * parameters.input_head_stride;
    let written = output_start(place);
    if (place.number >= parameters.pairs) {
        let element = place.number + parameters.pairs;
        output[written + element] = input[read + element];
        return;
    }
    let pair = elements_of(place.number);
    let turned = turn(place, vec2<f32>(input[read + pair.x], input[read + pair.y]));
    output[written + pair.x] = turned.x;
    output[written + pair.y] = turned.y;
}
