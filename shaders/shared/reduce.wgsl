// What the two reduction kernels share: index computation and the operation.

// The rank is the number of dimensions in use, at least 1; the outermost needs no division.
fn reduced_offset(index: u32) -> u32 {
    var rest = index;
    var offset = 0u;
    for (var dimension = parameters.reduced_rank - 1u; dimension > 0u; dimension--) {
        let size = parameters.reduced_sizes[dimension >> 2u][dimension & 3u];
        offset += (rest % size) * parameters.reduced_strides[dimension >> 2u][dimension & 3u];
        rest /= size;
    }
    return offset + rest * parameters.reduced_strides[0].x;
}

fn is_sum() -> bool {
    return OPERATION == 0u || OPERATION == 3u;
}

// What is folded for one element.
fn prepared(value: f32) -> f32 {
    return select(value, value * value, OPERATION == 3u);
}

fn start_value() -> f32 {
    if (is_sum()) {
        return 0.0;
    }
    return select(positive_infinity(), -positive_infinity(), OPERATION == 1u);
}

fn join(left: f32, right: f32) -> f32 {
    if (is_sum()) {
        return left + right;
    }
    if (OPERATION == 1u) {
        return maximum(left, right);
    }
    return minimum(left, right);
}

fn finish(value: f32) -> f32 {
    if (is_sum()) {
        return value * parameters.scale;
    }
    return value;
}
