// Sorts rows of up to LENGTH elements, or blocks of so many of longer rows: where each element of the result stood, and
// its value. Equal elements stay in their order.
//
// One workgroup sorts one block in workgroup memory by a bitonic network (Batcher, 1968), of pairs of an element's order
// and its place, so that no two are equal. rows * (columns / LENGTH, rounded up) workgroups, folded in two dimensions.

const WIDTH: u32 = 256u;
const LENGTH: u32 = 2048u; // a power of two
const PART: u32 = 0u; // 1: rows are longer than a block, whose values are of no use yet

struct Parameters {
    rows: u32,
    columns: u32,
    input_offset: u32,
    values_offset: u32,
    indices_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<u32>; // (rows, columns)
@group(0) @binding(1) var<storage, read_write> values: array<u32>; // (rows, columns)
@group(0) @binding(2) var<storage, read_write> indices: array<u32>; // (rows, columns)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/order.wgsl

var<workgroup> orders: array<u32, LENGTH>;
var<workgroup> places: array<u32, LENGTH>;

@compute @workgroup_size(WIDTH)
fn sort(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = parameters.columns;
    let blocks = (columns + LENGTH - 1u) / LENGTH;
    let number = group.y * groups.x + group.x;
    let row = number / blocks;
    if (row >= parameters.rows) {
        return;
    }
    let start = (number % blocks) * LENGTH;
    let input_start = parameters.input_offset + row * columns;

    for (var slot = lane; slot < LENGTH; slot += WIDTH) {
        // What fills up the last block comes after all elements, NaN too, whose places are lower.
        var order = 0xffffffffu;
        if (start + slot < columns) {
            order = order_of(input[input_start + start + slot]);
        }
        orders[slot] = order;
        places[slot] = start + slot;
    }
    workgroupBarrier();

    for (var size = 2u; size <= LENGTH; size <<= 1u) {
        for (var distance = size >> 1u; distance > 0u; distance >>= 1u) {
            for (var pair = lane; pair < LENGTH / 2u; pair += WIDTH) {
                let low = 2u * pair - (pair & (distance - 1u));
                let high = low + distance;
                let low_order = orders[low];
                let high_order = orders[high];
                let low_place = places[low];
                let high_place = places[high];
                let after = low_order > high_order || (low_order == high_order && low_place > high_place);
                if (after == ((low & size) == 0u)) {
                    orders[low] = high_order;
                    orders[high] = low_order;
                    places[low] = high_place;
                    places[high] = low_place;
                }
            }
            workgroupBarrier();
        }
    }

    for (var slot = lane; slot < LENGTH; slot += WIDTH) {
        let column = start + slot;
        if (column < columns) {
            let place = places[slot];
            indices[parameters.indices_offset + row * columns + column] = place;
            if (PART == 0u) {
                values[parameters.values_offset + row * columns + column] = input[input_start + place];
            }
        }
    }
}
