// What the kernels of attention share: parameters, which query sees which key, scores, and products of tiles in the
// workgroup's memory. An invocation has one row of a tile, and each eighth of its 32 columns from its own on.

const TILE: u32 = 32u; // rows and columns of a tile, and how many elements of a head are taken at once
const PITCH: u32 = 33u; // words between rows in the workgroup's memory, so that a column lies in different banks
const WIDTH: u32 = 256u;
const CHUNKS: u32 = 1u; // tiles that the size of a head takes
const CAUSAL: u32 = 0u;
const WINDOWED: u32 = 0u;
const MASKED: u32 = 0u;
const SLOPED: u32 = 0u;
const DROPPED: u32 = 0u;

struct Parameters {
    batch: u32,
    queries: u32,
    keys: u32,
    heads: u32,
    share: u32, // heads of queries for each head of keys
    size: u32,
    first_batch: u32, // where this launch's part begins in the whole batch
    window: u32,
    scale: f32,
    stream: u32,
    probability: f32, // of dropping a weight
    factor: f32, // what weights that are kept are multiplied by
    query_strides: vec4<u32>, // batch, row, head, and the offset
    key_strides: vec4<u32>,
    value_strides: vec4<u32>,
    dy_strides: vec4<u32>,
    mask_strides: vec4<u32>, // batch, head, query, key
    rows_strides: vec4<u32>, // of what the gradients are told of each row: batch, row, head, and the offset
    mask_offset: u32,
    rows_stride: u32, // between the numbers of a row
    extra_offset: u32, // of the slopes, or of the logarithms
    random_offset: u32,
    output_offset: u32,
}

var<workgroup> left_tile: array<f32, TILE * PITCH>;
var<workgroup> right_tile: array<f32, TILE * PITCH>;
var<workgroup> weight_tile: array<f32, TILE * PITCH>;

fn start_of(strides: vec4<u32>, batch: u32, head: u32) -> u32 {
    return strides.w + batch * strides.x + head * strides.z;
}

// Whether a query sees a key. Both are moved by the number of queries, so that none lies before 0.
fn sees(query: u32, key: u32) -> bool {
    let place = query + parameters.keys;
    let other = key + parameters.queries;
    let causal = CAUSAL == 0u || other <= place;
    let near = WINDOWED == 0u || place < other + parameters.window;
    return query < parameters.queries && key < parameters.keys && causal && near;
}

// The first key that a query sees.
fn first_seen(query: u32) -> u32 {
    let beyond = query + parameters.keys + 1u;
    let hidden = parameters.window + parameters.queries;
    return select(0u, min(beyond - hidden, parameters.keys), WINDOWED == 1u && beyond > hidden);
}

// One beyond the last key that a query sees.
fn end_seen(query: u32) -> u32 {
    let beyond = query + parameters.keys + 1u;
    let seen = select(0u, min(beyond - parameters.queries, parameters.keys), beyond > parameters.queries);
    return select(parameters.keys, seen, CAUSAL == 1u);
}

// The first query that sees a key.
fn first_seeing(key: u32) -> u32 {
    let place = key + parameters.queries;
    let seeing = select(0u, min(place - parameters.keys, parameters.queries), place > parameters.keys);
    return select(0u, seeing, CAUSAL == 1u);
}

// One beyond the last query that sees a key.
fn end_seeing(key: u32) -> u32 {
    let beyond = key + parameters.queries + parameters.window;
    let seeing = select(0u, min(beyond - parameters.keys, parameters.queries), beyond > parameters.keys);
    return select(parameters.queries, seeing, WINDOWED == 1u);
}

fn distance_of(query: u32, key: u32) -> f32 {
    return abs(f32(i32(query + parameters.keys) - i32(key + parameters.queries)));
}

// What dropout multiplies a weight by.
fn kept(batch: u32, head: u32, query: u32, key: u32, seed: u32, step: u32) -> f32 {
    let line = ((parameters.first_batch + batch) * parameters.heads + head) * parameters.queries + query;
    let bits = philox_word(line * parameters.keys + key, seed, step, parameters.stream);
    return select(0.0, parameters.factor, unit_interval(bits) >= parameters.probability);
}

// Products of a row of the left tile with four rows of the right one.
fn products_of_rows(row: u32, column: u32, sums: vec4<f32>) -> vec4<f32> {
    var totals = sums;
    for (var depth = 0u; depth < TILE; depth++) {
        let rows = vec4<f32>(
            right_tile[column * PITCH + depth],
            right_tile[(column + 8u) * PITCH + depth],
            right_tile[(column + 16u) * PITCH + depth],
            right_tile[(column + 24u) * PITCH + depth],
        );
        totals += left_tile[row * PITCH + depth] * rows;
    }
    return totals;
}

// Rows of the right tile from `first` to before `end`, weighed by a row of the weights: four of the sum's columns.
fn weighed_rows(row: u32, column: u32, first: u32, end: u32, sums: vec4<f32>) -> vec4<f32> {
    var totals = sums;
    for (var depth = first; depth < end; depth++) {
        let place = depth * PITCH + column;
        let columns = vec4<f32>(
            right_tile[place],
            right_tile[place + 8u],
            right_tile[place + 16u],
            right_tile[place + 24u],
        );
        totals += weight_tile[row * PITCH + depth] * columns;
    }
    return totals;
}

fn store_weights(row: u32, column: u32, weights: vec4<f32>) {
    let place = row * PITCH + column;
    weight_tile[place] = weights.x;
    weight_tile[place + 8u] = weights.y;
    weight_tile[place + 16u] = weights.z;
    weight_tile[place + 24u] = weights.w;
}
