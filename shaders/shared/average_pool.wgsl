// What the sum over a window is divided by; needs shared/pool.wgsl.

const DIVISOR: u32 = 0u; // 0: elements of the input and its padding, 1: elements of the input, 2: a given number

fn divisor_of(row: u32, column: u32) -> f32 {
    if (DIVISOR == 2u) {
        return f32(parameters.divisor);
    }
    if (DIVISOR == 1u || ADAPTIVE == 1u) {
        let rows = span_of(vertical(), row);
        let columns = span_of(horizontal(), column);
        return f32((rows.end - rows.first) * (columns.end - columns.first));
    }
    let height = min(KERNEL_Y, parameters.input_height + 2u * parameters.before_y - row * STRIDE_Y);
    let width = min(KERNEL_X, parameters.input_width + 2u * parameters.before_x - column * STRIDE_X);
    return f32(height * width);
}
