// The gradient of attention by the value: dv = (P ∘ M)ᵀ · dy, where the weights P are computed again from the
// logarithms of their sums, and M are dropout's factors.
//
// One workgroup computes 32 keys of a head of keys, going through the heads of queries that look at it and through the
// queries 32 at a time. An invocation runs about share · queries/32 · 75 · size/32 loop iterations.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // (batch, queries, heads, size), strided
@group(0) @binding(1) var<storage, read> query: array<f32>; // (batch, queries, heads, size), strided
@group(0) @binding(2) var<storage, read> key: array<f32>; // (batch, keys, groups, size), strided
@group(0) @binding(3) var<storage, read> rows: array<f32>; // (batch, queries, heads, 2 or 3): logarithm, Σ dy·y, slope
@group(0) @binding(4) var<storage, read> mask: array<f32>; // (batch, heads, queries, keys), strided; or anything
@group(0) @binding(5) var<storage, read> random: array<u32>; // seed and step; or anything
@group(0) @binding(6) var<storage, read_write> output: array<f32>; // (batch, keys, groups, size)
@group(0) @binding(7) var<uniform> parameters: Parameters;

//!include shared/attention.wgsl
//!include shared/attention_gradient.wgsl
//!include shared/philox.wgsl

@compute @workgroup_size(WIDTH)
fn attention_value_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let blocks = (parameters.keys + TILE - 1u) / TILE;
    let heads = parameters.heads / parameters.share;
    let work = group.y * groups.x + group.x;
    if (work >= blocks * heads * parameters.batch) {
        return;
    }
    let first_key = work % blocks * TILE;
    let head_of_keys = work / blocks % heads;
    let batch = work / blocks / heads;
    let row = lane / 8u;
    let column = lane % 8u;
    let own = first_key + row;
    let key_start = start_of(parameters.key_strides, batch, head_of_keys);
    let last_key = min(first_key + TILE, parameters.keys) - 1u;
    let start = first_seeing(first_key) / TILE * TILE;
    let end = end_seeing(last_key);

    var totals: array<vec4<f32>, CHUNKS>;
    for (var other_head = 0u; other_head < parameters.share; other_head++) {
        let head = head_of_keys * parameters.share + other_head;
        let query_start = start_of(parameters.query_strides, batch, head);
        let dy_start = start_of(parameters.dy_strides, batch, head);
        for (var first_query = start; first_query < end; first_query += TILE) {
            var products = vec4<f32>();
            for (var chunk = 0u; chunk < CHUNKS; chunk++) {
                for (var index = lane; index < TILE * TILE; index += WIDTH) {
                    let line = index / TILE;
                    let element = chunk * TILE + index % TILE;
                    let inside = element < parameters.size;
                    var left = 0.0;
                    var right = 0.0;
                    if (inside && first_key + line < parameters.keys) {
                        left = key[key_start + (first_key + line) * parameters.key_strides.y + element];
                    }
                    if (inside && first_query + line < parameters.queries) {
                        right = query[query_start + (first_query + line) * parameters.query_strides.y + element];
                    }
                    left_tile[line * PITCH + index % TILE] = left;
                    right_tile[line * PITCH + index % TILE] = right;
                }
                workgroupBarrier();
                products = products_of_rows(row, column, products);
                workgroupBarrier();
            }
            var weights: vec4<f32>;
            for (var part = 0u; part < 4u; part++) {
                let other = first_query + column + part * 8u;
                weights[part] = dropped_weight(products[part], batch, head, other, own);
            }
            store_weights(row, column, weights);
            let begin = clamp(first_seeing(own), first_query, first_query + TILE) - first_query;
            let stop = clamp(end_seeing(own), first_query, first_query + TILE) - first_query;
            for (var chunk = 0u; chunk < CHUNKS; chunk++) {
                for (var index = lane; index < TILE * TILE; index += WIDTH) {
                    let place = first_query + index / TILE;
                    let element = chunk * TILE + index % TILE;
                    var right = 0.0;
                    if (element < parameters.size && place < parameters.queries) {
                        right = dy[dy_start + place * parameters.dy_strides.y + element];
                    }
                    right_tile[index / TILE * PITCH + index % TILE] = right;
                }
                workgroupBarrier();
                totals[chunk] = weighed_rows(row, column, begin, stop, totals[chunk]);
                workgroupBarrier();
            }
        }
    }
    if (own >= parameters.keys) {
        return;
    }
    let line = (batch * parameters.keys + own) * heads + head_of_keys;
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        for (var part = 0u; part < 4u; part++) {
            let element = chunk * TILE + column + part * 8u;
            if (element < parameters.size) {
                output[parameters.output_offset + line * parameters.size + element] = totals[chunk][part];
            }
        }
    }
}
