//! Pooling.

use crate::{OFFSET, assert_close, bytes, device, exact, floats, launch, launch_all, normal, shifted};
use cpu_reference::{Divisor, PoolAxis, Windows};
use gpu_runtime::{Words, fold_groups, shader};

fn regular(input: usize, output: usize, [kernel, stride, padding, dilation]: [usize; 4]) -> PoolAxis {
    PoolAxis { input, output, windows: Windows::Regular { kernel, stride, padding, dilation } }
}

fn adaptive(input: usize, output: usize) -> PoolAxis {
    PoolAxis { input, output, windows: Windows::Adaptive }
}

/// The shader's constants: kernel, stride and dilation, for height and width.
fn constants(axes: &[PoolAxis; 2]) -> Vec<(&'static str, u32)> {
    let names = [["KERNEL_Y", "STRIDE_Y", "DILATION_Y"], ["KERNEL_X", "STRIDE_X", "DILATION_X"]];
    let mut constants = vec![("ADAPTIVE", u32::from(axes[0].windows == Windows::Adaptive))];
    for (axis, names) in axes.iter().zip(names) {
        if let Windows::Regular { kernel, stride, dilation, .. } = axis.windows {
            constants.extend(names.into_iter().zip([kernel as u32, stride as u32, dilation as u32]));
        }
    }
    constants
}

/// All parameters, each operand after its offset; everything is done in one launch.
fn parameters(axes: &[PoolAxis; 2], planes: usize, divisor: u32) -> Vec<(&'static str, Words<'static>)> {
    let before = |axis: &PoolAxis| if let Windows::Regular { padding, .. } = axis.windows { padding } else { 0 };
    let mut parameters: Vec<(&str, Words<'_>)> = vec![("divisor", divisor.into())];
    let sizes = [
        ("planes", planes),
        ("input_height", axes[0].input),
        ("input_width", axes[1].input),
        ("output_height", axes[0].output),
        ("output_width", axes[1].output),
        ("before_y", before(&axes[0])),
        ("before_x", before(&axes[1])),
        ("first_row", 0),
        ("row_end", 1000),
        ("first_column", 0),
        ("column_end", 1000),
        ("input_offset", OFFSET),
        ("output_offset", OFFSET),
        ("indices_offset", OFFSET),
    ];
    parameters.extend(sizes.map(|(name, size)| (name, Words::from(size as u32))));
    parameters
}

#[test]
fn pools_agree() {
    let Some(device) = device() else { return };
    let cases = [
        [regular(6, 3, [2, 2, 0, 1]), regular(9, 4, [2, 2, 0, 1])],
        [regular(7, 4, [3, 2, 1, 1]), regular(8, 5, [3, 2, 1, 1])],
        [regular(5, 5, [3, 1, 1, 1]), regular(11, 5, [4, 3, 2, 1])],
        [regular(9, 3, [3, 2, 1, 2]), regular(7, 4, [2, 1, 0, 3])],
        [adaptive(7, 3), adaptive(10, 4)],
        [adaptive(2, 5), adaptive(3, 1)],
    ];
    for (number, axes) in cases.iter().enumerate() {
        let planes = 70;
        let [inputs, outputs] = [axes.map(|axis| axis.input), axes.map(|axis| axis.output)];
        let [inputs, outputs] = [inputs, outputs].map(|sizes| planes * sizes[0] * sizes[1]);
        // Few different values, so that there are equals.
        let mut input: Vec<f32> = normal(inputs, number as u64).iter().map(|value| (2.0 * value).round()).collect();
        (input[inputs / 2], input[inputs / 3]) = (f32::NAN, f32::NEG_INFINITY);
        let dy = normal(outputs, 50 + number as u64);
        let (mut values, mut indices) = (vec![0f64; outputs], vec![0; outputs]);
        cpu_reference::max_pool(axes, &exact(&input), &mut values, &mut indices);
        let mut dx = vec![0f64; inputs];
        cpu_reference::max_pool_gradient(axes, &exact(&dy), &indices, &mut dx);
        let groups = |elements: usize| fold_groups(elements.div_ceil(256) as u64);
        let [given, given_dy] = [&input, &dy].map(|values| bytes(&shifted(values, f32::NAN)));
        let given_indices = bytes(&shifted(&indices, 0));
        let numbers = parameters(axes, planes, 0);
        let kernel = |name: &str| shader(name).unwrap().specialise(&constants(axes)).unwrap();

        let sizes = [outputs, outputs];
        let found =
            launch_all(&device, &kernel("max_pool"), std::slice::from_ref(&given), &numbers, sizes, groups(outputs));
        let [found, places] = found;
        assert_close(&format!("max_pool {axes:?}"), &floats(found), &values, 0.0);
        assert_eq!(places, indices, "max_pool {axes:?}");
        let pair = [given_dy.clone(), given_indices.clone()];
        let found = launch(&device, &kernel("max_pool_gradient"), &pair, &numbers, inputs, groups(inputs));
        assert_close(&format!("max_pool_gradient {axes:?}"), &floats(found), &dx, 2e-6);
        let pair = [given.clone(), given_indices];
        let found = launch(&device, &kernel("max_pool_gather"), &pair, &numbers, outputs, groups(outputs));
        assert_close(&format!("max_pool_gather {axes:?}"), &floats(found), &values, 0.0);

        let dilated = |axis: &PoolAxis| matches!(axis.windows, Windows::Regular { dilation, .. } if dilation > 1);
        if axes.iter().any(dilated) {
            continue;
        }
        for (code, divisor) in [Divisor::Padded, Divisor::Inside, Divisor::Given(7)].into_iter().enumerate() {
            cpu_reference::average_pool(axes, divisor, &exact(&input), &mut values);
            cpu_reference::average_pool_gradient(axes, divisor, &exact(&dy), &mut dx);
            let numbers = parameters(axes, planes, 7);
            let by = [("DIVISOR", code as u32)];
            let average = kernel("average_pool").specialise(&by).unwrap();
            let found = launch(&device, &average, std::slice::from_ref(&given), &numbers, outputs, groups(outputs));
            assert_close(&format!("average_pool {axes:?} {divisor:?}"), &floats(found), &values, 2e-6);
            let average = kernel("average_pool_gradient").specialise(&by).unwrap();
            let found = launch(&device, &average, std::slice::from_ref(&given_dy), &numbers, inputs, groups(inputs));
            assert_close(&format!("average_pool_gradient {axes:?} {divisor:?}"), &floats(found), &dx, 2e-6);
        }
    }
}
