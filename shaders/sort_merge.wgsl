// Merges neighbouring sorted runs of a row: `from` and `to` hold, for each place in order, where its element stands in
// the row. Equal elements stay in their order.
//
// One invocation moves one element: it finds by bisection how many elements of the other run come before it.
// rows * columns invocations, in workgroups folded in two dimensions. At most 32 loop iterations.

const WIDTH: u32 = 256u;

struct Parameters {
    rows: u32,
    columns: u32,
    run: u32, // elements of a run; the last of a row may have fewer
    input_offset: u32,
    from_offset: u32,
    to_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<u32>; // (rows, columns)
@group(0) @binding(1) var<storage, read> runs: array<u32>; // (rows, columns)
@group(0) @binding(2) var<storage, read_write> merged: array<u32>; // (rows, columns)
@group(0) @binding(3) var<uniform> parameters: Parameters;

//!include shared/order.wgsl

@compute @workgroup_size(WIDTH)
fn sort_merge(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * WIDTH + lane;
    let columns = parameters.columns;
    let row = element / columns;
    if (row >= parameters.rows) {
        return;
    }
    let column = element % columns;
    let input_start = parameters.input_offset + row * columns;
    let from_start = parameters.from_offset + row * columns;

    let first = column / parameters.run / 2u * 2u * parameters.run;
    let middle = min(first + parameters.run, columns);
    let in_first = column < middle;
    let other = select(first, middle, in_first);
    var low = other;
    var high = select(middle, min(middle + parameters.run, columns), in_first);
    let place = runs[from_start + column];
    let order = order_of(input[input_start + place]);
    while (low < high) {
        let half = low + (high - low) / 2u;
        let found = order_of(input[input_start + runs[from_start + half]]);
        // Of equals those of the first run come first.
        if (found < order || (found == order && !in_first)) {
            low = half + 1u;
        } else {
            high = half;
        }
    }
    let before = column - select(middle, first, in_first) + (low - other);
    merged[parameters.to_offset + row * columns + first + before] = place;
}
