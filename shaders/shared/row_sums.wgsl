// Two sums over a row at once: a workgroup of WIDTH invocations has WIDTH / LANES rows, each of LANES invocations (a power
// of two). All invocations of the workgroup must call it.

var<workgroup> partial_sums: array<vec2<f32>, WIDTH>;

// The sums over the row of the invocation of this number, by a tree of fixed order.
fn row_sums(invocation: u32, values: vec2<f32>) -> vec2<f32> {
    let lane = invocation % LANES;
    partial_sums[invocation] = values;
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) {
            partial_sums[invocation] += partial_sums[invocation + half];
        }
    }
    workgroupBarrier();
    let result = partial_sums[invocation - lane];
    // `partial_sums` may be used again.
    workgroupBarrier();
    return result;
}
