// The gradient of a normalised row, by the invocations that share the row: reads `dy_at`, writes `output`.

// What flows to the normalised element, before weight and bias.
fn weighted_dy(place: u32, column: u32) -> f32 {
    if (WEIGHTED == 1u) {
        return dy_at(place) * weight[parameters.weight_offset + column];
    }
    return dy_at(place);
}

fn gradient_of_row(invocation: u32, row: u32) {
    let lane = invocation % LANES;
    // Invocations beyond the last row have nothing to do but to wait with the others.
    let columns = select(0u, parameters.columns, row < parameters.rows);
    let start = row * columns;
    let x_start = parameters.x_offset + start;
    let place = parameters.statistics_offset + 2u * min(row, parameters.rows - 1u);
    let mean = statistics[place];
    let inverse = statistics[place + 1u];

    var sums = vec2<f32>();
    for (var column = lane; column < columns; column += LANES) {
        let gradient = weighted_dy(start + column, column);
        sums += vec2<f32>(gradient, gradient * ((x[x_start + column] - mean) * inverse));
    }
    let means = row_sums(invocation, sums) / f32(parameters.columns);
    let first = select(0.0, means.x, CENTRED == 1u);

    for (var column = lane; column < columns; column += LANES) {
        let normalised = (x[x_start + column] - mean) * inverse;
        let value = (weighted_dy(start + column, column) - first) - normalised * means.y;
        output[parameters.output_offset + start + column] = value * inverse;
    }
}
