// What the device can do at best: multiply-adds that wait for nothing but the one before in their own chain.
//
// One invocation runs eight chains of four numbers, `steps` long, and writes their sum; a workgroup is as many such. No
// kernel of a network does only this: it is the roof that others are held against.

const WIDTH: u32 = 256u;

struct Parameters {
    steps: u32,
}

@group(0) @binding(0) var<storage, read_write> output: array<f32>; // one number of each invocation
@group(0) @binding(1) var<uniform> parameters: Parameters;

@compute @workgroup_size(WIDTH)
fn roof_multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    let factor = vec4<f32>(0.999);
    var a = vec4<f32>(f32(id.x));
    var b = a + 1.0;
    var c = a + 2.0;
    var d = a + 3.0;
    var e = a + 4.0;
    var f = a + 5.0;
    var g = a + 6.0;
    var h = a + 7.0;
    for (var step = 0u; step < parameters.steps; step++) {
        a = fma(a, factor, factor);
        b = fma(b, factor, factor);
        c = fma(c, factor, factor);
        d = fma(d, factor, factor);
        e = fma(e, factor, factor);
        f = fma(f, factor, factor);
        g = fma(g, factor, factor);
        h = fma(h, factor, factor);
    }
    let sum = (a + b) + (c + d) + ((e + f) + (g + h));
    output[id.x] = sum.x + sum.y + sum.z + sum.w;
}
