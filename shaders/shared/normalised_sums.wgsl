// What the two kernels of the sums share: where elements lie, and what each adds.

// Where kept element `index` begins in dy, x, mean and inverse (first) and in weight and the outputs (others). The rank
// is the number of dimensions in use, at least 1; the outermost needs no division.
struct Places {
    first: vec4<u32>,
    others: vec2<u32>,
}

fn kept_places(index: u32) -> Places {
    var rest = index;
    var places = Places();
    for (var dimension = parameters.kept_rank - 1u; dimension > 0u; dimension--) {
        let size = parameters.kept_sizes[dimension >> 2u][dimension & 3u];
        places.first += (rest % size) * parameters.kept_strides[dimension];
        places.others += (rest % size) * parameters.kept_other_strides[dimension].xy;
        rest /= size;
    }
    places.first += parameters.offsets + rest * parameters.kept_strides[0];
    places.others += rest * parameters.kept_other_strides[0].xy;
    return places;
}

// What reduced element `index` adds to the two sums of the kept element that begins at `start`.
fn terms(start: Places, index: u32) -> vec2<f32> {
    var rest = index;
    var places = start.first;
    var weight_place = parameters.weight_offset + start.others.x;
    for (var dimension = parameters.reduced_rank - 1u; dimension > 0u; dimension--) {
        let size = parameters.reduced_sizes[dimension >> 2u][dimension & 3u];
        places += (rest % size) * parameters.reduced_strides[dimension];
        weight_place += (rest % size) * parameters.reduced_weight_strides[dimension >> 2u][dimension & 3u];
        rest /= size;
    }
    places += rest * parameters.reduced_strides[0];
    weight_place += rest * parameters.reduced_weight_strides[0].x;
    var gradient = dy[places.x];
    if (WEIGHTED == 1u) {
        gradient *= weight[weight_place];
    }
    return vec2<f32>(gradient, gradient * ((x[places.y] - mean[places.z]) * inverse[places.w]));
}

// Writes the sums of the kept element that begins at `start`.
fn finish(start: Places, sums: vec2<f32>) {
    let sum_place = parameters.sum_offset + start.others.y;
    let product_place = parameters.product_offset + start.others.y;
    var result = sums;
    if (CONTINUE == 1u) {
        result += vec2<f32>(sum_output[sum_place], product_output[product_place]);
    }
    sum_output[sum_place] = result.x;
    product_output[product_place] = result.y;
}
