// NaN and infinity by their bits: compilers may assume that there are none and drop `x != x`.

fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}

fn not_a_number() -> f32 {
    // A variable, because a constant expression may not be NaN.
    var bits = 0x7fc00000u;
    return bitcast<f32>(bits);
}

fn positive_infinity() -> f32 {
    var bits = 0x7f800000u;
    return bitcast<f32>(bits);
}

// The larger of the two; NaN if either is (`max` may drop it).
fn maximum(left: f32, right: f32) -> f32 {
    let larger = select(right, left, left > right || is_nan(left));
    return select(larger, right, is_nan(right));
}

// The smaller of the two; NaN if either is.
fn minimum(left: f32, right: f32) -> f32 {
    let smaller = select(right, left, left < right || is_nan(left));
    return select(smaller, right, is_nan(right));
}
