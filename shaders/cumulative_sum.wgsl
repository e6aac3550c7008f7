// Cumulative sums of rows: each element is the sum of its row up to there.
//
// One workgroup computes one row, WIDTH * ELEMENTS elements at a time: each invocation adds up ELEMENTS neighbours, a
// scan of log2(WIDTH) levels (Hillis and Steele, 1986) joins the invocations' sums, and `carry` is the sum of all that
// came before. `rows` workgroups, folded in two dimensions. The order of additions is fixed.
//
// Places are counted in the order of the sum: from the end of the row if REVERSE. A launch goes through the places
// first .. end - 1; where the row goes on, it leaves the carry at the place `end`, where the next launch finds it.

const WIDTH: u32 = 256u; // a power of two
const ELEMENTS: u32 = 4u;
const EXCLUSIVE: u32 = 0u; // 1: an element is not part of its own sum
const REVERSE: u32 = 0u; // 1: sums begin at the end of the row
const CONTINUE: u32 = 0u; // 1: the place `first` holds the sum of the places before

struct Parameters {
    rows: u32,
    columns: u32,
    first: u32, // a multiple of WIDTH * ELEMENTS
    end: u32,
    input_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> input: array<f32>; // (rows, columns)
@group(0) @binding(1) var<storage, read_write> output: array<f32>; // (rows, columns)
@group(0) @binding(2) var<uniform> parameters: Parameters;

var<workgroup> sums: array<f32, WIDTH>;

fn column_of(place: u32) -> u32 {
    return select(place, parameters.columns - 1u - place, REVERSE == 1u);
}

@compute @workgroup_size(WIDTH)
fn cumulative_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if (row >= parameters.rows) {
        return;
    }
    let input_start = parameters.input_offset + row * parameters.columns;
    let output_start = parameters.output_offset + row * parameters.columns;

    var carry = 0.0;
    if (CONTINUE == 1u) {
        // The invocation that will write there reads it for all.
        if (lane == 0u) {
            sums[0] = output[output_start + column_of(parameters.first)];
        }
        workgroupBarrier();
        carry = sums[0];
        workgroupBarrier();
    }

    for (var block = parameters.first; block < parameters.end; block += WIDTH * ELEMENTS) {
        let start = block + lane * ELEMENTS;
        var values: array<f32, ELEMENTS>;
        var sum = 0.0;
        for (var element = 0u; element < ELEMENTS; element++) {
            values[element] = 0.0;
            if (start + element < parameters.end) {
                values[element] = input[input_start + column_of(start + element)];
            }
            sum += values[element];
        }
        sums[lane] = sum;
        workgroupBarrier();
        for (var distance = 1u; distance < WIDTH; distance <<= 1u) {
            var lower = 0.0;
            if (lane >= distance) {
                lower = sums[lane - distance];
            }
            workgroupBarrier();
            sums[lane] += lower;
            workgroupBarrier();
        }

        var before = 0.0;
        if (lane > 0u) {
            before = sums[lane - 1u];
        }
        for (var element = 0u; element < ELEMENTS; element++) {
            let included = before + values[element];
            if (start + element < parameters.end) {
                let value = carry + select(included, before, EXCLUSIVE == 1u);
                output[output_start + column_of(start + element)] = value;
            }
            before = included;
        }
        carry += sums[WIDTH - 1u];
        // The next block overwrites the sums.
        workgroupBarrier();
    }

    if (lane == 0u && parameters.end < parameters.columns) {
        output[output_start + column_of(parameters.end)] = carry;
    }
}
