// What the two reduction kernels share: the operation.

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
