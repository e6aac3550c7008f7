// Attention: output = softmax(scale · query · keyᵀ + mask − slope · distance) · value for each head, and the logarithm of
// each softmax's sum.
//
// One workgroup computes 32 queries of a head, going through the keys 32 at a time with the largest score and the sum
// so far (Milakov and Gimelshein 2018). An invocation runs about keys/32 · (100 · size/32 + 20) loop iterations.

@group(0) @binding(0) var<storage, read> query: array<f32>; // (batch, queries, heads, size), strided
@group(0) @binding(1) var<storage, read> key: array<f32>; // (batch, keys, groups, size), strided
@group(0) @binding(2) var<storage, read> value: array<f32>; // (batch, keys, groups, size), strided
@group(0) @binding(3) var<storage, read> mask: array<f32>; // (batch, heads, queries, keys), strided; or anything
@group(0) @binding(4) var<storage, read> slopes: array<f32>; // (heads); or anything
@group(0) @binding(5) var<storage, read> random: array<u32>; // seed and step; or anything
@group(0) @binding(6) var<storage, read_write> output: array<f32>; // (batch, queries, heads, size)
@group(0) @binding(7) var<storage, read_write> logarithms: array<f32>; // (batch, queries, heads)
@group(0) @binding(8) var<uniform> parameters: Parameters;

//!include shared/attention.wgsl
//!include shared/numbers.wgsl
//!include shared/philox.wgsl

const UNSEEING: f32 = 3.4028234e38; // the logarithm where nothing is seen

var<workgroup> partial: array<f32, WIDTH>;

fn score(product: f32, batch: u32, head: u32, row: u32, column: u32) -> f32 {
    if (!sees(row, column)) {
        return -positive_infinity();
    }
    var result = product * parameters.scale;
    if (MASKED == 1u) {
        let strides = parameters.mask_strides;
        let place = batch * strides.x + head * strides.y + row * strides.z + column * strides.w;
        result += mask[parameters.mask_offset + place];
    }
    if (SLOPED == 1u) {
        result -= slopes[parameters.extra_offset + head] * distance_of(row, column);
    }
    return result;
}

// e^difference for a difference that is not positive: 0 for −∞, which an approximation may miss.
fn exponential(difference: f32) -> f32 {
    return select(exp(difference), 0.0, difference < -87.0);
}

@compute @workgroup_size(WIDTH)
fn attention(
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
    let key_start = start_of(parameters.key_strides, batch, head / parameters.share);
    let value_start = start_of(parameters.value_strides, batch, head / parameters.share);

    var totals: array<vec4<f32>, CHUNKS>;
    var largest = -positive_infinity();
    var sum = 0.0;
    let last_query = min(first_query + TILE, parameters.queries) - 1u;
    let end = end_seen(last_query);
    for (var first_key = first_seen(first_query) / TILE * TILE; first_key < end; first_key += TILE) {
        var scores = vec4<f32>();
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
            scores = products_of_rows(row, column, scores);
            workgroupBarrier();
        }
        let keys = first_key + column + vec4<u32>(0u, 8u, 16u, 24u);
        scores = vec4<f32>(
            score(scores.x, batch, head, own, keys.x),
            score(scores.y, batch, head, own, keys.y),
            score(scores.z, batch, head, own, keys.z),
            score(scores.w, batch, head, own, keys.w),
        );
        partial[lane] = maximum(maximum(scores.x, scores.y), maximum(scores.z, scores.w));
        workgroupBarrier();
        var next = largest;
        for (var place = 0u; place < 8u; place++) {
            next = maximum(next, partial[row * 8u + place]);
        }
        workgroupBarrier();
        // Where nothing has been seen yet there is nothing to subtract from.
        let blind = bitcast<u32>(next) == 0xff800000u;
        var weights = vec4<f32>(
            exponential(scores.x - next),
            exponential(scores.y - next),
            exponential(scores.z - next),
            exponential(scores.w - next),
        );
        weights = select(weights, vec4<f32>(), vec4<bool>(blind));
        partial[lane] = (weights.x + weights.y) + (weights.z + weights.w);
        var rescale = 1.0;
        if (!blind && bitcast<u32>(next) != bitcast<u32>(largest)) {
            rescale = select(exponential(largest - next), 0.0, bitcast<u32>(largest) == 0xff800000u);
        }
        largest = next;
        if (DROPPED == 1u) {
            let seed = random[parameters.random_offset];
            let step = random[parameters.random_offset + 1u];
            weights *= vec4<f32>(
                kept(batch, head, own, keys.x, seed, step),
                kept(batch, head, own, keys.y, seed, step),
                kept(batch, head, own, keys.z, seed, step),
                kept(batch, head, own, keys.w, seed, step),
            );
        }
        store_weights(row, column, weights);
        workgroupBarrier();
        var of_tile = 0.0;
        for (var place = 0u; place < 8u; place++) {
            of_tile += partial[row * 8u + place];
        }
        sum = sum * rescale + of_tile;
        // Only what the row sees takes part, so that NaN elsewhere does not.
        let begin = clamp(first_seen(own), first_key, first_key + TILE) - first_key;
        let stop = clamp(end_seen(own), first_key, first_key + TILE) - first_key;
        for (var chunk = 0u; chunk < CHUNKS; chunk++) {
            for (var index = lane; index < TILE * TILE; index += WIDTH) {
                let place = first_key + index / TILE;
                let element = chunk * TILE + index % TILE;
                var right = 0.0;
                if (element < parameters.size && place < parameters.keys) {
                    right = value[value_start + place * parameters.value_strides.y + element];
                }
                right_tile[index / TILE * PITCH + index % TILE] = right;
            }
            workgroupBarrier();
            totals[chunk] = weighed_rows(row, column, begin, stop, totals[chunk] * rescale);
            workgroupBarrier();
        }
    }
    if (own >= parameters.queries) {
        return;
    }
    let blind = bitcast<u32>(largest) == 0xff800000u;
    let line = (batch * parameters.queries + own) * parameters.heads + head;
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        for (var part = 0u; part < 4u; part++) {
            let element = chunk * TILE + column + part * 8u;
            if (element < parameters.size) {
                let result = select(totals[chunk][part] / sum, 0.0, blind);
                output[parameters.output_offset + line * parameters.size + element] = result;
            }
        }
    }
    if (column == 0u) {
        logarithms[parameters.rows_strides.w + line] = select(largest + log(sum), UNSEEING, blind);
    }
}
