// What the two kernels of moments share: how sums become mean and variance, and how they go on from earlier ones.

// Mean and variance of `count` elements from their first mean, and from the sum (x) and the sum of squares (y) of what
// they differ from it by: the sum would be 0 but for the rounding of the first mean, which it takes out again.
fn corrected(first_mean: f32, differences: vec2<f32>, count: f32) -> vec2<f32> {
    let shift = differences.x / count;
    let variance = (differences.y - differences.x * shift) / count;
    // `select` and not `max`, which may swallow NaN.
    return vec2<f32>(first_mean + shift, select(variance, 0.0, variance < 0.0));
}

// Mean and variance of `before` earlier and `count` later elements together (Chan et al., 1983).
fn joined(earlier: vec2<f32>, before: f32, later: vec2<f32>, count: f32) -> vec2<f32> {
    let part = count / (before + count);
    let apart = later.x - earlier.x;
    let within = earlier.y + (later.y - earlier.y) * part;
    return vec2<f32>(earlier.x + apart * part, within + apart * apart * part * (before / (before + count)));
}

// Writes the results of kept element `index`, whose outputs lie at `place` from the first.
fn finish(place: u32, here: vec2<f32>) {
    let mean_place = parameters.mean_offset + place;
    let variance_place = parameters.variance_offset + place;
    var result = here;
    if (CONTINUE == 1u) {
        let earlier = vec2<f32>(mean_output[mean_place], variance_output[variance_place]);
        result = joined(earlier, f32(parameters.before_count), here, f32(parameters.reduced_count));
    }
    mean_output[mean_place] = result.x;
    variance_output[variance_place] = result.y;
    inverse_output[parameters.inverse_offset + place] = 1.0 / sqrt(result.y + parameters.eps);
}
