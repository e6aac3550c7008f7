// The gradient of attention by the query: dq = scale · dS · key with dS = P ∘ (dy · valueᵀ ∘ M − Σ dy·y), where the
// weights P are computed again from the logarithms of their sums, and M are dropout's factors.
//
// One workgroup computes 32 queries of a head, going through the keys 32 at a time. An invocation runs about
// keys/32 · 115 · size/32 loop iterations.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // (batch, queries, heads, size), strided
@group(0) @binding(1) var<storage, read> query: array<f32>; // (batch, queries, heads, size), strided
@group(0) @binding(2) var<storage, read> key: array<f32>; // (batch, keys, groups, size), strided
@group(0) @binding(3) var<storage, read> value: array<f32>; // (batch, keys, groups, size), strided
@group(0) @binding(4) var<storage, read> rows: array<f32>; // (batch, queries, heads, 2 or 3): logarithm, Σ dy·y, slope
@group(0) @binding(5) var<storage, read> mask: array<f32>; // (batch, heads, queries, keys), strided; or anything
@group(0) @binding(6) var<storage, read> random: array<u32>; // seed and step; or anything
@group(0) @binding(7) var<storage, read_write> output: array<f32>; // (batch, queries, heads, size)
@group(0) @binding(8) var<uniform> parameters: Parameters;

//!include shared/attention.wgsl
//!include shared/attention_gradient.wgsl
//!include shared/philox.wgsl

@compute @workgroup_size(WIDTH)
fn attention_query_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let blocks = (parameters.queries + TILE - 1u) / TILE;
    let work = group.y * groups.x + group.x;
    if (work >= blocks * parameters.heads * parameters.batch) {
        return;
    }
    let first_query = work % blocks * TILE;
    let head = work / blocks % parameters.heads;
    let batch = work / blocks / parameters.heads;
    let row = lane / 8u;
    let column = lane % 8u;
    let own = first_query + row;
    let query_start = start_of(parameters.query_strides, batch, head);
    let dy_start = start_of(parameters.dy_strides, batch, head);
    let key_start = start_of(parameters.key_strides, batch, head / parameters.share);
    let value_start = start_of(parameters.value_strides, batch, head / parameters.share);

    var totals: array<vec4<f32>, CHUNKS>;
    let last_query = min(first_query + TILE, parameters.queries) - 1u;
    let end = end_seen(last_query);
    for (var first_key = first_seen(first_query) / TILE * TILE; first_key < end; first_key += TILE) {
        var products = vec4<f32>();
        var of_weights = vec4<f32>();
        for (var chunk = 0u; chunk < CHUNKS; chunk++) {
            for (var index = lane; index < TILE * TILE; index += WIDTH) {
                let line = index / TILE;
                let element = chunk * TILE + index % TILE;
                let inside = element < parameters.size;
                var left = 0.0;
                var right = 0.0;
                if (inside && first_query + line < parameters.queries) {
                    left = query[query_start + (first_query + line) * parameters.query_strides.y + element];
                }
                if (inside && first_key + line < parameters.keys) {
                    right = key[key_start + (first_key + line) * parameters.key_strides.y + element];
                }
                left_tile[line * PITCH + index % TILE] = left;
                right_tile[line * PITCH + index % TILE] = right;
            }
            workgroupBarrier();
            products = products_of_rows(row, column, products);
            workgroupBarrier();
            for (var index = lane; index < TILE * TILE; index += WIDTH) {
                let line = index / TILE;
                let element = chunk * TILE + index % TILE;
                let inside = element < parameters.size;
                var left = 0.0;
                var right = 0.0;
                if (inside && first_query + line < parameters.queries) {
                    left = dy[dy_start + (first_query + line) * parameters.dy_strides.y + element];
                }
                if (inside && first_key + line < parameters.keys) {
                    right = value[value_start + (first_key + line) * parameters.value_strides.y + element];
                }
                left_tile[line * PITCH + index % TILE] = left;
                right_tile[line * PITCH + index % TILE] = right;
            }
            workgroupBarrier();
            of_weights = products_of_rows(row, column, of_weights);
            workgroupBarrier();
        }
        var gradients: vec4<f32>;
        for (var part = 0u; part < 4u; part++) {
            let other = first_key + column + part * 8u;
            gradients[part] = gradient_of_product(products[part], of_weights[part], batch, head, own, other);
        }
        store_weights(row, column, gradients);
        let begin = clamp(first_seen(own), first_key, first_key + TILE) - first_key;
        let stop = clamp(end_seen(own), first_key, first_key + TILE) - first_key;
        for (var chunk = 0u; chunk < CHUNKS; chunk++) {
            for (var index = lane; index < TILE * TILE; index += WIDTH) {
                let place = first_key + index / TILE;
                let element = chunk * TILE + index % TILE;
                var right = 0.0;
                if (element < parameters.size && place < parameters.keys) {
                    right = key[key_start + place * parameters.key_strides.y + element];
                }
                right_tile[index / TILE * PITCH + index % TILE] = right;
            }
            workgroupBarrier();
            totals[chunk] = weighed_rows(row, column, begin, stop, totals[chunk]);
            workgroupBarrier();
        }
    }
    if (own >= parameters.queries) {
        return;
    }
    let line = (batch * parameters.queries + own) * parameters.heads + head;
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        for (var part = 0u; part < 4u; part++) {
            let element = chunk * TILE + column + part * 8u;
            if (element < parameters.size) {
                output[parameters.output_offset + line * parameters.size + element] = totals[chunk][part];
            }
        }
    }
}
