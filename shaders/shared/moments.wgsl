// What the two kernels of moments share: how sums become mean and variance, and how they go on from earlier ones.

// A mean as the sum of a number near it and the rest, so that nothing is lost where it is much larger than the deviation;
// and a variance.
struct Moments {
    near: f32,
    rest: f32,
    variance: f32,
}

// The moments of `count` elements from their first mean, and from the sum (x) and the sum of squares (y) of what they
// differ from it by: the sum would be 0 but for the rounding of the first mean, which it takes out again.
fn corrected(first_mean: f32, differences: vec2<f32>, count: f32) -> Moments {
    let shift = differences.x / count;
    let variance = (differences.y - differences.x * shift) / count;
    // `select` and not `max`, which may swallow NaN.
    return Moments(first_mean, shift, select(variance, 0.0, variance < 0.0));
}

// The moments of `before` earlier and `count` later elements together (Chan et al., 1983).
fn joined(earlier: Moments, before: f32, later: Moments, count: f32) -> Moments {
    let part = count / (before + count);
    let apart = (later.near - earlier.near) + (later.rest - earlier.rest);
    let within = earlier.variance + (later.variance - earlier.variance) * part;
    let variance = within + apart * apart * part * (before / (before + count));
    return Moments(earlier.near, apart * part + earlier.rest, variance);
}

// Writes the results of a kept element, whose outputs lie at `place` from the first. Until the last of its elements is
// there, the mean's place holds the number near it and the inverse's place the rest.
fn finish(place: u32, here: Moments) {
    let mean_place = parameters.mean_offset + place;
    let variance_place = parameters.variance_offset + place;
    let inverse_place = parameters.inverse_offset + place;
    var result = here;
    if (CONTINUE == 1u) {
        let earlier = Moments(mean_output[mean_place], inverse_output[inverse_place], variance_output[variance_place]);
        result = joined(earlier, f32(parameters.before_count), here, f32(parameters.reduced_count));
    }
    mean_output[mean_place] = select(result.near + result.rest, result.near, UNFINISHED == 1u);
    variance_output[variance_place] = result.variance;
    let inverse = 1.0 / sqrt(result.variance + parameters.eps);
    inverse_output[inverse_place] = select(inverse, result.rest, UNFINISHED == 1u);
}
