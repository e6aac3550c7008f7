// What one workgroup of WIDTH invocations (a power of two) finds out about a row of logits.

var<workgroup> partial: array<f32, WIDTH>;

// The sum over the workgroup, by a tree of fixed order; all invocations must call it.
fn workgroup_sum(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    workgroupBarrier();
    let result = partial[0];
    // `partial` may be used again.
    workgroupBarrier();
    return result;
}

// The largest over the workgroup, NaN if there is one; all invocations must call it.
fn workgroup_maximum(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    for (var half = WIDTH / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] = maximum(partial[lane], partial[lane + half]);
        }
    }
    workgroupBarrier();
    let result = partial[0];
    workgroupBarrier();
    return result;
}

// e^difference for a difference that is not positive: 0 for −∞, which an approximation may miss.
fn exponential(difference: f32) -> f32 {
    return select(exp(difference), 0.0, difference < -87.0);
}
