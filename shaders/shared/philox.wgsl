// Philox 4x32-10 (Salmon et al. 2011), the same function as `cpu_reference::philox`.

// The upper and lower 32 bits of a 64-bit product, by 16-bit halves: WGSL has no 64-bit integers.
fn philox_multiply(left: u32, right: u32) -> vec2<u32> {
    let left_low = left & 0xffffu;
    let left_high = left >> 16u;
    let right_low = right & 0xffffu;
    let right_high = right >> 16u;
    let low = left_low * right_low;
    let first = left_high * right_low + (low >> 16u);
    let second = left_low * right_high + (first & 0xffffu);
    let high = left_high * right_high + (first >> 16u) + (second >> 16u);
    return vec2<u32>(high, left * right);
}

fn philox(counter_start: vec4<u32>, key_start: vec2<u32>) -> vec4<u32> {
    var counter = counter_start;
    var key = key_start;
    for (var round = 0u; round < 10u; round++) {
        let first = philox_multiply(0xd2511f53u, counter.x);
        let second = philox_multiply(0xcd9e8d57u, counter.z);
        counter = vec4<u32>(
            second.x ^ counter.y ^ key.x,
            second.y,
            first.x ^ counter.w ^ key.y,
            first.y,
        );
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return counter;
}

// The random word of element `index` at training step `step` in the stream of one op.
fn philox_word(index: u32, seed: u32, step: u32, stream: u32) -> u32 {
    let words = philox(vec4<u32>(index >> 2u, step, 0u, 0u), vec2<u32>(seed, stream));
    return words[index & 3u];
}

// A number in [0, 1) from the upper 24 bits; exact, so equal on CPU and GPU.
fn unit_interval(bits: u32) -> f32 {
    return f32(bits >> 8u) * (1.0 / 16777216.0);
}
