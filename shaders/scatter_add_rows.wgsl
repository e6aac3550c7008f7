// The gradient of gather_rows: each row of the table is the sum of the rows of dy with its index, in the
// order of the indices. Without atomics on values, so the bits are always the same.
//
// One workgroup computes WIDTH * ELEMENTS neighbouring output elements, each invocation ELEMENTS of them.
// It reads all indices, WIDTH at a time, and marks in a bit mask those that fall into its rows, so that
// what the others cost is a look at the mask. vocabulary * width / (WIDTH * ELEMENTS) workgroups, rounded
// up and folded in two dimensions. An index out of range contributes nothing. An invocation runs about
// count / 28 + (indices that fall into the workgroup's rows) * (1 + ELEMENTS) loop iterations.

const WIDTH: u32 = 256u; // a multiple of 32
const ELEMENTS: u32 = 4u;
const CONTINUE: u32 = 0u; // 1: the output holds the sums of earlier rows, which are gone on from

struct Parameters {
    vocabulary: u32,
    first_row: u32, // rows of the table before those bound
    width: u32,
    count: u32,
    dy_offset: u32,
    indices_offset: u32,
    output_offset: u32,
}

@group(0) @binding(0) var<storage, read> dy: array<f32>; // (count, width)
@group(0) @binding(1) var<storage, read> indices: array<u32>; // (count)
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // (vocabulary, width)
@group(0) @binding(3) var<uniform> parameters: Parameters;

var<workgroup> tile: array<u32, WIDTH>;
var<workgroup> matches: array<atomic<u32>, WIDTH / 32u>;

@compute @workgroup_size(WIDTH)
fn scatter_add_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let width = parameters.width;
    let element_count = parameters.vocabulary * width;
    let first_element = (group.y * groups.x + group.x) * WIDTH * ELEMENTS;
    if (first_element >= element_count) {
        return;
    }
    let last_element = min(first_element + WIDTH * ELEMENTS, element_count) - 1u;
    let first_row = first_element / width;
    let last_row = last_element / width;

    var sums: array<f32, ELEMENTS>;
    var rows: array<u32, ELEMENTS>;
    var columns: array<u32, ELEMENTS>;
    for (var place = 0u; place < ELEMENTS; place++) {
        let element = first_element + place * WIDTH + lane;
        sums[place] = 0.0;
        if (CONTINUE == 1u && element < element_count) {
            sums[place] = output[parameters.output_offset + element];
        }
        rows[place] = element / width;
        columns[place] = element % width;
    }

    for (var first = 0u; first < parameters.count; first += WIDTH) {
        if (lane < WIDTH / 32u) {
            atomicStore(&matches[lane], 0u);
        }
        workgroupBarrier();
        if (first + lane < parameters.count) {
            // An index before the rows bound wraps round to a large number.
            let index = indices[parameters.indices_offset + first + lane] - parameters.first_row;
            tile[lane] = index;
            if (index >= first_row && index <= last_row) {
                atomicOr(&matches[lane / 32u], 1u << (lane & 31u));
            }
        }
        workgroupBarrier();
        for (var word = 0u; word < WIDTH / 32u; word++) {
            var bits = atomicLoad(&matches[word]);
            while (bits != 0u) {
                let item = word * 32u + countTrailingZeros(bits);
                bits &= bits - 1u;
                let row = tile[item];
                let start = parameters.dy_offset + (first + item) * width;
                for (var place = 0u; place < ELEMENTS; place++) {
                    if (rows[place] == row) {
                        sums[place] += dy[start + columns[place]];
                    }
                }
            }
        }
        // The next tile overwrites the mask.
        workgroupBarrier();
    }

    for (var place = 0u; place < ELEMENTS; place++) {
        let element = first_element + place * WIDTH + lane;
        if (element < element_count) {
            output[parameters.output_offset + element] = sums[place];
        }
    }
}
