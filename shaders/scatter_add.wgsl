// The gradient of gather along the last axis: each place of a row is the sum of the elements of `source` with its index,
// in the order of the indices. Without atomics on values, so the bits are always the same.
//
// One workgroup computes WIDTH * ELEMENTS neighbouring places of a row, in workgroup memory. It goes through all indices
// of the row, WIDTH at a time. Of those with the same index the first (the least, by an atomic minimum of the
// invocations' numbers) adds its element at once; the others are marked in a bit mask and added one by one, each by the
// invocation that its place belongs to. So different indices cost one step, and WIDTH equal ones WIDTH steps.
// rows * (size / (WIDTH * ELEMENTS), rounded up) workgroups, folded in two dimensions. An index out of range adds
// nothing. An invocation runs at most count + (count / WIDTH) * (1 + WIDTH / 32) + 2 * ELEMENTS loop iterations.

const WIDTH: u32 = 256u; // a multiple of 32
const ELEMENTS: u32 = 4u;
const CONTINUE: u32 = 0u; // 1: the output holds the sums of earlier elements, which are gone on from

struct Parameters {
    rows: u32,
    size: u32, // places of a row that are bound
    first_place: u32, // places before those
    count: u32,
    source_stride: u32, // between rows, of the indices, too
    output_stride: u32,
    source_offset: u32,
    indices_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<f32>; // (rows, count)
@group(0) @binding(1) var<storage, read> indices: array<u32>; // (rows, count)
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // (rows, size)
@group(0) @binding(3) var<uniform> parameters: Parameters;

const PLACES: u32 = WIDTH * ELEMENTS;
const NOBODY: u32 = 0xffffffffu;

var<workgroup> sums: array<f32, PLACES>;
var<workgroup> first: array<atomic<u32>, PLACES>;
var<workgroup> places: array<u32, WIDTH>;
var<workgroup> values: array<f32, WIDTH>;
var<workgroup> others: array<atomic<u32>, WIDTH / 32u>;

@compute @workgroup_size(WIDTH)
fn scatter_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (parameters.size + PLACES - 1u) / PLACES;
    let number = group.y * groups.x + group.x;
    let row = number / tiles;
    if (row >= parameters.rows) {
        return;
    }
    let first_here = (number % tiles) * PLACES;
    let here = min(PLACES, parameters.size - first_here);
    let source_start = parameters.source_offset + row * parameters.source_stride;
    let indices_start = parameters.indices_offset + row * parameters.source_stride;
    let output_start = parameters.output_offset + row * parameters.output_stride + first_here;

    for (var place = lane; place < PLACES; place += WIDTH) {
        sums[place] = 0.0;
        if (CONTINUE == 1u && place < here) {
            sums[place] = output[output_start + place];
        }
        atomicStore(&first[place], NOBODY);
    }

    for (var start = 0u; start < parameters.count; start += WIDTH) {
        if (lane < WIDTH / 32u) {
            atomicStore(&others[lane], 0u);
        }
        var place = NOBODY;
        if (start + lane < parameters.count) {
            // A place before those here wraps round to a large number.
            place = indices[indices_start + start + lane] - parameters.first_place - first_here;
            values[lane] = source[source_start + start + lane];
        }
        places[lane] = place;
        workgroupBarrier();
        if (place < here) {
            atomicMin(&first[place], lane);
        }
        workgroupBarrier();
        let is_first = place < here && atomicLoad(&first[min(place, PLACES - 1u)]) == lane;
        if (is_first) {
            sums[place] += values[lane];
        } else if (place < here) {
            atomicOr(&others[lane / 32u], 1u << (lane & 31u));
        }
        workgroupBarrier();
        if (is_first) {
            atomicStore(&first[place], NOBODY);
        }
        for (var word = 0u; word < WIDTH / 32u; word++) {
            var bits = atomicLoad(&others[word]);
            while (bits != 0u) {
                let item = word * 32u + countTrailingZeros(bits);
                bits &= bits - 1u;
                if (places[item] % WIDTH == lane) {
                    sums[places[item]] += values[item];
                }
            }
        }
        // What comes next overwrites the mask, and reads the sums.
        workgroupBarrier();
    }

    for (var place = lane; place < here; place += WIDTH) {
        output[output_start + place] = sums[place];
    }
}
