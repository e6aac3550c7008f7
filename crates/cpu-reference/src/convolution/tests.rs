use super::*;
use crate::testing::{assert_same_bits, values};

/// Sizes from what a caller chooses; the output's follow.
fn sizes(
    [batch, groups, inputs, outputs]: [usize; 4],
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [[usize; 2]; 2],
    dilation: [usize; 2],
) -> Convolution {
    let output = [0, 1].map(|axis| {
        let padded = input[axis] + padding[axis][0] + padding[axis][1];
        (padded - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1
    });
    let before = padding.map(|[before, _]| before);
    Convolution { batch, groups, inputs, outputs, input, kernel, output, stride, before, dilation }
}

fn cases() -> Vec<Convolution> {
    let mut all = vec![
        sizes([1, 1, 1, 1], [1, 1], [1, 1], [1, 1], [[0, 0]; 2], [1, 1]),
        sizes([3, 1, 4, 5], [6, 7], [1, 1], [1, 1], [[0, 0]; 2], [1, 1]),
        sizes([2, 1, 3, 4], [6, 7], [1, 1], [2, 3], [[0, 0]; 2], [1, 1]),
        sizes([2, 1, 3, 4], [4, 5], [1, 1], [1, 1], [[1, 0], [0, 2]], [1, 1]),
        sizes([2, 1, 5, 3], [2, 2], [3, 3], [1, 1], [[2, 2]; 2], [1, 1]),
        // Columns of more than one block, within rows and across them.
        sizes([2, 1, 20, 3], [1, 900], [1, 5], [1, 1], [[0, 0], [4, 0]], [1, 1]),
        sizes([1, 2, 16, 2], [40, 31], [3, 3], [1, 1], [[1, 1]; 2], [1, 1]),
        sizes([18, 1, 2, 3], [5, 4], [3, 2], [1, 1], [[0, 0]; 2], [1, 1]),
        // A row of the kernel that meets nothing but zeros.
        sizes([1, 2, 1, 2], [1, 1], [5, 5], [1, 1], [[4, 4]; 2], [1, 1]),
        sizes([1, 2, 1, 2], [20, 40], [3, 3], [1, 1], [[1, 1]; 2], [1, 1]),
    ];
    // Zeros that the kernel only meets beside dy, and more of them than it reaches over.
    all.push(sizes([2, 1, 5, 4], [4, 5], [1, 1], [1, 1], [[1, 0], [0, 2]], [1, 1]));
    all.push(sizes([2, 2, 6, 5], [7, 9], [2, 3], [1, 1], [[2, 1], [3, 3]], [1, 1]));
    // Few channels on one side and many on the other.
    for channels in [[1, 1, 3, 40], [2, 1, 40, 3], [1, 2, 2, 30], [3, 2, 33, 1]] {
        all.push(sizes(channels, [33, 34], [7, 7], [2, 2], [[3, 3]; 2], [1, 1]));
        all.push(sizes(channels, [20, 70], [3, 3], [1, 1], [[1, 1]; 2], [1, 1]));
    }
    // Whole and broken blocks of channels, strides that leave elements out, one image.
    for channels in [[6, 1, 3, 32], [5, 1, 33, 40], [3, 2, 17, 24]] {
        all.push(sizes(channels, [20, 19], [3, 3], [1, 1], [[1, 1]; 2], [1, 1]));
        all.push(sizes(channels, [39, 41], [3, 2], [2, 2], [[2, 0], [0, 1]], [2, 1]));
        all.push(sizes(channels, [58, 61], [4, 4], [3, 5], [[0, 3], [1, 0]], [1, 1]));
        all.push(sizes(channels, [40, 38], [1, 1], [2, 2], [[0, 0]; 2], [1, 1]));
    }
    // The same with small images of a large batch, down to one place.
    for input in [[3, 3], [4, 4], [8, 7]] {
        all.push(sizes([65, 1, 24, 33], input, [3, 3], [1, 1], [[1, 1]; 2], [1, 1]));
        all.push(sizes([65, 1, 24, 33], input, [3, 3], [2, 2], [[1, 1]; 2], [1, 1]));
        all.push(sizes([514, 1, 17, 32], input, input, [1, 1], [[0, 0]; 2], [1, 1]));
    }
    all.push(sizes([1, 1, 20, 35], [33, 34], [5, 5], [1, 1], [[2, 2]; 2], [1, 1]));
    for groups in [[1, 3, 4], [2, 3, 2], [4, 1, 1], [3, 1, 2], [1, 1, 3]] {
        for stride in [[1, 1], [2, 1], [3, 2]] {
            for padding in [[[0, 0], [0, 0]], [[1, 1], [1, 1]], [[0, 2], [3, 1]]] {
                for dilation in [[1, 1], [2, 3]] {
                    let [groups, inputs, outputs] = groups;
                    all.push(sizes([2, groups, inputs, outputs], [9, 19], [3, 4], stride, padding, dilation));
                }
            }
        }
    }
    all
}

/// All that a convolution sums: places of input, weight and output.
fn terms(sizes: &Convolution, mut visit: impl FnMut(usize, usize, usize)) {
    let Convolution { batch, groups, inputs, outputs, .. } = *sizes;
    for image in 0..batch {
        for group in 0..groups {
            for (o, c) in (0..outputs).flat_map(|o| (0..inputs).map(move |c| (o, c))) {
                for (y, x) in (0..sizes.output[0]).flat_map(|y| (0..sizes.output[1]).map(move |x| (y, x))) {
                    for (r, s) in (0..sizes.kernel[0]).flat_map(|r| (0..sizes.kernel[1]).map(move |s| (r, s))) {
                        let i = (y * sizes.stride[0] + r * sizes.dilation[0]).wrapping_sub(sizes.before[0]);
                        let j = (x * sizes.stride[1] + s * sizes.dilation[1]).wrapping_sub(sizes.before[1]);
                        if i < sizes.input[0] && j < sizes.input[1] {
                            let channel = (image * groups + group) * inputs + c;
                            let weight = ((group * outputs + o) * inputs + c) * sizes.kernel[0] + r;
                            let place = ((image * groups + group) * outputs + o) * sizes.output[0] + y;
                            visit(
                                (channel * sizes.input[0] + i) * sizes.input[1] + j,
                                weight * sizes.kernel[1] + s,
                                place * sizes.output[1] + x,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Random input, weight and output.
fn operands<T: Real>(sizes: &Convolution) -> [Vec<T>; 3] {
    let weights = sizes.groups * sizes.outputs * sizes.depth();
    let input = sizes.batch * sizes.groups * sizes.inputs * sizes.input_area();
    let output = sizes.batch * sizes.groups * sizes.outputs * sizes.output_area();
    [values(input, 1), values(weights, 2), values(output, 3)]
}

/// Within so much of the sum of the sizes of all terms, which may cancel.
fn against_plain_loops<T: Real>(tolerance: f64) {
    for sizes in cases() {
        let [x, w, y] = operands::<T>(&sizes);
        let [mut dx, mut dw, mut expected] = [&x, &w, &y].map(|values| vec![(0.0, 0.0); values.len()]);
        let add = |sum: &mut (f64, f64), a: T, b: T| {
            let term = a.to_f64() * b.to_f64();
            *sum = (sum.0 + term, sum.1 + term.abs());
        };
        terms(&sizes, |i, j, k| {
            add(&mut expected[k], x[i], w[j]);
            add(&mut dx[i], y[k], w[j]);
            add(&mut dw[j], y[k], x[i]);
        });
        let [mut found_x, mut found_w, mut found] = [&x, &w, &y].map(|values| vec![T::NAN; values.len()]);
        convolution(&sizes, &x, &w, &mut found);
        convolution_input_gradient(&sizes, &y, &w, &mut found_x);
        convolution_weight_gradient(&sizes, &x, &y, &mut found_w);
        for (what, found, expected) in [("y", &found, expected), ("dx", &found_x, dx), ("dw", &found_w, dw)] {
            for (place, (found, (expected, magnitude))) in found.iter().zip(expected).enumerate() {
                let near = (found.to_f64() - expected).abs() <= tolerance * magnitude;
                assert!(near, "element {place} of {what} is {found:?} instead of {expected}: {sizes:?}");
            }
        }
    }
}

#[test]
fn every_convolution_agrees_with_plain_loops_in_f32() {
    against_plain_loops::<f32>(1e-6);
}

#[test]
fn every_convolution_agrees_with_plain_loops_in_f64() {
    against_plain_loops::<f64>(2e-15);
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    for sizes in [
        sizes([1, 1, 16, 24], [40, 40], [3, 3], [1, 1], [[1, 1]; 2], [1, 1]),
        sizes([3, 1, 16, 24], [40, 40], [3, 3], [1, 1], [[1, 1]; 2], [1, 1]),
        sizes([37, 1, 8, 16], [20, 20], [3, 3], [2, 2], [[1, 1]; 2], [1, 1]),
        sizes([9, 2, 8, 16], [20, 20], [5, 5], [1, 1], [[2, 2]; 2], [1, 1]),
        sizes([5, 24, 1, 2], [40, 40], [3, 3], [1, 1], [[1, 1]; 2], [1, 1]),
        // Few channels on one side.
        sizes([1, 1, 3, 64], [60, 60], [3, 3], [1, 1], [[1, 1]; 2], [1, 1]),
        sizes([1, 1, 64, 3], [60, 60], [3, 3], [2, 2], [[1, 1]; 2], [1, 1]),
        sizes([1, 1, 3, 64], [60, 60], [7, 7], [2, 2], [[3, 3]; 2], [1, 1]),
        sizes([6, 1, 16, 33], [20, 20], [3, 3], [1, 1], [[1, 1]; 2], [1, 1]),
        sizes([1, 2, 32, 70], [40, 40], [3, 3], [2, 2], [[1, 1]; 2], [1, 1]),
        sizes([7, 1, 64, 64], [14, 14], [1, 1], [1, 1], [[0, 0]; 2], [1, 1]),
        // A weight so large that the batch is one part.
        sizes([2, 1, 512, 1100], [4, 4], [3, 3], [1, 1], [[1, 1]; 2], [1, 1]),
    ] {
        let [x, w, y] = operands::<f32>(&sizes);
        assert_same_bits(|| {
            let mut found = vec![0f32; y.len()];
            convolution(&sizes, &x, &w, &mut found);
            found
        });
        assert_same_bits(|| {
            let mut found = vec![0f32; x.len()];
            convolution_input_gradient(&sizes, &y, &w, &mut found);
            found
        });
        assert_same_bits(|| {
            let mut found = vec![0f32; w.len()];
            convolution_weight_gradient(&sizes, &x, &y, &mut found);
            found
        });
    }
}

#[test]
fn padding_is_zeros_that_are_multiplied() {
    // By sums, and by matrix products.
    for (channels, size) in [([1, 1, 1, 1], 3), ([1, 2, 1, 1], 3), ([1, 1, 16, 32], 65)] {
        let sizes = sizes(channels, [size; 2], [3, 3], [2, 2], [[1, 1]; 2], [1, 1]);
        let [x, mut w, y] = operands::<f32>(&sizes);
        w[0] = f32::NAN;
        let first_alone = |found: &[f32], area: usize| {
            let (first, rest) = found.split_at(area);
            first.iter().all(|value| value.is_nan()) && rest.iter().all(|value| value.is_finite())
        };
        let mut found = vec![0f32; y.len()];
        convolution(&sizes, &x, &w, &mut found);
        // The first weight meets padding at all places of the first row and column.
        assert!(first_alone(&found, sizes.output_area()), "{sizes:?}");
        let mut found = vec![0f32; x.len()];
        convolution_input_gradient(&sizes, &y, &w, &mut found);
        assert!(first_alone(&found, sizes.input_area()), "{sizes:?}");
    }
}
