// Softmax of a row or its logarithm, by the invocations that share the row: reads `input_at`, writes `output`.

fn softmax_of_row(invocation: u32, row: u32) {
    let lane = invocation % LANES;
    // Invocations beyond the last row have nothing to do but to wait with the others.
    let columns = select(0u, parameters.columns, row < parameters.rows);
    let start = row * columns;

    var largest = -positive_infinity();
    for (var column = lane; column < columns; column += LANES) {
        largest = maximum(largest, input_at(start + column));
    }
    largest = row_maximum(invocation, largest);

    var sum = 0.0;
    for (var column = lane; column < columns; column += LANES) {
        sum += exponential(input_at(start + column) - largest);
    }
    sum = row_sum(invocation, sum);

    let defined = is_finite(largest);
    let logarithm = log(sum);
    for (var column = lane; column < columns; column += LANES) {
        let difference = input_at(start + column) - largest;
        var value = difference - logarithm;
        if (LOGARITHM == 0u) {
            value = exponential(difference) / sum;
        }
        output[parameters.output_offset + start + column] = select(not_a_number(), value, defined);
    }
}
