// What the gradients of attention share: weights from the logarithms of their sums.

// A number of a row: its logarithm, Σ dy·y, its slope.
fn of_row(batch: u32, head: u32, row: u32, which: u32) -> f32 {
    let start = start_of(parameters.rows_strides, batch, head);
    return rows[start + row * parameters.rows_strides.y + which * parameters.rows_stride];
}

fn dropout_factor(batch: u32, head: u32, row: u32, column: u32) -> f32 {
    if (DROPPED == 0u) {
        return 1.0;
    }
    let seed = random[parameters.random_offset];
    let step = random[parameters.random_offset + 1u];
    return kept(batch, head, row, column, seed, step);
}

// The weight of a key for a query that sees it, before dropout.
fn weight_of_product(product: f32, batch: u32, head: u32, row: u32, column: u32) -> f32 {
    var score = product * parameters.scale;
    if (MASKED == 1u) {
        let strides = parameters.mask_strides;
        let place = batch * strides.x + head * strides.y + row * strides.z + column * strides.w;
        score += mask[parameters.mask_offset + place];
    }
    if (SLOPED == 1u) {
        score -= of_row(batch, head, row, 2u) * distance_of(row, column);
    }
    let difference = score - of_row(batch, head, row, 0u);
    return select(exp(difference), 0.0, difference < -87.0);
}

// The gradient of a product of query and key, from that of the weight, where the query sees the key; else 0.
fn gradient_of_product(product: f32, of_weight: f32, batch: u32, head: u32, row: u32, column: u32) -> f32 {
    if (!sees(row, column)) {
        return 0.0;
    }
    let factor = dropout_factor(batch, head, row, column);
    let difference = of_weight * factor - of_row(batch, head, row, 1u);
    return weight_of_product(product, batch, head, row, column) * difference * parameters.scale;
}

// The weight of a key after dropout, where the query sees the key; else 0.
fn dropped_weight(product: f32, batch: u32, head: u32, row: u32, column: u32) -> f32 {
    if (!sees(row, column)) {
        return 0.0;
    }
    return weight_of_product(product, batch, head, row, column) * dropout_factor(batch, head, row, column);
}
