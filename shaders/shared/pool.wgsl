// The parameters that all kernels of pooling share, and where windows lie along an axis. Work along the rows and
// columns of a window, or of the windows over an element, may be shared among launches, in order.

const ADAPTIVE: u32 = 0u; // 1: window i is ⌊i·input/output⌋ to ⌈(i + 1)·input/output⌉, and what follows doesn't count
const KERNEL_Y: u32 = 1u;
const KERNEL_X: u32 = 1u;
const STRIDE_Y: u32 = 1u;
const STRIDE_X: u32 = 1u;
const DILATION_Y: u32 = 1u;
const DILATION_X: u32 = 1u;
const CONTINUE: u32 = 0u; // 1: the result holds what earlier launches found, which is gone on from

struct Parameters {
    planes: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    before_y: u32, // padding
    before_x: u32,
    first_row: u32, // the part of the rows
    row_end: u32,
    first_column: u32, // the part of the columns
    column_end: u32,
    divisor: u32, // of averages
    input_offset: u32, // of the larger side, values or gradients
    output_offset: u32, // of the smaller side
    indices_offset: u32,
}

struct Axis {
    kernel: u32,
    stride: u32,
    dilation: u32,
    before: u32,
    input: u32,
    output: u32,
}

// The elements first, first + 1 .. end - 1 of a window, or such windows.
struct Span {
    first: u32,
    end: u32,
}

fn vertical() -> Axis {
    let sizes = vec2(parameters.input_height, parameters.output_height);
    return Axis(KERNEL_Y, STRIDE_Y, DILATION_Y, parameters.before_y, sizes.x, sizes.y);
}

fn horizontal() -> Axis {
    let sizes = vec2(parameters.input_width, parameters.output_width);
    return Axis(KERNEL_X, STRIDE_X, DILATION_X, parameters.before_x, sizes.x, sizes.y);
}

fn ceiling(dividend: u32, divisor: u32) -> u32 {
    return (dividend + divisor - 1u) / divisor;
}

// What of a window lies in the input.
fn span_of(axis: Axis, window: u32) -> Span {
    if (ADAPTIVE == 1u) {
        return Span(0u, ceiling((window + 1u) * axis.input, axis.output) - start_of(axis, window));
    }
    let start = window * axis.stride;
    let first = select(0u, ceiling(axis.before - start, axis.dilation), start < axis.before);
    return Span(first, min(axis.kernel, ceiling(axis.before + axis.input - start, axis.dilation)));
}

// The place of a window's element 0, which may have wrapped below zero; element t is t·dilation further.
fn start_of(axis: Axis, window: u32) -> u32 {
    if (ADAPTIVE == 1u) {
        return window * axis.input / axis.output;
    }
    return window * axis.stride - axis.before;
}

// The windows whose reach a place lies in, as far as they are in the part from `first` to `end` of them.
fn windows_over(axis: Axis, place: u32, first: u32, end: u32) -> Span {
    var all: Span;
    if (ADAPTIVE == 1u) {
        all = Span(place * axis.output / axis.input, ceiling((place + 1u) * axis.output, axis.input));
    } else {
        let last = place + axis.before;
        let reach = (axis.kernel - 1u) * axis.dilation;
        let begin = select(0u, ceiling(last - reach, axis.stride), last > reach);
        all = Span(begin, min(axis.output, last / axis.stride + 1u));
    }
    return Span(all.first + first, min(all.end, all.first + end));
}

fn windows_over_row(row: u32) -> Span {
    return windows_over(vertical(), row, parameters.first_row, parameters.row_end);
}

fn windows_over_column(column: u32) -> Span {
    return windows_over(horizontal(), column, parameters.first_column, parameters.column_end);
}

fn input_area() -> u32 {
    return parameters.input_height * parameters.input_width;
}

fn output_area() -> u32 {
    return parameters.output_height * parameters.output_width;
}
