// What the invocations that share a row find out about it together: a workgroup of WIDTH invocations has WIDTH / LANES
// rows, each of LANES invocations (a power of two). All invocations of the workgroup must call these functions.

var<workgroup> partial: array<f32, WIDTH>;

// The sum over the row of the invocation of this number, by a tree of fixed order.
fn row_sum(invocation: u32, value: f32) -> f32 {
    let lane = invocation % LANES;
    partial[invocation] = value;
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) {
            partial[invocation] += partial[invocation + half];
        }
    }
    workgroupBarrier();
    let result = partial[invocation - lane];
    // `partial` may be used again.
    workgroupBarrier();
    return result;
}

// The largest over the row, NaN if there is one.
fn row_maximum(invocation: u32, value: f32) -> f32 {
    let lane = invocation % LANES;
    partial[invocation] = value;
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) {
            partial[invocation] = maximum(partial[invocation], partial[invocation + half]);
        }
    }
    workgroupBarrier();
    let result = partial[invocation - lane];
    workgroupBarrier();
    return result;
}
